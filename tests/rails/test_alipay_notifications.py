"""Notifications: the genuine ones read rightly, and of a thousand false ones not one accepted."""

import base64
import contextlib
import functools
import json
import random
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from billing.gateways.alipay.adapter import AlipayGateway
from billing.gateways.alipay.signing import load_private_key, sign
from billing.gateways.base import Acknowledgement, BadNotification, NotificationKind
from tests.rails.alipay_world import PAY, charge_of, gateway_of, refund_of
from tests.rails.contract import new_ref
from tests.rails.simulators import new_keys

pytestmark = pytest.mark.processes
SEED = 20261122


@pytest.fixture
def gateway(alipay):
    return gateway_of(alipay)


@pytest.fixture
def agreement(alipay):
    return alipay.agree(new_ref("B"))


def read(gateway, body, at=None):
    return gateway.parse_notification(headers={}, body=body, query={}, at=at or datetime.now(UTC))


def fields_of(body):
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


class TestGenuineNotifications:
    def test_a_paid_charge_names_reference_amount_and_state(
        self, alipay, gateway, agreement, inbox
    ):
        request = charge_of(agreement, notify_url=inbox.url)
        gateway.charge(request=request)
        notification, said = read(gateway, inbox.wait_for(1)[0])
        assert notification.kind is NotificationKind.CHARGE
        assert notification.our_ref == request.reference
        assert (notification.amount_minor, notification.currency) == (5000, "CNY")
        assert notification.claims == "TRADE_SUCCESS"
        assert said == Acknowledgement("success", "text/plain", 200)

    def test_a_partial_refund_looks_like_a_payment_and_is_read_as_a_refund(
        self, gateway, agreement, inbox
    ):
        request = charge_of(agreement, notify_url=inbox.url)
        gateway.charge(request=request)
        inbox.wait_for(1)
        refund = refund_of(request, 1200)
        gateway.refund(request=refund)
        body = inbox.wait_for(2)[1]
        assert fields_of(body)["trade_status"] == "TRADE_SUCCESS"
        notification, _ = read(gateway, body)
        assert notification.kind is NotificationKind.REFUND
        assert notification.our_ref == request.reference
        assert notification.refund_ref == refund.refund_ref
        assert notification.amount_minor == 1200

    def test_a_full_refunds_closed_trade_is_a_refund_too(self, gateway, agreement, inbox):
        request = charge_of(agreement, notify_url=inbox.url)
        gateway.charge(request=request)
        inbox.wait_for(1)
        gateway.refund(request=refund_of(request, 5000))
        notification, _ = read(gateway, inbox.wait_for(2)[1])
        assert notification.kind is NotificationKind.REFUND
        assert notification.claims == "TRADE_CLOSED"

    @pytest.mark.parametrize(("status", "amount_minor"), [("S", 1200), ("F", None)])
    def test_what_a_bank_did_with_a_refund_is_about_that_refund(
        self, alipay, gateway, agreement, inbox, status, amount_minor
    ):
        request = charge_of(agreement)
        gateway.charge(request=request)
        refund = refund_of(request, 1200)
        gateway.refund(request=refund)
        alipay.control("POST", f"refunds/{refund.refund_ref}/deposit_back", {"status": status})
        body = inbox.wait_for(1)[0]
        assert "notify_type" not in fields_of(body)
        notification, said = read(gateway, body)
        assert notification.kind is NotificationKind.REFUND
        assert (notification.our_ref, notification.refund_ref) == (
            request.reference, refund.refund_ref,
        )  # fmt: skip
        assert (notification.claims, notification.amount_minor) == (
            f"depositback {status}", amount_minor,
        )  # fmt: skip
        assert said == Acknowledgement("success", "text/plain", 200)

    def test_both_ends_of_an_agreement_are_told(self, alipay, gateway, inbox):
        binding_ref = new_ref("B")
        number = alipay.agree(binding_ref, notify_url=inbox.url)
        inbox.wait_for(1)
        gateway.revoke_binding(binding_ref="", provider_ref=number)
        signed, unsigned = (read(gateway, body)[0] for body in inbox.wait_for(2))
        for notification in (signed, unsigned):
            assert notification.kind is NotificationKind.BINDING
            assert (notification.our_ref, notification.provider_ref) == (binding_ref, number)
        assert (signed.claims, unsigned.claims) == ("NORMAL", "UNSIGN")

    def test_the_older_signature_over_sign_type_as_well_is_accepted(
        self, alipay, gateway, agreement, inbox
    ):
        alipay.set(signs_with_type=True)
        gateway.charge(request=charge_of(agreement, notify_url=inbox.url))
        notification, _ = read(gateway, inbox.wait_for(1)[0])
        assert notification.kind is NotificationKind.CHARGE

    def test_repeats_carry_the_same_dedupe_id_and_different_ones_do_not(
        self, alipay, gateway, agreement, inbox
    ):
        alipay.fault(PAY, "notify_duplicate", copies=3)
        for _ in range(2):
            gateway.charge(request=charge_of(agreement, notify_url=inbox.url))
        bodies = inbox.wait_for(5)
        ids = [read(gateway, body)[0].dedupe_id for body in bodies]
        assert len(set(ids)) == 2
        assert max(ids.count(one) for one in ids) == 4

    def test_what_is_kept_of_it_names_no_payer(self, gateway, agreement, inbox):
        gateway.charge(request=charge_of(agreement, notify_url=inbox.url))
        body = inbox.wait_for(1)[0]
        notification, _ = read(gateway, body)
        assert fields_of(body)["buyer_id"] not in notification.body_masked
        assert fields_of(body)["trade_no"] in notification.body_masked

    def test_one_that_comes_before_the_answer_to_the_call_is_read_like_any_other(
        self, alipay, gateway, agreement, inbox
    ):
        alipay.fault(PAY, "notify_before_answer")
        request = charge_of(agreement, notify_url=inbox.url)
        gateway.charge(request=request)
        assert len(inbox.received) == 1  # it was there before the answer, so no waiting
        assert read(gateway, inbox.received[0])[0].our_ref == request.reference


class TestVariantsAlipayIsKnownToSend:
    def payment(self, alipay, **more):
        return {
            "notify_time": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            "notify_type": "trade_status_sync",
            "notify_id": "2026112200333",
            "app_id": alipay.app_id,
            "seller_id": alipay.seller_id,
            "out_trade_no": "R1",
            "trade_status": "TRADE_SUCCESS",
            "total_amount": "50.00",
        } | more

    def test_a_payment_that_says_nothing_was_refunded_is_a_payment(self, alipay, gateway):
        fields = self.payment(alipay, refund_fee="0.00", gmt_refund="", out_biz_no="")
        body, _ = _signed_with(alipay.alipay.private, fields)
        assert read(gateway, body)[0].kind is NotificationKind.CHARGE

    @pytest.mark.parametrize(
        "mark",
        [
            {"refund_fee": "0.00", "gmt_refund": "2026-11-22 10:00:00.320"},
            {"refund_fee": "0.00", "out_biz_no": "F1"},
            {"refund_fee": "0.01"},
        ],
    )
    def test_any_one_mark_of_a_refund_makes_it_a_refund(self, alipay, gateway, mark):
        fields = self.payment(alipay, **mark)
        body, _ = _signed_with(alipay.alipay.private, fields)
        assert read(gateway, body)[0].kind is NotificationKind.REFUND

    def test_one_encoded_in_gbk_is_read_as_gbk(self, alipay, gateway):
        fields = self.payment(alipay, subject="话费充值", charset="GBK")
        body, _ = _signed_with(alipay.alipay.private, fields)
        signed = fields_of(body)
        in_gbk = urlencode(signed, encoding="gbk").encode()
        assert "话费充值" in read(gateway, in_gbk)[0].body_masked

    @pytest.mark.parametrize("charset", ["GBK", "gb2312"])
    def test_one_in_gbk_verifies_over_the_bytes_as_sent(self, alipay, gateway, charset):
        fields = self.payment(alipay, subject="话费充值", charset=charset) | {"sign_type": "RSA2"}
        fields.pop("sign", None)
        covered = {name: value for name, value in fields.items() if name != "sign_type"}
        text = "&".join(f"{name}={covered[name]}" for name in sorted(covered)).encode("gbk")
        key = load_private_key(alipay.alipay.private, setting="KEY")
        signature = base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()
        body = urlencode(fields | {"sign": signature}, encoding="gbk").encode()

        assert "话费充值" in read(gateway, body)[0].body_masked
        changed = body.replace(b"%BB%B0", b"%BB%B1")
        with pytest.raises(BadNotification):
            read(gateway, changed)

    def test_an_unpaid_trades_end_is_about_the_charge(self, alipay, gateway):
        fields = self.payment(alipay, trade_status="TRADE_CLOSED", gmt_close="2026-11-22 10:00:00")
        body, _ = _signed_with(alipay.alipay.private, fields)
        notification, _ = read(gateway, body)
        assert (notification.kind, notification.claims) == (NotificationKind.CHARGE, "TRADE_CLOSED")


class TestFalseNotifications:
    @pytest.fixture
    def genuine(self, alipay, gateway, agreement, inbox):
        """One of each kind."""
        number = alipay.agree(new_ref("B"), notify_url=inbox.url)
        inbox.wait_for(1)
        request = charge_of(agreement, notify_url=inbox.url)
        gateway.charge(request=request)
        inbox.wait_for(2)
        gateway.refund(request=refund_of(request, 100))
        inbox.wait_for(3)
        gateway.revoke_binding(binding_ref="", provider_ref=number)
        return inbox.wait_for(4)

    def test_of_a_thousand_forged_tampered_and_stale_ones_none_is_accepted(
        self, alipay, gateway, genuine
    ):
        chance = random.Random(SEED)
        stranger = new_keys().private
        accepted, said = [], set()
        for number in range(1000):
            body = chance.choice(genuine)
            mutation = MUTATIONS[number % len(MUTATIONS)]
            false, at = mutation(body, chance, alipay, stranger)
            assert (false, at) != (body, None), mutation.__name__
            try:
                read(gateway, false, at)
            except BadNotification as refusal:
                said.add(refusal.acknowledgement)
            else:
                accepted.append((mutation.__name__, false))
        assert accepted == []
        assert said == {Acknowledgement("failure")}

    def test_replayed_ones_are_known_by_their_id_however_often_they_come(self, gateway, genuine):
        seen = {read(gateway, body)[0].dedupe_id for body in genuine * 250}
        assert len(seen) == len(genuine)

    def test_the_simulators_own_forgery_is_refused_and_the_true_one_after_it_read(
        self, alipay, gateway, agreement, inbox
    ):
        alipay.fault(PAY, "notify_forged")
        gateway.charge(request=charge_of(agreement, notify_url=inbox.url))
        outcomes = []
        for body in inbox.wait_for(2):
            try:
                outcomes.append(read(gateway, body)[0].amount_minor)
            except BadNotification:
                outcomes.append(None)
        assert sorted(outcomes, key=str) == [5000, None]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x",
            b"\xff\xfe",
            b"a=%ff&sign=AAAA",
            "金额=1".encode(),
            b"&".join(b"a%d=1" % number for number in range(200)),
            b"a=" + b"1" * 70_000,
        ],
    )
    def test_what_is_no_form_is_refused(self, gateway, body):
        with pytest.raises(BadNotification):
            read(gateway, body)

    def test_a_field_given_twice_is_refused_even_with_the_same_value(self, gateway, genuine):
        for body in genuine:
            with pytest.raises(BadNotification, match="twice"):
                read(gateway, body + b"&app_id=2021000000000001")

    def test_genuine_ones_for_another_application_or_seller_are_refused(self, alipay, genuine):
        other_app = AlipayGateway.from_settings(
            alipay.settings(ALIPAY_APP_ID="2021000000000002"), timeout_s=10
        )
        other_seller = AlipayGateway.from_settings(
            alipay.settings(ALIPAY_SELLER_ID="2088000000000002"), timeout_s=10
        )
        for body in genuine:
            with pytest.raises(BadNotification, match="another application"):
                read(other_app, body)
        for body in genuine[1:3]:  # agreements name no seller
            with pytest.raises(BadNotification, match="another seller"):
                read(other_seller, body)

    def test_one_repeated_for_twenty_five_hours_is_good_and_older_is_not(self, gateway, genuine):
        sent = datetime.now(UTC)
        for body in genuine:
            read(gateway, body, sent + timedelta(hours=25))
            with pytest.raises(BadNotification, match="too old"):
                read(gateway, body, sent + timedelta(hours=27))


class TestAFalseMessageAboutABank:
    @pytest.fixture
    def genuine(self, alipay, gateway, agreement, inbox):
        request = charge_of(agreement)
        gateway.charge(request=request)
        given = refund_of(request, 200)
        gateway.refund(request=given)
        alipay.control("POST", f"refunds/{given.refund_ref}/deposit_back", {"status": "F"})
        return inbox.wait_for(1)[0]

    def test_forged_tampered_or_stale_is_refused(self, alipay, gateway, genuine):
        chance, stranger = random.Random(SEED), new_keys().private
        accepted = []
        ways = (
            flip_a_bit, change_a_value, drop_a_field, add_a_field, no_signature, weaker_signature,
            too_old, signed_by_a_stranger, signed_by_the_merchant, genuine_but_for_others,
            genuine_without_a_number,
        )  # fmt: skip
        for number in range(220):
            way = ways[number % len(ways)]
            false, at = way(genuine, chance, alipay, stranger)
            with contextlib.suppress(BadNotification):
                accepted.append((way.__name__, read(gateway, false, at)))
        assert accepted == []

    def test_signed_but_of_another_content_is_refused(self, alipay, gateway, genuine):
        fields = fields_of(genuine)
        told = json.loads(fields["biz_content"])
        contents = (
            "", "x", "[]", "null", "5", json.dumps(told | {"dback_status": "X"}),
            json.dumps(told | {"dback_status": 5}), json.dumps(told | {"out_request_no": ""}),
            json.dumps(told | {"out_trade_no": ""}), json.dumps(told | {"dback_amount": "1e3"}),
        )  # fmt: skip
        changes = [{"biz_content": content} for content in contents]
        changes += [{"utc_timestamp": time} for time in ("", "yesterday", "1", "٣" * 13)]
        changes += [{"msg_method": "alipay.trade.something.else"}]
        accepted = []
        for change in changes:
            body, _ = _signed_with(alipay.alipay.private, fields | change)
            with contextlib.suppress(BadNotification):
                accepted.append((change, read(gateway, body)))
        assert accepted == []

    def test_signed_without_what_is_empty_is_read(self, alipay, gateway, genuine):
        fields = fields_of(genuine)
        body, _ = _signed_with(alipay.alipay.private, fields)
        with_empty = body + b"&msg_type=&msg_app_id="
        assert read(gateway, with_empty)[0].claims == "depositback F"


# --- ways to be false: each gives a body and, if it matters, an hour --------------------------


def _again(fields):
    return urlencode(fields).encode(), None


def flip_a_bit(body, chance, alipay, stranger):
    place = chance.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], None


def change_a_value(body, chance, alipay, stranger):
    fields = fields_of(body)
    name = chance.choice([name for name in fields if name not in ("sign", "sign_type")])
    return _again(fields | {name: fields[name] + chance.choice(["0", " ", "x"])})


def drop_a_field(body, chance, alipay, stranger):
    fields = fields_of(body)
    del fields[chance.choice([name for name in fields if name != "sign_type"])]
    return _again(fields)


def add_a_field(body, chance, alipay, stranger):
    return _again(fields_of(body) | {chance.choice(["refund_fee", "zzz", "gmt_refund"]): "7.77"})


def raise_the_amount(body, chance, alipay, stranger):
    return _again(fields_of(body) | {"total_amount": f"{chance.randrange(1, 999)}.00"})


def swap_signatures(body, chance, alipay, stranger):
    fields = fields_of(body)
    return _again(fields | {"sign": fields["sign"][:-8] + "AAAAAA=="})


def no_signature(body, chance, alipay, stranger):
    return _again(fields_of(body) | {"sign": ""})


def weaker_signature(body, chance, alipay, stranger):
    return _again(fields_of(body) | {"sign_type": chance.choice(["RSA", "MD5", "", "none"])})


def too_old(body, chance, alipay, stranger):
    return body, datetime.now(UTC) + timedelta(hours=27 + chance.randrange(9999))


def signed_by_a_stranger(body, chance, alipay, stranger):
    return _signed_with(stranger, fields_of(body))


def signed_by_the_merchant(body, chance, alipay, stranger):
    """Our own key signs requests; it must not pass for Alipay's."""
    return _signed_with(alipay.merchant.private, fields_of(body))


def genuine_but_for_others(body, chance, alipay, stranger):
    return _signed_with(alipay.alipay.private, fields_of(body) | {"app_id": "2021999999999999"})


def genuine_without_a_number(body, chance, alipay, stranger):
    return _signed_with(alipay.alipay.private, fields_of(body) | {"notify_id": ""})


def genuine_of_an_unknown_kind(body, chance, alipay, stranger):
    kind = chance.choice(["dut_user_modify", "", "TRADE_STATUS_SYNC"])
    return _signed_with(alipay.alipay.private, fields_of(body) | {"notify_type": kind})


def genuine_without_a_time(body, chance, alipay, stranger):
    time = chance.choice(["", "yesterday", "2026-02-30 00:00:00"])
    return _signed_with(alipay.alipay.private, fields_of(body) | {"notify_time": time})


def genuine_with_a_strange_amount(body, chance, alipay, stranger):
    amount = chance.choice(["", "1e3", "5,000.00", "50.001", "５０.00", "NaN"])
    strange = {"notify_type": "trade_status_sync", "out_trade_no": "R1", "total_amount": amount}
    fields = fields_of(body) | strange | {"seller_id": alipay.seller_id, "refund_fee": amount}
    return _signed_with(alipay.alipay.private, fields)


@functools.cache
def _key(private):
    return load_private_key(private, setting="X")


def _signed_with(private, fields):
    kept = {name: value for name, value in fields.items() if name not in ("sign", "sign_type")}
    text = "&".join(f"{name}={kept[name]}" for name in sorted(kept))
    return _again(fields | {"sign": sign(_key(private), text)})


MUTATIONS = (
    flip_a_bit,
    change_a_value,
    drop_a_field,
    add_a_field,
    raise_the_amount,
    swap_signatures,
    no_signature,
    weaker_signature,
    too_old,
    signed_by_a_stranger,
    signed_by_the_merchant,
    genuine_but_for_others,
    genuine_without_a_number,
    genuine_of_an_unknown_kind,
    genuine_without_a_time,
    genuine_with_a_strange_amount,
)

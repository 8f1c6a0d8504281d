"""Where rails and carriers report: what is genuine is kept once, all else changes nothing.

Signatures here are made by hand, from the protocols' descriptions, by none of our own code.
"""

import base64
import hashlib
import hmac
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.db import OperationalError
from django.test import Client
from django_q.models import OrmQ

from billing.engine import incoming
from billing.models import InboundNotification
from tests import world as w

pytestmark = pytest.mark.django_db

NOTIFY, GATEWAY = "/hooks/alipay/notify", "/hooks/alipay/gateway"
EVENTS = "/hooks/carriers/cmcc/events"
APP, SELLER, SECRET = "2021000000000001", "2088000000000001", "hub-secret"
AGREEMENT = "20265500112233445566"
SEED = 20261122
MISTAKES = 200


def pem(key):
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


@pytest.fixture(scope="session")
def keys():
    """Ours, Alipay's, and a forger's."""
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)]


@pytest.fixture(autouse=True)
def _one_rail_and_one_carrier(settings, keys):
    ours, alipays, _forgers = keys
    private = ours.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    settings.RAILS_STOPPED = {}
    settings.RAILS = {
        "alipay": {
            "ALIPAY_APP_ID": APP,
            "ALIPAY_SELLER_ID": SELLER,
            "ALIPAY_PRIVATE_KEY": private,
            "ALIPAY_PUBLIC_KEY": pem(alipays.public_key()),
            "ALIPAY_GATEWAY_URL": "http://127.0.0.1:8149/gateway.do",
            "ALIPAY_PRODUCT_CODE": "GENERAL_WITHHOLDING",
            "ALIPAY_PERSONAL_PRODUCT_CODE": "GENERAL_WITHHOLDING_P",
            "ALIPAY_SIGN_SCENE": "INDUSTRY|MOBILE",
            "ALIPAY_MAX_CHARGE_MINOR": "",
        }
    }
    settings.CARRIER_TOKENS = {"cmcc": "token"}
    settings.CARRIER_HUB_SECRET = SECRET


# --- what Alipay sends --------------------------------------------------------------------------


def beijing(ago=timedelta(0)):
    at = datetime.now(UTC) - ago
    return at.astimezone(ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%d %H:%M:%S")


def trade(**more):
    return {
        "notify_time": beijing(),
        "notify_type": "trade_status_sync",
        "notify_id": "2026112200222155810000000000000001",
        "app_id": APP,
        "auth_app_id": APP,
        "charset": "utf-8",
        "version": "1.0",
        "trade_no": "2026112222001455810000000001",
        "out_trade_no": "01JD8M0000000000000000000A",
        "buyer_id": "2088102100000001",
        "seller_id": SELLER,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "50.00",
        "receipt_amount": "50.00",
        "subject": "话费充值",
        "gmt_payment": beijing(),
        **more,
    }


def unsigned_in_the_app(**more):
    return {
        "notify_time": beijing(),
        "unsign_time": beijing(),
        "notify_type": "dut_user_unsign",
        "notify_id": "2026112200222155810000000000000002",
        "app_id": APP,
        "auth_app_id": APP,
        "charset": "utf-8",
        "version": "1.0",
        "status": "UNSIGN",
        "external_agreement_no": "01JD8M0000000000000000000B",
        "agreement_no": AGREEMENT,
        "alipay_logon_id": "138****0001",
        "alipay_user_id": "2088102100000001",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": "INDUSTRY|MOBILE",
        **more,
    }


def signed(fields, key):
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    sign = base64.b64encode(signature).decode()
    return urlencode(fields | {"sign_type": "RSA2", "sign": sign}).encode()


def post_form(body, path=NOTIFY, **more):
    return Client().post(path, body, content_type="application/x-www-form-urlencoded", **more)


# --- what a carrier's hub sends -----------------------------------------------------------------


def event(**more):
    topup = {"id": "77", "status": "completed", "description": "01JD8M0000000000000000000C"}
    return {
        "eventId": "e-1",
        "eventType": "TopupBalanceCreateEvent",
        "event": {"topupBalance": topup},
        **more,
    }


def seal(body, *, secret=SECRET, ago_s=0):
    at = int(time.time()) - ago_s
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {"X-Keepline-Signature": f"t={at},v1={digest}"}


def post_event(body, headers, path=EVENTS):
    return Client().post(path, body, content_type="application/json", headers=headers)


def flips(body, *, count=MISTAKES):
    """`body` with one bit wrong, at random places."""
    chance = random.Random(SEED)
    for _ in range(count):
        wrong = bytearray(body)
        wrong[chance.randrange(len(wrong))] ^= 1 << chance.randrange(8)
        yield bytes(wrong)


def nothing_happened():
    return not InboundNotification.objects.exists() and not OrmQ.objects.exists()


class TestAGenuineNotification:
    def test_is_kept_and_then_acknowledged(self, keys):
        answer = post_form(signed(trade(), keys[1]))

        assert (answer.status_code, answer.content) == (200, b"success")
        row = InboundNotification.objects.get()
        assert (row.source, row.kind) == ("rail:alipay", "charge")
        assert row.our_ref == "01JD8M0000000000000000000A"
        assert (row.amount_minor, row.claims, row.done_at) == (5000, "TRADE_SUCCESS", None)
        assert "2088102100000001" not in row.body_masked
        assert OrmQ.objects.count() == 1

    def test_of_an_agreement_ended_in_the_app_comes_by_the_application_gateway(self, keys):
        answer = post_form(signed(unsigned_in_the_app(), keys[1]), GATEWAY)
        assert answer.content == b"success"
        row = InboundNotification.objects.get()
        assert (row.kind, row.our_ref) == ("binding", "01JD8M0000000000000000000B")
        assert AGREEMENT not in f"{row.body_masked} {row.provider_ref}"

    def test_needs_no_cookie_and_gets_none(self, keys):
        client = Client(enforce_csrf_checks=True)
        answer = client.post(
            NOTIFY,
            signed(trade(), keys[1]),
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status_code == 200
        assert not answer.cookies

    def test_replayed_later_is_acknowledged_and_changes_nothing(self, keys):
        body = signed(trade(), keys[1])
        post_form(body)
        OrmQ.objects.all().delete()
        InboundNotification.objects.update(done_at=datetime.now(UTC), outcome="woken")

        assert post_form(body).content == b"success"

        row = InboundNotification.objects.get()
        assert (row.repeats, row.outcome) == (1, "woken")
        assert not OrmQ.objects.exists()

    def test_is_not_acknowledged_when_it_cannot_be_kept(self, keys, monkeypatch):
        def accept(**_):
            raise OperationalError("the database is away")

        monkeypatch.setattr(incoming, "accept", accept)
        client = Client(raise_request_exception=False)
        answer = client.post(
            NOTIFY, signed(trade(), keys[1]), content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code == 500
        assert b"success" not in answer.content


class TestAWrongNotification:
    def refused(self, body, path=NOTIFY):
        answer = post_form(body, path)
        assert (answer.status_code, answer.content) == (400, b"failure")
        assert nothing_happened()

    def test_signed_by_another_key_is_refused(self, keys):
        self.refused(signed(trade(), keys[2]))

    def test_signed_by_our_own_key_is_refused(self, keys):
        self.refused(signed(trade(), keys[0]))

    def test_with_one_bit_wrong_is_refused_wherever_it_is(self, keys):
        body = signed(trade(), keys[1])
        meaning = sorted(parse_qsl(body.decode(), keep_blank_values=True))
        refused = 0
        for wrong in flips(body):
            if sorted(parse_qsl(wrong.decode("latin-1"), keep_blank_values=True)) == meaning:
                continue  # %3a for %3A: the same message, written otherwise
            self.refused(wrong)
            refused += 1
        assert refused > MISTAKES * 0.8

    @pytest.mark.parametrize(
        "wrong",
        [
            {"app_id": "2021000000000002"},
            {"seller_id": "2088000000000002"},
            {"notify_id": ""},
            {"out_trade_no": ""},
            {"total_amount": "50.001"},
            {"total_amount": "1e3"},
            {"notify_type": "servicewindow_follow"},
            {"notify_time": ""},
        ],
    )
    def test_though_rightly_signed_is_refused(self, keys, wrong):
        self.refused(signed(trade(**wrong), keys[1]))

    def test_of_two_days_ago_is_refused(self, keys):
        self.refused(signed(trade(notify_time=beijing(timedelta(hours=27))), keys[1]))

    def test_with_a_field_given_twice_is_refused(self, keys):
        self.refused(signed(trade(), keys[1]) + b"&total_amount=1.00")

    @pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{}", b"sign=", b"a=b&" * 5000])
    def test_that_is_rubbish_is_refused(self, body):
        self.refused(body)
        self.refused(body, GATEWAY)

    def test_in_the_address_instead_of_the_body_is_refused(self, keys):
        self.refused(b"", f"{NOTIFY}?{signed(trade(), keys[1]).decode()}")

    def test_is_logged_by_its_reason_and_nothing_it_holds(self, keys, caplog):
        body = signed(unsigned_in_the_app(), keys[2])
        post_form(body)
        assert "rail:alipay was refused: the signature is wrong." in caplog.text
        for secret in (AGREEMENT, "2088102100000001", "138****0001", "sign=", APP):
            assert secret not in caplog.text

    def test_too_long_is_refused_unread(self, keys):
        body = signed(trade(passback_params="x" * 66_000), keys[1])
        answer = post_form(body)
        assert (answer.status_code, answer.content) == (413, b"failure")
        assert nothing_happened()

    @pytest.mark.parametrize("length", ["x", "-1", "9" * 30, "1.5"])
    def test_with_a_strange_length_is_refused(self, keys, length):
        answer = post_form(signed(trade(), keys[1]), CONTENT_LENGTH=length)
        assert answer.status_code in (400, 413)
        assert nothing_happened()

    @pytest.mark.parametrize("path", [NOTIFY, GATEWAY, EVENTS])
    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
    def test_is_only_ever_posted(self, path, method):
        w.carrier()
        assert getattr(Client(), method)(path).status_code == 405


class TestARail:
    def test_that_is_not_one_of_ours_is_not_found(self, keys):
        answer = post_form(signed(trade(), keys[1]), "/hooks/paypal/notify")
        assert answer.status_code == 404

    def test_whose_key_is_wrong_has_it_sent_again(self, settings, keys, caplog):
        alipay = settings.RAILS["alipay"] | {"ALIPAY_PUBLIC_KEY": "no key at all"}
        settings.RAILS = {"alipay": alipay}
        answer = post_form(signed(trade(), keys[1]))
        assert (answer.status_code, answer.content) == (503, b"failure")
        assert nothing_happened()
        assert "no key at all" not in caplog.text


class TestACarriersEvent:
    @pytest.fixture(autouse=True)
    def _carrier(self, db):
        w.carrier()

    def refused(self, body, headers, status=400):
        answer = post_event(body, headers)
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "reason"}
        assert nothing_happened()

    def test_is_kept_and_then_acknowledged(self):
        body = json.dumps(event()).encode()
        answer = post_event(body, seal(body))
        assert answer.status_code == 201
        row = InboundNotification.objects.get()
        assert (row.source, row.kind, row.dedupe_id) == ("carrier:cmcc", "topup", "e-1")
        assert (row.our_ref, row.provider_ref) == ("01JD8M0000000000000000000C", "77")
        assert OrmQ.objects.count() == 1

    def test_repeated_is_acknowledged_and_changes_nothing(self):
        body = json.dumps(event()).encode()
        for _ in range(3):
            assert post_event(body, seal(body)).status_code == 201
        assert InboundNotification.objects.get().repeats == 2
        assert OrmQ.objects.count() == 1

    def test_is_taken_under_either_secret_while_one_is_changed(self, settings):
        settings.CARRIER_HUB_SECRET = "new-secret,hub-secret"
        for secret, number in (("new-secret", "e-1"), ("hub-secret", "e-2")):
            body = json.dumps(event(eventId=number)).encode()
            assert post_event(body, seal(body, secret=secret)).status_code == 201
        body = json.dumps(event(eventId="e-3")).encode()
        assert post_event(body, seal(body, secret="new-secret,hub-secret")).status_code == 400
        assert InboundNotification.objects.count() == 2

    def test_unsigned_or_signed_by_another_is_refused(self):
        body = json.dumps(event()).encode()
        self.refused(body, {})
        self.refused(body, seal(body, secret="guess"))
        self.refused(body, seal(body, secret=""))
        self.refused(body, {"X-Keepline-Signature": "t=1,v1="})

    @pytest.mark.parametrize("ago_s", [330, -330, 10**9])
    def test_stale_or_from_the_future_is_refused(self, ago_s):
        body = json.dumps(event()).encode()
        self.refused(body, seal(body, ago_s=ago_s))

    def test_written_otherwise_is_refused(self):
        body = json.dumps(event()).encode()
        self.refused(json.dumps(event(), indent=1).encode(), seal(body))

    def test_with_one_bit_wrong_is_refused_wherever_it_is(self):
        body = json.dumps(event()).encode()
        headers = seal(body)
        for wrong in flips(body):
            self.refused(wrong, headers)

    def test_rightly_signed_rubbish_is_refused(self):
        for body in (b"", b"[]", b"{", b'{"event": {}}', b"\xff" * 10, b"[" * 30_000):
            self.refused(body, seal(body))

    def test_too_long_is_refused_unread(self):
        body = json.dumps(event(note="x" * 66_000)).encode()
        self.refused(body, seal(body), status=413)

    def test_of_a_carrier_we_do_not_know_is_not_found(self):
        body = json.dumps(event()).encode()
        assert post_event(body, seal(body), "/hooks/carriers/nobody/events").status_code == 404

    def test_of_a_carrier_without_its_token_has_it_sent_again(self, settings):
        settings.CARRIER_TOKENS = {}
        body = json.dumps(event()).encode()
        self.refused(body, seal(body), status=503)


@pytest.mark.django_db(transaction=True)
class TestAHundredAtOnce:
    """Over real HTTP, each on a connection of its own."""

    def post_all(self, url, body, headers):
        def post(_):
            return requests.post(url, data=body, headers=headers, timeout=60).status_code

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(post, range(100)))

    def test_notifications_that_are_one_leave_one_row(self, live_server, keys):
        body = signed(trade(), keys[1])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}

        assert self.post_all(live_server.url + NOTIFY, body, headers) == [200] * 100

        assert InboundNotification.objects.get().repeats == 99
        assert OrmQ.objects.count() == 1

    def test_events_that_are_one_leave_one_row(self, live_server):
        w.carrier()
        body = json.dumps(event()).encode()

        assert self.post_all(live_server.url + EVENTS, body, seal(body)) == [201] * 100

        assert InboundNotification.objects.get().repeats == 99
        assert OrmQ.objects.count() == 1

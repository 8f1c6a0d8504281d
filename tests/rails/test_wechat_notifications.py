"""Notifications over v2 and v3: the genuine read rightly, and of a thousand false ones none.

Signed here by hand, in the words of the vendor's document, so that the adapter's code does not
merely agree with itself.
"""

import base64
import hashlib
import hmac
import json
import random
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from billing.gateways.base import Acknowledgement, BadNotification, NotificationKind
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.contract import new_ref
from tests.rails.simulators import Inbox, new_keys
from tests.rails.wechat_simulator import POOR, RICH, session_keys
from tests.rails.wechat_world import (
    APP_ID,
    APPLY,
    MCH_ID,
    OK,
    charge_of,
    gateway_of,
    offline_settings,
    refund_of,
    wechat_in,
)

SEED = 20261122
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Beijing
SETTINGS = offline_settings()
V2_KEY, V3_KEY = SETTINGS["WECHAT_API_V2_KEY"], SETTINGS["WECHAT_API_V3_KEY"]
PLATFORM = load_pem_private_key((session_keys(MCH_ID) / "platform_key.pem").read_bytes(), None)
STRANGER = load_pem_private_key(new_keys().private.encode(), None)
REFUSED_V2 = Acknowledgement(
    "<xml><return_code><![CDATA[FAIL]]></return_code>"
    "<return_msg><![CDATA[refused]]></return_msg></xml>",
    "text/xml",
)
REFUSED_V3 = Acknowledgement('{"code":"FAIL","message":"refused"}', "application/json", 401)

CHARGE = {
    "appid": APP_ID,
    "attach": "",
    "bank_type": "CFT",
    "cash_fee": "5000",
    "contract_id": "Wx15463511252015071056489715",
    "fee_type": "CNY",
    "is_subscribe": "N",
    "mch_id": MCH_ID,
    "nonce_str": "5d2b6c2a8db53831f7eda20af46e531c",
    "openid": RICH,
    "out_trade_no": "R0001",
    "result_code": "SUCCESS",
    "return_code": "SUCCESS",
    "time_end": "20261122115900",
    "total_fee": "5000",
    "transaction_id": "1004400740201409030005092168",
}
FAILED = {
    name: value
    for name, value in CHARGE.items()
    if name not in ("time_end", "transaction_id", "total_fee", "cash_fee")
} | {"result_code": "FAIL", "err_code": "NOTENOUGH", "out_trade_no": "R0002"}
CONTRACT = {
    "return_code": "SUCCESS",
    "result_code": "SUCCESS",
    "mch_id": MCH_ID,
    "contract_code": "B0001",
    "openid": RICH,
    "plan_id": "12535",
    "change_type": "ADD",
    "operate_time": "2026-11-22 11:58:00",
    "contract_id": "Wx15463511252015071056489715",
}
ENDED = CONTRACT | {"change_type": "DELETE", "contract_termination_mode": "2"}
REFUND = {
    "transaction_id": "1004400740201409030005092168",
    "out_trade_no": "R0001",
    "refund_id": "50000202611220000000009000000",
    "out_refund_no": "F0001",
    "total_fee": "5000",
    "refund_fee": "1200",
    "settlement_refund_fee": "1100",
    "refund_status": "SUCCESS",
    "success_time": "2026-11-22 11:57:00",
    "refund_recv_accout": "招商银行信用卡0403",
}


# --- as WeChat Pay makes them -----------------------------------------------------------------


def xml(fields, root="xml"):
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<{root}>{inner}</{root}>".encode()


def sign_of(fields, key=V2_KEY, kind="MD5"):
    text = "&".join(f"{k}={fields[k]}" for k in sorted(fields) if fields[k] and k != "sign")
    raw = f"{text}&key={key}".encode()
    if kind == "MD5":
        return hashlib.md5(raw).hexdigest().upper()  # noqa: S324
    return hmac.new(key.encode(), raw, hashlib.sha256).hexdigest().upper()


def v2(fields, **how):
    return {}, xml(fields | {"sign": sign_of(fields, **how)})


def sealed(fields, key=V2_KEY):
    """req_info: PKCS#7 and AES-256-ECB by hand."""
    text = fields if isinstance(fields, bytes) else xml(fields, root="root")
    pad = 16 - len(text) % 16
    aes = Cipher(
        algorithms.AES(hashlib.md5(key.encode()).hexdigest().encode()),  # noqa: S324
        modes.ECB(),  # noqa: S305
    ).encryptor()
    return base64.b64encode(aes.update(text + bytes([pad]) * pad) + aes.finalize()).decode()


def v2_refund(fields, key=V2_KEY, **outer):
    whole = {
        "return_code": "SUCCESS",
        "appid": APP_ID,
        "mch_id": MCH_ID,
        "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        "req_info": sealed(fields, key),
    }
    return {}, xml(whole | outer)


V3_CHARGE = {
    "mchid": MCH_ID,
    "appid": APP_ID,
    "out_trade_no": "R0003",
    "transaction_id": "1004400740201409030005092169",
    "trade_state": "SUCCESS",
    "payer": {"openid": RICH},
    "amount": {"total": 5000, "currency": "CNY"},
}
V3_REFUND = {
    "mchid": MCH_ID,
    "out_trade_no": "R0003",
    "transaction_id": "1004400740201409030005092169",
    "out_refund_no": "F0003",
    "refund_status": "SUCCESS",
    "user_received_account": "招商银行信用卡0403",
    "amount": {"total": 5000, "refund": 700},
}
V3_CONTRACT = {
    "mchid": MCH_ID,
    "appid": APP_ID,
    "contract_id": "123124412412423431",
    "out_contract_code": "B0003",
    "contract_state": "SIGNED",
    "openid": RICH,
}


def v3(event, inside, *, at=NOW, key=PLATFORM, v3_key=V3_KEY, serial="", **envelope):
    resource = {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": "fdasflkja484",
        "associated_data": "papay",
        "ciphertext": base64.b64encode(
            AESGCM(v3_key.encode()).encrypt(b"fdasflkja484", json.dumps(inside).encode(), b"papay")
        ).decode(),
    }
    body = json.dumps({"id": f"EV-{event}", "event_type": event, "resource": resource} | envelope)
    return v3_headers(body.encode(), at=at, key=key, serial=serial), body.encode()


def v3_headers(body, *, at=NOW, key=PLATFORM, serial=""):
    stamp, nonce = str(int(at.timestamp())), "593BEC0C930BF1AFEB40B4A08C8FB242"
    text = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
    signature = base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    return {
        "Wechatpay-Timestamp": stamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature,
        "Wechatpay-Serial": serial or SETTINGS["WECHAT_PLATFORM_SERIAL"],
    }


GENUINE_V2 = [v2(CHARGE), v2(FAILED, kind="HMAC"), v2(CONTRACT), v2(ENDED, kind="HMAC")]
GENUINE_REFUND = v2_refund(REFUND)
GENUINE_V3 = [
    v3("TRANSACTION.SUCCESS", V3_CHARGE),
    v3("REFUND.SUCCESS", V3_REFUND),
    v3("ENTRUST.SIGN", V3_CONTRACT),
]
GENUINE = [*GENUINE_V2, GENUINE_REFUND, *GENUINE_V3]


@pytest.fixture(scope="module")
def gateway():
    return WechatGateway.from_settings(SETTINGS, timeout_s=10, clock=lambda: NOW)


def read(gateway, message, at=NOW):
    headers, body = message
    return gateway.parse_notification(headers=headers, body=body, query={}, at=at)


class TestGenuineOnesOverV2:
    @pytest.mark.parametrize("kind", ["MD5", "HMAC"])
    def test_a_paid_charge_names_reference_amount_and_state(self, gateway, kind):
        note, said = read(gateway, v2(CHARGE, kind=kind))
        assert note.kind is NotificationKind.CHARGE
        assert (note.our_ref, note.provider_ref) == ("R0001", CHARGE["transaction_id"])
        assert (note.amount_minor, note.currency, note.claims) == (5000, "CNY", "SUCCESS")
        assert said == Acknowledgement(OK, "text/xml", 200)

    def test_a_field_that_nobody_here_knows_is_part_of_what_is_signed(self, gateway):
        note, _ = read(gateway, v2(CHARGE | {"brand_new": "值 &<"}))
        assert note.our_ref == "R0001"

    def test_a_failed_charge_claims_its_code_and_no_amount(self, gateway):
        note, _ = read(gateway, v2(FAILED))
        assert (note.our_ref, note.claims, note.amount_minor) == ("R0002", "NOTENOUGH", None)

    def test_the_vendors_odd_failure_that_says_success_claims_nothing(self, gateway):
        odd = {name: FAILED[name] for name in FAILED if name != "err_code"}
        note, _ = read(gateway, v2(odd | {"result_code": "SUCCESS"}))
        assert (note.our_ref, note.claims, note.provider_ref) == ("R0002", "", "")

    @pytest.mark.parametrize(("fields", "claims"), [(CONTRACT, "ADD"), (ENDED, "DELETE")])
    def test_both_ends_of_a_contract_are_told(self, gateway, fields, claims):
        note, _ = read(gateway, v2(fields))
        assert note.kind is NotificationKind.BINDING
        assert (note.our_ref, note.provider_ref) == ("B0001", CONTRACT["contract_id"])
        assert note.claims == claims

    def test_a_refund_is_opened_and_names_itself_and_its_own_amount(self, gateway):
        note, said = read(gateway, v2_refund(REFUND))
        assert note.kind is NotificationKind.REFUND
        assert (note.our_ref, note.refund_ref, note.amount_minor) == ("R0001", "F0001", 1200)
        assert note.claims == "SUCCESS"
        assert said.body == OK

    def test_a_repeat_signed_anew_has_the_same_id_and_every_other_one_its_own(self, gateway):
        again = v2(CHARGE | {"nonce_str": "another", "sign_type": "HMAC-SHA256"}, kind="HMAC")
        assert read(gateway, again)[0].dedupe_id == read(gateway, v2(CHARGE))[0].dedupe_id
        assert len({read(gateway, one)[0].dedupe_id for one in GENUINE}) == len(GENUINE)

    def test_what_is_kept_of_it_names_no_payer_and_no_token(self, gateway):
        kept = "".join(read(gateway, one)[0].body_masked for one in GENUINE)
        assert RICH not in kept
        assert CONTRACT["contract_id"] not in kept
        assert "招商银行" not in kept
        assert CHARGE["transaction_id"] in kept

    def test_one_of_a_day_ago_is_good_and_an_older_one_is_not(self, gateway):
        for message in (v2(CHARGE), v2(CONTRACT), v2_refund(REFUND)):
            read(gateway, message, at=NOW + timedelta(hours=25))
            with pytest.raises(BadNotification, match="too old"):
                read(gateway, message, at=NOW + timedelta(hours=27))


class TestGenuineOnesOverV3:
    def test_a_charge(self, gateway):
        note, said = read(gateway, v3("TRANSACTION.SUCCESS", V3_CHARGE))
        assert (note.kind, note.our_ref) == (NotificationKind.CHARGE, "R0003")
        assert (note.amount_minor, note.claims) == (5000, "SUCCESS")
        assert note.dedupe_id == "EV-TRANSACTION.SUCCESS"
        assert said == Acknowledgement("", "application/json", 204)

    def test_a_refund(self, gateway):
        note, _ = read(gateway, v3("REFUND.SUCCESS", V3_REFUND))
        assert (note.kind, note.refund_ref) == (NotificationKind.REFUND, "F0003")
        assert note.amount_minor == 700

    def test_a_contract(self, gateway):
        note, _ = read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT))
        assert (note.kind, note.our_ref) == (NotificationKind.BINDING, "B0003")
        assert (note.provider_ref, note.claims) == ("123124412412423431", "SIGNED")

    def test_header_names_are_read_in_any_case(self, gateway):
        headers, body = v3("ENTRUST.SIGN", V3_CONTRACT)
        for spelt in (str.lower, str.upper):
            read(gateway, ({spelt(name): value for name, value in headers.items()}, body))

    @pytest.mark.parametrize("minutes", [-4, 4])
    def test_a_clock_a_little_off_does_no_harm(self, gateway, minutes):
        message = v3("ENTRUST.SIGN", V3_CONTRACT)
        read(gateway, message, at=NOW + timedelta(minutes=minutes))

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_one_of_another_time_is_refused(self, gateway, minutes):
        with pytest.raises(BadNotification, match="not of now"):
            read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT), at=NOW + timedelta(minutes=minutes))

    def test_a_probe_is_refused_even_where_the_rest_of_it_would_verify(self, gateway):
        headers, body = v3("ENTRUST.SIGN", V3_CONTRACT)
        probe = headers | {
            "Wechatpay-Signature": "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]
        }
        with pytest.raises(BadNotification, match="probe") as refusal:
            read(gateway, (probe, body))
        assert refusal.value.acknowledgement == REFUSED_V3

    def test_without_the_keys_of_v3_none_is_believed(self):
        bare = offline_settings(WECHAT_API_V3_KEY="")
        gateway = WechatGateway.from_settings(bare, timeout_s=10)
        with pytest.raises(BadNotification, match="keys of v3"):
            read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT))

    def test_a_genuine_one_of_v2_under_v3s_headers_is_not_read_as_v2(self, gateway):
        _, body = v2(CHARGE)
        with pytest.raises(BadNotification):
            read(gateway, ({"Wechatpay-Serial": "x"}, body))


class TestFalseOnes:
    def test_of_a_thousand_forged_tampered_and_stale_ones_none_is_news(self, gateway):
        """One that differs only in what nobody signs is a repeat: read as the genuine one is."""
        chance = random.Random(SEED)
        known = {read(gateway, one)[0] for one in GENUINE}
        accepted, said, repeats = [], set(), 0
        for number in range(1000):
            way = WAYS[number % len(WAYS)]
            message, at = way(chance)
            try:
                note, _ = read(gateway, message, at)
            except BadNotification as refusal:
                said.add(refusal.acknowledgement)
            else:
                repeats += note in known
                if note not in known:
                    accepted.append((way.__name__, message))
        assert accepted == []
        assert said == {REFUSED_V2, REFUSED_V3}
        assert repeats < 20

    def test_replayed_ones_are_known_by_their_id_however_often_they_come(self, gateway):
        seen = {read(gateway, one)[0].dedupe_id for one in GENUINE * 125}
        assert len(seen) == len(GENUINE)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x",
            b"\xff\xfe",
            b"<xml>",
            b"<xml/>",
            b"{}",
            b"<root><sign>A</sign></root>",
            b"<xml><a><b>1</b></a></xml>",
            b'<?xml version="1.0" encoding="x-unknown"?><xml/>',
            b'<!DOCTYPE xml [<!ENTITY a "b">]><xml><c>&a;</c></xml>',
            b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x"><xml/>',
            b"<xml>" + b"<a>1</a>" * 9000 + b"</xml>",
            b"<xml>" + b"".join(b"<a%d>1</a%d>" % (n, n) for n in range(600)) + b"</xml>",
        ],
    )
    def test_what_is_no_message_is_refused(self, gateway, body):
        with pytest.raises(BadNotification) as refusal:
            read(gateway, ({}, body))
        assert refusal.value.acknowledgement == REFUSED_V2

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b"null", b'{"resource":[]}', b"[" * 60_000]
    )
    def test_what_is_no_object_is_refused_although_it_is_signed(self, gateway, body):
        with pytest.raises(BadNotification) as refusal:
            read(gateway, (v3_headers(body), body))
        assert refusal.value.acknowledgement == REFUSED_V3

    def test_a_field_given_twice_is_refused_even_with_the_same_value(self, gateway):
        _, body = v2(CHARGE)
        doubled = body.replace(b"</xml>", b"<total_fee>5000</total_fee></xml>")
        with pytest.raises(BadNotification, match="twice"):
            read(gateway, ({}, doubled))


# --- ways to be false: each gives a message and an hour ----------------------------------------


def _fields(chance):
    return dict(chance.choice([CHARGE, FAILED, CONTRACT, ENDED]))


def flip_a_bit(chance):
    headers, body = chance.choice([*GENUINE_V2, *GENUINE_V3])
    place = chance.randrange(len(body))
    return (headers, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]), NOW


def flip_a_bit_of_a_refund(chance):
    raw = bytearray(base64.b64decode(sealed(REFUND)))
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return v2_refund(REFUND, req_info=base64.b64encode(raw).decode()), NOW


def swap_blocks_of_a_refund(chance):
    raw = base64.b64decode(sealed(REFUND))
    blocks = [raw[at : at + 16] for at in range(0, len(raw), 16)]
    one, other = chance.sample(range(len(blocks)), 2)
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return v2_refund(REFUND, req_info=base64.b64encode(b"".join(blocks)).decode()), NOW


def cut_a_refund_short(chance):
    raw = base64.b64decode(sealed(REFUND))[: -chance.randrange(1, 64)]
    return v2_refund(REFUND, req_info=base64.b64encode(raw).decode()), NOW


def seal_a_refund_under_another_key(chance):
    return v2_refund(REFUND | {"refund_fee": "1"}, key=secrets.token_hex(16)), NOW


def a_refund_for_others(chance):
    other = chance.choice([{"mch_id": "1999999999"}, {"appid": "wx0000000000000000"}])
    return v2_refund(REFUND | {"refund_fee": "1"}, **other), NOW


def a_refund_that_cannot_be_read(chance):
    name = chance.choice(["refund_fee", "total_fee", "out_refund_no", "refund_status"])
    return v2_refund(REFUND | {name: chance.choice(["", "1.5", "５", "x y"])}), NOW


def a_refund_with_a_signature_that_nobody_made(chance):
    return v2_refund(REFUND | {"refund_fee": "7"}, sign="A" * chance.choice([32, 64])), NOW


def change_a_value(chance):
    fields = _fields(chance)
    name = chance.choice(sorted(set(fields) - {"attach"}))
    changed = fields | {name: fields[name] + chance.choice(["0", " ", "x"])}
    return ({}, xml(changed | {"sign": sign_of(fields)})), NOW


def drop_a_field(chance):
    fields = _fields(chance)
    sign = sign_of(fields)
    del fields[chance.choice(sorted(set(fields) - {"attach"}))]
    return ({}, xml(fields | {"sign": sign})), NOW


def add_a_field(chance):
    fields = _fields(chance)
    more = {chance.choice(["coupon_fee", "zzz", "req_info", "trade_state"]): "7"}
    return ({}, xml(fields | more | {"sign": sign_of(fields)})), NOW


def no_signature(chance):
    return ({}, xml(_fields(chance) | chance.choice([{}, {"sign": ""}]))), NOW


def half_a_signature(chance):
    fields = _fields(chance)
    sign = sign_of(fields, kind=chance.choice(["MD5", "HMAC"]))
    return ({}, xml(fields | {"sign": sign[: len(sign) // 2]})), NOW


def a_signature_of_another_type(chance):
    fields = _fields(chance) | {"sign_type": "HMAC-SHA256"}
    return ({}, xml(fields | {"sign": sign_of(fields, kind="MD5")})), NOW


def signed_with_another_key(chance):
    key = chance.choice([secrets.token_hex(16), "", V2_KEY[::-1], V3_KEY])
    return v2(_fields(chance) | {"contract_id": "1"}, key=key), NOW


def genuine_but_for_others(chance):
    return v2(_fields(chance) | {"mch_id": "1999999999"}), NOW


def genuine_but_for_another_application(chance):
    return v2(_fields(chance) | {"appid": "wx0000000000000000"}), NOW


def genuine_of_an_unknown_kind(chance):
    fields = dict(CONTRACT) | {"change_type": chance.choice(["MODIFY", "", "add"])}
    other = {name: CHARGE[name] for name in CHARGE if name != "result_code"}
    return v2(chance.choice([fields, other, CHARGE | {"return_code": "FAIL"}])), NOW


def genuine_with_a_strange_amount(chance):
    return v2(CHARGE | {"total_fee": chance.choice(["1e3", "50.00", "-1", "５０", " "])}), NOW


def genuine_in_another_currency(chance):
    return v2(CHARGE | {"fee_type": chance.choice(["USD", "cny", "HKD"])}), NOW


def genuine_without_a_reference(chance):
    strange = chance.choice(["", "a b", "x" * 65, "<"[:0]])
    return v2(
        chance.choice([CHARGE | {"out_trade_no": strange}, CONTRACT | {"contract_code": strange}])
    ), NOW


def too_old(chance):
    later = NOW + timedelta(hours=27 + chance.randrange(9999))
    return chance.choice([v2(CHARGE), v2(CONTRACT), v2(ENDED), GENUINE_REFUND, *GENUINE_V3]), later


def without_a_time(chance):
    strange = {"operate_time": chance.choice(["", "yesterday", "2026-02-30 00:00:00"])}
    return v2(CONTRACT | strange), NOW


def v3_by_a_stranger(chance):
    return v3("TRANSACTION.SUCCESS", V3_CHARGE, key=STRANGER), NOW


def v3_under_another_serial(chance):
    return v3("TRANSACTION.SUCCESS", V3_CHARGE, serial=secrets.token_hex(20)), NOW


def v3_of_another_time(chance):
    minutes = chance.choice([-1, 1]) * chance.randrange(6, 10_000)
    return chance.choice(GENUINE_V3), NOW + timedelta(minutes=minutes)


def v3_with_a_changed_header(chance):
    headers, body = chance.choice(GENUINE_V3)
    name = chance.choice(sorted(headers))
    value = chance.choice(["", headers[name] + "0", headers[name][1:]])
    return ({**headers, name: value}, body), NOW


def v3_without_a_header(chance):
    headers, body = chance.choice(GENUINE_V3)
    gone = chance.choice(sorted(headers))
    return ({name: headers[name] for name in headers if name != gone}, body), NOW


def v3_with_anothers_body(chance):
    one, other = chance.sample(GENUINE_V3, 2)
    return (one[0], other[1]), NOW


def v3_sealed_under_another_key(chance):
    return v3("TRANSACTION.SUCCESS", V3_CHARGE, v3_key=secrets.token_hex(16)), NOW


def v3_for_others(chance):
    other = chance.choice([{"mchid": "1999999999"}, {"appid": "wx0"}, {"mchid": None}])
    return v3("TRANSACTION.SUCCESS", V3_CHARGE | other), NOW


def v3_of_an_unknown_kind(chance):
    event = chance.choice(["COUPON.USE", "", "transaction.success", "PROFITSHARING"])
    return v3(event, V3_CHARGE), NOW


def v3_without_a_number(chance):
    return v3("TRANSACTION.SUCCESS", V3_CHARGE, id=""), NOW


def v3_with_a_strange_amount(chance):
    amount = chance.choice(
        [{}, None, {"total": "5000"}, {"total": 1.5}, {"total": True}, {"total": -1}]
    )
    return v3("TRANSACTION.SUCCESS", V3_CHARGE | {"amount": amount}), NOW


WAYS = (
    flip_a_bit,
    flip_a_bit_of_a_refund,
    swap_blocks_of_a_refund,
    cut_a_refund_short,
    seal_a_refund_under_another_key,
    a_refund_for_others,
    a_refund_that_cannot_be_read,
    a_refund_with_a_signature_that_nobody_made,
    change_a_value,
    drop_a_field,
    add_a_field,
    no_signature,
    half_a_signature,
    a_signature_of_another_type,
    signed_with_another_key,
    genuine_but_for_others,
    genuine_but_for_another_application,
    genuine_of_an_unknown_kind,
    genuine_with_a_strange_amount,
    genuine_in_another_currency,
    genuine_without_a_reference,
    too_old,
    without_a_time,
    v3_by_a_stranger,
    v3_under_another_serial,
    v3_of_another_time,
    v3_with_a_changed_header,
    v3_without_a_header,
    v3_with_anothers_body,
    v3_sealed_under_another_key,
    v3_for_others,
    v3_of_an_unknown_kind,
    v3_without_a_number,
    v3_with_a_strange_amount,
)


@pytest.mark.processes
class TestWhatTheSimulatorSends:
    """The same kinds, made by code that shares nothing with this."""

    @pytest.fixture(scope="class")
    @classmethod
    def process(cls, tmp_path_factory):
        with wechat_in(tmp_path_factory.mktemp("wechat"), "none") as simulator:
            yield simulator

    @pytest.fixture
    def inbox(self):
        box = Inbox(answer=OK)
        yield box
        box.close()

    @pytest.fixture
    def wechat(self, process, inbox):
        process.calm()
        process.set(
            contract_notify_url=inbox.url,
            refund_notify_url=inbox.url,
            notifies_by_v3=False,
            odd_failures=False,
        )
        return process

    def read_all(self, wechat, inbox, count):
        inbox.wait_for(count)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        messages = zip(inbox.headers, inbox.received, strict=True)
        return [read(gateway, message, at=wechat.now())[0] for message in messages]

    @pytest.mark.parametrize("by_v3", [False, True])
    def test_is_read_over_either_protocol(self, wechat, inbox, by_v3):
        wechat.set(notifies_by_v3=by_v3)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        binding_ref = new_ref("B")
        contract = wechat.agree(binding_ref, notify_url=inbox.url)
        inbox.wait_for(1)
        charge = charge_of(contract, notify_url=inbox.url)
        gateway.charge(request=charge)
        inbox.wait_for(2)
        refund = refund_of(charge, 1200)
        gateway.refund(request=refund)
        wechat.advance(5)
        inbox.wait_for(3)
        gateway.revoke_binding(binding_ref="", provider_ref=contract)
        signed, paid, given_back, ended = self.read_all(wechat, inbox, 4)
        kinds = [note.kind.value for note in (signed, paid, given_back, ended)]
        assert kinds == ["binding", "charge", "refund", "binding"]
        assert (signed.our_ref, signed.provider_ref, signed.claims) == (
            binding_ref,
            contract,
            "ADD",
        )
        assert (ended.our_ref, ended.claims) == (binding_ref, "DELETE")
        assert (paid.our_ref, paid.amount_minor, paid.claims) == (charge.reference, 5000, "SUCCESS")
        assert (given_back.refund_ref, given_back.amount_minor) == (refund.refund_ref, 1200)
        assert len({note.dedupe_id for note in (signed, paid, given_back, ended)}) == 4

    @pytest.mark.parametrize(("odd", "claims"), [(False, "CLOSED"), (True, "")])
    def test_of_a_failed_charge_is_read_in_either_wording(self, wechat, inbox, odd, claims):
        wechat.set(odd_failures=odd)
        request = charge_of(wechat.agree(new_ref("B"), payer=POOR), notify_url=inbox.url)
        gateway_of(wechat, WECHAT_NOTICE_MODE="none").charge(request=request)
        (note,) = self.read_all(wechat, inbox, 1)
        assert (note.our_ref, note.claims) == (request.reference, claims)

    def test_twice_or_before_the_answer_is_the_same_news(self, wechat, inbox):
        for kind in ("notify_duplicate", "notify_before_answer"):
            wechat.fault(APPLY, kind, copies=3)
        request = charge_of(wechat.agree(new_ref("B")), notify_url=inbox.url)
        gateway_of(wechat, WECHAT_NOTICE_MODE="none").charge(request=request)
        notes = self.read_all(wechat, inbox, 4)
        assert {note.our_ref for note in notes} == {request.reference}
        assert len({note.dedupe_id for note in notes}) == 1

    @pytest.mark.parametrize(
        ("kind", "by_v3"),
        [("notify_forged", False), ("notify_probe", False), ("notify_probe", True)],
    )
    def test_its_own_forgery_is_refused_and_the_true_one_after_it_read(
        self, wechat, inbox, kind, by_v3
    ):
        wechat.set(notifies_by_v3=by_v3)
        wechat.fault(APPLY, kind)
        request = charge_of(wechat.agree(new_ref("B")), notify_url=inbox.url)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        gateway.charge(request=request)
        inbox.wait_for(2)
        outcomes = []
        for message in zip(inbox.headers, inbox.received, strict=True):
            try:
                outcomes.append(read(gateway, message, at=wechat.now())[0].amount_minor)
            except BadNotification:
                outcomes.append(None)
        assert sorted(outcomes, key=str) == [5000, None]

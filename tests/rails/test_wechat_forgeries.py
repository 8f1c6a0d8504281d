"""Notifications that are false: of a thousand forged, tampered and stale ones none is news."""

import base64
import random
import secrets
from datetime import timedelta

import pytest

from billing.gateways.base import BadNotification
from tests.rails.wechat_notifications import (
    CHARGE,
    CONTRACT,
    ENDED,
    FAILED,
    GENUINE,
    GENUINE_REFUND,
    GENUINE_V2,
    GENUINE_V3,
    NOW,
    REFUND,
    REFUSED_V2,
    REFUSED_V3,
    STRANGER,
    V2_KEY,
    V3_CHARGE,
    V3_KEY,
    gateway,
    read,
    sealed,
    sign_of,
    v2,
    v2_refund,
    v3,
    v3_headers,
    xml,
)

__all__ = ["gateway"]
SEED = 20261122


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

"""Notifications that come over v3: signed on the raw body, of now, their content sealed (§2.3).

Mainland entrusted deduction tells over v2; a merchant whose account notifies over v3 gets the same
three kinds this way.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime

from billing.gateways.base import Acknowledgement, BadNotification, Notification, NotificationKind
from billing.gateways.wechat import v3
from billing.gateways.wechat.masking import masked_json
from billing.gateways.wechat.orders import CURRENCY
from billing.gateways.wechat.terms import Terms

ACCEPTED = Acknowledgement("", "application/json", 204)
REFUSED = Acknowledgement('{"code":"FAIL","message":"refused"}', "application/json", 401)

_LONGEST_BODY_BYTES = 64 * 1024
_LONGEST_REFERENCE = 64
_Object = Mapping[str, object]


def is_v3(headers: Mapping[str, str]) -> bool:
    """Whether a notification claims to be v3's: then it must be, and is not read as v2."""
    return any(name.lower().startswith("wechatpay-") for name in headers)


def read(
    body: bytes,
    *,
    headers: Mapping[str, str],
    identity: v3.Identity | None,
    terms: Terms,
    at: datetime,
) -> Notification:
    """The notification in `body`. Raises BadNotification: nothing of it may be believed."""
    if identity is None:
        raise _bad("the keys of v3 are not set up")
    if len(body) > _LONGEST_BODY_BYTES:
        raise _bad("it is too long")
    try:
        v3.verify(identity, headers=headers, body=body, at=at)
        envelope = _object(body)
        resource = envelope.get("resource")
        inside = v3.opened(identity, resource if isinstance(resource, dict) else {})
    except v3.NotGenuine as error:
        raise _bad(str(error)) from error
    _check_is_ours(inside, terms)
    event, number = str(envelope.get("event_type", "")), str(envelope.get("id", ""))
    reader = _READERS.get(event.partition(".")[0])
    if reader is None or not number:
        raise _bad("it is of no kind that is read here")
    return reader(number, event, inside)


def _bad(reason: str) -> BadNotification:
    return BadNotification(reason, REFUSED)


def _object(body: bytes) -> _Object:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("it is not JSON") from error
    if not isinstance(envelope, dict):
        raise _bad("it is not an object")
    return envelope


def _check_is_ours(inside: _Object, terms: Terms) -> None:
    if inside.get("mchid") != terms.mch_id:
        raise _bad("it is for another merchant")
    if inside.get("appid", terms.app_id) != terms.app_id:
        raise _bad("it is for another application")


def _about_charge(number: str, event: str, inside: _Object) -> Notification:
    return Notification(
        kind=NotificationKind.CHARGE,
        dedupe_id=number,
        our_ref=_text(inside, "out_trade_no"),
        provider_ref=str(inside.get("transaction_id", "")),
        amount_minor=_amount(inside, "total"),
        currency=CURRENCY,
        claims=str(inside.get("trade_state", event)),
        body_masked=masked_json(inside),
    )


def _about_refund(number: str, event: str, inside: _Object) -> Notification:
    return Notification(
        kind=NotificationKind.REFUND,
        dedupe_id=number,
        our_ref=_text(inside, "out_trade_no"),
        provider_ref=str(inside.get("transaction_id", "")),
        refund_ref=_text(inside, "out_refund_no"),
        amount_minor=_amount(inside, "refund"),
        currency=CURRENCY,
        claims=str(inside.get("refund_status", event)),
        body_masked=masked_json(inside),
    )


def _about_contract(number: str, event: str, inside: _Object) -> Notification:
    return Notification(
        kind=NotificationKind.BINDING,
        dedupe_id=number,
        our_ref=_text(inside, "out_contract_code", "contract_code"),
        provider_ref=str(inside.get("contract_id", "")),
        claims=str(inside.get("contract_state") or inside.get("change_type") or event),
        body_masked=masked_json(inside),
    )


_READERS: Mapping[str, Callable[[str, str, _Object], Notification]] = {
    "TRANSACTION": _about_charge,
    "REFUND": _about_refund,
    "ENTRUST": _about_contract,
    "PAPAY": _about_contract,
}


def _text(inside: _Object, *names: str) -> str:
    """The first of `names` that is there: one thing has two names in the vendor's texts."""
    value = next((inside[name] for name in names if inside.get(name)), None)
    if not isinstance(value, str) or len(value) > _LONGEST_REFERENCE:
        raise _bad(f"its {names[0]} cannot be read")
    return value


def _amount(inside: _Object, name: str) -> int:
    """`amount.total` or `amount.refund`, in fen."""
    amount = inside.get("amount")
    value = amount.get(name) if isinstance(amount, dict) else None
    currency = amount.get("currency", CURRENCY) if isinstance(amount, dict) else ""
    if type(value) is not int or value < 0 or currency != CURRENCY:
        raise _bad("its amount cannot be read")
    return value

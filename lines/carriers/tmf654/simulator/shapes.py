"""What a request must look like, written down by hand from the document's `…_Create` definitions.

Only types and required fields: what the operator thinks of a request's values is the books' affair.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

Check = Callable[[object], bool]
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\[\]]*|[^\s:<>\"{}|\\^`\[\]]*")


def text(value: object) -> bool:
    return isinstance(value, str)


def uri(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and bool(_URI.fullmatch(value))


def flag(value: object) -> bool:
    return isinstance(value, bool)


def number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def whole(value: object) -> bool:
    return number(value) and value == int(value)  # type: ignore[call-overload]


def instant(value: object) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def one_of(*values: str) -> Check:
    return lambda value: value in values


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def shape(required: str = "", **fields: Check) -> Check:
    """An object; fields it does not know are welcome, as the document has it."""
    checks = {"@baseType": text, "@schemaLocation": uri, "@type": text, **fields}

    def is_such(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value for name in required.split())
            and all(check(value[name]) for name, check in checks.items() if name in value)
        )

    return is_such


_REF: dict[str, Any] = {"id": text, "href": text, "name": text, "@referredType": text}
_ref = shape("id", **_REF)
_party = shape("@referredType id", **_REF, role=text)
_quantity = shape(amount=number, units=text)
_period = shape(startDateTime=instant, endDateTime=instant)
_account = shape("id", **_REF, description=text, status=text)
_usage = one_of("monetary", "voice", "data", "sms", "other")

_ACTION: dict[str, Check] = {
    "description": text,
    "reason": text,
    "amount": _quantity,
    "bucket": _ref,
    "channel": _ref,
    "logicalResource": list_of(_ref),
    "product": list_of(_ref),
    "requestor": _party,
    "usageType": _usage,
    "validFor": _period,
}
TOPUP = shape(
    "amount usageType bucket partyAccount",
    **_ACTION,
    isAutoTopup=flag,
    numberOfPeriods=whole,
    voucher=text,
    balanceTopup=_party,
    partyAccount=_account,
    paymentMethod=_ref,
    recurringPeriod=one_of("weekly", "fortnightly", "monthly"),
)
ADJUSTMENT = shape("amount usageType bucket", **_ACTION, adjustType=one_of("recurring", "oneTime"))
STATUS = shape("status", status=one_of("created", "failed", "cancelled", "completed"))
SUBSCRIPTION = shape("callback", callback=text, query=text)
MESSAGE = shape(
    "address senderAddress outboundSMSTextMessage",
    address=list_of(text),
    senderAddress=text,
    outboundSMSTextMessage=shape("message", message=text),
)

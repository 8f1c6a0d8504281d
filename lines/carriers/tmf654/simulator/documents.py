"""The books in the protocol's words: JSON with exact amounts, lists filtered and paged."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lines.carriers.tmf654.simulator.books import Refused
from lines.carriers.tmf654.simulator.records import Line, Movement, Order, decimals

BASE_PATH = "/tmf-api/prepayBalanceManagement/v4"
_PAGING = {"fields", "offset", "limit"}
_REQUIRED = {"id", "href", "status", "receiverLogicalResource"}  # never left out by `fields`
_MAX_PAGE = 1000
_COMPARISONS: dict[str, Callable[[datetime, datetime], bool]] = {
    "gte": lambda at, bound: at >= bound,
    "gt": lambda at, bound: at > bound,
    "lte": lambda at, bound: at <= bound,
    "lt": lambda at, bound: at < bound,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire, before it is written as bytes."""

    document: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def dump(value: Any) -> str:
    """JSON, with each Decimal as the digits it has."""
    match value:
        case Decimal():
            return format(value, "f")
        case dict():
            pairs = ",".join(f"{json.dumps(name)}:{dump(each)}" for name, each in value.items())
            return f"{{{pairs}}}"
        case list() | tuple():
            return f"[{','.join(map(dump, value))}]"
    return json.dumps(value)


def error(code: str, reason: str, status: int) -> Answer:
    document = {"code": code, "reason": reason, "status": str(status), "@type": "Error"}
    return Answer(document, status)


def bucket(line: Line, at: datetime) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": line.id,
        "href": f"{BASE_PATH}/bucket/{line.id}",
        "name": "main balance",
        "confirmationDate": _instant(at),
        "usageType": "monetary",
        "status": line.bucket_status(at),
        "remainingValue": _quantity(line.balance_minor, line.currency),
        "reservedValue": _quantity(line.reserved_minor, line.currency),
        "partyAccount": {"id": line.account_id, "@referredType": "PartyAccount"},
        "logicalResource": [{"id": value, "@referredType": kind} for value, kind in line.resources],
        "@type": "Bucket",
    }
    if line.valid_until:
        document["validFor"] = {"endDateTime": _instant(line.valid_until)}
    return document


def order(record: Order) -> dict[str, Any]:
    name = f"{record.kind}Balance"
    document = {
        "@type": name[0].upper() + name[1:],
        "logicalResource": [{"id": record.resource}],
        **record.echo,
        "id": record.id,
        "href": f"{BASE_PATH}/{name}/{record.id}",
        "status": record.status,
        "requestedDate": _instant(record.requested_at),
        "bucket": {"id": record.bucket_id},
        "amount": _quantity(record.amount_minor, record.currency),
    }
    if record.confirmed_at:
        document["confirmationDate"] = _instant(record.confirmed_at)
    if record.reason:
        document["reason"] = record.reason
    return document


def movement(record: Movement) -> dict[str, Any]:
    signed_minor = record.amount_minor if record.kind == "credit" else -record.amount_minor
    texts = {name: value for name, value in record.echo.items() if isinstance(value, str)}
    return {
        **texts,
        "id": record.order_id,
        "href": f"{BASE_PATH}/balanceActionHistory/{record.order_id}",
        "status": "completed",
        "confirmationDate": _instant(record.at),
        "usageType": "monetary",
        "amount": _quantity(signed_minor, record.currency),
        "bucket": {"id": record.bucket_id},
        "receiverLogicalResource": {"id": record.resource},
        "@type": "BalanceActionHistory",
    }


def listing(
    records: Sequence[Any], write: Callable[[Any], dict[str, Any]], params: Mapping[str, str]
) -> Answer:
    """Filter, page and project. A filter is `path=value`, or `path.gte=instant` and the like.

    Raises Refused for a page or an instant that is none.
    """
    offset = _whole(params, "offset", 0)
    limit = min(_whole(params, "limit", _MAX_PAGE), _MAX_PAGE)
    filters = {name: value for name, value in params.items() if name not in _PAGING}
    if filters:
        wanted = [each for each in map(write, records) if _matches(each, filters)]
        total, page = len(wanted), wanted[offset : offset + limit]
    else:  # only what is shown is written out: a statement may be long
        total, page = len(records), [write(each) for each in records[offset : offset + limit]]
    counts = {"X-Result-Count": str(len(page)), "X-Total-Count": str(total)}
    return Answer([projected(each, params) for each in page], 200, counts)


def projected(document: dict[str, Any], params: Mapping[str, str]) -> dict[str, Any]:
    """Only the attributes named by `fields`, and those the document requires."""
    names = {name for name in params.get("fields", "").split(",") if name}
    if not names:
        return document
    return {name: v for name, v in document.items() if name in names | _REQUIRED}


def instant(text: str) -> datetime:
    """Raises Refused."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused("invalidQuery", "An instant looks like 2026-11-22T08:00:00Z.") from None


def minor(amount: Any, currency: str) -> int:
    """Exactly, or Refused: the operator sells no fractions of its smallest unit."""
    value = Decimal(1 if amount is None else amount)  # 1 is the document's default
    scaled = value.scaleb(decimals(currency)) if abs(value) < 10**12 else None
    if scaled is None or scaled != scaled.to_integral_value():
        raise Refused("invalidAmount", "The amount is not in whole minor units.")
    return int(scaled)


def _matches(document: dict[str, Any], filters: Mapping[str, str]) -> bool:
    for name, wanted in filters.items():
        path, _, operator = name.rpartition(".")
        if operator in _COMPARISONS:
            values = [instant(str(value)) for value in _values(document, path.split("."))]
            bound = instant(wanted)
            if not any(_COMPARISONS[operator](value, bound) for value in values):
                return False
        elif wanted not in map(str, _values(document, name.split("."))):
            return False
    return True


def _values(value: Any, path: Sequence[str]) -> Iterable[Any]:
    if isinstance(value, list):
        return [found for each in value for found in _values(each, path)]
    if not path:
        return [value]
    if isinstance(value, dict) and path[0] in value:
        return _values(value[path[0]], path[1:])
    return []


def _whole(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        if name in params:
            raise Refused("invalidQuery", f"{name} is a whole number.")
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refused("invalidQuery", f"{name} is a whole number, not below zero.")
    return int(text)


def _quantity(amount_minor: int, currency: str) -> dict[str, Any]:
    return {"amount": Decimal(amount_minor).scaleb(-decimals(currency)), "units": currency}


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

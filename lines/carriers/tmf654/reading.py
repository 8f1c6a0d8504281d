"""The protocol's documents as facts. What is missing, contradictory or unreadable is `Unreadable`.

Source: TMF654 v4.0.0, definitions Bucket, TopupBalance, AdjustBalance, BalanceActionHistory.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, Final

from lines import validity
from lines.carriers.base import Balance
from lines.carriers.naming import bare, same_number
from lines.carriers.tmf654 import amounts
from lines.carriers.tmf654.masking import masked
from lines.carriers.tmf654.wire import storable
from lines.validity import UNSAID, Validity

_BUCKET_STATUSES: Final = {"active", "suspended", "expired"}
_ACTION_STATUSES: Final = {"created", "failed", "cancelled", "completed"}
_ID_LENGTH: Final = 64  # what we store of a carrier's own reference
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURRENCY: Final = re.compile(r"[A-Z][A-Z][A-Z]")
_SHORTEST_NUMBER: Final = 7
# A whole text that is one word, or a figure too short for anybody's number: the carrier's code.
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_.-]*[0-9]{0,6}|[0-9]{1,7}")


class Unreadable(Exception):
    """This answer cannot be believed. The text names what is wrong with it, never a value."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A number or a card in the carrier's words. `kind` is its `@referredType`, in lower case."""

    id: str
    kind: str
    value: str = ""  # the number, where the carrier's id is one of its inventory

    def names(self, value: str) -> bool:
        """A number that is told outright decides over what the inventory calls it."""
        return bool(value) and same_number(self.number, value)

    @property
    def number(self) -> str:
        return self.value if _is_number(self.value) else self.id


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a line's money is. `document` is the carrier's own text of it."""

    id: str
    account_id: str
    resources: tuple[Resource, ...]
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """When an order took effect, as far as the carrier says it: an optional field of its answers,
    which costs nothing of what stands beside it.
    """

    is_told: bool = False
    at: datetime | None = None  # an instant; a time without an offset is the carrier's own
    on: date | None = None  # only a day

    def is_within(self, start: datetime, end: datetime) -> bool:
        """Whether that may lie in [start, end), the carrier's own day or days."""
        if self.at is not None:
            return start <= self.at < end
        return self.on is None or start.date() <= self.on < end.date()


@dataclass(frozen=True, slots=True)
class Order:
    """A top-up or an adjustment as the carrier has it. `amount_minor` is signed."""

    carrier_ref: str
    reference: str  # empty where the carrier does not echo it
    status: str
    amount_minor: int | None
    currency: str
    confirmed: Confirmation
    reason: str
    resources: tuple[Resource, ...]
    bucket_id: str  # empty where the carrier does not say


def bucket_from(document: Any) -> Bucket:
    """Raises Unreadable."""
    document = _object(document, "bucket")
    account = document.get("partyAccount")
    return Bucket(
        id=identifier(document, "id"),
        account_id=identifier(account, "id") if isinstance(account, dict) else "",
        resources=resources(document),
        document=document,
    )


def balance_from(
    bucket: Bucket, *, currency: str, observed_at: datetime, time_zone: tzinfo
) -> Balance:
    """Raises Unreadable. A fraction of the smallest unit is not counted as there.

    What is beside the value never costs it: a status or a validity that makes no sense is not said.
    """
    document = bucket.document
    status = document.get("status")
    reserved = document.get("reservedValue")
    try:
        return Balance(
            balance_minor=amounts.floor_minor(
                _money(document.get("remainingValue"), "remainingValue", currency), currency
            ),
            currency=currency,
            observed_at=observed_at,
            valid_until=_valid_until(document, time_zone),
            status=status if status in _BUCKET_STATUSES else "",
            reserved_minor=0
            if reserved is None
            else amounts.ceiling_minor(_money(reserved, "reservedValue", currency), currency),
        )
    except amounts.NotAnAmount as error:
        raise Unreadable(f"a bucket's value is {error}") from None


def order_from(
    document: Any, *, currency: str, reference_field: str, time_zone: tzinfo = UTC
) -> Order:
    """A TopupBalance, an AdjustBalance or a BalanceActionHistory. Raises Unreadable.

    `currency` "" takes the amount in whatever currency it is told in.
    """
    document = _object(document, "order")
    units = currency or _currency_of(document.get("amount"))
    status = document.get("status")
    if status not in _ACTION_STATUSES:
        raise Unreadable("the order's status is not one of the protocol's")
    return Order(
        carrier_ref=identifier(document, "id"),
        reference=text(document, reference_field),
        status=str(status),
        amount_minor=_order_amount(document, units),
        currency=units,
        confirmed=confirmation(document.get("confirmationDate"), time_zone=time_zone),
        reason=_reason(text(document, "reason", 200)),
        resources=resources(document),
        bucket_id=text(document.get("bucket"), "id"),
    )


def confirmation(value: object, *, time_zone: tzinfo) -> Confirmation:
    """What an order's date says; nothing of it is needed to believe the order."""
    if value is None or value == "":
        return Confirmation()
    try:
        if not isinstance(value, str):
            return Confirmation(True)
        if _DAY.fullmatch(value.strip()):
            return Confirmation(True, on=date.fromisoformat(value.strip()))
        at = datetime.fromisoformat(value.strip())
        return Confirmation(
            True, (at if at.tzinfo else at.replace(tzinfo=time_zone)).astimezone(UTC)
        )
    except (ValueError, OverflowError):
        return Confirmation(True)


def moment(document: Mapping[str, Any], name: str) -> datetime | None:
    """An instant in UTC; None when it is not there. Raises Unreadable, also without an offset."""
    value = document.get(name)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise Unreadable(f"{name} has no offset")
        return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{name} is not an instant") from None


def observed(document: Mapping[str, Any], name: str) -> datetime | None:
    """When a value was true, by a field of it; None where that says no instant for certain: the
    answer's own date is as good then."""
    try:
        return moment(document, name)
    except Unreadable:
        return None


def header_moment(headers: Mapping[str, str]) -> datetime | None:
    """When the carrier says it answered (RFC 9110 Date); None when it does not say."""
    try:
        at = parsedate_to_datetime(headers.get("Date", ""))
        return at.astimezone(UTC) if at.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def identifier(document: Any, name: str) -> str:
    """A carrier's own id: goes into a URL and a column. Raises Unreadable."""
    value = _object(document, "reference").get(name)
    if not isinstance(value, str) or not value.strip(". ") or len(value) > _ID_LENGTH:
        raise Unreadable(f"an {name} is missing or too long")
    if not value.isprintable():
        raise Unreadable(f"an {name} holds unprintable characters")
    return value


def text(document: Any, name: str, length: int = _ID_LENGTH) -> str:
    """A free field, fit to store; "" when it is not there or no text."""
    value = document.get(name) if isinstance(document, dict) else None
    return storable(value, length) if isinstance(value, str) else ""


def listed(body: Any) -> list[Any]:
    """Raises Unreadable when `body` is no list."""
    if not isinstance(body, list):
        raise Unreadable("the answer is not a list")
    return body


def total_count(headers: Mapping[str, str]) -> int | None:
    """How many there are in all, beyond this page; None when the carrier does not say."""
    value = headers.get("X-Total-Count", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _reason(told: str) -> str:
    """Fit to keep: a code stays as it is, for it is compared; a sentence may name a number."""
    return told if _CODE.fullmatch(told) else masked(told)


def _currency_of(quantity: Any) -> str:
    units = quantity.get("units") if isinstance(quantity, dict) else None
    if quantity is None:
        return ""
    if not isinstance(units, str) or not _CURRENCY.fullmatch(units):
        raise Unreadable("amount is in no currency")
    return units


def _is_number(value: str) -> bool:
    plain = bare(value)
    return len(plain) >= _SHORTEST_NUMBER and sum(char.isdigit() for char in plain) * 2 > len(plain)


def _order_amount(document: Mapping[str, Any], currency: str) -> int | None:
    quantity = document.get("amount")
    if quantity is None:
        return None
    try:
        return amounts.exact_minor(_money(quantity, "amount", currency), currency)
    except amounts.NotAnAmount as error:
        raise Unreadable(f"the order's amount is {error}") from None


def _money(quantity: Any, name: str, currency: str) -> object:
    units = _object(quantity, name).get("units")
    if units != currency:
        # Even when it is missing: a bucket may be minutes or megabytes.
        raise Unreadable(f"{name} is not in {currency}")
    return quantity.get("amount")


def _valid_until(document: Mapping[str, Any], time_zone: tzinfo) -> Validity:
    period = document.get("validFor")
    if period is None:
        return None
    if not isinstance(period, dict):
        return UNSAID
    return validity.parsed(period.get("endDateTime"), zone=time_zone)


def resources(document: Mapping[str, Any]) -> tuple[Resource, ...]:
    """The numbers and cards that a document names. Raises Unreadable."""
    listed = document.get("logicalResource")
    if listed is None:  # a movement names the side that got the money
        received = document.get("receiverLogicalResource")
        listed = [] if received is None else [received]
    if not isinstance(listed, list):
        raise Unreadable("logicalResource is not a list")
    return tuple(map(_resource, listed))


def _resource(entry: Any) -> Resource:
    value = text(entry, "value")
    named = "" if value and not _object(entry, "reference").get("id") else identifier(entry, "id")
    return Resource(named, str(entry.get("@referredType", "")).lower(), value)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"the {name} is not an object")
    return value

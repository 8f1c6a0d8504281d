"""What the operator's books consist of. Amounts are integer minor units, instants are UTC."""

from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, Self

_DAY_US = 24 * 3600 * 10**6
_ZERO_DECIMALS = {"JPY", "KRW", "VND", "CLP", "XAF", "XOF"}
_THREE_DECIMALS = {"BHD", "KWD", "OMR", "JOD", "TND"}


def decimals(currency: str) -> int:
    if currency in _ZERO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


@dataclass(frozen=True, slots=True)
class Record:
    """Goes into the journal as JSON and comes back the same."""

    def as_json(self) -> dict[str, Any]:
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        values = {each.name: document[each.name] for each in fields(cls) if each.name in document}
        for each in fields(cls):
            if "datetime" in str(each.type) and isinstance(values.get(each.name), str):
                values[each.name] = datetime.fromisoformat(values[each.name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Line(Record):
    """A prepaid line and its monetary bucket. `balance_minor` was true at `as_of`."""

    id: str  # of the bucket
    account_id: str
    number: str  # E.164, may be empty for a data-only eSIM
    iccid: str
    currency: str
    balance_minor: int
    as_of: datetime
    reserved_minor: int = 0
    usage_minor_per_day: int = 0
    valid_until: datetime | None = None
    extends_days: int = 0  # how far a top-up carries the validity, from then on
    status: str = "active"  # active, suspended, ported_out, terminated
    denominations_minor: list[int] = field(default_factory=list)
    max_balance_minor: int | None = None
    notify_below_minor: int | None = None  # a balance event is sent on falling below it

    @property
    def resources(self) -> list[tuple[str, str]]:
        pairs = ((self.number, "MSISDN"), (self.iccid, "ICCID"))
        return [(value, kind) for value, kind in pairs if value]

    def bucket_status(self, at: datetime) -> str:
        if self.status != "active":
            return "suspended"
        return "expired" if self.valid_until and self.valid_until <= at else "active"

    def used_until(self, at: datetime, speed: Fraction) -> "Line":
        """The line with its usage up to `at` taken off.

        Only whole minor units are taken, and `as_of` moves by just the time they lasted, so that
        asking often uses up nothing more or less than asking once. Usage stops at zero.
        """
        pace = self.usage_minor_per_day * speed / _DAY_US  # per microsecond
        if pace <= 0 or at <= self.as_of or self.balance_minor <= 0:
            return replace(self, as_of=max(self.as_of, at))
        used = int((at - self.as_of) // timedelta(microseconds=1) * pace)
        if used >= self.balance_minor:
            return replace(self, balance_minor=0, as_of=at)
        as_of = self.as_of + timedelta(microseconds=ceil(used / pace))
        return replace(self, balance_minor=self.balance_minor - used, as_of=min(as_of, at))


@dataclass(frozen=True, slots=True)
class Order(Record):
    """A top-up or an adjustment as it was asked for, and what became of it."""

    id: str
    kind: str  # topup, adjust
    bucket_id: str
    resource: str  # as the request named it
    amount_minor: int  # signed: a debit is negative
    currency: str
    status: str  # created, completed, failed, cancelled
    requested_at: datetime
    echo: dict[str, Any] = field(default_factory=dict)  # the request's free fields, as given
    confirmed_at: datetime | None = None
    reason: str = ""
    due_at: datetime | None = None  # when an order that is only created gets its end
    end: str = "completed"


@dataclass(frozen=True, slots=True)
class Movement(Record):
    """Money that moved on a bucket: what the statement shows and what the tests count."""

    id: str
    kind: str  # credit, reversal
    order_id: str
    bucket_id: str
    resource: str
    amount_minor: int  # positive
    currency: str
    at: datetime
    echo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message(Record):
    """A text sent to a number."""

    id: str
    number: str
    sender: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Subscription(Record):
    """Where events go."""

    id: str
    callback: str
    query: str
    at: datetime

"""Two people for one operation: one asks for it, another lets exactly that happen, or nobody does.

What is asked for is kept with its fingerprint. The approval carries the one that its page showed,
so an operation that was changed in between, by whomever, is another one and is refused.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar, cast

from django.db.models import Model, QuerySet

from lines.people import Person

M = TypeVar("M", bound=Model)

WAITING = "requested"  # the state, in each table of such operations
LASTS = timedelta(days=7)  # long enough for a weekend and a day off; then whoever asked knows anew


class SamePerson(Exception):
    """Whoever asked for it cannot be the one who approves it."""


class NotWaiting(Exception):
    """It is not waiting for approval: someone was first."""


class RequestExpired(Exception):
    """It was asked for too long ago to be true still: look again, and ask anew."""


class OperationChanged(Exception):
    """It is not what was asked for, or not what the approver has seen: look again."""


class Asked(Protocol):
    """What each table of such operations has."""

    reference: str
    state: str
    fingerprint: str
    requested_by_id: int | None
    created_at: datetime


def fingerprint(**operation: str | int | None) -> str:
    """Of everything that makes the operation what it is, its reason too."""
    text = json.dumps(operation, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def approvable(
    asked: M, *, approved_by: Person, seen: str, fingerprint_of: Callable[[M], str], at: datetime
) -> M:
    """The row that a second person may let go, locked in the caller's transaction.

    `seen` is what the approver's page showed, and `fingerprint_of` says what the rows say now: both
    must be what was asked for. Raises SamePerson, NotWaiting, RequestExpired, OperationChanged.
    """
    if _as_asked(asked).requested_by_id == approved_by.pk:
        raise SamePerson(_as_asked(asked).reference)
    locked = waiting(asked)
    one = _as_asked(locked)
    if at >= one.created_at + LASTS:
        raise RequestExpired(one.reference)
    if not one.fingerprint == seen == fingerprint_of(locked):
        raise OperationChanged
    return locked


def waiting(asked: M) -> M:
    """The row, with what it is about, locked in the caller's transaction. Raises NotWaiting."""
    rows = type(asked)._default_manager.select_for_update(no_key=True, of=("self",))
    locked = rows.select_related("recharge", "attempt").get(pk=asked.pk)
    if _as_asked(locked).state != WAITING:
        raise NotWaiting(_as_asked(locked).reference)
    return locked


def over(rows: QuerySet[M], *, at: datetime) -> QuerySet[M]:
    """Those of `rows` that nobody has decided in time, the oldest first."""
    return rows.filter(state=WAITING, created_at__lte=at - LASTS).order_by("created_at")


def _as_asked(row: Model) -> Asked:
    return cast("Asked", row)

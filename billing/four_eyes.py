"""Two people for one operation: one asks for it, another lets exactly that happen, or nobody does.

What is asked for is kept with its fingerprint. The approval carries the one that its page showed,
so an operation that was changed in between, by whomever, is another one and is refused.
"""

import hashlib
import json
from datetime import datetime, timedelta

LASTS = timedelta(days=7)  # long enough for a weekend and a day off; then whoever asked knows anew


class SamePerson(Exception):
    """Whoever asked for it cannot be the one who approves it."""


class NotWaiting(Exception):
    """It is not waiting for approval: someone was first."""


class RequestExpired(Exception):
    """It was asked for too long ago to be true still: look again, and ask anew."""


class OperationChanged(Exception):
    """It is not what was asked for, or not what the approver has seen: look again."""


def fingerprint(**operation: str | int | None) -> str:
    """Of everything that makes the operation what it is, its reason too."""
    text = json.dumps(operation, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check(*, asked: str, seen: str, now: str) -> None:
    """What was asked for, what its approver saw and what the rows say now: one operation.

    Raises OperationChanged.
    """
    if not asked == seen == now:
        raise OperationChanged


def is_over(*, asked_at: datetime, at: datetime) -> bool:
    """Whether what was asked for then can be approved no more."""
    return at >= asked_at + LASTS

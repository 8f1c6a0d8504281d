"""Whether the line that a recharge was agreed for is still there to be credited (rule 23). Pure."""

from collections.abc import Set
from datetime import datetime, timedelta
from enum import Enum

from billing.recharges.claims import Work
from lines.models import LineStatus

# A line that its carrier has suspended may come back: looked at again, then a person's, and in the
# end the money is not kept for a line that does not.
LOOK_AGAIN = timedelta(hours=1)
PERSON_AFTER = timedelta(days=3)
GIVEN_UP_AFTER = timedelta(days=30)


class Recipient(Enum):
    """The line as it is now, seen from a payment that was made for it."""

    THERE = "there"
    AWAY = "away"  # it may come back
    GONE = "gone"  # whoever is credited now is not who was agreed on


def is_same(row: Work) -> bool:
    """Whether the line has the SIM and the owner it had when the recharge was opened."""
    return row.line_generation == row.sim_generation and row.line_owner_id == row.owner_id


def recipient(row: Work, *, ended: Set[int], at: datetime) -> Recipient:
    """What the line is to `row`, which is paid. `ended`: lines that ended since it was claimed."""
    if row.line_id in ended or not is_same(row):
        return Recipient.GONE
    if row.line_status in (LineStatus.ACTIVE, LineStatus.EXPIRED):
        return Recipient.THERE
    if row.line_status == LineStatus.SUSPENDED and not has_waited(row, GIVEN_UP_AFTER, at=at):
        return Recipient.AWAY
    return Recipient.GONE


def has_waited(row: Work, longest: timedelta, *, at: datetime) -> bool:
    """Whether it was paid longer ago than `longest`."""
    return row.charged_at is not None and at - row.charged_at > longest

"""Charges that wait longer than their rail ever takes: called off there, so that none waits for
ever.

Only what the rail itself says is still waiting. An unknown one is never called off: it may be paid,
and on some rails calling a paid one off gives the money back.
"""

from datetime import datetime, timedelta

from billing.gateways.base import (
    ActionRequired,
    Answer,
    Capabilities,
    Closed,
    Gateway,
    Outcome,
    Pending,
)
from billing.recharges.claims import Work

# Beyond what the rail calls normal.
PENDING_FOR = timedelta(days=1)
CONFIRMED_WITHIN = timedelta(hours=24)
HOURLY, DAILY = timedelta(hours=1), timedelta(days=1)
ASKED_FOR = timedelta(days=30)


def is_overdue(row: Work, outcome: Outcome, *, rail: Capabilities, at: datetime) -> bool:
    """Whether a charge that is `outcome` now, and was before, has waited so too long. Pure."""
    if row.waiting_since is None:
        return False
    waited = at - row.waiting_since
    if isinstance(outcome, Pending):
        return waited > rail.settles_within + PENDING_FOR
    return isinstance(outcome, ActionRequired) and waited > CONFIRMED_WITHIN


def next_look(row: Work, *, rail: Capabilities, at: datetime) -> datetime:
    """When one that is overdue is asked about again: hourly for a day, then daily."""
    return at + (HOURLY if _overdue_for(row, rail=rail, at=at) < PENDING_FOR else DAILY)


def is_given_up(row: Work, *, rail: Capabilities, at: datetime) -> bool:
    """Whether it was asked about for so long that only a person can help. Pure."""
    return _overdue_for(row, rail=rail, at=at) > ASKED_FOR


def _overdue_for(row: Work, *, rail: Capabilities, at: datetime) -> timedelta:
    return at - (row.waiting_since or at) - rail.settles_within - PENDING_FOR


def ended(row: Work, answer: Answer, *, gateway: Gateway, at: datetime) -> Answer:
    """What was asked, or, where it is overdue, that it is closed now. No transaction is open.

    Where it cannot be called off the first answer stands, and whoever records it calls a person.
    """
    if not is_overdue(row, answer.outcome, rail=gateway.capabilities, at=at):
        return answer
    closing = gateway.cancel(reference=row.payment_ref)
    outcome = closing.outcome if isinstance(closing.outcome, Closed) else answer.outcome
    return Answer(outcome, (*answer.exchanges, *closing.exchanges))

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


def is_overdue(row: Work, outcome: Outcome, *, rail: Capabilities, at: datetime) -> bool:
    """Whether a charge that is `outcome` now, and was before, has waited so too long. Pure."""
    if row.waiting_since is None:
        return False
    waited = at - row.waiting_since
    if isinstance(outcome, Pending):
        return waited > rail.settles_within + PENDING_FOR
    return isinstance(outcome, ActionRequired) and waited > CONFIRMED_WITHIN


def ended(row: Work, answer: Answer, *, gateway: Gateway, at: datetime) -> Answer:
    """What was asked, or, where it is overdue, that it is closed now. No transaction is open.

    Where it cannot be called off the first answer stands, and whoever records it calls a person.
    """
    if not is_overdue(row, answer.outcome, rail=gateway.capabilities, at=at):
        return answer
    closing = gateway.cancel(reference=row.payment_ref)
    outcome = closing.outcome if isinstance(closing.outcome, Closed) else answer.outcome
    return Answer(outcome, (*answer.exchanges, *closing.exchanges))

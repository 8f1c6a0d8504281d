"""Sweeps: whatever is due is found by looking, whether or not the queue remembered.

Each is bounded, may run anywhere and any number of times at once, and survives a row it cannot
read. The queue, the schedule, cron and the supervisor all call the same two functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billing.bindings import lifecycle as binding_lifecycle
from billing.engine import executor, incoming, polling
from billing.notices import reminders, sending
from billing.operators import attestations
from billing.outside import Outside
from billing.refunds import approvals

LIMIT = 200


@dataclass(frozen=True, slots=True)
class Found:
    """How much there was to do."""

    money: int = 0
    messages: int = 0
    balances: int = 0
    bindings: int = 0
    notices: int = 0
    requests: int = 0


def money(*, clock: Callable[[], datetime], outside: Outside, budget_s: float) -> Found:
    """Notifications first, since they say where to look; then everything that is due."""
    messages = incoming.process(at=clock(), limit=LIMIT)
    progress = executor.run(clock=clock, outside=outside, budget_s=budget_s)
    return Found(money=progress.total, messages=messages)


def slow(*, at: datetime, outside: Outside) -> Found:
    """Balances, agreements and notices: everything that must never delay money."""
    return Found(
        balances=polling.poll_balances(at=at, outside=outside, limit=LIMIT),
        bindings=binding_lifecycle.poll_due(at=at, limit=LIMIT),
        notices=reminders.upcoming_sweep(at=at, limit=LIMIT)
        + sending.send_due(at=at, limit=LIMIT, page_of=outside.notice_url),
        requests=attestations.expire(at=at, limit=LIMIT) + approvals.expire(at=at, limit=LIMIT),
    )

"""Sweeps: whatever is due is found by looking, whether or not the queue remembered.

Each is bounded, may run anywhere and any number of times at once, and survives a row it cannot
read. The queue, the schedule, cron and the supervisor all call the same two functions.
"""

import time
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
REMINDERS = 1_000  # no call is made for one


@dataclass(frozen=True, slots=True)
class Found:
    """How much there was to do."""

    money: int = 0
    messages: int = 0
    balances: int = 0
    bindings: int = 0
    notices: int = 0
    requests: int = 0
    is_more: bool = False  # some of it is due still


def money(*, clock: Callable[[], datetime], outside: Outside, budget_s: float) -> Found:
    """Notifications first, since they say where to look; then everything that is due."""
    messages = incoming.process(at=clock(), limit=LIMIT)
    progress = executor.run(clock=clock, outside=outside, budget_s=budget_s)
    return Found(money=progress.total, messages=messages)


def slow(*, at: datetime, outside: Outside) -> Found:
    """Balances, agreements and notices, a step of each: what must never delay money."""
    return drain(clock=lambda: at, outside=outside, budget_s=0)


def drain(*, clock: Callable[[], datetime], outside: Outside, budget_s: float) -> Found:
    """Step after step of each slow kind, until no more of it is due or its part of `budget_s` is
    over; of each at least one.

    What has a time on it comes first and calls nobody: a reminder must be there before its charge,
    however long a mail server or a carrier takes to answer.
    """
    began = time.monotonic()

    def steps(part: float, step: Callable[[datetime], int], most: int) -> int:
        done = found = step(clock())
        while found >= most and time.monotonic() < began + part * budget_s:
            done += (found := step(clock()))
        is_more.append(found >= most)
        return done

    is_more: list[bool] = []
    reminded = steps(0.4, lambda at: reminders.upcoming_sweep(at=at, limit=REMINDERS), REMINDERS)
    requests = steps(0.4, lambda at: attestations.expire(at=at, limit=LIMIT), LIMIT)
    requests += steps(0.4, lambda at: approvals.expire(at=at, limit=LIMIT), LIMIT)
    page_of = outside.notice_url
    sent = steps(0.7, lambda at: sending.send_due(at=at, limit=LIMIT, page_of=page_of), LIMIT)
    balances = steps(
        1.0, lambda at: polling.poll_balances(at=at, outside=outside, limit=LIMIT), LIMIT
    )
    bindings = steps(1.0, lambda at: binding_lifecycle.poll_due(at=at, limit=LIMIT), LIMIT)
    return Found(
        balances=balances,
        bindings=bindings,
        notices=reminded + sent,
        requests=requests,
        is_more=any(is_more),
    )

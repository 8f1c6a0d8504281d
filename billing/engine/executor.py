"""The executor: claim, commit the reference, call, commit the outcome, in batches.

Rows say what is due. `run` may be called by the queue, by a sweep or by hand, on any number of
machines at once, as often as anyone likes: a duplicate finds nothing to claim. No transaction is
open while a rail or carrier is asked.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.casebook import Heard
from billing.delivery import crediting
from billing.engine import hearing, outgoing, waking
from billing.outside import Outside
from billing.payments import announcements, answers, charging, declines
from billing.recharges import claims, machine
from billing.recharges.claims import Work
from billing.refunds import claims as refund_claims
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from billing.rules import openings
from billing.states import DELIVERING_STATES, UNPAID_END_STATES, RechargeState

log = logging.getLogger(__name__)

S = RechargeState
BATCH = 200
# Both from the claim on. No charge is begun after the first and nothing at all after the second, so
# that a rail that answers slowly leaves time to credit what is paid; with the calls' own deadlines
# the batch ends well inside the lease, and inside the queue's timeout.
CHARGES_WITHIN_S = 10.0
BATCH_DEADLINE_S = 20.0


@dataclass(slots=True)
class Progress:
    """What one run found to do."""

    rules: int = 0
    recharges: int = 0
    refunds: int = 0

    @property
    def total(self) -> int:
        return self.rules + self.recharges + self.refunds


def run(
    *,
    clock: Callable[[], datetime],
    outside: Outside,
    budget_s: float,
    batch: int = BATCH,
) -> Progress:
    """Work until nothing is due or `budget_s` is spent. Bounded, and safe to repeat."""
    ends_at = time.monotonic() + budget_s
    done = Progress()
    while True:
        step = run_batch(at=clock(), outside=outside, batch=batch)
        done.rules += step.rules
        done.recharges += step.recharges
        done.refunds += step.refunds
        if step.total == 0 or time.monotonic() > ends_at:
            return done


def run_batch(*, at: datetime, outside: Outside, batch: int = BATCH) -> Progress:
    """One batch of each kind of work that is due at `at`."""
    silent = waking.wake(at=at)
    opened = openings.open_due(at=at, limit=batch, capabilities=outside.capabilities)
    began = time.monotonic()
    moved = work(claims.claim(at=at, limit=batch), at=at, outside=outside, began=began)
    began = time.monotonic()
    returned = refund(refund_claims.claim(at=at, limit=batch), at=at, outside=outside, began=began)
    done = Progress(opened, moved, returned)
    if done.total < batch:  # else there is more, which tells as much as a probe
        waking.probe(silent, at=at, outside=outside)
    return done


def work(rows: Sequence[Work], *, at: datetime, outside: Outside, began: float) -> int:
    """Do the next step of each claimed recharge; how many there were.

    `began`: `time.monotonic()` before the claim. Whoever stalls after it begins no call.
    """
    if not rows:
        return 0
    charge_until, until = began + CHARGES_WITHIN_S, began + BATCH_DEADLINE_S
    context = answers.Context(declines.load(), outside.capabilities)
    piles = _sort(_reachable(rows, at=at, outside=outside), at=at, outside=outside)
    going = announcements.begin(piles.announce, at=at, rails=outside.capabilities)
    announced = outgoing.announce(going, at=at, outside=outside, until=charge_until)
    announcements.record(announced, at=at, context=context)
    begun = charging.begin(piles.charge, at=at, rails=outside.capabilities)
    asked = outgoing.charge(begun, at=at, outside=outside, until=charge_until)
    asked += outgoing.query(piles.query, at=at, outside=outside, until=charge_until)
    delivering = charging.record(asked, at=at, context=context)
    delivering += crediting.begin(piles.deliver, at=at) if piles.deliver else []
    credited = outgoing.credit(delivering, at=at, outside=outside, until=until)
    credited += outgoing.query_credit(piles.query_delivery, at=at, outside=outside, until=until)
    crediting.record(credited, at=at)
    hearing.note(announced=announced, asked=asked, credited=credited, at=at)
    return len(rows)


def refund(rows: Sequence[RefundWork], *, at: datetime, outside: Outside, began: float) -> int:
    """Do the next step of each claimed refund; how many there were. `began`: as for `work`."""
    until = began + BATCH_DEADLINE_S
    asked = outgoing.refund(rows, at=at, outside=outside, until=until)
    refunding.record(asked, at=at)
    hearing.note_refunds(asked, at=at)
    return len(rows)


def _reachable(rows: Sequence[Work], *, at: datetime, outside: Outside) -> list[Work]:
    """Those whose carrier can be asked at all. The others wait, and an operator is told why."""
    adapters = outgoing.adapters_of(rows, outside=outside)
    for row in rows:
        if row.carrier_id not in adapters:
            outgoing.give_back(row, at=at, attention="config")
    return [row for row in rows if row.carrier_id in adapters]


@dataclass(slots=True)
class _Sorted:
    announce: list[Work]
    charge: list[Work]
    query: list[Work]
    deliver: list[Work]
    query_delivery: list[Work]


def _sort(rows: Sequence[Work], *, at: datetime, outside: Outside) -> _Sorted:
    """By the next step. What cannot go on now is moved out of the way at once."""
    piles = _Sorted([], [], [], [], [])
    for row in rows:
        if claims.is_doubted(row) and row.crash_count <= claims.MAX_CRASHES:
            piles.query.append(row)
        elif row.state in (S.WAITING.value, S.DUE.value, S.DECLINED.value):
            if _may_charge(row, at=at, outside=outside):
                rail = outside.gateways[row.rail].capabilities
                is_needed = announcements.is_needed(row, rail=rail)
                (piles.announce if is_needed else piles.charge).append(row)
        elif row.crash_count > claims.MAX_CRASHES:
            _quarantine(row, at=at)
        elif row.state == S.CHARGED.value:
            piles.deliver.append(row)
        elif row.state in DELIVERING_STATES or row.state == S.COMPLETED.value:
            piles.query_delivery.append(row)
        elif row.attempt_id is not None:
            piles.query.append(row)
        else:
            machine.wait(recharge_id=row.id, fence=row.fence, act_at=None)
    return piles


def _may_charge(row: Work, *, at: datetime, outside: Outside) -> bool:
    """Whether to charge now. Waiting and declined rows become due first, and are looked at next."""
    obstacle = charging.obstacle(row, gateway=outside.gateways.get(row.rail), at=at)
    if obstacle is None and row.state == S.DUE.value:
        return True
    if obstacle is not None and obstacle.target in UNPAID_END_STATES:
        answers.ended(row, obstacle, at=at)
    elif obstacle is None or row.state == S.DECLINED.value:
        outgoing.make(row.move(S.DUE, row.reason, at), at=at)
    elif obstacle.target == row.state:
        machine.wait(recharge_id=row.id, fence=row.fence, act_at=obstacle.act_at)
    else:
        outgoing.make(obstacle, at=at)
    return False


def _quarantine(row: Work, *, at: datetime) -> None:
    """Three workers died over it: it stays where it is, and a person is called."""
    log.error("recharge %s is quarantined after %s crashes", row.id, row.crash_count)
    claims.stay(row, act_at=None, attention=claims.CRASHED, heard=Heard.NOTHING, at=at)

"""The executor: claim, commit the reference, call, commit the outcome, in batches.

Rows say what is due. `run` may be called by the queue, by a sweep or by hand, on any number of
machines at once, as often as anyone likes: a duplicate finds nothing to claim. No transaction is
open while a rail or carrier is asked.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from billing import calls
from billing.calls import NotStarted
from billing.delivery import crediting
from billing.gateways.base import Preparation, Unknown
from billing.outside import Outside
from billing.payments import announcements, answers, charging, declines, overdue
from billing.recharges import claims, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import Move
from billing.refunds import disputes, refunding
from billing.rules import openings
from billing.states import DELIVERING_STATES, UNPAID_END_STATES, RechargeState
from lines.carriers.base import CarrierAdapter
from lines.models import Carrier

log = logging.getLogger(__name__)

S = RechargeState
BATCH = 200
THREADS = 16
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
    opened = openings.open_due(at=at, limit=batch, capabilities=outside.capabilities)
    began = time.monotonic()
    moved = work(claims.claim(at=at, limit=batch), at=at, outside=outside, began=began)
    began = time.monotonic()
    returned = _refund(refunding.claim(at=at, limit=batch), at=at, outside=outside, began=began)
    return Progress(opened, moved, returned)


def work(rows: Sequence[Work], *, at: datetime, outside: Outside, began: float) -> int:
    """Do the next step of each claimed recharge; how many there were.

    `began`: `time.monotonic()` before the claim. Whoever stalls after it begins no call.
    """
    if not rows:
        return 0
    charge_until, until = began + CHARGES_WITHIN_S, began + BATCH_DEADLINE_S
    context = answers.Context(declines.load(), outside.capabilities)
    sorted_rows = _sort(_reachable(rows, at=at, outside=outside), at=at, outside=outside)
    _announce(sorted_rows.announce, at=at, outside=outside, until=charge_until, context=context)
    begun = charging.begin(sorted_rows.charge, at=at, rails=outside.capabilities)
    asked = _charge(begun, at=at, outside=outside, until=charge_until)
    asked += _query(sorted_rows.query, at=at, outside=outside, until=charge_until)
    delivering = charging.record(asked, at=at, context=context)
    delivering += crediting.begin(sorted_rows.deliver, at=at) if sorted_rows.deliver else []
    credited = _credit(delivering, at=at, outside=outside, until=until)
    credited += _query_credit(sorted_rows.query_delivery, at=at, outside=outside, until=until)
    crediting.record(credited, at=at)
    return len(rows)


def _reachable(rows: Sequence[Work], *, at: datetime, outside: Outside) -> list[Work]:
    """Those whose carrier can be asked at all. The others wait, and an operator is told why."""
    adapters = _adapters(rows, outside=outside)
    for row in rows:
        if row.carrier_id not in adapters:
            _give_back(row, at=at, attention="config")
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
        if row.state in (S.WAITING.value, S.DUE.value, S.DECLINED.value):
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
            machine.stay(recharge_id=row.id, fence=row.fence, act_at=None, attention="", at=at)
    return piles


def _may_charge(row: Work, *, at: datetime, outside: Outside) -> bool:
    """Whether to charge now. Waiting and declined rows become due first, and are looked at next."""
    obstacle = charging.obstacle(row, gateway=outside.gateways.get(row.rail), at=at)
    if obstacle is None and row.state == S.DUE.value:
        return True
    if obstacle is not None and obstacle.target in UNPAID_END_STATES:
        answers.ended(row, obstacle, at=at)
    elif obstacle is None or row.state == S.DECLINED.value:
        _step_aside(row, S.DUE, row.reason, at, at=at)
    elif obstacle.target == row.state:
        machine.stay(
            recharge_id=row.id, fence=row.fence, act_at=obstacle.act_at, attention="", at=at
        )
    else:
        _make(obstacle, at=at)
    return False


def _step_aside(
    row: Work, target: S, because: str, act_at: datetime | None, *, at: datetime
) -> None:
    _make(Move(row.id, row.state, target.value, because, act_at, fence=row.fence), at=at)


def _make(move: Move, *, at: datetime) -> None:
    with transaction.atomic():
        machine.move([move], at=at)


def _quarantine(row: Work, *, at: datetime) -> None:
    """Three workers died over it: it stays where it is, and a person is called."""
    log.error("recharge %s is quarantined after %s crashes", row.id, row.crash_count)
    machine.stay(recharge_id=row.id, fence=row.fence, act_at=None, attention="crashed", at=at)


# --- calls --------------------------------------------------------------------------------------


def _announce(
    rows: Sequence[Work],
    *,
    at: datetime,
    outside: Outside,
    until: float,
    context: answers.Context,
) -> None:
    """Announce each where its rail demands it; one that was not begun is due again in a minute."""
    going = announcements.begin(rows, at=at, rails=outside.capabilities)
    secrets = charging.agreements(going) if going else {}

    def call(row: Work) -> Any:
        return announcements.prepare(
            row,
            gateway=outside.gateways[row.rail],
            provider_binding_ref=secrets[row.binding_id],
        )

    asked = []
    for row, result in zip(going, _all(call, going, until=until), strict=True):
        if isinstance(result, NotStarted):
            _give_back(row, at=at)
        elif isinstance(result, Exception):
            _log_break(result)
            broken = Unknown(f"{type(result).__name__} in the adapter")
            asked.append(announcements.Asked(row, Preparation(broken)))
        else:
            asked.append(announcements.Asked(row, result))
    announcements.record(asked, at=at, context=context)


def _charge(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[charging.Asked]:
    """Charge each; one that was never begun goes back to due, its reference unsent."""
    secrets = charging.agreements(rows)

    def call(row: Work) -> Any:
        return charging.charge(
            row,
            gateway=outside.gateways[row.rail],
            notify_url=outside.notify_url(row.rail),
            return_url=outside.return_url(row.ref),
            provider_binding_ref=secrets[row.binding_id],
        )

    asked = []
    for row, result in zip(rows, _all(call, rows, until=until), strict=True):
        if isinstance(result, NotStarted):
            _step_aside(row, S.DUE, "not_sent", at, at=at)
        elif isinstance(result, Exception):
            _log_break(result)
            asked.append(charging.Asked(row, charging.unusable(result)))
        else:
            asked.append(charging.Asked(row, result))
    return asked


def _query(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[charging.Asked]:
    """Ask the rail, and call off what is overdue. One that is switched off, or was not come to, is
    asked a minute later."""
    reachable = [row for row in rows if row.rail in outside.gateways]
    secrets = charging.agreements(reachable) if reachable else {}

    def call(row: Work) -> Any:
        gateway = outside.gateways[row.rail]
        answer = charging.query(row, gateway=gateway, provider_binding_ref=secrets[row.binding_id])
        return overdue.ended(row, answer, gateway=gateway, at=at)

    asked = []
    for row, result in zip(reachable, _all(call, reachable, until=until), strict=True):
        if isinstance(result, NotStarted):
            _give_back(row, at=at)
        elif isinstance(result, Exception):
            _log_break(result)
            asked.append(charging.Asked(row, charging.unusable(result)))
        else:
            asked.append(charging.Asked(row, result))
    for row in rows:
        if row.rail not in outside.gateways:
            _give_back(row, at=at, attention="config")
    return asked


def _give_back(row: Work, *, at: datetime, attention: str = "") -> None:
    """Nothing was asked, and nobody died: the claim must not count as a crash."""
    claims.release(row, act_at=at + ladders.DEFERRED_RECHECK, attention=attention, at=at)


def _credit(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[crediting.Asked]:
    """Credit each; one that was never begun goes back to paid, its order unsent."""
    adapters = _adapters(rows, outside=outside)

    def call(row: Work) -> Any:
        return crediting.credit(row, adapter=adapters[row.carrier_id])

    results = _all(call, rows, until=until)
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, NotStarted):
            _step_aside(row, S.CHARGED, "paid", at, at=at)
    return _answered(rows, results)


def _query_credit(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[crediting.Asked]:
    adapters = _adapters(rows, outside=outside)

    def call(row: Work) -> Any:
        return crediting.query(row, adapter=adapters[row.carrier_id])

    results = _all(call, rows, until=until)
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, NotStarted):
            _give_back(row, at=at)
    return _answered(rows, results)


def _answered(rows: Sequence[Work], results: Sequence[Work]) -> list[crediting.Asked]:
    asked = []
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, Exception):
            _log_break(result)
            asked.append(crediting.Asked(row, crediting.unusable(result)))
        elif not isinstance(result, NotStarted):
            asked.append(crediting.Asked(row, result))
    return asked


def _refund(rows: Sequence[Work], *, at: datetime, outside: Outside, began: float) -> int:
    """One call each: the carrier takes the credit back, or the rail gives the money back."""
    adapters = _adapters(rows, outside=outside)

    def call(row: Work) -> Any:
        if refunding.is_about_credit(row):
            return refunding.take_back(row, adapter=adapters[row.carrier_id])
        return refunding.ask(row, gateway=outside.gateways[row.rail])

    ready = [row for row in rows if _may_refund(row, at=at, outside=outside, adapters=adapters)]
    asked = []
    results = _all(call, ready, until=began + BATCH_DEADLINE_S)
    for row, result in zip(ready, results, strict=True):
        if isinstance(result, NotStarted):
            refunding.give_back(row, act_at=at + ladders.DEFERRED_RECHECK, attention="")
        elif isinstance(result, Exception):
            _log_break(result)
            asked.append(refunding.Asked(row, charging.unusable(result)))
        else:
            asked.append(refunding.Asked(row, result))
    refunding.record(asked, at=at)
    return len(rows)


def _may_refund(
    row: Work, *, at: datetime, outside: Outside, adapters: Mapping[int, CarrierAdapter]
) -> bool:
    """Whether its next call can be made at all; if not, it waits, and an operator is told why."""
    if row.crash_count > claims.MAX_CRASHES:
        log.error("refund %s is quarantined after %s crashes", row.id, row.crash_count)
        refunding.set_aside(row, attention="crashed", at=at)
        return False
    if refunding.is_unsent(row) and disputes.is_open(recharge_id=row.recharge_id):
        refunding.set_aside(row, attention=disputes.ATTENTION, at=at)
        return False
    of_carrier = refunding.is_about_credit(row)
    if row.carrier_id in adapters if of_carrier else row.rail in outside.gateways:
        return True
    refunding.give_back(row, act_at=at + ladders.DEFERRED_RECHECK, attention="config")
    return False


def _adapters(rows: Sequence[Work], *, outside: Outside) -> dict[int, CarrierAdapter]:
    """An adapter for each carrier that has one, made before the threads that use it."""
    ids = {row.carrier_id for row in rows}
    found = Carrier.objects.in_bulk(ids) if ids else {}
    made = {pk: outside.adapter_for(carrier) for pk, carrier in found.items()}
    return {pk: adapter for pk, adapter in made.items() if adapter is not None}


def _all(call: Callable[[Any], Any], rows: Sequence[Work], *, until: float) -> list[Work]:
    left_s = until - time.monotonic()
    return calls.concurrently(call, rows, threads=THREADS, deadline_s=left_s)


def _log_break(error: Exception) -> None:
    """The type alone: a message might hold what must not be logged."""
    log.error("an adapter raised %s", type(error).__name__)

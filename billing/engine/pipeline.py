"""Claimed work under way: begun, called, written down, with no barrier in between.

One thread drives it, which alone touches the database. It commits references and hands calls to the
bulkheads, whose threads put what came back into a queue; every few milliseconds what has landed is
written as a set, and what is paid by it goes on to its carrier.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from billing import outages
from billing.delivery import crediting
from billing.engine import hearing, leases, outgoing, probes, sorting
from billing.engine.bulkheads import Bulkhead, Bulkheads, Whom
from billing.engine.doubts import Whose
from billing.engine.flights import Flight, Leg
from billing.engine.metering import Meter
from billing.engine.silences import Silences
from billing.outside import Outside
from billing.payments import announcements, answers, charging, declines
from billing.recharges.claims import Work
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from billing.states import RechargeState

log = logging.getLogger(__name__)

S = RechargeState
# What has landed is written when it makes a set, and in any case after so long.
SET = 200
SET_WITHIN_S = 0.03
# One thread a bulkhead, and more when its queue has not emptied for so long.
_GROW_AFTER_S = 0.01
_TURN_S = 0.005
RENEW_EVERY_S = 2.0
# Calls have deadlines of their own. Whatever is still out after so long is left to its lease.
DRAIN_S = 45.0
BEGUN_WITHIN_S = 20.0  # of them, those that were paid for are still credited


class Pipeline:
    """What one worker has under way. Once left, by `drain` or by `with`, it begins nothing more."""

    def __init__(
        self, *, outside: Outside, clock: Callable[[], datetime], bulkheads: Bulkheads
    ) -> None:
        self._outside = outside
        self._clock = clock
        self._bulkheads = bulkheads
        self._landed: SimpleQueue[Flight] = SimpleQueue()
        self._flying: set[Flight] = set()
        self._held: dict[Whom, list[Flight]] = {}  # until their bulkhead has room
        self._unwritten: list[Flight] = []
        self._oldest_at = 0.0
        self._behind_since: dict[Whom, float] = {}
        self._renew_at = time.monotonic() + RENEW_EVERY_S
        self._context: answers.Context | None = None
        self.silences = Silences()
        self.meter = Meter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recall()

    @property
    def under_way(self) -> int:
        """Claimed, and not yet written down."""
        return len(self._flying) + len(self._unwritten)

    def seats(self, whom: Whom) -> tuple[int, int]:
        """How many calls to it there may be at a time; how many there are, or wait to be."""
        bulkhead = self._bulkheads.of(whom)
        return self.meter.seats(whom, most=bulkhead.most), bulkhead.taken + self._waits(whom)

    def reach(self, whom: Whom) -> int:
        """How many more may wait for their turn by its rate."""
        most = self.meter.reach(whom, most=self._bulkheads.of(whom).most)
        return max(0, most - self._waits(whom))

    def _waits(self, whom: Whom) -> int:
        return len(self._held.get(whom, ()))

    def refunds_at(self) -> Counter[Whom]:
        """How many refunds each is asked about now."""
        return Counter(one.whom for one in self._flying if one.leg is Leg.REFUND)

    def known(self) -> list[Whom]:
        """Whom this process has ever called."""
        return [bulkhead.whom for bulkhead in self._bulkheads]

    # --- in -------------------------------------------------------------------------------------

    def take(self, rows: Sequence[Work], *, began: float) -> None:
        """Begin the next step of each. `began`: `time.monotonic()` before they were claimed;
        whoever stalls after it begins no call."""
        if not rows:
            return
        at, outside = self._clock(), self._outside
        adapters = outgoing.adapters_of(rows, outside=outside)
        piles = sorting.sort(rows, at=at, outside=outside, adapters=adapters)
        told = announcements.begin(piles.announce, at=at, rails=outside.capabilities)
        self._send(outgoing.announce(told, outside=outside), began=began)
        begun = charging.begin(piles.charge, at=at, rails=outside.capabilities)
        self._send(outgoing.charge(begun, outside=outside), began=began)
        self._send(outgoing.query(piles.query, at=at, outside=outside), began=began)
        paid = crediting.begin(piles.deliver, at=at) if piles.deliver else []
        self._send(outgoing.credit(paid, adapters=adapters), began=began)
        self._send(outgoing.query_credit(piles.query_delivery, adapters=adapters), began=began)

    def take_refunds(self, rows: Sequence[RefundWork], *, began: float) -> None:
        """As `take`, of refunds."""
        if not rows:
            return
        at, outside = self._clock(), self._outside
        adapters = outgoing.adapters_of(rows, outside=outside)
        ready = sorting.refundable(rows, at=at, outside=outside, adapters=adapters)
        flights = outgoing.refund(ready, gateways=outside.gateways, adapters=adapters)
        self._send(flights, began=began)

    def take_probes(self, silent: Sequence[Whose]) -> None:
        """One question of each that gives no answer."""
        at, found = self._clock(), {}
        for whose in silent:
            question = probes.question(whose, outside=self._outside, at=at)
            if question is not None:
                found[whose] = question
        self._send(outgoing.probe(found), began=time.monotonic())

    def _send(self, flights: Iterable[Flight], *, began: float) -> None:
        for one in flights:
            one.lease(claimed_at=began, held_from=began)
            self._hold(one)

    def _hold(self, one: Flight) -> None:
        one.landed = self._landed
        self._flying.add(one)
        self._held.setdefault(one.whom, []).append(one)

    # --- a turn ---------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let calls begin, wait a little for what lands, and write what is worth a set."""
        self._let_through()
        self._collect()
        if self._is_set():
            self._write()
        self._renew()

    def drain(self) -> None:
        """Until nothing is under way. What is not begun when it is too late goes back."""
        began = time.monotonic()
        while self.under_way and time.monotonic() - began < DRAIN_S:
            if time.monotonic() - began > BEGUN_WITHIN_S:
                self._recall()
            self._call_the_last()
            self.turn()
        self._leave()

    def _leave(self) -> None:
        """What is under way still, to its lease; what never began goes back."""
        if self.under_way:
            self._recall()
            self._let_through()
            self._collect()
            self._write()
        if self._flying:
            log.error("%s calls never came back; their leases will run out", len(self._flying))

    def _recall(self) -> None:
        """Begin nothing more."""
        for one in self._flying:
            one.recall()

    def _call_the_last(self) -> None:
        """A lone call is made by who waits for it: no thread is needed for that."""
        if len(self._flying) == 1 and any(self._held.values()):
            [one] = self._flying
            if self.meter.grant(one.whom, wanted=1):
                self._held.clear()
                one.run()

    def _let_through(self) -> None:
        for whom, waiting in self._held.items():
            if waiting:
                self._fill(self._bulkheads.of(whom), waiting)

    def _fill(self, bulkhead: Bulkhead, waiting: list[Flight]) -> None:
        """As many as have room; those that are too late go by, and land as they are."""
        now = time.monotonic()
        late = [one for one in waiting if one.begin_by <= now]
        for one in late:
            one.run()
        going = self._turn_of(bulkhead, [one for one in waiting if one.begin_by > now])
        gone = {*late, *going}
        waiting[:] = [one for one in waiting if one not in gone]
        bulkhead.put(going)

    def _turn_of(self, bulkhead: Bulkhead, waiting: Sequence[Flight]) -> list[Flight]:
        """Those that have a seat, and may be called by its rate."""
        whom = bulkhead.whom
        seats = self.meter.seats(whom, most=bulkhead.most) - bulkhead.taken
        going = list(waiting[: max(0, seats)])
        granted = self.meter.grant(whom, wanted=len(going))
        self.meter.begun(whom, calls=granted)
        return going[:granted]

    def _collect(self) -> None:
        """What has landed; where nothing has, wait for it: a few milliseconds at most."""
        if not self._flying:
            return
        try:
            self._land(self._landed.get(timeout=_TURN_S))
            while True:
                self._land(self._landed.get_nowait())
        except Empty:
            self._grow()

    def _land(self, one: Flight) -> None:
        if not self._unwritten:
            self._oldest_at = time.monotonic()
        self._flying.discard(one)
        self._unwritten.append(one)

    def _grow(self) -> None:
        now = time.monotonic()
        for bulkhead in self._bulkheads:
            if not bulkhead.is_behind:
                self._behind_since.pop(bulkhead.whom, None)
            elif now - self._behind_since.setdefault(bulkhead.whom, now) >= _GROW_AFTER_S:
                bulkhead.grow()

    def _is_set(self) -> bool:
        if not self._unwritten:
            return False
        is_old = time.monotonic() - self._oldest_at >= SET_WITHIN_S
        return is_old or len(self._unwritten) >= SET or not self._flying

    def _renew(self) -> None:
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + RENEW_EVERY_S
            leases.renew(self._flying)

    # --- out ------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Commit what landed, and let what is paid go on to its carrier."""
        landed, self._unwritten = self._unwritten, []
        at = self._clock()
        self._give_back([one for one in landed if one.asked is None], at=at)
        asked = [one.asked for one in landed if one.asked is not None]
        announced = [one for one in asked if isinstance(one, announcements.Asked)]
        payments = [one for one in asked if isinstance(one, charging.Asked)]
        credited = [one for one in asked if isinstance(one, crediting.Asked)]
        refunded = [one for one in asked if isinstance(one, refunding.Asked)]
        heard = hearing.of_recharges(announced=announced, asked=payments, credited=credited)
        heard += hearing.of_refunds(refunded)
        outages.note_silence(heard, at=at)  # before what it leaves in doubt is there
        if announced:
            announcements.record(announced, at=at, context=self._read_context())
        if payments:
            paid = charging.record(payments, at=at, context=self._read_context())
            self._go_on(paid, landed)
        if credited:
            crediting.record(credited, at=at)
        if refunded:
            refunding.record(refunded, at=at)
        probes.record([one for one in asked if isinstance(one, probes.Asked)], at=at)
        for whom in hearing.complaints(asked):
            self.meter.slow_down(whom)
        self.silences.hear(heard, at=at)

    def _read_context(self) -> answers.Context:
        if self._context is None:
            self._context = answers.Context(declines.load(), self._outside.capabilities)
        return self._context

    def _go_on(self, paid: Sequence[Work], landed: Sequence[Flight]) -> None:
        """Under the lease that their payment was made under."""
        if not paid:
            return
        adapters = outgoing.adapters_of(paid, outside=self._outside)
        before = {one.row.id: one for one in landed if isinstance(one.row, Work)}
        for row, one in zip(paid, outgoing.credit(paid, adapters=adapters), strict=True):
            payment = before[row.id]
            one.lease(claimed_at=payment.claimed_at, held_from=payment.held_from)
            self._hold(one)

    def _give_back(self, flights: Sequence[Flight], *, at: datetime) -> None:
        """What was not begun, a statement a kind: a charge is due, a credit is paid as before;
        a question waits a minute."""
        legs: dict[Leg, list[Work]] = {leg: [] for leg in Leg}
        refunds: list[RefundWork] = []
        for one in flights:
            if isinstance(one.row, RefundWork):
                refunds.append(one.row)
            elif isinstance(one.row, Work):
                legs[one.leg].append(one.row)
        moves = [row.move(S.DUE, "not_sent", at) for row in legs[Leg.CHARGE]]
        moves += [row.move(S.CHARGED, "paid", at) for row in legs[Leg.CREDIT]]
        sorting.make(moves, at=at)
        asked = legs[Leg.ANNOUNCE] + legs[Leg.QUERY] + legs[Leg.QUERY_CREDIT]
        sorting.give_back(asked, at=at)
        sorting.give_refunds_back(refunds, at=at)

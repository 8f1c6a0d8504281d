"""What is put into a pipeline: due rules opened, and recharges and refunds claimed, while there is
room for them at whom they go to.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing import nudges
from billing.engine import outgoing, silences, taking, waking
from billing.engine.bulkheads import Whom
from billing.engine.doubts import Whose
from billing.engine.pipeline import Pipeline
from billing.engine.taking import Lane, Room
from billing.models import OutageSide, Rail
from billing.outside import Outside
from billing.refunds import claims as refund_claims
from billing.rules import openings

BATCH = 200
# Seats that a million due by their date leave to what is low or asked for by hand.
_KEPT = 1 / 8
# Of what is due by its date no fewer are claimed at a time: a claim of three costs one of thirty.
_HANDFUL = 32
# Refunds at a time at one rail or carrier: they are few, and each is written by itself.
_REFUNDS = 32
_HELP_EVERY_S = 0.5
_FEED_EVERY_S = 0.02
_LOOK_EVERY_S = 0.1
_LOOK_AROUND_EVERY_S = 1.0
# The newest of what is due are looked at so often, however many are before them.
_NEWEST_EVERY_S = 0.2
_NEWEST = 50


@dataclass(slots=True)
class Progress:
    """What one run found to do."""

    rules: int = 0
    recharges: int = 0
    refunds: int = 0

    @property
    def total(self) -> int:
        return self.rules + self.recharges + self.refunds


class Feeder:
    """Of one pipeline. `feed` as often as you like: it knows when to look."""

    def __init__(self, pipeline: Pipeline, *, outside: Outside, batch: int = BATCH) -> None:
        self.done = Progress()
        self._pipeline = pipeline
        self._outside = outside
        self._batch = batch
        self._rails = list(Rail.objects.values_list("code", flat=True))
        self._silent: list[Whose] = []
        self.is_dry = False  # nothing was due when it was looked for last
        self._is_behind = False  # more is due than was opened just now
        self._next_at = self._look_around_at = self._newest_at = self._help_at = 0.0

    def feed(self, *, at: datetime) -> None:
        """Look for work, unless that was done just now and there is enough under way."""
        now = time.monotonic()
        if self._pipeline.under_way and now < self._next_at:
            return
        if now >= self._look_around_at:
            self.look_around(at=at)
            self._look_around_at = now + _LOOK_AROUND_EVERY_S
        self.is_dry = not self.once(at=at)
        self._call_for_help()
        self._next_at = time.monotonic() + (_LOOK_EVERY_S if self.is_dry else _FEED_EVERY_S)
        if self.is_dry:
            self.probe()

    def once(self, *, at: datetime, is_drained: bool = False) -> int:
        """One batch of each kind at the most; how many there were. `is_drained`: a refund that
        these recharges lead to is claimed with them."""
        opened = self._open(at=at)
        claimed = self._claim(at=at)
        if is_drained:
            self._pipeline.drain()
        self._is_behind = claimed == self._batch and opened < claimed
        returned = self._claim_refunds(at=at)
        self.done.rules += opened
        self.done.recharges += claimed
        if is_drained:
            self._pipeline.drain()
        self.done.refunds += returned
        return opened + claimed + returned

    def probe(self) -> None:
        """Ask who gives no answer, once nothing else is due that would tell."""
        silent, self._silent = self._silent, []
        self._pipeline.take_probes(silent)

    def look_around(self, *, at: datetime) -> None:
        """What changes seldom: who gives no answer, and whether it is to be asked."""
        self._silent += waking.wake(at=at)
        self._pipeline.silences.look()
        self._pipeline.meter.look()

    def _open(self, *, at: datetime) -> int:
        """Due rules. Not while more recharges wait than are claimed, but for the newest of them:
        what is low now is not to wait for all that is due by its date."""
        if not self._is_behind:
            return self._open_some(self._batch, at=at)
        now = time.monotonic()
        if now < self._newest_at:
            return 0
        self._newest_at = now + _NEWEST_EVERY_S
        return self._open_some(min(self._batch, _NEWEST), at=at, is_newest_first=True)

    def _open_some(self, limit: int, *, at: datetime, is_newest_first: bool = False) -> int:
        return openings.open_due(
            at=at,
            limit=limit,
            capabilities=self._outside.capabilities,
            is_newest_first=is_newest_first,
        )

    def _claim(self, *, at: datetime) -> int:
        began = time.monotonic()
        rooms = [room for rail in self._rails for room in self._rooms(rail, at=at)]
        full = [whom.code for whom in self._full(OutageSide.CARRIER)]
        rows = taking.take(at=at, limit=self._batch, rooms=rooms, full_carriers=full)
        self._pipeline.take(rows, began=began)
        return len(rows)

    def _rooms(self, rail: str, *, at: datetime) -> list[Room]:
        """Of each lane of a rail, as far as its bulkhead has seats."""
        whom = outgoing.rail(rail)
        most, load = self._pipeline.seats(whom)
        free = min(self._batch, max(0, most - load), self._pipeline.reach(whom))
        is_spared = self._pipeline.silences.is_open(whom, at=at)
        sends = min(free, max(0, silences.TRIED - load)) if is_spared else free
        each = {
            Lane.CREDIT: self._batch,
            Lane.URGENT: sends,
            Lane.QUESTION: free,
            Lane.SCHEDULED: _scheduled(sends, most=most, load=load),
        }
        return [Room(rail, lane.value, number, free) for lane, number in each.items()]

    def _full(self, side: OutageSide) -> Iterator[Whom]:
        for whom in self._pipeline.known():
            if whom.side == side:
                most, load = self._pipeline.seats(whom)
                if load >= most or not self._pipeline.reach(whom):
                    yield whom

    def _claim_refunds(self, *, at: datetime) -> int:
        began = time.monotonic()
        busy = [whom for whom, count in self._pipeline.refunds_at().items() if count >= _REFUNDS]
        rails = [whom.code for whom in busy if whom.side == OutageSide.RAIL]
        carriers = [whom.code for whom in busy if whom.side == OutageSide.CARRIER]
        rows = refund_claims.claim(
            at=at, limit=self._batch, busy_rails=rails, busy_carriers=carriers
        )
        self._pipeline.take_refunds(rows, began=began)
        return len(rows)

    def _call_for_help(self) -> None:
        """More is due than one worker takes: an idle one, on whatever machine, is to hear of it.
        A cluster takes nudges that it has no worker for; so there is always one more."""
        now = time.monotonic()
        if self._is_behind and now >= self._help_at:
            self._help_at = now + _HELP_EVERY_S
            nudges.one_more()


def _scheduled(sends: int, *, most: int, load: int) -> int:
    number = min(sends, most - int(most * _KEPT) - load)
    return number if number >= min(_HANDFUL, most * _KEPT, sends) else 0

"""One call about one claimed row, from the claim to what came back. Deadlines belong to it.

A call that was never begun has sent nothing, and its row is given back as it was. One that broke in
our own code may have: it counts as no answer.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from queue import SimpleQueue

from billing.calls import NeverReturned
from billing.delivery import crediting
from billing.engine import probes
from billing.engine.bulkheads import Whom
from billing.engine.doubts import Whose
from billing.payments import announcements, charging
from billing.recharges.claims import Work
from billing.refunds import refunding
from billing.refunds.claims import RefundWork

log = logging.getLogger(__name__)

# Both from when the row's lease began, or was renewed. No charge is begun after the first, for what
# it was decided by grows old; and nothing at all after the second: with the calls' own deadlines
# each ends well inside the lease.
CHARGES_WITHIN_S = 10.0
CALLS_WITHIN_S = 20.0

Asked = announcements.Asked | charging.Asked | crediting.Asked | refunding.Asked | probes.Asked


class Leg(StrEnum):
    ANNOUNCE = "announce"
    CHARGE = "charge"
    QUERY = "query"
    CREDIT = "credit"
    QUERY_CREDIT = "query credit"
    REFUND = "refund"
    PROBE = "probe"


_DECIDED = (Leg.ANNOUNCE, Leg.CHARGE)


@dataclass(slots=True, eq=False)
class Flight:
    """`ask` makes the call, in whatever thread; `landed` is told when it is over, or never began.

    `begin_by` is the row's own deadline, by `time.monotonic()`; who drives may only ever read it.
    """

    leg: Leg
    row: Work | RefundWork | Whose
    whom: Whom
    ask: Callable[[], Asked]
    unusable: Callable[[Exception], Asked]
    claimed_at: float = 0.0
    held_from: float = 0.0  # no later than its lease began, or was renewed
    begin_by: float = 0.0
    landed: SimpleQueue["Flight"] | None = None
    is_begun: bool = False
    asked: Asked | None = None  # None: it was not begun

    def lease(self, *, claimed_at: float, held_from: float) -> None:
        """Held from then on: how long it may wait follows from it."""
        self.claimed_at, self.held_from = claimed_at, held_from
        if self.leg in _DECIDED:
            self.begin_by = claimed_at + CHARGES_WITHIN_S
        else:
            self.begin_by = held_from + CALLS_WITHIN_S

    def recall(self) -> None:
        """Do not begin it any more; one that is under way goes on."""
        self.begin_by = -math.inf

    def run(self) -> None:
        """Make the call, unless it is too late. Lands in any case."""
        try:
            if time.monotonic() < self.begin_by:
                self._call()
        finally:
            if self.landed is not None:
                self.landed.put(self)

    def _call(self) -> None:
        self.is_begun = True
        self.asked = self.unusable(NeverReturned())  # unless it does: a thread may die in its call
        try:
            self.asked = self.ask()
        except Exception as error:
            # The type alone: a message might hold what must not be logged.
            log.error("an adapter raised %s", type(error).__name__)
            self.asked = self.unusable(error)

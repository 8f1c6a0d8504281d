"""What one worker may call now, of what `billing.rates` allows all of them together."""

import math
import time

from billing import rates
from billing.engine.bulkheads import Whom
from billing.rates import Limit, Sharers

# No worker has more waiting for its turn than it will get in so long: the rest stays unclaimed.
REACH_S = 3.0
_ASK_EVERY_S = 0.02
_LOOK_EVERY_S = 1.0
_WINDOW_S = 4.0


class Meter:
    """What one worker knows of the limits, a second old at the most."""

    def __init__(self) -> None:
        self._limits: dict[Whom, Limit] = {}
        self._sharers = Sharers(1, 0)
        self._look_at = 0.0
        self._ask_at: dict[Whom, float] = {}
        self._windows: dict[Whom, tuple[float, int]] = {}

    def look(self) -> None:
        """Refresh what operators and other workers change."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        found = rates.limits()
        self._limits = {Whom(one.side, one.code): one for one in found}
        if found:
            self._sharers = rates.sharers()

    def grant(self, whom: Whom, *, wanted: int) -> int:
        """So many of `wanted` calls may be begun now. Asked no more often than is worth it."""
        limit = self._limits.get(whom)
        if limit is None or limit.per_s is None or not wanted:
            return wanted
        now = time.monotonic()
        if now < self._ask_at.get(whom, 0.0):
            return 0
        self._ask_at[whom] = now + _ASK_EVERY_S
        return rates.take(side=whom.side, code=whom.code, wanted=wanted)

    def begun(self, whom: Whom, *, calls: int) -> None:
        """So many more: how fast that is counts once it is said to be too fast."""
        now = time.monotonic()
        began, count = self._windows.get(whom, (now, 0))
        if now - began > _WINDOW_S:  # what lies back counts half
            began, count = now - _WINDOW_S / 2, count // 2
        self._windows[whom] = (began, count + calls)

    def slow_down(self, whom: Whom) -> None:
        """It said that it is called too fast."""
        now = time.monotonic()
        began, count = self._windows.get(whom, (now, 1))
        pace = self._sharers.live * count / max(1.0, now - began)
        rates.slow_down(side=whom.side, code=whom.code, was_per_s=pace)
        self._look_at = 0.0

    def seats(self, whom: Whom, *, most: int) -> int:
        """This worker's share of what may be in flight."""
        limit = self._limits.get(whom)
        if limit is None or limit.in_flight is None:
            return most
        each, left = divmod(limit.in_flight, self._sharers.live)
        return min(most, each + (1 if self._sharers.place < left else 0))

    def reach(self, whom: Whom, *, most: int) -> int:
        """So many may wait for their turn."""
        limit = self._limits.get(whom)
        if limit is None or limit.per_s is None:
            return most
        return min(most, max(1, math.ceil(limit.per_s * REACH_S / self._sharers.live)))

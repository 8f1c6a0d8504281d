"""A simulator's own time, which can be moved forward, and the work that waits for it."""

import heapq
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

log = logging.getLogger(__name__)
_THREADS = 8
Work = Callable[[], object]


class VirtualClock:
    """Real time plus what was added to it. Only forward: money systems live in one direction."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by


class Agenda:
    """Does things at a virtual time, on threads of its own. What waits is lost at a restart."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, Work]] = []
        self._order = count()
        self._changed = threading.Condition()
        self._movers = 0  # while somebody moves the clock, what comes due is theirs to do
        self._pool = ThreadPoolExecutor(_THREADS, "agenda")
        threading.Thread(target=self._watch, name="agenda", daemon=True).start()

    def soon(self, work: Work) -> None:
        """As soon as a thread is free."""
        self._pool.submit(_done, work)

    def at(self, due: datetime, work: Work) -> None:
        """At `due`; if that is past, as soon as a thread is free."""
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._order), work))
            self._changed.notify()

    def clock_moved(self) -> None:
        """What has come due by a moved clock is begun; nobody waits for it."""
        with self._changed:
            self._changed.notify()

    def advance(self, move: Work) -> None:
        """Let `move` move the clock, and do, here and in order, whatever has come due by that.

        Who moved the clock finds everything done when this returns; only what hands itself to
        `soon` may still be on its way.
        """
        with self._changed:
            self._movers += 1
            move()
            work = self._due()
        while work is not None:
            _done(work)
            with self._changed:
                work = self._due()
        with self._changed:
            self._movers -= 1
            self._changed.notify()

    def _due(self) -> Work | None:
        if self._heap and self._heap[0][0] <= self._clock.now():
            return heapq.heappop(self._heap)[2]
        return None

    def _watch(self) -> None:
        while True:
            with self._changed:
                work = None if self._movers else self._due()
                if work is None:
                    self._changed.wait(self._seconds_to_next())
                    continue
            self.soon(work)

    def _seconds_to_next(self) -> float | None:
        if not self._heap or self._movers:
            return None
        return max((self._heap[0][0] - self._clock.now()).total_seconds(), 0)


def _done(work: Work) -> None:
    try:
        work()
    except Exception:  # an edge: a thread's top must not die silently
        log.exception("work of the agenda failed")

"""The simulator's own time, which can be moved forward, and work that waits for it."""

import heapq
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

log = logging.getLogger(__name__)
_WORKERS = 8


class VirtualClock:
    """Real time plus what was added to it. Only forward: money systems live in one direction."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by


def seconds(at: datetime) -> int:
    """As Stripe writes an instant: whole seconds of UTC."""
    return int(at.timestamp())


class Agenda:
    """Runs things at a virtual time, on threads of its own. What waits is lost at a restart."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._waiting: list[tuple[datetime, int, Callable[[], object]]] = []
        self._order = count()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(_WORKERS, "agenda")
        threading.Thread(target=self._watch, name="agenda", daemon=True).start()

    def soon(self, work: Callable[[], object]) -> None:
        """As soon as a thread is free."""
        self._pool.submit(self._run, work)

    def at(self, due: datetime, work: Callable[[], object]) -> None:
        """At `due`, or at once if the clock is moved past it."""
        with self._changed:
            heapq.heappush(self._waiting, (due, next(self._order), work))
            self._changed.notify()

    def clock_moved(self) -> None:
        with self._changed:
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > self._clock.now():
                    self._changed.wait(self._seconds_to_next())
                work = heapq.heappop(self._waiting)[2]
            self.soon(work)

    def _seconds_to_next(self) -> float | None:
        if not self._waiting:
            return None
        return max((self._waiting[0][0] - self._clock.now()).total_seconds(), 0)

    @staticmethod
    def _run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # an edge: a thread's top must not die silently
            log.exception("work of the agenda failed")

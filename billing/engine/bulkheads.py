"""Calls that overlap: each rail and each carrier has a bulkhead, as many threads as may call it at
once. One that hangs holds its own threads and takes nothing from the others.

Threads live on, and their connections with them (an adapter keeps one a thread): a handshake a
batch would cost more than the call. No database here: a call holds no transaction open.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)

# So many calls of one process are under way at one rail or carrier. At 0.3 s a call that is 2,500 a
# second, more than a process writes down; and what one process holds stays well below 250 MiB.
MOST = 768
# A thread that finds nothing to do for so long ends; servers close idle connections about then.
LINGER_S = 15.0


class Whom(NamedTuple):
    """A rail or a carrier, by its code."""

    side: str
    code: str


class Job(Protocol):
    """One call. `run` keeps its own outcome, whatever it raises."""

    def run(self) -> None: ...


class Bulkhead:
    """Of one rail or carrier in this process. Used by one thread; `_work` is what the others do."""

    def __init__(self, whom: Whom, *, most: int = MOST) -> None:
        self.whom = whom
        self.most = most
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._taken = 0

    @property
    def taken(self) -> int:
        """Seats: calls under way or about to be, those of an earlier run that hang included."""
        return self._taken

    @property
    def room(self) -> int:
        return max(0, self.most - self._taken)

    @property
    def is_behind(self) -> bool:
        """Whether a call waits for a thread."""
        return not self._jobs.empty()

    def put(self, jobs: Sequence[Job]) -> None:
        """Have them called, in their order as far as there are threads."""
        with self._lock:
            self._taken += len(jobs)
            for job in jobs:
                self._jobs.put(job)
            if jobs and not self._threads:
                self._start(1)

    def grow(self) -> None:
        """A thread for each call that still waits for one. Not at once: one is enough for calls
        that answer at once, where many would only wait for each other."""
        with self._lock:
            self._start(min(self._jobs.qsize(), self.most - self._threads))

    def _start(self, count: int) -> None:
        for _ in range(count):
            self._threads += 1
            threading.Thread(target=self._work, name=f"call {self.whom.code}", daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.run()
            except BaseException as error:  # a seat that died with its call would be lost for ever
                log.error("a call ended its thread: %s", type(error).__name__)
            finally:
                self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._taken -= 1

    def _next(self) -> Job | None:
        try:
            return self._jobs.get(timeout=LINGER_S)
        except Empty:
            return self._last_look()

    def _last_look(self) -> Job | None:
        """Under the lock, so that nothing is put for a thread that is just going."""
        with self._lock:
            try:
                return self._jobs.get_nowait()
            except Empty:
                self._threads -= 1
                return None


class Bulkheads:
    """One each, made when it is first asked for."""

    def __init__(self, make: Callable[[Whom], Bulkhead] = Bulkhead) -> None:
        self._make = make
        self._made: dict[Whom, Bulkhead] = {}

    def of(self, whom: Whom) -> Bulkhead:
        found = self._made.get(whom)
        if found is None:
            found = self._made[whom] = self._make(whom)
        return found

    def __iter__(self) -> Iterator[Bulkhead]:
        return iter(self._made.values())


_ours = Bulkheads()


def ours() -> Bulkheads:
    """This process's own: they outlive a task, so that the next one finds its connections."""
    return _ours


def _begin_anew() -> None:
    """A forked child has its parent's objects, and none of its threads."""
    global _ours
    _ours = Bulkheads()


os.register_at_fork(after_in_child=_begin_anew)

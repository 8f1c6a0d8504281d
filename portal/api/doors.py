"""How many requests of the heavy kind a web process has in hand at once.

Its threads are few. Whoever pushes balances by the ten thousand may have some of them, and never
the last, or no page would be answered. Of those let in, on all of a machine, one at a time is at
work: with the database it has a core's worth of work, and the others are for pages.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore, Lock

from portal.api.refusals import Busy

# Of the four threads that README and docs/operations.md start a process with.
PLACES = 2

_places = BoundedSemaphore(PLACES)
_work = Lock()


def enter() -> None:
    """Take a place, to be given back by `leave`. Raises Busy where there is none."""
    if not _places.acquire(blocking=False):
        raise Busy


def leave() -> None:
    _places.release()


@contextmanager
def turn() -> Iterator[None]:
    """Be the only one of this machine at work; who has a place waits for its turn."""
    with _work, Path(__file__).open() as ours:
        # Of this very file, which every process of the installation has, and nobody needs to write.
        fcntl.flock(ours, fcntl.LOCK_EX)  # until it is closed, or its process ends
        yield

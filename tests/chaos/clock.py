"""One virtual time for all processes of a run: memory that forks share.

Only the driver moves it, in small steps, so that nothing due "in two minutes" is waited for, and a
machine that stands still for a while does not tear the simulators' time and ours apart.
"""

import mmap
import struct
from datetime import UTC, datetime, timedelta


class SharedClock:
    """Virtual seconds since `start`. Fork after making it."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._memory = mmap.mmap(-1, 8)

    @property
    def elapsed_s(self) -> float:
        seconds: float = struct.unpack_from("=d", self._memory)[0]
        return seconds

    def now(self) -> datetime:
        return self._start.astimezone(UTC) + timedelta(seconds=self.elapsed_s)

    def advance(self, seconds: float) -> None:
        """Forward only; the driver alone calls it."""
        if seconds < 0:
            raise ValueError("time goes forward")
        struct.pack_into("=d", self._memory, 0, self.elapsed_s + seconds)


class SharedFlag:
    """A yes or no that forks share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def raise_(self) -> None:
        self._memory[0] = 1

    def lower(self) -> None:
        self._memory[0] = 0

    @property
    def is_up(self) -> bool:
        return bool(self._memory[0])

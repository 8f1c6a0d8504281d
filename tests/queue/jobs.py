"""Tasks for the tests' clusters. What they did is told by heartbeats."""

import os
import time

from portal import heartbeats


def note(name: str) -> None:
    """Say that it was done, and by which process group."""
    heartbeats.mark(f"{name}:{os.getpgrp()}")


def doze(name: str, seconds: float) -> None:
    """Say which process is busy, take `seconds`, and say that it was done."""
    heartbeats.mark(f"{name}:busy:{os.getpid()}")
    time.sleep(seconds)
    heartbeats.mark(f"{name}:done")

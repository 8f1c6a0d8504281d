"""A program and everything it forks, in a session of its own: started, watched, ended as one."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from portal.supervision import tether

LOOK_EVERY_S = 0.05
AFTER_LEADER_S = 1.0  # what a leader leaves behind may end by itself within this time
AFTER_SIGKILL_S = 10.0


class NotEnding(Exception):
    """A group that SIGKILL did not end: a process hangs in the kernel (a dead disk or network)."""


class ProcessGroup:
    """The group led by one started program. It gets `on_parent_death` if this process dies."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: IO[bytes] | None = None,
        on_parent_death: int = signal.SIGKILL,
    ) -> None:
        """Start it. `output` gets both its outputs; without, they are this process's own."""
        # So that its orphans can be waited for; who inherits them otherwise may be slow to.
        tether.adopt_orphans()
        self._leader = subprocess.Popen(  # noqa: S603 (the callers' argv are our own programs)
            tether.command(argv, signum=on_parent_death),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        self.pid = self._leader.pid
        self._gone = False
        self._leader_until = math.inf  # set once it ended: how long the others may stay

    def exit_status(self) -> int | None:
        """The leader's: None while it runs, negative if a signal ended it."""
        self._reap()
        return self._leader.returncode

    def is_gone(self) -> bool:
        """Whether nobody of the group is left. Once true, its number is never signalled again."""
        self._reap()
        if not self._gone:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                self._gone = True
        return self._gone

    def is_stopping(self, *, until: float) -> bool:
        """Whether to wait on: somebody is left, and may still end by itself (monotonic times)."""
        return not self.is_gone() and time.monotonic() < min(until, self._leader_until)

    def ask_to_stop(self) -> None:
        """SIGTERM to the leader alone: a cluster's guard would die of it and finish nothing."""
        if self.exit_status() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all of it. May be called again."""
        if not self.is_gone():
            os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Collect the dead: the leader, and its orphans where they were adopted by us."""
        while True:
            try:
                pid, status = os.waitpid(-self.pid, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self._leader.returncode = os.waitstatus_to_exitcode(status)
                self._leader_until = time.monotonic() + AFTER_LEADER_S


def stop(groups: Iterable[ProcessGroup], *, grace_s: float) -> None:
    """Ask all to stop, wait `grace_s` altogether, kill what is left. May be called again.

    Raises NotEnding if even that leaves somebody alive.
    """
    stopping = list(groups)
    for group in stopping:
        group.ask_to_stop()
    deadline = time.monotonic() + grace_s
    while any(group.is_stopping(until=deadline) for group in stopping):
        time.sleep(LOOK_EVERY_S)
    for group in stopping:
        group.kill()
    deadline = time.monotonic() + AFTER_SIGKILL_S
    while left := [str(group.pid) for group in stopping if not group.is_gone()]:
        if time.monotonic() > deadline:
            raise NotEnding(f"process groups {', '.join(left)} live on after SIGKILL")
        time.sleep(LOOK_EVERY_S)

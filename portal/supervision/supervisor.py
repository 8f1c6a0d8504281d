"""Keeps the clusters alive: a queue whose process died must not take the money with it.

What django-q2 cannot survive by itself is cured by starting the whole process group anew: a killed
worker may take a semaphore with it, after which nothing moves; without its monitor nothing is
acknowledged; without its main or its guard the rest works on, unwatched. Nothing is lost by it:
rows say what is due, and a task that is cut off is resumed from its row.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Protocol

import psutil
from django.db import InterfaceError, OperationalError, connections

from portal import heartbeats
from portal.supervision import process_group
from portal.supervision.canary import Canary
from portal.supervision.process_group import ProcessGroup

MANAGE_PY = Path(__file__).resolve().parents[2] / "manage.py"
LOOK_EVERY_S = 0.5
START_WITHIN_S = 60.0
DAMAGED_GRACE_S = 3.0  # what is damaged rarely stops by itself; its healthy workers may finish
LONGEST_BACK_OFF_S = 15.0
SWEEP_LATE_S = 90
SWEEP_LOOK_EVERY_S = 5.0
SWEEP_WITHIN_S = 120.0


class Say(Protocol):
    """Writes one progress line."""

    def __call__(self, event: str, **facts: object) -> None: ...


class Roster:
    """The processes a cluster consists of, by role, as they were when it was complete."""

    def __init__(self, *, leader_pid: int, workers: int) -> None:
        self._leader_pid = leader_pid
        self._workers = workers
        self.roles: dict[str, psutil.Process] = {}

    def is_complete(self) -> bool:
        """Whether all have been seen; looks for them until then."""
        if not self.roles:
            try:
                self.roles = self._find()
            except psutil.NoSuchProcess:  # it ended under our eyes; its exit status says more
                self.roles = {}
        return bool(self.roles)

    def _find(self) -> dict[str, psutil.Process]:
        main = psutil.Process(self._leader_pid)
        guards = main.children()
        if len(guards) != 1:
            return {}
        # The guard starts its workers first, then the monitor, then the pusher.
        pool = sorted(guards[0].children(), key=lambda child: (child.create_time(), child.pid))
        if len(pool) != self._workers + 2:
            return {}
        names = [f"worker-{number}" for number in range(1, self._workers + 1)]
        roles = ["main", "sentinel", *names, "monitor", "pusher"]
        return dict(zip(roles, [main, guards[0], *pool], strict=True))

    def missing(self) -> list[str]:
        """The roles whose process is gone, even if the guard has put a new one in its place."""
        return [
            f"{role} {process.pid}" for role, process in self.roles.items() if _is_dead(process)
        ]


def _is_dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Cluster:
    """One cluster of the queue, started anew as a whole whenever a part of it fails."""

    def __init__(self, *, name: str, workers: int, task_timeout_s: int, say: Say) -> None:
        self.name = name
        self.group: ProcessGroup | None = None
        self._workers = workers
        self._task_timeout_s = task_timeout_s
        self._say = say
        self._started = self._not_before = 0.0
        self._is_up = False
        self._stillborn = 0  # starts in a row that ended before the first answered canary

    def look(self, now: float) -> None:
        """Start it, or start it anew, if that is what it needs. `now`: monotonic seconds."""
        if self.group is None:
            if now >= self._not_before:
                self._start(now)
            return
        if because := self._failure(self.group, now):
            self._start_anew(self.group, now, because)
        elif self._canary.is_answered and not self._is_up:
            self._is_up, self._stillborn = True, 0
            self._say("up", cluster=self.name, after_s=f"{now - self._started:.1f}")

    def _start(self, now: float) -> None:
        self.group = _run("run_cluster", Q_CLUSTER_NAME=self.name)
        self._roster = Roster(leader_pid=self.group.pid, workers=self._workers)
        self._canary = Canary(cluster=self.name, task_timeout_s=self._task_timeout_s)
        self._started, self._is_up = now, False
        self._say("starting", cluster=self.name, pid=self.group.pid)

    def _failure(self, group: ProcessGroup, now: float) -> str | None:
        if (status := group.exit_status()) is not None:
            return f"main {group.pid} exited with status {status}"
        if not self._roster.is_complete():
            late = now - self._started > START_WITHIN_S
            return f"not complete after {START_WITHIN_S:.0f} s" if late else None
        if missing := self._roster.missing():
            return f"died: {', '.join(missing)}"
        return self._canary.look(now)

    def _start_anew(self, group: ProcessGroup, now: float, because: str) -> None:
        self._stillborn = 0 if self._is_up else self._stillborn + 1
        wait_s = back_off_s(self._stillborn)
        self._say("failed", cluster=self.name, because=because, again_in_s=wait_s)
        process_group.stop([group], grace_s=DAMAGED_GRACE_S)
        self.group, self._not_before = None, now + wait_s


class Sweeper:
    """The second trigger: sweeps when no sweep was seen for a while, whatever the queue does."""

    def __init__(self, *, say: Say) -> None:
        self.group: ProcessGroup | None = None
        self._say = say
        self._until = self._next = 0.0

    def look(self, now: float) -> None:
        """Start a sweep that is late, or end one that has hung. `now`: monotonic seconds."""
        if self.group is not None:
            self._watch(self.group, now)
        elif now >= self._next:
            self._next = now + SWEEP_LOOK_EVERY_S
            if heartbeats.claim_late_sweep(late_s=SWEEP_LATE_S):
                self._say("sweeping", because=f"no sweep for {SWEEP_LATE_S} s")
                self.group, self._until = _run("sweep"), now + SWEEP_WITHIN_S

    def _watch(self, group: ProcessGroup, now: float) -> None:
        status = group.exit_status()
        if status is None and now < self._until:
            return
        process_group.stop([group], grace_s=0)
        self.group = None
        self._say("swept", status="took too long" if status is None else status)


class Supervisor:
    """Watches until it is told to stop, and leaves nobody behind."""

    def __init__(
        self, *, clusters: Iterable[Cluster], sweeper: Sweeper | None, stop_grace_s: float, say: Say
    ) -> None:
        self._clusters = list(clusters)
        self._watched: list[Cluster | Sweeper] = [*self._clusters, *([sweeper] if sweeper else [])]
        self._stop_grace_s = stop_grace_s
        self._say = say
        self._stops = 0
        self._database_is_away = False

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT; a second one does not wait for the tasks under way."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        try:
            while not self._stops:
                self._look()
                time.sleep(LOOK_EVERY_S)
        finally:
            self._say("stopping", grace_s=self._stop_grace_s)
            process_group.stop(self._groups(), grace_s=self._stop_grace_s)
            self._say("stopped")

    def _look(self) -> None:
        try:
            for watched in self._watched:
                watched.look(time.monotonic())
        except (OperationalError, InterfaceError):
            # Its text may quote the query. Clusters that cannot go on end by themselves.
            connections.close_all()
            if not self._database_is_away:
                self._say("database-away", advice="start PostgreSQL, or correct DATABASE_URL")
            self._database_is_away = True
        else:
            if self._database_is_away:
                self._say("database-back")
            self._database_is_away = False

    def _groups(self) -> list[ProcessGroup]:
        return [watched.group for watched in self._watched if watched.group is not None]

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops > 1:
            for group in self._groups():
                group.kill()


def back_off_s(stillborn: int) -> float:
    """Seconds before the next start: none for a cluster that had lived, then 1, 2, 4 … 15."""
    return min(LONGEST_BACK_OFF_S, 2.0 ** (stillborn - 1)) if stillborn else 0.0


def _run(command: str, **more_env: str) -> ProcessGroup:
    return ProcessGroup(
        [sys.executable, str(MANAGE_PY), command],
        env=os.environ | more_env,
        cwd=MANAGE_PY.parent,
    )

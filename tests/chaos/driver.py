"""The fault driver: forks, kills, pauses and replaces processes, and restarts the database.

One thread, for it forks. Everything it chooses comes from the run's seed; what the machine makes of
it does not, so a seed gives the same sequence of choices, not the same run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import requests
from django.conf import settings
from django.db import Error, connection

from tests.chaos import points, workers
from tests.chaos.points import Bomb
from tests.chaos.workers import LEASE_S, SPEED, Stage

WORKERS, PEOPLE = 6, 2
TICK_S = 0.02
LONGEST_STEP_S = 0.2  # of the virtual clock, in real seconds, however long the machine stood still
RAIL_FAULTS = (
    "lose_after",
    "lose_before",
    "slow",
    "late",
    "system_error",
    "gateway_error",
    "in_progress",
    "bad_signature",
    "unsigned_error",
    "http_500",
    "non_json",
    "notify_duplicate",
    "notify_reordered",
    "notify_forged",
    "notify_before_answer",
    "notify_never",
)
CARRIER_FAULTS = (
    "lose_before",
    "lose_after",
    "late",
    "slow",
    "slow_answer",
    "error_before",
    "error_after",
    "truncated",
    "empty",
    "not_json",
    "no_id",
)
EVENT_FAULTS = ("event_never", "event_twice", "event_forged", "event_tampered", "event_late")
FAULT_RATE = 0.2
PROMPT_S = 0.5
FAULT_S = 0.4


@dataclass
class Child:
    """A forked process of ours."""

    role: str
    pid: int
    die_at: float = float("inf")  # of time.monotonic()
    wake_at: float = 0.0  # above zero: it is stopped until then


@dataclass
class Tally:
    """What was done to them."""

    kills: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)  # ended by themselves: a bug
    pauses: int = 0
    restarts: int = 0
    terminated: int = 0
    forks: int = 0


class Driver:
    """Keeps the processes of a run going, and from going well."""

    def __init__(self, stage: Stage, *, seed: int) -> None:
        self.stage = stage
        self.tally = Tally()
        self._chance = random.Random(f"{seed}:driver")
        self._children: list[Child] = []
        self._number = 0
        self._aimed: Counter[str] = Counter()
        self._ticked_at = time.monotonic()
        self._probed_at = 0.0
        self._is_troubled = False
        self._do_pause_at = self._do_terminate_at = 0.0
        self._is_well = True

    # --- trouble ------------------------------------------------------------------------------

    def trouble(self) -> None:
        """From now on everything fails now and then."""
        self._is_troubled = True
        scene = self.stage.scene
        scene.alipay.chance(
            rate=FAULT_RATE,
            kinds=[*RAIL_FAULTS, "decline"],
            seed=self._chance.randrange(2**31),
            seconds=FAULT_S,
            sub_code="BUYER_BALANCE_NOT_ENOUGH",
            copies=3,
        )
        each = FAULT_RATE / len(CARRIER_FAULTS)
        for kind in CARRIER_FAULTS:
            for call in ("POST /topupBalance", "GET /topupBalance", "POST /adjustBalance"):
                scene.carrier.fault(kind, call, probability=each, delay_s=FAULT_S)
        scene.carrier.fault("reject", "POST /topupBalance", probability=0.04, code="lineBusy")
        scene.carrier.fault("reject", "POST /topupBalance", probability=0.05, code="amountNotSold")
        for kind in EVENT_FAULTS:
            scene.carrier.fault(kind, "EVENT", probability=0.05, delay_s=FAULT_S)

    def calm(self) -> None:
        """No more faults; everybody alive is replaced by workers that nothing happens to."""
        self._is_troubled = False
        self.stage.scene.calm()
        for child in list(self._children):
            if child.role != "web":
                self._end(child)

    def stop(self) -> None:
        """End everybody."""
        for child in list(self._children):
            self._end(child)

    def restart_database(self) -> None:
        """As a power cut: no backend says goodbye, nothing is flushed that was not promised."""
        directory = Path(settings.VAR_DIR) / "postgres"
        postmaster = int((directory / "postmaster.pid").read_text().split()[0])
        connection.close()
        os.kill(postmaster, signal.SIGQUIT)
        _wait_until(lambda: not _is_alive(postmaster))
        start = [sys.executable, "-m", "portal.embedded_postgres", "url", str(directory)]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        self.tally.restarts += 1

    # --- the loop -----------------------------------------------------------------------------

    def tick(self) -> None:
        """One round: time, the dead, the killed, the paused. Call it over and over."""
        self._move_clock()
        self._bury()
        self._staff()
        if self._is_troubled:
            self._kill_the_old()
            self._pause_one()
            self._terminate_a_backend()
        self._wake_the_paused()
        time.sleep(TICK_S)

    def _move_clock(self) -> None:
        """Virtual time stands still while a simulator is behind with its work: what is late there
        by load, and not by order, is not late here."""
        now = time.monotonic()
        real_s, self._ticked_at = min(now - self._ticked_at, LONGEST_STEP_S), now
        if now - self._probed_at > 1:
            self._is_well = self._probe()
            self._probed_at = time.monotonic()
        if self._is_well:
            self.stage.clock.advance(real_s * SPEED)

    def _probe(self) -> bool:
        """Whether both simulators answer at once. Brings the carrier's clock up to ours."""
        scene = self.stage.scene
        try:
            _ask("GET", f"{scene.alipay.url}/_control/health")
            there = _ask("GET", f"{scene.carrier.url}/_control/health")["now"]
            behind_s = (self.stage.clock.now() - datetime.fromisoformat(there)).total_seconds()
            if behind_s > 0:
                _ask("POST", f"{scene.carrier.url}/_control/clock", {"advance_s": behind_s})
        except requests.RequestException:
            return False
        return True

    def _bury(self) -> None:
        for child in list(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._children.remove(child)
                if not os.WIFSIGNALED(status):
                    self.tally.broken[child.role] += 1

    def _staff(self) -> None:
        """As many of each role as there should be; who is paused is missing."""
        present = Counter(child.role for child in self._children if not child.wake_at)
        self._fill("web", 1 - present["web"], lambda: workers.web(self.stage))
        self._fill("slow", 1 - present["slow"], lambda: workers.slow(self.stage))
        for _ in range(WORKERS - present["money"]):
            self._hire()
        wanted = PEOPLE if self._is_troubled else 0
        self._fill(
            "people",
            wanted - present["people"],
            lambda: workers.people(self.stage, self._number),
        )

    def _fill(self, role: str, missing: int, body: Callable[[], None]) -> None:
        for _ in range(missing):
            lives_s = self._chance.uniform(4, 12) if self._is_troubled else float("inf")
            self._fork(role, body, lives_s=lives_s)

    def _hire(self) -> None:
        """A worker that is to die at a point, or at any time at all."""
        if not self._is_troubled:
            self._fork("money", lambda: workers.money(self.stage, points.quiet))
            return
        aim = self._aim()
        bomb = Bomb(aim, passing=self._chance.choice((1, 1, 2, 3)), tell=self.stage.tell)
        body = lambda: workers.money(self.stage, bomb)  # noqa: E731
        self._fork("money", body, lives_s=self._chance.uniform(0.4, 3))

    def _aim(self) -> str:
        """The point aimed at least so far, or one of them."""
        all_of_them = points.names()
        least = min(self._aimed[name] for name in all_of_them)
        choice = self._chance.choice([n for n in all_of_them if self._aimed[n] == least])
        self._aimed[choice] += 1
        return choice

    def _fork(self, role: str, body: Callable[[], None], *, lives_s: float = float("inf")) -> None:
        self._number += 1
        connection.close()
        pid = workers.fork(body, log=self.stage.folder / f"{role}.log")
        self._children.append(Child(role, pid, die_at=time.monotonic() + lives_s))
        self.tally.forks += 1

    def _kill_the_old(self) -> None:
        now = time.monotonic()
        for child in list(self._children):
            if child.die_at < now and not child.wake_at:
                self.tally.kills[child.role] += 1
                self._end(child)

    def _end(self, child: Child) -> None:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._children.remove(child)

    def _pause_one(self) -> None:
        """Stop a worker for longer than its lease; it wakes, and goes on where it was."""
        now = time.monotonic()
        if now < self._do_pause_at:
            return
        self._do_pause_at = now + self._chance.uniform(0.2, 0.8)
        awake = [c for c in self._children if c.role == "money" and not c.wake_at]
        if awake:
            child = self._chance.choice(awake)
            os.kill(child.pid, signal.SIGSTOP)
            child.wake_at = now + self._chance.uniform(1, 2.25) * LEASE_S
            self.tally.pauses += 1

    def _wake_the_paused(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.wake_at and child.wake_at < now:
                child.wake_at = 0.0
                # Long enough to finish what it had begun: that is what must change nothing.
                child.die_at = now + self._chance.uniform(1, 3)
                os.kill(child.pid, signal.SIGCONT)

    def _terminate_a_backend(self) -> None:
        now = time.monotonic()
        if now < self._do_terminate_at:
            return
        self._do_terminate_at = now + self._chance.uniform(0.2, 1.0)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " ORDER BY random() LIMIT 1) one"
                )
                self.tally.terminated += cursor.fetchone()[0]
        except (Error, psycopg.Error):
            connection.close()


def _ask(verb: str, url: str, body: object = None) -> dict[str, Any]:
    """Raises requests.RequestException also where the answer takes its time."""
    answer: dict[str, Any] = requests.request(verb, url, json=body, timeout=PROMPT_S).json()
    return answer


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def _wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.01)

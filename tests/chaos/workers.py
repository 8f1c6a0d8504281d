"""What the forked processes of a run do: workers, the web that messages are posted to, people.

Each is forked from the driver, which has imported everything, so that a killed one is replaced in
some milliseconds. None shares the driver's database session.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import waitress
from django.core.wsgi import get_wsgi_application
from django.db import Error, close_old_connections, connection

from billing.engine import executor, flights, incoming, leases, pipeline, sweeps
from billing.recharges import claims
from billing.refunds import claims as refund_claims
from portal.supervision import tether
from tests.chaos import points
from tests.chaos.clock import SharedClock
from tests.chaos.people import People
from tests.chaos.points import Strike
from tests.chaos.scene import Scene

# One real second is so many virtual ones; what production waits for is shortened as much.
SPEED = 20
LEASE_S = claims.LEASE_S / SPEED
REFUND_LEASE_S = refund_claims.LEASE_S / SPEED
CHARGES_WITHIN_S = flights.CHARGES_WITHIN_S / SPEED
CALLS_WITHIN_S = flights.CALLS_WITHIN_S / SPEED
RENEW_AFTER_S = leases.RENEW_AFTER_S / SPEED
LONGEST_S = leases.LONGEST_S / SPEED
BATCH = 8
BUDGET_S = 0.5
_IDLE_S = 0.03
_AWAY_S = 0.1


@dataclass
class Stage:
    """What the processes of a run share."""

    scene: Scene
    clock: SharedClock
    folder: Path
    seed: int
    web_port: int

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def tell(self, what: str) -> None:
        """One line, whole however many write at once, and kept when the writer is killed."""
        descriptor = os.open(self.folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{what}\n".encode())
        os.close(descriptor)

    def told(self) -> list[str]:
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


def fork(body: Callable[[], None], *, log: Path) -> int:
    """A child that runs `body` and dies with us; its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        tether.die_with_parent(parent_pid=parent, signum=signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides when we end
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        connection.connection = None  # the driver's session is not ours to use or to close
        body()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def money(stage: Stage, strike: Strike) -> None:
    """The executor and the inbox, over and over, with the real adapters."""
    _shorten()
    points.install(strike)
    outside = points.guarded(stage.scene.outside(), strike)

    def sweep(at: datetime) -> int:
        incoming.process(at=at, limit=BATCH)
        worked = executor.run(
            clock=stage.clock.now, outside=outside, budget_s=BUDGET_S, batch=BATCH
        )
        return worked.total

    _work(stage, sweep)


def slow(stage: Stage) -> None:
    """Balances, agreements and notices."""
    _shorten()
    outside = stage.scene.outside()

    def sweep(at: datetime) -> int:
        sweeps.slow(at=at, outside=outside)
        return 0

    _work(stage, sweep)


def _work(stage: Stage, sweep: Callable[[datetime], int]) -> None:
    """As a queue's worker does: a task that fails is logged, and the next one is begun."""
    while True:
        close_old_connections()
        try:
            found = sweep(stage.clock.now())
        except (Error, psycopg.Error):
            traceback.print_exc()
            time.sleep(_AWAY_S)
            continue
        if not found:
            time.sleep(_IDLE_S)


def _shorten() -> None:
    claims.LEASE_S = LEASE_S  # type: ignore[assignment]
    refund_claims.LEASE_S = REFUND_LEASE_S  # type: ignore[assignment]
    flights.CHARGES_WITHIN_S = CHARGES_WITHIN_S
    flights.CALLS_WITHIN_S = CALLS_WITHIN_S
    leases.RENEW_AFTER_S = RENEW_AFTER_S
    leases.LONGEST_S = LONGEST_S
    pipeline.RENEW_EVERY_S /= SPEED


def web(stage: Stage) -> None:
    """The addresses that rails and carriers post to."""
    waitress.serve(
        get_wsgi_application(),
        host="127.0.0.1",
        port=stage.web_port,
        threads=8,
        _quiet=True,
    )


def people(stage: Stage, number: int) -> None:
    People(
        scene=stage.scene,
        clock=stage.clock,
        chance=random.Random(f"{stage.seed}:people:{number}"),
        public_url=stage.public_url,
        tell=stage.tell,
    ).live()

"""An idle installation: how soon a low balance becomes a charge, and what it weighs.

Web, workers and simulators run as `make demo` starts them. A probe pushes low balances one at a
time and looks when the charge is under way.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from portal import embedded_postgres
from portal.demo.stage import Stage
from portal.supervision.processes import Processes

PORT = 29_400


def measure(*, is_quick: bool) -> dict[str, Any]:
    pushes = 10 if is_quick else 40
    folder = Path(tempfile.mkdtemp(prefix="keepline-"))
    stage = Stage(var_dir=folder, port=PORT)
    stage.prepare()
    try:
        with Processes(log_dir=folder / "log") as run:
            _manage(stage, "migrate", "--verbosity", "0")
            _manage(stage, "collectstatic", "--noinput", "--verbosity", "0")
            stage.start_simulators(run)
            web = stage.start_web(run)
            _manage(stage, "seed_demo", "--bare")
            workers = stage.start_workers(run)
            waits = _probe(stage, pushes)
            weight = {"web": _pss_mib(web.pid), "workers": _pss_mib(workers.pid)}
    finally:
        embedded_postgres.stop(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)
    p95 = statistics.quantiles(waits, n=20)[-1]
    return {
        "low balance pushed -> charge started, s (p50)": statistics.median(waits),
        "low balance pushed -> charge started, s (p95, aim 1)": p95,
        "memory idle, web (2 processes), MiB PSS": weight["web"],
        "memory idle, workers (both clusters), MiB PSS": weight["workers"],
    }


def _manage(stage: Stage, *command: str) -> None:
    subprocess.run(stage.manage(*command), env=stage.child_environment(), check=True)


def _probe(stage: Stage, pushes: int) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bench.idle_probe", str(pushes)],
        env=stage.child_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    waits: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return waits


def _pss_mib(pid: int) -> float:
    """A process and all below it, shared pages counted once."""
    top = psutil.Process(pid)
    every = [top, *top.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in every if one.is_running()) / 2**20

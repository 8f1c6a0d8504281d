"""A whole installation as `make demo` starts it, without its sample people, and a browser."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser

from portal import embedded_postgres
from portal.demo.stage import Stage
from portal.supervision.processes import Processes


@dataclass
class Installation:
    """Web, workers, three simulated rails and three simulated carriers, on ports of their own."""

    stage: Stage

    def manage(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.stage.manage(*command),
            env=self.stage.child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def verify(self) -> dict[str, Any]:
        """The three books, compared by the command an operator would use."""
        done = self.manage("verify", "--json", "--against-simulators")
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["ok"] else 1)
        return report

    def carrier(self, method: str, path: str, body: Any = None) -> Any:
        """An order to the simulated carrier of Hong Kong, where no law has a charge told before."""
        url = f"{self.stage.carrier_urls['cucc']}/_control{path}"
        answer = requests.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    # A short path: PostgreSQL's socket lies in it, and a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="keepline-"))
    stage = Stage(var_dir=folder, port=_free_ports(8))
    stage.prepare()
    found = Installation(stage)
    try:
        with Processes(log_dir=folder / "log") as run:
            for command in (("migrate", "--verbosity", "0"), ("collectstatic", "--noinput")):
                done = found.manage(*command)
                assert done.returncode == 0, done.stderr
            stage.start_simulators(run)
            stage.start_web(run)
            done = found.manage("seed_demo", "--bare")
            assert done.returncode == 0, done.stderr
            stage.start_workers(run)
            yield found
    finally:
        embedded_postgres.stop(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    return chromium


def _free_ports(count: int) -> int:
    """A port P such that P, and what a stage puts beside it, are free now."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000, 7):
        wanted = [port, *(port + 101 + n for n in range(count - 1))]
        if all(_is_free(one) for one in wanted):
            return port
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""PostgreSQL from the wheel belongs to its directory: who stops it need not have started it."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from portal import embedded_postgres
from tests.house.texts import ROOT


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: PostgreSQL's socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="keepline-"))
    yield made / "postgres"
    embedded_postgres.stop(made / "postgres")
    shutil.rmtree(made, ignore_errors=True)


def server_of(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))


def started_by_another_process(folder: Path) -> psutil.Process:
    command = [sys.executable, "-m", "portal.embedded_postgres", "url", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return server_of(folder)


@pytest.mark.processes
class TestTheServer:
    def test_that_another_process_started_anew_is_stopped_too(self, folder: Path) -> None:
        """As `make demo ARGS=--fresh` does: stop, forget, and let a command start it again."""
        embedded_postgres.url(folder)
        embedded_postgres.stop(folder)
        shutil.rmtree(folder)
        running = started_by_another_process(folder)

        embedded_postgres.stop(folder)

        psutil.wait_procs([running], timeout=20)
        assert not running.is_running()
        assert not (folder / "postmaster.pid").exists()

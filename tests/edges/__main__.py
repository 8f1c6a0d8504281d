"""Runs the tests that go by the real clock while the clock stands at an edge.

    python -m tests.edges                           every edge; about a minute each
    python -m tests.edges leap-day year-began       these
    python -m tests.edges leap-day -- tests/portal  these, with other tests or options of pytest

Python, PostgreSQL and all they start are given another time of day by a library to preload, which a
C compiler makes of the source beside this. Time flows, and what measures durations is left alone.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tests.edges.instants import EDGES

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("clock.c")
VAR_DIR = ROOT / "var" / "edges"
# Whose code under test, or whose simulators, ask what time it is.
DATED = (
    *("tests/admin", "tests/api", "tests/carriers", "tests/house/test_demo.py"),
    *("tests/lines", "tests/portal", "tests/queue", "tests/rails"),
    "tests/billing/test_bindings_at_alipay.py",
    "tests/billing/test_cards_at_stripe.py",
    "tests/billing/test_inbox.py",
    "tests/billing/test_operations.py",
    "tests/billing/test_reconciliation_at_rails.py",
    "tests/billing/test_reconciliation_at_simulators.py",
    "tests/billing/test_reconciliation_running.py",
    "tests/billing/test_refunds.py",
    "tests/billing/test_settlements.py",
    "tests/billing/test_verification.py",
)

# Seventeen times over, each is most of an hour: a browser, a client made from a document, clusters
# that are killed. What they show of dates, the others show too. Named after `--`, they are run.
LONG = (
    "tests/admin/test_browser.py",
    "tests/api/test_schema.py",
    "tests/portal/test_story_browser.py",
    "tests/queue/test_process_group.py",
    "tests/queue/test_processes.py",
    "tests/queue/test_run_workers.py",
    "tests/rails/test_stripe_localstripe.py",
)


def main(arguments: Sequence[str]) -> int:
    names, tests = _split(arguments)
    if unknown := set(names) - set(EDGES):
        print(f"No such edge: {', '.join(sorted(unknown))}. There are: {', '.join(EDGES)}.")
        return 2
    library = _library()
    chosen = tests or (*DATED, "-m", "not browser", *(f"--ignore={one}" for one in LONG))
    red = [name for name in names or EDGES if not _is_green(name, library, chosen)]
    print(f"edges: {len(red)} red: {', '.join(red)}" if red else "edges: all green")
    return int(bool(red))


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return list(arguments), []
    at = arguments.index("--")
    return list(arguments[:at]), list(arguments[at + 1 :])


def _library() -> Path:
    compiler = shutil.which("cc") or sys.exit("Moving the clock needs a C compiler: cc.")
    VAR_DIR.mkdir(parents=True, exist_ok=True)
    library = VAR_DIR / "clock.so"
    subprocess.run(
        [compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
        check=True,
    )
    return library


def _is_green(name: str, library: Path, tests: Sequence[str]) -> bool:
    at = datetime.fromisoformat(EDGES[name])
    print(f"edges: {name}, from {at:%Y-%m-%d %H:%M} UTC", flush=True)
    env = os.environ | {
        "KEEPLINE_VAR_DIR": str(VAR_DIR),
        "KEEPLINE_CLOCK_SHIFT_S": str(int(at.timestamp() - time.time())),
        "LD_PRELOAD": str(library),
    }
    _stop_postgres()  # it keeps the clock it was started with
    try:
        command = [sys.executable, "-m", "pytest", "-n", os.environ.get("PYTEST_WORKERS", "4")]
        return subprocess.run([*command, *tests], cwd=ROOT, env=env, check=False).returncode == 0
    finally:
        _stop_postgres()


def _stop_postgres() -> None:
    command = [sys.executable, "-m", "portal.embedded_postgres", "stop", str(VAR_DIR / "postgres")]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

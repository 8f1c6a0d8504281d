"""Seeded bugs, each of which the suite must notice. One that it does not is a missing test."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.bugs import BUGS

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).resolve().parents[2]
_PATIENCE_S = 600


def results() -> Any:
    """What noticed each bug: one process for all of them, for a start costs more than a bug."""
    # Options and settings meant for this run would select, or spread, the tests of those.
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_")) and name != "KEEPLINE_TEST_DATABASE"
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.controls"],
        cwd=REPOSITORY,
        env=own,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_the_suite_is_green_without_a_bug_and_notices_each_that_is_switched_on():
    """One test, not one a bug: two processes at once would share a database."""
    found = results()
    healthy = found.pop("")
    assert (healthy["failed"], healthy["broken"]) == ([], [])
    assert healthy["passed"] > 50
    assert [bug for bug, told in found.items() if told["broken"]] == []
    unnoticed = [bug for bug in BUGS if not found[bug]["failed"]]
    assert unnoticed == [], "no test notices these: write it"

"""Runs the suite's tests with each seeded bug in turn; tells, as JSON, what noticed it.

    python -m tests.chaos.controls [BUG …]

    {"": {"passed": 97, "failed": [], "broken": []},       no bug: all green
     "no_fence": {"passed": 40, "failed": ["tests/…::test_…"], "broken": []}, …}

In a process of its own, for pytest cannot run inside pytest, and one for all: Django starts once.
"""

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["KEEPLINE_TEST_DATABASE"] = "keepline_controls"

import django

django.setup()

import pytest

from tests.chaos.bugs import BUGS

_OPTIONS = ("-q", "-x", "--reuse-db", "--no-header", "-p", "no:cacheprovider")


def main() -> None:
    chosen = sys.argv[1:] or ["", *BUGS]
    with redirect_stdout(sys.stderr):
        results = {
            name: _run(name, *([] if number else ["--create-db"]))
            for number, name in enumerate(chosen)
        }
    print(json.dumps(results))


@dataclass(eq=False)
class Noticed:
    """A plugin that notes what became of each test. `broken`: it could not even begin."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.passed += report.passed
        if report.failed:
            (self.failed if report.when == "call" else self.broken).append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.nodeid)


def _run(name: str, *options: str) -> dict[str, Any]:
    """Without a bug, everything that any bug's tests are; it must be green."""
    tests = [BUGS[name].tests] if name else sorted({bug.tests for bug in BUGS.values()})
    os.environ["KEEPLINE_BUG"] = name
    print(f"== {name or 'no bug'}", flush=True)
    noticed = Noticed()
    pytest.main([*_OPTIONS, *options, "-p", "tests.chaos.bugs", *tests], plugins=[noticed])
    return asdict(noticed)


if __name__ == "__main__":
    main()

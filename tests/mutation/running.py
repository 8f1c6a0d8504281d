"""The warm process: all is loaded, the tests are collected, the database is made; then a fork a
mutant, which plants it and runs the tests that pass it, until one fails.

The process itself holds no connection while it forks. A fork that was ended, or that left rows,
has the database made anew, so that no mutant answers for another.
"""

import gc
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol
from django.db import connection
from pytest_django.plugin import blocking_manager_key

from tests import database
from tests.mutation import planting, targets
from tests.mutation.mutants import Mutant

_SLOWER, _ALSO_S = 15, 60  # than when it was measured; a machine may be busy with other things
DONE = 77
_PRISTINE = "mutation_pristine"


class Verdict(NamedTuple):
    """killed, survived, timed out; the test that said so."""

    outcome: str
    test: str = ""
    why: str = ""


class Plan(NamedTuple):
    """A mutant, and the tests to try, in their order."""

    mutant: Mutant
    tests: Sequence[str]
    seconds: float


class Runner:
    """A plugin of pytest, which hands the collected tests over to `drive`."""

    def __init__(self, drive: Callable[["Runner"], None]) -> None:
        self._drive = drive
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise pytest.UsageError("a test module cannot be loaded")
        self.items = {one.nodeid: one for one in session.items}
        self._warm(session.items)
        self._drive(self)
        return True

    def _warm(self, items: Sequence[pytest.Item]) -> None:
        """Its fixtures of the session are every fork's: the database above all."""
        with_rows = [one for one in items if "db" in getattr(one, "fixturenames", ())]
        first, self._last = with_rows[0], with_rows[-1]
        for report in runtestprotocol(first, log=False, nextitem=self._last):
            assert report.passed, f"{first.nodeid} fails without a mutant: {report.longrepr}"
        self._name = connection.settings_dict["NAME"]
        self._before = self._filled()
        self._let_go()
        self._copy(self._name, _PRISTINE)
        gc.collect()
        gc.freeze()

    def _filled(self) -> set[str]:
        tables = connection.introspection.table_names
        with self._blocker().unblock():
            return set(database.filled([one for one in tables() if one != "django_migrations"]))

    def _blocker(self) -> Any:
        return self._last.config.stash[blocking_manager_key]

    def _let_go(self) -> None:
        with self._blocker().unblock():
            connection.close()

    def judge(self, plan: Plan) -> Verdict:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._child(plan, writing)
        os.close(writing)
        said = _heard(reading, time.monotonic() + _ALSO_S + _SLOWER * plan.seconds)
        if said is None:
            os.killpg(pid, signal.SIGKILL)
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        is_clean = os.WIFEXITED(status) and os.WEXITSTATUS(status) == DONE
        if not is_clean:
            self._remake()
        if said is None:
            return Verdict("timed out")
        return Verdict(*json.loads(said)) if said else Verdict("killed", "", "the process died")

    def _child(self, plan: Plan, writing: int) -> None:
        """Never returns."""
        status = 1
        try:
            os.setpgid(0, 0)
            _say_nothing()
            verdict = self._tried(plan)
            status = DONE if self._filled() <= self._before else 1
        except BaseException:
            verdict = Verdict("killed", "", traceback.format_exc()[-600:])
        finally:
            os.write(writing, json.dumps(verdict).encode() + b"\n")
            os._exit(status)

    def _tried(self, plan: Plan) -> Verdict:
        try:
            planting.plant(plan.mutant)
        except Exception as error:
            return Verdict("killed", "", f"it cannot be loaded: {type(error).__name__}: {error}")
        tests = [self.items[one] for one in plan.tests if one in self.items]
        for number, item in enumerate(tests):
            following = tests[number + 1] if number + 1 < len(tests) else self._last
            for report in runtestprotocol(item, log=False, nextitem=following):
                if report.failed:
                    return Verdict("killed", item.nodeid, str(report.longrepr)[-300:])
        return Verdict("survived")

    def _remake(self) -> None:
        self._copy(_PRISTINE, self._name)

    def _copy(self, source: str, target: str) -> None:
        with self._blocker().unblock(), connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')
            cursor.execute(f'ALTER DATABASE "{target}" SET synchronous_commit = off')


def _heard(reading: int, until: float) -> bytes | None:
    """All that the fork says; None when it has not ended by then."""
    said = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0, until - time.monotonic()))
        if not ready:
            return None
        more = os.read(reading, 65536)
        said += more
        if not more or said.endswith(b"\n"):
            return said


def _say_nothing() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def run(tests: Sequence[str], drive: Callable[[Runner], None]) -> int:
    """Collect `tests`, warm up, and let `drive` judge its mutants."""
    arguments = [*tests, "-n", "0", "-m", targets.NOT_MARKED, "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*arguments, "-s"], plugins=[Runner(drive)]))

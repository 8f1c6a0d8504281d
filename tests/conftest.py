"""Fixtures that every part's tests share."""

import functools
import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from django.core.management.commands import flush
from django.core.servers.basehttp import WSGIRequestHandler
from django.db import connection
from django.db.backends.postgresql.creation import DatabaseCreation
from django.db.backends.postgresql.operations import DatabaseOperations
from django.utils import translation
from hypothesis import HealthCheck, settings

from tests import database, days, durations, order

# Also where pytest is called without make: the Makefile says why.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A machine that is slow for a while, since others use it too, is no failure of what is tested.
settings.register_profile("keepline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keepline")


def pytest_collection_finish() -> None:
    """What is loaded by now stays; looking through it again and again was an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.longest_first(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    days.let_the_day_end()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Unless another way is asked for by --dist."""
    return order.ByFile(config, log) if config.getvalue("dist") == "load" else None


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # what the workers report comes to whoever began them
        config.pluginmanager.register(Stopwatch())


class Stopwatch:
    """Keeps how long each test took, for `make slowest`."""

    def __init__(self) -> None:
        self._took: dict[str, dict[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took.setdefault(report.nodeid, {})[report.when or ""] = round(report.duration, 3)

    def pytest_sessionfinish(self) -> None:
        if self._took:
            durations.keep(self._took)


@pytest.fixture
def world(db: Any) -> Any:
    """A fresh world with a rail and a carrier in memory."""
    from tests.world import World

    return World()


@pytest.fixture(scope="session", autouse=True)
def _flush_past_the_guards() -> Iterator[None]:
    """Let a test's clean-up empty what production may not: append-only tables refuse it.

    The rows that a migration ends with come back as they were, and not by what made them.
    """

    def sql_flush(self: Any, style: Any, tables: list[str], **options: Any) -> list[str]:
        assert not options.get("reset_sequences"), "no test asks for it"
        off, on = (f"SET session_replication_role = {role}" for role in ("replica", "origin"))
        return [off, *database.as_at_first(tables), on]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_what: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _drop_the_database_whoever_is_left() -> Iterator[None]:
    """A thread of the live server may still be connected when the tests are over."""
    plain = DatabaseCreation._destroy_test_db

    def drop(self: Any, test_database_name: str, verbosity: int) -> None:
        name = self.connection.ops.quote_name(test_database_name)
        with self._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")

    DatabaseCreation._destroy_test_db = drop  # type: ignore[method-assign]
    yield
    DatabaseCreation._destroy_test_db = plain  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: Any
) -> None:
    """The worker's database is copied and not migrated anew: ten seconds become one."""
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = database.template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """No commit waits for the disk: a test's rows need not outlive a loss of power.

    They do outlive the death of a worker, and of the server's own processes.
    """
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        cursor.execute("SET synchronous_commit = off")
        database.keep_the_first_rows()


@pytest.fixture(scope="session", autouse=True)
def _live_server_answers_at_once() -> Iterator[None]:
    """Its head and its body are two packets; held back, the second waits 40 ms for a client's ACK.

    What Django and `socketserver` call it: https://docs.python.org/3/library/socketserver.html
    """
    plain = WSGIRequestHandler.disable_nagle_algorithm
    WSGIRequestHandler.disable_nagle_algorithm = True
    yield
    WSGIRequestHandler.disable_nagle_algorithm = plain


@pytest.fixture(scope="session", autouse=True)
def _keys_are_looked_through_once() -> Iterator[None]:
    """Whether a private key is sound takes longer to find out than most tests that sign with it."""
    with pytest.MonkeyPatch.context() as patch:
        for load in ("load_der_private_key", "load_pem_private_key"):
            patch.setattr(serialization, load, functools.cache(getattr(serialization, load)))
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for a module's tests: each opens a context of its own in it."""
    from tests.chromium import launched

    with pytest.MonkeyPatch.context() as patch, launched() as browser:
        # Playwright runs a loop in this thread; the ORM is used beside it, never inside.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield browser


@pytest.fixture
def in_english() -> Iterator[None]:
    """Sentences in their own words, for tests of which sentence it is; Chinese is the default."""
    with translation.override("en"):
        yield

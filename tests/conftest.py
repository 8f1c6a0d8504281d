"""Fixtures that every part's tests share."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations
from django.utils import translation


@pytest.fixture
def world(db: Any) -> Any:
    """A fresh world with a rail and a carrier in memory."""
    from tests.world import World

    return World()


@pytest.fixture(scope="session", autouse=True)
def _flush_past_the_guards() -> Iterator[None]:
    """Let a test's clean-up TRUNCATE what production may not: append-only tables refuse it."""
    plain = DatabaseOperations.sql_flush

    def sql_flush(self: Any, *args: Any, **options: Any) -> list[str]:
        statements = plain(self, *args, **options)
        if not statements:
            return statements
        off, on = (f"SET session_replication_role = {role}" for role in ("replica", "origin"))
        return [off, *statements, on]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
    yield
    DatabaseOperations.sql_flush = plain  # type: ignore[method-assign]


@pytest.fixture
def in_english() -> Iterator[None]:
    """Sentences in their own words, for tests of which sentence it is; Chinese is the default."""
    with translation.override("en"):
        yield

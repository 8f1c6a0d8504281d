"""Several threads at one instant, or one behind another, each on a connection of its own."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection
from django.db.models import QuerySet


def race(*runners: Callable[[], Any]) -> list[Any]:
    """Start all at once; each one's result, or the exception it raised, in their order."""
    barrier = Barrier(len(runners))

    def run(runner: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return runner()
        except Exception as error:  # a loser's refusal is a result here
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(run, runners))


def behind(runner: Callable[[], Any]) -> Future[Any]:
    """Start it, and return once it waits for a lock (the caller's), or is done without waiting."""

    def run() -> Any:
        try:
            return runner()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    outcome = pool.submit(run)
    pool.shutdown(wait=False)
    until = time.monotonic() + 10
    while not outcome.done() and not _is_anyone_waiting() and time.monotonic() < until:
        time.sleep(0.01)
    return outcome


def _is_anyone_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else it stays what it was at first
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone() is not None


def is_free(rows: QuerySet[Any]) -> bool:
    """Whether nobody else has any of `rows` locked."""
    return len(rows.select_for_update(no_key=True, skip_locked=True)) == rows.count()


def read_as_it_lies() -> None:
    """For this transaction, no index gives rows an order that their query does not ask for."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")

"""Recharges a second: the real executor, raw set-based SQL, and one task and ORM saves each.

All recharge equal populations of due rules in the same database and the same run, with a rail and
a carrier that answer at once; the best of three rounds each, taken in turn. Like is held against
like: one executor against raw SQL on one connection, and a cluster of as many workers as the
installation has against the same cluster doing one task a recharge.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django_q.models import OrmQ
from django_q.tasks import async_task

from billing.engine import executor
from billing.ledger import verification
from billing.models import Recharge, Rule
from lines.secrets_at_rest import encrypt
from portal.supervision.queue_settings import MONEY
from tests import world as w
from tests.bench import instant, obvious, population, raw_sql

ROUNDS = 3
OWNERS = 500


def measure(*, is_quick: bool) -> dict[str, Any]:
    rows, few = (1_000, 60) if is_quick else (6_000, 300)
    carrier = w.carrier()
    w.rail()
    population.people(OWNERS, sealed=encrypt("agreement", keys=settings.ENCRYPTION_KEYS))
    first = 1
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, count, run in (
            ("executor", rows, _executor),
            ("raw SQL", rows, _raw),
            ("executor in a cluster", rows, _cluster),
            ("task and ORM saves in a cluster", few, _obvious),
        ):
            population.rules(
                carrier_id=carrier.pk, first=first, last=first + count - 1, owners=OWNERS, due=count
            )
            first += count
            population.analyze()
            rate = count / run(count)
            best[name] = max(best.get(name, 0.0), rate)
    assert verification.verify().violations == {}, "the bench broke the books"
    return {f"{name}, a second": rate for name, rate in best.items()} | {
        "executor / raw SQL (aim 0.5)": best["executor"] / best["raw SQL"],
        "executor / task and ORM saves, both in a cluster (aim 20)": best["executor in a cluster"]
        / best["task and ORM saves in a cluster"],
    }


def _executor(count: int) -> float:
    outside = instant.outside()
    started = time.perf_counter()
    executor.run(clock=lambda: datetime.now(UTC), outside=outside, budget_s=600)
    return _finished(count, started)


def _raw(count: int) -> float:
    started = time.perf_counter()
    raw_sql.run(batch=executor.BATCH, text=instant.TEXT)
    return _finished(count, started)


def _cluster(count: int) -> float:
    """Through a real django-q2 cluster with our settings: one nudge for each of its workers."""
    with _qcluster():
        _wait_until_awake()
        started = time.perf_counter()
        for _ in range(settings.Q_CLUSTER["workers"]):
            async_task("tests.bench.instant.tick", cluster=MONEY)
        _wait_until_done()
        return time.perf_counter() - started


def _obvious(count: int) -> float:
    """Through the same cluster, one task for each rule, its start not counted."""
    due = _due()
    with _qcluster():
        _wait_until_awake()
        started = time.perf_counter()
        obvious.enqueue(due)
        _wait_until_done()
        return time.perf_counter() - started


@contextmanager
def _qcluster() -> Iterator[None]:
    environment = os.environ | {"KEEPLINE_BENCH_DATABASE": str(connection.settings_dict["NAME"])}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.bench.cluster_settings"
    command = [sys.executable, "-W", "ignore", "manage.py", "qcluster", "--name", MONEY]
    cluster = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(timeout=60)


def _wait_until_awake() -> None:
    """Each worker has run something: imports are not what is measured."""
    for _ in range(4 * settings.Q_CLUSTER["workers"]):
        async_task("tests.bench.instant.wake_up", cluster=MONEY)
    ends_at = time.monotonic() + 120
    while OrmQ.objects.exists():
        assert time.monotonic() < ends_at, "the cluster does not start"
        time.sleep(0.05)


def _due() -> list[int]:
    return list(Rule.objects.filter(wake_at__lte=datetime.now(UTC)).values_list("pk", flat=True))


def _wait_until_done() -> None:
    """Nothing is due and nothing under way: two looks into small indexes, not a count of rows."""
    ends_at = time.monotonic() + 300
    due = Rule.objects.filter(wake_at__lte=datetime.now(UTC))
    under_way = Recharge.objects.filter(act_at__isnull=False)
    while due.exists() or under_way.exists():
        assert time.monotonic() < ends_at, "the cluster does not get on"
        time.sleep(0.02)


def _finished(count: int, started: float) -> float:
    seconds = time.perf_counter() - started
    left = Rule.objects.filter(wake_at__lte=datetime.now(UTC)).count()
    assert left == 0, f"{left} of {count} rules were not recharged"
    return seconds

"""Recharges a second: the real executor, raw set-based SQL, and one task and ORM saves each.

All three recharge equal populations of due rules in the same database and the same run, with a
rail and a carrier that answer at once; the best of three rounds each, taken in turn.
"""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from billing import executor, verification
from billing.models import Recharge, Rule
from lines.secrets_at_rest import encrypt
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
            ("task and ORM saves", few, _obvious),
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
        "executor / task and ORM saves (aim 20)": best["executor"] / best["task and ORM saves"],
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


def _obvious(count: int) -> float:
    """Through a real django-q2 cluster with our settings, its start not counted."""
    environment = os.environ | {"KEEPLINE_BENCH_DATABASE": str(connection.settings_dict["NAME"])}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.bench.cluster_settings"
    command = [sys.executable, "-W", "ignore", "manage.py", "qcluster", "--name", "money"]
    cluster = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ids = list(Rule.objects.filter(wake_at__lte=datetime.now(UTC)).values_list("pk", flat=True))
        obvious.enqueue(ids[:1])
        _wait_for_completed(of=ids[:1])
        started = time.perf_counter()
        obvious.enqueue(ids[1:])
        _wait_for_completed(of=ids)
        return (time.perf_counter() - started) * count / (count - 1)
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(timeout=60)


def _wait_for_completed(*, of: list[int]) -> None:
    ends_at = time.monotonic() + 300
    while Recharge.objects.filter(rule__in=of, state="completed").count() < len(of):
        assert time.monotonic() < ends_at, "the cluster does not get on"
        time.sleep(0.02)


def _finished(count: int, started: float) -> float:
    seconds = time.perf_counter() - started
    left = Rule.objects.filter(wake_at__lte=datetime.now(UTC)).count()
    assert left == 0, f"{left} of {count} rules were not recharged"
    return seconds

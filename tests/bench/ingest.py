"""Readings taken in: the one way in, in batches, beside raw SQL that only writes the rows.

The same rows in the same run, each kind in turn, the best of several rounds. Raw is an INSERT of
the readings alone, and with their lines' balances moved; neither could say no to anything, arm or
wake a rule, or answer anybody.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from billing import rowsets
from billing.models import Binding, Rule
from billing.rules import readings
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines.models import BalanceReading, Line
from lines.secrets_at_rest import encrypt
from tests import world as w
from tests.bench import population

BATCH = 500
ROUNDS = 5
OWNERS = 2_000
FIRST = 700_000_000
LOW_SHARE = 0.03
HIGH_MINOR, LOW_MINOR = 3000, 500  # about a threshold of 1000
MILLISECOND = timedelta(milliseconds=1)

RAW = """
INSERT INTO lines_balancereading (line_id, balance_minor, reserved_minor, observed_at, received_at,
  source, is_applied)
SELECT a, b, 0, c, now(), 'pushed', true
FROM unnest(%b::bigint[], %b::bigint[], %b::timestamptz[]) AS u(a, b, c)"""
RAW_WITH_LINES = f"""
WITH kept AS ({RAW} RETURNING line_id, balance_minor, observed_at)
UPDATE lines_line l SET balance_minor = k.balance_minor, balance_reserved_minor = 0,
  balance_observed_at = k.observed_at FROM kept k WHERE l.id = k.line_id"""


def measure(*, is_quick: bool) -> dict[str, Any]:
    lines, batches = (4_000, 8) if is_quick else (20_000, 40)
    stream = Stream(populate(lines))
    ways = {"raw": raw(RAW), "raw with lines": raw(RAW_WITH_LINES), "set-wise": _take_in}
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            best[name] = max(best[name], rate(way, [stream.batch() for _ in range(batches)]))
    return {f"{name}, rows a second": rate for name, rate in best.items()} | {
        "ingest_vs_raw": best["set-wise"] / best["raw"],
        "ingest_vs_raw_with_lines": best["set-wise"] / best["raw with lines"],
    }


def populate(lines: int) -> list[int]:
    """Lines with a rule each, half of them shut, none due; their ids."""
    carrier = w.carrier()
    w.rail()
    owners = Binding.objects.count()
    if not owners:
        owners = OWNERS
        population.people(owners, sealed=encrypt("agreement", keys=settings.ENCRYPTION_KEYS))
    last = FIRST + lines - 1
    population.rules(carrier_id=carrier.pk, first=FIRST, last=last, owners=owners, due=0)
    mine = Line.objects.filter(public_id__gte=f"L{FIRST}", public_id__lte=f"L{last}")
    Rule.objects.filter(line__in=mine).update(wake_at=None, is_armed=True)
    mine.update(balance_minor=HIGH_MINOR, balance_observed_at=datetime.now(UTC) - timedelta(days=3))
    population.analyze()
    return list(mine.values_list("pk", flat=True))


class Stream:
    """Readings as a carrier would push them: each of another line, three in a hundred low."""

    def __init__(self, line_ids: Sequence[int]) -> None:
        self._line_ids = line_ids
        self._chance = random.Random(1)
        self._observed_at = datetime.now(UTC) - timedelta(days=2)

    def batch(self, size: int = BATCH) -> list[Reading]:
        self._observed_at += timedelta(minutes=1)
        return [
            Reading(line_id, self._balance_minor(), self._observed_at + n * MILLISECOND)
            for n, line_id in enumerate(self._chance.sample(self._line_ids, size))
        ]

    def _balance_minor(self) -> int:
        return LOW_MINOR if self._chance.random() < LOW_SHARE else HIGH_MINOR


def rate(way: Callable[[list[Reading]], None], batches: Sequence[list[Reading]]) -> float:
    before = BalanceReading.objects.count()
    started = time.perf_counter()
    for batch in batches:
        way(batch)
    seconds = time.perf_counter() - started
    written = BalanceReading.objects.count() - before
    assert written == sum(map(len, batches)), "rows are missing"
    return written / seconds


def _take_in(batch: list[Reading]) -> None:
    became = readings.take_in(readings=batch, at=datetime.now(UTC))
    assert set(became) == {Became.APPLIED}


def raw(sql: str) -> Callable[[list[Reading]], None]:
    def run(batch: list[Reading]) -> None:
        columns = zip(
            *[(one.line_id, one.balance_minor, one.observed_at) for one in batch], strict=True
        )
        with transaction.atomic():
            rowsets.run(sql, [list(column) for column in columns])

    return run

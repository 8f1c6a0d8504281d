"""Reminders that fall due at once, for the first of a month, beside a raw insert of their rows."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from billing import rowsets
from billing.engine import sweeps
from billing.models import Notice
from billing.notices import reminders
from tests.bench import ingest

# Charged in two days and some, so that what is due is the reminder two days before.
_DUE = """
UPDATE billing_rule SET cycle = 'monthly', anchor_date = (now() + interval '50 hours')::date,
  next_run_at = now() + interval '50 hours', remind_days_before = '{2}', notify_at = now()
WHERE line_id = ANY(%s)"""
_RAW = """
INSERT INTO billing_notice (owner_id, kind, occurrence_key, line_id, facts, created_at)
SELECT a, 'upcoming_charge', b, c, d, now()
FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::jsonb[]) AS u(a, b, c, d)"""


def measure(*, is_quick: bool) -> dict[str, Any]:
    count = 4_000 if is_quick else 100_000
    lines = ingest.populate(count)
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [lines])
    at = datetime.now(UTC) + timedelta(hours=14)  # past the hour of the day for all of them
    started = time.perf_counter()
    while reminders.upcoming_sweep(at=at, limit=sweeps.REMINDERS):
        pass
    ours = Notice.objects.filter(kind="upcoming_charge")
    written = ours.count() / (time.perf_counter() - started)
    assert ours.count() == count, f"{ours.count()} of {count} were reminded of"
    raw = _raw(list(ours.values_list("owner_id", "occurrence_key", "line_id", "facts")))
    return {
        "raw, rows a second": raw,
        "reminders a second": written,
        "reminders_vs_raw": written / raw,
    }


def _raw(rows: list[Any]) -> float:
    """The same rows under other keys."""
    given = [(owner, f"raw:{key}", line, json.dumps(facts)) for owner, key, line, facts in rows]
    started = time.perf_counter()
    for start in range(0, len(given), sweeps.REMINDERS):
        columns = zip(*given[start : start + sweeps.REMINDERS], strict=True)
        with transaction.atomic():
            rowsets.run(_RAW, [list(column) for column in columns])
    return len(given) / (time.perf_counter() - started)

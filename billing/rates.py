"""How fast each rail and carrier is called, by all workers together: a bucket of calls in one row.

Calls are taken by the handful, by the database's clock, just before they are made; who gets none
lets them wait. A rail that says "too fast" is called half as fast from then on, by everybody, and
climbs back within five minutes. Without a row, or without a number in it, there is no limit.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from billing import rowsets

_PRESENT = (0x6B65, 0x6C70)  # an advisory lock that every worker at work shares

_AGE = "EXTRACT(epoch FROM clock_timestamp() - r.slowed_at)"
# Calls a second now. NULL: no limit.
PACE = f"""(CASE WHEN r.slow_per_s IS NULL OR {_AGE} > 300 THEN r.calls_per_s
  WHEN r.calls_per_s IS NULL THEN r.slow_per_s * power(2, {_AGE} / 60)
  ELSE LEAST(r.calls_per_s, r.slow_per_s + r.calls_per_s * {_AGE} / 300) END)"""
_TAKE = f"""
WITH rate AS MATERIALIZED (
  SELECT r.id, r.burst, r.tokens, r.counted_at, {PACE} AS per_s FROM billing_rate r
  WHERE r.side = %s AND r.code = %s FOR NO KEY UPDATE),
had AS (
  SELECT id, LEAST(burst, tokens + GREATEST(0, per_s * COALESCE(
    EXTRACT(epoch FROM clock_timestamp() - counted_at), 0))) AS tokens
  FROM rate WHERE per_s IS NOT NULL),
granted AS (SELECT id, tokens, GREATEST(0, LEAST(floor(tokens), %s))::int AS calls FROM had)
UPDATE billing_rate b SET tokens = g.tokens - g.calls, counted_at = clock_timestamp()
FROM granted g WHERE b.id = g.id RETURNING g.calls"""  # noqa: S608 # nosec B608 - our own texts
# Whoever complains a second later complains of the same calls.
_SLOW = f"""
INSERT INTO billing_rate AS r (side, code, burst, tokens, counted_at, slow_per_s, slowed_at)
VALUES (%s, %s, GREATEST(1, %s::int), 0, clock_timestamp(), GREATEST(1, %s::float8 / 2),
        clock_timestamp())
ON CONFLICT (side, code) DO UPDATE SET slowed_at = clock_timestamp(), tokens = 0,
  counted_at = clock_timestamp(),
  slow_per_s = GREATEST(1, LEAST({PACE}, EXCLUDED.slow_per_s * 2) / 2)
WHERE r.slowed_at IS NULL OR {_AGE} > 2"""  # noqa: S608 # nosec B608 - our own texts
_LOOK = f"""
SELECT r.side, r.code, {PACE} AS per_s, r.burst, r.in_flight FROM billing_rate r"""  # noqa: S608 # nosec B608
_OF_NOBODY = f"""
{_LOOK} WHERE NOT EXISTS (SELECT FROM billing_rail k WHERE r.side = 'rail' AND k.code = r.code)
  AND NOT EXISTS (SELECT FROM lines_carrier c WHERE r.side = 'carrier' AND c.code = r.code)"""  # noqa: S608 # nosec B608
_LIVE = """
SELECT count(DISTINCT pid) AS live,
       count(DISTINCT pid) FILTER (WHERE pid < pg_backend_pid()) AS place
FROM pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Limit(NamedTuple):
    """One row of `_LOOK`: a rail's or carrier's limit as it is now."""

    side: str
    code: str
    per_s: float | None
    burst: int
    in_flight: int | None


class Sharers(NamedTuple):
    """Those at work, and how many of them come before the one that asks."""

    live: int
    place: int


def take(*, side: str, code: str, wanted: int) -> int:
    """So many of `wanted` calls may be made now."""
    granted = rowsets.column(_TAKE, [side, code, wanted], of=int)
    return granted[0] if granted else wanted


def slow_down(*, side: str, code: str, was_per_s: float) -> None:
    """It said that it is called too fast, when this worker called it at that pace."""
    pace = max(1.0, was_per_s)
    rowsets.run(_SLOW, [side, code, math.ceil(pace), pace])


def limits() -> list[Limit]:
    """All that there are, as they are now."""
    return rowsets.read(_LOOK, [], into=Limit)


def sharers() -> Sharers:
    """How many are at work now, on all machines, and which of them this is."""
    [found] = rowsets.read(_LIVE, _PRESENT, into=Sharers)
    return found if found.live else Sharers(1, 0)


@contextmanager
def at_work() -> Iterator[None]:
    """Be counted among those who share what may be in flight. The database forgets who dies."""
    rowsets.run("SELECT pg_advisory_lock_shared(%s, %s)", _PRESENT)
    try:
        yield
    finally:
        rowsets.run("SELECT pg_advisory_unlock_shared(%s, %s)", _PRESENT)


def pace(*, side: str, code: str) -> float | None:
    """Calls a second now; None: no limit."""
    return {(one.side, one.code): one.per_s for one in limits()}.get((side, code))


def of_nobody() -> list[Limit]:
    """Those whose rail or carrier there is not; none before the table is there."""
    is_there = rowsets.column("SELECT to_regclass('billing_rate') IS NOT NULL", [], of=bool)
    return rowsets.read(_OF_NOBODY, [], into=Limit) if is_there == [True] else []

"""Balances as carriers report them: each is kept once, only a newer one becomes the line's.

Set-wise: a batch is one statement, in which no line is named twice, and a second one for those of
its readings that are not newer. Lines are locked as they are found; one that somebody else holds is
left out, unless it is the only one: to wait for a line while holding others is how two come to wait
for each other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from billing import rowsets
from billing.rowsets import Column
from lines import validity
from lines.models import LIVE_STATUSES, BalanceReading
from lines.validity import UNSAID, Unsaid, Validity

# A number that goes back while time goes on this far is no late message: the count began anew.
_RESTARTED_AFTER = timedelta(hours=1)
_POLLED = BalanceReading.Source.POLLED.value
_LIVE = [status.value for status in LIVE_STATUSES]


class Reading(NamedTuple):
    """One balance as it arrives. Amounts in the line's minor units; a balance may be negative."""

    line_id: int
    balance_minor: int
    observed_at: datetime
    reserved_minor: int = 0
    sequence: int | None = None
    valid_until: Validity = UNSAID  # None: it has no end
    source: str = BalanceReading.Source.PUSHED.value


class Noted(NamedTuple):
    """Of a reading that was not simply applied. Not `is_held`: somebody else has its line, or there
    is none; nothing was done. `is_watched`: its line's rule may have something to do."""

    line_id: int
    is_held: bool
    is_applied: bool
    has_moved_validity: bool
    is_watched: bool


_COLUMNS = (
    Column("line_id", "bigint"),
    Column("balance_minor", "bigint"),
    Column("observed_at", "timestamptz"),
    Column("reserved_minor", "bigint"),
    Column("sequence", "bigint"),
    Column("valid_until", "timestamptz"),
    Column("source", "text"),
    Column("settles", "boolean"),
    Column("settled_until", "timestamptz"),
    Column("at", "timestamptz"),
)
_KEPT = """
INSERT INTO lines_balancereading (line_id, balance_minor, reserved_minor, observed_at, sequence,
  valid_until, received_at, source, is_applied)
SELECT h.line_id, h.balance_minor, h.reserved_minor, h.observed_at, h.sequence, h.valid_until, h.at,
  h.source"""
_DIFFERS = """ROW(v.balance_minor, v.reserved_minor)
  IS DISTINCT FROM ROW(l.balance_minor, l.balance_reserved_minor)"""
# A carrier's own sequence decides where it gives one, else its time of observation; of two figures
# for one instant, an answer that was asked for is the later one. A number seen twice is one message
# twice, whatever its time; one that is back long after, with time gone on, is of a new count.
_IS_NEWER = f"""
l.id IS NOT NULL AND
CASE WHEN v.sequence IS NOT NULL AND l.balance_sequence IS NOT NULL
     THEN v.sequence > l.balance_sequence
          OR (v.sequence <> l.balance_sequence AND l.balance_observed_at IS NOT NULL
              AND v.observed_at - l.balance_observed_at > %b)
     ELSE l.balance_observed_at IS NULL OR v.observed_at > l.balance_observed_at
          OR (v.source = %b AND v.observed_at = l.balance_observed_at AND {_DIFFERS}) END"""
# Most readings find their line well above its threshold, and their rule has nothing to do. It is
# locked all the same, so that nobody changes it before this balance is there to be seen; one that
# somebody has locked is looked at afterwards.
_IS_WATCHED = """
r.id IS NULL
OR (r.is_on AND r.expiry_days_before IS NOT NULL
    AND (h.moves OR (r.wake_at IS NULL AND r.paused_at IS NULL AND h.has_end)))
OR h.balance_minor - h.reserved_minor < r.threshold_minor
OR (r.threshold_minor IS NOT NULL
    AND (r.rearms_at <= h.at OR (r.lead_s > 0 AND r.is_on)
         OR (h.balance_minor - h.reserved_minor >= r.threshold_minor + r.hysteresis_minor
             AND (NOT r.is_armed OR r.low_episode = r.episode))))"""
# By subqueries of their own, lines and rules are found by their keys, however the planner would
# join a batch with a table that is small today.
_APPLY = f"""
WITH v AS (SELECT * FROM {{v}}),
held AS MATERIALIZED (
  SELECT v.*, l.id IS NOT NULL AS is_held,
    v.settles AND v.settled_until IS DISTINCT FROM l.valid_until AS moves,
    CASE WHEN v.settles THEN v.settled_until ELSE l.valid_until END IS NOT NULL AS has_end,
    {_IS_NEWER} AS is_newer
  FROM v LEFT JOIN LATERAL (
    SELECT id, balance_minor, balance_reserved_minor, balance_observed_at, balance_sequence,
      valid_until
    FROM lines_line WHERE id = v.line_id FOR NO KEY UPDATE {{wait}}) l ON true),
kept AS ({_KEPT}, true FROM held h WHERE h.is_newer),
applied AS (
  UPDATE lines_line l SET balance_minor = h.balance_minor,
    balance_reserved_minor = h.reserved_minor, balance_observed_at = h.observed_at,
    balance_sequence = h.sequence,
    valid_until = CASE WHEN h.settles THEN h.settled_until ELSE l.valid_until END
  FROM held h WHERE h.is_newer AND l.id = h.line_id
    AND l.id = ANY(ARRAY(SELECT line_id FROM held WHERE is_newer)))
SELECT h.line_id, h.is_held, h.is_newer AS is_applied, h.is_newer AND h.moves AS has_moved_validity,
  h.is_newer AND ({_IS_WATCHED}) AS is_watched
FROM held h LEFT JOIN LATERAL (
  SELECT * FROM billing_rule WHERE h.is_newer AND line_id = h.line_id
  FOR NO KEY UPDATE SKIP LOCKED) r ON true
WHERE NOT h.is_newer OR h.moves OR {_IS_WATCHED}"""  # noqa: S608 # nosec B608 - our own texts
# Kept back though it may be the truth: a number that went back, a second figure for one instant, or
# one after a clock that ran ahead (rule 10). Its carrier is asked; an answer is not asked about
# again, but once such a clock is overtaken. The same message again, by its number or its instant,
# is not kept again: the lines are locked, so nobody else can be writing it.
_KEEP_BACK = f"""
WITH v AS (SELECT * FROM {{v}}),
held AS MATERIALIZED (
  SELECT v.*, {_DIFFERS} AS differs, v.sequence = l.balance_sequence AS is_last,
    {_DIFFERS} AND l.status = ANY(%b)
      AND (l.balance_observed_at > v.at
           OR (v.source <> %b AND v.observed_at >= l.balance_observed_at)) AS is_asked
  FROM v JOIN lines_line l ON l.id = v.line_id),
kept AS (
  {_KEPT}, false FROM held h
  WHERE NOT (COALESCE(h.is_last, false) AND NOT h.differs) AND NOT EXISTS (
    SELECT 1 FROM lines_balancereading b
    WHERE b.line_id = h.line_id AND b.observed_at = h.observed_at AND b.source = h.source
      AND b.sequence IS NOT DISTINCT FROM h.sequence AND b.balance_minor = h.balance_minor
      AND b.reserved_minor = h.reserved_minor
      AND b.valid_until IS NOT DISTINCT FROM h.valid_until))
UPDATE lines_line l SET poll_at = LEAST(l.poll_at, GREATEST(h.at, l.balance_observed_at))
FROM held h WHERE h.is_asked AND l.id = h.line_id"""  # noqa: S608 # nosec B608 - our own texts


def apply(readings: Sequence[Reading], *, is_waiting: bool, at: datetime) -> list[Noted]:
    """Keep those of the readings that are newer than their lines' balances, and make them these;
    no line is named twice. The lines, and their rules, stay locked for the caller's transaction.

    Not answered are those that were simply applied.
    """
    wait = "" if is_waiting else "SKIP LOCKED"
    rows = [_row(one, at=at) for one in readings]
    params = [_RESTARTED_AFTER, _POLLED]
    return rowsets.read_by(
        _APPLY.replace("{wait}", wait), _COLUMNS, rows, params=params, into=Noted
    )


def keep_back(readings: Sequence[Reading], *, at: datetime) -> bool:
    """Keep those that `apply` found not to be newer, but for what is there already. Whether a
    carrier is to be asked which is right."""
    rows = [_row(one, at=at) for one in readings]
    return rowsets.run_by(_KEEP_BACK, _COLUMNS, rows, params=[_LIVE, _POLLED]) > 0


def _row(reading: Reading, *, at: datetime) -> tuple[object, ...]:
    said = reading.valid_until
    if isinstance(said, Unsaid):
        return (*reading[:5], None, reading.source, False, None, at)
    until = validity.believed(said, at=at)
    if isinstance(until, Unsaid):
        return (*reading[:5], said, reading.source, False, None, at)
    return (*reading[:5], said, reading.source, True, until, at)

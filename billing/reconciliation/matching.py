"""A statement against our books, set-wise and both ways, in one transaction of the caller's.

Ours is the ledger: `charge` and `refund` of a rail, `deliver` and `reverse` of a carrier, each
under the reference that the other side was given. Only what has no transfer is looked up further.

Every run writes what it sees under a key that the next run finds again, so nothing doubles; what
was open and is not seen any more is closed as resolved. An explained one stays explained while its
figures stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from billing import rowsets

# How far an effect may lie beyond the local midnight of the day we booked it on, either way: the
# rail's clock and ours differ, and money taken at 23:59 may be booked there after midnight.
EDGE: Final = timedelta(hours=1)

_COLUMNS = (
    "statement_id, key, kind, is_ours_alone, line_kind, our_ref, their_ref, our_amount_minor, "
    "their_amount_minor, our_currency, their_currency, our_state, line_number, text, problem, "
    "recharge_id, state, found_at, seen_run, reason"
)
_FIGURES = "our_amount_minor, their_amount_minor, our_currency, their_currency, our_state"
_SAME = " AND ".join(
    f"d.{name} IS NOT DISTINCT FROM EXCLUDED.{name}" for name in _FIGURES.split(", ")
)
_STAYS = f"d.state = 'explained' AND {_SAME}"
_SET = ", ".join(
    f"{name} = EXCLUDED.{name}"
    for name in (*_FIGURES.split(", "), "their_ref", "line_number", "recharge_id", "seen_run")
)
_UPSERT = f"""
ON CONFLICT (statement_id, key) DO UPDATE SET {_SET},
  state = CASE WHEN {_STAYS} THEN d.state ELSE 'open' END,
  reason = CASE WHEN {_STAYS} THEN d.reason ELSE '' END,
  closed_at = CASE WHEN {_STAYS} THEN d.closed_at END,
  closed_by_id = CASE WHEN {_STAYS} THEN d.closed_by_id END"""  # nosec B608

# A rail's or carrier's word for a movement, and the ledger's.
_BOOKED_AS = (
    "CASE l.kind WHEN 'payment' THEN 'charge' WHEN 'refund' THEN 'refund' "
    "WHEN 'refund_back' THEN 'refund_failed' "
    "WHEN 'credit' THEN 'deliver' WHEN 'reversal' THEN 'reverse' END"
)
# What a rail took otherwise than agreed is a payment to it all the same.
_MEANS = (
    "CASE t.kind WHEN 'stray' THEN 'charge' WHEN 'stray_returned' THEN 'refund' "
    "WHEN 'refund_foreign' THEN 'refund' ELSE t.kind END"
)
# And what it gave back beyond a refund belongs to the refund.
_BEYOND = (
    "CASE WHEN t.kind <> 'refund' THEN 0 ELSE COALESCE((SELECT e.amount_minor "
    "FROM billing_transfer e WHERE e.reference = t.reference AND e.kind = 'refund_excess'), 0) END"
)
_SAID_AS = (
    f"CASE {_MEANS} WHEN 'charge' THEN 'payment' WHEN 'refund' THEN 'refund' "
    "WHEN 'refund_failed' THEN 'refund_back' "
    "WHEN 'deliver' THEN 'credit' WHEN 'reverse' THEN 'reversal' END"
)
_OF_SOURCE = "s.source_kind = %(source_kind)s AND s.code = %(code)s"

# A row that names none of our references may still carry a number of the other side's we know.
_NAME = (
    """
    UPDATE billing_statementline l SET reference = a.reference FROM billing_paymentattempt a
    WHERE l.statement_id = %(statement_id)s AND l.reference = ''
      AND l.kind IN ('payment', 'dispute', 'dispute_won', 'unreadable')
      AND l.their_ref <> '' AND a.provider_ref = l.their_ref AND a.rail = %(code)s
      AND %(source_kind)s = 'rail'""",
    """
    UPDATE billing_statementline l SET reference = d.reference FROM lines_delivery d
    JOIN lines_line n ON n.id = d.line_id JOIN lines_carrier c ON c.id = n.carrier_id
    WHERE l.statement_id = %(statement_id)s AND l.kind IN ('credit', 'reversal', 'unreadable')
      AND l.reference = '' AND l.their_ref <> '' AND d.carrier_ref = l.their_ref
      AND c.code = %(code)s AND %(source_kind)s = 'carrier'""",
)

_THEIRS = f"""
WITH line AS (
  SELECT l.*, {_BOOKED_AS} AS booked_as, CASE WHEN l.reference = '' THEN 1
    ELSE row_number() OVER (PARTITION BY l.kind, l.reference ORDER BY l.line_number, l.id) END
    AS nth, l.reference <> '' AND EXISTS (
      SELECT 1 FROM billing_statementline o JOIN billing_statement s ON s.id = o.statement_id
      WHERE o.reference = l.reference AND o.kind = l.kind AND {_OF_SOURCE}
        AND s.day < %(day)s AND s.state = 'done') AS is_again
  FROM billing_statementline l
  WHERE l.statement_id = %(statement_id)s
    AND l.kind IN ('payment', 'refund', 'refund_back', 'credit', 'reversal')),
doubtful AS (
  SELECT line.*, t.id AS transfer_id, t.amount_minor + {_BEYOND} AS booked_minor,
    t.currency AS booked_currency, t.recharge_id AS booked_for
  FROM line LEFT JOIN billing_transfer t ON t.reference = line.reference
    AND {_MEANS} = line.booked_as AND %(account)s IN (t.source, t.destination)
  WHERE t.id IS NULL OR line.nth > 1 OR line.is_again OR line.is_anothers
    OR t.currency <> line.currency
    OR (t.amount_minor <> line.amount_minor
        AND t.amount_minor + {_BEYOND} <> line.amount_minor)
    OR (t.amount_minor = line.amount_minor AND t.kind = 'refund' AND {_BEYOND} <> 0))
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT %(statement_id)s, left(x.kind || '|' || l.kind || '|' ||
    CASE WHEN l.reference = '' THEN '~' || l.their_ref || '|' || l.line_number
         ELSE l.reference END || '|' || l.nth, 200),
  x.kind, false, l.kind, l.reference, l.their_ref,
  COALESCE(l.booked_minor, known.amount_minor), l.amount_minor,
  COALESCE(l.booked_currency, known.currency, ''), l.currency,
  CASE WHEN l.transfer_id IS NULL THEN COALESCE(known.state, '') ELSE 'booked' END,
  l.line_number, '', '', COALESCE(l.booked_for, known.recharge_id, about.recharge_id),
  'open', %(at)s, %(run)s, ''
FROM doubtful l
LEFT JOIN LATERAL (
  SELECT a.amount_minor, a.currency, a.state, a.recharge_id FROM billing_paymentattempt a
  WHERE l.kind = 'payment' AND a.reference = l.reference AND a.rail = %(code)s
    AND %(source_kind)s = 'rail'
  UNION ALL
  SELECT f.amount_minor, f.currency, f.state, f.recharge_id FROM billing_refund f
  JOIN billing_paymentattempt a ON a.id = f.attempt_id
  WHERE l.kind IN ('refund', 'refund_back') AND f.reference = l.reference AND a.rail = %(code)s
    AND %(source_kind)s = 'rail'
  UNION ALL
  SELECT f.reversal_minor, f.currency, f.state, f.recharge_id FROM billing_refund f
  JOIN billing_recharge g ON g.id = f.recharge_id JOIN lines_line n ON n.id = g.line_id
  JOIN lines_carrier c ON c.id = n.carrier_id
  WHERE l.kind = 'reversal' AND f.reversal_ref = l.reference AND c.code = %(code)s
    AND %(source_kind)s = 'carrier'
  UNION ALL
  SELECT v.amount_minor, v.currency, v.state, g.id FROM lines_delivery v
  JOIN lines_line n ON n.id = v.line_id JOIN lines_carrier c ON c.id = n.carrier_id
  LEFT JOIN billing_recharge g ON g.ref = v.order_ref
  WHERE l.kind IN ('credit', 'reversal') AND v.reference = l.reference AND c.code = %(code)s
    AND %(source_kind)s = 'carrier'
  LIMIT 1) known ON true
LEFT JOIN billing_paymentattempt about
  ON l.kind IN ('refund', 'refund_back') AND about.reference = l.payment_ref
  AND about.rail = %(code)s
CROSS JOIN LATERAL (SELECT CASE
  WHEN l.nth > 1 OR l.is_again THEN 'duplicate'
  WHEN l.transfer_id IS NULL AND known.state IS NULL THEN
    CASE WHEN l.kind IN ('refund', 'refund_back') THEN 'refund_unmatched'
      ELSE 'missing_ours' END
  WHEN l.is_anothers THEN 'another_line'
  WHEN l.transfer_id IS NULL THEN 'status'
  WHEN l.currency <> l.booked_currency THEN 'currency'
  ELSE 'amount' END AS kind) x
{_UPSERT}"""  # noqa: S608 # nosec B608

# What we booked on that day and nobody's statement has. A row that is there and cannot be read, or
# says that a refund failed, is its own difference, not a missing one as well. One at an edge of the
# day, or long under way, may be on a neighbour's: it waits while one of those days is neither done
# nor given up.
_MISSING = f"""
WITH missing AS (
  SELECT t.*, EXISTS (
    SELECT 1 FROM unnest(%(uncovered_from)s::timestamptz[], %(uncovered_to)s::timestamptz[])
      AS u(begins, ends)
    WHERE LEAST(t.at, a.created_at, f.created_at, r.created_at, v.created_at) - %(edge)s::interval
        < u.ends AND t.at + %(edge)s::interval >= u.begins) AS waits
  FROM billing_transfer t
  LEFT JOIN billing_paymentattempt a ON t.kind IN ('charge', 'stray') AND a.reference = t.reference
  LEFT JOIN billing_refund f ON t.kind IN ('refund', 'refund_foreign')
    AND f.reference = t.reference
  LEFT JOIN billing_refund r ON t.kind = 'reverse' AND r.reversal_ref = t.reference
  LEFT JOIN lines_delivery v ON t.kind IN ('deliver', 'reverse') AND v.reference = t.reference
  WHERE t.at >= %(start)s AND t.at < %(end)s AND %(account)s IN (t.source, t.destination)
    AND t.kind IN ('charge', 'refund', 'refund_foreign', 'deliver', 'reverse', 'stray',
      'stray_returned')
    AND NOT EXISTS (
      SELECT 1 FROM billing_statementline l JOIN billing_statement s ON s.id = l.statement_id
      WHERE l.reference = t.reference AND (l.kind = {_SAID_AS} OR l.kind = 'unreadable'
          OR l.kind = 'refund_fail' AND t.kind = 'refund') AND {_OF_SOURCE}))"""  # noqa: S608 # nosec B608
_COUNT_WAITING = _MISSING + " SELECT count(*) FROM missing WHERE waits"  # noqa: S608 # nosec B608
_OURS = (
    _MISSING
    + f"""
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT %(statement_id)s, x.kind || '|ours|' || t.kind || '|' || t.reference, x.kind, true,
  {_SAID_AS}, t.reference, '', t.amount_minor, NULL, t.currency, '', 'booked', NULL, '', '',
  t.recharge_id, 'open', %(at)s, %(run)s, ''
FROM missing t CROSS JOIN LATERAL (SELECT CASE {_SAID_AS}
  WHEN 'refund' THEN 'refund_unmatched' ELSE 'missing_theirs' END AS kind) x
WHERE NOT t.waits {_UPSERT}"""  # noqa: S608 # nosec B608
)

# A whole minor unit or more off: how a rail rounds is its own affair. One taken in the currency
# that the account settles in stands in a row of its own, and no rate of ours is about that. On the
# wrong side, taken with a refund or given back with a payment, it is a difference at any rate.
_FEES = f"""
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT DISTINCT ON (l.reference) %(statement_id)s, 'fee|' || l.reference, 'fee', false, l.kind,
  l.reference, l.their_ref, CASE l.kind WHEN 'payment'
    THEN round(l.amount_minor::numeric * %(ppm)s::bigint / 1000000) END, l.fee_minor,
  l.currency, l.currency, 'booked', l.line_number, '', '', t.recharge_id, 'open', %(at)s, %(run)s,
  ''
FROM billing_statementline l JOIN billing_transfer t ON t.reference = l.reference
  AND t.kind = {_BOOKED_AS} AND t.currency = l.currency
  AND %(account)s IN (t.source, t.destination)
WHERE l.statement_id = %(statement_id)s AND CASE l.kind
  WHEN 'payment' THEN l.fee_minor < 0 OR %(ppm)s::bigint IS NOT NULL
    AND abs(l.fee_minor::numeric * 1000000 - l.amount_minor::numeric * %(ppm)s::bigint) >= 1000000
    AND NOT EXISTS (SELECT 1 FROM billing_statementline f WHERE f.statement_id = l.statement_id
      AND f.reference = l.reference AND f.kind = 'fee' AND f.currency <> l.currency)
  WHEN 'refund' THEN l.fee_minor > 0 ELSE false END
ORDER BY l.reference, l.line_number, l.id {_UPSERT}"""  # noqa: S608 # nosec B608

# A refund that the rail lists as not made, and that our books hold as under way or made: the rail
# is asked about it, as about every other outcome that it tells otherwise.
_FAILED_REFUNDS = f"""
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT DISTINCT ON (1, 2) %(statement_id)s, left('refund_fail|' || CASE WHEN l.reference = ''
    THEN '~' || l.their_ref || '|' || l.line_number ELSE l.reference END, 200),
  CASE WHEN f.id IS NULL THEN 'refund_unmatched' ELSE 'status' END, false, 'refund', l.reference,
  l.their_ref, f.amount_minor, l.amount_minor, COALESCE(f.currency, ''), l.currency,
  CASE f.state WHEN 'succeeded' THEN 'booked' ELSE COALESCE(f.state, '') END, l.line_number, '',
  '', COALESCE(f.recharge_id, a.recharge_id), 'open',
  %(at)s, %(run)s, ''
FROM billing_statementline l
LEFT JOIN billing_paymentattempt a ON a.reference = l.payment_ref AND a.rail = %(code)s
LEFT JOIN (billing_refund f JOIN billing_paymentattempt p ON p.id = f.attempt_id)
  ON f.reference = l.reference AND p.rail = %(code)s
WHERE l.statement_id = %(statement_id)s AND l.kind = 'refund_fail'
  AND f.state IS DISTINCT FROM 'refused'
ORDER BY 1, 2, l.line_number {_UPSERT}"""  # noqa: S608 # nosec B608

# Money taken back for a payer, or given us again, that no message of the rail's had told of; or
# another sum of it all than our books have as lost, by the rail's number of the dispute.
_DISPUTES = f"""
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT DISTINCT ON (1, 2) %(statement_id)s,
  left('dispute|' || l.kind || '|' || l.reference || '|'
    || COALESCE(NULLIF(l.dispute_ref, ''), l.their_ref), 200), 'dispute', false,
  l.kind, l.reference, COALESCE(NULLIF(l.dispute_ref, ''), l.their_ref),
  booked.minor, l.amount_minor,
  CASE WHEN booked.minor IS NULL THEN '' ELSE l.currency END, l.currency,
  CASE WHEN booked.minor IS NULL THEN COALESCE(a.state, '') ELSE 'booked' END,
  l.line_number, '', '', a.recharge_id, 'open', %(at)s, %(run)s, ''
FROM billing_statementline l
LEFT JOIN billing_paymentattempt a ON a.reference = l.reference AND a.rail = %(code)s
LEFT JOIN LATERAL (
  SELECT sum(CASE w.finding WHEN 'lost' THEN w.taken_minor ELSE -w.taken_minor END) AS minor
  FROM billing_settlement w WHERE w.attempt_id = a.id AND w.state = 'approved'
    AND w.finding IN ('lost', 'returned') AND w.dispute_ref = l.dispute_ref) booked ON true
LEFT JOIN LATERAL (
  SELECT sum(CASE o.kind WHEN 'dispute' THEN o.amount_minor ELSE -o.amount_minor END) AS minor,
    max(o.kind) AS last_kind
  FROM billing_statementline o JOIN billing_statement s ON s.id = o.statement_id
  WHERE o.reference = l.reference AND o.kind IN ('dispute', 'dispute_won')
    AND o.dispute_ref = l.dispute_ref AND {_OF_SOURCE}) moved ON booked.minor IS NOT NULL
WHERE l.statement_id = %(statement_id)s AND l.kind IN ('dispute', 'dispute_won')
  AND (a.id IS NULL OR (booked.minor <> moved.minor
      AND l.kind = CASE WHEN booked.minor > moved.minor THEN moved.last_kind ELSE 'dispute' END)
    OR NOT EXISTS (
    SELECT 1 FROM billing_inboundnotification m WHERE m.our_ref = l.reference
      AND m.kind = 'dispute' AND m.source = 'rail:' || %(code)s::text
      AND l.dispute_ref IN ('', m.dispute_ref)))
ORDER BY 1, 2, l.line_number {_UPSERT}"""  # noqa: S608 # nosec B608

_UNREADABLE = f"""
INSERT INTO billing_difference AS d ({_COLUMNS})
SELECT DISTINCT ON (1, 2) %(statement_id)s,
  'unreadable|' || l.line_number || '|' || md5(l.text || l.reason), 'unreadable', false,
  '', l.reference, l.their_ref, NULL, NULL, '', '', '', l.line_number, l.text, l.reason,
  about.recharge_id, 'open', %(at)s, %(run)s, ''
FROM billing_statementline l LEFT JOIN LATERAL (
  SELECT recharge_id FROM billing_paymentattempt WHERE reference = l.reference
  UNION ALL SELECT recharge_id FROM billing_refund WHERE reference = l.reference
  UNION ALL SELECT recharge_id FROM billing_refund WHERE reversal_ref = l.reference
  UNION ALL SELECT g.id FROM lines_delivery v JOIN billing_recharge g ON g.ref = v.order_ref
    WHERE v.reference = l.reference
  LIMIT 1) about ON l.reference <> ''
WHERE l.statement_id = %(statement_id)s AND l.kind = 'unreadable'
ORDER BY 1, 2, l.id {_UPSERT}"""  # noqa: S608 # nosec B608

_GONE = """
UPDATE billing_difference SET state = 'resolved', closed_at = %(at)s
WHERE statement_id = %(statement_id)s AND state = 'open' AND seen_run <> %(run)s"""

_TOTALS = """
SELECT kind, currency, count(*) AS lines, sum(amount_minor) AS amount_minor,
       sum(fee_minor) AS fee_minor
FROM billing_statementline
WHERE statement_id = %(statement_id)s AND kind <> 'unreadable' GROUP BY 1, 2 ORDER BY 1, 2"""

_BOOKED = """
SELECT 1 FROM billing_transfer WHERE at >= %s AND at < %s AND %s IN (source, destination)
  AND kind IN ('charge', 'refund') LIMIT 1"""
_SENT = """
SELECT 1 FROM billing_paymentattempt WHERE rail = %s AND created_at >= %s AND created_at < %s
LIMIT 1"""


class Total(NamedTuple):
    """One row of `_TOTALS`: what a statement comes to, of one kind in one currency."""

    kind: str
    currency: str
    lines: int
    amount_minor: Decimal
    fee_minor: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """What is compared: one statement, and the day of our books it is about."""

    statement_id: int
    run: int
    source_kind: str
    code: str
    day: date
    start: datetime
    end: datetime
    # Days close by whose statements may yet hold what is missing here: [(begins, ends)].
    uncovered: Sequence[tuple[datetime, datetime]]
    fee_rate_ppm: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """What one comparison came to. `open` counts those of this statement that need a person."""

    open: int
    awaiting: int
    totals: list[dict[str, str | int]]


def prepare() -> None:
    """A day's lines have only just been written: without fresh figures of them, the planner may
    compare each with each. Holds a lock that two days would wait for: outside any transaction."""
    rowsets.run("ANALYZE billing_statementline", [])


def match(one: Day, *, at: datetime) -> Found:
    """Write every difference of this day, and close those that are gone. In a transaction."""
    facts = _facts(one, at)
    for statement in (*_NAME, _THEIRS, _OURS, _DISPUTES, _FAILED_REFUNDS, _UNREADABLE, _FEES):
        rowsets.run(statement, facts)
    rowsets.run(_GONE, facts)
    [awaiting] = rowsets.column(_COUNT_WAITING, facts, of=int)
    totals = rowsets.read(_TOTALS, facts, into=Total)
    return Found(_open(one.statement_id), awaiting, [_stored(total) for total in totals])


def _stored(one: Total) -> dict[str, str | int]:
    return {
        "kind": one.kind,
        "currency": one.currency,
        "count": one.lines,
        "amount_minor": int(one.amount_minor),
        "fee_minor": int(one.fee_minor),
    }


def is_quiet(*, rail_code: str, start: datetime, end: datetime) -> bool:
    """Whether we sent this rail no charge and booked nothing of it in [start, end), edges too."""
    return not rowsets.run(_BOOKED, [start, end + EDGE, f"rail:{rail_code}"]) and not rowsets.run(
        _SENT, [rail_code, start - EDGE, end + EDGE]
    )


def _open(statement_id: int) -> int:
    query = "SELECT count(*) FROM billing_difference WHERE statement_id = %s AND state = 'open'"
    [count] = rowsets.column(query, [statement_id], of=int)
    return count


def _facts(one: Day, at: datetime) -> dict[str, object]:
    return {
        "statement_id": one.statement_id,
        "run": one.run,
        "source_kind": one.source_kind,
        "code": one.code,
        "account": f"{one.source_kind}:{one.code}",
        "day": one.day,
        "start": one.start,
        "end": one.end,
        "edge": EDGE,
        "uncovered_from": [begins for begins, _ in one.uncovered],
        "uncovered_to": [ends for _, ends in one.uncovered],
        "ppm": one.fee_rate_ppm,
        "at": at,
    }

"""What a rail or carrier leaves in doubt while it gives no answer: where to find it, and how to
have it asked about.

By the indexes of what is due. What was asked about in vain too often is left to its own ladder.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from billing import nudges, outages, rowsets
from billing.models import OutageSide
from billing.refunds.refunding import REVERSAL_GRACE
from billing.states import UNPAID_END_STATES

# What is known for good is asked about again only because somebody spoke of it: few times besides.
_AT_REST_PATIENCE = 3
_POLLED_AGAIN = timedelta(minutes=10)  # as engine.sweeps has it
_UNPAID = [state.value for state in UNPAID_END_STATES]
_PAID = ["completed", "reversed", "refunded", "undeliverable"]

# Conditions on a recharge `g` and a refund `f`.
RECHARGES_AT_RAIL = """
  (g.rail = %(code)s AND (
     g.state = 'payment_unknown' OR g.state = 'waiting' AND g.reason = 'announcing'
     OR g.state = ANY(%(unpaid)b) AND g.queries < %(few)s)
   OR EXISTS (SELECT FROM billing_paymentattempt a
              WHERE a.recharge_id = g.id AND a.doubted_at IS NOT NULL AND a.rail = %(code)s))
  AND g.queries < %(patience)s"""
RECHARGES_AT_CARRIER = """
  (g.state = 'delivery_unknown' OR g.state = ANY(%(paid)b) AND g.queries < %(few)s)
  AND g.queries < %(patience)s
  AND EXISTS (SELECT FROM lines_line l JOIN lines_carrier c ON c.id = l.carrier_id
              WHERE l.id = g.line_id AND c.code = %(code)s)"""
REFUNDS_AT_RAIL = """
  f.state = 'unknown' AND f.queries < %(patience)s AND EXISTS (
    SELECT FROM billing_paymentattempt a WHERE a.id = f.attempt_id AND a.rail = %(code)s)"""
REFUNDS_AT_CARRIER = """
  f.state = 'reversing' AND f.queries BETWEEN 1 AND %(patience)s - 1 AND EXISTS (
    SELECT FROM billing_recharge g JOIN lines_line l ON l.id = g.line_id
    JOIN lines_carrier c ON c.id = l.carrier_id WHERE g.id = f.recharge_id AND c.code = %(code)s)"""
# An agreement that is awaited, that is being ended, or that was asked about in vain since.
BINDINGS = """
SELECT b.id FROM billing_binding b
WHERE b.rail = %(code)s AND b.check_at > %(at)s AND (
  b.state = 'pending' OR b.pause_reason = 'ending'
  OR b.checked_at >= %(since)s AND b.check_at <= %(at)s::timestamptz + interval '1 hour')
ORDER BY b.check_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED"""
LINES = """
SELECT l.id FROM lines_line l
WHERE l.poll_at > %(at)s AND l.poll_at <= %(at)s::timestamptz + %(polled)s
  AND l.carrier_id = (SELECT c.id FROM lines_carrier c WHERE c.code = %(code)s)
ORDER BY l.poll_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED"""


def _waking(table: str, t: str, doubt: str, *, earliest: str = "%(at)s::timestamptz") -> str:
    return f"""
WITH picked AS (
  SELECT {t}.id, {t}.queries, {t}.act_at FROM {table} {t}
  WHERE {t}.act_at > %(at)s AND {doubt}
    AND ({t}.lease_until IS NULL OR {t}.lease_until < clock_timestamp())
  ORDER BY {t}.queries, {t}.act_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED),
placed AS (SELECT id, row_number() OVER (ORDER BY queries, act_at) - 1 AS place FROM picked)
UPDATE {table} {t}
SET act_at = LEAST({t}.act_at, {earliest} + placed.place * %(apart)s::interval)
FROM placed WHERE {t}.id = placed.id"""  # noqa: S608 # nosec B608 - our own texts


def _due(table: str, t: str, doubt: str) -> str:
    return (
        f"SELECT {t}.id FROM {table} {t} "  # noqa: S608 # nosec B608 - our own texts
        f"WHERE {t}.act_at <= %(soon)s AND {doubt} LIMIT 1"
    )


_WAKE = {
    OutageSide.RAIL: (
        _waking("billing_recharge", "g", RECHARGES_AT_RAIL),
        _waking("billing_refund", "f", REFUNDS_AT_RAIL),
    ),
    OutageSide.CARRIER: (
        _waking("billing_recharge", "g", RECHARGES_AT_CARRIER),
        # It has no key: what was sent last, and lost, may have its effect yet.
        _waking(
            "billing_refund",
            "f",
            REFUNDS_AT_CARRIER,
            earliest="(%(at)s::timestamptz + %(reversal_grace)s)",
        ),
    ),
}
_SOON = {
    OutageSide.RAIL: (
        _due("billing_recharge", "g", RECHARGES_AT_RAIL),
        _due("billing_refund", "f", REFUNDS_AT_RAIL),
    ),
    OutageSide.CARRIER: (
        _due("billing_recharge", "g", RECHARGES_AT_CARRIER),
        _due("billing_refund", "f", REFUNDS_AT_CARRIER),
    ),
}
_WAKE_SLOWLY = {
    OutageSide.RAIL: f"UPDATE billing_binding SET check_at = %(at)s WHERE id IN ({BINDINGS})",  # noqa: S608 # nosec B608
    OutageSide.CARRIER: f"UPDATE lines_line SET poll_at = %(at)s WHERE id IN ({LINES})",  # noqa: S608 # nosec B608
}


class Whose(NamedTuple):
    """A rail or carrier, and since when it gave no answer."""

    side: str
    code: str
    since: datetime


def params(
    whose: Whose, *, at: datetime, most: int = 1, apart: timedelta = timedelta(0)
) -> Mapping[str, object]:
    """Of the statements here, and of those made of their conditions."""
    return {
        "code": whose.code,
        "since": whose.since,
        "at": at,
        "most": most,
        "apart": apart,
        "soon": at + outages.PROBE_EVERY,
        "polled": _POLLED_AGAIN,
        "patience": outages.PATIENCE,
        "reversal_grace": REVERSAL_GRACE,
        "few": _AT_REST_PATIENCE,
        "unpaid": _UNPAID,
        "paid": _PAID,
    }


def are_asked_about_soon(whose: Whose, *, at: datetime) -> bool:
    """Whether some question is due anyway, whose answer will tell."""
    facts = params(whose, at=at)
    return any(rowsets.column(sql, facts, of=int) for sql in _SOON[OutageSide(whose.side)])


def wake(whose: Whose, *, at: datetime, most: int, apart: timedelta) -> int:
    """Have up to `most` asked about, one `apart` from the other; how many. One statement a kind."""
    left = most
    for sql in _WAKE[OutageSide(whose.side)]:
        left -= rowsets.run(sql, params(whose, at=at, most=left, apart=apart)) if left else 0
    if left and (
        slowly := rowsets.run(_WAKE_SLOWLY[OutageSide(whose.side)], params(whose, at=at, most=left))
    ):
        nudges.slow()
        left -= slowly
    return most - left

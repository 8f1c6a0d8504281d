"""Claiming refunds: as recharges are claimed (`recharges.claims`), with a lease and a fence."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from billing import rowsets
from billing.casebook import Heard
from billing.recharges import cases
from billing.recharges.cases import Step

# Longer than refunding.REVERSAL_GRACE: whoever takes a reversal over after a crash sends it again
# where the carrier does not know it.
LEASE_S = 150

_CLAIM = """
WITH picked AS (
  SELECT id FROM billing_refund
  WHERE act_at <= %(at)s AND (lease_until IS NULL OR lease_until < clock_timestamp()) {but}
  ORDER BY act_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_refund f SET fence = f.fence + 1, crash_count = f.crash_count + 1,
  lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM picked WHERE f.id = picked.id RETURNING f.id"""
_WORK = """
SELECT f.id, f.reference, f.state, f.amount_minor, f.promotion_minor, f.reversal_minor,
       COALESCE(f.reversal_ref, '') AS reversal_ref, f.currency, f.reason, f.fence, f.crash_count,
       f.queries, f.created_at, f.unknown_since,
       g.id AS recharge_id, g.ref, g.price_minor, g.face_minor, g.bonus_minor,
       g.refund_committed_minor, g.owner_id, g.line_id, g.completed_at,
       a.rail, a.reference AS charge_ref, a.provider_ref AS provider_charge_ref,
       l.msisdn, l.iccid, c.id AS carrier_id, c.code AS carrier,
       COALESCE(d.reference, '') AS delivery_ref, COALESCE(d.carrier_ref, '') AS carrier_ref,
       COALESCE(d.state, '') AS delivery_state, r.channels,
       COALESCE(ko.is_failing, false) AS is_rail_failing,
       COALESCE(co.is_failing, false) AS is_carrier_failing
FROM billing_refund f
JOIN billing_recharge g ON g.id = f.recharge_id
JOIN billing_paymentattempt a ON a.id = f.attempt_id
JOIN lines_line l ON l.id = g.line_id
JOIN lines_carrier c ON c.id = l.carrier_id
LEFT JOIN billing_outage ko ON ko.side = 'rail' AND ko.code = a.rail
LEFT JOIN billing_outage co ON co.side = 'carrier' AND co.code = c.code
LEFT JOIN billing_rule r ON r.id = g.rule_id
LEFT JOIN LATERAL (
  SELECT * FROM lines_delivery y WHERE y.order_ref = g.ref ORDER BY y.number DESC LIMIT 1
) d ON true
WHERE f.id = ANY(%b) ORDER BY f.id"""


class RefundWork(NamedTuple):
    """One claimed refund, its recharge and its line: a row of `_WORK`.

    Of the credit to take back, and of the last delivery, "" where there is none.
    """

    id: int
    reference: str
    state: str
    amount_minor: int
    promotion_minor: int
    reversal_minor: int
    reversal_ref: str
    currency: str
    reason: str
    fence: int
    crash_count: int
    queries: int
    created_at: datetime
    unknown_since: datetime | None
    recharge_id: int
    ref: str
    price_minor: int
    face_minor: int
    bonus_minor: int
    refund_committed_minor: int
    owner_id: int
    line_id: int
    completed_at: datetime | None
    rail: str
    charge_ref: str
    provider_charge_ref: str
    msisdn: str
    iccid: str
    carrier_id: int
    carrier: str
    delivery_ref: str
    carrier_ref: str
    delivery_state: str
    channels: list[str] | None  # of the rule it was opened by
    is_rail_failing: bool
    is_carrier_failing: bool


_BUSY = """AND NOT CASE WHEN state = 'reversing' THEN EXISTS (
    SELECT FROM billing_recharge g JOIN lines_line l ON l.id = g.line_id
    JOIN lines_carrier c ON c.id = l.carrier_id
    WHERE g.id = recharge_id AND c.code = ANY(%(carriers)b))
  ELSE EXISTS (SELECT FROM billing_paymentattempt a
    WHERE a.id = attempt_id AND a.rail = ANY(%(rails)b)) END"""


def claim(
    *,
    at: datetime,
    limit: int,
    busy_rails: Sequence[str] = (),
    busy_carriers: Sequence[str] = (),
) -> list[RefundWork]:
    """Up to `limit` refunds with something to do, leased to the caller; none for who is busy."""
    but = _BUSY if busy_rails or busy_carriers else ""
    facts = {"at": at, "limit": limit, "lease_s": LEASE_S}
    busy = {"rails": list(busy_rails), "carriers": list(busy_carriers)} if but else {}
    with transaction.atomic():
        ids = rowsets.column(_CLAIM.format(but=but), facts | busy, of=int)
        return rowsets.read(_WORK, [ids], into=RefundWork) if ids else []


_RELEASE = """
UPDATE billing_refund f SET lease_until = NULL, act_at = %s,
  crash_count = GREATEST(crash_count - 1, 0)
FROM unnest(%b::bigint[], %b::bigint[]) v(id, fence) WHERE f.id = v.id AND f.fence = v.fence
RETURNING f.id"""


def release(row: RefundWork, *, act_at: datetime, at: datetime, attention: str = "") -> None:
    """Give a lease back, nothing having been asked: it was no crash, and is due at `act_at`.

    `attention`: the case that says why it could not be.
    """
    release_all([row], act_at=act_at, at=at, attention=attention)


def release_all(
    rows: Sequence[RefundWork], *, act_at: datetime, at: datetime, attention: str = ""
) -> None:
    """As `release`, in one statement."""
    if not rows:
        return
    ids, fences = [row.id for row in rows], [row.fence for row in rows]
    with transaction.atomic():
        released = set(rowsets.column(_RELEASE, [act_at, ids, fences], of=int))
        if attention and released:
            cases.follow([_not_asked(row, attention) for row in rows if row.id in released], at=at)


def _not_asked(row: RefundWork, attention: str) -> Step:
    return Step(
        row.recharge_id,
        row.state,
        "not_asked",
        Heard.NOTHING,
        opens=attention,
        refund_id=row.id,
    )

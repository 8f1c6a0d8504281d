"""Claiming recharges: a lease by the database's clock, a fence that grows, all a step needs.

Whoever's lease ran out may still be at work; what it writes carries the old fence and changes
nothing. `crash_count` grows with the claim and falls with the outcome, so work that kills its
worker three times is found even when the worker can no longer say so.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing import rowsets

# Longer than any batch may take: see `executor.BATCH_DEADLINE_S` and the calls' own deadline.
LEASE_S = 90
MAX_CRASHES = 3
CRASHED = "crashed"  # the attention code of quarantined work

_CLAIM = """
WITH picked AS (
  SELECT id FROM billing_recharge
  WHERE act_at <= %s AND (lease_until IS NULL OR lease_until < clock_timestamp()) {only}
  ORDER BY act_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_recharge g SET fence = g.fence + 1, crash_count = g.crash_count + 1,
  lease_until = clock_timestamp() + make_interval(secs => %s)
FROM picked WHERE g.id = picked.id RETURNING g.id"""

_WORK = """
SELECT g.id, g.ref, g.state, g.rail, g.binding_id, g.fallback_binding_id, g.rule_id, g.line_id,
       g.owner_id, g.trigger, g.period_key, g.face_minor, g.bonus_minor, g.discount_minor,
       g.price_minor, g.currency, g.ladder_s, g.declines, g.attempt_count, g.delivery_count,
       g.due_at, g.expires_at, g.fence, g.crash_count, g.queries, g.unknown_since, g.charged_at,
       g.sim_generation, g.attention, g.reason, g.created_at,
       g.notice_sent_at, g.earliest_charge_at, g.latest_charge_at,
       CASE WHEN g.state IN ('payment_pending', 'action_required') THEN (
         SELECT min(m.at) FROM billing_rechargemove m
         WHERE m.recharge_id = g.id AND m.target = g.state AND m.id > (
           SELECT max(s.id) FROM billing_rechargemove s
           WHERE s.recharge_id = g.id AND s.target = 'charging')) END AS waiting_since,
       l.msisdn, l.iccid, l.status AS line_status, l.sim_generation AS line_generation,
       l.label AS line_label, c.id AS carrier_id, c.code AS carrier,
       c.deferred_since AS carrier_deferred_since,
       b.state AS binding_state, b.paused_at AS binding_paused_at,
       b.signed_at AS binding_signed_at,
       k.is_enabled AS rail_enabled, k.deferred_since AS rail_deferred_since,
       r.is_on AS rule_is_on, r.paused_at AS rule_paused_at,
       r.pause_reason AS rule_pause_reason, r.paused_until AS rule_paused_until,
       r.channels, r.remind_result,
       a.id AS attempt_id, a.reference AS payment_ref, a.state AS attempt_state,
       a.provider_ref AS provider_charge_ref, a.amount_minor, a.created_at AS attempt_created_at,
       d.id AS delivery_id, d.reference AS delivery_ref, d.carrier_ref, d.state AS delivery_state,
       d.created_at AS delivery_created_at
FROM billing_recharge g
JOIN lines_line l ON l.id = g.line_id
JOIN lines_carrier c ON c.id = l.carrier_id
JOIN billing_binding b ON b.id = g.binding_id
JOIN billing_rail k ON k.code = g.rail
LEFT JOIN billing_rule r ON r.id = g.rule_id
LEFT JOIN LATERAL (
  SELECT * FROM billing_paymentattempt p WHERE p.recharge_id = g.id ORDER BY p.number DESC LIMIT 1
) a ON true
LEFT JOIN LATERAL (
  SELECT * FROM lines_delivery y WHERE y.order_ref = g.ref ORDER BY y.number DESC LIMIT 1
) d ON true
WHERE g.id = ANY(%b) ORDER BY g.id"""


class BeingAsked(Exception):
    """A worker is at it this moment: wait for what it finds."""


def claim(*, at: datetime, limit: int, recharge_id: int | None = None) -> list[Any]:
    """Up to `limit` recharges with something to do at `at`, leased to the caller, as work rows.

    Commits before it returns: whatever happens to the caller, the lease runs out by itself.
    """
    only = "AND id = %s" if recharge_id else ""
    params: list[Any] = [at, recharge_id, limit, LEASE_S] if recharge_id else [at, limit, LEASE_S]
    with transaction.atomic():
        ids = [row[0] for row in rowsets.run(_CLAIM.format(only=only), params)]
        return rowsets.read(_WORK, [ids]) if ids else []


def read(*, recharge_ids: list[int]) -> list[Any]:
    """The work rows again, after a step has changed them."""
    return rowsets.read(_WORK, [recharge_ids]) if recharge_ids else []


_RELEASE = """
UPDATE billing_recharge SET lease_until = NULL, act_at = %s,
  crash_count = GREATEST(crash_count - 1, 0), attention = COALESCE(NULLIF(attention, ''), %s),
  attention_since = CASE WHEN attention = '' AND %s <> '' THEN %s ELSE attention_since END
WHERE id = %s AND fence = %s"""


def release(row: Any, *, act_at: datetime, at: datetime, attention: str = "") -> None:
    """Give a lease back, nothing having been tried: it was no crash, and is due at `act_at`.

    No question counts as asked. `attention`: why it could not be, where nothing graver is said.
    """
    rowsets.run(_RELEASE, [act_at, attention, attention, at, row.id, row.fence])


def is_live_attempt(row: Any) -> bool:
    """Whether the last reference may have been sent and is not closed without effect."""
    return row.attempt_id is not None and row.attempt_state not in ("declined", "closed")


def is_live_delivery(row: Any) -> bool:
    return row.delivery_id is not None and row.delivery_state not in ("rejected", "reversed")


def attention_kept(row: Any) -> str:
    """What stays said, with its age, while it is tried again: that we could not, until we could."""
    return "config" if row.attention == "config" else ""


def attention_left(row: Any) -> str:
    """What still needs a person once the question was asked: no longer that it could not be."""
    return "" if row.attention in ("crashed", "config") else str(row.attention)

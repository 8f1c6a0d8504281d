"""Claiming recharges: a lease by the database's clock, a fence that grows, all a step needs.

Whoever's lease ran out may still be at work; what it writes carries the old fence and changes
nothing. `crash_count` grows with the claim and falls with the outcome, so work that kills its
worker three times is found even when the worker can no longer say so.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple, Unpack

from django.db import transaction

from billing import rowsets
from billing.casebook import Heard
from billing.recharges import cases, machine
from billing.recharges.cases import Step
from billing.recharges.machine import Also, Move
from billing.states import RechargeState
from lines.models.lines import GONE_STATUSES

# Longer than any batch may take: see `flights.CALLS_WITHIN_S` and the calls' own deadline.
LEASE_S = 90
MAX_CRASHES = 3
# An answer may come so long after the window of the charge it is about, and be followed by a try.
LATE_ANSWER = timedelta(days=1)
CRASHED = "crashed"  # the attention code of quarantined work
LATE_PAYMENT = "late_payment"  # and of money that its recharge has no use for

_CLAIM = """
WITH picked AS (
  SELECT id FROM billing_recharge
  WHERE act_at <= %s AND (lease_until IS NULL OR lease_until < clock_timestamp()) {only}
  ORDER BY act_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_recharge g SET fence = g.fence + 1, crash_count = g.crash_count + 1,
  lease_until = clock_timestamp() + make_interval(secs => %s)
FROM picked WHERE g.id = picked.id RETURNING g.id"""

_WORK = """
SELECT g.id, g.ref, g.state,
       CASE WHEN a.doubted_at IS NULL THEN g.rail ELSE a.rail END AS rail,
       CASE WHEN a.doubted_at IS NULL THEN g.binding_id ELSE a.binding_id END AS binding_id,
       g.fallback_binding_id, g.rule_id, g.line_id,
       g.owner_id, g.trigger, g.period_key, g.face_minor, g.bonus_minor, g.discount_minor,
       g.price_minor, g.currency, g.ladder_s, g.declines, g.attempt_count, g.delivery_count,
       g.due_at, g.act_at, g.expires_at, g.fence, g.crash_count, g.queries, g.unknown_since,
       g.charged_at, g.sim_generation, CASE WHEN g.attention = '' THEN '{}' ELSE ARRAY(
         SELECT c.code FROM billing_case c
         WHERE c.recharge_id = g.id AND c.refund_id IS NULL AND c.settled_at IS NULL) END AS cases,
       g.reason, g.created_at, g.cap_day,
       g.notice_sent_at, g.earliest_charge_at, g.latest_charge_at,
       CASE WHEN g.state IN ('payment_pending', 'action_required') THEN (
         SELECT min(m.at) FROM billing_rechargemove m
         WHERE m.recharge_id = g.id AND m.target = g.state AND m.id > (
           SELECT max(s.id) FROM billing_rechargemove s
           WHERE s.recharge_id = g.id AND s.target = 'charging')) END AS waiting_since,
       l.msisdn, l.iccid, l.status AS line_status, l.sim_generation AS line_generation,
       l.label AS line_label, l.owner_id AS line_owner_id, c.id AS carrier_id, c.code AS carrier,
       c.deferred_since AS carrier_deferred_since,
       CASE WHEN g.rule_id IS NULL THEN 0 ELSE c.notice_before_deduction_h END AS notice_h,
       b.state AS binding_state, b.paused_at AS binding_paused_at,
       b.signed_at AS binding_signed_at,
       k.is_enabled AS rail_enabled, k.deferred_since AS rail_deferred_since,
       COALESCE(ko.is_failing, false) AS is_rail_failing,
       COALESCE(co.is_failing, false) AS is_carrier_failing,
       r.is_on AS rule_is_on, r.paused_at AS rule_paused_at,
       r.pause_reason AS rule_pause_reason, r.paused_until AS rule_paused_until,
       r.channels, r.remind_result,
       r.binding_id AS rule_binding_id, r.fallback_binding_id AS rule_fallback_id,
       r.face_minor AS rule_face_minor, r.cycle, r.anchor_date, r.threshold_minor, r.topup_mode,
       r.target_minor, r.expiry_days_before, r.max_per_charge_minor,
       COALESCE(n.at > g.created_at, false) AS is_agreed_anew,
       (o.plan ->> 'face_minor')::bigint AS agreed_face_minor,
       COALESCE(o.plan ->> 'topup_mode', '') AS agreed_topup_mode,
       (o.plan ->> 'target_minor')::bigint AS agreed_target_minor,
       l.timezone, l.balance_minor, l.balance_reserved_minor, l.valid_until,
       ARRAY(SELECT p.binding_id FROM billing_paymentattempt p
             WHERE p.recharge_id = g.id AND p.state = 'declined'
             UNION SELECT g.passed_over_id WHERE g.passed_over_id IS NOT NULL) AS declined_by,
       g.trigger = 'low_balance' AND EXISTS (
         SELECT FROM billing_decision e WHERE e.recharge_id = g.id AND e.code = 'charge'
           AND e.facts ->> 'runs_out_at' IS NOT NULL) AS is_early,
       a.id AS attempt_id, COALESCE(a.reference, '') AS payment_ref,
       COALESCE(a.state, '') AS attempt_state,
       COALESCE(a.provider_ref, '') AS provider_charge_ref,
       COALESCE(a.amount_minor, 0) AS amount_minor, a.created_at AS attempt_created_at,
       a.settled_at AS attempt_settled_at, a.doubted_at AS attempt_doubted_at,
       d.id AS delivery_id, COALESCE(d.reference, '') AS delivery_ref,
       COALESCE(d.carrier_ref, '') AS carrier_ref, COALESCE(d.state, '') AS delivery_state,
       d.created_at AS delivery_created_at
FROM billing_recharge g
JOIN lines_line l ON l.id = g.line_id
JOIN lines_carrier c ON c.id = l.carrier_id
JOIN billing_binding b ON b.id = g.binding_id
JOIN billing_rail k ON k.code = g.rail
LEFT JOIN billing_outage ko ON ko.side = 'rail' AND ko.code = g.rail
LEFT JOIN billing_outage co ON co.side = 'carrier' AND co.code = c.code
LEFT JOIN billing_rule r ON r.id = g.rule_id
LEFT JOIN billing_consent n ON n.id = r.consent_id
LEFT JOIN LATERAL (
  SELECT plan FROM billing_consent q
  WHERE q.line_id = g.line_id AND q.at <= g.created_at AND n.at > g.created_at
  ORDER BY q.id DESC LIMIT 1
) o ON true
LEFT JOIN LATERAL (
  SELECT * FROM billing_paymentattempt p WHERE p.recharge_id = g.id
  ORDER BY p.doubted_at IS NULL, p.number DESC LIMIT 1
) a ON true
LEFT JOIN LATERAL (
  SELECT * FROM lines_delivery y WHERE y.order_ref = g.ref ORDER BY y.number DESC LIMIT 1
) d ON true
WHERE g.id = ANY(%b) ORDER BY g.id"""


class Work(NamedTuple):
    """One claimed recharge, with all that a step needs: a row of `_WORK`.

    Of the last payment attempt and the last delivery, "" and 0 where there is none; of one that is
    doubted rather than of the last.
    """

    id: int
    ref: str
    state: str
    rail: str
    binding_id: int
    fallback_binding_id: int | None
    rule_id: int | None
    line_id: int
    owner_id: int
    trigger: str
    period_key: str
    face_minor: int
    bonus_minor: int
    discount_minor: int
    price_minor: int
    currency: str
    ladder_s: list[int]
    declines: int
    attempt_count: int
    delivery_count: int
    due_at: datetime
    act_at: datetime | None  # when this step fell due; None: it is at rest
    expires_at: datetime
    fence: int
    crash_count: int
    queries: int
    unknown_since: datetime | None
    charged_at: datetime | None
    sim_generation: int
    cases: list[str]  # what waits for a person, by its codes
    reason: str
    created_at: datetime
    cap_day: date
    notice_sent_at: datetime | None
    earliest_charge_at: datetime | None
    latest_charge_at: datetime | None
    waiting_since: datetime | None  # for the rail, or for the payer to confirm
    msisdn: str
    iccid: str
    line_status: str
    line_generation: int
    line_label: str
    line_owner_id: int
    carrier_id: int
    carrier: str
    carrier_deferred_since: datetime | None
    notice_h: int  # its payer is told so long before the charge; by hand: nothing to be told
    binding_state: str
    binding_paused_at: datetime | None
    binding_signed_at: datetime | None
    rail_enabled: bool
    rail_deferred_since: datetime | None
    is_rail_failing: bool
    is_carrier_failing: bool
    rule_is_on: bool | None
    rule_paused_at: datetime | None
    rule_pause_reason: str | None
    rule_paused_until: datetime | None
    channels: list[str] | None
    remind_result: bool | None
    # The rule as agreed now, and what had been agreed when this was opened, where that is not it.
    rule_binding_id: int | None
    rule_fallback_id: int | None
    rule_face_minor: int | None
    cycle: str | None
    anchor_date: date | None
    threshold_minor: int | None
    topup_mode: str | None
    target_minor: int | None
    expiry_days_before: int | None
    max_per_charge_minor: int | None
    is_agreed_anew: bool
    agreed_face_minor: int | None
    agreed_topup_mode: str
    agreed_target_minor: int | None
    timezone: str
    balance_minor: int | None
    balance_reserved_minor: int
    valid_until: datetime | None
    declined_by: list[int]  # the payment methods that have refused it, or too much before it
    is_early: bool  # opened by the forecast, on a rail that must be told first
    attempt_id: int | None
    payment_ref: str
    attempt_state: str
    provider_charge_ref: str
    amount_minor: int
    attempt_created_at: datetime | None
    attempt_settled_at: datetime | None
    attempt_doubted_at: datetime | None  # it had ended, and its rail has spoken of it since
    delivery_id: int | None
    delivery_ref: str
    carrier_ref: str
    delivery_state: str
    delivery_created_at: datetime | None

    @property
    def credit_minor(self) -> int:
        """What the line is owed: the face value and any bonus."""
        return self.face_minor + self.bonus_minor

    @property
    def charge_until(self) -> datetime:
        """No charge is sent after it: its own window, longer by each wait of the ladder it has
        climbed. What could not be sent in it is missed, never charged days after it was due."""
        climbed_s = sum(self.ladder_s[: self.declines])
        return self.expires_at + timedelta(seconds=climbed_s)

    def is_long_over(self, *, at: datetime) -> bool:
        """Whether an answer at `at` comes days after it was due: no other try follows it then."""
        return at > self.charge_until + LATE_ANSWER

    def move(
        self, target: RechargeState, because: str, act_at: datetime | None, **also: Unpack[Also]
    ) -> Move:
        """The move of it to `target`, under the claim's fence."""
        return Move(self.id, self.state, target.value, because, act_at, fence=self.fence, **also)


class BeingAsked(Exception):
    """A worker is at it this moment: wait for what it finds."""


def claim(*, at: datetime, limit: int, recharge_id: int | None = None) -> list[Work]:
    """Up to `limit` recharges with something to do at `at`, leased to the caller, as work rows.

    Commits before it returns: whatever happens to the caller, the lease runs out by itself.
    """
    only = "AND id = %s" if recharge_id else ""
    params = [at, recharge_id, limit, LEASE_S] if recharge_id else [at, limit, LEASE_S]
    with transaction.atomic():
        return read(recharge_ids=rowsets.column(_CLAIM.format(only=only), params, of=int))


def read(*, recharge_ids: list[int]) -> list[Work]:
    """The work rows again, after a step has changed them."""
    return rowsets.read(_WORK, [recharge_ids], into=Work) if recharge_ids else []


_GONE = "SELECT id FROM lines_line WHERE id = ANY(%b) AND status = ANY(%b)"


def gone_lines(rows: Sequence[Work]) -> set[int]:
    """The lines of `rows` that have ended, by now: a claim may be as old as a call takes."""
    statuses = [status.value for status in GONE_STATUSES]
    ids = [row.line_id for row in rows]
    return set(rowsets.column(_GONE, [ids, statuses], of=int)) if ids else set()


_RELEASE = """
UPDATE billing_recharge g SET lease_until = NULL, act_at = %s,
  crash_count = GREATEST(crash_count - 1, 0)
FROM unnest(%b::bigint[], %b::bigint[]) v(id, fence) WHERE g.id = v.id AND g.fence = v.fence
RETURNING g.id"""


def release(row: Work, *, act_at: datetime, at: datetime, attention: str = "") -> None:
    """Give a lease back, nothing having been tried: it was no crash, and is due at `act_at`.

    No question counts as asked. `attention`: why it could not be, where that is not said yet.
    """
    release_all([row], act_at=act_at, at=at, attention=attention)


def release_all(
    rows: Sequence[Work], *, act_at: datetime, at: datetime, attention: str = ""
) -> None:
    """As `release`, in one statement."""
    if not rows:
        return
    ids, fences = [row.id for row in rows], [row.fence for row in rows]
    with transaction.atomic():
        released = set(rowsets.column(_RELEASE, [act_at, ids, fences], of=int))
        steps = [
            Step(row.id, row.state, "not_asked", Heard.NOTHING, opens=attention)
            for row in rows
            if attention and attention not in row.cases and row.id in released
        ]
        if steps:
            cases.follow(steps, at=at)


def stay(
    row: Work,
    *,
    act_at: datetime | None,
    at: datetime,
    attention: str = "",
    heard: Heard = Heard.SILENCE,
) -> None:
    """Settle the claim without a move, as `machine.stay`."""
    machine.stay(
        recharge_id=row.id,
        fence=row.fence,
        act_at=act_at,
        at=at,
        attention=attention,
        heard=heard,
    )


def is_live_attempt(row: Work) -> bool:
    """Whether the last reference may have been sent and is not closed without effect."""
    return row.attempt_id is not None and row.attempt_state not in ("declined", "closed")


def is_doubted(row: Work) -> bool:
    """Whether the rail is to be asked about a reference that had ended, before anything else."""
    return row.attempt_doubted_at is not None and LATE_PAYMENT not in row.cases


def is_live_delivery(row: Work) -> bool:
    return row.delivery_id is not None and row.delivery_state not in ("rejected", "reversed")

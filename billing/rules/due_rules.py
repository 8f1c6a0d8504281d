"""Due rules: claimed in a batch, and what is in the way of each."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from billing import rowsets
from billing.gateways.base import Capabilities
from billing.models import Rule
from billing.notices import reminders
from billing.rules import gathering
from billing.rules.forecast import Forecast
from billing.rules.gathering import OnItsWay
from billing.rules.verdicts import Caps, Facts, Spent, Standing
from lines import zones
from lines.models import LineStatus

DUE = """
SELECT r.id, r.binding_id, r.fallback_binding_id, r.face_minor, r.currency, r.cycle,
       r.anchor_date, r.charge_time, r.next_index, r.next_run_at, r.skip_index, r.grace_s,
       r.threshold_minor, r.topup_mode, r.target_minor, r.is_armed, r.episode, r.cooldown_until,
       r.max_reading_age_s, r.expiry_days_before, r.expiry_fired_for, r.expiry_tried_on,
       r.rearms_at, r.low_episode, r.max_per_charge_minor,
       r.max_per_day_count, r.max_per_month_minor, r.channels, r.paused_until, r.paused_at,
       r.pause_reason, r.sim_generation, r.remind_low_balance,
       l.id AS line_id, l.owner_id, l.sim_generation AS line_generation, l.status, l.timezone,
       l.balance_minor, l.balance_reserved_minor, l.balance_observed_at, l.valid_until,
       c.denominations_minor, c.min_amount_minor, c.max_amount_minor, c.max_balance_minor,
       c.code AS carrier, c.notice_before_deduction_h AS notice_h,
       COALESCE(b.rail, '') AS rail, b.state AS binding_state, b.paused_at AS binding_paused_at,
       b.max_per_month_minor AS binding_cap_minor, b.signed_at AS binding_signed_at,
       k.is_enabled AS rail_enabled, k.mandatory_notice_days, k.retry_ladder_s,
       s.max_per_month_minor AS owner_cap_minor
FROM billing_rule r
JOIN lines_line l ON l.id = r.line_id
JOIN lines_carrier c ON c.id = l.carrier_id
LEFT JOIN billing_binding b ON b.id = r.binding_id
LEFT JOIN billing_rail k ON k.code = b.rail
LEFT JOIN billing_spendingcap s ON s.owner_id = l.owner_id AND s.currency = r.currency
WHERE r.wake_at <= %s AND r.is_on {only}
ORDER BY r.wake_at {order} LIMIT %s
FOR NO KEY UPDATE OF r SKIP LOCKED"""


class DueRule(NamedTuple):
    """One row of `DUE`: the rule, its line and carrier, and what it is paid by, where it has one.

    Amounts are minor units of `currency`.
    """

    id: int
    binding_id: int | None
    fallback_binding_id: int | None
    face_minor: int
    currency: str
    cycle: str
    anchor_date: date | None
    charge_time: time
    next_index: int
    next_run_at: datetime | None
    skip_index: int | None
    grace_s: int
    threshold_minor: int | None
    topup_mode: str
    target_minor: int | None
    is_armed: bool
    episode: int
    cooldown_until: datetime | None
    max_reading_age_s: int
    expiry_days_before: int | None
    expiry_fired_for: date | None
    expiry_tried_on: date | None
    rearms_at: datetime | None
    low_episode: int
    max_per_charge_minor: int
    max_per_day_count: int
    max_per_month_minor: int
    channels: list[str]
    paused_until: datetime | None
    paused_at: datetime | None
    pause_reason: str
    sim_generation: int
    remind_low_balance: bool
    line_id: int
    owner_id: int
    line_generation: int
    status: str
    timezone: str
    balance_minor: int | None
    balance_reserved_minor: int
    balance_observed_at: datetime | None
    valid_until: datetime | None
    denominations_minor: list[int]
    min_amount_minor: int
    max_amount_minor: int
    max_balance_minor: int | None
    carrier: str
    notice_h: int  # its payer is told so long before each charge
    rail: str  # "" where it has no payment method
    binding_state: str | None
    binding_paused_at: datetime | None
    binding_cap_minor: int | None
    binding_signed_at: datetime | None
    rail_enabled: bool | None
    mandatory_notice_days: int | None
    retry_ladder_s: list[int] | None
    owner_cap_minor: int | None


def claim(
    *, at: datetime, limit: int, rule_id: int | None = None, is_newest_first: bool = False
) -> list[DueRule]:
    """Up to `limit` rules to look at, locked for the caller's transaction; others' are skipped."""
    order = "DESC" if is_newest_first else "ASC"
    only = "AND r.id = %s" if rule_id else ""
    params: list[object] = [at, rule_id, limit] if rule_id else [at, limit]
    return rowsets.read(DUE.format(only=only, order=order), params, into=DueRule)


def rail_of(row: DueRule, capabilities: Mapping[str, Capabilities]) -> Capabilities | None:
    """The row's rail as its market has it used; None while it is off."""
    rail = capabilities.get(row.rail)
    return gathering.told_first(rail, notice_h=row.notice_h) if rail else None


def watched(rows: Sequence[DueRule], *, capabilities: Mapping[str, Capabilities]) -> list[int]:
    """The lines of `rows` that are charged with a delay and whose balance is watched (rule 13)."""
    return [
        row.line_id
        for row in rows
        if row.threshold_minor is not None
        and (rail := rail_of(row, capabilities)) is not None
        and rail.lead
    ]


def facts_of(
    row: DueRule,
    *,
    at: datetime,
    spent: Spent,
    coming: OnItsWay,
    outlook: Forecast | None,
    capabilities: Mapping[str, Capabilities],
) -> Facts:
    """All that `deciding.decide` looks at, from a row of `claim`."""
    rail = rail_of(row, capabilities)
    lead = rail.lead if rail else timedelta(0)
    return gathering.facts_of(
        plan=row,
        line=row,
        carrier=row,
        standing=standing_of(row, wake_at=None),
        schedule=gathering.schedule_of(row, timezone=row.timezone, rail=rail),
        grace=timedelta(seconds=row.grace_s),
        caps=_caps(row, rail=rail),
        spent=spent,
        coming=coming,
        outlook=outlook,
        lead=lead,
        at=at,
        max_reading_age=timedelta(seconds=row.max_reading_age_s),
        cooldown_until=row.cooldown_until,
        paused_until=row.paused_until,
        pause_reason=row.pause_reason if row.paused_at else "",
        line_problem=_line_problem(row),
        binding_problem=_binding_problem(row, rail=rail),
        is_notice_missing=_is_notice_missing(row, at=at + lead),
    )


def standing_of(row: DueRule, *, wake_at: datetime | None) -> Standing:
    return Standing(
        next_index=row.next_index,
        next_run_at=row.next_run_at,
        skip_index=row.skip_index,
        is_armed=row.is_armed,
        episode=row.episode,
        expiry_fired_for=row.expiry_fired_for,
        wake_at=wake_at,
        rearms_at=row.rearms_at,
        low_episode=row.low_episode,
        expiry_tried_on=row.expiry_tried_on,
    )


def _caps(row: DueRule, *, rail: Capabilities | None) -> Caps:
    return gathering.caps_of(
        row, binding_minor=row.binding_cap_minor, owner_minor=row.owner_cap_minor, rail=rail
    )


def _line_problem(row: DueRule) -> str:
    if row.sim_generation != row.line_generation:
        return "sim_changed"
    if not zones.is_zone(row.timezone):  # nobody knows when its hours are
        return "zone_unknown"
    is_chargeable = row.status in (LineStatus.ACTIVE, LineStatus.EXPIRED)
    return "" if is_chargeable else "line_not_active"


def _binding_problem(row: DueRule, *, rail: Capabilities | None) -> str:
    if row.binding_id is None:
        return "binding_missing"
    if row.binding_state != "active":
        return "binding_not_active"
    if row.binding_paused_at is not None:
        return "binding_paused"
    return "" if row.rail_enabled and rail is not None else "rail_disabled"


def _is_notice_missing(row: DueRule, *, at: datetime) -> bool:
    """A mandatory notice that could not be sent blocks the scheduled charge (rule 26)."""
    if not row.mandatory_notice_days or row.next_run_at is None or row.next_run_at > at:
        return False
    rule = Rule.objects.get(pk=row.id)
    return not reminders.mandatory_notice_sent(
        rule=rule, due_at=row.next_run_at, days=row.mandatory_notice_days
    )

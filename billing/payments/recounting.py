"""Caps count the day the money moves (rule 25): counted anew where that is not the day a recharge
was opened with, or where its owner may have changed a cap since.

In the transaction that commits the reference, under the locks that openings count under, in the one
order of docs/locking.md: rules, payment methods, owners' caps, and then the recharges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from billing import calendar, rowsets
from billing.casebook import Heard
from billing.gateways.base import Capabilities
from billing.models import Binding, Rule, SpendingCap
from billing.recharges import claims
from billing.recharges.claims import Work
from billing.recharges.machine import Move
from billing.rowsets import Column
from billing.rules import caps, obstacles
from billing.rules.caps import Counted
from billing.states import RechargeState
from lines import zones

S = RechargeState
# Opened and counted a moment ago, by what is agreed: nothing can be different.
JUST_NOW = timedelta(minutes=2)
_COLUMNS = (Column("id", "bigint"), Column("day", "date"), Column("month", "date"))


_TERMS = """
SELECT id, is_on, paused_at, paused_until, binding_id, fallback_binding_id, face_minor, cycle,
       anchor_date, threshold_minor, topup_mode, target_minor, expiry_days_before,
       max_per_charge_minor
FROM billing_rule WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE"""


class Terms(NamedTuple):
    """One row of `_TERMS`: what an owner has agreed to, and whether it is to be charged at all."""

    id: int
    is_on: bool
    paused_at: datetime | None
    paused_until: datetime | None
    binding_id: int | None
    fallback_binding_id: int | None
    face_minor: int
    cycle: str
    anchor_date: date | None
    threshold_minor: int | None
    topup_mode: str
    target_minor: int | None
    expiry_days_before: int | None
    max_per_charge_minor: int


# As a claimed row names them.
_NAMED = {
    "id": "rule_id",
    "is_on": "rule_is_on",
    "paused_at": "rule_paused_at",
    "paused_until": "rule_paused_until",
    "binding_id": "rule_binding_id",
    "fallback_binding_id": "rule_fallback_id",
    "face_minor": "rule_face_minor",
}


@dataclass(frozen=True, slots=True)
class Full:
    """A recharge that is not charged now: what becomes of it, and the figures of a cap that left
    no room for it, where that is why."""

    row: Work
    move: Move
    figures: Mapping[str, int | str]
    room_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Limits:
    rules: Mapping[int, tuple[int, int]]  # by line: charges a day, minor units a month
    bindings: Mapping[int, int | None]
    owners: Mapping[tuple[int, str], int | None]


def with_room(
    rows: Sequence[Work],
    *,
    at: datetime,
    rails: Mapping[str, Capabilities],
    when: Callable[[Work], datetime],
) -> tuple[list[Work], list[Full]]:
    """The rows that the caps of the day their money moves have room for, and the others.

    `when`: that instant. In the caller's transaction. What is agreed anew since the claim is given
    back, and judged by that at once.
    """
    rows = _still_agreed(rows, at=at)
    days = {row.id: _day(row, when(row)) for row in rows}
    stale = [row for row in rows if _is_stale(row, days[row.id], at=at)]
    if not stale:
        return list(rows), []
    spaced = [row for row in rows if rails[row.rail].min_interval]
    limits = _locked(stale, binding_ids={row.binding_id for row in (*stale, *spaced)})
    full = _count(stale, days, limits)
    ids = {one.row.id for one in full}
    return [row for row in rows if row.id not in ids], full


def _still_agreed(rows: Sequence[Work], *, at: datetime) -> list[Work]:
    """Those whose rules are as they were when they were claimed, and stay so until the caller's
    commit (rule 23): a reference is committed for nothing else."""
    ids = sorted({row.rule_id for row in rows if row.rule_id is not None})
    now = {one.id: one for one in rowsets.read(_TERMS, [ids], into=Terms)} if ids else {}
    going = []
    for row in rows:
        if row.rule_id is None or now.get(row.rule_id) == _claimed_under(row):
            going.append(row)
        else:
            claims.release(row, act_at=at, at=at)
    return going


def _claimed_under(row: Work) -> Terms:
    return Terms._make(getattr(row, _NAMED.get(name, name)) for name in Terms._fields)


def _day(row: Work, moves_at: datetime) -> date:
    """Where nobody knows the line's zone, it stays as it was counted."""
    is_known = zones.is_zone(row.timezone)
    return calendar.day_key(moves_at, row.timezone) if is_known else row.cap_day


def _is_stale(row: Work, day: date, *, at: datetime) -> bool:
    return day != row.cap_day or row.is_agreed_anew or at - row.created_at > JUST_NOW


def _locked(rows: Sequence[Work], *, binding_ids: set[int]) -> _Limits:
    rules = Rule.objects.select_for_update(no_key=True).filter(
        line__in=[row.line_id for row in rows], is_on=True
    )
    limits = {
        one.line_id: (one.max_per_day_count, one.max_per_month_minor)
        for one in rules.order_by("pk")
    }
    tools = Binding.objects.select_for_update(no_key=True).filter(pk__in=binding_ids)
    owners = SpendingCap.objects.select_for_update(no_key=True).filter(
        owner__in=[row.owner_id for row in rows]
    )
    return _Limits(
        limits,
        {one.pk: one.max_per_month_minor for one in tools.order_by("pk")},
        {(one.owner_id, one.currency): one.max_per_month_minor for one in owners.order_by("pk")},
    )


def _count(rows: Sequence[Work], days: Mapping[int, date], limits: _Limits) -> list[Full]:
    """Count each where its money moves; those that find no room keep the day they had."""
    by = {row.id: _counted(row, days[row.id]) for row in rows}
    tally = caps.tally(
        line_ids=[row.line_id for row in rows],
        capped_binding_ids=[row.binding_id for row in rows],
        capped_owner_ids=[row.owner_id for row in rows],
        months=sorted({one.month for one in by.values()}),
        but_ids=[row.id for row in rows],
    )
    full, moved = [], []
    for row in rows:
        reached = _reached(row, by[row.id], tally, limits)
        if reached:
            code, figures = reached
            full.append(Full(row, _set_aside(row, code, by[row.id].day), figures))
        else:
            tally.add(by[row.id], minor=row.price_minor)
            moved.append((row.id, by[row.id].day, by[row.id].month))
    rowsets.update(
        "billing_recharge",
        _COLUMNS,
        moved,
        assign="cap_day = v.day, cap_month = v.month",
        where="t.id = v.id AND t.cap_day <> v.day",
    )
    return full


def _counted(row: Work, day: date) -> Counted:
    month = day.replace(day=1)
    return Counted(row.line_id, row.binding_id, row.owner_id, row.currency, day, month)


def _reached(
    row: Work, by: Counted, tally: caps.Tally, limits: _Limits
) -> tuple[str, dict[str, int]] | None:
    day_count, month_minor = limits.rules.get(row.line_id, (None, None))
    return obstacles.cap_reached(
        amount_minor=row.price_minor,
        spent=tally.spent(by),
        day_count=day_count,
        line_month_minor=month_minor,
        binding_month_minor=limits.bindings.get(row.binding_id),
        owner_month_minor=limits.owners.get((row.owner_id, row.currency)),
    )


def _set_aside(row: Work, code: str, day: date) -> Move:
    """Until there is room again, where that is inside its window; else it is over."""
    following = day + timedelta(days=1)
    if code != "cap_day":
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    room_at = calendar.local_instant(day=following, at_time=time.min, timezone=row.timezone)
    if room_at <= row.charge_until and row.latest_charge_at is None:
        return row.move(S.WAITING, code, room_at, heard=Heard.NOTHING)
    return row.move(S.CANCELED, code, None)

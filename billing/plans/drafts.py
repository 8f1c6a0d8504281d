"""A rule as its owner writes it, before it is agreed to, and the calendar it would have."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from billing import calendar
from billing.calendar import Cycle, Schedule
from billing.gateways.base import Capabilities
from billing.models import Binding, Rule, TopUpMode
from billing.rules import gathering
from lines.models import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All that an owner chooses. Amounts are minor units of the line's currency."""

    line: Line
    binding: Binding | None
    face_minor: int
    max_per_charge_minor: int
    max_per_month_minor: int
    fallback_binding: Binding | None = None
    cycle: str = Cycle.NONE.value
    anchor_date: date | None = None
    charge_time: time = time(9)
    threshold_minor: int | None = None
    topup_mode: str = TopUpMode.BY.value
    target_minor: int | None = None
    expiry_days_before: int | None = None
    max_per_day_count: int = 1
    remind_low_balance: bool = True
    remind_days_before: tuple[int, ...] = (5, 2)
    remind_result: bool = True
    channels: tuple[str, ...] = ("inbox",)

    @property
    def has_schedule(self) -> bool:
        return self.cycle != Cycle.NONE and self.anchor_date is not None

    @property
    def is_schedule_only(self) -> bool:
        return self.threshold_minor is None and self.expiry_days_before is None


def of(rule: Rule) -> Draft:
    """The draft that would give `rule` as it stands."""
    return Draft(
        line=rule.line,
        binding=rule.binding,
        face_minor=rule.face_minor,
        max_per_charge_minor=rule.max_per_charge_minor,
        max_per_month_minor=rule.max_per_month_minor,
        fallback_binding=rule.fallback_binding,
        cycle=rule.cycle,
        anchor_date=rule.anchor_date,
        charge_time=rule.charge_time,
        threshold_minor=rule.threshold_minor,
        topup_mode=rule.topup_mode,
        target_minor=rule.target_minor,
        expiry_days_before=rule.expiry_days_before,
        max_per_day_count=rule.max_per_day_count,
        remind_low_balance=rule.remind_low_balance,
        remind_days_before=tuple(rule.remind_days_before),
        remind_result=rule.remind_result,
        channels=tuple(rule.channels),
    )


def rail_as_used(draft: Draft, capabilities: Capabilities) -> Capabilities:
    """Its rail with the notice that the carrier's market wants before each charge."""
    return gathering.told_first(capabilities, notice_h=draft.line.carrier.notice_before_deduction_h)


def lead_of(draft: Draft, capabilities: Capabilities) -> timedelta:
    """How long before its money moves a charge of it must be begun."""
    return rail_as_used(draft, capabilities).lead


def schedule_of(draft: Draft, *, capabilities: Capabilities | None) -> Schedule | None:
    """Its calendar inside the rail's hours; None where it has none."""
    return gathering.schedule_of(draft, timezone=draft.line.timezone, rail=capabilities)


def first_index(schedule: Schedule, *, rule: Rule | None, at: datetime) -> int:
    """The first occurrence that a plan agreed to at `at` would charge.

    On the calendar that was agreed to before, an occurrence that has had its turn has no second
    one, and a running rule keeps its place: an edited amount never moves the calendar.
    """
    following = calendar.index_after(schedule, after=at)
    if rule is None or not keeps_calendar(schedule, rule=rule):
        return following
    return rule.next_index if rule.is_on else max(following, rule.next_index)


def keeps_calendar(schedule: Schedule, *, rule: Rule) -> bool:
    """Whether the days are those its owner has agreed to before."""
    if rule.consent is None:
        return False
    plan = rule.consent.plan
    return (plan.get("anchor_date"), plan.get("cycle")) == (
        schedule.anchor.isoformat(),
        schedule.cycle.value,
    )


def standing_rule(line: Line) -> Rule | None:
    """The rule the line has now, on or off."""
    return Rule.objects.filter(line=line).select_related("consent").first()

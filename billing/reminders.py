"""Reminders before a scheduled charge: whether one is due for a rule, and when the next will be.

Pure, from a rule with its line, its payment method and that one's rail at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from billing import calendar, wakes
from billing.calendar import Cycle, Schedule
from billing.models import Rule


@dataclass(frozen=True, slots=True)
class Reminder:
    """A charge to remind of. `days` is the setting that called for it, `days_left` the truth."""

    days: int
    days_left: int
    period_key: str
    due_at: datetime


def days_before(rule: Rule) -> list[int]:
    """The owner's choice, and the days the rail demands where it demands a notice."""
    mandatory = rule.binding.rail.mandatory_notice_days if rule.binding else 0
    return sorted({*rule.remind_days_before, mandatory} - {0})


def due(rule: Rule, *, at: datetime) -> Reminder | None:
    """The reminder that has come; None where none has, or where nothing will be charged."""
    run_at = rule.next_run_at
    if run_at is None or not _will_charge(rule, run_at):
        return None
    days = wakes.due_notice(
        next_run_at=run_at,
        remind_days_before=days_before(rule),
        at=at,
        timezone=rule.line.timezone,
    )
    if days is None:
        return None
    zone = ZoneInfo(rule.line.timezone)
    left = run_at.astimezone(zone).date() - at.astimezone(zone).date()
    return Reminder(days, left.days, period_key(rule), run_at)


def period_key(rule: Rule) -> str:
    """The identity of the next scheduled occurrence; the rail's hours have no part in it."""
    return calendar.occurrence(_schedule(rule), rule.next_index).period_key


def next_at(rule: Rule, *, at: datetime) -> datetime | None:
    """When to look at `rule` again for a reminder: for the next charge, or one of those after it.

    So the row need not be touched when a charge has run.
    """
    if not rule.is_on or rule.next_run_at is None:
        return None
    for run_at in _runs(rule):
        instant = wakes.next_notice(
            next_run_at=run_at,
            remind_days_before=days_before(rule),
            at=at,
            timezone=rule.line.timezone,
        )
        if instant is not None:
            return instant
    return None


def _will_charge(rule: Rule, run_at: datetime) -> bool:
    is_running = rule.is_on and rule.paused_at is None and not _is_paused_at(rule, run_at)
    is_payable = rule.binding is not None and rule.binding.is_usable
    return is_running and is_payable and rule.skip_index != rule.next_index


def _is_paused_at(rule: Rule, run_at: datetime) -> bool:
    return rule.paused_until is not None and run_at < rule.paused_until


def _runs(rule: Rule) -> Iterator[datetime]:
    """The next charges that are neither skipped nor paused: enough to find a reminder ahead."""
    schedule, first = _schedule(rule), rule.next_index
    if rule.paused_until is not None:
        first = max(first, calendar.index_after(schedule, after=rule.paused_until))
    for index in range(first, first + 3):
        if index == rule.skip_index:
            continue
        # The row's instant is inside the rail's hours; the calendar's is near enough to remind by.
        stored = rule.next_run_at if index == rule.next_index else None
        yield stored or calendar.occurrence(schedule, index).due_at


def _schedule(rule: Rule) -> Schedule:
    """Raises ValueError for a rule without a schedule, which has no `next_run_at` either."""
    if rule.anchor_date is None:
        raise ValueError(f"rule {rule.pk} has no schedule")
    return Schedule(
        anchor=rule.anchor_date,
        cycle=Cycle(rule.cycle),
        charge_time=rule.charge_time,
        timezone=rule.line.timezone,
    )

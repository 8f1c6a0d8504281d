"""When a rule must next be looked at, and when its owner must next be told. Pure.

A rule's `wake_at` and `notify_at` are stored, so that due work is found by an index and costs what
is due, not how many rules there are.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from billing import calendar

# Nobody is woken by a reminder. One that falls outside moves back, so it is never too late.
_MORNING = time(8)
_EVENING = time(20)


def next_wake(
    *,
    next_run_at: datetime | None,
    valid_until: datetime | None,
    expiry_days_before: int | None,
    expiry_fired_for: date | None,
    timezone: str,
    paused_until: datetime | None,
    at: datetime,
    lead: timedelta = timedelta(0),
) -> datetime | None:
    """The next instant at which a rule could have something to do by itself; None: never.

    `lead`: how long before money moves its rail must be set to work. At or before `at` means now.
    While its owner pauses it, that is its next scheduled charge (to say why it is not made) or the
    pause's end; an expiry waits for that end.
    """
    starts_at = next_run_at - lead if next_run_at is not None else None
    if paused_until is not None and paused_until > at:
        return min(paused_until, starts_at or paused_until)
    expiry_at = expiry_due_at(
        valid_until=valid_until,
        expiry_days_before=expiry_days_before,
        expiry_fired_for=expiry_fired_for,
        timezone=timezone,
    )
    return _first([starts_at, expiry_at - lead if expiry_at is not None else None])


def expiry_due_at(
    *,
    valid_until: datetime | None,
    expiry_days_before: int | None,
    expiry_fired_for: date | None,
    timezone: str,
) -> datetime | None:
    """When the line's present validity calls for a recharge; None: it does not, or no longer."""
    if valid_until is None or expiry_days_before is None:
        return None
    if valid_until.astimezone(ZoneInfo(timezone)).date() == expiry_fired_for:
        return None
    return valid_until - timedelta(days=expiry_days_before)


def reminder_at(*, run_at: datetime, days: int, timezone: str) -> datetime:
    """When to remind of a charge at `run_at`: at that time of day, `days` local days before.

    A time between 20:00 and 08:00 moves back to 20:00, so the notice is never shorter.
    """
    local = run_at.astimezone(ZoneInfo(timezone))
    day, at_time = local.date() - timedelta(days=days), local.time()
    if at_time < _MORNING:
        day, at_time = day - timedelta(days=1), _EVENING
    return calendar.local_instant(day=day, at_time=min(at_time, _EVENING), timezone=timezone)


def next_notice(
    *,
    next_run_at: datetime | None,
    remind_days_before: Sequence[int],
    at: datetime,
    timezone: str,
) -> datetime | None:
    """The first instant after `at` at which to remind of the charge at `next_run_at`; or None."""
    if next_run_at is None:
        return None
    instants = [
        reminder_at(run_at=next_run_at, days=days, timezone=timezone) for days in remind_days_before
    ]
    return _first(instant for instant in instants if instant > at)


def due_notice(
    *,
    next_run_at: datetime | None,
    remind_days_before: Sequence[int],
    at: datetime,
    timezone: str,
) -> int | None:
    """Of the reminders that have come, the last one, by its days; None: none, or the charge has.

    Several that were slept through are one reminder.
    """
    if next_run_at is None or next_run_at <= at:
        return None
    come = [
        days
        for days in remind_days_before
        if reminder_at(run_at=next_run_at, days=days, timezone=timezone) <= at
    ]
    return min(come, default=None)


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)

"""When a rule must next be looked at. Pure.

A rule's `wake_at` is stored, so that due work is found by an index and costs what is due, not how
many rules there are.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from billing import calendar
from lines import zones


def next_wake(
    *,
    next_run_at: datetime | None,
    valid_until: datetime | None,
    expiry_days_before: int | None,
    expiry_fired_for: date | None,
    timezone: str,
    paused_until: datetime | None,
    at: datetime,
    expiry_tried_on: date | None = None,
    lead: timedelta = timedelta(0),
    also: Iterable[datetime | None] = (),
) -> datetime | None:
    """The next instant at which a rule could have something to do by itself; None: never.

    `lead`: how long before money moves its rail must be set to work. `also`: what only a decision
    knows of. At or before `at` means now. While its owner pauses it, that is its next scheduled
    charge (to say why it is not made) or the pause's end; an expiry waits for that end.
    """
    starts_at = next_run_at - lead if next_run_at is not None else None
    if paused_until is not None and paused_until > at:
        return _first([paused_until, starts_at, *also])
    expiry_at = expiry_wake(
        valid_until=valid_until,
        expiry_days_before=expiry_days_before,
        expiry_fired_for=expiry_fired_for,
        expiry_tried_on=expiry_tried_on,
        timezone=timezone,
        lead=lead,
    )
    return _first([starts_at, expiry_at, *also])


def expiry_wake(
    *,
    valid_until: datetime | None,
    expiry_days_before: int | None,
    expiry_fired_for: date | None,
    timezone: str,
    lead: timedelta,
    expiry_tried_on: date | None = None,
) -> datetime | None:
    """When the line's present validity calls for a recharge; None: it does not, or no longer.

    One a day at most: what was tried and came to nothing is tried again from the next day on.
    """
    if valid_until is None or expiry_days_before is None:
        return None
    if expiry_fired_for == expiry_date(valid_until, timezone):
        return None
    fires_at = valid_until - timedelta(days=expiry_days_before) - lead
    if expiry_tried_on is None:
        return fires_at
    following = expiry_tried_on + timedelta(days=1)
    return max(fires_at, calendar.midnight(following, timezone))


def expiry_date(valid_until: datetime, timezone: str) -> date:
    """The line's local date on which its validity ends: the identity of an expiry."""
    return valid_until.astimezone(zones.zone_of(timezone)).date()


def expiry_key(ends_on: date, *, again_on: date | None) -> str:
    """The period of a recharge for a validity; a further try, on another day, has its own."""
    return f"{ends_on}:{again_on}" if again_on else f"{ends_on}"


def expiry_of(period_key: str) -> date:
    """The end of the validity that `expiry_key` named."""
    return date.fromisoformat(period_key.split(":", 1)[0])


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)

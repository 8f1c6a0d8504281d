"""The calendar of a rule: which local dates it falls on, and at which instants it may charge.

Pure: no clock, no database. Occurrence k is always counted from the anchor, never from the one
before, so 31 January comes back to the 31st in March. Its identity is its index and local date,
so no change of a zone's offset can make two of one. The law: docs/rules.md, rules 1 to 6.

Dates are the line's own; instants are aware and in UTC.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import islice
from zoneinfo import ZoneInfo

from lines import zones

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
# A charge needs time to run. One begun at 23:59 would be counted in the next day's or month's cap.
_MARGIN = timedelta(minutes=30)


class Cycle(StrEnum):
    """How often a schedule falls due. NONE: never, the rule has other triggers only."""

    NONE = "none"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"

    @property
    def months(self) -> int:
        return _MONTHS[self]


_MONTHS = {Cycle.NONE: 0, Cycle.MONTHLY: 1, Cycle.QUARTERLY: 3, Cycle.YEARLY: 12}


@dataclass(frozen=True, slots=True)
class Hours:
    """When a rail takes charges each day: `opens` included, `closes` excluded, in its own zone.

    `closes` at or before `opens` means the next day. Nothing is planned in the last `margin`.
    """

    opens: time
    closes: time
    timezone: str
    margin: timedelta = _MARGIN

    def __post_init__(self) -> None:
        length = (_since_midnight(self.closes) - _since_midnight(self.opens)) % _DAY or _DAY
        if not timedelta(0) < self.margin < length:
            raise ValueError("The margin must be positive and shorter than the hours.")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is due when. `hours` are the rail's, or None where it charges at any time."""

    anchor: date
    cycle: Cycle
    charge_time: time
    timezone: str  # the line's
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One due date. `adjusted` says why it is not simply the anchor's day at the charge time:

    "month_end": the month is too short; "hours": the rail's hours, or the margin before midnight,
    moved the instant within the date; "" neither. Where both apply the date's reason is given.
    """

    index: int
    local_date: date
    due_at: datetime
    adjusted: str = ""

    @property
    def period_key(self) -> str:
        return f"{self.index}:{self.local_date.isoformat()}"


@dataclass(frozen=True, slots=True)
class Due:
    """What to do with occurrences that have come: `run` one, record `missed`, wait for the next."""

    run: Occurrence | None
    missed: tuple[Occurrence, ...]  # oldest first, and never `run`
    next_index: int


def occurrence_date(*, anchor: date, cycle: Cycle, index: int) -> date:
    """The local date of occurrence `index` (0 is the anchor), clamped to its month's end."""
    if index < 0 or (index and cycle is Cycle.NONE):
        raise ValueError(f"A {cycle} schedule has no occurrence {index}.")
    years, month0 = divmod(anchor.month - 1 + index * cycle.months, 12)
    year, month = anchor.year + years, month0 + 1
    return date(year, month, min(anchor.day, calendar.monthrange(year, month)[1]))


def local_instant(*, day: date, at_time: time, timezone: str) -> datetime:
    """The UTC instant of a wall clock's reading.

    Read twice (the clock goes back): the first of the two. Never read (it goes forward): the
    first instant after the gap.
    """
    wall = datetime.combine(day, at_time.replace(tzinfo=None, fold=0))
    zone = zones.zone_of(timezone)
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # In a gap, fold=0 reads the wall by the offset before it and fold=1 by the one after, so the
    # change itself lies between the two.
    return _change_between(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)


def midnight(day: date, timezone: str) -> datetime:
    """The UTC instant at which `day` begins there."""
    return local_instant(day=day, at_time=time.min, timezone=timezone)


def occurrence(schedule: Schedule, index: int) -> Occurrence:
    """Occurrence `index` of `schedule`, always the same. Raises ValueError if there is none."""
    local_date = occurrence_date(anchor=schedule.anchor, cycle=schedule.cycle, index=index)
    wanted = local_instant(day=local_date, at_time=schedule.charge_time, timezone=schedule.timezone)
    due_at = _place(schedule, local_date, wanted)
    adjusted = "hours" if due_at != wanted else ""
    if local_date.day != schedule.anchor.day:
        adjusted = "month_end"
    return Occurrence(index=index, local_date=local_date, due_at=due_at, adjusted=adjusted)


def next_occurrences(
    schedule: Schedule, *, after: datetime, count: int, starts_at: date | None = None
) -> list[Occurrence]:
    """The `count` occurrences due strictly after `after`, none dated before `starts_at`."""
    if schedule.cycle is Cycle.NONE:
        return []
    index = index_after(schedule, after=after)
    if starts_at is not None:
        index = max(index, _index_from(schedule, starts_at))
    return list(islice(_occurrences_from(schedule, index), count))


def index_after(schedule: Schedule, *, after: datetime) -> int:
    """The index of the first occurrence due strictly after `after`; no scan from the anchor.

    Raises ValueError for a schedule without a cycle.
    """
    # A due instant strays from its local date by no more than a day, so the first date from the
    # day before is at most a few occurrences early.
    day = after.astimezone(zones.zone_of(schedule.timezone)).date() - _DAY
    first = _index_from(schedule, day)
    return next(o.index for o in _occurrences_from(schedule, first) if o.due_at > after)


def due_and_next(schedule: Schedule, *, index: int, at: datetime, grace: timedelta) -> Due:
    """What is due at `at`, when `index` is the first occurrence not dealt with yet.

    Of several that were slept through only the latest may still run, and only while the rail's
    next open hour is within `grace` of it; the others are missed. May be called again: it changes
    nothing.
    """
    if schedule.cycle is Cycle.NONE:
        return Due(run=None, missed=(), next_index=index)
    next_index = max(index, index_after(schedule, after=at))
    come = tuple(occurrence(schedule, k) for k in range(index, next_index))
    if come and next_open(hours=schedule.hours, at=at) - come[-1].due_at <= grace:
        return Due(run=come[-1], missed=come[:-1], next_index=next_index)
    return Due(run=None, missed=come, next_index=next_index)


def next_open(*, hours: Hours | None, at: datetime) -> datetime:
    """The first instant from `at` on at which the rail takes a charge: `at` itself when it is open.

    For running, not for planning: the margin is there to be used up by a late start.
    """
    if hours is None:
        return at.astimezone(UTC)
    day = at.astimezone(zones.zone_of(hours.timezone)).date()
    windows = (_window(hours, day + offset * _DAY) for offset in (-1, 0, 1))
    return next(max(at.astimezone(UTC), opens) for opens, closes in windows if at < closes)


def unsupported_day(*, anchor: date, cycle: Cycle, last_day_of_month: int) -> bool:
    """Whether the calendar has days past the last one a rail can do (28: no 29th, 30th, 31st)."""
    return cycle is not Cycle.NONE and anchor.day > last_day_of_month


def alternatives(anchor: date) -> tuple[date, date]:
    """What to offer for a day a rail cannot do: that month's 28th, and the next month's 1st."""
    first_of_next = occurrence_date(anchor=anchor.replace(day=1), cycle=Cycle.MONTHLY, index=1)
    return anchor.replace(day=28), first_of_next


def month_key(at: datetime, timezone: str) -> date:
    """The first day of the local month `at` falls in: what a monthly cap counts by."""
    return day_key(at, timezone).replace(day=1)


def day_key(at: datetime, timezone: str) -> date:
    """The local date of `at`: what a daily cap counts by."""
    return at.astimezone(zones.zone_of(timezone)).date()


def _since_midnight(at_time: time) -> timedelta:
    return datetime.combine(date.min, at_time) - datetime.combine(date.min, time())


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant in (before, after] at which the zone's offset changes, found by halving."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, (after - before) // _SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * _SECOND).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + high * _SECOND


def _window(hours: Hours, day: date) -> tuple[datetime, datetime]:
    """When the window that opens on `day`, in the rail's zone, opens and closes."""
    closing_day = day if hours.closes > hours.opens else day + _DAY
    return (
        local_instant(day=day, at_time=hours.opens, timezone=hours.timezone),
        local_instant(day=closing_day, at_time=hours.closes, timezone=hours.timezone),
    )


def _place(schedule: Schedule, local_date: date, wanted: datetime) -> datetime:
    """The allowed instant of `local_date` for `wanted`: the next one, else the last of the date.

    Forward first, but never past the date: "charged on the 31st" must not become the 1st.
    """
    allowed = _allowed(schedule, local_date)
    for first, last in allowed:
        if wanted <= last:
            return max(wanted, first)
    if allowed:
        return allowed[-1][1]
    # Nothing of the date is left: hours of minutes around its midnight, or a date its zone skips.
    return next_open(hours=schedule.hours, at=wanted)


def _allowed(schedule: Schedule, local_date: date) -> list[tuple[datetime, datetime]]:
    """The spans of `local_date` in which a charge may be planned: first and last instant of each.

    A span ends a margin before midnight as the zone really has it, clock changes included.
    """
    hours, timezone = schedule.hours, schedule.timezone
    midnight = time()
    begins = local_instant(day=local_date, at_time=midnight, timezone=timezone)
    ends = local_instant(day=local_date + _DAY, at_time=midnight, timezone=timezone)
    last = ends - (hours.margin if hours else _MARGIN)
    if hours is None:
        return [(begins, last)] if begins <= last else []
    # Elsewhere the date touches two others, and a window of the night before may reach into it.
    opening_day = begins.astimezone(zones.zone_of(hours.timezone)).date()
    windows = (_window(hours, opening_day + offset * _DAY) for offset in (-1, 0, 1))
    spans = [(max(opens, begins), min(closes - hours.margin, last)) for opens, closes in windows]
    return [(opens, closes) for opens, closes in spans if opens <= closes]


def _index_from(schedule: Schedule, day: date) -> int:
    """The first index dated `day` or later."""
    months = schedule.cycle.months
    if not months:
        raise ValueError("A schedule without a cycle has no occurrences.")
    anchor = schedule.anchor
    elapsed = (day.year - anchor.year) * 12 + day.month - anchor.month
    index = max(0, elapsed // months)
    is_before = occurrence_date(anchor=anchor, cycle=schedule.cycle, index=index) < day
    return index + 1 if is_before else index


def _occurrences_from(schedule: Schedule, index: int) -> Iterator[Occurrence]:
    while True:
        yield occurrence(schedule, index)
        index += 1

"""How fast a line uses its balance, and when it will run out at that pace.

The method. Readings are put in order, and each step between two of them is either a use (the
balance fell) or a top-up (it rose). The time of a top-up's step is left out whole: what was used
within it cannot be told from the credit. The pace is what was used, divided by the time it took,
over the last four weeks, where each week counts half of the one after it. From the last reading
the pace runs on in a straight line.

Pure integers: minor units and microseconds. Balances may be negative. One line, one currency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_WEEKS_COUNTED = 4  # long enough to see a month's habits, short enough to forget the last ones
LOOKS_BACK = _WEEKS_COUNTED * _WEEK
_SHORTEST = timedelta(hours=1)  # a pace by the day, read off minutes, is noise
_GOOD_SPAN = timedelta(days=3)
_GOOD_READINGS = 4
_FRESH = timedelta(days=2)
_HORIZON = timedelta(days=2 * 365)  # past it a date would only pretend to know


class Confidence(StrEnum):
    """NONE: no forecast can be made. LOW: show it as a guess. GOOD: three days, fresh readings."""

    NONE = "none"
    LOW = "low"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Reading:
    """A balance in minor units, as the carrier gave it at `observed_at` (aware)."""

    observed_at: datetime
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will happen at today's pace. Instants are never before the `at` it was made for.

    `reaches_at`: when the balance is down to the floor asked for; `runs_out_at`: down to zero.
    None: not within two years, or there is nothing to go by (`confidence` NONE).
    """

    per_day_minor: int
    runs_out_at: datetime | None
    reaches_at: datetime | None
    confidence: Confidence
    readings_used: int

    def used_in_minor(self, duration: timedelta) -> int:
        """What is used in `duration` at this pace, rounded up. Minor units."""
        return -(-self.per_day_minor * (duration // _TICK) // (_DAY // _TICK))


@dataclass(frozen=True, slots=True)
class Points:
    """A chart's two lines: what was read, and where it leads (dotted; empty without a pace)."""

    past: tuple[Reading, ...]
    ahead: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class _Pace:
    """`used` minor units in `ticks` microseconds, both weighted alike; `span` is unweighted."""

    used: int
    ticks: int
    span: timedelta

    def ticks_for(self, amount_minor: int) -> int | None:
        return amount_minor * self.ticks // self.used if self.used else None

    def used_in(self, duration: timedelta) -> int:
        return self.used * (duration // _TICK) // self.ticks


def forecast(readings: Sequence[Reading], *, at: datetime, floor_minor: int = 0) -> Forecast:
    """The forecast at `at` for `readings` in any order; those after `at` are not looked at."""
    known = _in_order(readings, at=at)
    pace = _pace(known, at=at)
    if pace.span < _SHORTEST:
        return Forecast(0, None, None, Confidence.NONE, len(known))
    last = known[-1]
    return Forecast(
        per_day_minor=(2 * pace.used * (_DAY // _TICK) + pace.ticks) // (2 * pace.ticks),
        runs_out_at=_falls_to(0, last=last, pace=pace, at=at),
        reaches_at=_falls_to(floor_minor, last=last, pace=pace, at=at),
        confidence=_confidence(known, pace=pace, at=at),
        readings_used=len(known),
    )


def points(readings: Sequence[Reading], *, at: datetime, ahead: timedelta) -> Points:
    """The chart at `at`: readings of the last four weeks, and the way down over `ahead`.

    The dotted line starts at the last reading and ends at zero or at `at` + `ahead`.
    """
    known = _in_order(readings, at=at)
    pace = _pace(known, at=at)
    if pace.span < _SHORTEST or known[-1].balance_minor <= 0:
        return Points(past=tuple(known), ahead=())
    last, end = known[-1], at + ahead
    ticks = pace.ticks_for(last.balance_minor)
    if ticks is not None and ticks < (end - last.observed_at) // _TICK:
        return Points(tuple(known), (last, Reading(last.observed_at + ticks * _TICK, 0)))
    left_minor = last.balance_minor - pace.used_in(end - last.observed_at)
    return Points(tuple(known), (last, Reading(end, left_minor)))


def _in_order(readings: Sequence[Reading], *, at: datetime) -> list[Reading]:
    """Readings of the weeks that count, oldest first; of two at one instant, the later given."""
    since = at - LOOKS_BACK
    by_instant = {r.observed_at: r for r in readings if since <= r.observed_at <= at}
    return sorted(by_instant.values(), key=lambda reading: reading.observed_at)


def _pace(known: Sequence[Reading], *, at: datetime) -> _Pace:
    used = ticks = 0
    span = timedelta(0)
    for weight, fall_minor, duration in _steps(known, at=at):
        used += weight * fall_minor
        ticks += weight * (duration // _TICK)
        span += duration
    return _Pace(used=used, ticks=ticks, span=span)


def _steps(known: Sequence[Reading], *, at: datetime) -> Iterator[tuple[int, int, timedelta]]:
    """The weight, the fall and the duration of each step that is not a top-up."""
    for earlier, later in pairwise(known):
        fall_minor = earlier.balance_minor - later.balance_minor
        if fall_minor < 0:
            continue
        weeks_old = min((at - later.observed_at) // _WEEK, _WEEKS_COUNTED - 1)
        yield (
            1 << (_WEEKS_COUNTED - 1 - weeks_old),
            fall_minor,
            later.observed_at - earlier.observed_at,
        )


def _falls_to(floor_minor: int, *, last: Reading, pace: _Pace, at: datetime) -> datetime | None:
    above_minor = last.balance_minor - floor_minor
    if above_minor <= 0:
        return at
    ticks = pace.ticks_for(above_minor)
    if ticks is None or ticks > _HORIZON // _TICK:
        return None
    # A last reading that is old may put the instant in the past: then it is due now.
    return max(at, last.observed_at + ticks * _TICK)


def _confidence(known: Sequence[Reading], *, pace: _Pace, at: datetime) -> Confidence:
    is_good = (
        pace.span >= _GOOD_SPAN
        and len(known) >= _GOOD_READINGS
        and at - known[-1].observed_at <= _FRESH
    )
    return Confidence.GOOD if is_good else Confidence.LOW

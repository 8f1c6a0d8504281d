"""Schedules and instants for tests of the calendar, written short."""

from datetime import UTC, date, datetime, time

from billing import calendar
from billing.calendar import Cycle, Hours, Schedule
from lines import zones

WECHAT = Hours(opens=time(7), closes=time(22), timezone="Asia/Shanghai")
ZONES = sorted(zones.ZONES)


def schedule(
    anchor: date,
    cycle: Cycle = Cycle.MONTHLY,
    *,
    charge_time: time = time(9),
    timezone: str = "Asia/Shanghai",
    hours: Hours | None = None,
) -> Schedule:
    return Schedule(anchor, cycle, charge_time, timezone, hours)


def utc(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def dates(anchor: str, cycle: Cycle, count: int) -> list[str]:
    first = date.fromisoformat(anchor)
    return [
        calendar.occurrence_date(anchor=first, cycle=cycle, index=index).isoformat()
        for index in range(count)
    ]

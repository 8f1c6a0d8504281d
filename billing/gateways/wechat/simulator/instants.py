"""How WeChat Pay writes an instant, in each of its formats."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")


def dashed(at: datetime) -> str:
    """2026-11-22 08:30:00, as contracts, refunds and bills have it: Beijing, without saying so."""
    return f"{at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"


def packed(at: datetime) -> str:
    """20261122083000, as orders have it (`time_end`)."""
    return f"{at.astimezone(BEIJING):%Y%m%d%H%M%S}"


def rfc3339(at: datetime) -> str:
    """2026-11-22T08:30:00+08:00, as v3 has it."""
    return at.astimezone(BEIJING).isoformat(timespec="seconds")


def day(at: datetime) -> date:
    """The day in Beijing."""
    return at.astimezone(BEIJING).date()


def hour(at: datetime) -> int:
    """The full hour in Beijing."""
    return at.astimezone(BEIJING).hour

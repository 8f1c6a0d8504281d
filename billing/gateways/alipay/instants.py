"""Alipay's times: "yyyy-MM-dd HH:mm:ss" in Beijing, without saying so."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")
_FORMAT = "%Y-%m-%d %H:%M:%S"


def to_text(at: datetime) -> str:
    """An aware instant as Alipay writes it."""
    return at.astimezone(BEIJING).strftime(_FORMAT)


def from_text(text: object) -> datetime | None:
    """What Alipay wrote, in UTC; None for anything that is no such time (trades lack some)."""
    if not isinstance(text, str):
        return None
    try:
        local = datetime.strptime(text.strip()[:19], _FORMAT).replace(tzinfo=BEIJING)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def beijing_date(at: datetime) -> date:
    """The day it is in Beijing at `at`."""
    return at.astimezone(BEIJING).date()

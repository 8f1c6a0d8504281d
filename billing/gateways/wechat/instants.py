"""WeChat Pay's times: Beijing's, without saying so, in two spellings; v3 writes its offset."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")
# Orders write 20261122093000, contracts and refunds 2026-11-22 09:30:00.
_FORMATS = ("%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S")


def from_text(text: str) -> datetime | None:
    """What WeChat Pay wrote, in UTC; None for anything that is no such time."""
    for form in _FORMATS:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=BEIJING).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return _with_offset(text)


def _with_offset(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.strip())
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def beijing_date(at: datetime) -> date:
    """The day it is in Beijing at `at`."""
    return at.astimezone(BEIJING).date()


def in_beijing(day: date, hour: time) -> datetime:
    """An hour of a Beijing day, in UTC."""
    return datetime.combine(day, hour, BEIJING).astimezone(UTC)

"""How Alipay writes an instant."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")


def text(at: datetime) -> str:
    """As Alipay writes an instant: Beijing, without saying so."""
    return f"{at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"


def instant(written: str) -> datetime:
    """The other way round. Raises ValueError."""
    naive = datetime.strptime(written, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007
    return naive.replace(tzinfo=BEIJING).astimezone(UTC)


def day(at: datetime) -> date:
    """The day in Beijing."""
    return at.astimezone(BEIJING).date()

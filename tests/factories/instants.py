"""When it is, unless something else is said."""

from datetime import UTC, datetime, timedelta

from factory.declarations import LazyAttribute

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # midday in Shanghai
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# For rows whose factory takes `at`.
A_MONTH_AGO = LazyAttribute(lambda row: row.at - 30 * DAY)

"""Days that lie ahead whenever the tests are run, for tests that go by the real clock."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

_A_WEEK = timedelta(days=7)


def soon() -> datetime:
    """A whole second a month from now."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


def last_of(month: int) -> date:
    """The last day of the next such month, a week ahead at the least."""
    earliest = datetime.now(UTC).date() + _A_WEEK
    this_years = end_of(earliest.year, month)
    return this_years if this_years >= earliest else end_of(earliest.year + 1, month)


def end_of(year: int, month: int) -> date:
    """(2028, 2) -> 29 February 2028."""
    return date(year, month, monthrange(year, month)[1])

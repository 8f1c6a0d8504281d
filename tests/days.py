"""Days that lie ahead whenever the tests are run, for tests that go by the real clock."""

import time
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

_A_WEEK = timedelta(days=7)
_A_TEST_S = 60


def let_the_day_end() -> None:
    """Where it ends within a minute, in UTC or in Shanghai, wait until it has.

    A test that makes something today and asks for today's is about one day, not about two.
    """
    now = datetime.now(UTC)
    left_s = 3600 - now.minute * 60 - now.second
    if now.hour in (15, 23) and left_s <= _A_TEST_S:  # both days end on a full hour
        time.sleep(left_s)


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

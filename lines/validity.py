"""Until when a line is valid, as carriers write it. Pure.

A validity is optional beside a balance, so that what makes no sense here costs nothing there: it is
not said, and what was known stays. "Never" has many forms, and each is a value: no end.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum
from typing import Final


class Unsaid(Enum):
    """Nothing was said of it, or nothing that makes sense."""

    UNSAID = "unsaid"


UNSAID: Final = Unsaid.UNSAID
# None: it has no end.
Validity = datetime | None | Unsaid

# "Never" as a date is 9999-12-31 or its like. No card is sold for a century.
_FOREVER: Final = timedelta(days=36_525)
# Before there were prepaid cards: a zero that was written as a date.
_NOTHING_YEAR: Final = 1991


def believed(said: Validity, *, at: datetime) -> Validity:
    """What a line's validity is by what was said; unsaid where that makes no sense."""
    if isinstance(said, Unsaid):
        return said
    if said is None or is_never(said, at=at):
        return None
    return UNSAID if said.year < _NOTHING_YEAR else said


def is_never(said: datetime, *, at: datetime) -> bool:
    return said - at > _FOREVER


def parsed(value: object, *, zone: tzinfo) -> Validity:
    """A text in ISO 8601. A wall clock without its offset is one of `zone`, and a day lasts to its
    end there. Absent is no end; what is no date is unsaid."""
    if value is None:
        return None
    if not isinstance(value, str):
        return UNSAID
    try:
        return _instant(value.strip(), zone)
    except ValueError:
        return UNSAID
    except OverflowError:  # at the end of time in one zone, and past it in another
        return None if value.strip().startswith("9") else UNSAID


def _instant(text: str, zone: tzinfo) -> datetime:
    """Raises ValueError, OverflowError."""
    given = datetime.fromisoformat(text)
    is_day = "T" not in text.upper() and " " not in text
    if is_day:
        given = datetime.combine(date.fromisoformat(text), time.max.replace(microsecond=0))
    return (given if given.tzinfo else given.replace(tzinfo=zone)).astimezone(UTC)

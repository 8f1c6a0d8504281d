"""Until when a line is valid: every form of never, days without a zone, and what is no date."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from lines import validity
from lines.validity import UNSAID

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)


def test_is_read_in_every_form():
    forms = {
        "2026-12-31T23:59:59+08:00": datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC),
        "2026-12-31T15:59:59Z": datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC),
        "2026-12-31T10:00:00": datetime(2026, 12, 31, 2, tzinfo=UTC),
        "2026-12-31 10:00:00": datetime(2026, 12, 31, 2, tzinfo=UTC),
        "2026-12-31": datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC),
        " 2026-12-31 ": datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC),
        "9999-12-31": datetime(9999, 12, 31, 15, 59, 59, tzinfo=UTC),
        "9999-12-31T23:59:59-12:00": None,
        "0001-01-01T00:00:00+14:00": UNSAID,
        "yesterday": UNSAID,
        "": UNSAID,
        "2026-13-45": UNSAID,
        20261231: UNSAID,
        None: None,
    }
    assert {form: validity.parsed(form, zone=SHANGHAI) for form in forms} == forms


def test_is_believed_where_it_makes_sense():
    cases = {
        UNSAID: UNSAID,
        None: None,
        NOON + timedelta(days=90): NOON + timedelta(days=90),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC): None,
        datetime(2999, 1, 1, tzinfo=UTC): None,
        datetime(2099, 12, 31, tzinfo=UTC): datetime(2099, 12, 31, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC): UNSAID,
        datetime(1, 1, 1, tzinfo=UTC): UNSAID,
    }
    assert {said: validity.believed(said, at=NOON) for said in cases} == cases

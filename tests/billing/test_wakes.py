"""When a rule is looked at next, and when its owner is told."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from billing.notices import reminders
from billing.rules import wakes
from tests.billing.notices_world import RUN_AT
from tests.world import DAY, HOUR, NOON


def next_wake(**more):
    given: dict[str, Any] = {
        "next_run_at": None,
        "valid_until": None,
        "expiry_days_before": None,
        "expiry_fired_for": None,
        "timezone": "Asia/Shanghai",
        "paused_until": None,
        "at": NOON,
    }
    return wakes.next_wake(**(given | more))


class TestNextWake:
    EXPIRY = {"valid_until": NOON + 10 * DAY, "expiry_days_before": 3}

    def test_is_never_for_a_rule_that_only_waits_for_readings(self):
        assert next_wake() is None

    def test_is_the_earlier_of_schedule_and_expiry(self):
        assert next_wake(next_run_at=NOON + 8 * DAY, **self.EXPIRY) == NOON + 7 * DAY
        assert next_wake(next_run_at=NOON + 6 * DAY, **self.EXPIRY) == NOON + 6 * DAY

    def test_leaves_out_an_expiry_that_was_dealt_with(self):
        fired = {"expiry_fired_for": date(2026, 12, 2)}

        assert next_wake(**self.EXPIRY, **fired) is None
        assert next_wake(**self.EXPIRY, expiry_fired_for=date(2026, 12, 1)) == NOON + 7 * DAY

    def test_knows_an_expiry_by_its_local_date(self):
        late = {"valid_until": datetime(2026, 12, 1, 17, tzinfo=UTC), "expiry_days_before": 3}

        assert next_wake(**late, expiry_fired_for=date(2026, 12, 2)) is None
        assert next_wake(**late, expiry_fired_for=date(2026, 12, 2), timezone="UTC") is not None

    def test_is_now_or_earlier_for_what_is_due(self):
        assert next_wake(next_run_at=NOON - HOUR) == NOON - HOUR
        assert next_wake(valid_until=NOON + DAY, expiry_days_before=3) == NOON - 2 * DAY

    def test_of_a_paused_rule_is_its_schedule_or_the_end_of_the_pause(self):
        paused = {"paused_until": NOON + 5 * DAY}

        assert next_wake(**paused) == NOON + 5 * DAY
        assert next_wake(**paused, next_run_at=NOON + 2 * DAY) == NOON + 2 * DAY
        assert next_wake(**paused, next_run_at=NOON + 9 * DAY) == NOON + 5 * DAY
        assert next_wake(**paused, valid_until=NOON + DAY, expiry_days_before=3) == NOON + 5 * DAY

    def test_of_a_pause_that_is_over_is_as_if_there_were_none(self):
        assert next_wake(paused_until=NOON, next_run_at=NOON + DAY) == NOON + DAY


class TestNextNotice:
    def at(self, at: datetime, days=(5, 2), run_at=RUN_AT, timezone="Asia/Shanghai"):
        return reminders.next_notice(
            next_run_at=run_at, remind_days_before=days, at=at, timezone=timezone
        )

    def test_is_the_first_that_is_still_ahead(self):
        assert self.at(NOON) == RUN_AT - 5 * DAY
        assert self.at(RUN_AT - 5 * DAY) == RUN_AT - 2 * DAY
        assert self.at(RUN_AT - 2 * DAY) is None

    def test_is_none_without_a_charge_or_a_wish(self):
        assert self.at(NOON, run_at=None) is None
        assert self.at(NOON, days=()) is None

    @pytest.mark.parametrize(
        ("charge_hour", "told"),
        [
            (3, datetime(2026, 11, 29, 20, 0)),  # noqa: DTZ001 - the wall clock of the line
            (8, datetime(2026, 11, 30, 8, 0)),  # noqa: DTZ001
            (20, datetime(2026, 11, 30, 20, 0)),  # noqa: DTZ001
            (23, datetime(2026, 11, 30, 20, 0)),  # noqa: DTZ001
        ],
    )
    def test_wakes_nobody_and_is_never_too_late(self, charge_hour, told):
        run_at = datetime(2026, 12, 2, charge_hour, tzinfo=UTC)

        instant = reminders.reminder_at(run_at=run_at, days=2, timezone="UTC")

        assert instant.replace(tzinfo=None) == told

    def test_keeps_the_wall_clock_across_a_change_of_the_clocks(self):
        run_at = datetime(2026, 11, 2, 14, tzinfo=UTC)  # 09:00 in New York, after 1 November

        told = reminders.reminder_at(run_at=run_at, days=2, timezone="America/New_York")

        assert told == datetime(2026, 10, 31, 13, tzinfo=UTC)

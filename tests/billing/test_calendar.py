"""The calendar: exact dates and instants for the traps."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing import calendar
from billing.calendar import Cycle, Hours, Occurrence
from tests.billing.calendar_world import WECHAT, dates, schedule, utc


class TestOccurrenceDate:
    def test_the_31st_comes_back_after_every_short_month(self):
        assert dates("2027-01-31", Cycle.MONTHLY, 14) == [
            "2027-01-31",
            "2027-02-28",
            "2027-03-31",
            "2027-04-30",
            "2027-05-31",
            "2027-06-30",
            "2027-07-31",
            "2027-08-31",
            "2027-09-30",
            "2027-10-31",
            "2027-11-30",
            "2027-12-31",
            "2028-01-31",
            "2028-02-29",
        ]

    def test_29_february_yearly_is_the_28th_until_the_next_leap_year(self):
        assert dates("2024-02-29", Cycle.YEARLY, 6) == [
            "2024-02-29",
            "2025-02-28",
            "2026-02-28",
            "2027-02-28",
            "2028-02-29",
            "2029-02-28",
        ]

    def test_29_february_yearly_knows_that_2100_has_none(self):
        assert dates("2096-02-29", Cycle.YEARLY, 9)[3:] == [
            "2099-02-28",
            "2100-02-28",
            "2101-02-28",
            "2102-02-28",
            "2103-02-28",
            "2104-02-29",
        ]

    def test_quarterly_from_30_november_is_short_in_february_only(self):
        assert dates("2026-11-30", Cycle.QUARTERLY, 6) == [
            "2026-11-30",
            "2027-02-28",
            "2027-05-30",
            "2027-08-30",
            "2027-11-30",
            "2028-02-29",
        ]

    def test_the_year_turns_with_december(self):
        assert dates("2026-12-01", Cycle.MONTHLY, 2) == ["2026-12-01", "2027-01-01"]

    @pytest.mark.parametrize(
        ("cycle", "index"), [(Cycle.MONTHLY, -1), (Cycle.NONE, 1), (Cycle.NONE, -1)]
    )
    def test_an_occurrence_that_cannot_be_is_refused(self, cycle, index):
        with pytest.raises(ValueError, match=f"no occurrence {index}"):
            calendar.occurrence_date(anchor=date(2027, 1, 1), cycle=cycle, index=index)

    @pytest.mark.parametrize(
        ("cycle", "months"),
        [(Cycle.NONE, 0), (Cycle.MONTHLY, 1), (Cycle.QUARTERLY, 3), (Cycle.YEARLY, 12)],
    )
    def test_a_cycle_knows_its_months(self, cycle, months):
        assert cycle.months == months


class TestLocalInstant:
    @pytest.mark.parametrize(
        ("timezone", "wall", "instant"),
        [
            # no clock changes at all
            ("Asia/Shanghai", "2027-03-28T02:30", "2027-03-27T18:30"),
            ("UTC", "2027-03-28T02:30", "2027-03-28T02:30"),
            # forward: the first instant after the gap, whichever minute of it was asked for
            ("Europe/Berlin", "2027-03-28T01:59", "2027-03-28T00:59"),
            ("Europe/Berlin", "2027-03-28T02:00", "2027-03-28T01:00"),
            ("Europe/Berlin", "2027-03-28T02:30", "2027-03-28T01:00"),
            ("Europe/Berlin", "2027-03-28T02:59:59", "2027-03-28T01:00"),
            ("Europe/Berlin", "2027-03-28T03:00", "2027-03-28T01:00"),
            ("America/New_York", "2027-03-14T02:30", "2027-03-14T07:00"),
            ("America/New_York", "2027-03-14T03:01", "2027-03-14T07:01"),
            # forward by half an hour only
            ("Australia/Lord_Howe", "2027-10-03T02:15", "2027-10-02T15:30"),
            # forward at midnight: the date has no 00:00
            ("Africa/Cairo", "2027-04-30T00:00", "2027-04-29T22:00"),
            # back: the first of the two
            ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T00:30"),
            ("Europe/Berlin", "2027-10-31T03:00", "2027-10-31T02:00"),
            ("America/New_York", "2027-11-07T01:30", "2027-11-07T05:30"),
            ("America/New_York", "2027-11-07T02:00", "2027-11-07T07:00"),
            # a whole date that Samoa skipped
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00"),
        ],
    )
    def test_is_the_instant_a_wall_clock_means(self, timezone, wall, instant):
        asked = datetime.fromisoformat(wall)

        answer = calendar.local_instant(day=asked.date(), at_time=asked.time(), timezone=timezone)

        assert answer == datetime.fromisoformat(instant).replace(tzinfo=UTC)
        assert answer.tzinfo is UTC

    def test_a_fold_in_the_time_asked_for_changes_nothing(self):
        answer = calendar.local_instant(
            day=date(2027, 10, 31), at_time=time(2, 30, fold=1), timezone="Europe/Berlin"
        )

        assert answer == utc(2027, 10, 31, 0, 30)


class TestOccurrence:
    def test_is_named_by_its_index_and_local_date(self):
        third = calendar.occurrence(schedule(date(2027, 1, 31)), 2)

        assert third == Occurrence(2, date(2027, 3, 31), utc(2027, 3, 31, 1), "")
        assert third.period_key == "2:2027-03-31"

    def test_says_when_the_month_was_too_short(self):
        second = calendar.occurrence(schedule(date(2027, 1, 31)), 1)

        assert second == Occurrence(1, date(2027, 2, 28), utc(2027, 2, 28, 1), "month_end")

    def test_in_a_gap_keeps_its_date_and_is_not_called_adjusted(self):
        berlin = schedule(date(2027, 1, 28), charge_time=time(2, 30), timezone="Europe/Berlin")

        assert calendar.occurrence(berlin, 2) == Occurrence(
            2, date(2027, 3, 28), utc(2027, 3, 28, 1), ""
        )

    def test_in_an_overlap_is_one_and_the_first(self):
        york = schedule(date(2027, 10, 7), charge_time=time(1, 30), timezone="America/New_York")

        due = calendar.next_occurrences(york, after=utc(2027, 11, 1), count=2)

        assert [o.due_at for o in due] == [utc(2027, 11, 7, 5, 30), utc(2027, 12, 7, 6, 30)]

    @pytest.mark.parametrize(
        ("charge_time", "due_at", "adjusted"),
        [
            (time(23, 30), utc(2027, 1, 5, 15, 30), ""),
            (time(23, 31), utc(2027, 1, 5, 15, 30), "hours"),
            (time(23, 59, 59), utc(2027, 1, 5, 15, 30), "hours"),
            (time(0), utc(2027, 1, 4, 16), ""),
        ],
    )
    def test_keeps_half_an_hour_from_midnight_even_without_hours(
        self, charge_time, due_at, adjusted
    ):
        late = calendar.occurrence(schedule(date(2027, 1, 5), charge_time=charge_time), 0)

        assert (late.due_at, late.adjusted) == (due_at, adjusted)

    def test_keeps_its_date_where_the_gap_runs_into_midnight(self):
        # Nuuk's clocks go from 23:00 on Saturday to 00:00 on Sunday.
        nuuk = schedule(date(2027, 3, 27), charge_time=time(23, 15), timezone="America/Nuuk")

        due = calendar.occurrence(nuuk, 0)

        assert due.due_at == utc(2027, 3, 28, 0, 30)
        assert due.due_at.astimezone(ZoneInfo("America/Nuuk")).time() == time(22, 30)
        assert due.adjusted == "hours"

    def test_on_a_date_its_zone_skips_falls_on_the_first_instant_after(self):
        apia = schedule(date(2011, 12, 30), timezone="Pacific/Apia")

        assert calendar.occurrence(apia, 0).due_at == utc(2011, 12, 30, 10)


class TestHours:
    """WeChat charges from 07 to 22 h in Beijing, wherever the line is."""

    @pytest.mark.parametrize(
        ("timezone", "charge_time", "local_due", "adjusted"),
        [
            ("Asia/Shanghai", time(9), time(9), ""),
            ("Asia/Shanghai", time(7), time(7), ""),
            ("Asia/Shanghai", time(6, 59), time(7), "hours"),
            ("Asia/Shanghai", time(0), time(7), "hours"),
            ("Asia/Shanghai", time(21, 30), time(21, 30), ""),
            # the next opening is on another date, so back to the last moment of this one
            ("Asia/Shanghai", time(21, 31), time(21, 30), "hours"),
            ("Asia/Shanghai", time(23, 45), time(21, 30), "hours"),
            # Beijing 22:00 is New York 09:00 in winter; it opens again at 18:00 the same day
            ("America/New_York", time(8, 30), time(8, 30), ""),
            ("America/New_York", time(8, 31), time(18), "hours"),
            ("America/New_York", time(9), time(18), "hours"),
            ("America/New_York", time(23), time(23), ""),
            # open there, but too near to the line's own midnight
            ("America/New_York", time(23, 40), time(23, 30), "hours"),
            ("Pacific/Auckland", time(2), time(2), ""),
            ("Pacific/Auckland", time(3), time(12), "hours"),
            ("Asia/Dubai", time(19), time(17, 30), "hours"),
        ],
    )
    def test_move_the_instant_within_its_local_date(
        self, timezone, charge_time, local_due, adjusted
    ):
        planned = schedule(
            date(2027, 1, 15), charge_time=charge_time, timezone=timezone, hours=WECHAT
        )

        due = calendar.occurrence(planned, 0)

        assert due.due_at.astimezone(ZoneInfo(timezone)) == datetime.combine(
            date(2027, 1, 15), local_due, ZoneInfo(timezone)
        )
        assert due.adjusted == adjusted

    def test_follow_the_lines_summer_time(self):
        york = schedule(
            date(2027, 7, 15), charge_time=time(9), timezone="America/New_York", hours=WECHAT
        )

        # Beijing closes at 10:00 New York time now, half an hour of margin before it.
        assert calendar.occurrence(york, 0).due_at == utc(2027, 7, 15, 13)

    def test_the_shorter_month_is_told_rather_than_the_hours(self):
        planned = schedule(date(2027, 1, 31), charge_time=time(5), hours=WECHAT)

        assert calendar.occurrence(planned, 1) == Occurrence(
            1, date(2027, 2, 28), utc(2027, 2, 27, 23), "month_end"
        )

    def test_that_run_over_midnight_are_two_spans_of_a_date(self):
        night = Hours(opens=time(22), closes=time(4), timezone="Asia/Shanghai")
        due = [
            calendar.occurrence(
                schedule(date(2027, 1, 15), charge_time=time(hour), hours=night), 0
            ).due_at
            for hour in (2, 4, 23)
        ]

        assert due == [utc(2027, 1, 14, 18), utc(2027, 1, 15, 14), utc(2027, 1, 15, 15)]

    @pytest.mark.parametrize(
        ("rail", "line", "charge_time", "local_due"),
        [
            # 26 hours apart: the line's 15 January is the rail's 16th and 17th
            ("Pacific/Kiritimati", "Etc/GMT+12", time(9), time(20)),
            ("Pacific/Kiritimati", "Etc/GMT+12", time(1), time(1)),
            # and here the rail's 13th and 14th
            ("Etc/GMT+12", "Pacific/Kiritimati", time(1), time(1)),
            ("Etc/GMT+12", "Pacific/Kiritimati", time(9), time(5, 30)),
        ],
    )
    def test_are_found_at_the_other_end_of_the_world(self, rail, line, charge_time, local_due):
        night = Hours(opens=time(22), closes=time(4), timezone=rail)
        planned = schedule(date(2027, 1, 15), charge_time=charge_time, timezone=line, hours=night)

        due = calendar.occurrence(planned, 0)

        assert due.due_at == calendar.local_instant(
            day=date(2027, 1, 15), at_time=local_due, timezone=line
        )

    def test_that_leave_nothing_of_a_date_give_the_next_opening(self):
        # 18:58 in Beijing is 23:58 in Auckland, inside the margin before its midnight.
        minutes = Hours(
            opens=time(18, 58),
            closes=time(19, 1),
            timezone="Asia/Shanghai",
            margin=timedelta(minutes=2, seconds=59),
        )
        planned = schedule(date(2027, 1, 15), timezone="Pacific/Auckland", hours=minutes)

        due = calendar.occurrence(planned, 0)

        assert (due.due_at, due.adjusted) == (utc(2027, 1, 15, 10, 58), "hours")

    def test_never_change_which_dates_a_rule_has(self):
        plain = schedule(date(2027, 1, 31), charge_time=time(23, 45))
        limited = replace(plain, hours=WECHAT, charge_time=time(3))

        assert [calendar.occurrence(plain, k).period_key for k in range(24)] == [
            calendar.occurrence(limited, k).period_key for k in range(24)
        ]

    @pytest.mark.parametrize("margin", [timedelta(0), timedelta(minutes=-1), timedelta(hours=15)])
    def test_refuse_a_margin_that_keeps_nothing_apart_or_leaves_nothing(self, margin):
        with pytest.raises(ValueError, match="margin"):
            Hours(opens=time(7), closes=time(22), timezone="Asia/Shanghai", margin=margin)


class TestDaysARailCannotDo:
    @pytest.mark.parametrize(
        ("anchor", "cycle", "last_day", "is_unsupported"),
        [
            (date(2027, 1, 28), Cycle.MONTHLY, 28, False),
            (date(2027, 1, 29), Cycle.MONTHLY, 28, True),
            (date(2027, 1, 31), Cycle.QUARTERLY, 28, True),
            (date(2028, 2, 29), Cycle.YEARLY, 28, True),
            (date(2027, 1, 31), Cycle.MONTHLY, 31, False),
            (date(2027, 1, 31), Cycle.NONE, 28, False),
        ],
    )
    def test_are_known_at_set_up(self, anchor, cycle, last_day, is_unsupported):
        answer = calendar.unsupported_day(anchor=anchor, cycle=cycle, last_day_of_month=last_day)

        assert answer is is_unsupported

    @pytest.mark.parametrize(
        ("anchor", "offered"),
        [
            (date(2027, 1, 31), (date(2027, 1, 28), date(2027, 2, 1))),
            (date(2027, 12, 29), (date(2027, 12, 28), date(2028, 1, 1))),
            (date(2028, 2, 29), (date(2028, 2, 28), date(2028, 3, 1))),
        ],
    )
    def test_are_offered_the_28th_or_the_1st(self, anchor, offered):
        assert calendar.alternatives(anchor) == offered


class TestKeys:
    def test_count_by_the_lines_own_month_and_day(self):
        at = utc(2027, 1, 31, 16)  # midnight in Shanghai

        assert calendar.month_key(at, "Asia/Shanghai") == date(2027, 2, 1)
        assert calendar.day_key(at, "Asia/Shanghai") == date(2027, 2, 1)
        assert calendar.month_key(at, "Europe/Berlin") == date(2027, 1, 1)
        assert calendar.day_key(at, "Europe/Berlin") == date(2027, 1, 31)

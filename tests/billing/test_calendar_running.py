"""What a rule runs next, what it has missed, and when its rail opens: exact instants."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import calendar
from billing.calendar import Cycle, Hours, Schedule
from tests.billing.calendar_world import WECHAT, ZONES, schedule, utc


class TestNextOpen:
    @pytest.mark.parametrize(
        ("at", "opens_at"),
        [
            (utc(2027, 1, 15, 1), utc(2027, 1, 15, 1)),
            (utc(2027, 1, 14, 23), utc(2027, 1, 14, 23)),  # 07:00: included
            (utc(2027, 1, 14, 22, 59), utc(2027, 1, 14, 23)),
            (utc(2027, 1, 15, 13, 59), utc(2027, 1, 15, 13, 59)),  # the margin may be used up
            (utc(2027, 1, 15, 14), utc(2027, 1, 15, 23)),  # 22:00: excluded
            (utc(2027, 1, 15, 16), utc(2027, 1, 15, 23)),  # after Beijing's midnight
        ],
    )
    def test_is_now_or_when_the_rail_opens(self, at, opens_at):
        assert calendar.next_open(hours=WECHAT, at=at) == opens_at

    def test_is_now_in_the_small_hours_of_a_night_window(self):
        night = Hours(opens=time(22), closes=time(4), timezone="Asia/Shanghai")

        assert calendar.next_open(hours=night, at=utc(2027, 1, 14, 19)) == utc(2027, 1, 14, 19)
        assert calendar.next_open(hours=night, at=utc(2027, 1, 14, 20)) == utc(2027, 1, 15, 14)

    def test_is_now_for_a_rail_without_hours(self):
        at = datetime(2027, 1, 15, 3, tzinfo=ZoneInfo("Asia/Shanghai"))

        assert calendar.next_open(hours=None, at=at) == utc(2027, 1, 14, 19)


class TestNextOccurrences:
    def test_are_strictly_after(self):
        due = calendar.next_occurrences(
            schedule(date(2027, 1, 5)), after=utc(2027, 2, 5, 1), count=2
        )

        assert [o.period_key for o in due] == ["2:2027-03-05", "3:2027-04-05"]

    def test_include_one_a_moment_away(self):
        due = calendar.next_occurrences(
            schedule(date(2027, 1, 5)), after=utc(2027, 2, 5, 0, 59, 59), count=1
        )

        assert [o.period_key for o in due] == ["1:2027-02-05"]

    def test_begin_at_the_anchor_for_a_plan_in_the_future(self):
        due = calendar.next_occurrences(
            schedule(date(2027, 6, 30)), after=utc(2026, 11, 22), count=2
        )

        assert [o.period_key for o in due] == ["0:2027-06-30", "1:2027-07-30"]

    def test_none_comes_before_the_start(self):
        due = calendar.next_occurrences(
            schedule(date(2026, 1, 31)),
            after=utc(2026, 11, 22),
            count=3,
            starts_at=date(2027, 2, 28),
        )

        assert [o.period_key for o in due] == ["13:2027-02-28", "14:2027-03-31", "15:2027-04-30"]

    def test_a_start_in_the_past_brings_nothing_back(self):
        due = calendar.next_occurrences(
            schedule(date(2026, 1, 31)),
            after=utc(2026, 11, 22),
            count=1,
            starts_at=date(2026, 3, 1),
        )

        assert [o.period_key for o in due] == ["10:2026-11-30"]

    def test_a_rule_without_a_cycle_has_none(self):
        planned = schedule(date(2027, 1, 5), Cycle.NONE)

        assert calendar.next_occurrences(planned, after=utc(2026, 1, 1), count=12) == []
        with pytest.raises(ValueError, match="without a cycle"):
            calendar.index_after(planned, after=utc(2026, 1, 1))

    def test_are_the_same_however_far_the_anchor_lies_back(self):
        assert calendar.index_after(schedule(date(1900, 1, 31)), after=utc(2026, 11, 22)) == 1522

    @settings(max_examples=150)
    @given(
        anchor=st.dates(date(2000, 1, 1), date(2060, 1, 1)),
        cycle=st.sampled_from([Cycle.MONTHLY, Cycle.QUARTERLY, Cycle.YEARLY]),
        charge_time=st.times(),
        timezone=st.sampled_from(ZONES),
        hours=st.sampled_from([None, WECHAT]),
        after=st.timedeltas(timedelta(0), timedelta(days=71 * 365)).map(utc(1999, 1, 1).__add__),
    )
    def test_are_what_a_scan_from_the_anchor_finds(
        self, anchor, cycle, charge_time, timezone, hours, after
    ):
        planned = Schedule(anchor, cycle, charge_time, timezone, hours)

        index = calendar.index_after(planned, after=after)

        assert calendar.occurrence(planned, index).due_at > after
        assert index == 0 or calendar.occurrence(planned, index - 1).due_at <= after


class TestDueAndNext:
    PLAN = schedule(date(2027, 1, 31))
    HOUR = timedelta(hours=1)

    def test_nothing_is_due_before_its_instant(self):
        due = calendar.due_and_next(
            self.PLAN, index=1, at=utc(2027, 2, 28, 0, 59, 59), grace=self.HOUR
        )

        assert due == calendar.Due(run=None, missed=(), next_index=1)

    def test_one_that_has_come_runs(self):
        due = calendar.due_and_next(self.PLAN, index=1, at=utc(2027, 2, 28, 1), grace=self.HOUR)

        assert due == calendar.Due(calendar.occurrence(self.PLAN, 1), (), 2)

    def test_after_an_outage_only_the_latest_is_caught_up(self):
        due = calendar.due_and_next(self.PLAN, index=1, at=utc(2027, 4, 30, 2), grace=self.HOUR)

        assert due.run == calendar.occurrence(self.PLAN, 3)
        assert [o.period_key for o in due.missed] == ["1:2027-02-28", "2:2027-03-31"]
        assert due.next_index == 4

    def test_past_its_grace_nothing_is_caught_up(self):
        due = calendar.due_and_next(
            self.PLAN, index=1, at=utc(2027, 4, 30, 2, 0, 1), grace=self.HOUR
        )

        assert due.run is None
        assert [o.index for o in due.missed] == [1, 2, 3]
        assert due.next_index == 4

    def test_asked_again_with_what_it_answered_it_finds_nothing_more(self):
        at = utc(2027, 4, 30, 2)
        due = calendar.due_and_next(self.PLAN, index=1, at=at, grace=self.HOUR)

        again = calendar.due_and_next(self.PLAN, index=due.next_index, at=at, grace=self.HOUR)

        assert again == calendar.Due(run=None, missed=(), next_index=4)

    def test_an_index_ahead_of_the_calendar_is_kept(self):
        # The subscriber skipped the next charge.
        due = calendar.due_and_next(self.PLAN, index=9, at=utc(2027, 4, 30, 2), grace=self.HOUR)

        assert due == calendar.Due(run=None, missed=(), next_index=9)

    def test_the_rails_night_counts_against_the_grace(self):
        planned = schedule(date(2027, 1, 5), charge_time=time(21), hours=WECHAT)
        woken_at = utc(2027, 1, 5, 14, 30)  # 22:30 in Beijing: it opens 8.5 h later

        late = calendar.due_and_next(
            planned, index=0, at=woken_at, grace=timedelta(hours=9, minutes=59)
        )
        in_time = calendar.due_and_next(planned, index=0, at=woken_at, grace=timedelta(hours=10))

        assert (late.run, [o.index for o in late.missed]) == (None, [0])
        assert (in_time.run, in_time.missed) == (calendar.occurrence(planned, 0), ())

    def test_a_start_in_the_margin_is_not_put_off_to_the_morning(self):
        planned = schedule(date(2027, 1, 5), charge_time=time(21, 30), hours=WECHAT)

        due = calendar.due_and_next(
            planned, index=0, at=utc(2027, 1, 5, 13, 31), grace=timedelta(minutes=5)
        )

        assert due.run == calendar.occurrence(planned, 0)

    def test_a_rule_without_a_cycle_is_never_due(self):
        planned = schedule(date(2027, 1, 5), Cycle.NONE)

        due = calendar.due_and_next(planned, index=0, at=utc(2030, 1, 1), grace=self.HOUR)

        assert due == calendar.Due(run=None, missed=(), next_index=0)

    @settings(max_examples=100)
    @given(
        steps=st.lists(st.timedeltas(timedelta(minutes=1), timedelta(days=200)), max_size=12),
        grace=st.timedeltas(timedelta(0), timedelta(days=40)),
        timezone=st.sampled_from(ZONES),
    )
    def test_every_occurrence_is_run_or_missed_exactly_once(self, steps, grace, timezone):
        planned = schedule(date(2027, 1, 31), timezone=timezone, hours=WECHAT)
        at, index, settled = utc(2027, 1, 1), 0, []
        for step in steps:
            at += step
            due = calendar.due_and_next(planned, index=index, at=at, grace=grace)
            settled += [*due.missed, *([due.run] if due.run else [])]
            index = due.next_index

        assert [o.index for o in settled] == list(range(index))
        assert all(o.due_at <= at for o in settled)
        assert calendar.occurrence(planned, index).due_at > at

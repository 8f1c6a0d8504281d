"""Every zone over fifty years: no two of one, no date moved, none outside its rail's hours."""

from collections.abc import Iterator
from datetime import date, time
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from billing import calendar
from billing.calendar import Cycle, Occurrence, Schedule
from tests.billing.calendar_world import WECHAT, ZONES, schedule
from tests.every import failing


def fifty_years(planned: Schedule) -> Iterator[Occurrence]:
    months = planned.cycle.months
    return (calendar.occurrence(planned, index) for index in range(50 * 12 // months + 1))


def assert_sound(planned: Schedule) -> None:
    zone = ZoneInfo(planned.timezone)
    all_due = list(fifty_years(planned))
    for due in all_due:
        assert due.due_at.astimezone(zone).date() == due.local_date
        assert due.local_date.day in (planned.anchor.day, 28, 29, 30)
    for earlier, later in pairwise(all_due):
        assert earlier.due_at < later.due_at
        assert earlier.local_date < later.local_date
    assert len({due.period_key for due in all_due}) == len(all_due)
    assert all_due[-1].local_date.year >= planned.anchor.year + 50


def assert_sound_in(timezone: str) -> None:
    """00:30 and 02:30 are where clocks change; Nuuk's and Cairo's change at midnight."""
    assert_sound(schedule(date(2026, 1, 31), charge_time=time(2, 30), timezone=timezone))
    assert_sound(
        schedule(date(2026, 3, 28), Cycle.QUARTERLY, charge_time=time(23, 59), timezone=timezone)
    )
    assert_sound(
        schedule(
            date(2028, 2, 29),
            Cycle.YEARLY,
            charge_time=time(0, 30),
            timezone=timezone,
            hours=WECHAT,
        )
    )


def each_by_one_name() -> list[str]:
    """`PRC` has the file of `Asia/Shanghai`, byte for byte: what holds for one, holds for both."""
    folder = files("tzdata") / "zoneinfo"
    return [*{(folder / name).read_bytes(): name for name in ZONES}.values()]


class TestEveryZoneOverFiftyYears:
    def test_no_change_of_the_clock_makes_two_of_one_or_moves_a_date(self):
        assert failing(assert_sound_in, ((timezone,) for timezone in each_by_one_name())) == {}

    @settings(max_examples=40)
    @given(
        anchor=st.dates(date(2013, 1, 1), date(2060, 12, 31)),
        cycle=st.sampled_from([Cycle.MONTHLY, Cycle.QUARTERLY, Cycle.YEARLY]),
        charge_time=st.times(),
        timezone=st.sampled_from(ZONES),
        hours=st.sampled_from([None, WECHAT]),
    )
    def test_nor_does_any_anchor_hour_or_rail(self, anchor, cycle, charge_time, timezone, hours):
        planned = Schedule(anchor, cycle, charge_time, timezone, hours)

        assert_sound(planned)

    @settings(max_examples=100)
    @given(
        anchor=st.dates(date(2020, 1, 1), date(2060, 12, 31)),
        charge_time=st.times(),
        timezone=st.sampled_from(ZONES),
        index=st.integers(0, 600),
    )
    def test_within_the_rails_hours_it_stays_within_them(
        self, anchor, charge_time, timezone, index
    ):
        planned = schedule(anchor, charge_time=charge_time, timezone=timezone, hours=WECHAT)

        due = calendar.occurrence(planned, index)

        beijing = due.due_at.astimezone(ZoneInfo("Asia/Shanghai")).time()
        assert time(7) <= beijing <= time(21, 30)
        assert calendar.next_open(hours=WECHAT, at=due.due_at) == due.due_at

"""The forecast: exact dates from known paces, and calm about everything a carrier may send."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.forecast import Confidence, Forecast, Points, Reading, forecast, points

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def daily(*balances_minor: int, until: datetime = NOON, step: timedelta = DAY) -> list[Reading]:
    """One reading each `step`, the last at `until`."""
    first = until - (len(balances_minor) - 1) * step
    return [Reading(first + k * step, balance) for k, balance in enumerate(balances_minor)]


class TestForecast:
    def test_runs_a_steady_pace_on_in_a_straight_line(self):
        answer = forecast(daily(1400, 1300, 1200, 1100, 1000), at=NOON, floor_minor=300)

        assert answer == Forecast(
            per_day_minor=100,
            runs_out_at=NOON + 10 * DAY,
            reaches_at=NOON + 7 * DAY,
            confidence=Confidence.GOOD,
            readings_used=5,
        )

    def test_starts_from_the_last_reading_not_from_now(self):
        answer = forecast(daily(1300, 1200, 1100, 1000, until=NOON - DAY), at=NOON)

        assert answer.runs_out_at == NOON + 9 * DAY

    def test_takes_no_top_up_for_negative_use(self):
        # 100 a day; 5,000 arrive on the third day, whose own use cannot be known.
        answer = forecast(daily(300, 200, 5100, 5000, 4900), at=NOON)

        assert answer.per_day_minor == 100
        assert answer.runs_out_at == NOON + 49 * DAY

    def test_leaves_out_the_time_of_a_top_up_too(self):
        readings = [
            Reading(NOON - 12 * DAY, 400),
            Reading(NOON - 10 * DAY, 200),
            Reading(NOON - 2 * DAY, 1000),  # eight days without a figure, then credit
            Reading(NOON, 800),
        ]

        assert forecast(readings, at=NOON).per_day_minor == 100

    def test_does_not_mind_the_order(self):
        readings = daily(1400, 1300, 1200, 1100, 1000)

        assert forecast(readings[::-1], at=NOON) == forecast(readings, at=NOON)
        assert forecast(readings[2:] + readings[:2], at=NOON) == forecast(readings, at=NOON)

    def test_of_two_figures_for_one_instant_believes_the_later_given(self):
        readings = daily(1400, 1300, 1200, 1100, 9999)

        answer = forecast([*readings, Reading(NOON, 1000)], at=NOON)

        assert (answer.per_day_minor, answer.readings_used) == (100, 5)

    def test_bridges_a_gap_between_readings(self):
        readings = [Reading(NOON - 9 * DAY, 1900), Reading(NOON - 8 * DAY, 1800)]

        answer = forecast([*readings, Reading(NOON, 1000)], at=NOON)

        assert answer.per_day_minor == 100

    def test_looks_at_nothing_later_than_its_instant(self):
        readings = daily(1400, 1300, 1200, 1100, 1000)

        answer = forecast([*readings, Reading(NOON + DAY, 0)], at=NOON)

        assert answer == forecast(readings, at=NOON)

    def test_forgets_what_is_older_than_four_weeks(self):
        old = [Reading(NOON - 60 * DAY, 90_000), Reading(NOON - 29 * DAY, 1500)]

        answer = forecast([*old, *daily(1400, 1300, 1200, 1100, 1000)], at=NOON)

        assert (answer.per_day_minor, answer.readings_used) == (100, 5)

    def test_each_week_counts_half_of_the_one_after_it(self):
        # A week of 70 a day and then a week of 130: (70 + 2 * 130) / 3, not 100.
        older = [2000 - 70 * k for k in range(8)]
        newer = [older[-1] - 130 * k for k in range(1, 8)]

        answer = forecast(daily(*older, *newer), at=NOON)

        assert answer.per_day_minor == 110

    def test_keeps_fractions_of_a_unit_in_the_dates(self):
        # 1 unit in 3 days: nothing a day when rounded, and still it runs out.
        answer = forecast(daily(12, 11, 10, step=3 * DAY), at=NOON)

        assert answer.per_day_minor == 0
        assert answer.runs_out_at == NOON + 30 * DAY

    def test_rounds_the_days_use_to_the_nearest_unit(self):
        assert forecast(daily(14, 12, 10, step=3 * DAY), at=NOON).per_day_minor == 1

    def test_a_flat_balance_never_runs_out(self):
        answer = forecast(daily(1000, 1000, 1000, 1000), at=NOON, floor_minor=500)

        assert answer == Forecast(0, None, None, Confidence.GOOD, 4)

    def test_an_empty_one_has_run_out_already(self):
        answer = forecast(daily(300, 200, 100, 0), at=NOON)

        assert answer.runs_out_at == NOON

    def test_a_negative_balance_is_a_balance(self):
        answer = forecast(daily(200, 100, 0, -100), at=NOON, floor_minor=-400)

        assert answer.per_day_minor == 100
        assert answer.runs_out_at == NOON
        assert answer.reaches_at == NOON + 3 * DAY

    def test_a_date_that_has_passed_since_the_last_reading_is_now(self):
        answer = forecast(daily(400, 300, 200, 100, until=NOON - 5 * DAY), at=NOON)

        assert answer.runs_out_at == NOON

    def test_is_already_at_a_floor_above_the_balance(self):
        answer = forecast(daily(400, 300, 200, 100), at=NOON, floor_minor=100)

        assert (answer.reaches_at, answer.runs_out_at) == (NOON, NOON + DAY)

    def test_pretends_no_date_beyond_two_years(self):
        just_within = forecast(daily(733, 732, 731, 730), at=NOON)
        beyond = forecast(daily(734, 733, 732, 731), at=NOON)
        absurd = forecast(daily(10**15 + 1, 10**15), at=NOON)

        assert just_within.runs_out_at == NOON + 730 * DAY
        assert beyond.runs_out_at is None
        assert absurd.runs_out_at is None


class TestConfidence:
    @pytest.mark.parametrize(
        "readings",
        [
            [],
            daily(1000),
            daily(1000, 990, step=timedelta(minutes=59)),
            daily(100, 5100),  # a top-up and nothing else
        ],
    )
    def test_is_none_without_an_hour_of_use_to_go_by(self, readings):
        assert forecast(readings, at=NOON) == Forecast(
            0, None, None, Confidence.NONE, len(readings)
        )

    @pytest.mark.parametrize(
        "readings",
        [
            daily(1000, 990, step=timedelta(hours=1)),
            daily(1300, 1200, 1100, 1000, step=timedelta(hours=23)),
            daily(1300, 1200, 1000, step=2 * DAY),
            daily(1300, 1200, 1100, 1000, until=NOON - 2 * DAY - timedelta(seconds=1)),
        ],
    )
    def test_is_low_while_short_sparse_or_stale(self, readings):
        assert forecast(readings, at=NOON).confidence is Confidence.LOW

    def test_is_good_with_four_readings_over_three_days_and_fresh(self):
        readings = daily(1300, 1200, 1100, 1000, until=NOON - 2 * DAY)

        assert forecast(readings, at=NOON).confidence is Confidence.GOOD


class TestPoints:
    READINGS = daily(1300, 1200, 1100, 1000)

    def test_lead_from_the_last_reading_down_to_zero(self):
        chart = points(self.READINGS[::-1], at=NOON, ahead=14 * DAY)

        assert chart == Points(
            past=tuple(self.READINGS),
            ahead=(Reading(NOON, 1000), Reading(NOON + 10 * DAY, 0)),
        )

    def test_end_where_the_chart_ends(self):
        chart = points(self.READINGS, at=NOON, ahead=4 * DAY)

        assert chart.ahead == (Reading(NOON, 1000), Reading(NOON + 4 * DAY, 600))

    def test_of_a_flat_balance_stay_level(self):
        chart = points(daily(500, 500), at=NOON, ahead=4 * DAY)

        assert chart.ahead == (Reading(NOON, 500), Reading(NOON + 4 * DAY, 500))

    @pytest.mark.parametrize("readings", [[], daily(1000), daily(200, 100, 0), daily(100, -100)])
    def test_lead_nowhere_without_a_pace_or_a_balance(self, readings):
        assert points(readings, at=NOON, ahead=14 * DAY) == Points(tuple(readings), ())


READINGS = st.lists(
    st.builds(
        Reading,
        observed_at=st.timedeltas(-50 * DAY, 10 * DAY).map(NOON.__add__),
        balance_minor=st.integers(-(10**12), 10**12),
    ),
    max_size=30,
)


class TestAnyReadings:
    @given(READINGS, st.integers(-(10**12), 10**12))
    def test_give_a_forecast_that_does_not_contradict_itself(self, readings, floor_minor):
        answer = forecast(readings, at=NOON, floor_minor=floor_minor)

        assert answer.per_day_minor >= 0
        for instant in (answer.runs_out_at, answer.reaches_at):
            assert instant is None or NOON <= instant <= NOON + 730 * DAY
        if floor_minor >= 0 and answer.runs_out_at is not None:
            assert answer.reaches_at is not None
            assert answer.reaches_at <= answer.runs_out_at
        if answer.confidence is Confidence.NONE:
            assert (answer.runs_out_at, answer.reaches_at) == (None, None)

    @given(READINGS)
    def test_give_a_chart_that_falls_and_never_below_zero(self, readings):
        chart = points(readings, at=NOON, ahead=14 * DAY)

        assert all(reading.observed_at <= NOON for reading in chart.past)
        if chart.ahead:
            start, end = chart.ahead
            assert start == chart.past[-1]
            assert start.observed_at <= end.observed_at <= NOON + 14 * DAY
            assert 0 <= end.balance_minor <= start.balance_minor

"""Balances come in: kept, applied in order, and low ones wake their rule once."""

from datetime import UTC, datetime, timedelta

import pytest
from django_q.models import OrmQ

from billing.models import Notice, Recharge, Rule
from billing.rules import deciding, readings
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines.models import BalanceReading, Line
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    return w.rule(w.line(balance_minor=1860))


def push(rule, balance_minor, *, observed_at=w.NOON, at=w.NOON, **more):
    reading = Reading(rule.line_id, balance_minor, observed_at, **more)
    applied = readings.push(reading=reading, at=at)
    rule.refresh_from_db()
    return applied


class TestALowReading:
    def test_wakes_the_rule_and_nudges_once(self, world, rule):
        push(rule, 980)
        assert rule.wake_at == w.NOON
        assert OrmQ.objects.filter(key="money").count() == 1
        world.run()
        assert Recharge.objects.get().state == "completed"

    def test_a_storm_of_them_is_one_recharge(self, world, rule):
        for second in range(100):
            push(rule, 980 - second, observed_at=w.NOON + timedelta(seconds=second / 100))
        assert OrmQ.objects.filter(key="money").count() == 1
        world.run()
        assert Recharge.objects.count() == 1
        w.assert_balanced()

    def test_is_told_once_an_episode_even_though_auto_recharge_is_on(self, rule):
        push(rule, 980)
        push(rule, 900, observed_at=w.NOON + w.MINUTE, at=w.NOON + w.MINUTE)
        assert [n.kind for n in Notice.objects.all()] == ["low_balance"]

    def test_does_nothing_but_tell_while_the_rule_is_off(self, world, rule):
        Rule.objects.update(is_on=False)
        push(rule, 980)
        assert rule.wake_at is None
        assert world.run() == 0
        assert not Recharge.objects.exists()


class TestAValidity:
    """It ends in ten days, and the rule recharges three days before."""

    @pytest.fixture
    def rule(self, world):
        return w.rule(w.line(balance_minor=1860), expiry_days_before=3)

    def test_that_is_reported_has_its_rule_looked_at_in_time(self, rule):
        push(rule, 1500, valid_until=w.NOON + 10 * w.DAY)
        assert rule.wake_at == w.NOON + 7 * w.DAY

    def test_that_is_about_to_end_has_its_rule_looked_at_now(self, world, rule):
        push(rule, 1500, valid_until=w.NOON + w.DAY)
        assert rule.wake_at == w.NOON
        world.run()
        assert Recharge.objects.get().trigger == "expiry"

    def test_never_moves_a_wake_back(self, rule):
        Rule.objects.update(wake_at=w.NOON + w.HOUR)
        push(rule, 1500, valid_until=w.NOON + 10 * w.DAY)
        assert rule.wake_at == w.NOON + w.HOUR

    def test_that_is_lifted_or_never_is_no_end_and_one_unsaid_stays(self, rule):
        until, lines = w.NOON + 10 * w.DAY, []
        never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        for minute, more in enumerate(
            ({"valid_until": until}, {}, {"valid_until": None},
             {"valid_until": until}, {"valid_until": never})
        ):  # fmt: skip
            now = w.NOON + minute * w.MINUTE
            assert push(rule, 1500, observed_at=now, at=now, **more).is_applied is True
            lines.append(Line.objects.get().valid_until)
        assert lines == [until, until, None, until, None]

    def test_that_was_dealt_with_or_of_a_rule_that_is_off_wakes_nothing(self, rule):
        Rule.objects.update(expiry_fired_for=(w.NOON + 10 * w.DAY).date())
        push(rule, 1500, valid_until=w.NOON + 10 * w.DAY)
        assert rule.wake_at is None
        Rule.objects.update(expiry_fired_for=None, is_on=False)
        later = w.NOON + w.MINUTE
        push(rule, 1500, valid_until=w.NOON + 10 * w.DAY, observed_at=later, at=later)
        assert rule.wake_at is None

    def test_waits_for_the_end_of_its_owners_pause(self, world, rule):
        """Within it the recharge would be refused, and the validity be dealt with all the same."""
        Rule.objects.update(paused_until=w.NOON + 9 * w.DAY)
        push(rule, 1500, valid_until=w.NOON + 10 * w.DAY)
        assert rule.wake_at == w.NOON + 9 * w.DAY
        world.later(9 * w.DAY)
        world.run()
        assert Recharge.objects.get().trigger == "expiry"


class TestTheLatch:
    def test_rearms_only_at_the_threshold_and_its_hysteresis(self, world, rule):
        Rule.objects.update(hysteresis_minor=500, is_armed=False)
        rule.refresh_from_db()
        push(rule, 1499)
        assert (rule.is_armed, rule.episode) == (False, 1)
        push(rule, 1500, observed_at=w.NOON + w.MINUTE, at=w.NOON + w.MINUTE)
        assert (rule.is_armed, rule.episode) == (True, 2)

    def test_a_new_episode_after_the_credit_arrived_charges_again(self, world, rule):
        push(rule, 980)
        world.run()
        Rule.objects.update(max_per_day_count=5)
        world.later(timedelta(hours=2))
        push(rule, 5980, observed_at=world.at, at=world.at)
        world.later(timedelta(hours=1))
        push(rule, 400, observed_at=world.at, at=world.at)
        world.run()
        assert list(Recharge.objects.order_by("pk").values_list("period_key", flat=True)) == [
            "e1",
            "e2",
        ]
        w.assert_balanced()

    def test_a_reading_that_the_credit_has_not_reached_does_not_fire_again(self, world, rule):
        push(rule, 980)
        world.run()
        world.later(timedelta(minutes=59))  # after the cool-down it would be a new low (rule 7)
        push(rule, 970, observed_at=world.at, at=world.at)  # observed after, still without it
        world.run()
        assert Recharge.objects.count() == 1
        rule.refresh_from_db()
        assert (rule.is_armed, rule.episode) == (False, 1)  # shut by what it fired, and still


class TestOrder:
    def test_an_older_reading_is_kept_and_not_applied(self, rule):
        push(rule, 1500)
        applied = push(rule, 10, observed_at=w.NOON - w.HOUR)
        assert applied.is_applied is False
        assert Line.objects.get().balance_minor == 1500
        assert rule.wake_at is None
        assert list(
            BalanceReading.objects.order_by("pk").values_list("balance_minor", "is_applied")
        ) == [(1500, True), (10, False)]

    def test_the_carriers_sequence_decides_where_it_gives_one(self, rule):
        push(rule, 1500, sequence=7)
        push(rule, 10, sequence=6, observed_at=w.NOON + w.MINUTE, at=w.NOON + w.MINUTE)
        assert Line.objects.get().balance_minor == 1500

    def test_the_same_sequence_twice_counts_once_whatever_it_says(self, rule):
        push(rule, 1500, sequence=7)
        assert push(rule, 900, sequence=7, observed_at=w.NOON + w.MINUTE).is_applied is False
        assert Line.objects.get().balance_minor == 1500

    def test_a_number_that_went_back_has_the_carrier_asked_at_once(self, rule):
        push(rule, 1500, sequence=7)
        later = w.NOON + w.MINUTE
        assert push(rule, 10, sequence=1, observed_at=later, at=later).is_applied is False
        assert (Line.objects.get().balance_minor, Line.objects.get().poll_at) == (1500, later)
        assert OrmQ.objects.filter(key="slow").count() == 1

    def test_a_count_that_began_anew_is_followed(self, world, rule):
        """A carrier that cannot be asked would else never be heard again."""
        push(rule, 1500, sequence=7000)
        world.later(w.HOUR + w.MINUTE)
        assert push(rule, 980, sequence=1, observed_at=world.at, at=world.at).is_applied is True
        world.later(w.MINUTE)
        assert push(rule, 900, sequence=2, observed_at=world.at, at=world.at).is_applied is True

    def test_two_of_one_second_have_the_carrier_asked_at_once(self, world, rule):
        push(rule, 1200, observed_at=world.at)
        push(rule, 900, at=world.at + timedelta(milliseconds=300), observed_at=world.at)
        world.later(timedelta(seconds=1))
        world.run()
        assert Recharge.objects.exists() or Line.objects.get().poll_at is not None
        assert Line.objects.get().poll_at == w.NOON + timedelta(milliseconds=300)

    def test_one_after_a_clock_that_ran_ahead_is_asked_about_once_that_is_overtaken(self, rule):
        ahead = w.NOON + 4 * w.MINUTE
        push(rule, 1500, observed_at=ahead)
        now = w.NOON + w.MINUTE
        assert push(rule, 900, observed_at=now, at=now).is_applied is False
        assert Line.objects.get().poll_at == ahead

    def test_a_repeat_or_an_older_one_has_nobody_asked(self, rule):
        push(rule, 1500, sequence=7)
        push(rule, 1500, sequence=7)
        push(rule, 10, sequence=6, observed_at=w.NOON - w.MINUTE)
        assert Line.objects.get().poll_at is None

    def test_an_answer_of_the_very_instant_is_the_later_one_and_asked_about_no_more(self, rule):
        push(rule, 1500)
        assert push(rule, 900, source="polled").is_applied is True
        assert push(rule, 900, source="polled").is_applied is False
        assert push(rule, 400, observed_at=w.NOON - w.MINUTE, source="polled").is_applied is False
        assert (Line.objects.get().balance_minor, Line.objects.get().poll_at) == (900, None)

    def test_the_same_reading_twice_changes_nothing(self, rule):
        push(rule, 1500)
        assert push(rule, 1500).is_applied is False

    def test_one_from_a_clock_that_is_a_little_fast_counts(self, rule):
        ahead = w.NOON + deciding.CLOCK_SKEW
        assert push(rule, 980, observed_at=ahead).is_applied is True
        late = push(rule, 970, observed_at=ahead + timedelta(seconds=1))
        assert late is Became.FROM_THE_FUTURE
        assert Line.objects.get().balance_minor == 980

    def test_one_from_the_future_is_refused_and_not_kept(self, rule):
        early = push(rule, 10, observed_at=w.NOON + timedelta(minutes=6))
        assert early is Became.FROM_THE_FUTURE
        assert not BalanceReading.objects.exists()
        assert Line.objects.get().balance_minor == 1860

    def test_a_negative_balance_is_a_balance(self, world, rule):
        push(rule, -4000)
        world.run()
        assert Recharge.objects.get().face_minor == 10_000

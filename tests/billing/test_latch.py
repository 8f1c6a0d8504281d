"""The latch of a low balance never shuts for good, and never opens twice for one credit."""

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Binding, Notice, Recharge, Rule
from billing.rules import by_hand, readings
from billing.rules.balances import Reading
from tests import world as w
from tests.factories.lines import LineFactory
from tests.world import World

pytestmark = pytest.mark.django_db

ROOMY = {"max_per_day_count": 5, "max_per_month_minor": 100_000}


def small(**more) -> Rule:
    """10.00 below 10.00, five times a day."""
    given = {"face_minor": 1000, "max_per_charge_minor": 1000} | ROOMY
    return w.rule(w.line(balance_minor=1860), **(given | more))


def push(rule, balance_minor, at, **more) -> None:
    reading = Reading(rule.line_id, balance_minor, more.pop("observed_at", at), **more)
    readings.push(reading=reading, at=at)
    rule.refresh_from_db()


def by_the_owner(rule, world, *, face_minor=5000) -> None:
    by_hand.recharge(
        line=rule.line,
        binding=Binding.objects.get(pk=rule.binding_id),
        face_minor=face_minor,
        owner=rule.line.owner,
        idempotency_key=world.at.isoformat(),
        at=world.at,
    )
    world.run()


def told(kind: str) -> int:
    return Notice.objects.filter(kind=kind).count()


class TestALineDrainedBetweenTwoReports:
    def test_is_recharged_again_though_no_reading_showed_the_credit(self, world):
        rule = small()
        push(rule, 980, world.at)
        world.run()
        for day in (1, 2):
            world.later(w.DAY)
            push(rule, 700 - 300 * day, world.at)
            world.run()
        assert Recharge.objects.count() >= 2 or told("low_balance") >= 2
        keys = Recharge.objects.order_by("pk").values_list("period_key", flat=True)
        assert list(keys) == ["e1", "e2", "e3"]
        assert told("low_balance") == 3
        w.assert_balanced()

    def test_waits_for_the_cool_down_and_is_then_acted_on_and_told(self, world):
        rule = small()
        push(rule, 980, world.at)
        world.run()
        world.later(20 * w.MINUTE)
        push(rule, 300, world.at)
        world.run()
        assert (Recharge.objects.count(), told("low_balance")) == (1, 1)
        assert rule.wake_at == rule.rearms_at == world.at + 40 * w.MINUTE
        world.later(40 * w.MINUTE)
        world.run()
        assert (Recharge.objects.count(), told("low_balance")) == (2, 2)
        w.assert_balanced()

    def test_is_no_loop_where_the_credit_falls_short(self, world):
        rule = small()
        push(rule, -5000, world.at)
        world.run()
        for _ in range(10):
            world.later(2 * w.HOUR)
            push(rule, -4000, world.at)
            world.run()
        assert (Recharge.objects.count(), told("falls_short")) == (1, 1)

    def test_is_judged_by_what_was_read_before_the_credit_was_ordered(self, world):
        """What is read between order and answer may have it already: it is not counted twice."""
        rule = small()
        push(rule, -500, world.at)
        plain = world.carrier.credit

        def credit(*, request):
            push(rule, 500, world.at + w.MINUTE)
            return plain(request=request)

        world.carrier.credit = credit
        world.run()
        rule.refresh_from_db()
        assert Recharge.objects.get().state == "completed"
        assert (rule.is_armed, rule.rearms_at) == (False, None)

    def test_is_recharged_after_its_owners_own_credit_too(self, world):
        rule = small()
        push(rule, -500, world.at)  # 10.00 leave it at 5.00: the latch stays shut
        world.run()
        assert Rule.objects.get().rearms_at is None
        world.later(2 * w.HOUR)
        by_the_owner(rule, world)
        world.later(w.DAY)
        push(rule, 400, world.at)
        world.run()
        triggers = Recharge.objects.order_by("pk").values_list("trigger", flat=True)
        assert list(triggers) == ["low_balance", "manual", "low_balance"]
        w.assert_balanced()

    def test_is_not_recharged_twice_for_a_credit_that_came_before_it_fired(self, world):
        rule = small()
        by_the_owner(rule, world)
        assert Rule.objects.get().rearms_at == world.at + w.HOUR
        world.later(10 * w.MINUTE)
        push(rule, -500, world.at)  # the latch was open: it fires, and that uses the mark up
        world.run()
        world.later(2 * w.HOUR)
        push(rule, -900, world.at)
        world.run()
        assert Recharge.objects.filter(trigger="low_balance").count() == 1


class TestANewLow:
    def test_is_told_each_time_while_the_rule_is_off(self, world):
        rule = w.rule(w.line(balance_minor=1860), is_on=False)
        push(rule, 980, world.at)
        world.later(w.DAY)
        push(rule, 9000, world.at)
        world.later(20 * w.DAY)
        push(rule, 700, world.at)
        assert told("low_balance") == 2
        assert not Recharge.objects.exists()

    def test_is_told_after_the_owners_own_credit_that_no_reading_showed(self, world):
        rule = w.rule(w.line(balance_minor=1860), is_on=False)
        push(rule, 980, world.at)
        by_the_owner(rule, world)
        world.later(w.MINUTE)
        push(rule, 970, world.at)  # the credit has not reached this figure
        assert told("low_balance") == 1
        world.later(20 * w.DAY)
        push(rule, 700, world.at)
        assert told("low_balance") == 2

    def test_is_told_where_a_cap_refused_the_first(self, world):
        rule = small()
        Binding.objects.update(max_per_month_minor=500)
        for _ in range(2):
            push(rule, 700, world.at)
            world.run()
            world.later(w.HOUR)
            push(rule, 9000, world.at)
            world.later(w.HOUR)
        assert (told("low_balance"), told("cap_reached")) == (2, 2)
        assert not Recharge.objects.exists()

    def test_is_the_same_one_until_it_was_well_above(self, world):
        rule = small(hysteresis_minor=500)
        Binding.objects.update(max_per_month_minor=500)
        for balance_minor in (700, 1400, 600, 1499, 500):
            push(rule, balance_minor, world.at)
            world.later(w.MINUTE)
        assert told("low_balance") == 1

    def test_is_not_told_of_again_by_a_storm(self, world):
        rule = small()
        for second in range(20):
            push(rule, 900 - second, world.at + timedelta(seconds=second / 100))
        assert (told("low_balance"), rule.low_episode) == (1, 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 30, 59, 61, 180, 1440]),  # minutes on
        st.sampled_from([-4000, -100, 0, 400, 980, 999, 1000, 1499, 1500, 5980]),
        st.sampled_from(["", "", "", "by hand", "run twice"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, day_count=st.integers(1, 4), hysteresis=st.sampled_from([0, 500]))
def test_whatever_is_read_no_more_is_charged_than_the_caps_nor_twice_within_a_cool_down(
    steps, day_count, hysteresis
):
    world = World()
    line = LineFactory.create(balance_minor=1860)
    rule = w.rule(
        line, max_per_day_count=day_count, max_per_month_minor=40_000, hysteresis_minor=hysteresis
    )
    for minutes, balance_minor, also in steps:
        world.later(timedelta(minutes=minutes))
        push(rule, balance_minor, world.at)
        world.run()
        if also == "by hand":
            with suppress(by_hand.CapReached):
                by_the_owner(rule, world, face_minor=2000)
        if also == "run twice":
            world.run()
    mine = Recharge.objects.filter(rule=rule)  # the owner's own hand is no rule's
    opened = sorted(mine.values_list("created_at", flat=True))
    by_day: dict[object, int] = {}
    for one in mine:
        by_day[one.cap_day] = by_day.get(one.cap_day, 0) + 1
    assert max(by_day.values(), default=0) <= day_count
    assert sum(one.price_minor for one in mine) <= 80_000  # two months at most
    assert all(b - a >= w.HOUR for a, b in pairwise(opened))
    w.assert_balanced()

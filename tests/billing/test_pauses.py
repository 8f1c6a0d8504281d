"""What falls due in its owner's pause is not charged, whenever somebody comes to look."""

from datetime import date, time

import pytest

from billing.models import Decision, Recharge, Rule
from billing.plans import contract
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world) -> Rule:
    """Due at noon; it is ten."""
    world.at = w.NOON - 2 * w.HOUR
    return w.rule(w.line(balance_minor=9000), threshold_minor=None, cycle="monthly",
                  anchor_date=date(2026, 11, 22), charge_time=time(12), next_index=0,
                  next_run_at=w.NOON, wake_at=w.NOON)  # fmt: skip


def paused(rule, world, *, until) -> None:
    contract.pause(rule=rule, until=until, at=world.at)


def codes() -> list[str]:
    return list(Decision.objects.order_by("pk").values_list("code", flat=True))


class TestAPauseOverTheDay:
    def test_is_kept_to_after_an_outage(self, world, rule):
        paused(rule, world, until=w.NOON + 2 * w.HOUR)
        world.at = w.NOON + 3 * w.HOUR
        world.run()
        assert not world.gateway.charged
        assert codes() == ["paused_by_owner"]
        assert Rule.objects.get().next_index == 1

    def test_names_the_pause_for_those_slept_through_in_it_and_not_a_failure(self, world, rule):
        paused(rule, world, until=w.NOON + 40 * w.DAY)
        world.at = w.NOON + 62 * w.DAY + w.HOUR
        world.run()
        assert codes() == ["paused_by_owner", "paused_by_owner", "missed"]
        assert not world.gateway.charged

    def test_ends_what_was_opened_before_it_and_was_to_be_sent_in_it(self, world, rule):
        w.rail(deferred_since=world.at)
        world.at = w.NOON
        world.run()
        assert Recharge.objects.get().state == "waiting"
        world.later(w.MINUTE)
        paused(rule, world, until=w.NOON + 2 * w.HOUR)
        w.rail(deferred_since=None)
        world.at = w.NOON + 3 * w.HOUR
        world.run()
        assert (Recharge.objects.get().state, world.gateway.charged) == ("canceled", {})

    def test_that_ended_before_it_fell_due_leaves_it_alone(self, world, rule):
        paused(rule, world, until=w.NOON - w.HOUR)
        world.at = w.NOON + 3 * w.HOUR
        world.run()
        assert Recharge.objects.get().state == "completed"
        w.assert_balanced()

    def test_holds_back_the_schedule_alone_once_it_is_over(self, world, rule):
        paused(rule, world, until=w.NOON + 2 * w.HOUR)
        world.at = w.NOON + 3 * w.HOUR
        Rule.objects.update(threshold_minor=1000)
        type(rule.line).objects.update(balance_minor=980, balance_observed_at=world.at)
        world.run()
        assert Recharge.objects.get().trigger == "low_balance"
        assert codes() == ["paused_by_owner", "charge"]
        w.assert_balanced()

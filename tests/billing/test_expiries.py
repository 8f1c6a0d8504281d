"""A validity that ends: tried until a charge or that end, at most once a day, told once a cause."""

from datetime import timedelta

import pytest

from billing.gateways.base import Refused
from billing.models import Binding, Decision, Notice, Recharge, Rule
from billing.plans import contract
from billing.recharges import machine
from billing.refunds import approvals
from billing.rules import readings
from billing.rules.balances import Reading
from lines.carriers.base import Rejected
from lines.models import Line
from tests import world as w

pytestmark = pytest.mark.django_db

DECLINED = Refused("BUYER_BALANCE_NOT_ENOUGH")


@pytest.fixture
def rule(world) -> Rule:
    """The validity ends in ten days; it is prolonged five days before."""
    return expiring(world)


def expiring(world, **more) -> Rule:
    w.rail(retry_ladder_s=[])
    line = w.line(balance_minor=9000, valid_until=world.at + 10 * w.DAY)
    return w.rule(line, expiry_days_before=5, wake_at=world.at + 5 * w.DAY, **more)


def push(rule, balance_minor, at) -> None:
    readings.push(reading=Reading(rule.line_id, balance_minor, at), at=at)
    rule.refresh_from_db()


def on(world, rule, days) -> None:
    for _ in range(2 * days):
        push(rule, 9000, world.at)
        world.run()
        world.later(12 * w.HOUR)


def each_hour(world, days) -> None:
    for _ in range(24 * days):
        world.run()
        world.later(w.HOUR)


def tries() -> list[tuple[str, str]]:
    return list(Recharge.objects.order_by("pk").values_list("period_key", "state"))


def refusals() -> list[str]:
    return list(Decision.objects.filter(is_charge=False).values_list("code", flat=True))


class TestAnExpiryThatWasRefused:
    def test_by_a_pause_is_tried_when_it_ends(self, world, rule):
        contract.pause(rule=rule, until=world.at + 7 * w.DAY, at=world.at)
        world.later(6 * w.DAY)
        push(rule, 500, world.at)
        world.run()
        world.later(w.DAY + w.HOUR)
        on(world, rule, 2)
        assert Recharge.objects.filter(trigger="expiry").exists()
        w.assert_balanced()

    def test_by_a_cap_is_told_once_and_tried_once_it_allows(self, world):
        expiring(world)
        Binding.objects.update(max_per_month_minor=4000)
        world.later(5 * w.DAY)
        each_hour(world, 3)
        assert refusals() == ["cap_binding_month"]
        assert Notice.objects.filter(kind="cap_reached").count() == 1
        Binding.objects.update(max_per_month_minor=None)
        world.later(w.DAY)
        world.run()
        assert tries() == [("2026-12-02", "completed")]

    def test_is_looked_at_again_the_next_day_and_not_each_minute(self, world):
        rule = expiring(world)
        Binding.objects.update(max_per_month_minor=4000)
        world.later(5 * w.DAY)
        assert world.run() == 1
        rule.refresh_from_db()
        assert rule.wake_at == w.NOON + 5 * w.DAY + 12 * w.HOUR  # midnight in Shanghai
        for _ in range(5):
            world.later(w.MINUTE)
            push(rule, 9000, world.at)
            assert (world.run(), rule.wake_at) == (0, w.NOON + 5 * w.DAY + 12 * w.HOUR)

    def test_by_a_resting_method_is_tried_when_it_is_used_again(self, world, rule):
        Binding.objects.update(paused_at=world.at, pause_reason="breaker")
        world.later(5 * w.DAY)
        world.run()
        assert (tries(), refusals()) == ([], ["binding_paused"])
        Binding.objects.update(paused_at=None, pause_reason="")
        world.later(w.DAY)
        world.run()
        assert tries() == [("2026-12-02", "completed")]

    def test_by_the_systems_pause_is_tried_when_that_is_lifted(self, world, rule):
        Rule.objects.update(paused_at=world.at, pause_reason="breaker")
        world.later(5 * w.DAY)
        each_hour(world, 1)
        assert (tries(), refusals()) == ([], ["paused_by_system"])
        Rule.objects.update(paused_at=None, pause_reason="", wake_at=world.at)
        world.run()
        assert tries() == [("2026-12-02", "completed")]

    def test_by_the_payers_bank_is_tried_again_the_next_day(self, world, rule):
        world.gateway.script = [DECLINED]
        world.later(5 * w.DAY)
        each_hour(world, 2)
        assert tries() == [("2026-12-02", "failed"), ("2026-12-02:2026-11-28", "completed")]
        w.assert_balanced()

    def test_and_was_merged_is_tried_again_too(self, world, rule):
        world.gateway.script = [DECLINED]
        world.later(5 * w.DAY)
        push(rule, 500, world.at)
        world.run()
        assert tries() == [("e1", "failed")]
        world.later(2 * w.HOUR)
        push(rule, 9000, world.at)
        world.later(w.DAY)
        world.run()
        assert tries()[1:] == [("2026-12-02:2026-11-28", "completed")]

    def test_is_tried_once_a_day_at_most_and_never_after_its_end(self, world, rule):
        world.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")] * 99
        Binding.objects.update(failures_in_a_row=0)
        world.later(5 * w.DAY)
        for _ in range(10):
            each_hour(world, 1)
            Binding.objects.update(failures_in_a_row=0, paused_at=None, pause_reason="")
            Rule.objects.update(paused_at=None, pause_reason="")
        days = list(Recharge.objects.values_list("cap_day", flat=True))
        assert len(days) == len(set(days)) <= 6
        w.assert_balanced()

    def test_by_a_person_who_called_it_off_is_spent(self, world, rule):
        w.rail(deferred_since=world.at)
        world.later(5 * w.DAY)
        world.run()
        one = Recharge.objects.get()
        machine.cancel(
            recharge=one, actor=rule.line.owner, because="canceled_by_owner", at=world.at
        )
        w.rail(deferred_since=None)
        each_hour(world, 3)
        assert tries() == [("2026-12-02", "canceled")]

    def test_and_given_back_since_the_carrier_refused_is_tried_again(self, world, rule):
        world.carrier.script = [Rejected("unknownResource", "", True)]
        world.later(5 * w.DAY)
        each_hour(world, 2)
        assert tries() == [("2026-12-02", "refunded"), ("2026-12-02:2026-11-28", "completed")]
        w.assert_balanced()


class TestAnExpiryThatWasCharged:
    def test_and_given_back_since_a_person_asked_is_spent(self, world, rule):
        world.later(5 * w.DAY)
        world.run()
        asked = approvals.request(
            recharge=Recharge.objects.get(),
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=world.at,
        )
        approvals.approve(refund=asked, approved_by=w.person("finance"), at=world.at)
        each_hour(world, 3)
        assert tries() == [("2026-12-02", "refunded")]
        w.assert_balanced()

    def test_is_spent_though_the_carrier_does_not_prolong(self, world, rule):
        world.later(5 * w.DAY)
        each_hour(world, 6)
        assert tries() == [("2026-12-02", "completed")]

    def test_has_its_next_validity_tried_under_a_name_of_its_own(self, world, rule):
        world.later(5 * w.DAY)
        world.run()
        until = world.at + 90 * w.DAY
        reading = Reading(rule.line_id, 9000, world.at, valid_until=until)
        readings.push(reading=reading, at=world.at)
        world.later(85 * w.DAY)
        world.run()
        assert [state for _, state in tries()] == ["completed", "completed"]


class TestAValidityThatHasEnded:
    def test_is_spent_by_its_end_and_told_once(self, world, rule):
        Rule.objects.update(wake_at=None)
        world.later(10 * w.DAY + w.HOUR)
        Rule.objects.update(wake_at=world.at)
        each_hour(world, 1)
        assert (tries(), refusals()) == ([], ["missed"])
        rule.refresh_from_db()
        assert (rule.expiry_fired_for.isoformat(), rule.wake_at) == ("2026-12-02", None)

    def test_long_ago_is_nobodys_news(self, world, rule):
        Line.objects.update(valid_until=world.at - timedelta(days=90))
        Rule.objects.update(wake_at=world.at)
        world.run()
        assert (tries(), refusals()) == ([], [])

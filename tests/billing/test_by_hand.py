"""Recharges by hand beside a rule: what they hid from it, it sees when they end."""

import pytest

from billing import by_hand, intake, recharges, refunds
from billing.intake import Reading
from billing.models import Decision, Recharge, Rule
from lines.models import Line
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    return w.rule(w.line(balance_minor=1860), max_per_day_count=5)


def recharge_by_hand(rule, *, at, key="once") -> Recharge:
    return by_hand.recharge(
        line=rule.line,
        binding=rule.binding,
        face_minor=3000,
        owner=rule.line.owner,
        idempotency_key=key,
        at=at,
    )


def push(rule, balance_minor, *, at):
    intake.push(reading=Reading(rule.line_id, balance_minor, at), at=at)
    rule.refresh_from_db()


class TestALowBalanceMeanwhile:
    def test_is_left_to_the_recharge_on_its_way(self, world, rule):
        recharge_by_hand(rule, at=world.at)
        push(rule, 980, at=world.at)
        assert world.run() > 0
        assert list(Recharge.objects.values_list("trigger", flat=True)) == ["manual"]
        assert not Decision.objects.exists()
        w.assert_balanced()

    def test_recharges_by_itself_once_the_one_by_hand_is_canceled(self, world, rule):
        opened = recharge_by_hand(rule, at=world.at)
        push(rule, 980, at=world.at)
        assert rule.wake_at is None
        recharges.cancel(
            recharge=opened, actor=rule.line.owner, because="canceled_by_owner", at=world.at
        )
        world.run()
        assert list(Recharge.objects.order_by("pk").values_list("trigger", "state")) == [
            ("manual", "canceled"),
            ("low_balance", "completed"),
        ]
        assert list(world.gateway.charged.values()) == [5000]
        w.assert_balanced()

    def test_does_not_wake_a_rule_that_is_off_or_has_fired_already(self, world, rule):
        opened = recharge_by_hand(rule, at=world.at)
        Rule.objects.update(is_on=False)
        recharges.cancel(
            recharge=opened, actor=rule.line.owner, because="canceled_by_owner", at=world.at
        )
        rule.refresh_from_db()
        assert (rule.wake_at, rule.episode) == (None, 1)


class TestOneThatIsGivenBack:
    def test_has_the_balance_asked_for_and_the_rule_looks_again(self, world, rule):
        recharge_by_hand(rule, at=world.at)
        world.run()
        world.later(w.HOUR)
        push(rule, 1200, at=world.at)  # with the 30.00 in it, which its holder has used
        refund = refunds.request(
            recharge=Recharge.objects.get(),
            amount_minor=3000,
            reason="by mistake",
            requested_by=w.person("support"),
            at=world.at,
        )
        Line.objects.update(poll_at=None)
        refunds.approve(refund=refund, approved_by=w.person("finance"), at=world.at)
        world.run()
        asked_at = world.at + w.MINUTE / 2
        assert Line.objects.get().poll_at == asked_at
        push(rule, -1800, at=asked_at)
        world.at = asked_at
        world.run()
        assert Recharge.objects.filter(trigger="low_balance", state="completed").count() == 1
        w.assert_balanced()

"""What an end without payment does to the rule: it may fire again once cool, and no sooner."""

import pytest

from billing.models import Recharge, Rule
from billing.recharges import aftermath
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    """One that has fired: its recharge waits for the rail, its latch is spent."""
    w.rail(deferred_since=world.at)
    fired = w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    fired.refresh_from_db()
    assert (fired.is_armed, fired.episode) == (False, 1)
    return fired


def ended(rule: Rule, world, **more) -> Rule:
    Rule.objects.update(**({"wake_at": None} | more))
    ids = list(Recharge.objects.values_list("pk", flat=True))
    aftermath.unpaid(recharge_ids=ids, at=world.at)
    rule.refresh_from_db()
    return rule


class TestUnpaid:
    def test_arms_it_for_a_new_episode_after_its_cool_down(self, world, rule):
        again = ended(rule, world)
        assert (again.is_armed, again.episode) == (True, 2)
        assert again.wake_at == again.cooldown_until == world.at + w.HOUR

    def test_never_puts_off_a_look_that_comes_sooner(self, world, rule):
        soon = world.at + w.MINUTE
        assert ended(rule, world, wake_at=soon).wake_at == soon

    def test_begins_no_second_episode_where_it_is_armed_already(self, world, rule):
        assert ended(rule, world, is_armed=True, episode=4).episode == 4

    def test_leaves_a_rule_that_is_off_alone(self, world, rule):
        off = ended(rule, world, is_on=False)
        assert (off.is_armed, off.episode, off.wake_at) == (False, 1, None)

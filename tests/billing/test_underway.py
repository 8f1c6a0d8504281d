"""What a change of the plan makes of the recharge that is under way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.gateways.base import Pending, Refused
from billing.models import Recharge, Rule
from billing.plans import contract
from billing.plans.underway import underway
from billing.rules import by_hand
from tests import world as w
from tests.billing import plans_world as p

pytestmark = pytest.mark.django_db


def draft_of(**more):
    rule = Rule.objects.select_related("line__carrier", "binding__rail").get()
    return replace(contract.draft_of(rule), **more)


@pytest.fixture
def declined(world):
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
    world.run()
    return world


def becomes(**more):
    found = underway(draft_of(**more))
    return found and (found.becomes, found.because)


class TestWhatIsUnderWay:
    def test_is_nothing_on_a_line_at_rest(self, world):
        w.rule()
        assert becomes() is None

    def test_goes_on_where_it_fits(self, declined):
        assert becomes() == ("goes_on", "")
        assert becomes(remind_days_before=(3,)) == ("goes_on", "")

    def test_ends_where_it_does_not(self, declined):
        other = w.binding(draft_of().line.owner)
        assert becomes(binding=other) == ("ends", "method_changed")
        assert becomes(face_minor=3000) == ("ends", "amount_changed")
        assert becomes(threshold_minor=None) == ("ends", "trigger_gone")

    def test_is_finished_once_it_was_sent(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Pending("P1")]
        world.run()
        assert becomes(face_minor=3000) == ("finished", "")

    def test_by_its_owners_hand_goes_on(self, world):
        rule = w.rule()
        by_hand.recharge(line=rule.line, binding=rule.binding, face_minor=5000,
                         owner=rule.line.owner, idempotency_key="k", at=world.at)  # fmt: skip
        assert becomes(face_minor=3000) == ("goes_on", "")

    def test_and_ends_is_ended_at_once_and_the_new_terms_charged(self, declined):
        declined.later(timedelta(minutes=1))
        other = w.binding(draft_of().line.owner)
        p.confirm(draft_of(binding=other), rule=Rule.objects.get(), at=declined.at)
        declined.run()
        assert list(Recharge.objects.order_by("pk").values_list("state", "binding")) == [
            ("canceled", Recharge.objects.order_by("pk")[0].binding_id), ("completed", other.pk),
        ]  # fmt: skip
        w.assert_balanced()

    def test_and_goes_on_keeps_to_its_ladder(self, declined):
        act_at = Recharge.objects.get().act_at
        declined.later(timedelta(minutes=1))
        p.confirm(draft_of(remind_days_before=(3,)), rule=Rule.objects.get(), at=declined.at)
        declined.run()
        assert (Recharge.objects.get().state, Recharge.objects.get().act_at) == ("declined", act_at)

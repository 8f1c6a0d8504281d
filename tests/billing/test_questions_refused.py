"""A carrier that will not even be asked: ours to mend at once, and nothing follows for a line."""

import pytest

from billing.bindings import lifecycle
from billing.engine import polling
from billing.gateways.base import (
    ActionRequired,
    BindingAnswer,
    BindingFacts,
    BindingStatus,
    Pending,
    Succeeded,
    Unknown,
)
from billing.models import Rail, Recharge, Refund
from billing.operators import attestations, operations
from billing.recharges import waking
from billing.refunds import approvals
from lines.carriers.base import Balance, BalanceAnswer, NotAllowed
from lines.models import Carrier, Delivery, Line
from tests import world as w
from tests.fakes import LOST_AFTER, LOST_BEFORE

pytestmark = pytest.mark.django_db


def only() -> Recharge:
    return Recharge.objects.get()


@pytest.fixture
def due(world):
    w.carrier(), w.rail()
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


class TestACarrierThatMayNotBeAsked:
    @pytest.mark.parametrize("lost", [LOST_BEFORE, LOST_AFTER])
    def test_about_an_unknown_credit_is_with_an_operator_at_once(self, due, lost):
        due.carrier.script = [lost, *[NotAllowed("unauthorised")] * 5]
        due.run()
        due.later(w.MINUTE)
        for _ in range(5):
            due.run()
            recharge = only()
            assert (recharge.state, recharge.attention) == ("delivery_unknown", "config")
            assert recharge.act_at == due.at + 10 * w.MINUTE
            due.later(10 * w.MINUTE)
        assert len(due.carrier.calls["credit"]) == 1
        assert due.gateway.refunded == {}
        w.assert_balanced()

        for _ in range(2):
            due.run()
        assert (only().state, only().attention) == ("completed", "")
        assert [len(times) for times in due.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_about_an_order_whose_worker_died_is_sent_no_second_one(self, due):
        def die(*, request):
            due.carrier.credits[request.reference].append(request.amount_minor)
            raise SystemExit

        plain, due.carrier.credit = due.carrier.credit, die
        with pytest.raises(SystemExit):
            due.run()
        due.carrier.credit = plain
        due.lapse_leases()
        due.carrier.script = [NotAllowed("unauthorised")]
        due.run()
        assert (only().state, only().attention) == ("delivery_unknown", "config")
        due.later(10 * w.MINUTE)
        due.run()
        assert only().state == "completed"
        assert [len(times) for times in due.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_about_a_completed_one_is_asked_again(self, due):
        due.run()
        due.carrier.script = [NotAllowed("unauthorised")]
        waking.wake_delivery(reference=Delivery.objects.get().reference, carrier_ref="", at=due.at)
        due.run()
        assert (only().state, only().attention) == ("completed", "config")
        assert only().act_at == due.at + 10 * w.MINUTE
        due.later(10 * w.MINUTE)
        due.run()
        assert (only().state, only().attention, only().act_at) == ("completed", "", None)
        w.assert_balanced()

    def test_before_a_credit_is_taken_back_keeps_it_where_it_is(self, due):
        due.run()
        refund = approvals.request(
            recharge=only(),
            amount_minor=5000,
            reason="x",
            requested_by=w.person("support"),
            at=due.at,
        )
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=due.at)
        due.carrier.script = [NotAllowed("unauthorised")]
        due.run()
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("reversing", "config")
        assert due.carrier.calls["reverse"] == []
        due.later(10 * w.MINUTE)
        due.run()
        assert (Refund.objects.get().state, only().state) == ("succeeded", "refunded")
        w.assert_balanced()


class TestThatWeAreRefused:
    def test_a_balance_stands_on_the_carrier_until_it_answers(self, world, monkeypatch):
        w.carrier()
        w.line(poll_at=world.at, balance_minor=5000)
        refused = BalanceAnswer(NotAllowed("unauthorised"))
        monkeypatch.setattr(world.carrier, "balance", lambda *, address: refused)
        for _ in range(2):
            polling.poll_balances(at=world.at, outside=world.outside, limit=200)
            assert Carrier.objects.get().refuses_us_since == w.NOON
            world.later(10 * w.MINUTE)
        told = Balance(4000, "CNY", world.at, None, "active")
        monkeypatch.setattr(world.carrier, "balance", lambda *, address: BalanceAnswer(told))
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        assert Carrier.objects.get().refuses_us_since is None
        assert Line.objects.get().balance_minor == 4000

    def test_an_agreement_stands_on_the_rail_until_it_answers(self, world, monkeypatch):
        w.rail()
        binding = w.binding()
        says = [BindingAnswer(Unknown("no such key", is_ours=True))]
        monkeypatch.setattr(world.gateway, "get_binding", lambda **_asked: says[-1])
        after = lifecycle.refresh(binding=binding, gateway=world.gateway, at=w.NOON)
        assert (after.state, Rail.objects.get(code="alipay").refuses_us_since) == ("active", w.NOON)
        says.append(BindingAnswer(BindingFacts(BindingStatus.ACTIVE)))
        lifecycle.refresh(binding=binding, gateway=world.gateway, at=w.NOON + w.HOUR)
        assert Rail.objects.get(code="alipay").refuses_us_since is None

    def test_a_charge_is_with_an_operator_at_once_and_is_not_sent_again(self, due):
        due.gateway.script = [Unknown("lost"), Unknown("no such key", is_ours=True)]
        due.run(batches=1)
        due.later(10 * w.MINUTE)
        due.run(batches=1)
        assert (only().state, only().attention) == ("payment_unknown", "config")
        assert only().act_at == due.at + 10 * w.MINUTE
        assert len(due.gateway.calls["charge"]) == 1
        w.assert_balanced()

    @pytest.mark.parametrize(
        ("said", "state"),
        [
            (Pending("P-1"), "payment_pending"),
            (ActionRequired("http://rail.invalid/confirm"), "action_required"),
        ],
    )
    def test_for_two_weeks_a_payment_under_way_is_two_peoples(self, due, said, state):
        due.gateway.script = [said]
        due.run(batches=1)
        Recharge.objects.update(queries=99, act_at=due.at + w.DAY)
        due.later(w.DAY)
        due.gateway.script = [Unknown("no such key", is_ours=True)]
        due.run(batches=1)
        assert (only().state, only().attention) == (state, "payment_unknown")
        assert (only().act_at, only().crash_count) == (None, 0)
        assert attestations.possible(only()) == ["nothing", "as_agreed", "given_back"]
        operations.query_again(recharge=only(), at=due.at)
        due.gateway.script = [Succeeded("T-1", 5000, "CNY")]
        due.run()
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()

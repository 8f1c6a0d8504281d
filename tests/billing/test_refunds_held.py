"""Refunds that do not go through: nobody to ask, workers that die over one, giving one up."""

import time
from dataclasses import replace

import pytest

from billing.engine import executor
from billing.gateways.base import Answer, Refused, Succeeded
from billing.models import Recharge, Refund
from billing.operators import operations
from billing.recharges import claims
from billing.refunds import approvals, refunding
from billing.refunds import claims as refund_claims
from lines.carriers.base import Rejected
from lines.models import Delivery
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def completed(world):
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    return Recharge.objects.get()


@pytest.fixture
def support():
    return w.person("support", is_staff=True)


@pytest.fixture
def finance():
    return w.person("finance", is_staff=True)


@pytest.fixture
def approved(world, completed, support, finance):
    refund = ask(completed, support)
    return approvals.approve(refund=refund, approved_by=finance, at=world.at)


class Away(dict):
    """A rail that is there for the charge, and taken out of the settings before the refund."""

    def __init__(self, world):
        super().__init__(alipay=world.gateway)
        self.world = world

    def __contains__(self, rail):
        return not self.world.gateway.charged and super().__contains__(rail)


def only() -> Recharge:
    return Recharge.objects.get()


def kill(**_):
    raise SystemExit  # as kill -9: nothing after this line runs


def ask(recharge, support, amount_minor=5000):
    return approvals.request(
        recharge=recharge,
        amount_minor=amount_minor,
        reason="wrong line",
        requested_by=support,
        at=w.NOON,
    )


class TestARailOrCarrierThatIsNotConfigured:
    """Nothing was asked, so nothing is unknown: it waits, and an operator is told why."""

    def work(self, world, **gone):
        executor.run_batch(at=world.at, outside=replace(world.outside, **gone))

    def test_is_not_asked_for_the_money_and_gives_it_back_when_it_is_there_again(
        self, world, approved
    ):
        self.work(world)  # the credit comes back from the carrier
        for _ in range(6):
            self.work(world, gateways={})
            world.later(w.MINUTE)
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("intended", "config")
        assert (approved.queries, approved.crash_count, approved.lease_until) == (0, 0, None)
        assert approved.act_at == world.at
        assert world.gateway.calls["refund"] == []
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("succeeded", "")
        w.assert_balanced()

    def test_is_not_asked_for_the_credit_and_neither_is_the_rail(self, world, approved):
        world.carrier.can_query_by_reference = False  # what may be sent once must not be lost
        for _ in range(6):
            self.work(world, adapter_for=lambda _carrier: None)
            world.later(w.MINUTE)
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("reversing", "config")
        assert (approved.queries, approved.crash_count) == (0, 0)
        assert (world.carrier.calls["reverse"], world.gateway.calls["refund"]) == ([], [])
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        assert world.carrier.calls["reverse"] == [approved.reversal_ref]
        w.assert_balanced()

    def test_does_not_keep_money_that_never_became_credit(self, world):
        """The carrier has no part in that."""
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.carrier.script = [Rejected("GONE", is_permanent=True)]
        executor.run_batch(at=world.at, outside=replace(world.outside, gateways=Away(world)))
        assert Refund.objects.get().attention == "config"
        world.later(w.MINUTE)
        self.work(world, adapter_for=lambda _carrier: None)
        assert (Refund.objects.get().state, only().state) == ("succeeded", "refunded")
        w.assert_balanced()

    def test_is_no_unknown_either_when_the_batch_ran_out_of_time(self, world, approved):
        world.carrier.can_query_by_reference = False
        for _ in range(6):
            rows = refund_claims.claim(at=world.at, limit=10)
            executor.refund(rows, at=world.at, outside=world.outside, began=time.monotonic() - 3600)
            world.later(w.MINUTE / 4)
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("reversing", "")
        assert (approved.queries, approved.crash_count, approved.act_at) == (0, 0, world.at)
        assert world.carrier.calls["reverse"] == []
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        w.assert_balanced()

    def test_is_not_given_back_by_a_worker_that_has_lost_it(self, world, approved):
        stalled = refund_claims.claim(at=world.at, limit=10)
        Refund.objects.update(lease_until=world.at - w.DAY)
        [mine] = refund_claims.claim(at=world.at, limit=10)
        held = Refund.objects.values("lease_until", "act_at", "crash_count", "fence").get()
        assert (held["fence"], held["crash_count"]) == (mine.fence, 2)
        later = world.at + w.HOUR
        refund_claims.release_all(stalled, act_at=later, at=world.at, attention="config")
        assert Refund.objects.values("lease_until", "act_at", "crash_count", "fence").get() == held
        assert not approved.cases.exists()
        refund_claims.release_all([mine], act_at=later, at=world.at, attention="config")
        approved.refresh_from_db()
        assert (approved.lease_until, approved.act_at) == (None, later)
        assert [case.code for case in approved.cases.all()] == ["config"]
        w.assert_balanced()


class TestARefundThatKillsItsWorkers:
    def test_waits_for_a_person_after_the_third(self, world, approved):
        world.gateway.refund = kill
        for _ in range(claims.MAX_CRASHES):
            with pytest.raises(SystemExit):
                world.run()
            Refund.objects.update(lease_until=None)
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("intended", "crashed")
        assert (approved.act_at, Recharge.objects.get().attention) == (None, "crashed")
        w.assert_balanced()

    def test_goes_on_when_an_operator_has_it_asked_again(self, world, approved):
        Refund.objects.update(crash_count=claims.MAX_CRASHES)
        world.run()
        approved.refresh_from_db()
        assert (approved.attention, world.gateway.refunded) == ("crashed", {})
        operations.query_refund(refund=approved, at=world.at)
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("succeeded", "")
        w.assert_balanced()


class TestGivingUp:
    """Only what the rail has refused for good, and never a line's credit with it."""

    @pytest.fixture
    def refused(self, world, completed, support, finance):
        """The credit is back from the carrier; the rail will not give the money back."""

        def refused(amount_minor):
            refund = ask(completed, support, amount_minor)
            approvals.approve(refund=refund, approved_by=finance, at=world.at)
            world.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")] * 6
            for _ in range(6):
                world.run()
                world.later(w.HOUR)
            refund.refresh_from_db()
            assert (refund.state, refund.attention) == ("intended", "refund_refused")
            return refund

        return refused

    def test_after_the_whole_credit_came_back_lets_the_line_be_credited_again(
        self, world, refused, completed, finance
    ):
        refund = refused(5000)
        approvals.give_up(refund=refund, given_up_by=finance, at=world.at)
        completed.refresh_from_db()
        assert (completed.state, completed.attention) == ("reversed", "undeliverable")
        assert completed.refund_committed_minor == 0
        assert Delivery.objects.get().state == "reversed"
        w.assert_balanced()

        operations.redeliver(recharge=completed, actor=finance, reason="owed", at=world.at)
        world.run()
        completed.refresh_from_db()
        assert (completed.state, completed.attention) == ("completed", "")
        assert [len(times) for times in world.carrier.credits.values()] == [1, 1]
        assert world.gateway.refunded == {}
        w.assert_balanced()

    def test_is_refused_after_a_part_of_the_credit_came_back(
        self, world, refused, completed, finance
    ):
        refund = refused(2000)
        with pytest.raises(approvals.CreditTakenBack):
            approvals.give_up(refund=refund, given_up_by=finance, at=world.at)
        completed.refresh_from_db()
        assert completed.state == "refunding"
        operations.query_refund(refund=refund, at=world.at)
        world.run()
        completed.refresh_from_db()
        assert (completed.state, list(world.gateway.refunded.values())) == ("completed", [2000])
        w.assert_balanced()

    def test_is_refused_where_the_rail_may_have_given_it_back(self, world, refused, finance):
        refund = refused(5000)
        Refund.objects.update(state="unknown")
        with pytest.raises(approvals.NotRefusedByRail):
            approvals.give_up(refund=refund, given_up_by=finance, at=world.at)
        assert only().state == "refunding"

    def test_is_refused_while_the_rail_is_being_asked_again(self, world, refused, finance):
        refund = refused(5000)
        operations.query_refund(refund=refund, at=world.at)
        [row] = refund_claims.claim(at=world.at, limit=10)
        with pytest.raises(approvals.NotRefusedByRail):
            approvals.give_up(refund=refund, given_up_by=finance, at=world.at)
        paid = Answer(Succeeded("R1", 5000, "CNY"))
        refunding.record([refunding.Asked(row, paid)], at=world.at)
        refund.refresh_from_db()
        assert (refund.state, only().state) == ("succeeded", "refunded")
        w.assert_balanced()

    def test_of_what_is_left_after_a_part_went_back_does_not_credit_the_whole_again(
        self, world, completed, refused, support, finance
    ):
        part = ask(completed, support, 2000)
        approvals.approve(refund=part, approved_by=finance, at=world.at)
        world.run()
        completed.refresh_from_db()
        approvals.give_up(refund=refused(3000), given_up_by=finance, at=world.at)
        completed.refresh_from_db()
        assert (completed.state, completed.refund_committed_minor) == ("reversed", 2000)
        with pytest.raises(operations.PartlyRefunded):
            operations.redeliver(recharge=completed, actor=finance, reason="owed", at=world.at)
        assert len(world.carrier.credits) == 1
        w.assert_balanced()

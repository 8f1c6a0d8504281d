"""Money on its way back: once, never too much, and after delivery only with the credit."""

from datetime import timedelta

import pytest

from billing import four_eyes
from billing.engine import sweeps
from billing.gateways.base import NotFound, Refused, Succeeded, Unknown
from billing.ledger import verification
from billing.models import (
    Notice,
    PromotionUse,
    Recharge,
    RechargeMove,
    Refund,
    Rule,
    Transfer,
)
from billing.recharges import waking
from billing.refunds import approvals
from billing.rules import by_hand
from lines.carriers.base import Credited, NotAllowed, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import PromotionFactory
from tests.fakes import LOST_AFTER

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


def only() -> Recharge:
    return Recharge.objects.get()


def ask(recharge, support, amount_minor=5000):
    return approvals.request(
        recharge=recharge,
        amount_minor=amount_minor,
        reason="wrong line",
        requested_by=support,
        at=w.NOON,
    )


class TestNobodyApproves:
    def test_and_after_a_week_it_ends_as_if_never_asked_for(self, world, completed, support):
        refund = ask(completed, support, 1500)
        world.later(timedelta(days=7) - timedelta(seconds=1))
        assert approvals.expire(at=world.at, limit=10) == 0
        world.later(timedelta(seconds=1))
        assert sweeps.slow(at=world.at, outside=world.outside).requests == 1
        assert approvals.expire(at=world.at, limit=10) == 0

        refund.refresh_from_db()
        assert (refund.state, refund.settled_at) == ("refused", world.at)
        assert (only().state, only().refund_committed_minor) == ("completed", 0)
        last = RechargeMove.objects.latest("pk")
        assert (last.source, last.because, last.actor) == ("refunding", "request_expired", None)
        world.run()
        assert world.gateway.refunded == {}
        w.assert_balanced()

    def test_and_then_it_is_too_late_to(self, world, completed, support, finance):
        refund = ask(completed, support)
        world.later(timedelta(days=7))
        with pytest.raises(four_eyes.RequestExpired):
            approvals.approve(refund=refund, approved_by=finance, at=world.at)
        world.run()
        refund.refresh_from_db()
        assert (refund.state, world.gateway.refunded) == ("requested", {})
        w.assert_balanced()

    def test_is_not_said_of_one_that_was_approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        approvals.approve(refund=refund, approved_by=finance, at=world.at)
        assert approvals.expire(at=world.at + timedelta(days=8), limit=10) == 0
        refund.refresh_from_db()
        assert refund.state == "reversing"


class TestAsking:
    def test_waits_for_a_second_person_and_moves_nothing(self, world, completed, support):
        refund = ask(completed, support)
        world.run()
        assert refund.state == "requested"
        assert world.gateway.refunded == {}
        assert not Transfer.objects.filter(kind="refund").exists()
        w.assert_balanced()

    def test_the_same_person_cannot_approve(self, world, completed, support):
        refund = ask(completed, support)
        with pytest.raises(four_eyes.SamePerson):
            approvals.approve(refund=refund, approved_by=support, at=world.at)
        refund.refresh_from_db()
        assert (refund.state, refund.approved_by) == ("requested", None)

    def test_only_the_first_of_two_approvals_counts(self, world, completed, support, finance):
        refund = ask(completed, support)
        approvals.approve(refund=refund, approved_by=finance, at=world.at)
        with pytest.raises(four_eyes.NotWaiting):
            approvals.approve(refund=refund, approved_by=w.person("third"), at=world.at)
        world.run()
        assert list(world.gateway.refunded.values()) == [5000]

    @pytest.mark.parametrize(
        "changed",
        [{"amount_minor": 500}, {"currency": "USD"}, {"reason": "other"}, {"reversal_minor": 1}],
        ids=lambda changed: next(iter(changed)),
    )
    def test_is_approved_exactly_as_it_was_asked_for(
        self, world, completed, support, finance, changed
    ):
        refund = ask(completed, support)
        Refund.objects.update(**changed)
        refund.refresh_from_db()
        with pytest.raises(four_eyes.OperationChanged):
            approvals.approve(refund=refund, approved_by=finance, at=world.at)
        world.run()
        refund.refresh_from_db()
        assert (refund.state, refund.approved_by) == ("requested", None)
        assert world.gateway.refunded == {}

    @pytest.mark.parametrize("seen", ["", "0" * 64])
    def test_is_approved_only_as_the_page_showed_it(self, world, completed, support, finance, seen):
        refund = ask(completed, support)
        with pytest.raises(four_eyes.OperationChanged):
            approvals.approve(refund=refund, approved_by=finance, at=world.at, seen=seen)
        world.run()
        refund.refresh_from_db()
        assert (refund.state, world.gateway.refunded) == ("requested", {})

    @pytest.mark.parametrize("amount_minor", [0, -1, 5001])
    def test_never_more_than_was_charged_and_never_nothing(self, completed, support, amount_minor):
        with pytest.raises(approvals.TooMuch) as refusal:
            ask(completed, support, amount_minor)
        assert refusal.value.left_minor == 5000
        assert not Refund.objects.exists()

    def test_what_was_not_charged_cannot_be_refunded(self, completed, support):
        Recharge.objects.update(state="completed")
        other = w.line()
        tool = w.binding(other.owner)

        unpaid = by_hand.recharge(
            line=other,
            binding=tool,
            face_minor=5000,
            owner=other.owner,
            idempotency_key="k",
            at=w.NOON,
        )
        with pytest.raises(approvals.NotRefundable):
            ask(unpaid, support)

    def test_a_rejected_one_leaves_everything_as_it_was(self, world, completed, support, finance):
        refund = ask(completed, support)
        approvals.reject(refund=refund, rejected_by=finance, at=world.at)
        completed.refresh_from_db()
        assert (completed.state, completed.refund_committed_minor) == ("completed", 0)
        w.assert_balanced()

    def test_what_was_approved_cannot_be_rejected_any_more(
        self, world, completed, support, finance
    ):
        refund = ask(completed, support)
        approvals.approve(refund=refund, approved_by=finance, at=world.at)
        with pytest.raises(four_eyes.NotWaiting):
            approvals.reject(refund=refund, rejected_by=finance, at=world.at)
        refund.refresh_from_db()
        assert refund.state == "reversing"
        world.run()
        assert only().state == "refunded"


class TestAfterDelivery:
    def go(self, world, recharge, support, finance, amount_minor=5000):
        refund = ask(recharge, support, amount_minor)
        approvals.approve(refund=refund, approved_by=finance, at=world.at)
        world.run()
        refund.refresh_from_db()
        return refund

    def test_takes_the_credit_back_first_then_returns_the_money(
        self, world, completed, support, finance
    ):
        refund = self.go(world, completed, support, finance)
        assert refund.state == "succeeded"
        assert world.carrier.reversals == {refund.reversal_ref: 5000}
        assert world.gateway.refunded == {refund.reference: 5000}
        assert list(
            Transfer.objects.order_by("pk").values_list("kind", "source", "destination")
        ) == [
            ("charge", "rail:alipay", "undelivered"),
            ("deliver", "undelivered", "carrier:cmcc"),
            ("reverse", "carrier:cmcc", "undelivered"),
            ("refund", "undelivered", "rail:alipay"),
        ]
        completed.refresh_from_db()
        assert completed.state == "refunded"
        assert Delivery.objects.get().state == "reversed"
        assert set(verification.accounts()["CNY"].values()) == {0}
        w.assert_balanced()

    @pytest.mark.parametrize(
        ("chosen", "outside"), [(["inbox"], []), (["inbox", "email"], ["email"])]
    )
    def test_is_told_by_the_channels_its_owner_chose(
        self, world, completed, support, finance, chosen, outside
    ):
        Rule.objects.update(channels=chosen)
        self.go(world, completed, support, finance)
        told = Notice.objects.get(kind="refunded")
        assert list(told.deliveries.values_list("channel", flat=True)) == outside

    def test_of_a_line_without_a_rule_is_told_by_inbox_and_mail(self, world, support, finance):
        line = w.line()
        by_hand.recharge(
            line=line,
            binding=w.binding(line.owner),
            face_minor=5000,
            owner=line.owner,
            idempotency_key="once",
            at=world.at,
        )
        world.run()
        self.go(world, only(), support, finance)
        told = Notice.objects.get(kind="refunded")
        assert list(told.deliveries.values_list("channel", flat=True)) == ["email"]

    def test_in_parts_up_to_the_whole_and_no_further(self, world, completed, support, finance):
        self.go(world, completed, support, finance, 2000)
        completed.refresh_from_db()
        assert completed.state == "completed"
        w.assert_balanced()
        with pytest.raises(approvals.TooMuch) as refusal:
            ask(completed, support, 3001)
        assert refusal.value.left_minor == 3000
        self.go(world, completed, support, finance, 3000)
        completed.refresh_from_db()
        assert completed.state == "refunded"
        assert sorted(world.gateway.refunded.values()) == [2000, 3000]
        w.assert_balanced()

    def test_in_part_leaves_the_rest_to_go_back_when_the_carrier_reverses_it(
        self, world, completed, support, finance
    ):
        self.go(world, completed, support, finance, 2000)
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 3000
        waking.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
        world.run()
        completed.refresh_from_db()
        assert completed.state == "refunded"
        assert sorted(world.gateway.refunded.values()) == [2000, 3000]
        reversed_minor = Transfer.objects.filter(kind="reverse").order_by("pk")
        assert list(reversed_minor.values_list("amount_minor", flat=True)) == [2000, 3000]
        assert set(verification.accounts()["CNY"].values()) == {0}
        w.assert_balanced()

    def test_of_the_rest_finds_that_the_carrier_took_it_back_itself(
        self, world, completed, support, finance
    ):
        self.go(world, completed, support, finance, 2000)
        completed.refresh_from_db()
        world.carrier.reversals[Delivery.objects.get().reference] = 3000
        refund = self.go(world, completed, support, finance, 3000)
        completed.refresh_from_db()
        assert (refund.state, completed.state) == ("succeeded", "refunded")
        assert len(world.carrier.calls["reverse"]) == 1
        w.assert_balanced()

    def test_a_carrier_that_will_not_give_the_credit_back_keeps_the_money_too(
        self, world, completed, support, finance
    ):
        world.carrier.script = [Credited("C", 5000), Rejected("SPENT", is_permanent=True)]
        refund = self.go(world, completed, support, finance)
        completed.refresh_from_db()
        assert (refund.state, completed.state) == ("refused", "completed")
        assert completed.refund_committed_minor == 0
        assert world.gateway.refunded == {}
        w.assert_balanced()

    def test_a_carrier_that_refuses_us_is_asked_again_and_the_refund_stands(
        self, world, completed, support, finance
    ):
        world.carrier.script = [Credited("C", 5000), NotAllowed("unauthorised")]
        refund = self.go(world, completed, support, finance)
        assert (refund.state, refund.attention) == ("reversing", "config")
        assert refund.act_at == world.at + timedelta(minutes=10)
        assert world.gateway.refunded == {}
        w.assert_balanced()

        world.later(timedelta(minutes=10))
        world.run()
        refund.refresh_from_db()
        completed.refresh_from_db()
        assert (refund.state, completed.state) == ("succeeded", "refunded")
        assert list(world.carrier.reversals.values()) == [5000]
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_claws_the_promotion_back_in_proportion(self, world, support, finance):
        PromotionFactory.create(basis_points=1000, budget_minor=100_000)
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.run()
        recharge = Recharge.objects.get()
        assert (recharge.price_minor, recharge.discount_minor) == (4500, 500)
        assert list(world.carrier.credits.values()) == [[5000]]
        assert PromotionUse.objects.get().state == "consumed"

        self.go(world, recharge, support, finance, 1500)
        recharge.refresh_from_db()
        assert Refund.objects.get().promotion_minor == 167
        self.go(world, recharge, support, finance, 3000)
        assert verification.accounts()["CNY"]["promotion"] == 0
        assert set(verification.accounts()["CNY"].values()) == {0}
        w.assert_balanced()

    def test_claws_back_no_more_than_was_given_however_it_rounds(self, world, support, finance):
        PromotionFactory.create(basis_points=1000, budget_minor=100_000)
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.run()
        recharge = Recharge.objects.get()
        for _ in range(3):
            recharge.refresh_from_db()
            self.go(world, recharge, support, finance, 1500)
        parts = Refund.objects.order_by("pk").values_list("promotion_minor", flat=True)
        assert list(parts) == [167, 166, 167]  # a third is 166.67
        w.assert_balanced()


class TestTheRailsAnswer:
    @pytest.fixture
    def approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        return approvals.approve(refund=refund, approved_by=finance, at=world.at)

    def test_lost_is_asked_about_and_returned_once(self, world, approved):
        world.gateway.script = [LOST_AFTER]
        world.run()
        approved.refresh_from_db()
        assert approved.state == "unknown"
        world.later(w.MINUTE)
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        assert len(world.gateway.calls["refund"]) == 1
        w.assert_balanced()

    def test_not_found_sends_the_same_reference_again(self, world, approved):
        world.gateway.script = [Unknown("lost"), NotFound()]
        world.run()
        world.later(w.MINUTE)
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        assert set(world.gateway.calls["refund"]) == {approved.reference}
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    @pytest.mark.parametrize(
        "outcome", [Succeeded("R1", 4999, "CNY"), Succeeded("R1", 5000, "USD")]
    )
    def test_of_another_amount_or_currency_goes_to_a_person(self, world, approved, outcome):
        world.gateway.script = [outcome]
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("intended", "amount_differs")
        assert (only().state, only().attention) == ("refunding", "amount_differs")
        assert not Transfer.objects.filter(kind="refund").exists()
        w.assert_balanced()

    def test_refused_for_hours_ends_with_a_person_and_no_transfer(self, world, approved):
        world.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")] * 9
        for _ in range(7):
            world.run()
            world.later(w.HOUR)
        approved.refresh_from_db()
        assert approved.attention == "refund_refused"
        assert Recharge.objects.get().attention == "refund_refused"
        assert not Transfer.objects.filter(kind="refund").exists()
        w.assert_balanced()


class TestTheCarriersAnswer:
    @pytest.fixture
    def approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        return approvals.approve(refund=refund, approved_by=finance, at=world.at)

    def test_lost_is_not_repeated_before_a_late_effect_would_have_shown(self, world, approved):
        world.carrier.script = [Credited("C", 5000), NoAnswer("lost")]
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.act_at) == ("reversing", world.at + 2 * w.MINUTE)
        world.later(2 * w.MINUTE)
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        assert set(world.carrier.calls["reverse"]) == {approved.reversal_ref}
        w.assert_balanced()

    def test_lost_by_a_carrier_that_cannot_be_asked_is_never_repeated(self, world, approved):
        world.carrier.can_query_by_reference = False
        world.carrier.script = [NoAnswer("lost")]
        for _ in range(14):
            world.run()
            world.later(w.DAY)
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("reversing", "refund_unknown")
        assert len(world.carrier.calls["reverse"]) == 1
        assert world.gateway.refunded == {}
        w.assert_balanced()

    def test_missing_to_the_first_look_leaves_the_line_as_it_is(self, world, approved):
        world.carrier.script = [NoAnswer("down")]
        world.run()
        approved.refresh_from_db()
        assert (approved.state, approved.act_at) == ("reversing", world.at + 2 * w.MINUTE)
        assert world.carrier.calls["reverse"] == []
        assert world.gateway.refunded == {}

    def test_that_it_took_the_credit_back_itself_is_found_before_it_is_asked_to(
        self, world, approved, completed
    ):
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 5000
        world.run()
        approved.refresh_from_db()
        completed.refresh_from_db()
        assert (approved.state, completed.state) == ("succeeded", "refunded")
        assert world.carrier.calls["reverse"] == []  # the line is not debited a second time
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_that_it_took_the_credit_back_is_heard_after_a_refund_is_rejected(
        self, world, completed, support, finance
    ):
        refund = ask(completed, support)
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 5000
        waking.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
        world.run()
        approvals.reject(refund=refund, rejected_by=finance, at=world.at)
        world.run()
        completed.refresh_from_db()
        assert completed.state == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

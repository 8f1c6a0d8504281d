"""Money on its way back: once, never too much, and after delivery only with the credit."""

import time
from dataclasses import replace

import pytest

from billing import (
    by_hand,
    claims,
    executor,
    operations,
    recharges,
    refunding,
    refunds,
    verification,
)
from billing.gateways.base import Answer, NotFound, Refused, Succeeded, Unknown
from billing.models import Promotion, PromotionUse, Recharge, Refund, Transfer
from lines.carriers.base import Credited, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery
from tests import world as w
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
    return refunds.request(
        recharge=recharge,
        amount_minor=amount_minor,
        reason="wrong line",
        requested_by=support,
        at=w.NOON,
    )


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
        with pytest.raises(refunds.SamePerson):
            refunds.approve(refund=refund, approved_by=support, at=world.at)
        refund.refresh_from_db()
        assert refund.state == "requested"

    def test_only_the_first_of_two_approvals_counts(self, world, completed, support, finance):
        refund = ask(completed, support)
        refunds.approve(refund=refund, approved_by=finance, at=world.at)
        with pytest.raises(refunds.NotWaiting):
            refunds.approve(refund=refund, approved_by=w.person("third"), at=world.at)
        world.run()
        assert list(world.gateway.refunded.values()) == [5000]

    @pytest.mark.parametrize("amount_minor", [0, -1, 5001])
    def test_never_more_than_was_charged_and_never_nothing(self, completed, support, amount_minor):
        with pytest.raises(refunds.TooMuch) as refusal:
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
        with pytest.raises(refunds.NotRefundable):
            ask(unpaid, support)

    def test_a_rejected_one_leaves_everything_as_it_was(self, world, completed, support, finance):
        refund = ask(completed, support)
        refunds.reject(refund=refund, rejected_by=finance, at=world.at)
        completed.refresh_from_db()
        assert (completed.state, completed.refund_committed_minor) == ("completed", 0)
        w.assert_balanced()

    def test_what_was_approved_cannot_be_rejected_any_more(
        self, world, completed, support, finance
    ):
        refund = ask(completed, support)
        refunds.approve(refund=refund, approved_by=finance, at=world.at)
        with pytest.raises(refunds.NotWaiting):
            refunds.reject(refund=refund, rejected_by=finance, at=world.at)
        refund.refresh_from_db()
        assert refund.state == "reversing"
        world.run()
        assert only().state == "refunded"


class TestAfterDelivery:
    def go(self, world, recharge, support, finance, amount_minor=5000):
        refund = ask(recharge, support, amount_minor)
        refunds.approve(refund=refund, approved_by=finance, at=world.at)
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

    def test_in_parts_up_to_the_whole_and_no_further(self, world, completed, support, finance):
        self.go(world, completed, support, finance, 2000)
        completed.refresh_from_db()
        assert completed.state == "completed"
        w.assert_balanced()
        with pytest.raises(refunds.TooMuch) as refusal:
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
        recharges.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
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

    def test_of_a_part_goes_to_a_person_where_the_carrier_took_all_of_it_back(
        self, world, completed, support, finance
    ):
        world.carrier.reversals[Delivery.objects.get().reference] = 5000
        refund = self.go(world, completed, support, finance, 2000)
        completed.refresh_from_db()
        assert (refund.state, refund.attention) == ("reversing", "credit_differs")
        assert completed.attention == "credit_differs"
        assert world.gateway.refunded == {}
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

    def test_claws_the_promotion_back_in_proportion(self, world, support, finance):
        Promotion.objects.create(
            code="autumn",
            name="秋",
            name_en="Autumn",
            kind="discount",
            basis_points=1000,
            starts_at=w.NOON - w.DAY,
            ends_at=w.NOON + w.DAY,
            budget_minor=100_000,
        )
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


class TestTheRailsAnswer:
    @pytest.fixture
    def approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        return refunds.approve(refund=refund, approved_by=finance, at=world.at)

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
        return refunds.approve(refund=refund, approved_by=finance, at=world.at)

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
        recharges.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
        world.run()
        refunds.reject(refund=refund, rejected_by=finance, at=world.at)
        world.run()
        completed.refresh_from_db()
        assert completed.state == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()


class TestARailOrCarrierThatIsNotConfigured:
    """Nothing was asked, so nothing is unknown: it waits, and an operator is told why."""

    @pytest.fixture
    def approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        return refunds.approve(refund=refund, approved_by=finance, at=world.at)

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
            rows = refunding.claim(at=world.at, limit=10)
            executor._refund(
                rows, at=world.at, outside=world.outside, began=time.monotonic() - 3600
            )
            world.later(w.MINUTE)
        approved.refresh_from_db()
        assert (approved.state, approved.attention) == ("reversing", "")
        assert (approved.queries, approved.crash_count, approved.act_at) == (0, 0, world.at)
        assert world.carrier.calls["reverse"] == []
        world.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        w.assert_balanced()


class TestARefundThatKillsItsWorkers:
    @pytest.fixture
    def approved(self, world, completed, support, finance):
        refund = ask(completed, support)
        return refunds.approve(refund=refund, approved_by=finance, at=world.at)

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
            refunds.approve(refund=refund, approved_by=finance, at=world.at)
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
        refunds.give_up(refund=refund, given_up_by=finance, at=world.at)
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
        with pytest.raises(refunds.CreditTakenBack):
            refunds.give_up(refund=refund, given_up_by=finance, at=world.at)
        completed.refresh_from_db()
        assert completed.state == "refunding"
        operations.query_refund(refund=refund, at=world.at)
        world.run()
        completed.refresh_from_db()
        assert (completed.state, list(world.gateway.refunded.values())) == ("completed", [2000])
        w.assert_balanced()

    def test_is_refused_while_the_rail_is_being_asked_again(self, world, refused, finance):
        refund = refused(5000)
        operations.query_refund(refund=refund, at=world.at)
        [row] = refunding.claim(at=world.at, limit=10)
        with pytest.raises(refunds.NotRefusedByRail):
            refunds.give_up(refund=refund, given_up_by=finance, at=world.at)
        paid = Answer(Succeeded("R1", 5000, "CNY"))
        refunding.record([refunding.Asked(row, paid)], at=world.at)
        refund.refresh_from_db()
        assert (refund.state, only().state) == ("succeeded", "refunded")
        w.assert_balanced()

    def test_of_what_is_left_after_a_part_went_back_does_not_credit_the_whole_again(
        self, world, completed, refused, support, finance
    ):
        part = ask(completed, support, 2000)
        refunds.approve(refund=part, approved_by=finance, at=world.at)
        world.run()
        completed.refresh_from_db()
        refunds.give_up(refund=refused(3000), given_up_by=finance, at=world.at)
        completed.refresh_from_db()
        assert (completed.state, completed.refund_committed_minor) == ("reversed", 2000)
        with pytest.raises(operations.PartlyRefunded):
            operations.redeliver(recharge=completed, actor=finance, reason="owed", at=world.at)
        assert len(world.carrier.credits) == 1
        w.assert_balanced()

"""A payer who has the bank take the money back: no more charges, no refund on top, a person."""

import pytest

from billing import four_eyes, gateways
from billing.bindings import lifecycle
from billing.engine import incoming
from billing.gateways.base import DisputeStanding, Notification, NotificationKind
from billing.models import (
    Binding,
    Notice,
    PaymentAttempt,
    Recharge,
    Refund,
    Rule,
    Settlement,
    Transfer,
)
from billing.operators import attestations, found, operations
from billing.operators.found import Found
from billing.recharges import disputed, machine, waking
from billing.refunds import approvals
from billing.states import Finding
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import CaseFactory, InboundNotificationFactory
from tests.fakes import LOST_AFTER

pytestmark = pytest.mark.django_db
OPEN, WON, DROPPED, LOST = DisputeStanding


@pytest.fixture
def paid(world):
    """Alice's recharge, done."""
    w.carrier(), w.rail()
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    assert only().state == "completed"
    with gateways.override("alipay", world.gateway):
        yield world


def only() -> Recharge:
    return Recharge.objects.get()


def ask(world) -> Refund:
    return approvals.request(
        recharge=only(),
        amount_minor=5000,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )


def hears(world, standing: DisputeStanding, number: str = "1") -> None:
    note = Notification(
        NotificationKind.DISPUTE,
        f"evt_{number}",
        our_ref=PaymentAttempt.objects.get().reference,
        claims=standing,
    )
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


class TestADispute:
    def test_pauses_the_method_and_its_rules_and_tells_once(self, paid):
        hears(paid, OPEN)
        hears(paid, OPEN, "2")
        assert Binding.objects.get().pause_reason == "disputed"
        assert Rule.objects.get().pause_reason == "disputed"
        assert Notice.objects.filter(kind="rule_paused").count() == 1

    def test_is_with_a_person_and_moves_no_money(self, paid):
        hears(paid, OPEN)
        assert (only().state, only().attention) == ("completed", "disputed")
        assert only().attention_since == paid.at
        w.assert_balanced()

    def test_takes_in_every_binding_of_the_same_instrument(self, paid):
        same = w.binding(w.person("bob"), fingerprint=Binding.objects.get().fingerprint)
        hears(paid, OPEN)
        same.refresh_from_db()
        assert same.paused_at == paid.at

    def test_ends_what_waits_to_be_charged_that_way(self, paid):
        second = w.rule(w.line(balance_minor=980), binding=Binding.objects.get(), wake_at=paid.at)
        hears(paid, OPEN)
        paid.run()
        assert not Recharge.objects.filter(rule=second).exists()
        assert len(paid.gateway.charged) == 1

    def test_is_not_lifted_by_who_disputed_but_by_an_operator(self, paid):
        hears(paid, OPEN)
        binding = Binding.objects.get()
        with pytest.raises(lifecycle.BindingNotUsable):
            lifecycle.resume(binding=binding, actor=binding.owner, at=paid.at)
        assert not Binding.objects.get().is_usable
        operations.unpause_binding(binding=binding, actor=w.person("ops"), at=paid.at)
        assert Binding.objects.get().is_usable

    def test_is_not_refunded_as_well(self, paid):
        hears(paid, OPEN)
        with pytest.raises(approvals.NotRefundable):
            ask(paid)
        assert not Refund.objects.exists()
        assert paid.gateway.refunded == {}
        w.assert_balanced()

    def test_is_not_refunded_though_another_attention_hides_it(self, paid):
        CaseFactory.create(recharge=only(), code="credit_differs", since=paid.at)
        hears(paid, OPEN)
        with pytest.raises(approvals.NotRefundable):
            ask(paid)
        assert only().attention == "credit_differs"

    def test_stops_a_refund_that_was_approved_before_any_money_moved(self, paid):
        refund = ask(paid)
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=paid.at)
        hears(paid, OPEN)
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, refund.attention, refund.act_at) == ("reversing", "disputed", None)
        assert (paid.carrier.reversals, paid.gateway.refunded) == ({}, {})
        w.assert_balanced()

        hears(paid, WON, "2")
        paid.run()
        assert (only().state, only().attention) == ("refunded", "")
        assert list(paid.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_lets_a_refund_that_may_have_been_made_be_asked_about(self, paid):
        refund = ask(paid)
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=paid.at)
        paid.gateway.script = [LOST_AFTER]
        paid.run()
        hears(paid, OPEN)
        paid.later(w.MINUTE)
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, only().state) == ("succeeded", "refunded")
        w.assert_balanced()

    def test_stops_the_refund_that_a_reversal_causes_by_itself(self, paid):
        hears(paid, OPEN)
        delivery = Delivery.objects.get()
        paid.carrier.reversals[delivery.reference] = 5000
        waking.wake_delivery(reference=delivery.reference, carrier_ref="", at=paid.at)
        paid.run()
        assert (only().state, only().attention) == ("refunding", "disputed")
        assert paid.gateway.refunded == {}
        w.assert_balanced()

    def test_that_names_the_payment_by_the_rails_number_alone_stops_refunds_too(self, paid):
        note = Notification(
            NotificationKind.DISPUTE,
            "evt_1",
            our_ref="",
            provider_ref=PaymentAttempt.objects.get().provider_ref,
            claims=OPEN,
        )
        incoming.accept(source="rail:alipay", note=note, at=paid.at)
        incoming.process(at=paid.at, limit=10)
        with pytest.raises(approvals.NotRefundable):
            ask(paid)

    def test_is_understood_by_the_words_in_which_its_rail_told_of_it_long_ago(self, paid):
        """Rows from before our own words, of a rail that is not even set up here."""
        old = {
            "source": "rail:stripe",
            "kind": "dispute",
            "our_ref": PaymentAttempt.objects.get().reference,
            "received_at": paid.at,
        }
        started = "charge.dispute.created:needs_response"
        InboundNotificationFactory.create(claims=started, **old)
        assert disputed.is_open(recharge_id=only().pk)

        ended = "charge.dispute.closed:warning_closed"
        InboundNotificationFactory.create(claims=ended, **old)
        assert not disputed.is_open(recharge_id=only().pk)


class TestOneThatIsWon:
    @pytest.mark.parametrize("standing", [WON, DROPPED])
    def test_needs_nobody_any_more(self, paid, standing):
        hears(paid, OPEN)
        hears(paid, standing, "2")
        assert (only().attention, only().attention_since) == ("", None)

    def test_does_not_let_the_method_be_charged_again_by_itself(self, paid):
        hears(paid, OPEN)
        hears(paid, WON, "2")
        assert not Binding.objects.get().is_usable

    def test_pauses_nothing_when_its_beginning_comes_after_its_end(self, paid):
        hears(paid, WON)
        hears(paid, OPEN, "2")
        assert Binding.objects.get().is_usable
        assert only().attention == ""

    def test_leaves_another_attention_alone(self, paid):
        CaseFactory.create(recharge=only(), code="credit_differs", since=paid.at)
        hears(paid, OPEN)
        hears(paid, WON, "2")
        assert only().attention == "credit_differs"


def lose(world, *, taken_minor: int = 5000, currency: str = "CNY") -> Settlement:
    """Say that the bank keeps `taken_minor`, for a second person to confirm."""
    return attestations.request(
        recharge=only(),
        found=Found(Finding.LOST, "DP-1", taken_minor, currency),
        reason="the bank's letter",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said: Settlement) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


class TestOneThatIsLost:
    @pytest.fixture
    def lost(self, paid):
        hears(paid, OPEN)
        hears(paid, LOST, "2")
        return paid

    def test_stays_with_a_person_and_moves_nothing(self, lost):
        lose(lost)
        assert only().attention == machine.DISPUTED
        assert not Transfer.objects.filter(kind="chargeback").exists()
        w.assert_balanced()

    def test_is_booked_as_a_loss_once_two_people_say_so_and_the_line_keeps_its_credit(self, lost):
        confirm(lost, lose(lost))
        lost.run()
        assert (only().state, only().attention) == ("completed", "")
        entry = Transfer.objects.get(kind="chargeback")
        assert (entry.reference, entry.source, entry.destination, entry.amount_minor) == (
            PaymentAttempt.objects.get().reference,
            "losses",
            "rail:alipay",
            5000,
        )
        assert (lost.carrier.reversals, lost.gateway.refunded) == ({}, {})
        assert Delivery.objects.get().state == "credited"
        w.assert_balanced()

    def test_is_not_booked_by_one_person(self, lost):
        said = lose(lost)
        with pytest.raises(four_eyes.SamePerson):
            attestations.approve(
                settlement=said,
                seen=said.fingerprint,
                approved_by=said.requested_by,
                at=lost.at,
            )
        assert only().attention == machine.DISPUTED
        w.assert_balanced()

    @pytest.mark.parametrize(("taken_minor", "currency"), [(5001, "CNY"), (0, "CNY"), (50, "USD")])
    def test_is_of_what_was_charged_at_most(self, lost, taken_minor, currency):
        with pytest.raises(found.NotWithinCharge):
            lose(lost, taken_minor=taken_minor, currency=currency)
        assert not Settlement.objects.exists()

    def test_is_lost_once_and_never_refunded(self, lost):
        confirm(lost, lose(lost))
        with pytest.raises(found.NotSettleable):
            lose(lost)
        with pytest.raises(approvals.NotRefundable):
            ask(lost)
        w.assert_balanced()

    def test_pauses_nothing_again_when_more_is_said_of_it(self, lost):
        confirm(lost, lose(lost))
        operations.unpause_binding(binding=Binding.objects.get(), actor=w.person("ops"), at=lost.at)
        hears(lost, LOST, "3")
        assert Binding.objects.get().is_usable
        assert only().attention == ""

    def test_that_was_won_before_the_second_person_came_is_refused(self, paid):
        hears(paid, OPEN)
        said = lose(paid)
        hears(paid, WON, "2")
        with pytest.raises(found.NotSettleable):
            confirm(paid, said)
        assert not Transfer.objects.filter(kind="chargeback").exists()
        w.assert_balanced()

    def test_is_for_a_payment_that_was_disputed(self, paid):
        with pytest.raises(found.NotSettleable):
            lose(paid)

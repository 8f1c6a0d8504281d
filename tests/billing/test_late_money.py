"""Money that moved after all, under a reference that had ended: nothing heard of it is lost."""

from datetime import timedelta

import pytest

from billing import four_eyes
from billing.engine import incoming
from billing.gateways.base import (
    Closed,
    Notification,
    NotificationKind,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.models import PaymentAttempt, Recharge, Settlement, Transfer
from billing.operators import attestations, found, found_payments, operations
from billing.operators.found import Found
from billing.recharges import machine
from billing.states import Finding
from lines.carriers.base import Rejected
from tests import world as w

pytestmark = pytest.mark.django_db

GIVEN_BACK = Found(Finding.GIVEN_BACK, "RAIL-1", 5000, "CNY", "BACK-1")


def only() -> Recharge:
    return Recharge.objects.get()


def first() -> PaymentAttempt:
    return PaymentAttempt.objects.order_by("number")[0]


def hears(world, number="1", reference=None, claims="TRADE_SUCCESS") -> None:
    reference = reference or first().reference
    note = Notification(NotificationKind.CHARGE, f"evt_{number}", our_ref=reference, claims=claims)
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


@pytest.fixture
def declined(due):
    due.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
    due.run()
    assert only().state == "declined"
    return due


@pytest.fixture
def late(due):
    """Declined for good, and taken all the same."""
    due.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
    due.run()
    due.gateway.charged[first().reference] = 5000
    hears(due)
    due.run()
    assert (only().state, only().attention) == ("failed", "late_payment")
    return due


class TestMoneyThatMovedAfterAll:
    def test_of_a_declined_reference_is_asked_about_before_the_next_is_sent(self, declined):
        due = declined
        due.gateway.charged[first().reference] = 5000
        hears(due)
        due.run()
        due.later(timedelta(hours=6, minutes=1))
        due.run()
        assert len(due.gateway.charged) == 1
        w.assert_balanced()

    def test_of_an_ended_recharge_is_not_closed_by_one_person_with_nothing_booked(self, late):
        with pytest.raises(operations.NothingToSettle):
            operations.settle_elsewhere(recharge=only(), actor=w.person("ops"), at=late.at)
        assert only().attention or Transfer.objects.exists()
        w.assert_balanced()


class TestADeclinedReferenceThatItsRailSpeaksOf:
    def test_is_paid_and_credited_at_once(self, declined):
        declined.gateway.charged[first().reference] = 5000
        hears(declined)
        declined.run()
        assert (only().state, only().attempt_count, only().attention) == ("completed", 1, "")
        assert (first().state, first().doubted_at) == ("succeeded", None)
        assert declined.gateway.calls["charge"] == [first().reference]
        w.assert_balanced()

    @pytest.mark.parametrize("outcome", [Closed(), Refused("BUYER_BALANCE_NOT_ENOUGH")])
    def test_but_was_declined_indeed_is_tried_again_when_it_was_to_be(self, declined, outcome):
        retry_at = only().act_at
        declined.later(w.HOUR)
        hears(declined, claims="TRADE_CLOSED")
        declined.gateway.script = [outcome]
        declined.run()
        assert (only().state, only().act_at, only().declines) == ("declined", retry_at, 1)
        assert (first().state, first().doubted_at) == ("declined", None)
        declined.at = retry_at
        declined.run()
        assert (only().state, only().attempt_count) == ("completed", 2)
        w.assert_balanced()

    def test_but_is_not_found_is_asked_about_until_the_grace_is_over(self, declined):
        retry_at = only().act_at
        hears(declined)
        declined.run()
        assert (only().act_at, len(declined.gateway.charged)) == (declined.at + 2 * w.MINUTE, 0)
        declined.later(2 * w.MINUTE)
        declined.run()
        assert (only().act_at, first().doubted_at) == (retry_at, None)
        w.assert_balanced()

    def test_holds_the_next_reference_back_while_the_rail_is_silent(self, declined):
        declined.gateway.charged[first().reference] = 5000
        hears(declined)
        declined.gateway.script = [Unknown("down")] * 5
        for _ in range(5):
            declined.run()
            declined.at = max(only().act_at, declined.at + timedelta(hours=2))
        assert (only().state, len(declined.gateway.calls["charge"])) == ("declined", 1)
        declined.run()
        assert (only().state, len(declined.gateway.calls["charge"])) == ("completed", 1)
        w.assert_balanced()

    def test_is_with_a_person_where_the_rail_never_answers(self, declined):
        hears(declined)
        declined.gateway.script = [Unknown("down")] * 40
        for _ in range(30):
            declined.run()
            declined.later(timedelta(hours=25))
        assert (only().state, only().attention) == ("payment_unknown", "payment_unknown")
        assert found_payments.is_settleable(only())
        assert len(declined.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_is_pending_again_where_the_rail_says_so(self, declined):
        hears(declined, claims="WAIT_BUYER_PAY")
        declined.gateway.script = [Pending("T1")]
        declined.run()
        assert (only().state, first().state) == ("payment_pending", "pending")
        w.assert_balanced()

    def test_cannot_be_canceled_before_the_rail_has_answered(self, declined):
        hears(declined)
        with pytest.raises(machine.TooLate):
            operations.cancel(recharge=only(), actor=w.person("ops"), reason="x", at=declined.at)

    def test_of_another_amount_is_for_a_person(self, declined):
        hears(declined)
        declined.gateway.script = [Succeeded("T1", 6000, "CNY")]
        declined.run()
        assert (only().state, only().attention) == ("review", "amount_differs")
        assert found_payments.is_settleable(only())
        w.assert_balanced()

    def test_is_asked_about_when_the_next_one_has_ended(self, declined):
        """The message came while the second was under way: it waits, and is not lost."""
        declined.at = only().act_at
        declined.gateway.script = [Unknown("lost")]
        declined.run()
        assert only().state == "payment_unknown"
        declined.gateway.charged[first().reference] = 5000
        hears(declined)
        assert first().doubted_at is None
        declined.later(timedelta(minutes=10))
        declined.run()
        declined.later(timedelta(minutes=10))
        declined.run()
        assert (only().state, only().attempt_count) == ("completed", 2)
        incoming.process(at=declined.at, limit=10)
        declined.run()
        assert (only().state, only().attention) == ("completed", "late_payment")
        w.assert_balanced()

        confirm(declined, say(declined, GIVEN_BACK))
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()

    def test_of_a_paid_and_undelivered_recharge_alarms_too(self, declined):
        declined.at = only().act_at
        declined.carrier.script = [Rejected("closed", is_permanent=True)]
        declined.run()
        assert (only().state, only().attempt_count) == ("refunded", 2)
        declined.gateway.charged[first().reference] = 5000
        hears(declined)
        declined.run()
        assert (only().state, only().attention) == ("refunded", "late_payment")
        w.assert_balanced()


def say(world, found: Found) -> Settlement:
    return attestations.request(
        recharge=only(),
        found=found,
        reason="on its own pages",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said: Settlement) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


class TestALatePayment:
    def test_is_given_back_by_two_people_and_both_movements_are_booked(self, late):
        said = say(late, GIVEN_BACK)
        with pytest.raises(four_eyes.SamePerson):
            attestations.approve(
                settlement=said, seen=said.fingerprint, approved_by=said.requested_by, at=late.at
            )
        assert not Transfer.objects.exists()
        confirm(late, said)
        kinds = Transfer.objects.order_by("pk").values_list("kind", "reference", "amount_minor")
        assert list(kinds) == [
            ("stray", first().reference, 5000),
            ("stray_returned", "BACK-1", 5000),
        ]
        assert (only().state, only().reason, only().attention) == ("failed", "hard_decline", "")
        w.assert_balanced()

    def test_that_was_given_back_alarms_nobody_when_it_is_spoken_of_again(self, late):
        confirm(late, say(late, GIVEN_BACK))
        hears(late, "2")
        late.run()
        assert (only().attention, only().act_at, first().doubted_at) == ("", None, None)
        w.assert_balanced()

    def test_may_turn_out_to_be_none(self, late):
        confirm(late, say(late, Found(Finding.NOTHING)))
        assert (only().state, only().attention, Transfer.objects.count()) == ("failed", "", 0)
        w.assert_balanced()

    def test_is_never_taken_for_the_agreed_one(self, late):
        with pytest.raises(found.NotSettleable):
            say(late, Found(Finding.AS_AGREED, "RAIL-1"))
        assert late.carrier.credits == {}

    def test_alarms_again_by_the_same_message_only_while_it_is_open(self, late):
        hears(late, "2")
        late.run()
        assert (only().attention, only().act_at) == ("late_payment", None)
        assert not Transfer.objects.exists()
        w.assert_balanced()

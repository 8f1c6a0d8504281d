"""A dispute that comes at an odd moment: before the credit, under a worker's hands, twice."""

from datetime import timedelta
from itertools import permutations

import pytest

from billing import gateways
from billing.admin import recharge_acts
from billing.engine import executor, incoming
from billing.gateways.base import DisputeStanding, Notification, NotificationKind, Refused
from billing.gateways.stripe import events
from billing.gateways.stripe.adapter import StripeGateway
from billing.models import PaymentAttempt, Recharge, Refund, Settlement, Transfer
from billing.operators import attestations, found, operations
from billing.operators.found import Found
from billing.recharges import disputed
from billing.refunds import approvals
from billing.states import Finding
from lines.carriers.base import CreditAnswer, Credited, Rejected
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import CaseFactory

pytestmark = pytest.mark.django_db
OPEN, WON, DROPPED, LOST = DisputeStanding


def only() -> Recharge:
    return Recharge.objects.get()


def hears(world, standing: DisputeStanding, number: str = "1", **more) -> None:
    note = Notification(
        NotificationKind.DISPUTE,
        f"evt_{number}",
        our_ref=PaymentAttempt.objects.get().reference,
        claims=standing,
        **more,
    )
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    with gateways.override("alipay", world.gateway):
        yield world


@pytest.fixture
def busy(due):
    """Paid, and the carrier could not credit it yet."""
    due.carrier.script = [Rejected("lineBusy")]
    due.run()
    assert only().state == "charged"
    return due


class TestADispute:
    def test_that_comes_before_the_credit_stays_with_a_person(self, due):
        due.carrier.script = [Rejected("lineBusy")]
        due.run()
        assert only().state == "charged"
        hears(due, OPEN)
        due.later(timedelta(minutes=2))
        due.run()
        assert only().attention == "disputed"

    def test_that_comes_before_the_credit_holds_it_back_until_it_is_won(self, busy):
        hears(busy, OPEN)
        busy.later(timedelta(minutes=2))
        busy.run()
        assert (only().state, only().act_at, busy.carrier.credits) == ("charged", None, {})
        w.assert_balanced()

        hears(busy, WON, "2")
        busy.run()
        assert (only().state, only().attention) == ("completed", "")
        assert [len(times) for times in busy.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_that_comes_while_the_payment_is_unknown_holds_the_credit_back(self, due):
        due.gateway.script = ["lost after commit"]
        due.run()
        assert only().state == "payment_unknown"
        hears(due, OPEN)
        due.later(w.MINUTE)
        due.run()
        assert (only().state, only().attention, due.carrier.credits) == ("charged", "disputed", {})
        assert not Delivery.objects.exists()
        w.assert_balanced()

        hears(due, WON, "2")
        due.run()
        assert (only().state, len(due.carrier.credits)) == ("completed", 1)
        w.assert_balanced()

    def test_that_comes_while_a_worker_credits_it_stays(self, due):
        def credit(*, request):
            hears(due, OPEN)
            due.carrier.credits[request.reference].append(request.amount_minor)
            return CreditAnswer(Credited("C", request.amount_minor))

        due.carrier.credit = credit
        executor.run_batch(at=due.at, outside=due.outside)
        assert (only().state, only().attention) == ("completed", "disputed")
        with pytest.raises(approvals.NotRefundable):
            approvals.request(
                recharge=only(),
                amount_minor=5000,
                reason="x",
                requested_by=w.person("support"),
                at=due.at,
            )
        w.assert_balanced()

    def test_that_comes_while_a_worker_asks_the_carrier_stays(self, busy):
        busy.later(timedelta(minutes=2))
        busy.carrier.script = ["lost after commit"]
        busy.run()
        assert only().state == "delivery_unknown"
        hears(busy, OPEN)
        busy.later(w.MINUTE)
        busy.run()
        assert (only().state, only().attention) == ("completed", "disputed")
        w.assert_balanced()

    def test_that_ended_while_a_worker_was_at_it_is_not_there_again(self, due):
        due.run()
        hears(due, OPEN)
        Recharge.objects.update(act_at=due.at)
        plain = due.carrier.query

        def query(**asked):
            hears(due, WON, "2")
            return plain(**asked)

        due.carrier.query = query
        due.run()
        assert (only().attention, only().attention_since) == ("", None)
        w.assert_balanced()


class TestWhatIsOffered:
    @pytest.fixture
    def undeliverable(self, due):
        """A refund that the rail refused and a person gave up; then its payer disputes it."""
        due.carrier.script = [Rejected("closed", is_permanent=True)]
        due.gateway.refund = lambda *, request: due.gateway._answer(
            "refund", request.refund_ref, Refused("SELLER_BALANCE_NOT_ENOUGH")
        )
        for _ in range(6):
            due.run()
            due.later(w.HOUR)
        finance = w.person("finance")
        approvals.give_up(refund=Refund.objects.get(), given_up_by=finance, at=due.at)
        hears(due, OPEN)
        assert only().state == "undeliverable"
        return due

    def test_is_no_crediting_again_of_what_is_disputed(self, undeliverable):
        assert not recharge_acts.is_redeliverable(only())
        with pytest.raises(operations.Disputed):
            operations.redeliver(
                recharge=only(), actor=w.person("finance"), reason="x", at=undeliverable.at
            )
        undeliverable.run()
        assert (only().state, undeliverable.carrier.credits) == ("undeliverable", {})
        w.assert_balanced()

    def test_is_no_refund_of_what_is_disputed(self, undeliverable):
        assert not recharge_acts.is_refundable(only())
        hears(undeliverable, WON, "2")
        assert recharge_acts.is_refundable(only())
        assert recharge_acts.is_redeliverable(only())

    def test_is_the_dispute_again_when_what_hid_it_is_settled(self, due):
        due.run()
        CaseFactory.create(recharge=only(), code="credit_differs", since=due.at)
        hears(due, OPEN)
        assert only().attention == "credit_differs"
        operations.settle_elsewhere(recharge=only(), actor=w.person("ops"), at=due.at)
        assert only().attention == "disputed"
        hears(due, WON, "2")
        assert only().attention == ""
        w.assert_balanced()


class TestTwoDisputesOfOnePayment:
    """Each is known by its own number, and stands as its sender said last."""

    @pytest.fixture
    def paid(self, due):
        due.run()
        assert only().state == "completed"
        return due

    def test_after_an_inquiry_that_was_closed_forbids_a_refund(self, paid):
        def stripe(dispute, number, kind, status):
            event = {"id": f"evt_{number}", "object": "event", "type": kind}
            reference = PaymentAttempt.objects.get().reference
            body = {"id": dispute, "object": "dispute", "amount": 5000, "currency": "cny",
                    "status": status, "payment_intent": "pi_1",
                    "metadata": {"keepline_ref": reference}}  # fmt: skip
            incoming.accept(source="rail:alipay", note=events._dispute(event, body), at=paid.at)
            incoming.process(at=paid.at, limit=10)

        paid.gateway.dispute_standing = StripeGateway.dispute_standing
        stripe("du_1", 1, "charge.dispute.created", "warning_needs_response")
        stripe("du_1", 2, "charge.dispute.closed", "warning_closed")
        stripe("du_2", 3, "charge.dispute.created", "needs_response")
        assert only().attention == "disputed"
        with pytest.raises(approvals.NotRefundable):
            ask(paid)

    def test_one_that_is_won_does_not_end_the_other(self, paid):
        hears(paid, OPEN, "1", dispute_ref="du_1")
        hears(paid, OPEN, "2", dispute_ref="du_2")
        hears(paid, WON, "3", dispute_ref="du_1")
        assert only().attention == "disputed"
        hears(paid, DROPPED, "4", dispute_ref="du_2")
        assert only().attention == ""

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_an_appeal_is_judged_by_the_senders_clock_in_whatever_order_it_comes(self, paid, order):
        """Won, reopened, lost: the bank keeps it."""
        told = [(OPEN, 0), (WON, 10), (LOST, 20)]
        for number in order:
            standing, seconds = told[number]
            hears(paid, standing, str(number), **self.told(paid, seconds))
        assert (only().attention, disputed.is_unsettled(recharge_id=only().pk)) == (
            "disputed",
            True,
        )

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_an_appeal_that_is_won_in_the_end_is_won(self, paid, order):
        told = [(LOST, 0), (OPEN, 10), (WON, 20)]
        for number in order:
            standing, seconds = told[number]
            hears(paid, standing, str(number), **self.told(paid, seconds))
        assert (only().attention, disputed.is_open(recharge_id=only().pk)) == ("", False)

    def test_reopened_in_the_second_of_its_end_has_ended(self, paid):
        hears(paid, WON, "1", **self.told(paid, 5))
        hears(paid, OPEN, "2", **self.told(paid, 5))
        assert only().attention == ""

    def test_one_that_was_prevented_has_taken_the_money(self):
        said = "charge.dispute.closed:prevented"
        assert StripeGateway.dispute_standing(claims=said) is LOST

    def test_a_second_one_that_is_lost_is_booked_too_and_no_more_than_was_charged(self, paid):
        hears(paid, LOST, "1", dispute_ref="du_1")
        confirm(paid, say_lost(paid, "du_1", 3000))
        assert only().attention == ""
        hears(paid, OPEN, "2", dispute_ref="du_2")
        assert only().attention == "disputed"
        with pytest.raises(found.NotWithinCharge) as refused:
            say_lost(paid, "du_2", 2001)
        assert refused.value.left_minor == 2000

        confirm(paid, say_lost(paid, "du_2", 2000))
        booked = Transfer.objects.filter(kind="chargeback").order_by("pk")
        assert [one.amount_minor for one in booked] == [3000, 2000]
        assert booked[0].reference == PaymentAttempt.objects.get().reference
        assert only().attention == ""
        w.assert_balanced()

    def test_the_same_one_is_booked_once(self, paid):
        hears(paid, LOST, "1", dispute_ref="du_1")
        confirm(paid, say_lost(paid, "du_1", 3000))
        hears(paid, LOST, "2", dispute_ref="du_1")
        with pytest.raises(found.NotSettleable):
            say_lost(paid, "du_1", 2000)
        w.assert_balanced()

    def test_one_that_is_won_after_another_was_lost_gives_nothing_back(self, paid):
        hears(paid, LOST, "1", dispute_ref="du_1")
        confirm(paid, say_lost(paid, "du_1", 3000))
        hears(paid, OPEN, "2", dispute_ref="du_2")
        hears(paid, WON, "3", dispute_ref="du_2")
        assert only().attention == ""
        with pytest.raises(approvals.NotRefundable):
            ask(paid)
        w.assert_balanced()

    def test_that_is_lost_after_a_part_was_refunded_costs_at_most_the_rest(self, paid):
        refund = ask(paid, 2000)
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=paid.at)
        paid.run()
        hears(paid, LOST)
        with pytest.raises(found.NotWithinCharge):
            confirm(paid, say_lost(paid, "p", 5000))
        gone = Transfer.objects.filter(kind__in=["refund", "chargeback"])
        assert sum(one.amount_minor for one in gone) <= 5000
        confirm(paid, say_lost(paid, "p", 3000))
        assert sum(one.amount_minor for one in gone.all()) == 5000
        w.assert_balanced()

    def test_that_is_said_to_be_lost_before_another_takes_the_rest_is_looked_at_again(self, paid):
        """Between the first person's word and the second's."""
        hears(paid, LOST, "1", dispute_ref="du_1")
        said = say_lost(paid, "du_1", 5000)
        Recharge.objects.update(refund_committed_minor=2000)
        with pytest.raises(found.NotWithinCharge):
            confirm(paid, said)
        assert not Transfer.objects.filter(kind="chargeback").exists()

    @staticmethod
    def told(world, seconds: int):
        return {"dispute_ref": "du_1", "said_at": world.at + timedelta(seconds=seconds)}


def ask(world, minor: int = 5000) -> Refund:
    return approvals.request(
        recharge=only(),
        amount_minor=minor,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )


def say_lost(world, number: str, minor: int) -> Settlement:
    return attestations.request(
        recharge=only(),
        found=Found(Finding.LOST, number, minor, "CNY"),
        reason="the bank's letter",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said: Settlement) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)

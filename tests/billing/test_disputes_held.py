"""A dispute that comes at an odd moment: before the credit, under a worker's hands, twice."""

from datetime import timedelta

import pytest

from billing import gateways
from billing.admin import recharge_acts
from billing.engine import executor, incoming
from billing.gateways.base import DisputeStanding, Notification, NotificationKind, Refused
from billing.models import PaymentAttempt, Recharge, Refund
from billing.operators import operations
from billing.refunds import approvals
from lines.carriers.base import CreditAnswer, Credited, Rejected
from lines.models import Delivery
from tests import world as w

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
        Recharge.objects.update(attention="credit_differs", attention_since=due.at)
        hears(due, OPEN)
        assert only().attention == "credit_differs"
        operations.settle_elsewhere(recharge=only())
        assert only().attention == "disputed"
        hears(due, WON, "2")
        assert only().attention == ""
        w.assert_balanced()

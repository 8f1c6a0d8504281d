"""Who comes second changes nothing, and what they alone knew is not lost."""

from datetime import timedelta

import pytest
from django.db import transaction

from billing.delivery import crediting
from billing.delivery.answers import NOT_FOUND_GRACE
from billing.gateways.base import Capabilities, Refused, Unknown
from billing.models import Binding, PaymentAttempt, PromotionUse, Recharge, Refund, Transfer
from billing.payments import announcements
from billing.recharges import claims, machine, waking
from billing.refunds import approvals
from billing.refunds import claims as refund_claims
from billing.rules import openings
from billing.states import RechargeState
from lines.carriers.base import Accepted, CreditAnswer, Credited, NotAllowed
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import PromotionFactory
from tests.fakes import LOST_BEFORE
from tests.race import behind, is_free

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
ANNOUNCING = Capabilities(
    rail="alipay",
    currencies=frozenset({"CNY"}),
    must_prepare=True,
    notice=timedelta(days=2),
    window=timedelta(days=7),
    min_interval=timedelta(days=1),
)


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


def claim(world) -> claims.Work:
    [row] = claims.claim(at=world.at, limit=10)
    return row


def opened(world) -> claims.Work:
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
    return claim(world)


@pytest.fixture
def paid(low):
    """Paid, and not yet credited: the carrier did not let us in."""
    low.carrier.script = [NotAllowed("unauthorised")]
    low.run()
    assert only().state == "charged"
    low.later(timedelta(minutes=10))
    return low


class TestAMessageWhileAWorkerHoldsTheRow:
    def test_about_a_refund_is_kept_for_later(self, low):
        low.run()
        support, finance = w.person("support"), w.person("finance")
        asked = approvals.request(
            recharge=only(), amount_minor=5000, reason="asked", requested_by=support, at=low.at
        )
        refund = approvals.approve(refund=asked, approved_by=finance, at=low.at)
        Refund.objects.update(state="intended")  # the credit is back: the rail is next
        refund_claims.claim(at=low.at, limit=10)
        before = Refund.objects.get().act_at

        assert approvals.wake(reference=refund.reference, at=low.at + SECOND) is False
        assert Refund.objects.get().act_at == before

        Refund.objects.update(lease_until=w.NOON - w.DAY)
        assert approvals.wake(reference=refund.reference, at=low.at + SECOND) is True
        assert Refund.objects.get().act_at == low.at + SECOND

    def test_about_a_declined_reference_is_kept_for_later(self, low):
        low.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
        low.run()
        low.later(w.HOUR)
        held = claim(low)
        reference = PaymentAttempt.objects.get().reference

        assert waking.wake(reference=reference, at=low.at) is False
        assert PaymentAttempt.objects.get().doubted_at is None

        claims.release(held, act_at=low.at, at=low.at)
        assert waking.wake(reference=reference, at=low.at) is True
        assert PaymentAttempt.objects.get().doubted_at == low.at


class TestWhoComesSecond:
    def test_does_not_end_a_recharge_nor_free_its_promotion(self, low):
        PromotionFactory.create(budget_minor=100_000)
        opened(low)
        stale = only()
        Recharge.objects.update(state="charging")

        with pytest.raises(machine.LostRace), transaction.atomic():
            machine.end_unpaid(
                recharge=stale, target=RechargeState.CANCELED, because="late", at=low.at
            )

        assert (only().state, PromotionUse.objects.get().state) == ("charging", "reserved")

    def test_orders_no_second_credit(self, paid):
        stalled = claim(paid)
        paid.lapse_leases()
        claim(paid)

        assert crediting.begin([stalled], at=paid.at) == []
        assert (only().state, Delivery.objects.count()) == ("charged", 1)

    def test_books_no_credit(self, paid):
        [stalled] = crediting.begin([claim(paid)], at=paid.at)
        paid.lapse_leases()
        claim(paid)
        said = CreditAnswer(Credited("C1", 5000, paid.at))

        crediting.record([crediting.Asked(stalled, said)], at=paid.at)

        assert only().state == "delivering"
        assert not Transfer.objects.filter(kind="deliver").exists()
        w.assert_balanced()


class TestWhatKeptItFromBeingCredited:
    def test_is_no_longer_said_once_it_is(self, paid):
        assert only().attention == "config"
        paid.run()
        assert (only().state, only().attention) == ("completed", "")
        assert only().attention_since is None
        w.assert_balanced()


class TestAnOrderThatTheCarrierHasAccepted:
    def test_is_asked_about_ever_less_often(self, low):
        low.carrier.script = [Accepted("C1")] * 3
        for wait_s in (5, 5, 15):
            low.run(batches=1)
            recharge = only()
            assert (recharge.state, recharge.lease_until) == ("delivery_pending", None)
            assert recharge.act_at == low.at + timedelta(seconds=wait_s)
            low.at = recharge.act_at
        assert Delivery.objects.get().carrier_ref == "C1"


class TestAReferenceThatTheRailDoesNotKnow:
    def test_is_as_if_it_were_to_be_sent_once_the_grace_is_over(self, low):
        low.gateway.script = [Unknown("down")]
        low.run()
        low.later(w.HOUR)
        low.run(batches=1)
        assert only().state == "due"
        assert PaymentAttempt.objects.get().state == "intended"
        low.run()
        assert (only().state, len(low.gateway.calls["charge"])) == ("completed", 2)
        assert len(set(low.gateway.calls["charge"])) == 1
        w.assert_balanced()


class TestAnOrderThatTheCarrierDoesNotKnow:
    def test_is_sent_again_when_the_grace_since_it_was_sent_is_over(self, low):
        low.carrier.script = [LOST_BEFORE]
        low.run()
        assert only().state == "delivery_unknown"
        self.is_sent_again_after(low, NOT_FOUND_GRACE, calls=1)

    def test_is_sent_again_when_the_grace_since_it_was_in_doubt_is_over(self, paid):
        """Whoever took the order stalled, and may send it as late as that."""
        crediting.begin([claim(paid)], at=paid.at)
        paid.later(w.HOUR)
        paid.lapse_leases()
        paid.run()
        assert only().state == "delivery_unknown"
        self.is_sent_again_after(paid, NOT_FOUND_GRACE, calls=1)

    def is_sent_again_after(self, world, grace, *, calls) -> None:
        world.later(grace - SECOND)
        Recharge.objects.update(act_at=world.at)
        world.run()
        assert only().state == "delivery_unknown"
        assert len(world.carrier.calls["credit"]) == calls

        world.later(SECOND)
        Recharge.objects.update(act_at=world.at)
        world.run()
        assert only().state == "completed"
        assert len(world.carrier.calls["credit"]) == calls + 1
        w.assert_balanced()


@pytest.mark.django_db(transaction=True)
class TestAnnouncing:
    def test_holds_the_agreement_while_it_looks_whether_it_is_free(self, low):
        """Else two workers announce two charges of one agreement at once."""
        low.gateway.capabilities = ANNOUNCING
        row = opened(low)
        with transaction.atomic():
            announcements.only_one_each(
                [row], at=low.at, rails={"alipay": low.gateway.capabilities}
            )
            assert behind(_is_agreement_free).result(timeout=30) is False
        assert behind(_is_agreement_free).result(timeout=30) is True


def _is_agreement_free() -> bool:
    with transaction.atomic():
        return is_free(Binding.objects.all())

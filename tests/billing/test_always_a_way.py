"""Where the model found that nothing but a word from outside led on: each has an act of people now,
and no act is offered that is refused. `make model` looks at all the others."""

from datetime import timedelta

import pytest

from billing.admin import recharge_acts, refunds, settlements
from billing.engine import incoming
from billing.gateways.base import (
    ActionRequired,
    DisputeStanding,
    Notification,
    NotificationKind,
    Pending,
    Refused,
    Unknown,
)
from billing.models import Case, PaymentAttempt, Recharge, Refund, Settlement, Transfer
from billing.operators import attestations, operations
from billing.operators.found import Found
from billing.recharges import waking
from billing.refunds import approvals
from billing.states import Finding
from lines.carriers.base import CreditAnswer, NotAllowed, Rejected
from lines.models import Line
from tests import world as w
from tests.factories.billing import CaseFactory, RechargeFactory

pytestmark = pytest.mark.django_db


def only() -> Recharge:
    return Recharge.objects.get()


def offered(subject, acts) -> list[str]:
    return [act.verb for act in acts if act.is_legal(subject)]


def dispute(world, standing: DisputeStanding) -> None:
    note = Notification(
        NotificationKind.DISPUTE,
        f"evt_{standing}",
        our_ref=PaymentAttempt.objects.get().reference,
        claims=standing,
        dispute_ref="D1",
    )
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


def two_say(world, found: Found) -> Settlement:
    said = attestations.request(
        recharge=only(),
        found=found,
        reason="on its own pages",
        requested_by=w.person("oliver"),
        at=world.at,
    )
    attestations.approve(
        settlement=said, seen=said.fingerprint, approved_by=w.person("cora"), at=world.at
    )
    return said


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


@pytest.fixture
def declined_for_good(due):
    due.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
    due.run()
    assert only().state == "failed"
    return due


@pytest.fixture
def paid(due):
    due.run()
    assert only().state == "completed"
    return due


class TestARailThatSpokeOfAnEndedPayment:
    """And then told nothing for a week: whether money moved, nobody knows."""

    @pytest.fixture
    def silent(self, declined_for_good):
        world = declined_for_good
        waking.wake(reference=PaymentAttempt.objects.get().reference, at=world.at)
        Recharge.objects.update(queries=99)
        world.later(timedelta(days=8))
        world.gateway.script = [Unknown("silence")]
        world.run()
        return world

    def test_leaves_it_to_two_people(self, silent):
        assert (only().state, only().attention, only().act_at) == (
            "failed",
            "payment_unknown",
            None,
        )
        assert attestations.possible(only()) == [Finding.NOTHING, Finding.GIVEN_BACK]
        two_say(silent, Found(Finding.NOTHING))
        assert (only().state, only().attention) == ("failed", "")
        assert PaymentAttempt.objects.get().doubted_at is None
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_that_had_taken_and_given_back_is_booked_so(self, silent):
        two_say(silent, Found(Finding.GIVEN_BACK, "RAIL-1", 5000, "CNY", "BACK-1"))
        assert (only().state, only().attention) == ("failed", "")
        kinds = Transfer.objects.order_by("pk").values_list("kind", "amount_minor")
        assert list(kinds) == [("stray", 5000), ("stray_returned", 5000)]
        w.assert_balanced()

    def test_is_asked_again_by_hand_and_believed(self, silent):
        operations.query_again(recharge=only(), at=silent.at)
        silent.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        silent.run()
        assert (only().state, only().attention) == ("failed", "")
        assert PaymentAttempt.objects.get().doubted_at is None


class TestADisputeOfWhatTheBooksDoNotHave:
    def test_of_one_that_was_never_paid_is_settled_elsewhere(self, declined_for_good):
        dispute(declined_for_good, DisputeStanding.LOST)
        assert (only().state, only().attention) == ("failed", "disputed")
        assert "settle-elsewhere" in offered(only(), recharge_acts.ACTS)
        operations.settle_elsewhere(
            recharge=only(), actor=w.person("oliver"), at=declined_for_good.at
        )
        assert (only().state, only().attention) == ("failed", "")
        assert Case.objects.get().settled_by == "settled_elsewhere"
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_of_one_that_went_back_whole_is_for_two_people(self, due):
        due.carrier.script = [Rejected("closed", is_permanent=True)]
        due.run()
        assert only().state == "refunded"
        dispute(due, DisputeStanding.OPEN)
        assert only().attention == "disputed"
        assert attestations.possible(only()) == [Finding.LOST]
        assert "settle-elsewhere" not in offered(only(), recharge_acts.ACTS)
        two_say(due, Found(Finding.LOST, "D1", 5000, "CNY"))
        assert (only().state, only().attention) == ("refunded", "")
        w.assert_balanced()

    def test_of_money_that_is_ours_is_for_the_bank_and_two_people(self, paid):
        dispute(paid, DisputeStanding.OPEN)
        assert "settle-elsewhere" not in offered(only(), recharge_acts.ACTS)
        with pytest.raises(operations.NothingToSettle):
            operations.settle_elsewhere(recharge=only(), actor=w.person("oliver"), at=paid.at)
        assert only().attention == "disputed"
        assert attestations.possible(only()) == [Finding.LOST]


class TestARefundThatWeAreNotLetInTo:
    """After a month it is a person's alone, who may wait for the carrier for ever."""

    def ask(self, world) -> Refund:
        refund = approvals.request(
            recharge=only(),
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=world.at,
        )
        return approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)

    def test_at_the_carrier_ends_by_what_two_people_say(self, paid):
        paid.carrier.query = lambda **_: CreditAnswer(NotAllowed("401"))
        refund = self.ask(paid)
        paid.later(timedelta(days=31))
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, refund.act_at, refund.attention) == ("reversing", None, "config")
        assert attestations.possible(only()) == [Finding.TAKEN_BACK, Finding.NOT_TAKEN]
        two_say(paid, Found(Finding.NOT_TAKEN))
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("refused", "")
        assert (only().state, only().attention, only().refund_committed_minor) == (
            "completed",
            "",
            0,
        )
        w.assert_balanced()

    def test_that_is_tried_still_is_left_to_the_clock(self, paid):
        paid.carrier.query = lambda **_: CreditAnswer(NotAllowed("401"))
        refund = self.ask(paid)
        paid.run()
        refund.refresh_from_db()
        assert (refund.attention, refund.act_at is None) == ("config", False)
        assert attestations.possible(only()) == []


def test_a_payment_whose_payer_never_confirmed_is_ended_by_two_people(due):
    due.gateway.script = [ActionRequired("http://rail.invalid/confirm")]
    due.run()
    Recharge.objects.update(act_at=None)
    CaseFactory.create(recharge=only(), code="action_expired", since=due.at)
    assert attestations.possible(only()) == [
        Finding.NOTHING,
        Finding.AS_AGREED,
        Finding.GIVEN_BACK,
    ]
    two_say(due, Found(Finding.NOTHING))
    assert (only().state, only().attention) == ("failed", "")
    w.assert_balanced()


class TestWhatIsNoLongerPossibleIsNotOffered:
    @pytest.fixture
    def undeliverable(self, due):
        due.carrier.script = [Rejected("closed", is_permanent=True)]
        due.gateway.refund = lambda *, request: due.gateway._answer(
            "refund", request.refund_ref, Refused("MERCHANT_BALANCE")
        )
        for _ in range(6):
            due.run()
            due.later(w.HOUR)
        approvals.give_up(refund=Refund.objects.get(), given_up_by=w.person("finance"), at=due.at)
        assert only().state == "undeliverable"
        return due

    def test_to_credit_a_line_that_is_gone(self, undeliverable):
        assert "redeliver" in offered(only(), recharge_acts.ACTS)
        Line.objects.update(status="terminated")
        assert "redeliver" not in offered(only(), recharge_acts.ACTS)
        assert "request-refund" in offered(only(), recharge_acts.ACTS)

    def test_to_credit_beside_another_recharge_of_the_line(self, paid):
        recharge = RechargeFactory.create(completed=True, line=w.line())
        Recharge.objects.filter(pk=recharge.pk).update(state="reversed")
        recharge.refresh_from_db()
        assert "redeliver" in offered(recharge, recharge_acts.ACTS)
        RechargeFactory.create(line=recharge.line, binding=recharge.binding)
        assert "redeliver" not in offered(recharge, recharge_acts.ACTS)

    def test_to_give_up_a_refund_for_which_a_part_was_taken_back(self, paid):
        refund = approvals.request(
            recharge=only(),
            amount_minor=2000,
            reason="asked",
            requested_by=w.person("support"),
            at=paid.at,
        )
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=paid.at)
        paid.gateway.refund = lambda *, request: paid.gateway._answer(
            "refund", request.refund_ref, Refused("MERCHANT_BALANCE")
        )
        for _ in range(7):
            paid.run()
            paid.later(w.HOUR)
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("intended", "refund_refused")
        assert offered(refund, refunds.RefundAdmin.acts) == ["query-refund"]
        assert attestations.possible(only()) == [Finding.PAID_OUT]

    def test_to_approve_what_is_held_after_its_time(self, due):
        due.run()
        held = RechargeFactory.create(line=w.line(), at=due.at)
        Recharge.objects.filter(pk=held.pk).update(state="review")
        held.refresh_from_db()
        assert operations.is_approvable(held, at=held.expires_at)
        assert not operations.is_approvable(held, at=held.expires_at + timedelta(seconds=1))
        assert "reject-review" in offered(held, recharge_acts.ACTS)

    def test_to_confirm_what_has_moved_on(self, due):
        due.gateway.script = [Pending("P")]
        due.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=due.at)
        said = attestations.request(
            recharge=only(),
            found=Found(Finding.NOTHING),
            reason="on its own pages",
            requested_by=w.person("oliver"),
            at=due.at,
        )
        acts = settlements.SettlementAdmin.acts
        assert offered(said, acts) == ["approve-settlement", "reject-settlement"]
        due.gateway.charged[PaymentAttempt.objects.get().reference] = 5000
        operations.query_again(recharge=only(), at=due.at)
        due.run()
        assert only().state == "completed"
        said = Settlement.objects.get()
        assert offered(said, acts) == ["reject-settlement"]
        w.assert_balanced()

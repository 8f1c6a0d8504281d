"""Disputes lost before the credit or while a refund stands still; and money that comes back."""

from datetime import timedelta

import pytest

from billing import gateways
from billing.engine import incoming
from billing.gateways.base import (
    Answer,
    DisputeStanding,
    Notification,
    NotificationKind,
    Refused,
)
from billing.ledger import verification
from billing.models import Notice, PaymentAttempt, Recharge, Refund, Rule, Settlement, Transfer
from billing.operators import attestations, found, operations
from billing.operators.found import Found
from billing.recharges import disputed, waking
from billing.refunds import approvals
from billing.states import Finding
from lines.carriers.base import Rejected
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import PromotionFactory

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
        **({"dispute_ref": "du_1"} | more),
    )
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


def say(world, finding: Finding, minor: int, number: str = "du_1") -> Settlement:
    return attestations.request(
        recharge=only(),
        found=Found(finding, number, minor, "CNY"),
        reason="the bank's letter",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said: Settlement) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


def lose(world, minor: int = 5000, number: str = "du_1") -> None:
    confirm(world, say(world, Finding.LOST, minor, number))


CHARGEBACKS = ("chargeback", "chargeback_returned")


def ask(world, minor: int = 5000) -> Refund:
    refund = approvals.request(
        recharge=only(),
        amount_minor=minor,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )
    return approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)


def booked(*kinds: str) -> list[tuple[str, str, str, int]]:
    rows = Transfer.objects.filter(kind__in=kinds).order_by("pk")
    return list(rows.values_list("kind", "source", "destination", "amount_minor"))


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    with gateways.override("alipay", world.gateway):
        yield world


@pytest.fixture
def paid(due):
    """Credited."""
    due.run()
    assert only().state == "completed"
    return due


@pytest.fixture
def busy(due):
    """Paid, and the carrier could not credit it yet; then its payer disputes it."""
    due.carrier.script = [Rejected("lineBusy")]
    due.run()
    hears(due, OPEN)
    due.later(timedelta(minutes=2))
    due.run()
    assert (only().state, only().attention, only().act_at) == ("charged", "disputed", None)
    return due


class TestLostBeforeTheCredit:
    def test_ends_the_recharge_and_nothing_is_credited(self, busy):
        hears(busy, LOST, "2")
        lose(busy)
        busy.run()
        assert (only().state, only().reason, only().attention) == ("refunded", "dispute_lost", "")
        assert busy.carrier.credits == {}
        assert busy.gateway.refunded == {}
        assert booked("chargeback") == [("chargeback", "undelivered", "rail:alipay", 5000)]
        assert Rule.objects.get().is_armed  # the line is still low
        w.assert_balanced()

    def test_costs_us_nothing(self, busy):
        lose(busy)
        accounts = verification.accounts()["CNY"]
        assert accounts == {"rail:alipay": 0, "undelivered": 0}
        w.assert_balanced()

    def test_tells_the_payer_who_has_the_money(self, busy):
        lose(busy)
        told = Notice.objects.get(kind="refunded")
        assert (told.facts["code"], told.facts["amount_minor"]) == ("dispute_lost", 5000)

    def test_gives_back_what_the_bank_left(self, busy):
        lose(busy, 3000)
        busy.run()
        assert (only().state, only().refund_committed_minor) == ("refunded", 5000)
        assert list(busy.gateway.refunded.values()) == [2000]
        assert busy.carrier.credits == {}
        w.assert_balanced()

    def test_returns_the_promotions_part(self, world):
        w.carrier(), w.rail()
        PromotionFactory.create()
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.carrier.script = [Rejected("lineBusy")]
        with gateways.override("alipay", world.gateway):
            world.run()
            hears(world, OPEN)
            taken_minor = only().price_minor
            assert taken_minor < 5000
            lose(world, taken_minor)
        assert only().state == "refunded"
        assert set(verification.accounts()["CNY"].values()) == {0}
        w.assert_balanced()

    def test_is_of_what_was_charged_at_most_and_moves_nothing_else(self, busy):
        with pytest.raises(found.NotWithinCharge) as refused:
            say(busy, Finding.LOST, 5001)
        assert refused.value.left_minor == 5000
        assert (only().state, Settlement.objects.count()) == ("charged", 0)

    def test_ends_one_that_waits_undeliverable_too(self, due):
        due.carrier.script = [Rejected("closed", is_permanent=True)]
        due.gateway.refund = lambda *, request: due.gateway._answer(
            "refund", request.refund_ref, Refused("SELLER_BALANCE_NOT_ENOUGH")
        )
        for _ in range(6):
            due.run()
            due.later(w.HOUR)
        finance = w.person("finance")
        approvals.give_up(refund=Refund.objects.get(), given_up_by=finance, at=due.at)
        hears(due, LOST)
        assert only().state == "undeliverable"
        lose(due)
        assert (only().state, due.carrier.credits) == ("refunded", {})
        w.assert_balanced()


class TestLostWhileARefundStandsStill:
    def still(self, world, minor: int = 5000) -> Refund:
        refund = ask(world, minor)
        hears(world, OPEN)
        world.run()
        refund.refresh_from_db()
        assert (refund.attention, refund.act_at) == ("disputed", None)
        return refund

    def test_before_the_credit_came_back_the_line_keeps_it_and_the_loss_is_ours(self, paid):
        refund = self.still(paid)
        lose(paid)
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, refund.code) == ("refused", "dispute_lost")
        assert (only().state, only().attention, only().refund_committed_minor) == (
            "completed",
            "",
            0,
        )
        assert booked("chargeback") == [("chargeback", "losses", "rail:alipay", 5000)]
        assert (paid.gateway.refunded, paid.carrier.reversals) == ({}, {})
        w.assert_balanced()

    def test_that_waits_for_approval_it_ends_with_it(self, paid):
        approvals.request(recharge=only(), amount_minor=5000, reason="asked",
                          requested_by=w.person("support"), at=paid.at)  # fmt: skip
        hears(paid, LOST)
        lose(paid)
        assert (Refund.objects.get().state, only().state) == ("refused", "completed")
        w.assert_balanced()

    @pytest.fixture
    def back(self, paid):
        """The credit is back, and the rail has not given the money yet."""
        refund = ask(paid)
        paid.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")]
        paid.run()
        hears(paid, OPEN)
        paid.later(w.HOUR)
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("intended", "disputed")
        return paid

    def test_after_the_credit_came_back_it_ends_and_costs_us_nothing(self, back):
        lose(back)
        back.run()
        assert (only().state, only().attention) == ("refunded", "")
        assert booked("chargeback") == [("chargeback", "undelivered", "rail:alipay", 5000)]
        assert back.gateway.refunded == {}
        assert Delivery.objects.get().state == "reversed"
        w.assert_balanced()

    def test_after_the_credit_came_back_a_part_that_is_lost_leaves_the_rest_to_the_refund(
        self, back
    ):
        lose(back, 3000)
        back.run()
        assert (only().state, list(back.gateway.refunded.values())) == ("refunded", [2000])
        w.assert_balanced()

    @pytest.fixture
    def part_back(self, paid):
        """Of a refund of 20.00, whose credit is back."""
        ask(paid, 2000)
        paid.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")]
        paid.run()
        hears(paid, OPEN)
        paid.later(w.HOUR)
        paid.run()
        assert Refund.objects.get().state == "intended"
        return paid

    def test_of_a_part_whose_credit_came_back_costs_us_what_the_line_keeps(self, part_back):
        lose(part_back, 5000)
        part_back.run()
        assert (only().state, only().refund_committed_minor) == ("completed", 2000)
        assert booked("chargeback") == [
            ("chargeback", "undelivered", "rail:alipay", 2000),
            ("chargeback", "losses", "rail:alipay", 3000),
        ]
        assert part_back.gateway.refunded == {}
        w.assert_balanced()

    def test_of_a_part_and_less_than_that_leaves_the_rest_of_the_refund(self, part_back):
        lose(part_back, 500)
        part_back.run()
        assert (only().state, list(part_back.gateway.refunded.values())) == ("completed", [1500])
        assert booked("chargeback") == [("chargeback", "undelivered", "rail:alipay", 500)]
        w.assert_balanced()

    def test_waits_while_the_rail_may_be_giving_it_back(self, paid):
        ask(paid)
        paid.gateway.script = ["lost after commit"]
        paid.run()
        hears(paid, LOST)
        assert Refund.objects.get().state == "unknown"
        with pytest.raises(found.NotSettleable):
            say(paid, Finding.LOST, 5000)


class TestACreditTakenBackAfterALoss:
    def reverse(self, world) -> None:
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 5000
        waking.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
        world.run()

    def test_covers_it_and_nothing_is_given_back_as_well(self, paid):
        hears(paid, LOST)
        lose(paid)
        self.reverse(paid)
        assert (only().state, paid.gateway.refunded) == ("refunded", {})
        assert verification.accounts()["CNY"]["losses"] == 0
        w.assert_balanced()

    def test_gives_back_what_the_bank_left(self, paid):
        hears(paid, LOST)
        lose(paid, 3000)
        self.reverse(paid)
        assert (only().state, list(paid.gateway.refunded.values())) == ("refunded", [2000])
        w.assert_balanced()


class TestMoneyThatComesBackAfterALoss:
    def test_is_booked_by_two_people_and_is_no_loss_any_more(self, paid):
        hears(paid, LOST, said_at=paid.at)
        lose(paid)
        paid.later(w.DAY)
        hears(paid, WON, "2", said_at=paid.at)
        assert only().attention == "loss_returned"
        said = say(paid, Finding.RETURNED, 5000)
        assert booked("chargeback_returned") == []
        confirm(paid, said)
        assert booked("chargeback_returned") == [
            ("chargeback_returned", "rail:alipay", "losses", 5000)
        ]
        assert (only().state, only().attention) == ("completed", "")
        assert verification.accounts()["CNY"]["losses"] == 0
        assert not disputed.is_open(recharge_id=only().pk)
        w.assert_balanced()

    @pytest.mark.parametrize("minor", [0, 3001])
    def test_is_no_more_than_was_lost(self, paid, minor):
        hears(paid, LOST)
        lose(paid, 3000)
        with pytest.raises(found.NotWithinCharge):
            say(paid, Finding.RETURNED, minor)
        assert booked("chargeback_returned") == []
        w.assert_balanced()

    def test_is_nothing_to_say_of_where_nothing_was_lost(self, paid):
        hears(paid, OPEN)
        with pytest.raises(found.NotSettleable):
            say(paid, Finding.RETURNED, 5000)

    def test_may_be_lost_again_on_appeal(self, paid):
        hears(paid, LOST, said_at=paid.at)
        lose(paid)
        paid.later(w.DAY)
        confirm(paid, say(paid, Finding.RETURNED, 5000))
        paid.later(w.DAY)
        hears(paid, LOST, "3", said_at=paid.at)
        assert only().attention == "disputed"
        lose(paid)
        assert (only().attention, verification.accounts()["CNY"]["losses"]) == ("", -5000)
        w.assert_balanced()

    def test_is_owed_again_where_the_line_never_had_its_credit(self, busy):
        lose(busy)
        busy.later(w.DAY)
        hears(busy, WON, "2", said_at=busy.at)
        confirm(busy, say(busy, Finding.RETURNED, 5000))
        refund = Refund.objects.get(state="intended")
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        assert Notice.objects.filter(kind="refund_failed").count() == 1
        w.assert_balanced()

        operations.query_refund(refund=refund, at=busy.at)
        busy.run()
        assert (only().state, list(busy.gateway.refunded.values())) == ("refunded", [5000])
        w.assert_balanced()

    def test_may_be_credited_to_the_line_after_all(self, busy):
        lose(busy)
        busy.later(w.DAY)
        hears(busy, WON, "2", said_at=busy.at)
        confirm(busy, say(busy, Finding.RETURNED, 5000))
        finance = w.person("finance")
        refund = Refund.objects.get(state="intended")
        approvals.give_up(refund=refund, given_up_by=finance, at=busy.at)
        operations.redeliver(recharge=only(), actor=finance, reason="owed", at=busy.at)
        busy.run()
        assert (only().state, len(busy.carrier.credits)) == ("completed", 1)
        w.assert_balanced()

    @pytest.mark.parametrize("minor", [1, 2000, 4999])
    def test_in_part_is_owed_again_for_that_part_and_the_bank_keeps_the_rest(self, busy, minor):
        lose(busy)
        told = Notice.objects.filter(kind="refunded").count()
        busy.later(w.DAY)
        hears(busy, WON, "2", said_at=busy.at)
        confirm(busy, say(busy, Finding.RETURNED, minor))
        refund = Refund.objects.get(state="intended")
        assert (refund.amount_minor, refund.way, refund.attention) == (
            minor,
            "rail",
            "refund_failed",
        )
        assert (only().state, only().refund_committed_minor) == ("refunding", 5000)
        gone = [one[3] if one[0] == "chargeback" else -one[3] for one in booked(*CHARGEBACKS)]
        assert sum(gone) == 5000 - minor
        assert "losses" not in verification.accounts()["CNY"]  # the line never had its credit
        assert Notice.objects.filter(kind="refund_failed").count() == 1
        assert Notice.objects.get(kind="refund_failed").facts["amount_minor"] == minor
        assert Notice.objects.filter(kind="refunded").count() == told  # the rest is no news
        w.assert_balanced()

        operations.query_refund(refund=refund, at=busy.at)
        busy.run()
        assert (only().state, list(busy.gateway.refunded.values())) == ("refunded", [minor])
        assert busy.carrier.credits == {}
        w.assert_balanced()

    def test_in_two_parts_is_owed_twice(self, busy):
        lose(busy)
        busy.later(w.DAY)
        hears(busy, WON, "2", said_at=busy.at)
        for minor in (2000, 3000):
            confirm(busy, say(busy, Finding.RETURNED, minor))
            refund = Refund.objects.get(state="intended")
            operations.query_refund(refund=refund, at=busy.at)
            busy.run()
            assert only().state == "refunded"
            w.assert_balanced()
            busy.later(w.DAY)
        assert list(busy.gateway.refunded.values()) == [2000, 3000]
        assert not disputed.is_lost(recharge_id=only().pk)
        with pytest.raises(found.NotSettleable):
            say(busy, Finding.RETURNED, 1)

    def test_of_two_banks_takings_is_owed_all_together(self, busy):
        lose(busy, 3000)
        busy.run()  # what the bank has left goes back by the rail
        assert (only().state, list(busy.gateway.refunded.values())) == ("refunded", [2000])
        busy.later(w.DAY)
        hears(busy, WON, "2", said_at=busy.at)
        with pytest.raises(found.NotWithinCharge):
            say(busy, Finding.RETURNED, 3001)
        confirm(busy, say(busy, Finding.RETURNED, 1000))
        refund = Refund.objects.get(state="intended")
        assert refund.amount_minor == 1000
        w.assert_balanced()


class TestLostAfterAllWentBack:
    """Its payer had the money by a refund, and the bank takes it from us all the same."""

    @pytest.fixture
    def refunded(self, paid):
        ask(paid)
        paid.run()
        assert only().state == "refunded"
        paid.later(w.DAY)
        hears(paid, LOST, said_at=paid.at)
        assert only().attention == "disputed"
        return paid

    def test_is_our_loss_by_two_people(self, refunded):
        said = say(refunded, Finding.LOST, 5000)
        assert booked(*CHARGEBACKS) == []
        confirm(refunded, said)
        assert booked(*CHARGEBACKS) == [("chargeback", "losses", "rail:alipay", 5000)]
        assert (only().state, only().attention) == ("refunded", "")
        assert verification.accounts()["CNY"]["losses"] == -5000
        assert list(refunded.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    @pytest.mark.parametrize("minor", [0, 5001])
    def test_is_of_what_was_charged_at_most(self, refunded, minor):
        with pytest.raises(found.NotWithinCharge):
            say(refunded, Finding.LOST, minor)
        confirm(refunded, say(refunded, Finding.LOST, 3000))
        refunded.later(w.DAY)
        hears(refunded, LOST, "9", said_at=refunded.at, dispute_ref="du_9")
        with pytest.raises(found.NotWithinCharge):
            say(refunded, Finding.LOST, 2001)
        confirm(refunded, say(refunded, Finding.LOST, 2000))
        assert verification.accounts()["CNY"]["losses"] == -5000
        w.assert_balanced()

    def test_comes_back_as_any_loss(self, refunded):
        lose(refunded)
        refunded.later(w.DAY)
        hears(refunded, WON, "2", said_at=refunded.at)
        assert only().attention == "loss_returned"
        confirm(refunded, say(refunded, Finding.RETURNED, 5000))
        assert (only().state, only().attention) == ("refunded", "")
        assert verification.accounts()["CNY"]["losses"] == 0
        assert not Refund.objects.filter(state="intended").exists()
        w.assert_balanced()

    def test_is_covered_where_the_refund_fails_after_all(self, refunded):
        """The payer has the bank's money then, and nobody sends it a second time."""
        lose(refunded)
        refund = Refund.objects.get()
        refunded.gateway.query_refund = lambda **_: Answer(Refused("REFUND_FAIL"))
        approvals.wake(reference=refund.reference, at=refunded.at)
        refunded.run()
        assert (only().state, only().refund_committed_minor) == ("refunded", 5000)
        assert verification.accounts()["CNY"]["losses"] == 0
        assert not Notice.objects.filter(kind="refund_failed").exists()
        assert not Refund.objects.exclude(state__in=["succeeded", "refused"]).exists()
        w.assert_balanced()

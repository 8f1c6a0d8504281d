"""Refunds that do not go as asked: another amount, one that came back days later, one made after it
was given up, one that only another way can bring to its payer."""

from datetime import timedelta

import pytest

from billing import four_eyes
from billing.engine import incoming
from billing.gateways.base import (
    Answer,
    NotFound,
    Notification,
    NotificationKind,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.ledger import verification
from billing.models import Notice, Recharge, Refund, Transfer
from billing.operators import attestations, found, operations
from billing.operators.found import Found
from billing.recharges import cases
from billing.refunds import approvals
from billing.states import Finding
from lines.carriers.base import CreditAnswer, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery
from tests import world as w

pytestmark = pytest.mark.django_db

BANK = Refused("REFUND_FAIL")


def only() -> Recharge:
    return Recharge.objects.get()


def ask(world, minor: int = 5000) -> Refund:
    refund = approvals.request(
        recharge=only(),
        amount_minor=minor,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )
    return approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)


def say(world, finding: Finding, number: str = "RE-1", minor=None, currency: str = ""):
    return attestations.request(
        recharge=only(),
        found=Found(finding, number, minor, currency),
        reason="on its own pages",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


def settle(world, finding: Finding, number: str = "RE-1", minor=None, currency: str = "") -> None:
    confirm(world, say(world, finding, number, minor, currency))


def booked(*kinds: str) -> list[tuple[str, str, str, int]]:
    rows = Transfer.objects.filter(kind__in=kinds).order_by("pk")
    return list(rows.values_list("kind", "source", "destination", "amount_minor"))


def says(world, outcome) -> None:
    """What the rail answers about any refund from now on."""
    world.gateway.query_refund = lambda *, refund_ref, charge_ref: Answer(outcome)


def fails_later(world, refund: Refund, code: str = "expired_or_canceled_card") -> None:
    """The rail speaks of a refund that had succeeded, and says that it failed."""
    plain = world.gateway.query_refund

    def query(*, refund_ref, charge_ref):
        if refund_ref == refund.reference:
            return Answer(Refused(code))
        return plain(refund_ref=refund_ref, charge_ref=charge_ref)

    world.gateway.query_refund = query
    assert approvals.wake(reference=refund.reference, at=world.at)
    world.run()
    refund.refresh_from_db()


@pytest.fixture
def paid(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    assert only().state == "completed"
    return world


@pytest.fixture
def undelivered(world):
    """The carrier refuses the credit, so that all goes back by itself."""
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.carrier.script = [Rejected("closed", is_permanent=True)]
    return world


class TestARefundOfAnotherAmount:
    def gives(self, world, minor: int, currency: str = "CNY") -> None:
        world.gateway.script = [Succeeded("RE-1", minor, currency)]
        world.run()
        assert (only().state, only().attention) == ("refunding", "amount_differs")

    def test_is_with_a_person_and_books_nothing(self, paid):
        ask(paid)
        self.gives(paid, 4000)
        assert booked("refund") == []
        said = say(paid, Finding.OTHERWISE, "RE-1", 4000, "CNY")
        with pytest.raises(four_eyes.SamePerson):
            attestations.approve(
                settlement=said,
                seen=said.fingerprint,
                approved_by=said.requested_by,
                at=paid.at,
            )
        assert booked("refund") == []
        w.assert_balanced()

    def test_less_is_booked_as_it_is_and_the_rest_follows(self, paid):
        refund = ask(paid)
        self.gives(paid, 4000)
        settle(paid, Finding.OTHERWISE, "RE-1", 4000, "CNY")
        w.assert_balanced()
        paid.run()
        refund.refresh_from_db()
        assert (refund.state, refund.given_minor) == ("succeeded", 4000)
        assert [row[3] for row in booked("refund")] == [4000, 1000]
        assert (only().state, only().refund_committed_minor) == ("refunded", 5000)
        assert list(paid.gateway.refunded.values()) == [1000]
        w.assert_balanced()

    def test_less_of_a_part_leaves_the_line_what_it_had(self, paid):
        ask(paid, 2000)
        self.gives(paid, 1500)
        settle(paid, Finding.OTHERWISE, "RE-1", 1500, "CNY")
        w.assert_balanced()
        paid.run()
        assert [row[3] for row in booked("refund")] == [1500, 500]
        assert (only().state, only().refund_committed_minor) == ("completed", 2000)
        w.assert_balanced()

    def test_less_where_nothing_was_credited_follows_too(self, undelivered):
        undelivered.gateway.script = [Succeeded("T", 5000, "CNY"), Succeeded("RE-1", 1, "CNY")]
        undelivered.run()
        settle(undelivered, Finding.OTHERWISE, "RE-1", 1, "CNY")
        undelivered.run()
        assert [row[3] for row in booked("refund")] == [1, 4999]
        assert (only().state, undelivered.carrier.credits) == ("refunded", {})
        w.assert_balanced()

    def test_more_is_our_loss(self, paid):
        ask(paid)
        self.gives(paid, 5500)
        settle(paid, Finding.OTHERWISE, "RE-1", 5500, "CNY")
        assert booked("refund", "refund_excess") == [
            ("refund", "undelivered", "rail:alipay", 5000),
            ("refund_excess", "losses", "rail:alipay", 500),
        ]
        assert (only().state, only().attention) == ("refunded", "")
        w.assert_balanced()

    def test_in_another_currency_is_booked_in_it(self, paid):
        refund = ask(paid)
        self.gives(paid, 700, "USD")
        settle(paid, Finding.OTHERWISE, "RE-1", 700, "USD")
        assert verification.accounts()["USD"] == {"losses": -700, "rail:alipay": 700}
        assert booked("refund", "refund_kept") == [("refund_kept", "undelivered", "losses", 5000)]
        assert only().state == "refunded"
        mine = [one for one in verification.ours() if one.reference == refund.reference]
        assert [(one.kind, one.amount_minor) for one in mine] == [("refund", 700)]
        w.assert_balanced()

    def test_that_was_none_is_as_one_that_was_refused(self, paid):
        refund = ask(paid)
        self.gives(paid, 4000)
        settle(paid, Finding.UNREFUNDED, "")
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("intended", "refund_refused")
        w.assert_balanced()
        approvals.give_up(refund=refund, given_up_by=w.person("finance"), at=paid.at)
        assert (only().state, booked("refund")) == ("reversed", [])
        w.assert_balanced()

    def test_that_was_right_after_all_is_booked_as_asked_for(self, paid):
        ask(paid)
        self.gives(paid, 4000)
        settle(paid, Finding.REFUNDED)
        assert (only().state, booked("refund")[0][3]) == ("refunded", 5000)
        w.assert_balanced()


class TestARefundThatNobodyTellsOf:
    @pytest.fixture
    def unknown(self, paid):
        ask(paid)
        paid.gateway.refund = lambda *, request: Answer(Unknown("down"))
        says(paid, Unknown("down"))
        for _ in range(14):
            paid.run()
            paid.later(w.DAY)
        assert (only().state, only().attention) == ("refunding", "refund_unknown")
        return paid

    @pytest.mark.parametrize(
        ("finding", "number", "state"),
        [(Finding.REFUNDED, "RE-1", "refunded"), (Finding.UNREFUNDED, "", "refunding")],
    )
    def test_is_ended_by_two_people(self, unknown, finding, number, state):
        settle(unknown, finding, number)
        assert only().state == state
        assert len(booked("refund")) == (finding == Finding.REFUNDED)
        w.assert_balanced()

    def test_is_not_paid_out_by_another_way_before_that(self, unknown):
        with pytest.raises(found.NotSettleable):
            say(unknown, Finding.PAID_OUT)
        w.assert_balanced()

    @pytest.fixture
    def not_told(self, paid):
        """Whether the carrier has taken the credit back."""
        ask(paid)
        paid.carrier.query = lambda **_: CreditAnswer(NoAnswer("gone"))
        for _ in range(14):
            paid.run()
            paid.later(w.DAY)
        assert (Refund.objects.get().state, only().attention) == ("reversing", "refund_unknown")
        return paid

    def test_whose_credit_was_taken_back_goes_on(self, not_told):
        settle(not_told, Finding.TAKEN_BACK, "C-1")
        not_told.run()
        assert (only().state, only().attention) == ("refunded", "")
        assert booked("reverse") == [("reverse", "carrier:cmcc", "undelivered", 5000)]
        w.assert_balanced()

    def test_whose_credit_was_not_taken_back_ends_and_the_line_keeps_it(self, not_told):
        settle(not_told, Finding.NOT_TAKEN, "")
        not_told.run()
        assert (only().state, not_told.gateway.refunded) == ("completed", {})
        w.assert_balanced()


class TestARefundThatCameBack:
    """It had succeeded, and its rail says days later that it failed."""

    @pytest.fixture
    def refunded(self, paid):
        ask(paid)
        paid.run()
        assert only().state == "refunded"
        paid.later(timedelta(days=4))
        return paid

    def test_is_owed_again_and_its_payer_is_told(self, refunded):
        refund = Refund.objects.get()
        fails_later(refunded, refund)
        assert (refund.state, refund.code) == ("refused", "expired_or_canceled_card")
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        assert booked("refund", "refund_failed") == [
            ("refund", "undelivered", "rail:alipay", 5000),
            ("refund_failed", "rail:alipay", "undelivered", 5000),
        ]
        told = Notice.objects.get(kind="refund_failed")
        assert (told.facts["amount_minor"], told.facts["code"]) == (5000, "refund_failed")
        assert only().refund_committed_minor == 5000  # a new one waits for a person
        w.assert_balanced()

    def test_moves_nothing_by_itself_then(self, refunded):
        fails_later(refunded, Refund.objects.get())
        refunded.later(timedelta(days=30))
        refunded.run()
        assert len(refunded.gateway.refunded) == 1
        assert len(refunded.carrier.credits) == 1
        w.assert_balanced()

    def test_is_tried_again_under_a_new_reference(self, refunded):
        fails_later(refunded, Refund.objects.get())
        again = Refund.objects.latest("pk")
        operations.query_refund(refund=again, at=refunded.at)
        refunded.run()
        assert list(refunded.gateway.refunded) == [
            Refund.objects.earliest("pk").reference,
            again.reference,
        ]
        assert (only().state, only().attention) == ("refunded", "")
        assert Notice.objects.filter(kind="refunded").count() == 2
        w.assert_balanced()

    def test_is_credited_to_the_line_instead(self, refunded):
        fails_later(refunded, Refund.objects.get())
        finance = w.person("finance")
        again = Refund.objects.latest("pk")
        approvals.give_up(refund=again, given_up_by=finance, at=refunded.at)
        w.assert_balanced()
        operations.redeliver(recharge=only(), actor=finance, reason="owed", at=refunded.at)
        refunded.run()
        assert (only().state, len(refunded.carrier.credits)) == ("completed", 2)
        w.assert_balanced()

    def test_is_paid_out_by_another_way_by_two_people(self, refunded):
        fails_later(refunded, Refund.objects.get())
        settle(refunded, Finding.PAID_OUT, "BANK-77")
        assert booked("paid_out") == [("paid_out", "undelivered", "elsewhere", 5000)]
        assert (only().state, only().attention) == ("refunded", "")
        assert len(refunded.gateway.refunded) == 1
        w.assert_balanced()
        with pytest.raises(found.NotSettleable):
            say(refunded, Finding.PAID_OUT)

    def test_can_come_back_a_second_time(self, refunded):
        fails_later(refunded, Refund.objects.get())
        again = Refund.objects.latest("pk")
        operations.query_refund(refund=again, at=refunded.at)
        refunded.run()
        fails_later(refunded, again)
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        assert Notice.objects.filter(kind="refund_failed").count() == 2
        w.assert_balanced()

    def test_of_a_part_leaves_the_line_what_it_has(self, paid):
        refund = ask(paid, 2000)
        paid.run()
        fails_later(paid, refund)
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        w.assert_balanced()
        settle(paid, Finding.PAID_OUT, "BANK-77")
        assert (only().state, only().refund_committed_minor) == ("completed", 2000)
        w.assert_balanced()

    def test_of_what_was_never_credited_may_go_the_same_ways(self, undelivered):
        undelivered.run()
        assert only().state == "refunded"
        fails_later(undelivered, Refund.objects.get())
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        w.assert_balanced()
        finance = w.person("finance")
        again = Refund.objects.latest("pk")
        approvals.give_up(refund=again, given_up_by=finance, at=undelivered.at)
        operations.redeliver(recharge=only(), actor=finance, reason="owed", at=undelivered.at)
        undelivered.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_waits_while_another_of_the_same_charge_is_under_way(self, paid):
        first = ask(paid, 2000)
        paid.run()
        second = approvals.request(recharge=only(), amount_minor=1000, reason="too",
                                   requested_by=w.person("support"), at=paid.at)  # fmt: skip
        fails_later(paid, first)
        assert (first.state, only().state) == ("succeeded", "refunding")
        approvals.reject(refund=second, rejected_by=w.person("finance"), at=paid.at)
        paid.later(w.HOUR)
        paid.run()
        first.refresh_from_db()
        assert (first.state, only().attention) == ("refused", "refund_failed")
        w.assert_balanced()

    @pytest.mark.parametrize(
        ("says_it", "state"), [(Succeeded("R", 5000, "CNY"), "succeeded"), (BANK, "refused")]
    )
    def test_is_asked_about_when_a_message_tells_of_the_payers_bank(self, refunded, says_it, state):
        """Refused by the bank, it may lie in the payer's wallet, and then the refund stands."""
        refund = Refund.objects.get()
        says(refunded, says_it)
        note = Notification(
            NotificationKind.REFUND, "m1", our_ref=refund.attempt.reference,
            refund_ref=refund.reference, claims="depositback F",
        )  # fmt: skip
        incoming.accept(source="rail:alipay", note=note, at=refunded.at)
        incoming.process(at=refunded.at, limit=10)
        refunded.run()
        refund.refresh_from_db()
        assert refund.state == state
        is_back = state == "refused"
        assert only().attention == ("refund_failed" if is_back else "")
        assert Notice.objects.filter(kind="refund_failed").count() == is_back
        assert Transfer.objects.filter(kind="refund_failed").count() == is_back
        w.assert_balanced()

    @pytest.mark.parametrize("outcome", [Succeeded("R", 5000, "CNY"), NotFound()])
    def test_is_not_believed_without_the_rails_word(self, refunded, outcome):
        says(refunded, outcome)
        refund = Refund.objects.get()
        assert approvals.wake(reference=refund.reference, at=refunded.at)
        refunded.run()
        refund.refresh_from_db()
        assert (refund.state, refund.act_at, only().state) == ("succeeded", None, "refunded")
        w.assert_balanced()

    @pytest.mark.parametrize("outcome", [Unknown("down"), Pending()])
    def test_that_the_rail_does_not_tell_of_for_a_week_is_a_persons(self, refunded, outcome):
        says(refunded, outcome)
        refund = Refund.objects.get()
        approvals.wake(reference=refund.reference, at=refunded.at)
        for _ in range(14):
            refunded.run()
            refunded.later(w.DAY)
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("succeeded", "refund_unknown")
        settle(refunded, Finding.UNREFUNDED, "")
        assert (only().state, only().attention) == ("refunding", "refund_failed")
        w.assert_balanced()


class TestARefundMadeAfterItWasGivenUp:
    @pytest.fixture
    def given_up(self, paid):
        refund = ask(paid)
        plain = paid.gateway.refund
        paid.gateway.refund = lambda *, request: Answer(Refused("SELLER_BALANCE_NOT_ENOUGH"))
        for _ in range(6):
            paid.run()
            paid.later(w.HOUR)
        refund.refresh_from_db()
        approvals.give_up(refund=refund, given_up_by=w.person("finance"), at=paid.at)
        paid.gateway.refund = plain
        return paid

    def made(self, world) -> Refund:
        refund = Refund.objects.get()
        world.gateway.refunded[refund.reference] = 5000
        assert approvals.wake(reference=refund.reference, at=world.at)
        world.run()
        refund.refresh_from_db()
        shown = cases.refund_codes(refund), cases.codes(only())
        kept = {"undeliverable"} if only().state in ("reversed", "undeliverable") else set()
        assert (shown, refund.attention) == (({"late_refund"}, kept), "late_refund")
        return refund

    def test_is_a_refund_as_any_other_where_the_money_lay_there_still(self, given_up):
        refund = self.made(given_up)
        assert booked("refund") == []
        settle(given_up, Finding.REFUNDED)
        refund.refresh_from_db()
        assert (refund.state, only().state, only().attention) == ("succeeded", "refunded", "")
        assert booked("refund") == [("refund", "undelivered", "rail:alipay", 5000)]
        w.assert_balanced()

    def test_is_our_loss_where_the_line_was_credited_since(self, given_up):
        finance = w.person("finance")
        operations.redeliver(recharge=only(), actor=finance, reason="owed", at=given_up.at)
        given_up.run()
        self.made(given_up)
        settle(given_up, Finding.REFUNDED)
        assert booked("refund", "refund_excess") == [
            ("refund_excess", "losses", "rail:alipay", 5000)
        ]
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()

    def test_that_was_not_made_changes_nothing(self, given_up):
        refund = self.made(given_up)
        settle(given_up, Finding.UNREFUNDED, "")
        refund.refresh_from_db()
        assert (refund.state, refund.attention, booked("refund")) == ("refused", "", [])
        assert cases.codes(only()) == {"undeliverable"}
        w.assert_balanced()


class TestAPartThatTheRailRefusesForGood:
    """Its credit came back, so that the money must follow: by another way."""

    @pytest.fixture
    def refused(self, paid):
        refund = ask(paid, 2000)
        paid.gateway.refund = lambda *, request: Answer(Refused("TRADE_NOT_ALLOW_REFUND"))
        for _ in range(6):
            paid.run()
            paid.later(w.HOUR)
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("intended", "refund_refused")
        return paid

    def test_is_paid_out_by_two_people(self, refused):
        with pytest.raises(approvals.CreditTakenBack):
            approvals.give_up(
                refund=Refund.objects.get(), given_up_by=w.person("finance"), at=refused.at
            )
        settle(refused, Finding.PAID_OUT, "BANK-77")
        assert booked("paid_out") == [("paid_out", "undelivered", "elsewhere", 2000)]
        assert (only().state, only().attention) == ("completed", "")
        assert Delivery.objects.get().state == "credited"
        w.assert_balanced()

    def test_is_not_paid_out_while_it_is_asked_for_again(self, refused):
        said = say(refused, Finding.PAID_OUT, "BANK-77")
        operations.query_refund(refund=Refund.objects.get(), at=refused.at)
        with pytest.raises(found.NotSettleable):
            confirm(refused, said)
        assert booked("paid_out") == []
        w.assert_balanced()

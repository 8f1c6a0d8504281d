"""Disputes and refunds that came back, against the statement: by the rail's number of each."""

from datetime import timedelta
from typing import Any

import pytest

from billing import gateways
from billing.gateways.base import StatementKind
from billing.models import Difference, InboundNotification, PaymentAttempt, Recharge, Statement
from billing.operators import attestations
from billing.operators.found import Found
from billing.reconciliation import statements
from billing.states import Finding
from tests import world as w
from tests.billing import statement_day as day_of
from tests.billing.statement_day import Scene, found, give_back, payment, ref, refund
from tests.factories.billing import InboundNotificationFactory, TransferFactory
from tests.fakes import FakeGateway

pytestmark = pytest.mark.django_db
TAKEN, WON = StatementKind.DISPUTE, StatementKind.DISPUTE_WON


@pytest.fixture
def day(db: Any) -> Any:
    """Ten payments, booked."""
    w.rail(), w.carrier()
    day_of.book(10)
    with gateways.override("alipay", FakeGateway()):
        yield Scene()


def honest() -> list[Any]:
    return [payment(number) for number in range(1, 11)]


def disputed(kind: StatementKind, line_number: int, number: str = "du_1", **more: Any) -> Any:
    return payment(3, line_number=line_number, kind=kind, dispute_ref=number, **more)


def told(number: str = "du_1", claims: str = "lost") -> None:
    InboundNotificationFactory.create(
        kind="dispute",
        our_ref=ref("P", 3),
        claims=claims,
        dispute_ref=number,
        received_at=day_of.START,
    )


def again(day: Scene, *rows: Any) -> list[Any]:
    statements.ask_again(statement=Statement.objects.get(), at=day.at)
    return day.compare(*honest(), *rows)


def settle(day: Scene, finding: Finding, number: str, minor: int) -> None:
    recharge = Recharge.objects.get(ref=ref("G", 3))
    said = attestations.request(
        recharge=recharge,
        found=Found(finding, number, minor, "CNY"),
        reason="as the statement has it",
        requested_by=w.person("oliver"),
        at=day.at,
    )
    attestations.approve(
        settlement=said, seen=said.fingerprint, approved_by=w.person("cora"), at=day.at
    )


class TestADispute:
    def test_nobody_told_of_is_heard_of_by_the_statement_and_then_with_a_person(self, day):
        assert day.compare(*honest(), disputed(TAKEN, 11)) == [("dispute", ref("P", 3), 11)]
        heard = InboundNotification.objects.get()
        assert (heard.dispute_ref, heard.claims, heard.our_ref) == ("du_1", "open", ref("P", 3))
        assert Recharge.objects.get(ref=ref("G", 3)).attention == "disputed"
        assert day.again() == []
        assert InboundNotification.objects.count() == 1

    def test_nobody_told_of_can_be_booked_from_the_statement(self, day):
        day.compare(*honest(), disputed(TAKEN, 11))
        settle(day, Finding.LOST, "du_1", 5000)
        assert day.again() == []
        assert Recharge.objects.get(ref=ref("G", 3)).attention == ""

    def test_is_known_by_its_number_where_the_rail_names_only_its_own_of_the_payment(self, day):
        unnamed = disputed(TAKEN, 11, our_ref="")
        assert day.compare(*honest(), unnamed) == [("dispute", ref("P", 3), 11)]

    def test_that_is_the_second_is_not_told_of_by_the_first(self, day):
        told("du_1")
        rows = [disputed(TAKEN, 11, amount_minor=2000), disputed(TAKEN, 12, "du_2")]
        assert day.compare(*honest(), *rows) == [("dispute", ref("P", 3), 12)]
        [one] = Difference.objects.filter(state="open")
        assert one.their_ref == "du_2"

    def test_that_is_the_second_is_booked_from_the_statement_too(self, day):
        told("du_1")
        rows = [
            disputed(TAKEN, 11, amount_minor=2000),
            disputed(TAKEN, 12, "du_2", amount_minor=3000),
        ]
        day.compare(*honest(), *rows)
        settle(day, Finding.LOST, "du_1", 2000)
        settle(day, Finding.LOST, "du_2", 3000)
        assert day.again() == []

    def test_booked_at_another_amount_differs(self, day):
        told()
        day_of.lose(3, dispute_ref="du_1")
        rows = [disputed(TAKEN, 11, amount_minor=4000)]
        assert day.compare(*honest(), *rows) == [("dispute", ref("P", 3), 11)]
        [one] = Difference.objects.filter(state="open")
        assert (one.our_amount_minor, one.their_amount_minor, one.our_state) == (
            5000,
            4000,
            "booked",
        )

    def test_given_us_again_differs_until_that_is_booked(self, day):
        told()
        day_of.lose(3, dispute_ref="du_1")
        assert day.compare(*honest(), disputed(TAKEN, 11)) == []
        rows = [disputed(TAKEN, 11), disputed(WON, 12)]
        assert again(day, *rows) == [("dispute", ref("P", 3), 12)]
        settle(day, Finding.RETURNED, "du_1", 5000)
        assert day.again() == []
        assert not found()

    def test_lost_again_after_it_was_won_agrees_once_each_is_booked(self, day):
        told()
        day_of.lose(3, dispute_ref="du_1")
        attempt = PaymentAttempt.objects.get(reference=ref("P", 3))
        day_of.settle(attempt, "returned", 5000, dispute_ref="du_1")
        rows = [disputed(TAKEN, 11), disputed(WON, 12), disputed(TAKEN, 13)]
        assert day.compare(*honest(), *rows) == [("dispute", ref("P", 3), 11)]
        day_of.settle(attempt, "lost", 5000, dispute_ref="du_1")
        assert day.again() == []

    def test_that_was_prevented_and_is_booked_agrees(self, day):
        told(claims="lost")
        day_of.lose(3, dispute_ref="du_1")
        assert day.compare(*honest(), disputed(TAKEN, 11)) == []

    def test_won_before_anything_was_booked_is_no_difference(self, day):
        told(claims="won")
        assert day.compare(*honest(), disputed(TAKEN, 11), disputed(WON, 12)) == []


class TestARefundThatCameBack:
    def back(self, number: int, line_number: int, **changes: Any) -> Any:
        honest_row = {
            "kind": StatementKind.REFUND_BACK,
            "refund_ref": ref("F", number),
            "line_number": line_number,
            "amount_minor": 1000,
            "fee_minor": 0,
        }
        return payment(number, **(honest_row | changes))

    def test_that_we_have_as_made_differs_and_its_rail_is_asked(self, day):
        made = give_back(3)
        rows = [refund(3, ref("F", 3), line_number=11, amount_minor=1000), self.back(3, 12)]
        assert day.compare(*honest(), *rows) == [("status", made.reference, 12)]
        made.refresh_from_db()
        assert (made.state, made.act_at) == ("succeeded", day.at)  # asked, not believed

    def test_that_is_booked_as_such_agrees(self, day):
        made = give_back(3, state="refused")
        for kind, source, destination in (
            ("refund", "undelivered", "rail:alipay"),
            ("refund_failed", "rail:alipay", "undelivered"),
        ):
            TransferFactory.create(
                recharge=made.recharge,
                kind=kind,
                source=source,
                destination=destination,
                reference=made.reference,
                amount_minor=1000,
                at=day_of.START + timedelta(hours=5),
            )
        rows = [refund(3, ref("F", 3), line_number=11, amount_minor=1000), self.back(3, 12)]
        assert day.compare(*honest(), *rows) == []

    def test_that_names_nothing_of_ours_is_on_one_side_only(self, day):
        odd = self.back(3, 12, refund_ref="RE-OTHER")
        assert day.compare(*honest(), odd) == [("refund_unmatched", "RE-OTHER", 12)]


class TestARefundOfAnotherAmount:
    def test_agrees_with_the_statement_once_the_rest_is_booked_as_given_beyond(self, day):
        made = give_back(3)
        theirs = refund(3, ref("F", 3), line_number=11, amount_minor=1200)
        assert day.compare(*honest(), theirs) == [("amount", made.reference, 11)]
        TransferFactory.create(
            recharge=made.recharge,
            kind="refund_excess",
            source="losses",
            destination="rail:alipay",
            reference=made.reference,
            amount_minor=200,
            at=made.settled_at,
        )
        assert day.again() == []

    def test_in_another_currency_agrees_with_the_row_in_it(self, day):
        made = give_back(3, state="refused")
        TransferFactory.create(
            recharge=made.recharge,
            kind="refund_foreign",
            source="losses",
            destination="rail:alipay",
            reference=made.reference,
            amount_minor=140,
            currency="USD",
            at=made.settled_at,
        )
        theirs = refund(3, ref("F", 3), line_number=11, amount_minor=140, currency="USD")
        assert day.compare(*honest(), theirs) == []

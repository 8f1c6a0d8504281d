"""A credit that the carrier took back though the refund for it had ended without: its statement
says so, and people lead it on. The mirror of one that it never took back."""

from typing import Any

import pytest

from billing.models import Recharge, Refund, Transfer
from billing.operators import attestations
from billing.operators.found import Found, NotSettleable
from billing.reconciliation import days
from billing.refunds import approvals
from billing.states import Finding
from lines.carriers.base import Rejected
from tests import world as w
from tests.factories.billing import DifferenceFactory

pytestmark = pytest.mark.django_db


def only() -> Recharge:
    return Recharge.objects.get()


def ask(world: Any, minor: int) -> Refund:
    asked = approvals.request(
        recharge=only(),
        amount_minor=minor,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )
    return approvals.approve(refund=asked, approved_by=w.person("finance"), at=world.at)


def listed(world: Any, refund: Refund) -> None:
    """Their statement has the taking back, and our books do not: as each comparison finds it."""
    one = DifferenceFactory.create(
        kind="status", line_kind="reversal", our_ref=refund.reversal_ref, recharge=only()
    )
    days._wake(one.statement_id, at=world.at)
    refund.refresh_from_db()


def settle(world: Any, finding: Finding) -> None:
    said = attestations.request(
        recharge=only(),
        found=Found(finding, "TB-1" if finding == Finding.TAKEN_BACK else ""),
        reason="on their pages",
        requested_by=w.person("oliver"),
        at=world.at,
    )
    assert list(Transfer.objects.filter(kind="reverse")) == []
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


def kinds() -> list[tuple[str, int]]:
    rows = Transfer.objects.filter(kind__in=["reverse", "refund"]).order_by("pk")
    return list(rows.values_list("kind", "amount_minor"))


@pytest.fixture
def paid(world: Any) -> Any:
    w.carrier(), w.rail()
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    assert only().state == "completed"
    return world


@pytest.fixture(params=[2000, 5000])
def refused(paid: Any, request: Any) -> Any:
    """Of a part, or of all: the carrier would not take its credit back."""
    paid.minor = request.param
    paid.refund = ask(paid, request.param)
    paid.carrier.script = [Rejected("usedUp", "", True)] * 2
    paid.carrier.can_query_by_reference = False
    paid.run()
    paid.refund.refresh_from_db()
    assert (paid.refund.state, only().state, only().attention) == ("refused", "completed", "")
    w.assert_balanced()
    paid.later(w.DAY)
    return paid


class TestATakingBackThatTheStatementTellsOf:
    def test_calls_a_person_and_moves_nothing(self, refused):
        listed(refused, refused.refund)
        assert (refused.refund.state, refused.refund.attention) == ("refused", "late_reversal")
        assert (only().state, only().attention) == ("completed", "late_reversal")
        assert attestations.possible(only()) == [Finding.TAKEN_BACK, Finding.NOT_TAKEN]
        refused.run()
        assert (kinds(), refused.gateway.refunded) == ([], {})
        w.assert_balanced()

    def test_is_booked_by_two_people_and_the_money_goes_back(self, refused):
        listed(refused, refused.refund)
        settle(refused, Finding.TAKEN_BACK)
        assert kinds() == [("reverse", refused.minor)]
        refused.run()
        refused.refund.refresh_from_db()
        assert (refused.refund.state, refused.refund.attention) == ("succeeded", "")
        assert kinds() == [("reverse", refused.minor), ("refund", refused.minor)]
        assert list(refused.gateway.refunded.values()) == [refused.minor]
        assert only().state == ("refunded" if refused.minor == 5000 else "completed")
        assert (only().attention, only().refund_committed_minor) == ("", refused.minor)
        assert len(refused.carrier.calls["reverse"]) == 1  # not asked for once more
        w.assert_balanced()

    def test_is_an_error_of_theirs_by_two_people_and_stays_that(self, refused):
        listed(refused, refused.refund)
        settle(refused, Finding.NOT_TAKEN)
        refused.refund.refresh_from_db()
        assert (refused.refund.state, refused.refund.attention) == ("refused", "")
        assert (only().state, only().attention) == ("completed", "")
        refused.later(w.HOUR)
        listed(refused, refused.refund)  # compared again, with the same row
        assert (refused.refund.attention, only().attention) == ("", "")
        assert (kinds(), refused.gateway.refunded) == ([], {})
        w.assert_balanced()

    def test_waits_while_another_refund_is_under_way(self, refused):
        listed(refused, refused.refund)
        second = approvals.request(
            recharge=only(),
            amount_minor=1000,
            reason="asked again",
            requested_by=w.person("support"),
            at=refused.at,
        )
        assert attestations.possible(only()) == []
        with pytest.raises(NotSettleable):
            settle(refused, Finding.TAKEN_BACK)
        approvals.reject(refund=second, rejected_by=w.person("finance"), at=refused.at)
        settle(refused, Finding.TAKEN_BACK)
        assert kinds() == [("reverse", refused.minor)]
        w.assert_balanced()

    def test_of_more_than_the_line_still_has_by_our_books_is_theirs_to_mend(self, paid):
        paid.refund = ask(paid, 2000)
        paid.carrier.script = [Rejected("usedUp", "", True)]
        paid.carrier.can_query_by_reference = False
        paid.run()
        paid.refund.refresh_from_db()
        ask(paid, 4000)
        paid.run()
        assert kinds() == [("reverse", 4000), ("refund", 4000)]
        listed(paid, paid.refund)
        assert attestations.possible(only()) == [Finding.NOT_TAKEN]
        w.assert_balanced()

    def test_of_a_refund_that_is_under_way_or_made_calls_nobody(self, paid):
        refund = ask(paid, 2000)
        listed(paid, refund)
        assert (refund.state, refund.attention) == ("reversing", "")
        paid.run()
        listed(paid, refund)
        assert (refund.state, refund.attention, only().attention) == ("succeeded", "", "")
        w.assert_balanced()

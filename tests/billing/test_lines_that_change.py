"""What was paid for a line that has changed since: not credited to it, and never kept (rule 23)."""

from datetime import timedelta

import pytest

from billing.ledger import verification
from billing.models import Recharge
from lines.carriers.base import Rejected
from lines.models import Delivery, Line
from tests import world as w
from tests.fakes import LOST_BEFORE

pytestmark = pytest.mark.django_db

GONE = [
    {"status": "ported_out"},
    {"status": "terminated"},
    {"status": "removed"},
    {"status": "unverified", "sim_generation": 2},
    {"sim_generation": 2},
    {"owner": "bob"},
]


@pytest.fixture
def due(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail()
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


def change(**more):
    if "owner" in more:
        more["owner"] = w.person(more["owner"])
    Line.objects.update(**more)


def money_is_back(world):
    w.assert_balanced()
    assert list(world.gateway.refunded.values()) == [5000]
    assert verification.accounts()["CNY"]["undelivered"] == 0


class TestALine:
    def test_that_was_ported_out_after_the_payment_is_not_credited(self, due):
        due.carrier.script = [Rejected("lineBusy")]
        due.run()
        Line.objects.update(status="ported_out")
        due.later(timedelta(minutes=2))
        due.run()
        assert not due.carrier.credits
        money_is_back(due)

    @pytest.mark.parametrize("more", GONE, ids=str)
    def test_that_is_gone_once_it_is_paid_for_gets_nothing_and_the_money_goes_back(self, due, more):
        due.carrier.script = [Rejected("lineBusy")]
        due.run()
        change(**more)
        due.later(timedelta(minutes=2))
        due.run()
        assert only().state == "refunded"
        assert "line_lost" in only().moves.values_list("because", flat=True)
        assert len(due.carrier.calls["credit"]) == 1
        assert not due.carrier.credits
        money_is_back(due)

    @pytest.mark.parametrize("more", GONE, ids=str)
    def test_that_goes_while_the_payment_is_unknown_gets_nothing_either(self, due, more):
        due.gateway.script = [LOST_BEFORE]
        due.run()
        change(**more)
        due.gateway.charged[only().attempts.get().reference] = 5000
        due.later(timedelta(seconds=11))
        due.run()
        assert only().state == "refunded"
        assert due.carrier.calls == {}
        assert not Delivery.objects.exists()
        money_is_back(due)

    def test_whose_order_never_arrived_is_not_sent_it_again_once_it_is_gone(self, due):
        due.carrier.script = [LOST_BEFORE]
        due.run()
        change(status="terminated")
        due.later(timedelta(seconds=11))
        due.run()
        due.later(timedelta(minutes=3))
        due.run()
        assert only().state == "refunded"
        assert len(due.carrier.calls["credit"]) == 1
        assert Delivery.objects.get().state == "rejected"
        money_is_back(due)


class TestALineThatIsSuspended:
    @pytest.fixture
    def waiting(self, due):
        due.carrier.script = [Rejected("lineBusy")]
        due.run()
        change(status="suspended")
        due.later(timedelta(minutes=2))
        due.run()
        return due

    def test_is_waited_for(self, waiting):
        assert (only().state, only().reason, only().attention) == ("charged", "line_suspended", "")
        assert len(waiting.carrier.calls["credit"]) == 1
        assert waiting.gateway.refunded == {}
        w.assert_balanced()

    def test_is_credited_when_it_comes_back(self, waiting):
        change(status="active")
        waiting.later(w.HOUR)
        waiting.run()
        assert only().state == "completed"
        assert [sum(one) for one in waiting.carrier.credits.values()] == [5000]
        w.assert_balanced()

    def test_is_shown_to_a_person_after_three_days_and_still_looked_at(self, waiting):
        waiting.later(3 * w.DAY)
        waiting.run()
        assert (only().state, only().attention) == ("charged", "line_suspended")
        change(status="active")
        waiting.later(w.HOUR)
        waiting.run()
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()

    def test_is_given_up_after_thirty_days_and_the_money_goes_back(self, waiting):
        waiting.later(30 * w.DAY)
        waiting.run()
        assert only().state == "refunded"
        assert not waiting.carrier.credits
        money_is_back(waiting)

    def test_and_then_ported_out_is_not_waited_for_any_longer(self, waiting):
        change(status="ported_out")
        waiting.later(w.HOUR)
        waiting.run()
        assert only().state == "refunded"
        money_is_back(waiting)

    def test_is_not_charged_for_either(self, due):
        change(status="suspended")
        due.run()
        assert due.gateway.calls == {}

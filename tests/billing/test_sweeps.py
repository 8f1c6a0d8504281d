"""Balances asked for from carriers, and what an answer does to the line and its rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.engine import sweeps
from billing.models import Recharge, Rule
from lines.carriers.base import Balance, BalanceAnswer, NotFound
from lines.models import BalanceReading, Line
from tests import world as w

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    return w.rule(w.line(poll_at=world.at))


def balance(world, minor: int, *, status: str = "active", currency: str = "CNY") -> Balance:
    return Balance(minor, currency, world.at, None, status)


class TestPolling:
    def test_applies_the_answer_and_wakes_a_rule_that_is_low(self, world, rule):
        world.carrier.balances[rule.line.msisdn] = balance(world, 980)
        assert sweeps.poll_balances(at=world.at, outside=world.outside) == 1
        line = Line.objects.get()
        assert (line.balance_minor, line.poll_at) == (980, world.at + timedelta(hours=6))
        world.run()
        assert Recharge.objects.get().state == "completed"
        w.assert_balanced()

    def test_asks_again_soon_where_there_was_no_answer(self, world, rule):
        sweeps.poll_balances(at=world.at, outside=world.outside)
        assert Line.objects.get().poll_at == world.at + timedelta(minutes=10)
        assert not BalanceReading.objects.exists()

    def test_never_applies_another_currency(self, world, rule):
        world.carrier.balances[rule.line.msisdn] = balance(world, 980, currency="USD")
        sweeps.poll_balances(at=world.at, outside=world.outside)
        assert Line.objects.get().balance_minor == 1860

    def test_stops_a_rule_whose_line_its_carrier_no_longer_knows(self, world, rule):
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        sweeps.poll_balances(at=world.at, outside=world.outside)
        world.run()
        rule.refresh_from_db()
        assert Line.objects.get().status == "suspended"
        assert (rule.pause_reason, rule.wake_at) == ("line_not_active", None)
        assert not Recharge.objects.exists()

    def test_a_suspended_line_comes_back_with_the_carriers_word(self, world, rule):
        Line.objects.update(status="suspended")
        world.carrier.balances[rule.line.msisdn] = balance(world, 2000)
        sweeps.poll_balances(at=world.at, outside=world.outside)
        assert Line.objects.get().status == "active"
        assert Rule.objects.get().paused_at is None

    def test_a_line_that_has_left_is_not_brought_back_by_its_old_carriers_word(self, world, rule):
        Line.objects.update(status="ported_out")
        world.carrier.balances[rule.line.msisdn] = balance(world, 2000)
        sweeps.poll_balances(at=world.at, outside=world.outside)
        line = Line.objects.get()
        assert (line.status, line.balance_minor) == ("ported_out", 2000)

    @pytest.mark.parametrize(
        ("status", "becomes"),
        [("expired", "suspended"), ("ported_out", "ported_out"), ("removed", "removed")],
    )
    def test_only_a_line_that_could_be_recharged_is_suspended_for_being_unknown(
        self, world, rule, status, becomes
    ):
        Line.objects.update(status=status)
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        sweeps.poll_balances(at=world.at, outside=world.outside)
        line = Line.objects.get()
        assert (line.status, line.poll_at) == (becomes, world.at + timedelta(hours=6))

    @pytest.mark.parametrize("more", [{"is_on": False}, {"paused_at": w.NOON}])
    def test_wakes_no_rule_that_is_off_or_paused_for_a_line_that_is_unknown(
        self, world, rule, more
    ):
        Rule.objects.update(wake_at=None, **more)
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        sweeps.poll_balances(at=world.at, outside=world.outside)
        assert Rule.objects.get().wake_at is None

    def test_a_reading_from_the_future_is_not_believed_and_stops_no_other_line(self, world, rule):
        other = w.line(poll_at=world.at)
        early = replace(balance(world, 980), observed_at=world.at + w.DAY)
        world.carrier.balances[rule.line.msisdn] = early
        world.carrier.balances[other.msisdn] = balance(world, 1500)
        assert sweeps.poll_balances(at=world.at, outside=world.outside) == 2
        assert Line.objects.get(pk=rule.line_id).balance_minor == 1860
        assert Line.objects.get(pk=other.pk).balance_minor == 1500

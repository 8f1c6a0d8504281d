"""Balances asked for from carriers, and what an answer does to the line and its rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.engine import incoming, polling
from billing.models import Recharge, Rule
from lines.carriers.base import Balance, BalanceAnswer, CarrierEvent, NotFound
from lines.models import BalanceReading, Line
from lines.validity import UNSAID
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
        assert polling.poll_balances(at=world.at, outside=world.outside, limit=200) == 1
        line = Line.objects.get()
        assert (line.balance_minor, line.poll_at) == (980, world.at + timedelta(hours=6))
        world.run()
        assert Recharge.objects.get().state == "completed"
        w.assert_balanced()

    def test_asks_again_soon_where_there_was_no_answer(self, world, rule):
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        assert Line.objects.get().poll_at == world.at + timedelta(minutes=10)
        assert not BalanceReading.objects.exists()

    def test_never_applies_another_currency(self, world, rule):
        world.carrier.balances[rule.line.msisdn] = balance(world, 980, currency="USD")
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        assert Line.objects.get().balance_minor == 1860

    def test_stops_a_rule_whose_line_its_carrier_no_longer_knows(self, world, rule):
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        world.run()
        rule.refresh_from_db()
        assert Line.objects.get().status == "suspended"
        assert (rule.pause_reason, rule.wake_at) == ("line_not_active", None)
        assert not Recharge.objects.exists()

    def test_a_suspended_line_comes_back_with_the_carriers_word(self, world, rule):
        Line.objects.update(status="suspended")
        world.carrier.balances[rule.line.msisdn] = balance(world, 2000)
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        assert Line.objects.get().status == "active"
        assert Rule.objects.get().paused_at is None

    def test_a_line_that_has_left_is_not_brought_back_by_its_old_carriers_word(self, world, rule):
        Line.objects.update(status="ported_out")
        world.carrier.balances[rule.line.msisdn] = balance(world, 2000)
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
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
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        line = Line.objects.get()
        assert (line.status, line.poll_at) == (becomes, world.at + timedelta(hours=6))

    @pytest.mark.parametrize("more", [{"is_on": False}, {"paused_at": w.NOON}])
    def test_wakes_no_rule_that_is_off_or_paused_for_a_line_that_is_unknown(
        self, world, rule, more
    ):
        Rule.objects.update(wake_at=None, **more)
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        assert Rule.objects.get().wake_at is None

    def test_a_reading_from_the_future_is_not_believed_and_stops_no_other_line(self, world, rule):
        other = w.line(poll_at=world.at)
        early = replace(balance(world, 980), observed_at=world.at + w.DAY)
        world.carrier.balances[rule.line.msisdn] = early
        world.carrier.balances[other.msisdn] = balance(world, 1500)
        assert polling.poll_balances(at=world.at, outside=world.outside, limit=200) == 2
        assert Line.objects.get(pk=rule.line_id).balance_minor == 1860
        assert Line.objects.get(pk=other.pk).balance_minor == 1500


class TestAWishMadeDuringAPoll:
    """Whatever it is about may be younger than the answer."""

    def during(self, world, line, act) -> Line:
        plain = world.carrier.balance

        def balance(*, address):
            act()
            return plain(address=address)

        world.carrier.balance = balance
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        line.refresh_from_db()
        return line

    def test_by_the_carrier_that_says_low_is_asked_about_soon(self, world):
        w.carrier(), w.rail()
        line = w.line(balance_minor=5000, poll_at=world.at)
        w.rule(line)
        world.carrier.balances[line.msisdn] = balance(world, 5000)

        def says_low():
            event = CarrierEvent(dedupe_id="e1", kind="balance", reference="", carrier_ref="",
                                 claims="low", resource=line.msisdn)  # fmt: skip
            incoming.accept(source="carrier:cmcc", note=event, at=world.at)
            incoming.process(at=world.at, limit=9)

        assert self.during(world, line, says_low).poll_at <= world.at + timedelta(minutes=1)

    def test_stays_where_the_carrier_does_not_know_the_line(self, world, rule):
        world.carrier.balance = lambda *, address: BalanceAnswer(NotFound())
        wish = world.at + w.MINUTE
        line = self.during(world, rule.line, lambda: Line.objects.update(poll_at=wish))
        assert (line.poll_at, line.status) == (wish, "suspended")

    def test_stays_where_there_is_no_answer(self, world, rule):
        wish = world.at + w.MINUTE
        asked = self.during(world, rule.line, lambda: Line.objects.update(poll_at=wish))
        assert asked.poll_at == wish

    def test_and_a_line_that_was_removed_meanwhile_is_not_asked_again(self, world, rule):
        world.carrier.balances[rule.line.msisdn] = balance(world, 980)
        gone = {"status": "removed", "poll_at": None}
        line = self.during(world, rule.line, lambda: Line.objects.update(**gone))
        assert (line.poll_at, line.balance_minor) == (None, 980)


class TestAPolledValidity:
    def polled(self, world, line, valid_until, **more) -> Line:
        answer = replace(balance(world, 900), valid_until=valid_until, **more)
        world.carrier.balances[line.msisdn] = answer
        polling.poll_balances(at=world.at, outside=world.outside, limit=200)
        line.refresh_from_db()
        return line

    def test_of_9999_12_31_is_no_end_and_the_balance_counts(self, world):
        line = w.line(balance_minor=1860, poll_at=world.at)
        w.rule(line, expiry_days_before=5)
        never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        self.polled(world, line, never)
        world.run()
        assert (line.balance_minor, line.valid_until) == (900, None)
        assert Recharge.objects.get().trigger == "low_balance"

    def test_that_the_carrier_no_longer_reports_is_lifted(self, world):
        line = w.line(balance_minor=9000, valid_until=world.at + 10 * w.DAY, poll_at=world.at)
        w.rule(line, threshold_minor=None, expiry_days_before=5, wake_at=world.at + 5 * w.DAY)
        assert self.polled(world, line, None).valid_until is None
        world.later(5 * w.DAY)
        world.run()
        assert not Recharge.objects.exists()

    def test_that_makes_no_sense_leaves_what_was_known(self, world):
        until = world.at + 10 * w.DAY
        line = w.line(balance_minor=9000, valid_until=until, poll_at=world.at)
        for odd in (UNSAID, datetime(1970, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)):
            assert self.polled(world, line, odd).valid_until == until
            assert line.balance_minor == 900
            Line.objects.update(poll_at=world.at, balance_minor=9000, balance_observed_at=None)

    def test_with_an_odd_status_leaves_the_line_as_it_was(self, world):
        line = w.line(balance_minor=9000, poll_at=world.at)
        assert self.polled(world, line, None, status="").status == "active"
        assert line.balance_minor == 900

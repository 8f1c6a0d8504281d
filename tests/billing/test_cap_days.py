"""Caps count the day the money moves, in the line's zone, however a charge came to that day."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from billing.calendar import Hours
from billing.gateways.base import Capabilities, Refused
from billing.models import Notice, Rail, Recharge, Rule
from billing.rules import by_hand, gathering, readings
from billing.rules.balances import Reading
from lines.models import Line
from tests import world as w
from tests.factories.billing import RechargeFactory, SpendingCapFactory

pytestmark = pytest.mark.django_db

SOFT = Refused("BUYER_BALANCE_NOT_ENOUGH")
# Noon in Shanghai, on the last day of November.
LAST = datetime(2026, 11, 30, 4, tzinfo=UTC)
SHANGHAI = Hours(time(7), time(22), "Asia/Shanghai")


def push(rule, balance_minor, at):
    readings.push(reading=Reading(rule.line_id, balance_minor, at), at=at)
    rule.refresh_from_db()


def over_the_months_end(world, *, line=None, **more):
    """Opened in November, and charged in December, after two refusals."""
    world.at = LAST
    line = line or w.line(balance_minor=1860)
    Line.objects.update(balance_observed_at=LAST - w.MINUTE)
    rule = w.rule(line, **({"max_per_day_count": 5} | more))
    world.gateway.script = [SOFT, SOFT]
    push(rule, 980, world.at)
    world.run()
    for hours in (7, 25):
        world.later(timedelta(hours=hours))
        world.run()
    return rule


def again(world, rule):
    world.later(2 * w.HOUR)
    push(rule, 5980, world.at)
    world.later(w.HOUR)
    push(rule, 500, world.at)
    world.run()


def taken_in(month):
    paid = Recharge.objects.exclude(charged_at=None)
    return sum(one.price_minor for one in paid if one.charged_at.month == month)


def counted():
    return [one.cap_day for one in Recharge.objects.order_by("pk")]


class TestACapOfAMonth:
    def test_of_a_line_holds_over_a_ladder(self, world):
        again(world, over_the_months_end(world, max_per_month_minor=5000))
        assert taken_in(12) <= 5000
        assert taken_in(12) == 5000
        assert counted() == [date(2026, 12, 1)]
        w.assert_balanced()

    def test_of_a_method_holds_over_a_ladder(self, world):
        rule = over_the_months_end(world, max_per_month_minor=90_000)
        type(rule.binding).objects.update(max_per_month_minor=9999)
        again(world, rule)
        assert taken_in(12) == 5000
        w.assert_balanced()

    def test_of_an_owner_holds_over_a_ladder(self, world):
        rule = over_the_months_end(world, max_per_month_minor=90_000)
        SpendingCapFactory.create(owner=rule.line.owner, max_per_month_minor=9999)
        again(world, rule)
        assert taken_in(12) == 5000
        w.assert_balanced()

    def test_holds_by_hand_after_what_slipped(self, world):
        rule = over_the_months_end(world, max_per_month_minor=5000)
        with pytest.raises(by_hand.CapReached) as refusal:
            by_hand.recharge(line=rule.line, binding=rule.binding, face_minor=5000,
                             owner=rule.line.owner, idempotency_key="k", at=world.at)  # fmt: skip
        assert refusal.value.code == "cap_month"

    def test_that_has_no_room_for_what_slipped_ends_it_and_says_so(self, world):
        world.at = LAST
        rule = w.rule(
            w.line(balance_minor=980), wake_at=LAST, max_per_month_minor=5000, max_per_day_count=5
        )
        Line.objects.update(balance_observed_at=LAST - w.MINUTE)
        RechargeFactory.create(line=rule.line, completed=True, face_minor=5000,
                               at=LAST - 40 * w.DAY, cap_day=date(2026, 12, 1),
                               cap_month=date(2026, 12, 1))  # fmt: skip
        world.gateway.script = [SOFT, SOFT]
        world.run()
        for hours in (7, 25):
            world.later(timedelta(hours=hours))
            world.run()
        slipped = Recharge.objects.order_by("pk")[1]
        assert (slipped.state, slipped.reason) == ("canceled", "cap_month")
        assert slipped.cap_day == date(2026, 11, 30)
        assert world.gateway.charged == {}
        assert Notice.objects.get(recharge=slipped, kind="not_recharged").facts["cap_minor"] == 5000

    def test_that_was_lowered_meanwhile_holds(self, world):
        rule = w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [SOFT]
        world.run()
        type(rule.binding).objects.update(max_per_month_minor=4999)
        world.later(8 * w.HOUR)
        world.run()
        assert Recharge.objects.get().reason == "cap_binding_month"
        assert world.gateway.charged == {}


class TestACapOfADay:
    def test_puts_off_till_tomorrow_what_is_still_in_its_window_then(self, world):
        """Declined yesterday, and today's one is used up: tomorrow, if that is not too late."""
        world.at = LAST
        w.rail(retry_ladder_s=[14 * 3600, 14 * 3600, 14 * 3600])
        rule = w.rule(w.line(balance_minor=980), wake_at=LAST)
        Line.objects.update(balance_observed_at=LAST - w.MINUTE)
        RechargeFactory.create(line=rule.line, completed=True, face_minor=1000,
                               at=LAST - 40 * w.DAY,
                               cap_day=date(2026, 12, 1), cap_month=date(2026, 12, 1))  # fmt: skip
        world.gateway.script = [SOFT]
        world.run()
        world.later(timedelta(hours=14))
        world.run()
        put_off = Recharge.objects.order_by("pk")[1]
        assert (put_off.state, put_off.reason) == ("waiting", "cap_day")
        assert put_off.act_at == datetime(2026, 12, 1, 16, tzinfo=UTC)
        world.at = put_off.act_at
        world.run()
        put_off.refresh_from_db()
        assert (put_off.state, put_off.cap_day) == ("completed", date(2026, 12, 2))
        assert len(world.gateway.charged) == 1


class TestAnIncident:
    def test_over_midnight_moves_the_count_with_the_money(self, world):
        world.at = LAST + timedelta(hours=11)  # 23:00 in Shanghai
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        Line.objects.update(balance_observed_at=world.at - w.MINUTE)
        w.rail(deferred_since=world.at)
        world.run()
        assert counted() == [date(2026, 11, 30)]
        Rail.objects.update(deferred_since=None)
        world.later(2 * w.HOUR)
        world.run()
        assert Recharge.objects.get().state == "completed"
        assert counted() == [date(2026, 12, 1)]
        assert Recharge.objects.get().cap_month == date(2026, 12, 1)
        w.assert_balanced()


class TestAnAnnouncement:
    def test_that_is_made_late_counts_on_the_day_it_announces(self, world):
        """Meant for November's last day, and told a day late."""
        world.gateway.capabilities = Capabilities(
            rail="alipay", currencies=frozenset({"CNY"}), must_prepare=True, notice=w.DAY
        )
        world.at = LAST - w.DAY
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        Line.objects.update(balance_observed_at=world.at - w.MINUTE)
        w.rail(deferred_since=world.at)
        world.run()
        assert counted() == [date(2026, 11, 30)]
        Rail.objects.update(deferred_since=None)
        world.later(w.DAY)
        world.run()
        assert Recharge.objects.get().reason == "announced"
        assert counted() == [date(2026, 12, 1)]


class TestWhenMoneyMoves:
    def test_is_reckoned_in_one_way(self):
        """At once, in the rail's hours, after its notice and delay, and never before it is due."""
        plain = Capabilities(rail="r", currencies=frozenset({"CNY"}))
        night = LAST + timedelta(hours=11)  # 23:00 in Shanghai; the rail opens at 7:00
        open_at = LAST + timedelta(hours=19)
        both = replace(plain, hours=SHANGHAI, notice=w.DAY, delay=w.DAY)
        fresh = replace(plain, delay=w.DAY, no_delay_for=12 * w.HOUR)
        signed_at = night - w.HOUR
        cases = [
            (None, {}, night),
            (None, {"due_at": night + w.HOUR}, night + w.HOUR),
            (plain, {}, night),
            (plain, {"due_at": night + w.DAY}, night + w.DAY),
            (plain, {"due_at": night - w.DAY}, night),
            (replace(plain, hours=SHANGHAI), {}, open_at),
            (replace(plain, notice=w.DAY), {}, night + w.DAY),
            (both, {}, open_at + 2 * w.DAY),
            (replace(both, notice=10 * w.HOUR), {}, open_at + 10 * w.HOUR + w.DAY),
            (replace(both, notice=16 * w.HOUR), {}, open_at + 2 * w.DAY),
            (fresh, {}, night + w.DAY),
            (fresh, {"signed_at": signed_at}, night),
            (fresh, {"signed_at": night - 12 * w.HOUR}, night + w.DAY),
        ]
        found = [gathering.moves_at(rail, at=night, **more) for rail, more, _ in cases]
        assert found == [moves_at for _, _, moves_at in cases]

    def test_by_rule_as_by_hand_is_the_morning_where_a_rail_sleeps(self, world):
        world.at = LAST + timedelta(hours=11)
        world.gateway.capabilities = replace(world.gateway.capabilities, hours=SHANGHAI)
        rule = w.rule(w.line(balance_minor=980), wake_at=world.at)
        Line.objects.update(balance_observed_at=world.at - w.MINUTE)
        other = w.line(rule.line.owner, msisdn="+8613800138999")
        by_hand.recharge(line=other, binding=rule.binding, face_minor=5000, owner=other.owner,
                         idempotency_key="k", capabilities=world.gateway.capabilities,
                         at=world.at)  # fmt: skip
        world.run()
        assert counted() == [date(2026, 12, 1)] * 2
        assert Rule.objects.exists()

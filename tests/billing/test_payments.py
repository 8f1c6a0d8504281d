"""The payment leg: what is looked at before the call, and that only what was claimed is sent."""

import time
from dataclasses import replace
from datetime import time as clock
from datetime import timedelta

import pytest

from billing.calendar import Hours
from billing.engine import executor, flights
from billing.gateways.base import Capabilities, Refused, Succeeded
from billing.models import Binding, PaymentAttempt, PromotionUse, Recharge, Rule
from billing.payments import charging
from billing.recharges import claims, machine, waking
from billing.rules import by_hand, openings
from lines.models import Carrier, Delivery
from tests import world as w
from tests.factories.billing import PromotionFactory
from tests.fakes import LOST_AFTER

pytestmark = pytest.mark.django_db

SOFT = Refused("BUYER_BALANCE_NOT_ENOUGH")


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600, 7200, 10800])
    return w.rule(w.line(balance_minor=980), wake_at=world.at)


def only() -> Recharge:
    return Recharge.objects.get()


def open_it(world) -> Recharge:
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
    return only()


class TestJustBeforeTheCharge:
    def test_a_paused_method_is_not_charged_though_no_rule_rests_with_it(self, world):
        line = w.line()
        tool = w.binding(line.owner)
        by_hand.recharge(
            line=line,
            binding=tool,
            face_minor=5000,
            owner=line.owner,
            idempotency_key="k",
            at=world.at,
        )
        Binding.objects.update(paused_at=world.at, pause_reason="breaker")
        world.run()
        assert (only().state, only().reason) == ("canceled", "binding_ended")
        assert world.gateway.calls == {}

    def test_what_three_workers_died_over_is_held_for_a_person(self, world, low):
        open_it(world)
        Recharge.objects.update(crash_count=claims.MAX_CRASHES)
        world.run()
        assert (only().state, only().attention, only().act_at) == ("review", "crashed", None)
        assert world.gateway.calls == {}

    def test_what_two_workers_died_over_is_charged(self, world, low):
        open_it(world)
        Recharge.objects.update(crash_count=claims.MAX_CRASHES - 1)
        world.run()
        assert only().state == "completed"

    def test_the_last_instant_of_its_window_is_in_time(self, world, low):
        Recharge.objects.filter(pk=open_it(world).pk).update(act_at=only().expires_at)
        world.at = only().expires_at
        world.run()
        assert only().state == "completed"

    def test_the_instant_after_it_is_not(self, world, low):
        world.at = open_it(world).expires_at + timedelta(seconds=1)
        world.run()
        assert (only().state, only().reason) == ("missed", "window_over")
        assert world.gateway.calls == {}

    def test_a_retry_after_a_decline_may_be_later_than_that(self, world, low):
        Rule.objects.update(grace_s=1800)
        world.gateway.script = [SOFT]
        world.run()
        world.later(w.HOUR)
        assert only().expires_at < world.at
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_a_retry_whose_rail_is_held_back_waits_by_way_of_due(self, world, low):
        world.gateway.script = [SOFT]
        world.run()
        w.rail(deferred_since=world.at)
        world.later(w.HOUR)
        world.run()
        assert (only().state, only().reason) == ("waiting", "rail_deferred")
        assert len(world.gateway.calls["charge"]) == 1

        w.rail(deferred_since=None)
        world.later(w.MINUTE)
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_hours_that_are_over_defer_it_to_the_next_morning(self, world, low):
        world.gateway.capabilities = Capabilities(
            rail="alipay",
            currencies=frozenset({"CNY"}),
            hours=Hours(opens=clock(7), closes=clock(12), timezone="Asia/Shanghai"),
        )
        world.run()
        assert (only().state, only().reason) == ("waiting", "outside_hours")
        assert only().act_at == world.at + timedelta(hours=19)  # it is noon
        assert world.gateway.calls == {}


class TestWhatAnotherWasFasterWith:
    def test_is_not_sent(self, world, low):
        recharge = open_it(world)
        rows = claims.claim(at=world.at, limit=10)
        machine.cancel(recharge=recharge, actor=None, because="canceled_by_owner", at=world.at)
        assert charging.begin(rows, at=world.at, rails=world.outside.capabilities) == []
        assert not PaymentAttempt.objects.exists()
        assert world.gateway.calls == {}

    def test_is_not_given_back_by_whoever_lost_the_lease(self, world, low):
        open_it(world)
        [stalled] = claims.claim(at=world.at, limit=10)
        world.lapse_leases()
        [other] = claims.claim(at=world.at, limit=10)
        leased_until = only().lease_until
        claims.release(stalled, act_at=world.at + w.MINUTE, attention="config", at=world.at)
        assert (only().lease_until, only().fence, only().attention) == (
            leased_until,
            other.fence,
            "",
        )
        assert only().act_at == world.at


class TestABatchThatRanOutOfTime:
    """Nothing was asked, so nothing is unknown, nobody crashed, and it is due again in a minute."""

    def work(self, world, *, began_s_ago):
        rows = claims.claim(at=world.at, limit=10)
        began = time.monotonic() - began_s_ago
        executor.work(rows, at=world.at, outside=world.outside, began=began)

    def test_begins_no_charge_though_there_is_time_left_to_credit(self, world, low):
        open_it(world)
        self.work(world, began_s_ago=flights.CHARGES_WITHIN_S + 1)
        assert (only().state, only().reason) == ("due", "not_sent")
        assert world.gateway.calls == {}

    def test_asks_the_rail_later(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        world.later(w.MINUTE)
        for _ in range(5):
            self.work(world, began_s_ago=3600)
            world.later(w.MINUTE / 4)
        assert (only().state, only().queries, only().crash_count) == ("payment_unknown", 0, 0)
        assert (only().lease_until, only().act_at) == (None, world.at)
        assert world.gateway.calls["query"] == []

    def test_asks_the_carrier_later(self, world, low):
        world.carrier.script = [LOST_AFTER]
        world.run()
        world.later(w.MINUTE)
        for _ in range(5):
            self.work(world, began_s_ago=3600)
            world.later(w.MINUTE / 4)
        assert (only().state, only().queries, only().crash_count) == ("delivery_unknown", 0, 0)
        assert (only().lease_until, only().act_at) == (None, world.at)
        assert world.carrier.calls["query"] == []

    def test_announces_later(self, world, low):
        world.gateway.capabilities = replace(world.gateway.capabilities, must_prepare=True)
        open_it(world)
        for _ in range(5):
            self.work(world, began_s_ago=3600)
            world.later(w.MINUTE / 4)
        assert (only().state, only().crash_count, only().lease_until) == ("due", 0, None)
        assert only().act_at == world.at
        assert world.gateway.calls == {}


class TestMoneyFoundWhileTheCarrierIsHeldBack:
    def test_waits_without_an_order_until_it_is_released(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        Carrier.objects.update(deferred_since=world.at)
        world.later(w.MINUTE)
        world.run()
        assert (only().state, only().reason) == ("charged", "carrier_deferred")
        assert only().act_at == world.at + w.MINUTE
        assert (Delivery.objects.count(), world.carrier.calls) == (0, {})

        world.later(w.MINUTE)
        world.run()  # still held back: it waits another minute, and nothing is written
        assert (only().state, only().act_at) == ("charged", world.at + w.MINUTE)
        assert (Delivery.objects.count(), world.carrier.calls) == (0, {})

        Carrier.objects.update(deferred_since=None)
        world.later(w.MINUTE)
        world.run()
        assert only().state == "completed"
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()


class TestABonus:
    @pytest.fixture(autouse=True)
    def promotion(self):
        return PromotionFactory.create(kind="bonus", fixed_minor=100, budget_minor=100)

    def test_is_spent_when_the_price_is_paid(self, world, low, promotion):
        world.run()
        assert (only().price_minor, only().bonus_minor) == (5000, 100)
        assert PromotionUse.objects.get().state == "consumed"
        promotion.refresh_from_db()
        assert (promotion.reserved_minor, promotion.consumed_minor) == (0, 100)
        assert list(world.carrier.credits.values()) == [[5100]]
        w.assert_balanced()

    def test_is_free_again_when_nothing_is_paid(self, world, low, promotion):
        open_it(world)
        promotion.refresh_from_db()
        assert (promotion.reserved_minor, promotion.consumed_minor) == (100, 0)
        machine.cancel(recharge=only(), actor=None, because="canceled_by_owner", at=world.at)
        promotion.refresh_from_db()
        assert (promotion.reserved_minor, promotion.consumed_minor) == (0, 0)
        assert PromotionUse.objects.get().state == "released"
        w.assert_balanced()


class TestAnAnswer:
    def test_of_more_than_was_asked_for_stops_for_a_person(self, world, low):
        world.gateway.script = [Succeeded("T1", 5001, "CNY")]
        world.run()
        assert (only().state, only().attention) == ("review", "amount_differs")
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_that_it_is_not_there_is_not_believed_soon_after_a_crash_was_found_out(
        self, world, low
    ):
        """The reference is old by then, but whoever was to send it may only have stalled."""
        open_it(world)
        charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )
        world.lapse_leases()
        world.later(w.HOUR)
        world.run()
        assert (only().state, only().act_at) == ("payment_unknown", world.at + 2 * w.MINUTE)

        world.later(timedelta(seconds=10))
        waking.wake(reference=PaymentAttempt.objects.get().reference, at=world.at)
        world.run()
        assert only().state == "payment_unknown"
        assert only().act_at == world.at + timedelta(seconds=110)
        assert world.gateway.calls["charge"] == []


class TestWhatWasAnnounced:
    @pytest.fixture
    def announced(self, world, low):
        """Announced for two days ahead and a week from then on; planned for the fourth day."""
        world.gateway.capabilities = replace(
            world.gateway.capabilities, must_prepare=True, notice=2 * w.DAY, window=7 * w.DAY
        )
        open_it(world)
        Recharge.objects.update(due_at=world.at + 4 * w.DAY, expires_at=world.at + 30 * w.DAY)
        world.run()
        assert (only().state, only().reason) == ("waiting", "announced")
        return world

    def test_is_charged_on_the_day_that_was_planned_and_not_when_it_may_be(self, announced):
        assert only().act_at == announced.at + 4 * w.DAY

    def test_waits_for_the_first_instant_it_may_be_however_early_it_is_looked_at(self, announced):
        announced.later(2 * w.DAY - timedelta(seconds=1))
        Recharge.objects.update(act_at=announced.at)
        announced.run()
        assert (only().state, only().act_at) == ("waiting", announced.at + timedelta(seconds=1))
        assert announced.gateway.charged == {}

    def test_may_be_charged_at_the_last_instant(self, announced):
        announced.later(9 * w.DAY)
        announced.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_is_missed_after_it(self, announced):
        announced.later(9 * w.DAY + timedelta(seconds=1))
        announced.run()
        assert (only().state, only().reason) == ("missed", "window_over")
        assert announced.gateway.charged == {}

    def test_has_failed_after_it_where_a_charge_was_tried(self, announced):
        announced.gateway.script = [SOFT]
        announced.later(4 * w.DAY)
        announced.run()
        assert only().state == "declined"
        announced.later(6 * w.DAY)
        announced.run()
        assert (only().state, only().reason) == ("failed", "window_over")
        assert len(announced.gateway.calls["charge"]) == 1
        w.assert_balanced()


class TestTheRailsOwnLimit:
    def test_is_a_cap_on_one_charge_like_the_owners(self, world, low):
        world.gateway.capabilities = replace(world.gateway.capabilities, max_amount_minor=4999)
        world.run()
        assert only().face_minor == 3000  # the most that is sold and may be taken at once
        assert list(world.gateway.charged.values()) == [3000]
        w.assert_balanced()

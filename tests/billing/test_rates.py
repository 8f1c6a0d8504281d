"""How fast a rail may be called, by all workers together."""

import time

import pytest
from django.core.checks import Tags, run_checks
from django.db import IntegrityError, connection, transaction

from billing import rates
from billing.engine import executor, metering
from billing.engine.bulkheads import Bulkhead, Bulkheads, Whom
from billing.engine.feeding import Feeder
from billing.engine.metering import Meter
from billing.engine.pipeline import Pipeline
from billing.gateways.base import Unknown
from billing.models import Rate, Recharge
from billing.rates import Sharers
from tests import world as w
from tests.factories.billing import RateFactory, RechargeFactory

pytestmark = pytest.mark.django_db
ALIPAY = Whom("rail", "alipay")


def rate(**more):
    return RateFactory(**{"calls_per_s": None, **more})


def take(wanted):
    return rates.take(side="rail", code="alipay", wanted=wanted)


def stand_still():
    """The bucket's time, which is the database's own: nothing comes in until it is counted anew."""
    Rate.objects.update(counted_at="2999-01-01T00:00Z")


def passes(seconds):
    """So much of the database's own time, for the bucket."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_rate SET counted_at = counted_at - make_interval(secs => %s),"
            " slowed_at = slowed_at - make_interval(secs => %s)",
            [seconds, seconds],
        )


def due(world, number):
    return [RechargeFactory.create(line=w.line(), act_at=world.at) for _ in range(number)]


def states():
    return sorted(Recharge.objects.values_list("state", flat=True))


class TestARate:
    def test_grants_its_burst_and_then_what_has_come_in_since(self):
        rate(calls_per_s=100, burst=20, tokens=20)
        assert take(15) == 15
        stand_still()
        assert take(15) == 5
        Rate.objects.update(tokens=0)
        passes(0.05)
        assert 5 <= take(15) <= 15
        passes(3600)
        assert take(500) == 20  # never more than its burst at once

    def test_grants_nothing_twice(self):
        rate(calls_per_s=1, burst=10, tokens=10)
        granted = []
        for _ in range(3):
            stand_still()
            granted.append(take(6))
        assert granted == [6, 4, 0]

    def test_that_nobody_has_set_is_no_limit(self):
        assert take(10_000) == 10_000
        rate()
        assert take(10_000) == 10_000

    @pytest.mark.parametrize(
        "nonsense",
        [
            {"calls_per_s": 0},
            {"calls_per_s": 10_001},
            {"burst": 0},
            {"calls_per_s": 10, "burst": 101},
            {"in_flight": 0},
            {"in_flight": 10_001},
        ],
    )
    def test_that_makes_no_sense_is_refused_by_the_database(self, nonsense):
        with pytest.raises(IntegrityError, match="rate_makes_sense"), transaction.atomic():
            rate(**nonsense)
        assert not Rate.objects.exists()

    def test_of_nobody_stops_the_start_by_name(self):
        rate(code="alipya", calls_per_s=10)
        found = run_checks(tags=[Tags.database], databases=["default"])
        assert [(one.id, one.is_serious()) for one in found if "alipya" in one.msg] == [
            ("keepline.E025", True)
        ]


class TestARailThatSaysTooFast:
    def test_is_called_half_as_fast_by_everybody(self):
        rate(calls_per_s=100, burst=20, tokens=20)
        rates.slow_down(side="rail", code="alipay", was_per_s=80)
        stand_still()
        assert take(20) == 0  # what was left is not used up either
        assert Rate.objects.get().slow_per_s == 40
        Rate.objects.update(slowed_at="2999-01-01T00:00Z")
        rates.slow_down(side="rail", code="alipay", was_per_s=80)  # of the same second
        assert Rate.objects.get().slow_per_s == 40

    def test_is_called_as_fast_as_before_within_five_minutes(self):
        rate(calls_per_s=100, burst=20)
        rates.slow_down(side="rail", code="alipay", was_per_s=80)
        passes(60)
        assert 60 <= rates.pace(side="rail", code="alipay") < 80  # it climbs a third a second
        passes(300)
        assert rates.pace(side="rail", code="alipay") == 100

    def test_without_a_rate_has_one_until_it_is_well_again(self):
        rates.slow_down(side="rail", code="alipay", was_per_s=80)
        assert Rate.objects.get().slow_per_s == 40
        passes(301)
        assert rates.pace(side="rail", code="alipay") is None
        assert Rate.objects.get().calls_per_s is None

    def test_is_heard_by_the_executor(self, world):
        world.gateway.script = [Unknown("HTTP 429", is_too_fast=True)]
        due(world, 1)
        executor.run_batch(at=world.at, outside=world.outside)
        assert Rate.objects.get().slow_per_s == 1
        assert states() == ["payment_unknown"]
        w.assert_balanced()


class TestTheExecutor:
    def piped(self, world):
        return Pipeline(
            outside=world.outside,
            clock=lambda: world.at,
            bulkheads=Bulkheads(lambda whom: Bulkhead(whom, most=100)),
        )

    def test_calls_no_faster_and_claims_no_more_than_it_may_call_soon(self, world):
        rate(calls_per_s=1, burst=2, tokens=2)
        due(world, 9)
        line = self.piped(world)
        feeder = Feeder(line, outside=world.outside)
        feeder.look_around(at=world.at)
        assert feeder.once(at=world.at) == 3  # three seconds' worth
        Rate.objects.update(slow_per_s=1, slowed_at="2999-01-01T00:00Z")  # nothing comes in now
        ends_at = time.monotonic() + 60
        while states().count("completed") < 2 and time.monotonic() < ends_at:
            line.turn()
        for _ in range(10):
            line.turn()
        assert len(world.gateway.calls["charge"]) == 2
        assert states().count("completed") == 2
        assert Recharge.objects.filter(fence=0).count() == 6

    def test_sends_in_time_or_not_at_all(self, world, monkeypatch):
        rate(calls_per_s=1, burst=1, tokens=0)
        due(world, 1)
        line = self.piped(world)
        feeder = Feeder(line, outside=world.outside)
        feeder.look_around(at=world.at)
        assert feeder.once(at=world.at) == 1
        plain = time.monotonic
        Rate.objects.update(slow_per_s=1, slowed_at="2999-01-01T00:00Z")  # nothing comes in
        monkeypatch.setattr(time, "monotonic", lambda: plain() + 11)
        line.drain()
        assert (states(), world.gateway.calls["charge"]) == (["due"], [])

    def test_shares_what_may_be_in_flight_with_all_who_are_at_work(self, world):
        rate(in_flight=10)
        meter = Meter()
        with rates.at_work():
            meter.look()
            assert meter.seats(ALIPAY, most=768) == 10
            shares = []
            for place in range(4):
                meter._sharers = Sharers(4, place)
                shares.append(meter.seats(ALIPAY, most=768))
            assert shares == [3, 3, 2, 2]
        assert meter.seats(Whom("rail", "wechat"), most=768) == 768

    def test_is_one_of_those_at_work_and_no_longer_than_it_is(self, world):
        with rates.at_work():
            assert rates.sharers() == Sharers(1, 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            assert cursor.fetchone() == (0,)

    def test_sends_what_is_due_by_its_date_though_one_may_be_called_at_a_time(self, world):
        rate(in_flight=1)
        due(world, 2)
        Recharge.objects.update(trigger="schedule")
        executor.run(clock=lambda: world.at, outside=world.outside, budget_s=5)
        assert states() == ["completed"] * 2
        w.assert_balanced()

    def test_asks_for_a_handful_no_more_often_than_is_worth_it(self, world, monkeypatch):
        rate(calls_per_s=1000, burst=100, tokens=100)
        monkeypatch.setattr(metering, "_ASK_EVERY_S", 600)
        asked = []
        plain = rates.take
        monkeypatch.setattr(
            metering.rates, "take", lambda **what: asked.append(what["wanted"]) or plain(**what)
        )
        meter = Meter()
        meter.look()
        assert [meter.grant(ALIPAY, wanted=30) for _ in range(3)] == [30, 0, 0]
        assert asked == [30]

"""Work under way: nothing waits for a batch, a lease is renewed, an outcome is written once."""

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from billing import nudges
from billing.engine import executor, leases, pipeline, taking
from billing.engine.bulkheads import Bulkhead, Bulkheads
from billing.engine.feeding import Feeder
from billing.engine.pipeline import Pipeline
from billing.engine.silences import Silences
from billing.gateways.base import Capabilities
from billing.models import PaymentAttempt, RailCall, Recharge, RechargeMove, Transfer
from billing.recharges import claims, machine
from billing.rules import openings
from tests import world as w
from tests.factories.billing import OutageFactory, PaymentAttemptFactory, RechargeFactory
from tests.fakes import FakeGateway

pytestmark = pytest.mark.django_db
PATIENCE_S = 20


@pytest.fixture
def passes(monkeypatch):
    """`passes(seconds)`: so much of this process's own time goes by."""
    ahead = [0.0]
    plain = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: plain() + ahead[0])

    def pass_(seconds):
        ahead[0] += seconds

    return pass_


@dataclass
class Waiting(FakeGateway):
    """A rail whose answer to its `which`-th charge waits until it is let go."""

    which: int = 1
    go_on: threading.Event = field(default_factory=threading.Event)
    is_asked: threading.Event = field(default_factory=threading.Event)

    def charge(self, *, request):
        is_it = len(self.calls["charge"]) + 1 == self.which
        answer = super().charge(request=request)
        if is_it:
            self.is_asked.set()
            assert self.go_on.wait(PATIENCE_S)
        return answer


def low(world, number):
    """So many lines that are low, each with a rule that is due."""
    return [w.rule(w.line(balance_minor=980), wake_at=world.at) for _ in range(number)]


def due(world, number, **more):
    return [RechargeFactory.create(line=w.line(), act_at=world.at, **more) for _ in range(number)]


def piped(world, *, most=8, outside=None):
    """A pipeline of its own, with bulkheads of its own."""
    return Pipeline(
        outside=outside or world.outside,
        clock=lambda: world.at,
        bulkheads=Bulkheads(lambda whom: Bulkhead(whom, most=most)),
    )


def turn_until(pipeline, is_so):
    ends_at = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_at
        pipeline.turn()


def states():
    return sorted(Recharge.objects.values_list("state", flat=True))


class TestWorkUnderWay:
    def test_is_credited_while_another_payment_is_waited_for(self, world):
        world.gateway = Waiting(which=2)
        due(world, 3)
        line = piped(world)
        line.take(claims.claim(at=world.at, limit=10), began=time.monotonic())
        turn_until(line, lambda: states() == ["charging", "completed", "completed"])
        assert line.under_way == 1
        world.gateway.go_on.set()
        line.drain()
        assert (states(), line.under_way) == (["completed"] * 3, 0)
        w.assert_balanced()

    def test_is_topped_up_while_a_call_is_waited_for(self, world):
        world.gateway = Waiting(which=1)
        low(world, 1)
        line = piped(world)
        feeder = Feeder(line, outside=world.outside)
        feeder.feed(at=world.at)
        turn_until(line, world.gateway.is_asked.is_set)
        low(world, 2)
        world.gateway.calls["charge"].append("another")  # only the first waits
        turn_until(line, lambda: feeder.once(at=world.at) or states().count("completed") == 2)
        turn_until(line, lambda: states() == ["charging", "completed", "completed"])
        world.gateway.go_on.set()
        line.drain()
        assert (feeder.done.rules, feeder.done.recharges) == (3, 3)
        assert states() == ["completed"] * 3

    def test_is_written_once_however_many_sets_it_takes(self, world, monkeypatch):
        monkeypatch.setattr(pipeline, "SET", 2)
        monkeypatch.setattr(pipeline, "SET_WITHIN_S", 0.0)
        due(world, 7)
        executor.run(clock=lambda: world.at, outside=world.outside, budget_s=5)
        assert states() == ["completed"] * 7
        assert RailCall.objects.count() == 7
        assert Transfer.objects.filter(kind="charge").count() == 7
        moves = RechargeMove.objects.exclude(source="").values_list("recharge", "target")
        assert len(moves) == len(set(moves)) == 3 * 7
        assert sorted(world.gateway.charged.values()) == [5000] * 7
        w.assert_balanced()

    def test_goes_back_in_one_statement_where_it_was_not_begun(self, world, monkeypatch, passes):
        due(world, 5)
        line = piped(world, most=0)
        line.take(claims.claim(at=world.at, limit=10), began=time.monotonic())
        assert states() == ["charging"] * 5
        passes(11)
        made = []
        plain = machine.move
        monkeypatch.setattr(
            machine, "move", lambda moves, **more: made.append(len(moves)) or plain(moves, **more)
        )
        line.drain()
        assert (states(), made) == (["due"] * 5, [5])
        facts = Recharge.objects.values_list("reason", "lease_until", "act_at", "crash_count")
        assert set(facts) == {("not_sent", None, world.at, 0)}
        assert world.gateway.calls == {}
        assert PaymentAttempt.objects.count() == 5  # and they are the ones that are sent later

    def test_begins_nothing_more_once_its_worker_has_left_it(self, world):
        due(world, 2)
        line = piped(world, most=0)
        with line:
            line.take(claims.claim(at=world.at, limit=10), began=time.monotonic())
        line.drain()
        assert (states(), world.gateway.calls) == (["due"] * 2, {})


class TestALease:
    def test_that_is_anothers_by_now_is_not_ended_by_who_only_waits(self, world):
        due(world, 1)
        [stalled] = claims.claim(at=world.at, limit=10)
        Recharge.objects.update(lease_until=world.at - w.DAY)
        [_mine] = claims.claim(at=world.at, limit=10)
        held = Recharge.objects.values("lease_until", "act_at", "fence", "queries").get()
        machine.wait(recharge_id=stalled.id, fence=stalled.fence, act_at=None)
        assert Recharge.objects.values("lease_until", "act_at", "fence", "queries").get() == held

    def under_way(self, world):
        world.gateway = Waiting()
        [recharge] = due(world, 1)
        line = piped(world)
        line.take(claims.claim(at=world.at, limit=10), began=time.monotonic())
        turn_until(line, world.gateway.is_asked.is_set)
        return recharge, line

    def test_is_renewed_while_a_call_lasts(self, world, passes):
        recharge, line = self.under_way(world)
        recharge.refresh_from_db()
        before, fence = recharge.lease_until, recharge.fence
        passes(leases.RENEW_AFTER_S - 1)
        line.turn()
        recharge.refresh_from_db()
        assert recharge.lease_until == before  # not at every turn
        passes(pipeline.RENEW_EVERY_S + 1)
        line.turn()
        recharge.refresh_from_db()
        assert (recharge.lease_until > before, recharge.fence) == (True, fence)
        world.gateway.go_on.set()
        line.drain()
        assert states() == ["completed"]

    def test_that_was_renewed_lets_what_is_paid_late_be_credited(self, world, passes):
        recharge, line = self.under_way(world)
        for _ in range(5):
            passes(leases.RENEW_AFTER_S)
            line.turn()
        world.gateway.go_on.set()
        line.drain()
        assert (states(), recharge.pk) == (["completed"], Recharge.objects.get().pk)
        assert len(world.carrier.calls["credit"]) == 1
        w.assert_balanced()

    def test_of_a_call_that_never_comes_back_runs_out(self, world, passes):
        recharge, line = self.under_way(world)
        passes(leases.LONGEST_S + 1)
        recharge.refresh_from_db()
        before = recharge.lease_until
        line.turn()
        recharge.refresh_from_db()
        assert recharge.lease_until == before
        world.gateway.go_on.set()
        line.drain()

    def test_that_is_anothers_by_now_is_not_renewed_and_nothing_begins_under_it(
        self, world, passes
    ):
        [recharge] = due(world, 1, state="payment_unknown", attempt_count=1)
        PaymentAttemptFactory.create(recharge=recharge, state="unknown")
        line = piped(world, most=0)
        line.take(claims.claim(at=world.at, limit=10), began=time.monotonic())
        world.lapse_leases()
        [other] = claims.claim(at=world.at, limit=10)
        recharge.refresh_from_db()
        before = recharge.lease_until
        passes(leases.RENEW_AFTER_S + 1)
        line.turn()
        line.drain()
        recharge.refresh_from_db()
        assert (recharge.lease_until, recharge.fence) == (before, other.fence)
        assert world.gateway.calls == {}


class TestARailThatHangs:
    @pytest.fixture
    def two_rails(self, world):
        w.rail("wechat")
        hanging = Waiting(capabilities=Capabilities("wechat", frozenset({"CNY"})))
        gateways = {"alipay": world.gateway, "wechat": hanging}
        return replace(world.outside, gateways=gateways), hanging

    def test_takes_nothing_from_the_other(self, world, two_rails):
        outside, hanging = two_rails
        due(world, 3, rail="wechat")
        due(world, 12)
        line = piped(world, most=2, outside=outside)
        hanging.which = 0
        plain = hanging.charge

        def charge(*, request):
            assert hanging.go_on.wait(PATIENCE_S)
            return plain(request=request)

        hanging.charge = charge
        feeder = Feeder(line, outside=outside)

        def is_done():
            feeder.feed(at=world.at)
            return Recharge.objects.filter(rail="alipay", state="completed").count() == 12

        turn_until(line, is_done)
        under_way = Recharge.objects.filter(rail="wechat", lease_until__isnull=False)
        assert under_way.count() == 2  # as many as it has seats; the third was not even claimed
        assert Recharge.objects.filter(rail="wechat", fence=0).count() == 1
        hanging.go_on.set()
        line.drain()
        w.assert_balanced()

    def test_or_is_silent_is_tried_with_few(self, world):
        OutageFactory.create(at=world.at, probe_at=world.at + w.HOUR)
        due(world, 6)
        line = piped(world)
        feeder = Feeder(line, outside=world.outside)
        feeder.look_around(at=world.at)
        assert feeder.once(at=world.at) == 2
        line.drain()
        assert states() == ["completed"] * 2 + ["due"] * 4
        assert feeder.once(at=world.at) == 4  # it answered: no more is kept from it
        line.drain()
        assert states() == ["completed"] * 6

    def test_is_not_spared_for_one_lost_answer(self, world):
        OutageFactory.create(at=world.at, since=world.at - timedelta(seconds=5))
        heard = Silences()
        heard.look()
        assert heard.is_open(pipeline.Whom("rail", "alipay"), at=world.at) is False
        assert heard.is_open(pipeline.Whom("rail", "alipay"), at=world.at + w.MINUTE) is True


class TestTheLanes:
    def take(self, world, *, most, limit=1, **more):
        rooms = [taking.Room("alipay", lane.value, most, most) for lane in taking.Lane]
        rows = taking.take(at=world.at, limit=limit, rooms=rooms, **more)
        Recharge.objects.filter(pk__in=[row.id for row in rows]).update(act_at=None)
        return [(row.state, row.trigger) for row in rows]

    def test_credits_go_before_what_is_low_and_that_before_what_is_due(self, world):
        early = world.at - w.HOUR
        RechargeFactory.create(line=w.line(), act_at=early, trigger="schedule")
        RechargeFactory.create(line=w.line(), act_at=early, state="payment_unknown")
        RechargeFactory.create(line=w.line(), act_at=world.at, trigger="low_balance")
        RechargeFactory.create(line=w.line(), act_at=world.at, completed=True)
        taken = [self.take(world, most=1) for _ in range(5)]
        assert taken == [
            [("completed", "manual")],
            [("due", "low_balance")],
            [("payment_unknown", "manual")],
            [("due", "schedule")],
            [],
        ]

    def test_together_take_no_more_than_their_rail_has_room_for(self, world):
        due(world, 3, trigger="schedule")
        due(world, 3)
        assert len(self.take(world, most=4, limit=10)) == 4

    def test_pass_by_what_goes_to_a_carrier_that_is_full(self, world):
        due(world, 1)
        assert self.take(world, most=4, full_carriers=["cmcc"]) == []
        assert len(self.take(world, most=4, full_carriers=["another"])) == 1

    def test_are_an_index(self, world):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(
                f"EXPLAIN SELECT id FROM billing_recharge WHERE rail = 'alipay' AND "
                f"{taking.LANE} = 3 AND act_at IS NOT NULL AND act_at <= now() "
                "ORDER BY act_at LIMIT 5"
            )
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "recharge_lane" in plan
        assert "Sort" not in plan

    def test_let_the_newest_through_before_all_that_is_due_by_its_date(self, world):
        scheduled = [w.rule(w.line(balance_minor=980), wake_at=world.at - w.HOUR) for _ in range(3)]
        newest = w.rule(w.line(balance_minor=980), wake_at=world.at)
        rails = world.outside.capabilities
        openings.open_due(at=world.at, limit=1, capabilities=rails, is_newest_first=True)
        assert Recharge.objects.get().rule == newest
        openings.open_due(at=world.at, limit=1, capabilities=rails)
        assert Recharge.objects.latest("pk").rule in scheduled


class TestAWorkerWithMoreThanItTakes:
    def test_calls_for_another_and_not_for_two(self, world):
        low(world, 3)
        due(world, 2)
        line = piped(world)
        feeder = Feeder(line, outside=world.outside, batch=2)
        feeder.feed(at=world.at)
        assert OrmQ.objects.count() == 0  # it has opened as many as it has claimed
        for _ in range(3):
            feeder.feed(at=world.at)
            line.drain()
        assert states().count("completed") >= 4
        nudges.one_more()
        nudges.one_more()
        assert OrmQ.objects.count() == 1

    def test_calls_again_once_a_cluster_has_taken_the_call(self, world):
        nudges.one_more()
        OrmQ.objects.update(lock=timezone.now() + w.HOUR)  # as a cluster does that takes it
        nudges.one_more()
        assert OrmQ.objects.count() == 2

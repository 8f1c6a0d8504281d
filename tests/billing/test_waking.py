"""After a rail or carrier was silent: what it left in doubt is asked about once it answers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import outages
from billing.delivery import crediting
from billing.engine import executor, flights, waking
from billing.gateways.base import Answer, Unknown
from billing.models import Outage, OutageSide, PaymentAttempt, Recharge
from billing.payments import charging
from billing.recharges import ladders
from billing.refunds import refunding
from lines.carriers.base import Unknown as NoAnswer
from tests import world as w
from tests.factories.billing import (
    OutageFactory,
    PaymentAttemptFactory,
    RechargeFactory,
    RefundFactory,
)
from tests.fakes import LOST_AFTER

pytestmark = pytest.mark.django_db
RAIL = OutageSide.RAIL
SECOND = timedelta(seconds=1)


def in_doubt(world, number, *, queries=4):
    """So many payments that were taken, of which nobody knows: asked about in vain until now."""
    made = []
    for _ in range(number):
        recharge = RechargeFactory.create(
            line=w.line(),
            state="payment_unknown",
            attempt_count=1,
            queries=queries,
            unknown_since=world.at - w.HOUR,
            act_at=world.at + w.DAY,
        )
        attempt = PaymentAttemptFactory.create(recharge=recharge, state="unknown")
        world.gateway.charged[attempt.reference] = recharge.price_minor
        made.append(recharge)
    return made


def silent(world):
    return OutageFactory.create(at=world.at)


def tick(world, *, seconds, step_s=2):
    """The executor as it is called every other second."""
    for _ in range(0, seconds, step_s):
        executor.run_batch(at=world.at, outside=world.outside)
        world.later(step_s * SECOND)


class TestWhatIsKnownOfASilence:
    def test_is_since_when_what_came_instead_and_how_many_wait(self):
        world = w.World()
        w.carrier(), w.rail()
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Unknown("HTTP 503"), Unknown("another")]
        world.run(batches=3)
        outage = Outage.objects.get()
        assert (outage.side, outage.code, outage.since) == ("rail", "alipay", world.at)
        assert (outage.reason, outages.all_of_them().get().in_doubt) == ("HTTP 503", 1)
        assert outages.asked_at(outage) == world.at

    def test_is_nothing_once_it_answers_and_begins_anew(self):
        world = w.World()
        outage = OutageFactory.create(at=world.at, reason="HTTP 503")
        heard = outages.Heard(RAIL, "alipay", True, True)
        outages.note([heard], at=world.at)
        outage.refresh_from_db()
        assert (outage.is_failing, outages.asked_at(outage)) == (False, None)
        Outage.objects.update(wake_at=None)
        outages.note([outages.Heard(RAIL, "alipay", False, False, "x" * 300 + "\x00")], at=world.at)
        outage.refresh_from_db()
        assert (outage.since, outage.reason) == (world.at, "x" * 200)


class TestARailThatAnswersAgain:
    def test_is_probed_and_then_asked_about_all_it_left_in_doubt(self):
        world = w.World()
        made = in_doubt(world, 3)
        silent(world)
        tick(world, seconds=30)
        states = Recharge.objects.filter(pk__in=[one.pk for one in made])
        assert set(states.values_list("state", flat=True)) == {"completed"}
        outage = Outage.objects.get()
        assert (outage.is_failing, outage.probe_at, outage.wake_at) == (False, None, None)
        assert len(world.gateway.calls["query"]) == 4  # a probe, and one question each
        assert world.gateway.calls["charge"] == []
        w.assert_balanced()

    def test_an_answer_about_anything_is_enough(self):
        world = w.World()
        [doubtful] = in_doubt(world, 1)
        outage = silent(world)
        Outage.objects.update(probe_at=world.at + w.DAY)
        w.rule(w.line(balance_minor=980), wake_at=w.NOON)
        executor.run_batch(at=world.at, outside=world.outside)
        outage.refresh_from_db()
        assert (outage.is_failing, outage.wake_at) == (False, world.at)
        executor.run_batch(at=world.at, outside=world.outside)
        doubtful.refresh_from_db()
        assert doubtful.state == "completed"
        w.assert_balanced()

    def test_is_asked_about_refunds_too(self):
        world = w.World()
        silent(world)
        refund = RefundFactory.create(
            state="unknown", queries=4, act_at=world.at + w.DAY, unknown_since=world.at - w.HOUR
        )
        tick(world, seconds=4)
        refund.refresh_from_db()
        assert refund.act_at <= world.at
        assert len(world.gateway.calls["query_refund"]) == 2  # a probe, and its own question

    def test_is_not_asked_about_everything_at_once(self):
        world = w.World()
        made = in_doubt(world, 450)
        silent(world)
        Outage.objects.update(is_failing=False, probe_at=None, wake_at=world.at)
        waking.wake(at=world.at)
        soon = Recharge.objects.filter(act_at__lt=world.at + w.DAY).order_by("act_at")
        instants = [one.act_at - world.at for one in soon]
        assert instants == [timedelta(seconds=1) / 20 * place for place in range(200)]
        assert Outage.objects.get().wake_at == world.at + waking.STRIDE
        asked = []
        for _ in range(30):
            executor.run_batch(at=world.at, outside=world.outside)
            asked.append(len(world.gateway.calls["query"]))
            world.later(SECOND)
        a_second = [after - before for before, after in zip([0, *asked], asked, strict=False)]
        assert max(a_second) <= 21
        assert asked[-1] == len(made)
        assert set(world.gateway.calls["query"]) == set(
            PaymentAttempt.objects.values_list("reference", flat=True)
        )
        w.assert_balanced()

    def test_that_fails_again_is_left_alone(self):
        world = w.World()
        in_doubt(world, 450)
        silent(world)
        Outage.objects.update(is_failing=False, probe_at=None, wake_at=world.at)
        waking.wake(at=world.at)
        outages.note([outages.Heard(RAIL, "alipay", False, False)], at=world.at)
        world.later(waking.STRIDE)
        waking.wake(at=world.at)
        assert Recharge.objects.filter(act_at__gt=world.at).count() == 250

    def test_takes_what_the_other_kinds_have_too(self):
        world = w.World()
        silent(world)
        waiting = RechargeFactory.create(line=w.line(), act_at=world.at + w.HOUR)
        Recharge.objects.filter(pk=waiting.pk).update(state="waiting", reason="announcing")
        ended = RechargeFactory.create(line=w.line(), state="failed", act_at=None)
        cooling = RechargeFactory.create(line=w.line(), act_at=world.at + w.HOUR)
        Recharge.objects.filter(pk=cooling.pk).update(state="waiting", reason="rail_deferred")
        pending = w.binding(state="pending", check_at=world.at + w.HOUR)
        Outage.objects.update(is_failing=False, probe_at=None, wake_at=world.at)
        waking.wake(at=world.at)
        for one in (waiting, ended, cooling, pending):
            one.refresh_from_db()
        assert (waiting.act_at, pending.check_at) == (world.at, world.at)
        assert (ended.act_at, cooling.act_at) == (None, world.at + w.HOUR)


class TestACarrierThatAnswersAgain:
    def test_is_asked_about_the_credits_it_left_in_doubt(self):
        world = w.World()
        w.rule(w.line(balance_minor=980), wake_at=w.NOON)
        world.carrier.script = [LOST_AFTER, NoAnswer("away"), NoAnswer("away"), NoAnswer("away")]
        world.run()
        for wait_s in (10, 60, 300):
            world.later(wait_s * SECOND)
            world.run()
        recharge = Recharge.objects.get()
        assert (recharge.state, recharge.act_at) == ("delivery_unknown", world.at + w.HOUR)
        outage = Outage.objects.get()
        assert (outage.side, outage.code, outage.is_failing) == ("carrier", "cmcc", True)
        tick(world, seconds=40)
        recharge.refresh_from_db()
        assert recharge.state == "completed"
        assert [len(orders) for orders in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_is_not_asked_a_second_time_for_a_credit_that_it_may_be_taking_back(self):
        """A reversal has no key: one that was lost a moment ago may have its effect yet."""
        world = w.World()
        sent, old = (
            RefundFactory.create(state="reversing", queries=queries, act_at=act_at)
            for queries, act_at in ((1, world.at + w.HOUR), (1, world.at + w.MINUTE))
        )
        OutageFactory.create(
            side="carrier",
            code="cmcc",
            at=world.at,
            is_failing=False,
            probe_at=None,
            wake_at=world.at,
        )
        waking.wake(at=world.at)
        for refund in (sent, old):
            refund.refresh_from_db()
        assert sent.act_at >= world.at + refunding.REVERSAL_GRACE
        assert sent.act_at <= world.at + refunding.REVERSAL_GRACE + SECOND
        assert old.act_at == world.at + w.MINUTE


class TestADoubtThatComesWhileItEnds:
    """Whoever asks sees how its rail stood when the work was claimed; it may change meanwhile."""

    def test_is_not_left_to_its_ladder_by_an_end_it_did_not_see(self):
        world = w.World()
        [doubtful] = in_doubt(world, 1, queries=3)
        silent(world)
        Recharge.objects.filter(pk=doubtful.pk).update(act_at=world.at)

        def query(**asked):
            # All that was in doubt is woken before this answer is there: not this one, held by us.
            Outage.objects.update(is_failing=False, probe_at=None, wake_at=None)
            return world.gateway._answer("query", asked["reference"], Unknown("away"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.gateway, "query", query)
            executor.run_batch(at=world.at, outside=world.outside)
        doubtful.refresh_from_db()
        assert (doubtful.state, doubtful.act_at) == (
            "payment_unknown",
            world.at - w.HOUR + 3970 * SECOND,
        )
        assert Outage.objects.get().is_failing
        tick(world, seconds=40)
        doubtful.refresh_from_db()
        assert doubtful.state == "completed"
        w.assert_balanced()

    @pytest.mark.parametrize(
        ("module", "record"),
        [(charging, "record"), (crediting, "record"), (refunding, "record")],
        ids=lambda of: getattr(of, "__name__", of),
    )
    def test_is_known_of_before_it_is_there(self, monkeypatch, module, record):
        """Whoever dies having recorded a doubt has noted who gave no answer."""
        world = w.World()
        noted = []
        plain = getattr(module, record)

        def recorded(asked, **more):
            if asked:
                noted.append(list(Outage.objects.values_list("is_failing", flat=True)))
            return plain(asked, **more)

        monkeypatch.setattr(module, record, recorded)
        self._lose_an_answer_to(module, world)
        executor.run_batch(at=world.at, outside=world.outside)
        assert noted == [[True]]

    def _lose_an_answer_to(self, module, world):
        if module is refunding:
            RefundFactory.create(state="unknown", queries=1, act_at=world.at)
            world.gateway.query_refund = lambda **_asked: Answer(Unknown("away"))
        else:
            w.rule(w.line(balance_minor=980), wake_at=w.NOON)
            losing = world.gateway if module is charging else world.carrier
            losing.script = [LOST_AFTER]


class TestAQuestionNobodyCameTo:
    def test_is_asked_in_fifteen_seconds(self, monkeypatch):
        world = w.World()
        [doubtful] = in_doubt(world, 1)
        refund = RefundFactory.create(state="unknown", queries=1, act_at=world.at)
        Recharge.objects.filter(pk=doubtful.pk).update(act_at=world.at)
        monkeypatch.setattr(flights, "CHARGES_WITHIN_S", -1.0)
        monkeypatch.setattr(flights, "CALLS_WITHIN_S", -1.0)
        executor.run_batch(at=world.at, outside=world.outside)
        for one in (doubtful, refund):
            one.refresh_from_db()
            assert (one.act_at, one.crash_count) == (world.at + 15 * SECOND, 0)
        assert world.gateway.calls == {}


class TestWhatGoesWell:
    def test_leaves_no_trace_and_costs_one_look_a_batch(self, django_assert_num_queries):
        world = w.World()
        w.rule(w.line(balance_minor=980), wake_at=w.NOON)
        world.run()
        assert Recharge.objects.get().state == "completed"
        assert not Outage.objects.exists()
        with django_assert_num_queries(0):
            outages.note([outages.Heard(RAIL, "alipay", True, False)] * 200, at=world.at)


class TestAProbe:
    def test_climbs_no_ladder_and_comes_every_fifteen_seconds(self):
        world = w.World()
        [doubtful] = in_doubt(world, 1)
        silent(world)
        world.gateway.script = [Unknown("away")] * 1000
        tick(world, seconds=600)
        doubtful.refresh_from_db()
        assert (doubtful.state, doubtful.queries) == ("payment_unknown", 4)
        assert doubtful.act_at == w.NOON + w.DAY
        assert 35 <= len(world.gateway.calls["query"]) <= 40

    def test_is_not_made_where_a_question_is_due_anyway(self):
        world = w.World()
        [doubtful] = in_doubt(world, 1)
        silent(world)
        Recharge.objects.filter(pk=doubtful.pk).update(act_at=world.at + 12 * SECOND)
        world.gateway.script = [Unknown("away")] * 1000
        tick(world, seconds=4)
        assert world.gateway.calls["query"] == []

    def test_ends_the_outage_that_leaves_nothing_in_doubt(self):
        world = w.World()
        silent(world)
        tick(world, seconds=2)
        assert not Outage.objects.get().is_failing
        assert world.gateway.calls == {}


class TestWhatIsNeverAnswered:
    def test_is_left_to_its_ladder_once_it_was_asked_about_so_often_besides(self):
        world = w.World()
        w.rule(w.line(balance_minor=980), wake_at=w.NOON)
        world.gateway.script = [LOST_AFTER]
        world.run()
        poison = PaymentAttempt.objects.get().reference
        truth = world.gateway.query

        def query(*, reference, **more):
            world.gateway.calls["asked"].append(reference)
            if reference == poison:
                return world.gateway._answer("query", reference, Unknown("500"))
            return truth(reference=reference, **more)

        world.gateway.query = query
        asked = []
        for number in range(100):
            [other] = in_doubt(world, 1)
            Recharge.objects.filter(pk=other.pk).update(act_at=world.at + w.MINUTE)
            tick(world, seconds=300, step_s=30)
            assert Recharge.objects.get(pk=other.pk).state == "completed", number
            asked.append(world.gateway.calls["asked"].count(poison))
        assert asked[40] <= 10 * outages.PATIENCE
        assert (
            asked[-1] - asked[40] <= 1
        )  # of five hours more: its ladder's next rung is a day away
        recharge = Recharge.objects.get(attempts__reference=poison)
        assert recharge.act_at is not None  # its week is not over

    def test_reaches_its_person_by_the_week_not_by_the_number_of_questions(self):
        since = w.NOON
        at = since + 2 * w.HOUR
        assert (
            ladders.next_query_at(queries=25, at=at, since=since) == since + 3970 * SECOND + w.DAY
        )
        late = since + 8 * w.DAY
        assert ladders.next_query_at(queries=25, at=late, since=since) is None
        assert ladders.next_query_at(queries=2, at=at, since=since) == at + 300 * SECOND


class TestOneTaskStays:
    def test_while_something_fails_and_calls_the_next(self, monkeypatch):
        monkeypatch.setattr(waking, "LOOK_EVERY_S", 0.01)
        silent(w.World())
        steps = []
        waking.watch(clock=timezone.now, step=lambda: steps.append(1), budget_s=0.05)
        assert 2 <= len(steps) <= 6
        assert Outage.objects.get().watched_until is None

    def test_and_no_second_one(self):
        silent(w.World())
        Outage.objects.update(watched_until=timezone.now() + w.MINUTE)
        waking.watch(clock=timezone.now, step=lambda: pytest.fail("stayed"), budget_s=5)

    def test_none_where_nothing_fails(self):
        waking.watch(clock=timezone.now, step=lambda: pytest.fail("stayed"), budget_s=5)

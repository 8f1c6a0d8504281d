"""What was found by destruction (tests/chaos), each once more by itself: stalls, crashes, wakes."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.delivery import answers as credit_answers
from billing.delivery import crediting
from billing.engine import executor, flights
from billing.gateways.base import Answer, Refused, Succeeded, Unknown
from billing.models import PaymentAttempt, Recharge, Refund, Rule, Transfer
from billing.operators import operations
from billing.payments import answers, charging, declines
from billing.recharges import claims, waking
from billing.refunds import approvals, refunding
from billing.refunds import claims as refund_claims
from billing.rules import openings
from lines.carriers.base import CreditAnswer, Credited, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery, Line
from tests import world as w
from tests.factories.billing import CaseFactory
from tests.fakes import LOST_AFTER

pytestmark = pytest.mark.django_db


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600, 7200, 10800])
    return w.rule(w.line(balance_minor=980), wake_at=world.at)


@pytest.fixture
def passes(monkeypatch):
    """`passes(seconds)`: so much of this process's own time goes by."""
    ahead = [0.0]
    plain = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: plain() + ahead[0])

    def pass_(seconds):
        ahead[0] += seconds

    return pass_


def only() -> Recharge:
    return Recharge.objects.get()


def kill(**_):
    raise SystemExit  # as kill -9: nothing after this line runs


def nothing(_carrier):
    """No adapter: its settings are missing, or wrong."""


def before(monkeypatch, module, name, act):
    """`act()` just before `module.name` returns, once."""
    plain = getattr(module, name)

    def acting(*args, **options):
        result = plain(*args, **options)
        monkeypatch.setattr(module, name, plain)
        act()
        return result

    monkeypatch.setattr(module, name, acting)


def dies_at(side, name, *, has_effect):
    """The worker dies in this call, after its effect or before it. Undone by calling the result."""
    plain = getattr(side, name)

    def die(**options):
        if has_effect:
            plain(**options)
        raise SystemExit

    setattr(side, name, die)
    return lambda: setattr(side, name, plain)


class TestAWorkerThatStalls:
    """Stopped as a whole machine is, and waking when its lease may long be another's."""

    def test_between_its_commit_and_the_charge_sends_nothing(self, world, low, monkeypatch, passes):
        before(monkeypatch, charging, "begin", lambda: passes(60))
        world.run(batches=1)
        assert world.gateway.calls == {}
        assert (only().state, only().reason) == ("due", "not_sent")

        world.run()
        assert only().state == "completed"
        assert PaymentAttempt.objects.count() == 1
        w.assert_balanced()

    def test_between_the_payment_and_the_credit_sends_nothing(
        self, world, low, monkeypatch, passes
    ):
        before(monkeypatch, charging, "record", lambda: passes(60))
        world.run(batches=1)
        assert world.carrier.calls == {}
        assert only().state == "charged"
        w.assert_balanced()

        world.run()
        assert only().state == "completed"
        assert Delivery.objects.count() == 1
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_leaves_an_order_that_is_not_believed_missing_before_a_grace_from_then_on(
        self, world, low
    ):
        undo = dies_at(world.carrier, "credit", has_effect=False)
        with pytest.raises(SystemExit):
            world.run()
        undo()
        world.lapse_leases()
        world.later(timedelta(minutes=30))

        world.run()  # whoever stalled there may send it any moment
        assert only().state == "delivery_unknown"
        assert world.carrier.calls["credit"] == []

        world.later(credit_answers.NOT_FOUND_GRACE)
        world.run()
        assert only().state == "completed"
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_and_charges_when_all_is_over_has_a_person_called(self, world, low):
        """Found with seed 3: taken for never charged, canceled, and then charged all the same."""
        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        stalled = charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )[0]
        world.lapse_leases()
        for _ in range(2):
            world.later(timedelta(minutes=3))
            Rule.objects.update(is_on=False)
            world.run()
        assert (only().state, only().reason) == ("canceled", "rule_stopped")

        world.gateway.charged[stalled.payment_ref] = 5000
        paid = charging.Asked(stalled, Answer(Succeeded("T1", 5000, "CNY")))
        context = answers.Context({}, world.outside.capabilities)
        assert charging.record([paid], at=world.at, context=context) == []
        world.run()

        assert (only().state, only().attention) == ("canceled", "late_payment")
        assert not Transfer.objects.exists()
        w.assert_balanced()


class TestAWorkerWhoseLeaseIsAnothers:
    """The state is still what it saw; only the fence tells that it is not its to change."""

    def claimed(self, world):
        """The recharge, as one that stalled holds it and as one that took it over does."""
        stalled = claims.claim(at=world.at, limit=10)[0]
        world.lapse_leases()
        return stalled, claims.claim(at=world.at, limit=10)[0]

    def record(self, world, row, outcome):
        context = answers.Context(declines.load(), world.outside.capabilities)
        asked = charging.Asked(row, Answer(outcome))
        return charging.record([asked], at=world.at, context=context)

    def test_cannot_decline_what_the_other_is_asking_about(self, world, low):
        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        stalled = charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )[0]
        world.lapse_leases()
        other = claims.claim(at=world.at, limit=10)[0]

        self.record(world, stalled, Refused("BUYER_BALANCE_NOT_ENOUGH"))
        assert (only().state, only().fence) == ("charging", other.fence)
        assert PaymentAttempt.objects.get().state == "intended"

        assert len(self.record(world, other, Succeeded("T1", 5000, "CNY"))) == 1
        assert only().state == "delivering"
        w.assert_balanced()

    def test_cannot_give_the_others_lease_back(self, world, low):
        world.gateway.script = [Unknown("lost")]
        world.run()
        world.later(timedelta(seconds=10))
        stalled, _other = self.claimed(world)

        self.record(world, stalled, Unknown("lost"))
        assert claims.claim(at=world.at + w.DAY, limit=10) == []

    def test_cannot_refund_what_the_other_may_find_credited(self, world, low):
        world.carrier.script = [LOST_AFTER]
        world.run()
        world.later(timedelta(seconds=10))
        stalled, other = self.claimed(world)

        gone = crediting.Asked(stalled, CreditAnswer(Rejected("GONE", is_permanent=True)))
        crediting.record([gone], at=world.at)
        assert only().state == "delivery_unknown"
        assert not Refund.objects.exists()

        there = crediting.Asked(other, CreditAnswer(Credited("C1", 5000)))
        crediting.record([there], at=world.at)
        assert only().state == "completed"
        w.assert_balanced()

    def test_cannot_end_a_refund(self, world, low):
        world.carrier.script = [Rejected("GONE", is_permanent=True)]
        world.gateway.script = [Succeeded("T1", 5000, "CNY")]
        world.run(batches=0)
        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        executor.work(
            claims.claim(at=world.at, limit=10),
            at=world.at,
            outside=world.outside,
            began=time.monotonic(),
        )
        stalled = refund_claims.claim(at=world.at, limit=10)[0]
        Refund.objects.update(lease_until=w.NOON - w.DAY)
        other = refund_claims.claim(at=world.at, limit=10)[0]

        paid = Answer(Succeeded("R1", 5000, "CNY"))
        refunding.record([refunding.Asked(stalled, paid)], at=world.at)
        assert (Refund.objects.get().state, only().state) == ("intended", "refunding")
        assert not Transfer.objects.filter(kind="refund").exists()

        refunding.record([refunding.Asked(other, paid)], at=world.at)
        assert (Refund.objects.get().state, only().state) == ("succeeded", "refunded")

    def test_is_another_only_when_the_databases_clock_says_so(self, world, low, monkeypatch):
        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )
        plain = timezone.now
        monkeypatch.setattr(timezone, "now", lambda: plain() + w.HOUR)  # this host's is fast
        assert claims.claim(at=world.at + w.HOUR, limit=10) == []


class TestWhatWasOpened:
    def test_is_charged_and_credited_as_it_was_whatever_the_rule_says_now(self, world, low):
        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        Rule.objects.update(face_minor=10_000)
        world.run()
        assert list(world.gateway.charged.values()) == [5000]
        assert list(world.carrier.credits.values()) == [[5000]]
        w.assert_balanced()

    def test_for_an_occurrence_is_not_opened_again_by_a_rule_that_has_forgotten(self, world, low):
        """As after a rule was put back by hand, or from a backup: the occurrence is known."""
        world.run()
        world.later(2 * w.HOUR)
        Line.objects.update(balance_minor=500, balance_observed_at=world.at)
        Rule.objects.update(
            is_armed=True, episode=1, cooldown_until=None, wake_at=world.at, max_per_day_count=9
        )
        world.run()
        assert only().period_key == "e1"
        assert list(world.gateway.charged.values()) == [5000]
        w.assert_balanced()


class TestARailThatAnswersSlowly:
    def test_leaves_time_to_credit_what_it_was_paid(self, world, low, passes):
        plain = world.gateway.charge

        def slow(*, request):
            passes(flights.CHARGES_WITHIN_S + 1)
            return plain(request=request)

        world.gateway.charge = slow
        world.run(batches=1)
        assert only().state == "completed"

    def test_too_slowly_has_what_is_paid_credited_by_the_next_batch(self, world, low, passes):
        plain = world.gateway.charge

        def slow(*, request):
            passes(flights.CALLS_WITHIN_S + 1)
            return plain(request=request)

        world.gateway.charge = slow
        world.run(batches=1)
        assert (only().state, only().lease_until) == ("charged", None)
        assert world.carrier.calls == {}
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_keeps_a_batch_inside_its_lease(self):
        assert flights.CALLS_WITHIN_S + 40 < claims.LEASE_S  # forty: two calls of a carrier


class TestAMessage:
    def test_about_a_declined_reference_does_not_cut_its_wait_short(self, world, low):
        world.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
        world.run()
        retry_at = only().act_at
        reference = PaymentAttempt.objects.get().reference

        assert waking.wake(reference=reference, at=world.at) is True
        world.run()
        world.later(world.gateway.capabilities.not_found_grace)  # it is believed, after its grace
        world.run()

        assert (only().state, only().act_at) == ("declined", retry_at)
        assert len(world.gateway.calls["charge"]) == 1

    def test_about_a_rejected_order_does_not_cut_its_wait_short(self, world, low):
        world.carrier.script = [Rejected("BUSY")]
        world.run()
        retry_at = only().act_at
        reference = Delivery.objects.get().reference

        assert waking.wake_delivery(reference=reference, carrier_ref="", at=world.at) is True
        world.run()

        assert (only().state, only().act_at) == ("charged", retry_at)
        assert len(world.carrier.calls["credit"]) == 1

    @pytest.mark.parametrize("says", [NoAnswer("down"), Rejected("BUSY")])
    def test_about_a_reversal_is_followed_until_the_carrier_tells(self, world, low, says):
        world.run()
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 5000
        world.carrier.script = [says, says]
        waking.wake_delivery(reference=delivery.reference, carrier_ref="", at=world.at)
        world.run()
        assert (only().state, only().act_at) == ("completed", world.at + timedelta(seconds=10))
        assert not Refund.objects.exists()

        for _ in range(2):
            world.at = only().act_at
            world.run()

        assert only().state == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_about_a_credit_of_which_the_carrier_tells_nothing_for_a_week_calls_a_person(
        self, world, low
    ):
        world.run()
        reference = Delivery.objects.get().reference
        world.carrier.script = [NoAnswer("down")] * 20
        waking.wake_delivery(reference=reference, carrier_ref="", at=world.at)
        world.run()
        while only().act_at:
            world.at = only().act_at
            world.run()
        assert (only().state, only().attention) == ("completed", "delivery_unknown")
        w.assert_balanced()

    def test_about_money_after_its_end_is_followed_until_the_rail_tells(self, world, low):
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        world.run()
        reference = PaymentAttempt.objects.get().reference
        world.gateway.charged[reference] = 5000
        world.gateway.script = [Unknown("down")]
        waking.wake(reference=reference, at=world.at)
        world.run()
        assert (only().state, only().attention) == ("failed", "")
        world.at = only().act_at
        world.run()
        assert (only().state, only().attention) == ("failed", "late_payment")
        assert not Transfer.objects.exists()


class TestAReversalWhoseWorkerDied:
    @pytest.fixture
    def refund(self, world, low):
        world.run()
        refund = approvals.request(
            recharge=only(),
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=world.at,
        )
        return approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)

    def test_is_never_sent_again_to_a_carrier_that_cannot_be_asked(self, world, refund):
        world.carrier.can_query_by_reference = False
        undo = dies_at(world.carrier, "reverse", has_effect=True)
        with pytest.raises(SystemExit):
            world.run()
        undo()
        for _ in range(14):
            Refund.objects.update(lease_until=None)
            world.run()
            world.later(w.DAY)

        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("reversing", "refund_unknown")
        assert world.carrier.calls["reverse"] == [refund.reversal_ref]
        assert world.gateway.refunded == {}
        w.assert_balanced()

    def test_is_taken_over_only_when_a_late_effect_would_have_shown(self):
        assert refunding.REVERSAL_GRACE.total_seconds() < refund_claims.LEASE_S


class TestQuarantine:
    def test_of_a_charge_that_kills_three_workers_comes_though_it_is_asked_about_in_between(
        self, world, low
    ):
        """The charge itself kills; the rail has never heard of it, each time."""
        world.gateway.charge = kill
        for _ in range(3):
            with pytest.raises(SystemExit):
                world.run()
            world.lapse_leases()
            world.later(timedelta(minutes=3))
            world.run()  # not found: it waits for its grace, and is sent again
            world.later(timedelta(minutes=3))
        world.run()
        assert (only().state, only().attention, only().act_at) == ("charging", "crashed", None)
        assert PaymentAttempt.objects.count() == 1
        w.assert_balanced()

    def test_comes_when_a_credit_does_so(self, world, low):
        world.carrier.credit = kill
        for _ in range(3):
            with pytest.raises(SystemExit):
                world.run()
            world.lapse_leases()
            world.later(timedelta(minutes=3))
            world.run()
            world.later(timedelta(minutes=3))
        world.run()
        assert (only().state, only().attention) == ("delivering", "crashed")
        assert Delivery.objects.count() == 1
        w.assert_balanced()

    def test_of_a_paid_recharge_ends_when_an_operator_says_so(self, world, low):
        world.carrier.script = [Rejected("BUSY")]
        world.run()
        Recharge.objects.update(crash_count=claims.MAX_CRASHES)
        world.later(timedelta(minutes=1))
        world.run()
        assert (only().state, only().attention) == ("charged", "crashed")

        operations.query_again(recharge=only(), at=world.at)
        world.run()
        assert (only().state, only().attention) == ("completed", "")
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_of_one_that_is_at_rest_ends_so_too(self, world, low):
        world.run()
        for _ in range(2):  # three workers died over a message about it; then one does not
            Recharge.objects.update(crash_count=claims.MAX_CRASHES)
            waking.wake(reference=PaymentAttempt.objects.get().reference, at=world.at)
            world.run()
        assert (only().state, only().attention) == ("completed", "crashed")

        operations.query_again(recharge=only(), at=world.at)
        world.run()
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()


class TestACarrierThatIsNotConfigured:
    def test_is_asked_nothing_and_climbs_no_ladder_until_it_is(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        world.later(timedelta(minutes=1))
        for _ in range(15):
            executor.run_batch(at=world.at, outside=replace(world.outside, adapter_for=nothing))
            world.later(timedelta(minutes=1))
        assert (only().state, only().attention) == ("payment_unknown", "config")
        assert (only().queries, only().crash_count) == (0, 0)
        assert world.gateway.calls["query"] == []

        world.gateway.script = [Unknown("down")]
        world.run()
        assert (only().state, only().attention) == ("payment_unknown", "")
        assert only().act_at == world.at + timedelta(minutes=1)
        world.later(timedelta(minutes=1))
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_is_charged_for_by_nobody(self, world, low):
        executor.run_batch(at=world.at, outside=replace(world.outside, adapter_for=nothing))
        assert (only().state, only().attention) == ("due", "config")
        assert only().attention_since == world.at
        assert world.gateway.calls == {}

    def test_leaves_a_graver_attention_alone(self, world, low):
        world.run()
        since = world.at - w.DAY
        CaseFactory.create(recharge=only(), code="disputed", since=since)
        Recharge.objects.update(act_at=world.at)
        executor.run_batch(at=world.at, outside=replace(world.outside, adapter_for=nothing))
        assert (only().attention, only().attention_since) == ("disputed", since)

"""A recharge from its cause to its end, through the real executor and PostgreSQL."""

from datetime import timedelta

import pytest

from billing.engine import executor
from billing.gateways.base import (
    ActionRequired,
    Capabilities,
    Closed,
    NotFound,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.ledger import verification
from billing.models import (
    Binding,
    Decision,
    Notice,
    PaymentAttempt,
    RailCall,
    Recharge,
    RechargeMove,
    Refund,
    Rule,
    Transfer,
)
from billing.recharges import waking
from lines.carriers.base import Accepted, NotAllowed, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery, Line
from tests import world as w
from tests.fakes import LOST_AFTER, LOST_BEFORE

pytestmark = pytest.mark.django_db


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600, 7200, 10800])
    line = w.line(balance_minor=980)
    return w.rule(line, wake_at=world.at)


def only() -> Recharge:
    return Recharge.objects.get()


def path() -> list[str]:
    return list(RechargeMove.objects.order_by("pk").values_list("target", flat=True))


class TestTheGoodDay:
    def test_charges_once_credits_once_and_balances(self, world, low):
        world.run()

        recharge = only()
        assert recharge.state == "completed"
        assert (recharge.price_minor, recharge.credited_minor) == (5000, 5000)
        attempt, delivery = PaymentAttempt.objects.get(), Delivery.objects.get()
        assert world.gateway.charged == {attempt.reference: 5000}
        assert world.carrier.credits == {delivery.reference: [5000]}
        assert path() == ["due", "charging", "delivering", "completed"]
        w.assert_balanced()
        assert verification.accounts()["CNY"] == {
            "carrier:cmcc": 5000,
            "rail:alipay": -5000,
            "undelivered": 0,
        }

    def test_tells_the_result_and_says_why(self, world, low):
        world.run()
        assert list(Notice.objects.values_list("kind", flat=True)) == ["recharged"]
        decision = Decision.objects.get()
        assert (decision.code, decision.is_charge) == ("charge", True)
        assert decision.facts["balance_minor"] == 980
        assert decision.recharge == only()

    def test_disarms_cools_down_and_asks_for_the_new_balance(self, world, low):
        world.run()
        low.refresh_from_db()
        assert (low.is_armed, low.cooldown_until) == (False, world.at + w.HOUR)
        assert Line.objects.get().poll_at == world.at + timedelta(seconds=30)

    def test_a_second_run_finds_nothing_to_do(self, world, low):
        world.run()
        assert world.run() == 0
        assert Recharge.objects.count() == 1

    def test_commits_the_reference_before_the_rail_hears_of_it(self, world, low):
        seen = []
        plain = world.gateway.charge

        def charge(*, request):
            seen.append(PaymentAttempt.objects.filter(reference=request.reference).exists())
            return plain(request=request)

        world.gateway.charge = charge
        world.run()
        assert seen == [True]

    def test_keeps_the_evidence_of_each_call(self, world, low):
        world.run()
        assert list(RailCall.objects.values_list("kind", "is_verified")) == [("charge", True)]


class TestTheAnswerIsLost:
    def test_after_the_money_was_taken_is_found_out_and_charged_once(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        assert only().state == "payment_unknown"
        assert not Transfer.objects.exists()  # unknown is not success
        assert not Delivery.objects.exists()

        world.later(timedelta(seconds=10))
        world.run()
        assert only().state == "completed"
        assert list(world.gateway.charged.values()) == [5000]
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_before_the_rail_had_it_sends_the_same_reference_after_a_grace(self, world, low):
        world.gateway.script = [LOST_BEFORE]
        world.run()
        world.later(timedelta(seconds=10))
        world.run()
        assert only().state == "payment_unknown"  # not found, but too early to believe
        assert len(world.gateway.calls["charge"]) == 1

        world.later(timedelta(minutes=2))
        world.run()
        assert only().state == "completed"
        sent = world.gateway.calls["charge"]
        assert len(sent) == 2
        assert sent[0] == sent[1]
        assert PaymentAttempt.objects.count() == 1
        w.assert_balanced()

    def test_for_good_ends_with_a_person_after_a_week_of_asking(self, world, low):
        world.gateway.script = [Unknown("down")] * 40
        for _ in range(12):
            world.run()
            world.later(timedelta(days=1))
        recharge = only()
        assert (recharge.state, recharge.attention) == ("payment_unknown", "payment_unknown")
        assert recharge.act_at is None
        assert len(world.gateway.calls["query"]) == 11
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_at_the_carrier_is_asked_about_and_credited_once(self, world, low):
        world.carrier.script = [LOST_AFTER]
        world.run()
        assert only().state == "delivery_unknown"
        world.later(timedelta(seconds=10))
        world.run()
        assert only().state == "completed"
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_before_the_carrier_had_it_resends_the_same_order_after_a_grace(self, world, low):
        world.carrier.script = [LOST_BEFORE]
        world.run()
        for _ in range(3):
            world.later(timedelta(minutes=2))
            world.run()
        assert only().state == "completed"
        assert Delivery.objects.count() == 1
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_at_a_carrier_that_cannot_be_asked_goes_to_a_person_and_is_never_resent(
        self, world, low
    ):
        world.carrier.can_query_by_reference = False
        world.carrier.script = [LOST_AFTER]
        for _ in range(14):
            world.run()
            world.later(timedelta(days=1))
        assert (only().state, only().attention) == ("delivery_unknown", "delivery_unknown")
        assert len(world.carrier.calls["credit"]) == 1
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()


class TestAWorkerDies:
    @pytest.mark.parametrize("after_commit", [False, True])
    def test_around_the_charge_and_the_next_one_asks_with_the_same_reference(
        self, world, low, after_commit
    ):
        def die(*, request):
            if after_commit:
                world.gateway.charged[request.reference] = request.amount_minor
            raise SystemExit  # as a kill: nothing after this line runs

        plain = world.gateway.charge
        world.gateway.charge = die
        with pytest.raises(SystemExit):
            world.run()
        world.gateway.charge = plain
        assert only().state == "charging"
        assert world.run() == 0  # leased: nobody touches it

        world.lapse_leases()
        world.later(timedelta(minutes=3))
        world.run()
        assert only().state == ("completed" if after_commit else "payment_unknown")
        world.later(timedelta(minutes=2))  # whoever died may only have stalled
        world.run()
        assert only().state == "completed"
        assert PaymentAttempt.objects.count() == 1
        assert list(world.gateway.charged.values()) == [5000]
        w.assert_balanced()

    def test_a_zombie_that_wakes_after_its_lease_changes_nothing(self, world, low):
        from billing.gateways.base import Answer
        from billing.payments import answers, charging
        from billing.recharges import claims

        world.run(batches=0)
        from billing.rules import openings

        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        zombie = charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )[0]
        world.lapse_leases()
        for _ in range(2):
            world.later(timedelta(minutes=3))
            world.run()
        assert only().state == "completed"
        before = Transfer.objects.count()

        context = answers.Context({}, world.outside.capabilities)
        answer = Answer(Succeeded("T1", 5000, "CNY"))
        going = charging.record([charging.Asked(zombie, answer)], at=world.at, context=context)
        assert going == []
        assert (only().state, Transfer.objects.count()) == ("completed", before)
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        w.assert_balanced()

    def test_three_times_over_one_row_and_it_waits_for_a_person(self, world, low):
        def die(*, request):
            raise SystemExit

        world.gateway.charge = world.gateway.query = die  # type: ignore[method-assign]
        world.gateway.query = lambda **_: (_ for _ in ()).throw(SystemExit)
        for _ in range(3):
            with pytest.raises(SystemExit):
                world.run()
            world.lapse_leases()
        world.run()
        assert (only().state, only().attention) == ("charging", "crashed")
        assert only().act_at is None
        w.assert_balanced()


class TestDeclines:
    def soft(self, code="BUYER_BALANCE_NOT_ENOUGH"):
        return Refused(code)

    def test_soft_retries_on_the_frozen_ladder_with_new_references(self, world, low):
        world.gateway.script = [self.soft()] * 4
        for wait in (0, 1, 2, 3):
            world.later(timedelta(hours=wait))
            world.run()
        assert only().state == "failed"
        assert only().reason == "retries_exhausted"
        assert len(set(world.gateway.calls["charge"])) == 4
        assert not Transfer.objects.exists()
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_for_a_limit_of_the_merchants_calls_a_person_and_blames_no_method(self, world, low):
        limit = Refused("BUYER_BALANCE_NOT_ENOUGH", is_merchants=True)
        world.gateway.script = [limit] * 4
        world.run()
        assert (only().state, only().attention) == ("declined", "merchant_limit")
        for wait in (1, 2, 3):
            world.later(timedelta(hours=wait))
            world.run()
        assert (only().state, only().attention) == ("failed", "")
        assert Binding.objects.get().failures_in_a_row == 0

    def test_a_later_try_that_succeeds_completes_it(self, world, low):
        world.gateway.script = [self.soft()]
        world.run()
        assert (only().state, only().act_at) == ("declined", world.at + w.HOUR)
        world.later(w.HOUR)
        world.run()
        assert only().state == "completed"
        assert list(PaymentAttempt.objects.order_by("number").values_list("state", flat=True)) == [
            "declined",
            "succeeded",
        ]
        w.assert_balanced()

    def test_hard_ends_it_at_once(self, world, low):
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        world.run()
        assert (only().state, only().reason) == ("failed", "hard_decline")
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_an_unlisted_code_is_unknown_and_asked_about(self, world, low):
        world.gateway.script = [Refused("A_CODE_NOBODY_LISTED")]
        world.run()
        assert only().state == "payment_unknown"
        assert len(PaymentAttempt.objects.all()) == 1

    def test_already_succeeded_is_confirmed_by_asking(self, world, low):
        world.gateway.script = [Refused("TRADE_HAS_SUCCESS")]
        world.run()  # the query finds nothing yet: early
        assert only().state == "payment_unknown"

    def test_a_fallback_tool_is_used_once_after_a_definite_decline(self, world, low):
        second = w.binding(low.line.owner)
        Rule.objects.update(fallback_binding=second)
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        world.run()
        assert only().state == "completed"
        assert only().binding == second
        assert list(world.gateway.charged.values()) == [5000]
        w.assert_balanced()

    def test_a_failed_one_lets_the_latch_fire_again_after_its_cool_down(self, world, low):
        world.gateway.script = [Refused("PAYMENT_REQUEST_HAS_RISK")]
        world.run()
        low.refresh_from_db()
        assert (low.is_armed, low.episode, low.cooldown_until) == (True, 2, world.at + w.HOUR)


class TestAnswersThatAreNotWhatWasAsked:
    @pytest.mark.parametrize(
        "outcome", [Succeeded("T1", 4999, "CNY"), Succeeded("T1", 5000, "USD")]
    )
    def test_another_amount_or_currency_stops_for_a_person(self, world, low, outcome):
        world.gateway.script = [outcome]
        world.run()
        assert (only().state, only().attention) == ("review", "amount_differs")
        assert not Transfer.objects.exists()
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_the_carriers_own_figure_is_kept_and_a_difference_shown(self, world, low):
        from lines.carriers.base import Credited

        world.carrier.script = [Credited("C1", 4900)]
        world.run()
        assert (only().state, only().credited_minor) == ("completed", 4900)
        assert only().attention == "credit_differs"


class TestSlowRails:
    def test_pending_is_not_unknown_and_nothing_is_sent_again(self, world, low):
        ready_at = world.at + timedelta(hours=24)
        world.gateway.script = [Pending("T1", ready_at)]
        world.run()
        assert (only().state, only().act_at) == ("payment_pending", ready_at)
        world.gateway.charged[PaymentAttempt.objects.get().reference] = 5000
        world.later(timedelta(hours=24))
        world.run()
        assert only().state == "completed"
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_an_order_the_rail_closed_is_tried_under_a_new_reference(self, world, low):
        world.gateway.script = [Pending("T1", world.at), Closed()]
        world.run()
        assert only().state == "declined"
        world.later(w.HOUR)
        world.run()
        assert only().state == "completed"
        assert len(set(world.gateway.calls["charge"])) == 2
        w.assert_balanced()

    def test_a_payer_who_must_confirm_is_told_where(self, world, low):
        world.gateway.script = [ActionRequired("https://rail.example/confirm")]
        world.run()
        assert (only().state, only().action_url) == (
            "action_required",
            "https://rail.example/confirm",
        )
        assert Notice.objects.get().kind == "action_required"

    def test_a_reference_past_its_life_is_never_sent_again(self, world, low):
        world.gateway.capabilities = Capabilities(
            rail="alipay", currencies=frozenset({"CNY"}), reference_lifetime=timedelta(hours=24)
        )
        world.gateway.script = [LOST_BEFORE]
        world.run()
        world.later(timedelta(hours=25))
        world.run()
        assert (only().state, only().attention) == ("payment_unknown", "payment_unknown")
        assert len(world.gateway.calls["charge"]) == 1


class TestCarrierRefuses:
    def test_for_good_and_the_money_goes_back_by_itself(self, world, low):
        world.carrier.script = [Rejected("GONE", is_permanent=True)]
        world.run()
        assert only().state == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        assert world.carrier.credits == {}
        assert set(verification.accounts()["CNY"].values()) == {0}
        w.assert_balanced()

    def test_for_now_and_a_later_try_is_a_new_order(self, world, low):
        world.carrier.script = [Rejected("BUSY")]
        world.run()
        assert (only().state, only().act_at) == ("charged", world.at + timedelta(minutes=1))
        world.later(timedelta(minutes=1))
        world.run()
        assert only().state == "completed"
        assert Delivery.objects.count() == 2
        w.assert_balanced()

    def test_three_times_and_the_money_goes_back(self, world, low):
        world.carrier.script = [Rejected("BUSY")] * 3
        for _ in range(3):
            world.run()
            world.later(timedelta(minutes=10))
        assert only().state == "refunded"
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_us_and_nobody_is_refunded_for_it(self, world, low):
        world.carrier.script = [NotAllowed("unauthorised")] * 8
        for _ in range(8):
            world.run()
            recharge = only()
            assert (recharge.state, recharge.reason) == ("charged", "carrier_config")
            assert (recharge.attention, recharge.attention_since) == ("config", w.NOON)
            assert recharge.act_at == world.at + timedelta(minutes=10)
            world.later(timedelta(minutes=10))
        assert world.gateway.refunded == {}
        assert (world.carrier.credits, Refund.objects.count()) == ({}, 0)
        assert recharge.delivery_count == 1
        w.assert_balanced()

        world.run()
        assert (only().state, only().attention) == ("completed", "")
        assert list(world.carrier.credits) == [Delivery.objects.get().reference]
        w.assert_balanced()

    def test_an_accepted_order_is_waited_for(self, world, low):
        world.carrier.script = [Accepted("C1"), NoAnswer("down")]
        world.run()
        assert only().state == "delivery_pending"
        reference = Delivery.objects.get().reference
        world.carrier.credits[reference].append(5000)
        for _ in range(3):
            world.later(timedelta(seconds=20))
            world.run()
        assert only().state == "completed"
        assert len(world.carrier.calls["credit"]) == 1
        w.assert_balanced()

    def test_a_reversal_after_completion_reopens_it_and_refunds(self, world, low):
        world.run()
        delivery = Delivery.objects.get()
        world.carrier.reversals[delivery.reference] = 5000
        assert waking.wake_delivery(reference="", carrier_ref=delivery.carrier_ref, at=world.at)
        world.run()
        assert only().state == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        assert verification.accounts()["CNY"]["carrier:cmcc"] == 0
        w.assert_balanced()


class TestJustBeforeTheCharge:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda: Line.objects.update(status="ported_out"), "line_gone"),
            (lambda: Line.objects.update(sim_generation=2), "line_gone"),
            (lambda: Rule.objects.update(is_on=False), "rule_stopped"),
            (lambda: Rule.objects.update(paused_until=w.NOON + w.DAY), "rule_stopped"),
            (lambda: Binding.objects.update(state="revoked"), "binding_ended"),
        ],
    )
    def test_everything_is_looked_at_again(self, world, low, change, reason):
        from billing.rules import openings

        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        change()
        world.run()
        assert (only().state, only().reason) == ("canceled", reason)
        assert world.gateway.calls == {}
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_an_incident_switch_defers_and_drains_later(self, world, low):
        w.rail(deferred_since=world.at)
        world.run()
        assert (only().state, only().reason) == ("waiting", "rail_deferred")
        w.rail(deferred_since=None)
        world.later(timedelta(minutes=1))
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_what_waited_past_its_window_is_missed_and_told(self, world, low):
        w.rail(deferred_since=world.at)
        world.run()
        world.later(timedelta(hours=25))
        world.run()
        assert only().state == "missed"
        assert "missed" in Notice.objects.values_list("kind", flat=True)
        assert world.gateway.charged == {}
        w.assert_balanced()

    def test_a_switched_off_carrier_takes_no_money_in_either(self, world, low):
        carrier = w.carrier()
        carrier.deferred_since = world.at
        carrier.save()
        world.run()
        assert (only().state, only().reason) == ("waiting", "carrier_deferred")
        assert world.gateway.charged == {}


class TestWakes:
    def test_a_notification_makes_the_executor_ask_at_once(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        reference = PaymentAttempt.objects.get().reference
        assert waking.wake(reference=reference, at=world.at) is True
        world.run()
        assert only().state == "completed"

    def test_a_success_claimed_after_the_end_alarms_and_moves_nothing(self, world, low):
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        world.run()
        reference = PaymentAttempt.objects.get().reference
        world.gateway.charged[reference] = 5000  # the rail contradicts itself
        waking.wake(reference=reference, at=world.at)
        world.run()
        assert (only().state, only().attention) == ("failed", "late_payment")
        assert not Transfer.objects.exists()

    def test_is_refused_while_a_worker_holds_the_recharge(self, world, low):
        from billing.payments import charging
        from billing.recharges import claims
        from billing.rules import openings

        openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
        charging.begin(
            claims.claim(at=world.at, limit=10), at=world.at, rails=world.outside.capabilities
        )
        reference = PaymentAttempt.objects.get().reference
        assert waking.wake(reference=reference, at=world.at) is False


class TestNotFound:
    def test_never_counts_before_the_grace_even_right_after_a_crash(self, world, low):
        world.gateway.script = [Unknown("lost"), NotFound()]
        world.run()
        world.later(timedelta(seconds=10))
        world.run()
        assert only().state == "payment_unknown"
        assert len(world.gateway.calls["charge"]) == 1


class TestTheMonthsCap:
    def test_is_told_when_four_fifths_of_it_are_spent(self, world, low):
        Rule.objects.update(max_per_month_minor=6250)
        world.run()
        near = Notice.objects.get(kind="cap_near")
        assert near.facts == {"cap_minor": 6250, "spent_minor": 5000, "currency": "CNY"}

    def test_is_not_spoken_of_before(self, world, low):
        Rule.objects.update(max_per_month_minor=6251)
        world.run()
        assert not Notice.objects.filter(kind="cap_near").exists()


class TestMoneyThatWentBackByItself:
    def test_stops_for_a_person_and_is_never_charged_again(self, world, low):
        world.gateway.script = [LOST_AFTER, Closed(is_given_back=True)]
        world.run()
        world.later(timedelta(seconds=10))
        world.run()
        assert (only().state, only().attention) == ("payment_unknown", "payment_unknown")
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()


class TestARailThatIsAway:
    def test_is_no_crash_however_long_it_lasts_and_a_person_is_told(self, world, low):
        world.gateway.script = [LOST_AFTER]
        world.run()
        gateway = world.gateway
        for _ in range(6):
            world.later(timedelta(minutes=2))
            world.gateway = None
            outside = world.outside
            outside.gateways.clear()
            executor.run_batch(at=world.at, outside=outside)
        assert (only().state, only().attention) == ("payment_unknown", "config")
        assert (only().crash_count, only().queries) == (0, 0)
        assert only().attention_since == w.NOON + timedelta(minutes=2)
        world.gateway = gateway
        world.later(timedelta(minutes=2))
        world.run()
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()

    def test_keeps_a_scheduled_charge_due_within_its_grace(self, world, low):
        w.rail(is_enabled=False)
        world.run()
        assert not Recharge.objects.exists()
        low.refresh_from_db()
        assert (low.is_armed, low.wake_at) == (True, world.at + w.HOUR)
        w.rail(is_enabled=True)
        world.later(w.HOUR)
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

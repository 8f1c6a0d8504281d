"""Everything but a clean success: each answer means one thing, and never more than it says."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.engine import executor
from billing.gateways.base import ActionRequired, Capabilities, Closed, NotFound, Pending, Refused
from billing.models import Binding, Notice, PaymentAttempt, Recharge, Rule
from billing.recharges import waking
from billing.rules import by_hand
from lines.models import Line
from tests import world as w
from tests.factories.billing import CaseFactory
from tests.fakes import LOST_BEFORE, FakeGateway

pytestmark = pytest.mark.django_db

HARD, SOFT = Refused("AGREEMENT_NOT_EXIST"), Refused("BUYER_BALANCE_NOT_ENOUGH")
CONFIG = Refused("INVALID_PARAMETER")


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600, 7200, 10800])
    return w.rule(w.line(balance_minor=980), wake_at=world.at)


def only() -> Recharge:
    return Recharge.objects.get()


class TestADecline:
    def test_that_is_hard_pauses_the_method_and_its_rules(self, world, low):
        world.gateway.script = [HARD]
        world.run()
        low.refresh_from_db()
        assert (low.binding.paused_at, low.binding.pause_reason) == (world.at, "hard_decline")
        assert (low.paused_at, low.is_on) == (world.at, True)

    def test_that_is_soft_counts_once_however_often_it_was_tried(self, world, low):
        world.gateway.script = [SOFT] * 4
        for wait in (0, 1, 2, 3):
            world.later(timedelta(hours=wait))
            world.run()
        assert only().reason == "retries_exhausted"
        assert Binding.objects.get().failures_in_a_row == 1

    def test_is_forgotten_by_the_method_when_it_is_paid_again(self, world, low):
        Binding.objects.update(failures_in_a_row=2)
        world.run()
        assert Binding.objects.get().failures_in_a_row == 0

    def test_never_falls_back_to_the_method_that_declined(self, world, low):
        Rule.objects.update(fallback_binding=low.binding)
        world.gateway.script = [HARD]
        world.run()
        assert (only().state, len(world.gateway.calls["charge"])) == ("failed", 1)

    def test_never_falls_back_to_a_method_that_rests(self, world, low):
        second = w.binding(low.line.owner, paused=True)
        Rule.objects.update(fallback_binding=second)
        world.gateway.script = [HARD]
        world.run()
        assert (only().state, only().reason) == ("failed", "hard_decline")
        assert only().binding == low.binding

    @pytest.mark.parametrize(("cap_minor", "is_used"), [(8000, True), (7999, False)])
    def test_falls_back_within_the_second_methods_own_cap(self, world, low, cap_minor, is_used):
        Rule.objects.update(wake_at=None)
        owner = low.line.owner
        second = w.binding(owner, max_per_month_minor=cap_minor)
        by_hand.recharge(
            line=w.line(owner),
            binding=second,
            face_minor=3000,
            owner=owner,
            idempotency_key="k",
            at=world.at,
        )
        world.run()
        Rule.objects.update(fallback_binding=second, wake_at=world.at)
        world.gateway.script = [HARD]
        world.run()
        mine = Recharge.objects.get(rule=low)
        assert (mine.state == "completed", mine.binding == second) == (is_used, is_used)
        assert sum(world.gateway.charged.values()) == (8000 if is_used else 3000)
        w.assert_balanced()

    @pytest.mark.parametrize(("most_minor", "is_used"), [(None, True), (5000, True), (4999, False)])
    def test_falls_back_only_to_a_rail_that_takes_as_much(self, world, low, most_minor, is_used):
        second = w.binding(low.line.owner, rail=w.rail("wechat"))
        Rule.objects.update(fallback_binding=second)
        other = FakeGateway(
            Capabilities(rail="wechat", currencies=frozenset({"CNY"}), max_amount_minor=most_minor)
        )
        outside = replace(world.outside, gateways={"alipay": world.gateway, "wechat": other})
        world.gateway.script = [HARD]
        for _ in range(4):
            executor.run_batch(at=world.at, outside=outside)
        assert only().state == ("completed" if is_used else "failed")
        assert list(other.charged.values()) == ([5000] if is_used else [])
        w.assert_balanced()

    def test_of_the_second_method_too_ends_it(self, world, low):
        second = w.binding(low.line.owner)
        Rule.objects.update(fallback_binding=second)
        world.gateway.script = [HARD, HARD]
        world.run()
        assert (only().state, only().binding) == ("failed", second)
        assert len(world.gateway.calls["charge"]) == 2
        assert world.gateway.charged == {}
        w.assert_balanced()


class TestAnOrderThatTheRailClosed:
    def test_for_a_hard_reason_is_not_tried_again(self, world, low):
        world.gateway.script = [Pending("T1", world.at), Closed(code="AGREEMENT_NOT_EXIST")]
        world.run()
        assert (only().state, only().reason) == ("failed", "hard_decline")
        assert len(world.gateway.calls["charge"]) == 1


class TestACodeThatSaysDone:
    def test_has_the_rail_asked_at_once(self, world, low):
        world.gateway.script = [Refused("TRADE_HAS_SUCCESS")]
        world.run(batches=1)
        assert (only().state, only().act_at) == ("payment_unknown", world.at)


class TestOurOwnFault:
    def test_in_a_question_says_nothing_about_the_charge(self, world, low):
        world.gateway.script = [LOST_BEFORE, CONFIG]
        world.run()
        world.later(timedelta(seconds=10))
        world.run()
        assert (only().state, only().attention) == ("payment_unknown", "config")
        assert only().act_at == world.at + timedelta(minutes=10)
        assert len(world.gateway.calls["charge"]) == 1

    def test_in_a_charge_is_tried_again_in_ten_minutes(self, world, low):
        world.gateway.script = [CONFIG]
        world.run()
        assert (only().state, only().attention) == ("due", "config")
        assert only().act_at == world.at + timedelta(minutes=10)
        assert Binding.objects.get().failures_in_a_row == 0

    def test_that_lasts_longer_than_the_window_is_missed_and_never_charged_late(self, world, low):
        world.gateway.script = [CONFIG]
        world.run()
        Recharge.objects.update(expires_at=world.at + w.MINUTE)
        world.later(timedelta(minutes=10))
        world.run()
        assert (only().state, only().reason, only().act_at) == ("missed", "window_over", None)
        assert PaymentAttempt.objects.get().state == "closed"
        assert Notice.objects.filter(kind="missed", recharge=only()).count() == 1
        world.later(w.DAY)
        world.run()
        assert len(world.gateway.calls["charge"]) == 1
        assert world.gateway.charged == {}
        w.assert_balanced()

    def test_that_is_said_after_the_window_is_missed_too(self, world, low):
        world.gateway.script = [LOST_BEFORE, NotFound(), CONFIG]
        world.run()
        Recharge.objects.update(expires_at=world.at + 3 * w.MINUTE)
        world.later(timedelta(minutes=4))
        world.run()
        assert (only().state, only().reason) == ("missed", "window_over")
        assert world.gateway.charged == {}
        w.assert_balanced()

    def by_hand(self, world) -> Rule:
        line = w.line(balance_minor=5000)
        rule = w.rule(line)
        by_hand.recharge(
            line=line,
            binding=rule.binding,
            face_minor=1000,
            owner=line.owner,
            idempotency_key="k",
            at=world.at,
        )
        return rule

    def test_of_one_by_hand_that_lasts_ends_it_and_the_lines_rule_sees_again(self, world):
        """Held, it would hide a low balance from the rule for as long as nobody looks."""
        rule = self.by_hand(world)
        world.gateway.script = [CONFIG] * 7
        for _ in range(8):
            world.run()
            world.later(timedelta(minutes=10))
        assert (only().state, only().reason, only().attention) == ("missed", "window_over", "")
        assert PaymentAttempt.objects.get().state == "closed"
        assert world.gateway.charged == {}
        w.assert_balanced()

        Line.objects.update(balance_minor=980, balance_observed_at=world.at)
        Rule.objects.update(wake_at=world.at)
        world.run()
        assert Recharge.objects.get(rule=rule).state == "completed"
        w.assert_balanced()

    def test_of_one_by_hand_whose_announcement_outlasts_its_window_ends_it(self, world):
        self.by_hand(world)
        world.gateway.script = [CONFIG]
        late = {"expires_at": world.at - w.MINUTE, "latest_charge_at": world.at + w.HOUR}
        Recharge.objects.update(**late)
        world.run()
        assert (only().state, only().reason, only().attention) == ("failed", "window_over", "")
        assert (PaymentAttempt.objects.get().state, world.gateway.charged) == ("closed", {})
        w.assert_balanced()


class TestAPayerWhoMustConfirm:
    @pytest.fixture
    def asked(self, world, low):
        world.gateway.script = [ActionRequired("https://rail.example/confirm")]
        world.run()
        return world

    def test_is_waited_for_for_a_day_and_then_a_person_is_called(self, asked):
        asked.gateway.script = [ActionRequired("https://rail.example/confirm")]
        asked.later(w.DAY)
        asked.run()
        assert (only().state, only().attention) == ("action_required", "")
        assert only().act_at == asked.at + timedelta(minutes=10)

        asked.gateway.script = [ActionRequired("https://rail.example/confirm")]
        asked.later(timedelta(minutes=10))
        asked.run()
        assert (only().state, only().attention) == ("action_required", "action_expired")
        assert only().act_at is None

    def test_and_of_whose_order_the_rail_knows_nothing_is_charged_no_more(self, asked):
        asked.later(timedelta(minutes=10))
        asked.gateway.script = [NotFound()]
        asked.run()
        assert (only().state, only().reason) == ("failed", "confirmed_not_taken")
        assert PaymentAttempt.objects.get().state == "closed"
        assert len(asked.gateway.calls["charge"]) == 1
        w.assert_balanced()


class TestAReferenceThatWasNeverThere:
    def test_is_spent_when_the_recharge_is_over_before_it_is_sent_again(self, world, low):
        world.gateway.script = [LOST_BEFORE]
        world.run()
        world.later(3 * w.MINUTE)
        Rule.objects.update(is_on=False)
        world.run()
        assert (only().state, only().reason) == ("canceled", "rule_stopped")
        assert PaymentAttempt.objects.get().state == "closed"
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_is_believed_at_the_end_of_its_grace_and_not_before(self, world, low):
        world.gateway.script = [LOST_BEFORE]
        world.run()
        grace = world.gateway.capabilities.not_found_grace
        world.later(grace - timedelta(seconds=1))
        world.run()
        assert only().state == "payment_unknown"
        assert only().act_at == world.at + timedelta(seconds=1)
        world.later(timedelta(seconds=1))
        world.run()
        assert only().state == "completed"
        assert len(set(world.gateway.calls["charge"])) == 1


class TestALookAtOneThatIsAtRest:
    def test_leaves_what_needs_a_person_to_the_person(self, world, low):
        world.run()
        CaseFactory.create(recharge=only(), code="disputed", since=world.at)
        waking.wake(reference=PaymentAttempt.objects.get().reference, at=world.at)
        world.run()
        assert (only().state, only().attention) == ("completed", "disputed")

"""Sixteen processes at once: caps hold, an occurrence runs once, a row has one winner."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.engine import executor
from billing.gateways.base import Refused
from billing.gateways.limits import TryLimit
from billing.models import Decision, PaymentAttempt, Recharge, Refund, Rule, Transfer
from billing.recharges import claims, machine
from billing.reference_data import load
from billing.refunds import approvals
from billing.rules import by_hand, readings
from billing.rules.balances import Reading
from tests import world as w
from tests.billing.racers import race
from tests.factories.billing import RechargeFactory, SpendingCapFactory
from tests.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def run(_number):
    world = World()
    world.run()
    return {"charged": world.gateway.charged, "credits": dict(world.carrier.credits)}


def push(line_id):
    def one(number):
        observed_at = w.NOON + timedelta(milliseconds=number)
        readings.push(reading=Reading(line_id, 980 - number, observed_at), at=w.NOON)
        World().run()

    return one


def pressed(tool, lines):
    def one(number):
        line = lines[number % len(lines)]
        try:
            by_hand.recharge(
                line=line,
                binding=tool,
                face_minor=5000,
                owner=line.owner,
                idempotency_key=str(number),
                at=w.NOON,
            )
        except (machine.OpenRecharge, by_hand.CapReached) as refusal:
            return type(refusal).__name__
        return "opened"

    return one


def refunding_of(recharge, people):
    def one(number):
        try:
            approvals.request(
                recharge=recharge,
                amount_minor=5000,
                reason="asked",
                requested_by=people[number],
                at=w.NOON,
            )
        except approvals.NotRefundable as refusal:
            return type(refusal).__name__
        return "asked"

    return one


def refuse_one(_number):
    """One step of one recharge, at a rail that refuses; how often it was asked."""
    world = World()
    limits = (TryLimit(3, timedelta(days=1)),)
    world.gateway.capabilities = replace(world.gateway.capabilities, tries=limits)
    world.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
    executor.run_batch(at=w.NOON, outside=world.outside, batch=1)
    return len(world.gateway.calls["charge"])


def give_back(_number):
    world = World()
    world.carrier.can_query_by_reference = False  # each process has a carrier of its own
    world.run()
    return {
        "money": list(world.gateway.refunded.values()),
        "credit": list(world.carrier.reversals.values()),
    }


def claim(ids):
    return lambda _number: [len(claims.claim(at=w.NOON, limit=1, recharge_id=pk)) for pk in ids]


@pytest.fixture(autouse=True)
def _reference_data():
    load()


class TestSixteenProcesses:
    def test_open_and_charge_each_due_rule_exactly_once(self):
        owner = w.person()
        tool = w.binding(owner)
        for _ in range(24):
            w.rule(w.line(owner, balance_minor=980), binding=tool, wake_at=w.NOON)

        results = race(run, processes=16)

        charged = [ref for one in results for ref in one["charged"]]
        credited = [times for one in results for times in one["credits"].values()]
        assert sorted(charged) == sorted(PaymentAttempt.objects.values_list("reference", flat=True))
        assert len(charged) == len(set(charged)) == 24
        assert [len(times) for times in credited] == [1] * 24
        assert set(Recharge.objects.values_list("state", flat=True)) == {"completed"}
        assert Transfer.objects.count() == 48
        w.assert_balanced()

    def test_pushing_the_same_low_balance_make_one_recharge(self):
        rule = w.rule(w.line(balance_minor=1860))
        race(push(rule.line_id), processes=16)
        assert Recharge.objects.count() == 1
        assert Decision.objects.filter(code="charge").count() == 1
        w.assert_balanced()

    def test_pushing_it_during_a_cool_down_make_none_and_afterwards_one(self):
        cool_at = w.NOON + w.HOUR
        rule = w.rule(w.line(balance_minor=1860), cooldown_until=cool_at)
        race(push(rule.line_id), processes=16)
        assert not Recharge.objects.exists()
        rule.refresh_from_db()
        assert (rule.is_armed, rule.wake_at) == (True, cool_at)
        assert Decision.objects.get().code == "cooling_down"

        race(lambda _number: World(at=cool_at).run(), processes=16)
        assert Recharge.objects.count() == 1
        w.assert_balanced()

    def test_charging_for_a_schedule_and_a_low_balance_at_once_make_one_recharge(self):
        line = w.line(balance_minor=980)
        w.rule(
            line,
            cycle="monthly",
            anchor_date=w.NOON.date(),
            next_run_at=w.NOON,
            wake_at=w.NOON,
            max_per_day_count=9,
        )
        race(push(line.pk), processes=16)
        assert Recharge.objects.get().trigger == "schedule"
        codes = Decision.objects.order_by("trigger").values_list("trigger", "code")
        assert list(codes) == [("low_balance", "merged"), ("schedule", "charge")]
        w.assert_balanced()

    def test_asking_for_the_same_refund_open_one_and_give_the_money_back_once(self):
        w.rule(w.line(balance_minor=980), wake_at=w.NOON)
        World().run()
        recharge = Recharge.objects.get()
        people = [w.person(f"clerk{number}") for number in range(16)]
        results = race(refunding_of(recharge, people), processes=16)
        assert sorted(results) == ["NotRefundable"] * 15 + ["asked"]

        refund = Refund.objects.get()
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=w.NOON)
        given = race(give_back, processes=16)
        assert [minor for one in given for minor in one["money"]] == [5000]
        assert [minor for one in given for minor in one["credit"]] == [5000]
        assert Recharge.objects.get().state == "refunded"
        w.assert_balanced()

    def test_never_break_a_cap_that_their_lines_share(self):
        owner = w.person()
        tool = w.binding(owner)
        SpendingCapFactory.create(owner=owner, max_per_month_minor=23_000)
        for _ in range(16):
            w.rule(w.line(owner, balance_minor=980), binding=tool, wake_at=w.NOON)
        race(run, processes=16)
        assert sum(Recharge.objects.values_list("price_minor", flat=True)) == 20_000
        refused = Decision.objects.filter(code="cap_owner_month")
        assert refused.count() == 12
        assert Rule.objects.filter(is_armed=True).count() == 12  # kept for a better month
        w.assert_balanced()

    def test_recharging_by_hand_never_break_a_binding_cap(self):
        owner = w.person()
        tool = w.binding(owner, max_per_month_minor=10_000)
        lines = [w.line(owner) for _ in range(16)]
        results = race(pressed(tool, lines), processes=16)
        assert sorted(results) == ["CapReached"] * 14 + ["opened"] * 2
        assert Recharge.objects.count() == 2

    def test_recharging_one_line_by_hand_open_one(self):
        owner = w.person()
        tool = w.binding(owner)
        results = race(pressed(tool, [w.line(owner)]), processes=16)
        assert sorted(results) == ["OpenRecharge"] * 15 + ["opened"]
        assert Recharge.objects.count() == 1

    def test_never_take_the_last_try_of_a_card_twice(self):
        owner = w.person()
        w.rail(retry_ladder_s=[3600] * 3)
        cards = [w.binding(owner, fingerprint="card") for _ in range(2)]  # one card, bound twice
        for number in range(16):
            line = w.line(owner, balance_minor=980)
            RechargeFactory.create(
                line=line, binding=cards[number % 2], act_at=w.NOON, ladder_s=[3600] * 3
            )
        refused = sum(race(refuse_one, processes=16))
        assert (refused, PaymentAttempt.objects.count()) == (3, 3)
        assert Recharge.objects.filter(state="declined").count() == 3
        waiting = Recharge.objects.filter(state="waiting", reason="tries_spent")
        assert waiting.count() == 13

    def test_racing_for_one_row_have_one_winner_a_thousand_times(self):
        owner = w.person()
        tool = w.binding(owner)
        opened = Recharge.objects.bulk_create(
            RechargeFactory.build(line=w.line(owner), binding=tool, act_at=w.NOON)
            for _ in range(1000)
        )
        results = race(claim([one.pk for one in opened]), processes=16)
        assert [sum(column) for column in zip(*results, strict=True)] == [1] * 1000

"""Sixteen processes at once: caps hold, an occurrence runs once, a row has one winner."""

from datetime import timedelta

import pytest

from billing import by_hand, claims, intake
from billing.intake import Reading
from billing.models import Decision, PaymentAttempt, Recharge, Rule, SpendingCap, Transfer
from billing.reference_data import load
from tests import world as w
from tests.billing.racers import race
from tests.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def run(_number):
    world = World()
    world.run()
    return {"charged": world.gateway.charged, "credits": dict(world.carrier.credits)}


def push(line_id):
    def one(number):
        observed_at = w.NOON + timedelta(milliseconds=number)
        intake.push(reading=Reading(line_id, 980 - number, observed_at), at=w.NOON)
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
        except (by_hand.OpenRecharge, by_hand.CapReached) as refusal:
            return type(refusal).__name__
        return "opened"

    return one


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

    def test_never_break_a_cap_that_their_lines_share(self):
        owner = w.person()
        tool = w.binding(owner)
        SpendingCap.objects.create(owner=owner, max_per_month_minor=23_000)
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

    def test_racing_for_one_row_have_one_winner_a_thousand_times(self):
        owner = w.person()
        tool = w.binding(owner)
        template = {
            "owner": owner,
            "binding": tool,
            "rail": "alipay",
            "sim_generation": 1,
            "trigger": "manual",
            "state": "due",
            "face_minor": 5000,
            "price_minor": 5000,
            "currency": "CNY",
            "ladder_s": [],
            "cap_day": w.NOON.date(),
            "cap_month": w.NOON.date(),
            "created_at": w.NOON,
            "due_at": w.NOON,
            "expires_at": w.NOON,
            "act_at": w.NOON,
        }
        opened = Recharge.objects.bulk_create(
            Recharge(line=w.line(owner), period_key=str(n), **template) for n in range(1000)
        )
        results = race(claim([one.pk for one in opened]), processes=16)
        assert [sum(column) for column in zip(*results, strict=True)] == [1] * 1000

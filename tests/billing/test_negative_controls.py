"""Would the suite notice? Each seeded bug is switched on, and a scenario of the suite must go red.

A control that stays green means that a test is missing. The scenarios are the suite's own tests,
called as they are; what they need is built here the same way.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection

from billing import claims, ledger, openings, payments, refunds, rowsets, rules, setbacks
from billing.gateways.base import Answer, Refused, Succeeded, Unknown
from billing.models import Recharge, Rule
from lines.references import new_reference
from tests import world as w
from tests.billing import test_executor, test_refunds

pytestmark = pytest.mark.django_db

# What a scenario that goes red raises: its own assertion, or the database's refusal.
RED = (AssertionError, DatabaseError, *rowsets.POISON)
Bug = Callable[[Any, Any], None]


# --- scenarios ----------------------------------------------------------------------------------


def low_rule(world: Any) -> Rule:
    w.carrier()
    w.rail(retry_ladder_s=[3600, 7200, 10800])
    return w.rule(w.line(balance_minor=980), wake_at=world.at)


def good_day(world: Any) -> None:
    low = low_rule(world)
    test_executor.TestTheGoodDay().test_charges_once_credits_once_and_balances(world, low)


def disarms(world: Any) -> None:
    day = test_executor.TestTheGoodDay()
    day.test_disarms_cools_down_and_asks_for_the_new_balance(world, low_rule(world))


def lost_after(world: Any) -> None:
    lost = test_executor.TestTheAnswerIsLost()
    lost.test_after_the_money_was_taken_is_found_out_and_charged_once(world, low_rule(world))


def lost_before(world: Any) -> None:
    lost = test_executor.TestTheAnswerIsLost()
    lost.test_before_the_rail_had_it_sends_the_same_reference_after_a_grace(world, low_rule(world))


def worker_dies(world: Any) -> None:
    dies = test_executor.TestAWorkerDies()
    dies.test_around_the_charge_and_the_next_one_asks_with_the_same_reference(
        world, low_rule(world), after_commit=True
    )


def refund_is_sent_again(world: Any) -> None:
    low_rule(world)
    world.run()
    support, finance = w.person("support"), w.person("finance")
    refund = test_refunds.ask(Recharge.objects.get(), support)
    refunds.approve(refund=refund, approved_by=finance, at=world.at)
    answers = test_refunds.TestTheRailsAnswer()
    answers.test_not_found_sends_the_same_reference_again(world, refund)


def zombie(world: Any) -> None:
    """A worker stalls past its lease; another holds the row when it wakes and writes."""
    low_rule(world)
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
    stalled = payments.begin(claims.claim(at=world.at, limit=10), at=world.at)[0]
    world.lapse_leases()
    [held] = claims.claim(at=world.at, limit=10)
    context = setbacks.Context({}, world.outside.capabilities)
    late = payments.Asked(stalled, Answer(Succeeded("T1", 5000, "CNY")))
    assert payments.record([late], at=world.at, context=context) == []
    row = Recharge.objects.get()
    assert (row.state, row.fence) == ("charging", held.fence)
    w.assert_balanced()


def same_occurrence_again(world: Any) -> None:
    """A redelivered task, a restored row: the same episode is due a second time."""
    rule = low_rule(world)
    world.run()
    later = world.at + timedelta(days=40)
    Rule.objects.filter(pk=rule.pk).update(is_armed=True, wake_at=later, cooldown_until=None)
    rule.line.__class__.objects.update(balance_minor=980, balance_observed_at=later)
    world.at = later
    world.run()
    assert Recharge.objects.count() == 1
    assert len(world.gateway.charged) == 1


def amount_is_edited(world: Any) -> None:
    """The rule is edited while its recharge is on the way: what was opened is what is taken."""
    rule = low_rule(world)
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
    Rule.objects.filter(pk=rule.pk).update(face_minor=10_000)
    world.run()
    assert list(world.gateway.charged.values()) == [5000]
    assert Recharge.objects.get().state == "completed"


# --- seeded bugs --------------------------------------------------------------------------------


def unstable_reference(patch: Any, world: Any) -> None:
    patch.setattr(claims, "is_live_attempt", lambda row: False)


def no_fence(patch: Any, world: Any) -> None:
    plain = rowsets.update

    def update(*args: Any, where: str, **more: Any) -> Any:
        unfenced = where.replace("(v.fence IS NULL OR t.fence = v.fence)", "true")
        return plain(*args, where=unfenced, **more)

    patch.setattr(rowsets, "update", update)


def timeout_is_a_decline(patch: Any, world: Any) -> None:
    def declined(row: Any, outcome: Any, at: Any, context: Any) -> None:
        setbacks._refused(row, Refused("BUYER_BALANCE_NOT_ENOUGH"), at, context)

    patch.setattr(setbacks, "_HANDLERS", {**setbacks._HANDLERS, Unknown: declined})


def no_unique_occurrence(patch: Any, world: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX recharge_once_per_occurrence")


def unfrozen_amount(patch: Any, world: Any) -> None:
    plain = payments.charge

    def charge(row: Any, **more: Any) -> Any:
        return plain(row._replace(price_minor=Rule.objects.get().face_minor), **more)

    patch.setattr(payments, "charge", charge)


def no_lease(patch: Any, world: Any) -> None:
    unleased = claims._CLAIM.replace("lease_until < clock_timestamp()", "true")
    patch.setattr(claims, "_CLAIM", unleased)


def lease_by_a_clock_that_is_wrong(patch: Any, world: Any) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    by_host = claims._CLAIM.replace("clock_timestamp())", f"timestamptz '{ahead.isoformat()}')")
    patch.setattr(claims, "_CLAIM", by_host)


def not_found_believed_at_once(patch: Any, world: Any) -> None:
    eager = replace(world.gateway.capabilities, not_found_grace=timedelta(0))
    world.gateway.capabilities = eager


def latch_never_disarmed(patch: Any, world: Any) -> None:
    plain = rules._consumed
    patch.setattr(rules, "_consumed", lambda *args, with_low: plain(*args, with_low=False))


def delivery_not_booked(patch: Any, world: Any) -> None:
    plain = ledger.delivered
    patch.setattr(ledger, "delivered", lambda **fields: plain(**fields | {"credit_minor": 0}))


def refund_without_a_key(patch: Any, world: Any) -> None:
    plain = refunds.ask

    def ask(row: Any, **more: Any) -> Any:
        return plain(row._replace(reference=new_reference()), **more)

    patch.setattr(refunds, "ask", ask)


CONTROLS = [
    (unstable_reference, lost_before),
    (no_fence, zombie),
    (timeout_is_a_decline, lost_after),
    (no_unique_occurrence, same_occurrence_again),
    (unfrozen_amount, amount_is_edited),
    (no_lease, worker_dies),
    (lease_by_a_clock_that_is_wrong, worker_dies),
    (not_found_believed_at_once, lost_before),
    (latch_never_disarmed, disarms),
    (delivery_not_booked, good_day),
    (refund_without_a_key, refund_is_sent_again),
]


class TestTheSuite:
    @pytest.mark.parametrize("scenario", sorted({s for _, s in CONTROLS}, key=lambda s: s.__name__))
    def test_is_green_without_a_bug(self, world, scenario):
        scenario(world)
        assert Recharge.objects.exists()

    @pytest.mark.parametrize(("bug", "scenario"), CONTROLS)
    def test_goes_red_with_a_bug(self, world, monkeypatch, bug, scenario):
        bug(monkeypatch, world)
        with pytest.raises(RED):
            scenario(world)

"""A state machine over the whole money core: anything may happen in any order.

Readings, lost answers, declines, dead workers, late and repeated notifications, people who stop
rules and ask for refunds, carriers that refuse and reverse. After every step the books balance;
when the trouble ends, everything is final or in a person's queue, and the three books agree.
"""

import os
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from billing.gateways.base import Closed, NotFound, Pending, Refused, Unknown
from billing.ledger import verification
from billing.ledger.verification import Effect
from billing.models import Binding, PaymentAttempt, Recharge, Refund, Rule
from billing.operators import operations
from billing.plans import contract
from billing.recharges import machine, waking
from billing.reference_data import load
from billing.refunds import approvals
from billing.rules import by_hand, readings
from billing.rules.balances import Reading
from billing.states import OPEN_STATES
from lines.carriers.base import Accepted, NotAllowed, Rejected
from lines.carriers.base import NotFound as NoOrder
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import PromotionFactory
from tests.fakes import LOST_AFTER, LOST_BEFORE
from tests.world import World

RAIL_TROUBLE = [
    LOST_AFTER,
    LOST_BEFORE,
    Unknown("down"),
    Refused("BUYER_BALANCE_NOT_ENOUGH"),
    Refused("AGREEMENT_NOT_EXIST"),
    Refused("NOBODY_LISTED_THIS"),
    Refused("INVALID_PARAMETER"),
    Pending("T"),
    Closed(),
    NotFound(),
]
CARRIER_TROUBLE = [
    LOST_AFTER,
    LOST_BEFORE,
    NoAnswer("down"),
    Rejected("BUSY"),
    NotAllowed("unauthorised"),
    Rejected("GONE", is_permanent=True),
    Accepted("C"),
    NoOrder(),
]


class Anything(RuleBasedStateMachine):
    """One line with every trigger, beside a second one that shares its payment method."""

    def __init__(self) -> None:
        super().__init__()
        self.block = transaction.atomic()
        self.block.__enter__()

    @initialize()
    def begin(self) -> None:
        load()
        self.world = World()
        owner = w.person()
        self.tool, self.second = w.binding(owner), w.binding(owner)
        self.people = [w.person("ops"), w.person("finance")]
        PromotionFactory.create(
            basis_points=700,
            ends_at=w.NOON + 900 * w.DAY,
            budget_minor=2_000,
        )
        self.rules = [
            w.rule(
                w.line(owner),
                binding=self.tool,
                fallback_binding=fallback,
                max_per_day_count=3,
                max_per_month_minor=60_000,
                wake_at=w.NOON,
            )
            for fallback in (None, self.second)
        ]

    # --- what the world does ------------------------------------------------------------------

    @rule(which=st.integers(0, 1), balance_minor=st.integers(-3000, 9000))
    def a_reading_arrives(self, which: int, balance_minor: int) -> None:
        line_id = self.rules[which].line_id
        at = self.world.at
        readings.push(reading=Reading(line_id, balance_minor, at), at=at)

    @rule(seconds=st.sampled_from([1, 15, 90, 200, 3600, 6 * 3600, 26 * 3600]))
    def time_passes(self, seconds: int) -> None:
        self.world.later(timedelta(seconds=seconds))

    @rule(trouble=st.sampled_from(RAIL_TROUBLE))
    def the_rail_will_fail(self, trouble: object) -> None:
        self.world.gateway.script.append(trouble)

    @rule(trouble=st.sampled_from(CARRIER_TROUBLE))
    def the_carrier_will_fail(self, trouble: object) -> None:
        self.world.carrier.script.append(trouble)

    @rule()
    def a_worker_works(self) -> None:
        self.world.run(batches=3)

    @rule(leg=st.sampled_from(["rail", "carrier"]), has_effect=st.booleans())
    def a_worker_dies_at_a_call(self, leg: str, has_effect: bool) -> None:
        side = self.world.gateway if leg == "rail" else self.world.carrier
        name = "charge" if leg == "rail" else "credit"
        plain = getattr(side, name)

        def die(*, request):
            if has_effect:
                plain(request=request)
            raise SystemExit

        setattr(side, name, die)
        try:
            self.world.run(batches=1)
        except SystemExit:
            self.world.lapse_leases()
        finally:
            setattr(side, name, plain)

    @rule(pick=st.integers(0, 50))
    def the_rail_notifies_again(self, pick: int) -> None:
        references = list(PaymentAttempt.objects.values_list("reference", flat=True))
        if references:
            waking.wake(reference=references[pick % len(references)], at=self.world.at)

    @rule(pick=st.integers(0, 50))
    def the_carrier_reverses(self, pick: int) -> None:
        done = list(Delivery.objects.filter(state="credited").exclude(carrier_ref=""))
        if done:
            one = done[pick % len(done)]
            left_minor = one.credited_minor - sum(
                self.world.carrier.reversals.get(reference, 0)
                for reference in Refund.objects.filter(
                    recharge__ref=one.order_ref, reversal_ref__isnull=False
                ).values_list("reversal_ref", flat=True)
            )
            if left_minor:
                self.world.carrier.reversals.setdefault(one.reference, left_minor)
            waking.wake_delivery(
                reference=one.reference, carrier_ref=one.carrier_ref, at=self.world.at
            )

    # --- what people do -----------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def the_owner_stops(self, which: int) -> None:
        chosen = Rule.objects.get(pk=self.rules[which].pk)
        if chosen.is_on:
            contract.stop(rule=chosen, because="canceled_by_owner", at=self.world.at)

    @rule(which=st.integers(0, 1))
    def the_owner_begins_again(self, which: int) -> None:
        Rule.objects.filter(pk=self.rules[which].pk).update(
            is_on=True, paused_at=None, pause_reason="", is_armed=True, wake_at=self.world.at
        )
        Binding.objects.update(paused_at=None, pause_reason="", failures_in_a_row=0)

    @rule(which=st.integers(0, 1), key=st.integers(0, 3))
    def the_owner_recharges_by_hand(self, which: int, key: int) -> None:
        refusals = (machine.OpenRecharge, by_hand.CapReached, by_hand.BindingNotUsable)
        with suppress(*refusals):
            by_hand.recharge(
                line=self.rules[which].line,
                binding=Binding.objects.get(pk=self.tool.pk),
                face_minor=3000,
                owner=self.rules[which].line.owner,
                idempotency_key=str(key),
                at=self.world.at,
            )

    @rule(pick=st.integers(0, 50))
    def somebody_cancels(self, pick: int) -> None:
        rows = list(Recharge.objects.filter(state__in=OPEN_STATES))
        if rows:
            with suppress(machine.TooLate):
                machine.cancel(
                    recharge=rows[pick % len(rows)],
                    actor=self.people[0],
                    because="canceled_by_operator",
                    at=self.world.at,
                )

    @rule(pick=st.integers(0, 50), share=st.integers(1, 4))
    def an_operator_asks_for_a_refund(self, pick: int, share: int) -> None:
        rows = list(Recharge.objects.filter(charged_at__isnull=False))
        if rows:
            row = rows[pick % len(rows)]
            with suppress(approvals.NotRefundable, approvals.TooMuch, approvals.WholeOnly):
                approvals.request(
                    recharge=row,
                    amount_minor=row.price_minor // share,
                    reason="asked",
                    requested_by=self.people[0],
                    at=self.world.at,
                )

    @rule(approves=st.booleans())
    def another_decides(self, approves: bool) -> None:
        for refund in Refund.objects.filter(state="requested"):
            if approves:
                approvals.approve(refund=refund, approved_by=self.people[1], at=self.world.at)
            else:
                approvals.reject(refund=refund, rejected_by=self.people[1], at=self.world.at)

    @rule(gives_up=st.booleans())
    def an_operator_looks_at_what_was_refused(self, gives_up: bool) -> None:
        for refund in Refund.objects.exclude(attention="").filter(settled_at=None):
            with suppress(approvals.NotRefusedByRail, approvals.CreditTakenBack):
                if gives_up:
                    approvals.give_up(refund=refund, given_up_by=self.people[1], at=self.world.at)
                else:
                    operations.query_refund(refund=refund, at=self.world.at)

    @rule()
    def an_operator_credits_again(self) -> None:
        for one in Recharge.objects.filter(state__in=operations.REDELIVERABLE_STATES):
            with suppress(machine.OpenRecharge, operations.PartlyRefunded, operations.LineGone):
                operations.redeliver(
                    recharge=one, actor=self.people[0], reason="owed", at=self.world.at
                )

    @rule()
    def the_rail_is_deferred_or_not(self) -> None:
        rail = w.rail()
        w.rail(deferred_since=None if rail.deferred_since else self.world.at)

    # --- what must always hold ----------------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "world"):
            w.assert_balanced()

    @invariant()
    def no_recharge_is_charged_or_credited_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        attempts = dict(PaymentAttempt.objects.values_list("reference", "recharge_id"))
        charged = [attempts[reference] for reference in self.world.gateway.charged]
        assert len(charged) == len(set(charged))
        assert all(len(times) == 1 for times in self.world.carrier.credits.values())
        orders = dict(Delivery.objects.values_list("reference", "order_ref"))
        live = [
            orders[reference]
            for reference in self.world.carrier.credits
            if reference not in self.world.carrier.reversals
        ]
        assert len(live) == len(set(live))

    def teardown(self) -> None:
        """The trouble ends: everything comes to an end, and three books agree."""
        try:
            if hasattr(self, "world"):
                self._settle()
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def _settle(self) -> None:
        self.world.gateway.script.clear()
        self.world.carrier.script.clear()
        w.rail(deferred_since=None)
        self.another_decides(approves=True)
        for _ in range(30):
            self.world.later(timedelta(hours=13))
            self.world.lapse_leases()
            Refund.objects.update(lease_until=None)
            self.world.run()
        w.assert_balanced()
        unsettled = Recharge.objects.filter(state__in=OPEN_STATES, attention="").exclude(
            state="review"
        )
        assert list(unsettled.values_list("state", "reason")) == []
        # A rail that contradicted itself in the script is a person's matter, and marked as one.
        if not Recharge.objects.exclude(attention="").exists():
            assert verification.compare(mine=verification.ours(), theirs=self._theirs()) == {}

    def _theirs(self) -> list[Effect]:
        gateway, carrier = self.world.gateway, self.world.carrier
        return [
            *(Effect("charge", ref, minor) for ref, minor in gateway.charged.items()),
            *(Effect("refund", ref, minor) for ref, minor in gateway.refunded.items()),
            *(Effect("credit", ref, times[0]) for ref, times in carrier.credits.items()),
            *(Effect("reversal", ref, minor) for ref, minor in carrier.reversals.items()),
        ]


@pytest.mark.django_db
def test_anything_in_any_order_leaves_the_books_balanced() -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=int(os.environ.get("KEEPLINE_EXAMPLES", "25")),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

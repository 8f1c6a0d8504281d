"""What operators may do, from where, and what must not happen when they may not."""

import pytest
from django.db import IntegrityError, connection, transaction

from billing.gateways.base import Refused, Succeeded, Unknown
from billing.models import Binding, Case, Rail, Recharge, Refund, Rule
from billing.operators import operations
from billing.recharges import cases, claims, machine
from billing.refunds import approvals
from billing.rules import by_hand
from billing.states import RechargeState as S
from lines.carriers.base import Rejected
from lines.models import Delivery, Line
from tests import world as w
from tests.factories.billing import CaseFactory, DeclineCodeFactory
from tests.race import behind
from tests.world import DAY, HOUR, World


@pytest.fixture
def operator(db):
    return w.person("oliver", is_staff=True)


@pytest.fixture
def colleague(db):
    return w.person("cora", is_staff=True)


def opened(world: World, **more) -> Recharge:
    """A recharge of 50.00 that its owner asked for, not yet worked on."""
    line = w.line()
    return by_hand.recharge(
        line=line,
        binding=more.pop("binding", None) or w.binding(line.owner),
        face_minor=5000,
        owner=line.owner,
        idempotency_key="k1",
        at=world.at,
    )


def after(world: World, *outcomes) -> Recharge:
    """The same, after the rail has answered its charge with `outcomes`."""
    recharge = opened(world)
    world.gateway.script = list(outcomes)
    world.run()
    recharge.refresh_from_db()
    return recharge


def held(world: World, *, attention: str = "crashed") -> Recharge:
    """Held for review before anything of it was sent."""
    recharge = opened(world)
    with transaction.atomic():
        move = machine.Move(recharge.pk, "due", "review", "crashed", None, attention=attention)
        machine.move_one(move, at=world.at)
    recharge.refresh_from_db()
    return recharge


def completed(world: World) -> Recharge:
    recharge = opened(world)
    world.run()
    recharge.refresh_from_db()
    assert recharge.state == S.COMPLETED
    return recharge


class TestSettlingElsewhere:
    def test_takes_it_off_the_list_and_moves_nothing(self, world, operator):
        recharge = completed(world)
        case = CaseFactory.create(recharge=recharge, code="credit_differs", since=world.at)
        recharge.refresh_from_db()
        booked = list(recharge.transfers.values_list("pk", flat=True))

        operations.settle_elsewhere(recharge=recharge, actor=operator, at=world.at)

        recharge.refresh_from_db()
        case.refresh_from_db()
        assert (recharge.attention, recharge.attention_since) == ("", None)
        assert (case.settled_at, case.settled_by) == (world.at, "settled_elsewhere")
        assert case.actor == operator
        assert recharge.state == S.COMPLETED
        assert list(recharge.transfers.values_list("pk", flat=True)) == booked

    def test_is_refused_the_second_time_and_leaves_what_came_meanwhile(self, world, operator):
        recharge = completed(world)
        CaseFactory.create(recharge=recharge, code="credit_differs", since=world.at)
        recharge.refresh_from_db()
        CaseFactory.create(recharge=recharge, code="disputed", since=world.at)

        operations.settle_elsewhere(recharge=recharge, actor=operator, at=world.at)
        assert Recharge.objects.get().attention == "disputed"

        with pytest.raises(operations.NothingToSettle):
            operations.settle_elsewhere(recharge=recharge, actor=operator, at=world.at)
        assert Recharge.objects.get().attention == "disputed"

    @pytest.mark.parametrize(
        "attention", ["disputed", "amount_differs", "crashed", "late_payment", ""]
    )
    def test_is_for_nothing_that_waits_here(self, world, operator, attention):
        recharge = completed(world)
        if attention:
            CaseFactory.create(recharge=recharge, code=attention)
        recharge.refresh_from_db()

        with pytest.raises(operations.NothingToSettle):
            operations.settle_elsewhere(recharge=recharge, actor=operator, at=world.at)
        assert Recharge.objects.get().attention == attention

    def test_is_not_for_one_that_is_still_under_way(self, world, operator):
        recharge = held(world)
        CaseFactory.create(recharge=recharge, code="credit_differs")

        with pytest.raises(operations.NothingToSettle):
            operations.settle_elsewhere(recharge=recharge, actor=operator, at=world.at)


class TestApprovingAHeldRecharge:
    def test_charges_it_once_and_records_who_let_it_go_and_why(self, world, operator):
        recharge = held(world)

        operations.approve_review(
            recharge=recharge, actor=operator, reason="checked with the owner", at=world.at
        )
        world.run()

        recharge.refresh_from_db()
        assert recharge.state == S.COMPLETED
        assert recharge.attention == ""
        assert list(world.gateway.charged.values()) == [5000]
        move = recharge.moves.get(because="approved")
        assert (move.source, move.target) == ("review", "due")
        assert (move.actor, move.note) == (operator, "checked with the owner")
        w.assert_balanced()

    def test_is_refused_the_second_time_and_charges_nothing_more(self, world, operator):
        recharge = held(world)
        operations.approve_review(recharge=recharge, actor=operator, reason="a", at=world.at)

        with pytest.raises(operations.NotHeld):
            operations.approve_review(recharge=recharge, actor=operator, reason="b", at=world.at)

        assert recharge.moves.filter(because="approved").count() == 1

    def test_is_refused_where_another_amount_was_taken(self, world, operator):
        recharge = after(world, Succeeded("P1", 4900, "CNY", world.at))
        assert (recharge.state, recharge.attention) == (S.REVIEW, "amount_differs")

        with pytest.raises(operations.AmountDiffers):
            operations.approve_review(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert (recharge.state, recharge.attention) == (S.REVIEW, "amount_differs")

    def test_is_refused_when_its_time_is_over_and_nothing_was_sent(self, world, operator):
        recharge = held(world)
        world.later(2 * HOUR)

        with pytest.raises(operations.WindowOver):
            operations.approve_review(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert recharge.state == S.REVIEW
        assert world.gateway.charged == {}

    def test_is_allowed_in_the_last_instant_of_its_time(self, world, operator):
        recharge = held(world)

        operations.approve_review(
            recharge=recharge, actor=operator, reason="a", at=recharge.expires_at
        )

        recharge.refresh_from_db()
        assert recharge.state == S.DUE

    def test_is_allowed_after_its_time_for_a_reference_that_was_sent(self, world, operator):
        recharge = held(world)
        Recharge.objects.update(attempt_count=1)

        operations.approve_review(recharge=recharge, actor=operator, reason="a", at=world.at + DAY)

        recharge.refresh_from_db()
        assert recharge.state == S.DUE


class TestRejectingAHeldRecharge:
    def test_ends_it_with_the_reason_and_charges_nothing(self, world, operator):
        recharge = held(world)

        operations.reject_review(
            recharge=recharge, actor=operator, reason="a duplicate", at=world.at
        )
        world.run()

        recharge.refresh_from_db()
        assert (recharge.state, recharge.reason) == (S.CANCELED, "canceled_by_operator")
        assert recharge.moves.get(target="canceled").note == "a duplicate"
        assert recharge.moves.get(target="canceled").actor == operator
        assert world.gateway.charged == {}

    def test_is_refused_while_a_reference_of_it_may_be_paid(self, world, operator):
        recharge = after(world, Succeeded("P1", 4900, "CNY", world.at))

        with pytest.raises(machine.TooLate):
            operations.reject_review(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert recharge.state == S.REVIEW

    def test_is_refused_for_one_that_is_not_held(self, world, operator):
        recharge = opened(world)

        with pytest.raises(operations.NotHeld):
            operations.reject_review(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert recharge.state == S.DUE


class TestCanceling:
    def test_keeps_the_operators_name_and_words(self, world, operator):
        recharge = opened(world)

        operations.cancel(recharge=recharge, actor=operator, reason="asked by phone", at=world.at)

        move = recharge.moves.get(target="canceled")
        assert (move.because, move.note) == ("canceled_by_operator", "asked by phone")
        assert move.actor == operator

    def test_is_refused_once_paid(self, world, operator):
        recharge = completed(world)

        with pytest.raises(machine.TooLate):
            operations.cancel(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert recharge.state == S.COMPLETED

    def test_is_refused_once_it_has_ended(self, world, operator):
        recharge = opened(world)
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        world.run()
        assert recharge.state == "due"  # as the page still shows it
        with pytest.raises(machine.TooLate):
            operations.cancel(recharge=recharge, actor=operator, reason="late", at=world.at)
        recharge.refresh_from_db()
        assert recharge.state == "failed"

    def test_twice_changes_nothing_the_second_time(self, world, operator):
        recharge = opened(world)
        for _ in range(2):
            operations.cancel(recharge=recharge, actor=operator, reason="asked", at=world.at)
        assert recharge.moves.filter(target="canceled").count() == 1


class TestAskingAgain:
    def test_asks_the_rail_at_once_and_does_not_charge_again(self, world):
        recharge = after(world, Unknown("timeout"))
        assert recharge.state == S.PAYMENT_UNKNOWN
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=recharge, code="payment_unknown")
        world.gateway.charged[recharge.attempts.get().reference] = 5000
        world.run()
        assert not world.gateway.calls["query"]

        operations.query_again(recharge=recharge, at=world.at)
        world.run()

        recharge.refresh_from_db()
        assert (recharge.state, recharge.attention) == (S.COMPLETED, "")
        assert len(world.gateway.calls["query"]) == 1
        assert len(world.gateway.calls["charge"]) == 1
        w.assert_balanced()

    def test_gives_quarantined_work_another_chance(self, world):
        recharge = after(world, Unknown("timeout"))
        Recharge.objects.filter(pk=recharge.pk).update(act_at=None, crash_count=4)
        CaseFactory.create(recharge=recharge, code="crashed")

        operations.query_again(recharge=recharge, at=world.at)

        recharge.refresh_from_db()
        assert (recharge.act_at, recharge.crash_count) == (world.at, 0)

    def test_is_refused_while_a_worker_is_at_it(self, world):
        recharge = after(world, Unknown("timeout"))
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE billing_recharge SET act_at = NULL, "
                "lease_until = clock_timestamp() + interval '1 minute'"
            )

        with pytest.raises(claims.BeingAsked):
            operations.query_again(recharge=recharge, at=world.at)

        recharge.refresh_from_db()
        assert recharge.act_at is None

    def test_is_refused_where_nothing_was_sent(self, world):
        recharge = held(world)

        with pytest.raises(operations.NothingToAsk):
            operations.query_again(recharge=recharge, at=world.at)

        recharge.refresh_from_db()
        assert recharge.act_at is None

    def test_of_a_refund_lets_the_rail_be_asked_once_more(self, world, operator, colleague):
        recharge = completed(world)
        refund = approvals.request(
            recharge=recharge,
            amount_minor=5000,
            reason="not wanted",
            requested_by=operator,
            at=world.at,
        )
        with pytest.raises(operations.NothingToAsk):
            operations.query_refund(refund=refund, at=world.at)
        refund = approvals.approve(refund=refund, approved_by=colleague, at=world.at)
        Refund.objects.update(act_at=None)
        CaseFactory.create(recharge=recharge, refund=refund, code="refund_unknown")

        operations.query_refund(refund=refund, at=world.at)
        world.run()

        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("succeeded", "")
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_is_refused_where_it_has_moved_on_since_it_was_shown(self, world):
        shown = after(world, Unknown("down"))
        Recharge.objects.update(state="review", act_at=None)

        with pytest.raises(claims.BeingAsked):
            operations.query_again(recharge=shown, at=world.at)

        assert Recharge.objects.get().act_at is None

    def test_is_allowed_once_the_lease_of_a_dead_worker_has_run_out(self, world):
        recharge = after(world, Unknown("down"))
        world.lapse_leases()

        operations.query_again(recharge=recharge, at=world.at)

        assert Recharge.objects.get().act_at == world.at


class TestARefundWithFourEyes:
    @pytest.fixture
    def refund(self, world, operator):
        return approvals.request(
            recharge=completed(world),
            amount_minor=5000,
            reason="not wanted",
            requested_by=operator,
            at=world.at,
        )

    def test_cannot_be_asked_about_before_a_second_person(self, world, refund):
        with pytest.raises(operations.NothingToAsk):
            operations.query_refund(refund=refund, at=world.at)

        refund.refresh_from_db()
        assert refund.act_at is None

    def test_the_database_refuses_the_same_person_too(self, refund, operator):
        with pytest.raises(IntegrityError, match="refund_two_people"), transaction.atomic():
            Refund.objects.filter(pk=refund.pk).update(approved_by=operator, state="intended")

        refund.refresh_from_db()
        assert refund.state == "requested"


class TestDeliveringAgain:
    @pytest.fixture
    def refused(self, world):
        recharge = opened(world)
        world.carrier.script = [Rejected("closed", is_permanent=True)]
        world.gateway.refund = lambda *, request: world.gateway._answer(
            "refund", request.refund_ref, Refused("MERCHANT_BALANCE")
        )
        for _ in range(6):
            world.run()
            world.later(HOUR)
        refund = Refund.objects.get()
        assert (refund.state, refund.attention) == ("intended", "refund_refused")
        recharge.refresh_from_db()
        assert recharge.state == S.REFUNDING
        return refund

    @pytest.fixture
    def undeliverable(self, world, refused, operator):
        approvals.give_up(refund=refused, given_up_by=operator, at=world.at)
        recharge = refused.recharge
        recharge.refresh_from_db()
        assert (recharge.state, recharge.refund_committed_minor) == (S.UNDELIVERABLE, 0)
        return recharge

    def test_begins_with_giving_up_a_refund_only_where_the_rail_has_refused_it(
        self, world, refused, operator
    ):
        cases.settle(Case.objects.all(), because="answered", at=world.at)
        CaseFactory.create(recharge=refused.recharge, refund=refused, code="refund_unknown")

        with pytest.raises(approvals.NotRefusedByRail):
            approvals.give_up(refund=refused, given_up_by=operator, at=world.at)

        refused.refresh_from_db()
        assert refused.state == "intended"

    def test_credits_the_line_by_a_new_order(self, world, undeliverable, operator):
        operations.redeliver(
            recharge=undeliverable, actor=operator, reason="line is open again", at=world.at
        )
        world.run()

        undeliverable.refresh_from_db()
        assert undeliverable.state == S.COMPLETED
        orders = Delivery.objects.filter(order_ref=undeliverable.ref).order_by("number")
        assert [order.state for order in orders] == ["rejected", "credited"]
        assert undeliverable.moves.get(because="carrier_retry").note == "line is open again"
        assert len(world.gateway.charged) == 1
        w.assert_balanced()

    def test_is_refused_when_someone_was_first(self, world, undeliverable, operator):
        operations.redeliver(recharge=undeliverable, actor=operator, reason="a", at=world.at)

        with pytest.raises(operations.NotUndelivered):
            operations.redeliver(recharge=undeliverable, actor=operator, reason="a", at=world.at)

        assert undeliverable.moves.filter(because="carrier_retry").count() == 1

    def test_is_refused_for_a_line_with_another_sim(self, world, undeliverable, operator):
        line = undeliverable.line
        line.sim_generation += 1
        line.save()

        with pytest.raises(operations.LineGone):
            operations.redeliver(recharge=undeliverable, actor=operator, reason="a", at=world.at)

        undeliverable.refresh_from_db()
        assert undeliverable.state == S.UNDELIVERABLE

    def test_is_refused_while_another_recharge_of_the_line_is_under_way(self, world, operator):
        recharge = completed(world)
        Recharge.objects.update(state="reversed")
        by_hand.recharge(
            line=recharge.line,
            binding=recharge.binding,
            face_minor=5000,
            owner=recharge.owner,
            idempotency_key="k2",
            at=world.at,
        )

        with pytest.raises(machine.OpenRecharge):
            operations.redeliver(recharge=recharge, actor=operator, reason="a", at=world.at)

        recharge.refresh_from_db()
        assert recharge.state == S.REVERSED


@pytest.mark.django_db(transaction=True)
class TestTwoOperators:
    def test_let_a_held_recharge_go_once_and_the_second_is_told(self, world):
        recharge, first, second = held(world), w.person("ann"), w.person("ben")

        def approve(actor) -> None:
            operations.approve_review(recharge=recharge, actor=actor, reason="a", at=world.at)

        with transaction.atomic():
            approve(first)
            late = behind(lambda: approve(second))

        with pytest.raises(operations.NotHeld):
            late.result(timeout=30)
        assert recharge.moves.get(because="approved").actor == first


class TestResumingARule:
    def paused(self, world, **more) -> Rule:
        given = {"paused_at": world.at, "pause_reason": "crashed", "crash_count": 4}
        return w.rule(**given | more)

    def test_lets_it_be_looked_at_at_once(self, world):
        rule = self.paused(world)

        operations.resume_rule(rule=rule, at=world.at)

        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason, rule.crash_count) == (None, "", 0)
        assert rule.wake_at == world.at

    def test_never_turns_one_on(self, world):
        rule = self.paused(world, is_on=False)

        with pytest.raises(operations.RuleNotPaused):
            operations.resume_rule(rule=rule, at=world.at)

        rule.refresh_from_db()
        assert rule.is_on is False
        assert rule.paused_at == world.at

    def test_is_refused_where_it_is_not_paused(self, world):
        with pytest.raises(operations.RuleNotPaused):
            operations.resume_rule(rule=w.rule(), at=world.at)

    def test_is_left_to_the_owner_after_a_change_of_sim(self, world):
        rule = self.paused(world, sim_generation=7)

        with pytest.raises(operations.NeedsOwner):
            operations.resume_rule(rule=rule, at=world.at)

        rule.refresh_from_db()
        assert rule.paused_at == world.at

    def test_is_left_to_the_owner_of_a_line_that_is_gone(self, world):
        rule = self.paused(world)
        Line.objects.update(status="ported_out")

        with pytest.raises(operations.NeedsOwner):
            operations.resume_rule(rule=rule, at=world.at)

        rule.refresh_from_db()
        assert rule.paused_at == world.at

    def test_is_refused_while_its_payment_method_is_paused(self, world):
        rule = self.paused(world)
        Binding.objects.update(paused_at=world.at)

        with pytest.raises(operations.MethodNotUsable):
            operations.resume_rule(rule=rule, at=world.at)

        rule.refresh_from_db()
        assert rule.paused_at == world.at


class TestTheIncidentSwitchOfARail:
    def test_makes_charges_wait_and_drains_them_afterwards(self, world):
        rail = w.rail()
        recharge = opened(world)
        operations.defer_rail(rail=rail, at=world.at)
        world.run()
        recharge.refresh_from_db()
        assert (recharge.state, recharge.reason) == (S.WAITING, "rail_deferred")
        assert world.gateway.charged == {}

        operations.resume_rail(rail=rail)
        world.later(2 * w.MINUTE)
        world.run()

        recharge.refresh_from_db()
        assert recharge.state == S.COMPLETED
        assert len(world.gateway.charged) == 1

    def test_keeps_its_first_instant_when_thrown_twice(self, world):
        rail = w.rail()
        operations.defer_rail(rail=rail, at=world.at)

        with pytest.raises(operations.AlreadyDeferred):
            operations.defer_rail(rail=rail, at=world.at + HOUR)

        assert Rail.objects.get(code="alipay").deferred_since == world.at

    def test_is_refused_where_nothing_is_held_back(self, world):
        with pytest.raises(operations.NotDeferred):
            operations.resume_rail(rail=w.rail())


class TestUnpausingABinding:
    def test_lets_it_be_charged_again(self, world, operator):
        binding = w.binding(paused=True)

        operations.unpause_binding(binding=binding, actor=operator, at=world.at)

        binding.refresh_from_db()
        assert (binding.paused_at, binding.failures_in_a_row) == (None, 0)

    def test_is_refused_where_it_is_not_paused(self, world, operator):
        with pytest.raises(operations.NotPaused):
            operations.unpause_binding(binding=w.binding(), actor=operator, at=world.at)


def test_a_hard_decline_held_for_nobody_is_not_askable(world):
    """A final recharge has nothing left to ask about."""
    DeclineCodeFactory.create(code="CLOSED", decline_class="hard")
    recharge = after(world, Refused("CLOSED"))
    assert recharge.state == S.FAILED

    with pytest.raises(operations.NothingToAsk):
        operations.query_again(recharge=recharge, at=world.at)

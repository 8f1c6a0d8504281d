"""Turns of a refund that nobody could end: each leads on now, by a clock, an answer or an act."""

from datetime import timedelta

import pytest

from billing.engine import executor, sweeps
from billing.gateways.base import NotFound, Pending, Refused, Succeeded, Unknown
from billing.models import Binding, Recharge, Refund, Transfer
from billing.operators import operations
from billing.recharges.machine import OpenRecharge
from billing.refunds import approvals
from billing.rules import by_hand
from lines.carriers.base import Rejected
from lines.models import Delivery, Line
from tests import world as w

pytestmark = pytest.mark.django_db


def only() -> Recharge:
    return Recharge.objects.get()


def ask(world, minor=5000, recharge=None):
    return approvals.request(
        recharge=recharge or only(),
        amount_minor=minor,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )


def can(acts):
    """The names of the acts that are not refused."""
    done = []
    for name, act in acts.items():
        try:
            act()
        except Exception:  # noqa: S112 - refused
            continue
        done.append(name)
    return done


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


@pytest.fixture
def paid(due):
    due.run()
    assert only().state == "completed"
    return due


def let_go(world, refund: Refund) -> Refund:
    return approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)


def always(world, call: str, outcome) -> None:
    """From now on the rail answers `call` about a refund so, and nothing moves."""
    gateway = world.gateway

    def answer(*, request=None, refund_ref="", charge_ref=""):
        ref = request.refund_ref if request else refund_ref
        gateway.calls[call].append(ref)
        return gateway._answer(call, ref, outcome)

    setattr(gateway, call, answer)


class TestARefund:
    def test_that_the_rail_accepts_and_later_fails_can_be_ended(self, paid):
        refund = let_go(paid, ask(paid))
        paid.gateway.script = [Pending()]
        always(paid, "query_refund", Refused("REFUND_FAIL"))
        for _ in range(13):
            paid.run()
            paid.later(timedelta(hours=2))
        refund.refresh_from_db()
        finance = w.person("finance")
        ways = {
            "give up": lambda: approvals.give_up(refund=refund, given_up_by=finance, at=paid.at),
            "credit again": lambda: operations.redeliver(
                recharge=only(), actor=finance, reason="x", at=paid.at
            ),
            "another refund": lambda: ask(paid),
        }
        assert can(ways) or refund.state in ("succeeded", "refused")
        w.assert_balanced()

    def test_that_is_accepted_and_fails_each_time_is_sent_six_times_and_given_up(self, paid):
        refund = let_go(paid, ask(paid))
        always(paid, "refund", Pending())
        always(paid, "query_refund", Refused("CHANGE"))
        for _ in range(30):
            paid.run()
            paid.later(timedelta(hours=2))
        refund.refresh_from_db()
        assert (refund.state, refund.attention) == ("intended", "refund_refused")
        assert (only().attention, len(paid.gateway.calls["refund"])) == ("refund_refused", 3)
        w.assert_balanced()

        approvals.give_up(refund=refund, given_up_by=w.person("finance"), at=paid.at)
        assert (only().state, only().refund_committed_minor) == ("reversed", 0)
        assert paid.gateway.refunded == {}
        w.assert_balanced()

    def test_that_is_accepted_and_never_heard_of_in_turns_ends_with_a_person(self, paid):
        refund = let_go(paid, ask(paid))
        always(paid, "refund", Pending())
        always(paid, "query_refund", NotFound())
        for _ in range(48):
            paid.run()
            paid.later(timedelta(hours=1))
        refund.refresh_from_db()
        assert (refund.attention, refund.act_at) == ("refund_unknown", None)
        assert len(paid.gateway.calls["refund"]) < 10
        w.assert_balanced()

    def test_of_a_part_while_the_carrier_takes_all_back_can_be_ended(self, paid):
        refund = ask(paid, 2000)
        paid.carrier.reversals[Delivery.objects.get().reference] = 5000
        let_go(paid, refund)
        paid.run()
        refund.refresh_from_db()
        finance = w.person("finance")
        ways = {
            "give up": lambda: approvals.give_up(refund=refund, given_up_by=finance, at=paid.at),
            "settled elsewhere": lambda: operations.settle_elsewhere(
                recharge=only(), actor=w.person("ops"), at=paid.at
            ),
            "credit again": lambda: operations.redeliver(
                recharge=only(), actor=finance, reason="x", at=paid.at
            ),
            "another refund": lambda: ask(paid, 3000),
        }
        assert can(ways) or refund.state in ("succeeded", "refused")
        w.assert_balanced()

    def test_of_a_part_gives_way_to_one_of_all_that_the_carrier_took_back(self, paid):
        refund = ask(paid, 2000)
        paid.carrier.reversals[Delivery.objects.get().reference] = 5000
        let_go(paid, refund)
        paid.run()
        refund.refresh_from_db()
        assert refund.state == "refused"
        assert (only().state, only().refund_committed_minor) == ("refunded", 5000)
        assert list(paid.gateway.refunded.values()) == [5000]
        assert paid.carrier.calls["reverse"] == []
        assert Delivery.objects.get().state == "reversed"
        w.assert_balanced()


class TestARefundOfAnUndeliverableOne:
    """While the line has another recharge under way: of those it can have one."""

    @pytest.fixture
    def refused(self, world):
        w.carrier(), w.rail()
        w.rule(w.line(balance_minor=980), wake_at=world.at, max_per_day_count=9,
               max_per_month_minor=100_000)  # fmt: skip
        world.carrier.script = [Rejected("unknownResource", "", True)]
        refused = [Refused("SELLER_BALANCE_NOT_ENOUGH")] * 6
        world.gateway.script = [Succeeded("T", 5000, "CNY"), *refused]
        world.run()
        for _ in range(7):
            world.later(timedelta(hours=1, minutes=1))
            world.run()
        return world

    def begin_another(self, world) -> None:
        line = Line.objects.get()
        by_hand.recharge(line=line, binding=Binding.objects.get(), face_minor=1000,
                         owner=line.owner, idempotency_key="k2", at=world.at)  # fmt: skip
        world.gateway.script = [Unknown("lost")]
        executor.run_batch(at=world.at, outside=world.outside)

    def give_up(self, world) -> Recharge:
        refund = Refund.objects.get()
        approvals.give_up(refund=refund, given_up_by=w.person("finance"), at=world.at)
        return Recharge.objects.get(pk=refund.recharge_id)

    def test_of_an_undeliverable_one_is_given_up_while_the_line_has_another_open(self, refused):
        self.begin_another(refused)
        self.give_up(refused)
        w.assert_balanced()

    def test_then_waits_for_the_other_to_end_and_is_credited_or_refunded_after_all(self, refused):
        self.begin_another(refused)
        first = self.give_up(refused)
        assert (first.state, first.attention) == ("reversed", "undeliverable")
        finance = w.person("finance")
        with pytest.raises(OpenRecharge):
            operations.redeliver(recharge=first, actor=finance, reason="x", at=refused.at)
        refused.later(timedelta(minutes=3))
        refused.run()
        operations.redeliver(recharge=first, actor=finance, reason="x", at=refused.at)
        refused.run()
        first.refresh_from_db()
        assert (first.state, first.attention) == ("completed", "")
        w.assert_balanced()

    def ask_anew(self, world) -> Refund:
        """Given up, asked for again by a person, and meanwhile the line has another one open."""
        first = self.give_up(world)
        refund = ask(world, recharge=first)
        self.begin_another(world)
        return refund

    def test_is_rejected_while_the_line_has_another_open(self, refused):
        refund = self.ask_anew(refused)
        approvals.reject(refund=refund, rejected_by=w.person("finance"), at=refused.at)
        refund.recharge.refresh_from_db()
        assert (refund.recharge.state, refund.recharge.attention) == ("reversed", "undeliverable")
        w.assert_balanced()

    def test_expires_and_so_do_the_others(self, refused):
        self.ask_anew(refused)
        other = w.rule(w.line(balance_minor=980), wake_at=refused.at)
        refused.run()
        second = ask(refused, recharge=Recharge.objects.get(rule=other))
        refused.later(timedelta(days=7))
        sweeps.slow(at=refused.at, outside=refused.outside)
        second.refresh_from_db()
        assert second.state == "refused"
        assert not Refund.objects.filter(state="requested").exists()
        w.assert_balanced()

    def test_that_cannot_be_ended_at_all_stops_no_other_expiry(self, refused, monkeypatch):
        poisoned = self.ask_anew(refused)
        other = w.rule(w.line(balance_minor=980), wake_at=refused.at)
        refused.run()
        second = ask(refused, recharge=Recharge.objects.get(rule=other))
        undo = approvals.undo

        def broken(refund, **more):
            if refund.pk == poisoned.pk:
                raise ValueError("broken")
            undo(refund, **more)

        monkeypatch.setattr(approvals, "undo", broken)
        at = refused.at + timedelta(days=7)
        assert approvals.expire(at=at, limit=9) == 1
        second.refresh_from_db()
        assert second.state == "refused"
        assert not Transfer.objects.filter(kind="refund").exists()
        w.assert_balanced()

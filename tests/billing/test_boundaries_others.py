"""What happens to one happens to no other: lines, rules, refunds and methods beside it."""

from datetime import datetime, timedelta

import pytest
from django.db import transaction

from billing.gateways.base import Unknown
from billing.models import Binding, Case, Recharge, Refund, Rule, Transfer
from billing.operators import attestations, misplaced, operations
from billing.operators.attestations import Found
from billing.operators.misplaced import Misplaced
from billing.recharges import cases, machine, waking
from billing.refunds import approvals, disputes
from billing.rules.forecast import LOOKS_BACK, Reading, forecast
from billing.states import Finding, RechargeState
from lines.models import Carrier, Delivery, Line
from tests import every
from tests import world as w
from tests.billing import statement_day as day_of
from tests.factories.billing import CaseFactory, RechargeFactory
from tests.race import behind


def only() -> Recharge:
    return Recharge.objects.get()


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def ask(at, *, amount_minor=5000) -> Refund:
    return approvals.request(
        recharge=only(),
        amount_minor=amount_minor,
        reason="asked",
        requested_by=w.person("support"),
        at=at,
    )


@pytest.mark.django_db
class TestARechargeThatIsPaidAndCredited:
    def test_touches_no_other_method_and_no_other_rule(self, low):
        other = w.rule(w.line(balance_minor=9000), is_armed=False, wake_at=low.at + w.DAY)
        Binding.objects.filter(pk=other.binding_id).update(failures_in_a_row=2)
        Line.objects.filter(pk=other.line_id).update(poll_at=low.at + w.DAY)
        before = Rule.objects.filter(pk=other.pk).values().get()

        low.run()

        assert only().state == "completed"
        assert Rule.objects.filter(pk=other.pk).values().get() == before
        assert Binding.objects.get(pk=other.binding_id).failures_in_a_row == 2
        assert Line.objects.get(pk=other.line_id).poll_at == low.at + w.DAY
        w.assert_balanced()

    def test_ends_the_bad_run_of_its_own_method(self, low):
        Binding.objects.update(failures_in_a_row=2)
        low.run()
        assert Binding.objects.get().failures_in_a_row == 0


@pytest.mark.django_db
class TestAPaymentWithoutAFee:
    def test_has_none_booked_beside_one_that_has(self):
        w.rail(), w.carrier()
        day_of.book(2)
        rows = [day_of.payment(1), day_of.payment(2, fee_minor=0)]
        day_of.Scene().compare(*rows)
        fees = Transfer.objects.filter(kind="fee").values_list("reference", "amount_minor")
        assert list(fees) == [(day_of.ref("P", 1), 30)]
        w.assert_balanced()


@pytest.mark.django_db
class TestARestThatGoesBack:
    def test_is_owed_and_balanced_while_the_rail_is_asked(self, low):
        """After a part was refunded, the carrier takes the rest back by itself."""
        low.run()
        approvals.approve(
            refund=ask(low.at, amount_minor=2000), approved_by=w.person("finance"), at=low.at
        )
        low.run()
        assert (only().state, only().refund_committed_minor) == ("completed", 2000)
        reference = Delivery.objects.get().reference
        low.carrier.reversals[reference] = 3000
        low.gateway.script = [Unknown("lost")]
        waking.wake_delivery(reference=reference, carrier_ref="", at=low.at)

        low.run()

        states = Refund.objects.order_by("pk").values_list("state", "reversal_minor")
        assert (only().state, list(states)) == (
            "refunding",
            [("succeeded", 2000), ("unknown", 0)],
        )
        w.assert_balanced()


@pytest.mark.django_db
class TestADisputeThatIsOver:
    def test_sets_going_what_stood_still_for_it_and_nothing_else(self, low):
        low.run()
        approvals.approve(refund=ask(low.at), approved_by=w.person("finance"), at=low.at)
        held = Recharge.objects.all()
        for code, act_at in (("refund_refused", None), (machine.DISPUTED, low.at)):
            Refund.objects.update(act_at=None)
            CaseFactory.create(recharge=only(), refund=Refund.objects.get(), code=code)
            disputes._let_go(held, is_lost=False, at=low.at)
            assert Refund.objects.get().act_at == act_at
        assert Refund.objects.get().attention == "refund_refused"
        assert list(Case.objects.filter(settled_at=None).values_list("code", flat=True)) == [
            "refund_refused"
        ]


@pytest.mark.django_db
class TestCanceling:
    def test_is_for_what_is_not_at_a_rail(self, world):
        rule = w.rule(w.line())

        def check(begun: str, state: str, said: str) -> None:
            with transaction.atomic():
                recharge = RechargeFactory.create(rule=rule, state=begun)
                Recharge.objects.filter(pk=recharge.pk).update(state=state)
                assert self.cancel(recharge, world.at) == said
                transaction.set_rollback(True)

        cases = [
            *((RechargeState.DUE, state, "canceled") for state in ("waiting", "review", "due")),
            (RechargeState.DECLINED, "declined", "canceled"),
            (RechargeState.DUE, "charging", "TooLate"),
            (RechargeState.PAYMENT_UNKNOWN, "payment_unknown", "TooLate"),
            (RechargeState.FAILED, "failed", "TooLate"),
        ]
        assert every.failing(check, cases) == {}

    def cancel(self, recharge: Recharge, at: datetime) -> str:
        try:
            machine.cancel(recharge=recharge, actor=None, because="owner", at=at)
        except machine.TooLate as refusal:
            return type(refusal).__name__
        return recharge.state


@pytest.mark.django_db
class TestAsking:
    def test_is_for_what_was_sent_and_may_have_changed(self, low):
        low.run()
        assert operations.is_askable(only()) is True
        operations.query_again(recharge=only(), at=low.at)
        assert only().act_at == low.at

        seen = [one for one in RechargeState if operations.is_askable(Recharge(state=one, pk=0))]
        assert [state.value for state in seen] == [
            *("charging", "payment_pending", "payment_unknown", "action_required"),
            *("delivering", "delivery_pending", "delivery_unknown", "completed"),
        ]


@pytest.mark.django_db
class TestMending:
    @pytest.mark.parametrize("kind", ["carrier", "person"])
    def test_changes_a_row_only_while_it_holds_what_was_found(self, kind):
        carrier, person = w.carrier(), w.person()
        row, name = {
            "carrier": (carrier, carrier.code),
            "person": (person, person.public_id),
        }[kind]
        was = row.timezone
        found = Misplaced(kind, name, "Mars/Base", "Europe/Berlin")
        assert misplaced.mend(found, at=w.NOON) is False
        row.refresh_from_db()
        assert row.timezone == was

        type(row).objects.update(timezone="Mars/Base")
        assert misplaced.mend(found, at=w.NOON) is True
        row.refresh_from_db()
        assert row.timezone == "Europe/Berlin"
        assert Carrier.objects.exclude(pk=carrier.pk).count() == 0


class TestAForecast:
    def test_counts_what_was_read_four_weeks_ago_to_the_second(self):
        read = [Reading(w.NOON - LOOKS_BACK, 1400), Reading(w.NOON, 1000)]
        assert forecast(read, at=w.NOON).readings_used == 2
        later = w.NOON + timedelta(seconds=1)
        assert forecast(read, at=later).readings_used == 1


@pytest.mark.django_db(transaction=True)
class TestWhoComesSecond:
    def test_to_ask_for_money_back_finds_none_left(self, low):
        low.run()
        support = w.person("support")
        with transaction.atomic():
            Recharge.objects.select_for_update(no_key=True).get()
            asked = behind(lambda: self.refusal(support, low.at))
            assert not asked.done()
            Recharge.objects.update(refund_committed_minor=5000)
        assert asked.result(timeout=30) == "TooMuch"
        assert not Refund.objects.exists()
        Recharge.objects.update(refund_committed_minor=0)

    def refusal(self, support, at) -> str:
        try:
            approvals.request(
                recharge=only(), amount_minor=5000, reason="asked", requested_by=support, at=at
            )
        except Exception as error:
            return type(error).__name__
        return ""

    def test_to_confirm_what_a_rail_did_finds_that_it_has_an_end(self, low):
        low.gateway.script = [Unknown("timeout")]
        low.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=low.at)
        said = attestations.request(
            recharge=only(),
            found=Found(Finding.AS_AGREED, "RAIL-1"),
            reason="on its own pages",
            requested_by=w.person("oliver"),
            at=low.at,
        )
        cora = w.person("cora")
        with transaction.atomic():
            Recharge.objects.select_for_update(no_key=True).get()
            confirmed = behind(lambda: self.confirmed(said, cora, low.at))
            assert not confirmed.done()
            cases.settle(Case.objects.all(), because="answered", at=low.at)
        assert confirmed.result(timeout=30) == "NotSettleable"
        assert not Transfer.objects.exists()

    def confirmed(self, said, cora, at) -> str:
        try:
            attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=at)
        except Exception as error:
            return type(error).__name__
        return ""

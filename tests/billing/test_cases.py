"""What waits for a person: rows of their own, opened by causes and closed by what settles them."""

from dataclasses import replace
from importlib import import_module

import pytest
from django.db import DatabaseError, connection, transaction

from billing import casebook, gateways, rowsets
from billing.admin import recharge_acts, refunds
from billing.casebook import Heard
from billing.engine import incoming
from billing.gateways.base import (
    DisputeStanding,
    Notification,
    NotificationKind,
    Refused,
    Succeeded,
    Unknown,
)
from billing.models import Case, PaymentAttempt, Recharge, Refund
from billing.operators import found_payments, operations
from billing.recharges import cases, claims, machine, waking
from billing.recharges.cases import Step
from billing.refunds import approvals
from lines.carriers.base import CreditAnswer, Rejected
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Delivery
from tests import race
from tests import world as w
from tests.factories.billing import CaseFactory, RefundFactory

pytestmark = pytest.mark.django_db
OPEN, WON, _DROPPED, _LOST = DisputeStanding


def only() -> Recharge:
    return Recharge.objects.get()


def open_codes() -> list[str]:
    """What waits, the oldest first."""
    found = Case.objects.filter(settled_at=None).order_by("since", "pk")
    return list(found.values_list("code", flat=True))


def settled() -> list[tuple[str, str]]:
    over = Case.objects.exclude(settled_at=None).order_by("settled_at", "pk")
    return list(over.values_list("code", "settled_by"))


def hears(world, standing: DisputeStanding, number: str = "1") -> None:
    note = Notification(
        NotificationKind.DISPUTE,
        f"evt_{number}",
        our_ref=PaymentAttempt.objects.get().reference,
        claims=standing,
    )
    incoming.accept(source="rail:alipay", note=note, at=world.at)
    incoming.process(at=world.at, limit=10)


def have_asked(world) -> None:
    """Somebody speaks of it, so that the carrier is asked about it once more."""
    waking.wake_delivery(reference=Delivery.objects.get().reference, carrier_ref="", at=world.at)
    world.run()


@pytest.fixture
def due(world):
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    with gateways.override("alipay", world.gateway):
        yield world


@pytest.fixture
def paid(due):
    due.run()
    assert only().state == "completed"
    return due


class TestACase:
    def test_is_kept_with_what_it_says_since_when_and_what_settled_it(self, paid):
        hears(paid, OPEN)
        case = Case.objects.get()
        assert (case.code, case.says, case.since) == ("disputed", OPEN, paid.at)
        assert (case.recharge, case.refund, case.settled_at, case.settled_by) == (
            only(),
            None,
            None,
            "",
        )
        opened_at = paid.at
        paid.later(w.HOUR)
        hears(paid, WON, "2")
        case.refresh_from_db()
        assert (case.since, case.settled_at) == (opened_at, paid.at)
        assert (case.settled_by, case.actor) == ("dispute_over", None)
        assert (only().attention, only().attention_since) == ("", None)
        w.assert_balanced()

    def test_costs_no_statement_where_there_is_none(self, due, monkeypatch):
        asked = []
        execute = rowsets._executed

        def counted(sql, params, *, made):
            asked.append(str(sql))
            return execute(sql, params, made=made)

        monkeypatch.setattr(rowsets, "_executed", counted)
        due.run()
        assert only().state == "completed"
        touching = [one for one in asked if "billing_case" in one and "l.msisdn" not in one]
        assert (len(asked) > 20, touching) == (True, [])

    def test_is_opened_again_after_it_was_settled_and_both_are_kept(self, paid):
        step = Step(only().pk, "completed", "dispute", Heard.NOTHING, opens="disputed")
        for _ in range(2):
            cases.follow([step], at=paid.at)
            cases.settle(Case.objects.all(), because="dispute_over", at=paid.at)
        assert settled() == [("disputed", "dispute_over")] * 2
        assert (open_codes(), only().attention) == ([], "")

    def test_that_is_opened_again_while_it_is_open_keeps_its_age(self, due):
        due.gateway.script = [Unknown("timeout")]
        due.run()
        since = due.at
        for _ in range(2):
            step = Step(only().pk, "payment_unknown", "no_answer", opens="payment_unknown")
            with transaction.atomic():
                cases.follow([step], at=due.at)
            due.later(w.HOUR)
        assert [(one.code, one.since) for one in Case.objects.all()] == [("payment_unknown", since)]

    def test_that_code_does_not_know_is_a_bug_and_nothing_is_written(self, paid):
        for code in ("nonsense", "line_suspended"):  # the second: not of one that is completed
            with pytest.raises(cases.WrongCase), transaction.atomic():
                cases.follow([Step(only().pk, "completed", "x", opens=code)], at=paid.at)
        assert not Case.objects.exists()


class TestASecondCause:
    def test_never_overwrites_the_first(self, paid):
        hears(paid, OPEN)
        paid.later(w.MINUTE)
        Recharge.objects.update(act_at=paid.at, crash_count=claims.MAX_CRASHES)
        paid.run()
        assert open_codes() == ["disputed", "crashed"]
        assert (only().attention, only().attention_since) == ("disputed", paid.at - w.MINUTE)

        operations.query_again(recharge=only(), at=paid.at)
        paid.run()
        assert (open_codes(), settled()) == (["disputed"], [("crashed", "answered")])
        hears(paid, WON, "2")
        assert open_codes() == []
        w.assert_balanced()

    def test_is_there_when_the_first_is_settled(self, paid):
        CaseFactory.create(recharge=only(), code="credit_differs", since=paid.at - w.HOUR)
        hears(paid, OPEN)
        assert only().attention == "credit_differs"
        operations.settle_elsewhere(recharge=only(), actor=w.person("ops"), at=paid.at)
        assert (only().attention, only().attention_since) == ("disputed", paid.at)

    def test_of_a_refund_leaves_that_of_its_recharge_alone(self, paid):
        refund = RefundFactory.create(
            attempt=PaymentAttempt.objects.get(), state="intended", act_at=None
        )
        CaseFactory.create(recharge=only(), code="disputed", since=paid.at)
        later = paid.at + w.HOUR
        CaseFactory.create(recharge=only(), refund=refund, code="refund_refused", since=later)
        refund.refresh_from_db()
        assert (refund.attention, only().attention) == ("refund_refused", "disputed")
        own, its = cases.codes(only()), cases.refund_codes(refund)
        assert (own, its) == ({"disputed"}, {"refund_refused"})

        cases.settle(Case.objects.filter(code="disputed"), because="dispute_over", at=later)
        assert (only().attention, cases.codes(only())) == ("refund_refused", frozenset())

    def test_is_not_lost_where_two_come_and_go_at_one_moment(self, paid):
        """Held by the lock in the trigger: each sees what the other has written."""
        step = Step(only().pk, "completed", "x", Heard.NOTHING, opens="disputed")
        cases.follow([step], at=paid.at)
        cases.follow([replace(step, opens="late_payment")], at=paid.at + w.MINUTE)
        cases.settle(Case.objects.filter(code="disputed"), because="dispute_over", at=paid.at)
        assert (only().attention, only().attention_since) == ("late_payment", paid.at + w.MINUTE)


@pytest.mark.django_db(transaction=True)
def test_what_two_write_at_once_is_shown_as_it_is_in_the_end(world):
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    step = Step(only().pk, "completed", "x", Heard.NOTHING, opens="disputed")
    with transaction.atomic():
        cases.follow([step], at=world.at)
    with transaction.atomic():
        cases.settle(Case.objects.filter(code="disputed"), because="dispute_over", at=world.at)
        opening = race.behind(
            lambda: cases.follow([replace(step, opens="late_payment")], at=world.at + w.MINUTE)
        )
    opening.result(timeout=10)
    assert (only().attention, open_codes()) == ("late_payment", ["late_payment"])


class TestAMove:
    def test_that_asks_nobody_settles_nothing(self, due):
        """What our own set-up kept from being sent is a person's, however long the rail rests."""
        w.rail(deferred_since=due.at)
        due.run()
        CaseFactory.create(recharge=only(), code="config", since=due.at)
        due.later(w.MINUTE)
        due.run()
        assert (only().state, only().attention) == ("waiting", "config")
        w.rail(deferred_since=None)
        due.gateway.script = [Succeeded("RAIL-1", 5000, "CNY")]
        due.later(w.MINUTE)
        due.run()
        assert (only().state, only().attention) == ("completed", "")
        assert settled() == [("config", "paid")]
        w.assert_balanced()

    def test_out_of_where_its_cause_can_be_settles_a_case(self, due):
        due.gateway.script = [Unknown("timeout")]
        due.run()
        CaseFactory.create(recharge=only(), code="payment_unknown", since=due.at)
        due.gateway.charged[PaymentAttempt.objects.get().reference] = 5000
        due.later(w.HOUR)
        due.run()
        assert (only().state, settled()) == ("completed", [("payment_unknown", "paid")])
        w.assert_balanced()

    def test_by_a_person_is_kept_with_who_it_was(self, due):
        due.carrier.script = [Rejected("closed", is_permanent=True)]
        due.gateway.refund = lambda *, request: due.gateway._answer(
            "refund", request.refund_ref, Refused("MERCHANT_BALANCE")
        )
        for _ in range(6):
            due.run()
            due.later(w.HOUR)
        refund, finance, ops = Refund.objects.get(), w.person("finance"), w.person("ops")
        approvals.give_up(refund=refund, given_up_by=finance, at=due.at)
        operations.redeliver(recharge=only(), actor=ops, reason="it is back", at=due.at)
        over = Case.objects.order_by("pk").values_list("code", "refund", "settled_by", "actor")
        assert list(over) == [
            ("refund_refused", refund.pk, "refund_refused", finance.pk),
            ("undeliverable", None, "carrier_retry", ops.pk),
        ]
        due.run()
        assert (only().state, only().attention) == ("completed", "")
        w.assert_balanced()


class TestWhatIsAskedAtRest:
    def test_is_over_when_the_carrier_answers(self, paid):
        CaseFactory.create(recharge=only(), code="delivery_unknown", since=paid.at)
        have_asked(paid)
        assert (only().state, only().attention) == ("completed", "")
        assert settled() == [("delivery_unknown", "answered")]

    def test_is_not_over_where_nobody_answers(self, paid, monkeypatch):
        CaseFactory.create(recharge=only(), code="delivery_unknown", since=paid.at)
        silent = CreditAnswer(NoAnswer("timeout"))
        monkeypatch.setattr(paid.carrier, "query", lambda **_: silent)
        have_asked(paid)
        assert (open_codes(), settled()) == (["delivery_unknown"], [])

    def test_is_late_money_until_two_people_have_said_what_became_of_it(self, due):
        """Whatever the rail says next: it has taken it once, and contradicts itself now."""
        due.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        due.run()
        assert only().state == "failed"
        reference = PaymentAttempt.objects.get().reference
        due.gateway.charged[reference] = 5000
        waking.wake(reference=reference, at=due.at)
        due.run()
        assert open_codes() == ["late_payment"]

        del due.gateway.charged[reference]
        due.later(w.HOUR)
        waking.wake(reference=reference, at=due.at)
        due.run()
        assert (only().state, only().attention) == ("failed", "late_payment")
        assert PaymentAttempt.objects.get().doubted_at is not None
        assert found_payments.is_late(only())


class TestTheDatabase:
    """What the code may not do, nobody may."""

    @pytest.fixture
    def case(self, paid):
        return CaseFactory.create(recharge=only(), code="disputed", since=paid.at)

    def refuses(self, sql: str, *params: object) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with pytest.raises(DatabaseError) as refusal, transaction.atomic():
                cursor.execute(sql, params)
        return str(refusal.value).splitlines()[0]

    def test_closes_no_case_without_what_settled_it(self, case):
        said = self.refuses("UPDATE billing_case SET settled_at = now()")
        assert "case_settled_by_something" in said
        assert Case.objects.get().settled_at is None

    def test_opens_none_with_what_will_settle_it(self, case):
        said = self.refuses(
            "INSERT INTO billing_case (recharge_id, code, says, since, settled_by)"
            " SELECT recharge_id, 'crashed', '', now(), 'answered' FROM billing_case"
        )
        assert "case_settled_by_something" in said

    def test_has_one_open_of_a_kind_and_as_many_closed_as_there_were(self, case):
        again = (
            "INSERT INTO billing_case (recharge_id, code, says, since, settled_by)"
            " SELECT recharge_id, code, '', now(), '' FROM billing_case"
        )
        assert "case_one_open" in self.refuses(again)
        cases.settle(Case.objects.all(), because="dispute_over", at=case.since)
        with connection.cursor() as cursor:
            cursor.execute(again)
        assert Case.objects.count() == 2

    def test_neither_reopens_nor_rewrites_nor_loses_one(self, case):
        rewritten = [
            "UPDATE billing_case SET code = 'crashed', settled_at = now(), settled_by = 'x'",
            "UPDATE billing_case SET since = now()",
            "UPDATE billing_case SET says = 'x'",
            "DELETE FROM billing_case",
            "TRUNCATE billing_case",
        ]
        assert {self.refuses(one) for one in rewritten} == {
            "a case is settled once, and otherwise kept as it was opened"
        }
        cases.settle(Case.objects.all(), because="dispute_over", at=case.since)
        for one in ("settled_at = NULL, settled_by = ''", "settled_by = 'another'"):
            assert "settled once" in self.refuses(f"UPDATE billing_case SET {one}")

    def test_shows_what_is_open_and_nothing_else(self, case):
        for table in ("recharge", "refund"):
            if table == "refund":
                RefundFactory.create(attempt=PaymentAttempt.objects.get())
            said = self.refuses(f"UPDATE billing_{table} SET attention = 'crashed'")
            assert said == "attention shows the oldest open case: open or settle one"
        assert only().attention == "disputed"


class TestTheCasebook:
    def test_names_acts_that_there_are(self):
        acts = {act.verb for act in (*recharge_acts.ACTS, *refunds.RefundAdmin.acts)}
        named = {
            verb
            for kinds in (casebook.RECHARGE, casebook.REFUND)
            for kind in kinds.values()
            for verb in kind.acts
        }
        assert named - acts == set()

    def test_closes_what_is_held_by_leaving_it_alone(self):
        over = casebook.over(casebook.RECHARGE, state="review", heard=Heard.ANSWER)
        assert {"crashed", "config", "amount_differs", "merchant_limit"} & set(over) == set()
        over = casebook.over(casebook.RECHARGE, state="due", heard=Heard.ANSWER)
        assert {"crashed", "config"} <= set(over)

    def test_lets_no_step_of_a_worker_end_a_dispute_or_late_money(self):
        ended = {
            (state, code)
            for state in machine.RechargeState
            for heard in Heard
            for code in casebook.over(casebook.RECHARGE, state=state, heard=heard)
            if code in ("disputed", "late_payment")
        }
        assert ended == set()


class TestTheMigration:
    def test_copies_what_waits_with_its_age_and_whose_it_is(self, paid):
        refund = RefundFactory.create(
            attempt=PaymentAttempt.objects.get(), state="intended", created_at=paid.at
        )
        since = paid.at - w.DAY
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                "UPDATE billing_recharge SET state = 'refunding', attention = 'refund_refused',"
                " attention_since = %s",
                [since],
            )
            cursor.execute("UPDATE billing_refund SET attention = 'refund_refused', code = 'LOW'")
            cursor.execute(import_module("billing.migrations.0023_cases").COPIED)
            cursor.execute("SET session_replication_role = origin")
        [case] = Case.objects.all()
        assert (case.recharge, case.refund, case.code) == (only(), refund, "refund_refused")
        assert (case.says, case.since, case.settled_at) == ("LOW", since, None)
        assert (only().attention, only().attention_since) == ("refund_refused", since)

    def test_keeps_a_dispute_of_a_refund_that_stands_still_as_the_payments_too(self, paid):
        RefundFactory.create(attempt=PaymentAttempt.objects.get(), created_at=paid.at)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                "UPDATE billing_recharge SET state = 'refunding', attention = 'disputed',"
                " attention_since = NULL"
            )
            cursor.execute("UPDATE billing_refund SET attention = 'disputed'")
            cursor.execute(import_module("billing.migrations.0023_cases").COPIED)
            cursor.execute("SET session_replication_role = origin")
        found = Case.objects.order_by("refund").values_list("refund", "code")
        assert list(found) == [(Refund.objects.get().pk, "disputed"), (None, "disputed")]
        assert only().attention == "disputed"

"""What `verify` proves: each violation, made by raw SQL past every guard, is named by its check."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.ledger import verification
from billing.models import Recharge
from billing.refunds import approvals
from tests import world as w
from tests.factories.billing import PromotionFactory

pytestmark = pytest.mark.django_db

# Columns that a copy of a row must have of its own, by table.
_OWN = {
    "billing_recharge": "'ref', 'COPY'",
    "billing_transfer": "'reference', 'COPY'",
    "billing_paymentattempt": "'reference', 'COPY', 'number', 9",
    "lines_delivery": "'reference', 'COPY', 'number', 9",
}


def past_the_guards(*statements: str) -> None:
    """As a superuser with a grudge: no triggers, no constraints on the tables that are changed."""
    tables = sorted({word for one in statements for word in re.findall(r"\b\w+_\w+\b", one)})
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        for drop_it in [*_constraints(cursor, tables), *_unique_indexes(cursor, tables)]:
            cursor.execute(drop_it)
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET session_replication_role = origin")


def _constraints(cursor, tables):
    cursor.execute(
        "SELECT format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I CASCADE', "
        "conrelid::regclass, conname) FROM pg_constraint "
        "WHERE contype IN ('c', 'u') AND conrelid::regclass::text = ANY(%s)",
        [tables],
    )
    return [drop_it for (drop_it,) in cursor.fetchall()]


def _unique_indexes(cursor, tables):
    cursor.execute(
        "SELECT format('DROP INDEX IF EXISTS %%I CASCADE', c.relname) FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique AND NOT i.indisprimary "
        "AND i.indrelid::regclass::text = ANY(%s)",
        [tables],
    )
    return [drop_it for (drop_it,) in cursor.fetchall()]


def copy(table: str, *, where: str = "true", changes: str = "") -> str:
    """A second row like the first `where` says."""
    own = ", ".join(part for part in ("'id', 999999", _OWN.get(table, ""), changes) if part)
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(r, jsonb_build_object({own}))).* "
        f"FROM {table} r WHERE {where} LIMIT 1"
    )


def put(table: str, changes: str, where: str = "true") -> str:
    return f"UPDATE {table} SET {changes} WHERE {where}"


def drop(table: str, where: str = "true") -> str:
    return f"DELETE FROM {table} WHERE {where}"


@pytest.fixture
def books(world):
    """One of each: completed with a promotion, refunded in part by two people, and waiting."""
    PromotionFactory.create(basis_points=1000, budget_minor=100_000)
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    refund = approvals.request(
        recharge=Recharge.objects.get(),
        amount_minor=1500,
        reason="asked",
        requested_by=w.person("support"),
        at=world.at,
    )
    approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)
    world.run()
    w.assert_balanced()
    return Recharge.objects.get(state="completed")


def settled(*, decided_by: str) -> str:
    """A payment that was taken and given back by two people's word, or by one's, unbooked."""
    return (
        "INSERT INTO billing_settlement (reference, recharge_id, attempt_id, finding, payment_ref,"
        " taken_minor, taken_currency, returned_ref, reason, fingerprint, state, requested_by_id,"
        f" decided_by_id, created_at) SELECT 'S1', recharge_id, id, 'given_back', 'R1', 100, 'CNY',"
        f" 'B1', '', '', 'approved', 1, {decided_by}, created_at FROM billing_paymentattempt"
    )


def waiting(code: str) -> str:
    """A person is called for what has been over for long."""
    return (
        "INSERT INTO billing_case (recharge_id, code, says, since, settled_by)"
        f" SELECT id, '{code}', '', created_at, '' FROM billing_recharge"
    )


CHARGE = "kind = 'charge'"
BROKEN = {
    "undelivered_equals_paid_and_not_credited": [drop("billing_transfer", "kind = 'deliver'")],
    "charged_has_its_transfer": [put("billing_recharge", "charged_at = NULL")],
    "transfers_are_the_frozen_amounts": [
        put("billing_transfer", "amount_minor = amount_minor + 1", CHARGE)
    ],
    "transfers_are_between_their_accounts": [
        put("billing_transfer", "source = 'rail:wechat'", CHARGE)
    ],
    "what_is_sent_is_what_was_frozen": [
        put("billing_paymentattempt", "amount_minor = amount_minor - 1")
    ],
    "one_live_reference_per_recharge": [
        copy("billing_paymentattempt", changes="'state', 'unknown'")
    ],
    "one_successful_payment_per_recharge": [put("billing_paymentattempt", "state = 'unknown'")],
    "charges_keep_to_what_was_announced": [
        put(
            "billing_recharge",
            "notice_sent_at = created_at, earliest_charge_at = created_at + interval '1 day', "
            "latest_charge_at = created_at + interval '2 days', announced_minor = 9900",
        )
    ],
    "one_effective_delivery_per_recharge": [copy("lines_delivery")],
    "no_credit_without_a_charge": [put("lines_delivery", "order_ref = 'NOBODYS'")],
    "completed_is_delivered_in_the_ledger": [drop("billing_transfer", "kind = 'deliver'")],
    "unpaid_ends_have_no_transfers": [put("billing_recharge", "state = 'canceled'")],
    "refunds_within_the_charge": [put("billing_recharge", "refund_committed_minor = 1499")],
    "refunded_in_the_ledger": [
        put("billing_transfer", "amount_minor = amount_minor + 1", "kind = 'refund'")
    ],
    "refunds_have_two_people": [put("billing_refund", "approved_by_id = requested_by_id")],
    "settled_in_the_ledger": [put("billing_transfer", "destination = 'suspense'", CHARGE)],
    "settlements_have_two_people": [settled(decided_by="1")],
    "one_open_recharge_per_line": [
        put("billing_recharge", "state = 'charged'"),
        copy("billing_recharge", changes="'period_key', 'e9'"),
    ],
    "one_recharge_per_occurrence": [copy("billing_recharge")],
    "history_ends_where_the_recharge_is": [put("billing_recharge", "state = 'reversed'")],
    "history_has_no_gap": [drop("billing_rechargemove", "target = 'charging'")],
    "promotions_add_up": [put("billing_promotion", "consumed_minor = consumed_minor - 1")],
    "promotion_reserves_are_for_open_payments": [put("billing_promotionuse", "state = 'reserved'")],
    "rules_on_have_a_consent": [put("billing_rule", "consent_id = NULL")],
    "attention_is_the_oldest_open_case": [put("billing_recharge", "attention = 'crashed'")],
    "cases_stand_where_they_can": [waiting("action_expired")],
    "nothing_is_forgotten": [put("billing_recharge", "state = 'charged', act_at = NULL")],
    "guards_are_installed": ["ALTER TABLE billing_transfer DISABLE TRIGGER append_only"],
}
AGAIN = [
    ("settled_in_the_ledger", [settled(decided_by="2")]),
    ("settled_in_the_ledger", [put("billing_transfer", "kind = 'chargeback'", CHARGE)]),
    ("settlements_have_two_people", [settled(decided_by="NULL")]),
    ("refunds_within_the_charge", [put("billing_refund", "amount_minor = amount_minor + 9999")]),
    ("refunded_in_the_ledger", [drop("billing_transfer", "kind = 'refund'")]),
    ("refunds_have_two_people", [put("billing_refund", "approved_by_id = NULL")]),
    ("charges_keep_to_what_was_announced", [
        put(
            "billing_recharge",
            "notice_sent_at = created_at, earliest_charge_at = created_at, "
            "latest_charge_at = created_at, announced_minor = price_minor - 1",
        )
    ]),
    ("nothing_is_forgotten", [put("billing_recharge", "state = 'reversed'")]),
    ("nothing_is_forgotten", [put("billing_recharge", "state = 'refunding'")]),
    ("nothing_is_forgotten", [put("billing_refund", "state = 'unknown'")]),
    ("one_live_reference_per_recharge", [copy("lines_delivery", changes="'state', 'unknown'")]),
    ("what_is_sent_is_what_was_frozen", [put("lines_delivery", "amount_minor = 1")]),
    ("what_is_sent_is_what_was_frozen", [put("billing_refund", "currency = 'HKD'")]),
    ("transfers_are_the_frozen_amounts", [put("billing_transfer", "currency = 'HKD'", CHARGE)]),
    ("no_credit_without_a_charge", [put("billing_recharge", "charged_at = NULL")]),
    ("one_recharge_per_occurrence", [
        put("billing_recharge", "rule_id = NULL, trigger = 'manual'"),
        copy("billing_recharge"),
    ]),
    ("promotions_add_up", [put("billing_promotion", "reserved_minor = 1")]),
]  # fmt: skip


class TestEachViolation:
    def test_has_a_test_here(self):
        assert sorted(BROKEN) == sorted([*verification.CHECKS, "guards_are_installed"])

    @pytest.mark.parametrize(("check", "statements"), [*BROKEN.items(), *AGAIN])
    def test_is_named(self, books, check, statements):
        past_the_guards(*statements)
        report = verification.verify()
        assert check in report.violations
        assert report.counts[check] >= 1
        assert not report.is_clean

    def test_is_named_by_the_reference_of_its_row(self, books):
        past_the_guards(put("billing_transfer", "amount_minor = amount_minor + 1", CHARGE))
        found = verification.verify().violations
        assert found["transfers_are_the_frozen_amounts"] == [books.ref]
        assert found["undelivered_equals_paid_and_not_credited"] == [books.ref]

    def test_of_a_guard_is_named_by_the_guard(self, books):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("DROP INDEX recharge_one_open_per_line")
            cursor.execute("ALTER TABLE billing_refund DROP CONSTRAINT refund_two_people")
            cursor.execute("DROP TRIGGER recharge_moves ON billing_recharge")
            cursor.execute("ALTER TABLE billing_transfer DISABLE TRIGGER append_only")
        found = verification.verify().violations
        assert list(found) == ["guards_are_installed"]
        assert sorted(found["guards_are_installed"]) == [
            "append_only",
            "recharge_moves",
            "recharge_one_open_per_line",
            "refund_two_people",
        ]


class TestTheCommand:
    def test_says_as_json_what_was_proved_and_that_all_is_well(self, books):
        out = StringIO()
        call_command("verify", "--json", stdout=out)
        said = json.loads(out.getvalue())
        assert (said["ok"], said["violations"], said["named"]) == (True, {}, {})
        assert said["checks"] == [*verification.CHECKS, "guards_are_installed"]
        assert said["states"] == {"completed": 1}
        assert said["accounts"]["CNY"]["undelivered"] == 0

    def test_ends_with_an_error_where_anything_is_broken(self, books):
        past_the_guards(put("billing_recharge", "refund_committed_minor = 1"))
        out = StringIO()
        with pytest.raises((SystemExit, CommandError)):
            call_command("verify", "--json", stdout=out)
        said = json.loads(out.getvalue())
        assert said["ok"] is False
        assert said["named"]["refunds_within_the_charge"] == [books.ref]

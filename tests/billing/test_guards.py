"""The database's own guards, tried by raw SQL: what the code may not do, nobody may."""

import pytest
from django.db import DatabaseError, connection, transaction

from billing.guards import APPEND_ONLY
from billing.ledger import transfers
from billing.recharges.machine import IllegalMove, LostRace, Move, move, move_one
from billing.states import FIRST_STATES, MOVES, RechargeState
from tests import world as w
from tests.factories.billing import RefundFactory

pytestmark = pytest.mark.django_db

PAIRS = [(a, b) for a in RechargeState for b in RechargeState if a != b]


@pytest.fixture
def recharge(world):
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.run()
    from billing.models import Recharge

    return Recharge.objects.get()


def execute(sql: str, *params: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)


def put(pk: int, state: RechargeState) -> None:
    """Set a state past the trigger, to have somewhere to start from."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE billing_recharge SET state = %s WHERE id = %s", [state, pk])
        cursor.execute("SET session_replication_role = origin")


class TestTheStateMachine:
    def test_every_pair_is_legal_in_the_database_exactly_as_in_the_dict(self, recharge):
        wrong = []
        for source, target in PAIRS:
            put(recharge.pk, source)
            try:
                execute("UPDATE billing_recharge SET state = %s WHERE id = %s", target, recharge.pk)
                is_allowed = True
            except DatabaseError:
                is_allowed = False
            if is_allowed != (target in MOVES[source]):
                wrong.append((source, target))
        assert wrong == []

    @pytest.mark.parametrize("state", [s for s in RechargeState if s not in FIRST_STATES])
    def test_nothing_begins_half_way_through(self, recharge, state):
        copy = (
            "INSERT INTO billing_recharge SELECT (jsonb_populate_record(r, jsonb_build_object("
            "'id', 999999, 'ref', 'X', 'state', %s, 'period_key', 'x'))).* "
            "FROM billing_recharge r WHERE id = %s"
        )
        with pytest.raises(DatabaseError, match=r"cannot begin|violates"):
            execute(copy, state.value, recharge.pk)

    def test_the_code_refuses_the_same_pairs_before_it_writes(self, recharge):
        with pytest.raises(IllegalMove), transaction.atomic():
            move([Move(recharge.pk, "completed", "due", "because", None)], at=w.NOON)
        recharge.refresh_from_db()
        assert recharge.state == "completed"

    def test_a_stale_source_loses_its_race(self, recharge):
        with pytest.raises(LostRace), transaction.atomic():
            move_one(Move(recharge.pk, "due", "charging", "sent", None), at=w.NOON)
        assert recharge.moves.count() == 4


class TestRecords:
    @pytest.mark.parametrize("table", APPEND_ONLY)
    @pytest.mark.parametrize(
        "sql", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
    )
    def test_are_append_only(self, recharge, table, sql):
        execute("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE will not run beside pending ones
        with pytest.raises(DatabaseError, match="append only"):
            execute(sql.format(table))

    def test_the_ledger_is_written_only_inside_a_transaction(self, transactional_db):
        with pytest.raises(RuntimeError, match="inside the transaction"):
            transfers.post([])


class TestMoney:
    def insert(self, recharge, **more):
        given = {
            "recharge_id": recharge.pk,
            "kind": "charge",
            "reference": "R1",
            "source": "rail:alipay",
            "destination": "undelivered",
            "amount_minor": 1,
            "currency": "CNY",
            "at": w.NOON,
        } | more
        names = ", ".join(given)
        marks = ", ".join(["%s"] * len(given))
        sql = f"INSERT INTO billing_transfer ({names}) VALUES ({marks})"
        execute(sql, *given.values())

    @pytest.mark.parametrize(
        ("more", "constraint"),
        [
            ({"reference": "OTHER"}, "transfer_once_per_recharge"),
            ({"kind": "refund", "amount_minor": 0}, "transfer_positive"),
            ({"kind": "refund", "destination": "rail:alipay"}, "transfer_two_accounts"),
            ({"kind": "gift"}, "transfer_kind_known"),
        ],
    )
    def test_a_second_charge_or_a_malformed_transfer_is_refused(self, recharge, more, constraint):
        with pytest.raises(DatabaseError, match=constraint):
            self.insert(recharge, **more)
        w.assert_balanced()

    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ("price_minor = price_minor + 1", "recharge_price_is_face_less_discount"),
            ("refund_committed_minor = price_minor + 1", "recharge_refunds_within_charge"),
            ("charged_at = NULL", "recharge_paid_before_credited"),
        ],
    )
    def test_figures_that_cannot_be_are_refused(self, recharge, change, constraint):
        with pytest.raises(DatabaseError, match=constraint):
            execute(f"UPDATE billing_recharge SET {change} WHERE id = %s", recharge.pk)

    def test_a_second_live_payment_reference_is_refused(self, recharge):
        copy = (
            "INSERT INTO billing_paymentattempt SELECT (jsonb_populate_record(a, "
            "jsonb_build_object('id', 999999, 'reference', 'X', 'number', 2, "
            "'state', 'intended'))).* FROM billing_paymentattempt a"
        )
        with pytest.raises(DatabaseError, match="attempt_one_live_per_recharge"):
            execute(copy)

    def test_a_second_effective_delivery_is_refused(self, recharge):
        copy = (
            "INSERT INTO lines_delivery SELECT (jsonb_populate_record(d, "
            "jsonb_build_object('id', 999999, 'reference', 'X', 'number', 2, "
            "'state', 'credited'))).* FROM lines_delivery d"
        )
        with pytest.raises(DatabaseError, match="delivery_one_live_per_order"):
            execute(copy)

    def test_nobody_approves_their_own_refund_even_in_sql(self, recharge):
        alice = w.person()
        refund = RefundFactory.create(
            attempt=recharge.attempts.get(), state="requested", requested_by=alice
        )
        with pytest.raises(DatabaseError, match="refund_two_people"):
            execute(
                "UPDATE billing_refund SET approved_by_id = %s, state = 'intended' WHERE id = %s",
                alice.pk,
                refund.pk,
            )
        with pytest.raises(DatabaseError, match="refund_by_a_person_is_approved"):
            execute("UPDATE billing_refund SET state = 'intended' WHERE id = %s", refund.pk)

    def test_a_rule_is_never_on_without_a_consent(self, recharge):
        with pytest.raises(DatabaseError, match="rule_on_needs_consent"):
            execute("UPDATE billing_rule SET consent_id = NULL")

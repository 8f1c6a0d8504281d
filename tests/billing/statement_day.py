"""A day of our books, of any size, and the statement of it that the other side would send.

Written by set-wise SQL, past the triggers: these rows need no story, and there may be 100,000. Each
payment `number` is the reference of that number on each side: paid, delivered and in the ledger.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from billing.gateways.base import (
    Capabilities,
    StatementKind,
    StatementNotReady,
    StatementRow,
    UnreadableRow,
)
from billing.ledger import transfers
from billing.models import Difference, PaymentAttempt, Recharge, Refund, SourceKind, Transfer
from billing.outside import Outside
from billing.reconciliation import days as statement_days
from lines.carriers.base import CarrierStatementRow
from lines.models import Delivery
from tests import world as w
from tests.factories.billing import RefundFactory, SettlementFactory, TransferFactory

DAY = date(2026, 11, 21)
START = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)  # its midnight in Shanghai
MORNING = START + timedelta(days=1, hours=9, minutes=5)  # the day after, when Alipay has its bill
PRICE_MINOR, FEE_MINOR = 5000, 30
_WORTH_COUNTING = 1000  # rows; fewer are found by any plan

_RECHARGES = """
INSERT INTO billing_recharge (ref, line_id, owner_id, binding_id, rail, sim_generation, trigger,
  period_key, state, reason, face_minor, discount_minor, bonus_minor, price_minor, credited_minor,
  refund_committed_minor, currency, ladder_s, declines, attempt_count, delivery_count, cap_day,
  cap_month, created_at, due_at, expires_at, charged_at, completed_at, fence, crash_count, queries,
  action_url, attention)
SELECT 'G' || lpad(n::text, 25, '0'), %(line)s, %(owner)s, %(binding)s, 'alipay', 1, 'manual',
  n::text, 'completed', '', 5000, 0, 0, 5000, 5000, 0, 'CNY', '{}', 0, 1, 1, %(day)s, %(day)s,
  x.at, x.at, x.at, x.at, x.at, 0, 0, 0, '', ''
FROM generate_series(%(first)s, %(last)s) n
CROSS JOIN LATERAL (SELECT %(at)s::timestamptz + n * %(step)s::interval AS at) x"""
_ATTEMPTS = """
INSERT INTO billing_paymentattempt (recharge_id, number, reference, rail, binding_id, amount_minor,
  currency, state, provider_ref, code, decline_class, created_at, settled_at)
SELECT id, 1, 'P' || substr(ref, 2), 'alipay', binding_id, 5000, 'CNY', 'succeeded',
  'T' || substr(ref, 2), '', '', created_at, created_at
FROM billing_recharge g WHERE ref BETWEEN %(first_ref)s AND %(last_ref)s"""
_DELIVERIES = """
INSERT INTO lines_delivery (reference, order_ref, number, line_id, amount_minor, currency, state,
  carrier_ref, credited_minor, code, created_at, settled_at)
SELECT 'D' || substr(ref, 2), ref, 1, line_id, 5000, 'CNY', 'credited', 'C' || substr(ref, 2), 5000,
  '', created_at, created_at
FROM billing_recharge g WHERE ref BETWEEN %(first_ref)s AND %(last_ref)s"""
_TRANSFERS = """
INSERT INTO billing_transfer (recharge_id, kind, reference, source, destination, amount_minor,
  currency, at)
SELECT id, x.kind, x.letter || substr(ref, 2), x.source, x.destination, 5000, 'CNY', created_at
FROM billing_recharge g CROSS JOIN (VALUES
  ('charge', 'P', 'rail:alipay', 'undelivered'),
  ('deliver', 'D', 'undelivered', 'carrier:cmcc')) AS x(kind, letter, source, destination)
WHERE ref BETWEEN %(first_ref)s AND %(last_ref)s"""

_MOVES = """
INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, at)
SELECT id, '', 'completed', 'test', '', created_at FROM billing_recharge g
WHERE ref BETWEEN %(first_ref)s AND %(last_ref)s"""


def ref(letter: str, number: int) -> str:
    """The reference of payment ("P"), delivery ("D"), recharge ("G") or the rail's ("T")."""
    return f"{letter}{number:025d}"


def book(
    count: int,
    *,
    first: int = 1,
    at: datetime = START + timedelta(hours=2),
    within: timedelta = timedelta(hours=20),
) -> None:
    """`count` recharges, paid and delivered, spread from `at` over `within`."""
    line = w.line()
    tool = w.binding(line.owner)
    given: dict[str, Any] = {
        "line": line.pk, "owner": line.owner_id, "binding": tool.pk, "day": DAY,
        "first": first, "last": first + count - 1,
        "first_ref": ref("G", first), "last_ref": ref("G", first + count - 1),
        "at": at - within / count * first, "step": within / count,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(_RECHARGES, given)
        cursor.execute(_ATTEMPTS, given)
        cursor.execute(_DELIVERIES, given)
        cursor.execute(_TRANSFERS, given)
        cursor.execute(_MOVES, given)
        cursor.execute("SET session_replication_role = origin")
        if count >= _WORTH_COUNTING:
            cursor.execute("ANALYZE")


def unbook(number: int, state: str) -> None:
    """As if the payment had ended so, and nothing of it were in the ledger."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        recharge = Recharge.objects.get(ref=ref("G", number))
        ended = "failed" if state in ("declined", "closed") else "payment_unknown"
        Recharge.objects.filter(pk=recharge.pk).update(
            state=ended, charged_at=None, completed_at=None, credited_minor=None
        )
        PaymentAttempt.objects.filter(recharge=recharge).update(state=state, settled_at=None)
        Delivery.objects.filter(order_ref=recharge.ref).delete()
        Transfer.objects.filter(recharge=recharge).delete()
        recharge.moves.update(target=ended)
        cursor.execute("SET session_replication_role = origin")


def give_back(number: int, *, state: str = "succeeded") -> Refund:
    """A refund of 10.00 of a payment, in the ledger if it has succeeded."""
    recharge = Recharge.objects.get(ref=ref("G", number))
    made = RefundFactory.create(
        reference=ref("F", number),
        attempt=recharge.attempts.get(),
        amount_minor=1000,
        state=state,
        created_at=START + timedelta(hours=4),
        settled_at=START + timedelta(hours=5),
    )
    if state == "succeeded":
        TransferFactory.create(
            recharge=recharge,
            refund=True,
            reference=made.reference,
            amount_minor=1000,
            at=made.settled_at,
        )
    return made


def stray(number: int, *, amount_minor: int) -> None:
    """Taken otherwise than agreed and given back, as two people have said."""
    given = transfers.strayed(
        recharge_id=Recharge.objects.get(ref=ref("G", number)).pk,
        reference=ref("P", number),
        returned_ref=ref("B", number),
        rail_code="alipay",
        amount_minor=amount_minor,
        currency="CNY",
        at=START + timedelta(hours=5),
    )
    with transaction.atomic():
        transfers.post(given)


def lose(number: int, *, dispute_ref: str = "") -> None:
    """A dispute about a payment, lost, as two people have said."""
    attempt = PaymentAttempt.objects.get(reference=ref("P", number))
    settle(attempt, "lost", PRICE_MINOR, dispute_ref=dispute_ref)
    entry = transfers.charged_back(
        recharge_id=Recharge.objects.get(ref=ref("G", number)).pk,
        reference=ref("P", number),
        rail_code="alipay",
        amount_minor=PRICE_MINOR,
        currency="CNY",
        at=START + timedelta(hours=5),
    )
    with transaction.atomic():
        transfers.post([entry])


def settle(
    attempt: PaymentAttempt, finding: str, taken_minor: int, *, dispute_ref: str = ""
) -> None:
    """What two people have said of a payment's dispute."""
    SettlementFactory.create(
        attempt=attempt,
        finding=finding,
        payment_ref=dispute_ref or "DP-1",
        dispute_ref=dispute_ref,
        taken_minor=taken_minor,
        taken_currency="CNY",
        state="approved",
        decided_by=w.person("cora"),
        settled_at=START + timedelta(hours=5),
    )


def payment(number: int, **changes: Any) -> StatementRow:
    """The rail's row of payment `number`."""
    honest = StatementRow(
        line_number=number,
        kind=StatementKind.PAYMENT,
        our_ref=ref("P", number),
        provider_ref=ref("T", number),
        amount_minor=PRICE_MINOR,
        fee_minor=FEE_MINOR,
        currency="CNY",
        at=START + timedelta(hours=3),
    )
    return replace(honest, **changes)


def refund(number: int, refund_ref: str, **changes: Any) -> StatementRow:
    """The rail gives its fee back with it."""
    kind = {"kind": StatementKind.REFUND, "fee_minor": -FEE_MINOR}
    return payment(number, refund_ref=refund_ref, **kind | changes)


def credit(number: int, **changes: Any) -> CarrierStatementRow:
    """The carrier's row of delivery `number`."""
    honest = CarrierStatementRow(
        number, "credit", ref("D", number), ref("C", number), PRICE_MINOR, "CNY", START
    )
    return replace(honest, **changes)


Rows = Callable[[], Iterator[Any]]


@dataclass
class Books:
    """A rail or carrier that has statements. `days` says which; others are not ready."""

    days: dict[date, Rows] = field(default_factory=dict)
    asked: list[date] = field(default_factory=list)
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(rail="alipay", currencies=frozenset({"CNY"}))
    )

    def statement(self, *, day: date) -> Iterator[Any]:
        self.asked.append(day)
        if day not in self.days:
            raise StatementNotReady(f"There is no statement of {day} yet.")
        return self.days[day]()


def rows(*given: Any) -> Rows:
    return lambda: iter(given)


def unreadable(
    line_number: int, text: str = "a, b", reason: str = "it is odd", **whose: str
) -> UnreadableRow:
    return UnreadableRow(line_number, text, reason, **whose)


class Scene:
    """A rail and a carrier with statements, a clock, and the reconciler between them."""

    def __init__(self) -> None:
        self.rail, self.carrier, self.at = Books(), Books(), MORNING

    @property
    def outside(self) -> Outside:
        return Outside(
            gateways={"alipay": self.rail},  # type: ignore[dict-item]
            # Every line has a carrier; this one counts once it has a statement.
            adapter_for=lambda _carrier: self.carrier if self.carrier.days else None,  # type: ignore[arg-type,return-value]
            notify_url=lambda _rail: "",
        )

    def source(self, kind: SourceKind = SourceKind.RAIL) -> Any:
        code = "alipay" if kind == SourceKind.RAIL else "cmcc"
        return statement_days.source_named(kind=kind, code=code, outside=self.outside)

    def compare(self, *given: Any, day: Any = DAY, kind: SourceKind = SourceKind.RAIL) -> list[Any]:
        """Let the statement of `day` say `given`; the open differences there are then."""
        books = self.rail if kind == SourceKind.RAIL else self.carrier
        books.days[day] = rows(*given)
        result = statement_days.run_one(
            source=self.source(kind), day=day, clock=lambda: self.at, watch=None
        )
        assert result is not None
        return found()

    def again(self, *, day: Any = DAY) -> list[Any]:
        """Compare once more what was read."""
        statement_days.run_one(source=self.source(), day=day, clock=lambda: self.at)
        return found()


def found(**which: Any) -> list[tuple[str, str, int | None]]:
    """The open differences, oldest first: kind, our reference, line."""
    rows_found = Difference.objects.filter(state="open", **which).order_by("pk")
    return [(one.kind, one.our_ref, one.line_number) for one in rows_found]

"""Proof of the books: every invariant that SQL can prove, and the comparison with other books.

Each check is a query for what must not exist; it names rows by their public references, so that a
report may be shown and logged. docs/money.md says what each guards.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.apps import apps

from billing import rowsets
from billing.guards import APPEND_ONLY
from billing.ledger.checks import cases, settled
from billing.states import OPEN_STATES, UNDELIVERED_STATES, UNPAID_END_STATES

MOST_NAMED = 50  # violations named per check; the count is always whole

_STATES = {
    "undelivered": [state.value for state in UNDELIVERED_STATES],
    "open": [state.value for state in OPEN_STATES],
    "unpaid": [state.value for state in UNPAID_END_STATES],
    "standing": cases.STANDING,
}

CHECKS: Mapping[str, str] = {
    **settled.CHECKS,
    # What `undelivered` holds for each recharge is exactly what its state says is owed to the line.
    "undelivered_equals_paid_and_not_credited": """
      WITH held AS (
        SELECT recharge_id, sum(CASE WHEN destination = 'undelivered' THEN amount_minor ELSE 0 END)
            - sum(CASE WHEN source = 'undelivered' THEN amount_minor ELSE 0 END) AS minor
        FROM billing_transfer GROUP BY recharge_id),
      refund AS (
        SELECT recharge_id,
          sum(COALESCE(given_minor, amount_minor)
              + COALESCE(given_promotion_minor, promotion_minor))
            FILTER (WHERE state = 'succeeded') AS given_minor,
          max(CASE WHEN state IN ('intended', 'unknown') THEN reversal_minor END) AS taken_back,
          bool_or(state NOT IN ('succeeded', 'refused') AND reversal_minor > 0) AS after_delivery
        FROM billing_refund GROUP BY recharge_id)
      SELECT g.ref FROM billing_recharge g
      LEFT JOIN held h ON h.recharge_id = g.id LEFT JOIN refund f ON f.recharge_id = g.id
      WHERE COALESCE(h.minor, 0) <> CASE
        WHEN g.state = ANY(%(undelivered)b) OR g.state = 'reversed'
          THEN g.face_minor + g.bonus_minor - COALESCE(f.given_minor, 0)
        WHEN g.state = 'refunding' AND f.after_delivery THEN COALESCE(f.taken_back, 0)
        WHEN g.state = 'refunding'
          THEN g.face_minor + g.bonus_minor - COALESCE(f.given_minor, 0)
        ELSE 0 END""",
    "charged_has_its_transfer": """
      SELECT g.ref FROM billing_recharge g
      LEFT JOIN billing_transfer t ON t.recharge_id = g.id AND t.kind = 'charge'
      WHERE (g.charged_at IS NOT NULL) <> (t.id IS NOT NULL)""",
    "transfers_are_the_frozen_amounts": """
      SELECT g.ref FROM billing_transfer t JOIN billing_recharge g ON g.id = t.recharge_id
      WHERE (t.currency <> g.currency
             AND t.kind NOT IN ('stray', 'stray_returned', 'refund_foreign'))
         OR t.amount_minor <> CASE t.kind
        WHEN 'charge' THEN g.price_minor WHEN 'discount' THEN g.discount_minor
        WHEN 'bonus' THEN g.bonus_minor WHEN 'deliver' THEN g.face_minor + g.bonus_minor
        ELSE t.amount_minor END""",
    "transfers_are_between_their_accounts": """
      SELECT g.ref FROM billing_transfer t JOIN billing_recharge g ON g.id = t.recharge_id
      JOIN lines_line l ON l.id = g.line_id JOIN lines_carrier c ON c.id = l.carrier_id
      LEFT JOIN billing_paymentattempt a ON a.recharge_id = g.id AND a.state = 'succeeded'
      LEFT JOIN (billing_settlement w JOIN billing_paymentattempt s ON s.id = w.attempt_id)
        ON w.recharge_id = g.id AND w.state = 'approved' AND w.finding = 'given_back'
        AND t.reference IN (s.reference, w.returned_ref)
      LEFT JOIN billing_refund k ON k.reference = t.reference AND k.way = 'bank'
      WHERE t.source || ' > ' || t.destination IS DISTINCT FROM CASE t.kind
        WHEN 'charge' THEN 'rail:' || a.rail || ' > undelivered'
        WHEN 'discount' THEN 'promotion > undelivered'
        WHEN 'bonus' THEN 'promotion > undelivered'
        WHEN 'deliver' THEN 'undelivered > carrier:' || c.code
        WHEN 'reverse' THEN 'carrier:' || c.code || ' > undelivered'
        WHEN 'stray' THEN 'rail:' || s.rail || ' > suspense'
        WHEN 'stray_returned' THEN 'suspense > rail:' || s.rail
        -- By a bank: at our loss, or of what the line does not have.
        WHEN 'chargeback' THEN CASE WHEN k.id IS NULL THEN 'losses' ELSE 'undelivered' END
          || ' > rail:' || a.rail
        WHEN 'chargeback_returned' THEN 'rail:' || a.rail || ' > '
          || CASE WHEN k.id IS NULL THEN 'losses' ELSE 'undelivered' END
        WHEN 'loss_covered' THEN 'undelivered > losses'
        WHEN 'refund' THEN 'undelivered > rail:' || a.rail
        WHEN 'refund_failed' THEN 'rail:' || a.rail || ' > undelivered'
        WHEN 'promotion_again' THEN 'promotion > undelivered'
        WHEN 'paid_out' THEN 'undelivered > elsewhere'
        WHEN 'refund_excess' THEN 'losses > rail:' || a.rail
        WHEN 'refund_foreign' THEN 'losses > rail:' || a.rail
        WHEN 'refund_kept' THEN 'undelivered > losses'
        WHEN 'refund_promotion' THEN 'undelivered > promotion'
        WHEN 'fee' THEN 'fees > rail:' || a.rail
        WHEN 'fee_returned' THEN 'rail:' || a.rail || ' > fees' END""",
    # A reference is sent for what was agreed on, whatever a rule or a promotion says since.
    "what_is_sent_is_what_was_frozen": """
      SELECT a.reference FROM billing_paymentattempt a
      JOIN billing_recharge g ON g.id = a.recharge_id
      WHERE a.amount_minor <> g.price_minor OR a.currency <> g.currency
      UNION ALL
      SELECT d.reference FROM lines_delivery d JOIN billing_recharge g ON g.ref = d.order_ref
      WHERE d.amount_minor <> g.face_minor + g.bonus_minor OR d.currency <> g.currency
         OR d.line_id <> g.line_id
      UNION ALL
      SELECT f.reference FROM billing_refund f JOIN billing_recharge g ON g.id = f.recharge_id
      WHERE f.currency <> g.currency""",
    "one_live_reference_per_recharge": """
      SELECT g.ref FROM billing_paymentattempt a JOIN billing_recharge g ON g.id = a.recharge_id
      WHERE a.state NOT IN ('declined', 'closed') GROUP BY g.id HAVING count(*) > 1
      UNION ALL
      SELECT order_ref FROM lines_delivery WHERE state NOT IN ('rejected', 'reversed')
      GROUP BY order_ref HAVING count(*) > 1""",
    "one_successful_payment_per_recharge": """
      SELECT g.ref FROM billing_recharge g
      LEFT JOIN billing_paymentattempt a ON a.recharge_id = g.id AND a.state = 'succeeded'
      GROUP BY g.id HAVING count(a.id) <> CASE WHEN g.charged_at IS NULL THEN 0 ELSE 1 END""",
    # On the agreement it is charged through now; an earlier one had an announcement of its own.
    "charges_keep_to_what_was_announced": """
      SELECT g.ref FROM billing_recharge g JOIN billing_paymentattempt a
        ON a.recharge_id = g.id AND a.binding_id = g.binding_id
      WHERE g.notice_sent_at IS NOT NULL AND a.created_at >= g.notice_sent_at
        AND (a.created_at < g.earliest_charge_at OR a.created_at > g.latest_charge_at
             OR a.amount_minor > g.announced_minor)""",
    "one_effective_delivery_per_recharge": """
      SELECT order_ref FROM lines_delivery WHERE state = 'credited'
      GROUP BY order_ref HAVING count(*) > 1""",
    "no_credit_without_a_charge": """
      SELECT d.order_ref FROM lines_delivery d
      LEFT JOIN billing_recharge g ON g.ref = d.order_ref
      WHERE d.state = 'credited' AND (g.id IS NULL OR g.charged_at IS NULL)""",
    "completed_is_delivered_in_the_ledger": """
      SELECT g.ref FROM billing_recharge g
      WHERE g.state = 'completed' AND NOT EXISTS (
        SELECT 1 FROM billing_transfer t WHERE t.recharge_id = g.id AND t.kind = 'deliver')""",
    "unpaid_ends_have_no_transfers": """
      SELECT g.ref FROM billing_recharge g JOIN billing_transfer t ON t.recharge_id = g.id
      WHERE g.state = ANY(%(unpaid)b) AND t.kind NOT IN ('stray', 'stray_returned')""",
    "settlements_have_two_people": """
      SELECT reference FROM billing_settlement WHERE state = 'approved'
        AND (decided_by_id IS NULL OR decided_by_id = requested_by_id)""",
    "refunds_have_two_people": """
      SELECT reference FROM billing_refund
      WHERE requested_by_id = approved_by_id OR (requested_by_id IS NOT NULL
        AND approved_by_id IS NULL AND state NOT IN ('requested', 'refused'))""",
    "one_open_recharge_per_line": """
      SELECT min(g.ref) FROM billing_recharge g WHERE g.state = ANY(%(open)b)
      GROUP BY g.line_id HAVING count(*) > 1""",
    "one_recharge_per_occurrence": """
      SELECT min(g.ref) FROM billing_recharge g WHERE g.rule_id IS NOT NULL
        AND NOT (g.state = 'canceled' AND g.reason IN ('method_changed', 'amount_changed'))
      GROUP BY g.rule_id, g.trigger, g.period_key HAVING count(*) > 1
      UNION ALL
      SELECT min(g.ref) FROM billing_recharge g WHERE g.rule_id IS NULL
      GROUP BY g.line_id, g.trigger, g.period_key HAVING count(*) > 1""",
    "history_ends_where_the_recharge_is": """
      SELECT g.ref FROM billing_recharge g LEFT JOIN LATERAL (
        SELECT target FROM billing_rechargemove m WHERE m.recharge_id = g.id
        ORDER BY m.id DESC LIMIT 1) m ON true
      WHERE m.target IS DISTINCT FROM g.state""",
    "history_has_no_gap": """
      SELECT DISTINCT g.ref FROM (
        SELECT recharge_id, source, lag(target, 1, '') OVER (PARTITION BY recharge_id ORDER BY id)
          AS before FROM billing_rechargemove) m JOIN billing_recharge g ON g.id = m.recharge_id
      WHERE m.source <> m.before""",
    "promotions_add_up": """
      SELECT p.code FROM billing_promotion p
      LEFT JOIN billing_promotionuse u ON u.promotion_id = p.id
      GROUP BY p.id HAVING
        COALESCE(sum(u.amount_minor) FILTER (WHERE u.state = 'reserved'), 0)
          <> p.reserved_minor
        OR COALESCE(sum(u.amount_minor) FILTER (WHERE u.state = 'consumed'), 0)
          <> p.consumed_minor""",
    "promotion_reserves_are_for_open_payments": """
      SELECT g.ref FROM billing_promotionuse u JOIN billing_recharge g ON g.id = u.recharge_id
      WHERE u.state = 'reserved' AND (g.charged_at IS NOT NULL OR g.state = ANY(%(unpaid)b))""",
    "rules_on_have_a_consent": """
      SELECT r.public_id FROM billing_rule r WHERE r.is_on AND r.consent_id IS NULL""",
    # Everything open is due some time, leased, or in a person's queue: nothing is forgotten.
    "nothing_is_forgotten": """
      SELECT g.ref FROM billing_recharge g
      WHERE (g.state = ANY(%(open)b) OR g.state IN ('reversed', 'refunding'))
        AND g.state <> 'review' AND g.act_at IS NULL
        AND g.attention = '' AND (g.lease_until IS NULL OR g.lease_until < clock_timestamp())
        AND NOT EXISTS (SELECT 1 FROM billing_refund f WHERE f.recharge_id = g.id
                        AND f.state NOT IN ('succeeded', 'refused'))
      UNION ALL
      SELECT f.reference FROM billing_refund f
      WHERE f.state IN ('reversing', 'intended', 'unknown') AND f.act_at IS NULL
        AND f.attention = ''""",
    **cases.CHECKS,
}

_TRIGGERS = (
    ("billing_recharge", "recharge_moves"),
    ("billing_recharge", "recharge_starts"),
    *cases.TRIGGERS,
)
_GUARDS = """
SELECT wanted.name FROM unnest(%s::text[], %s::text[]) AS wanted(tbl, name)
LEFT JOIN pg_trigger t ON t.tgname = wanted.name AND t.tgrelid = wanted.tbl::regclass
  AND t.tgenabled IN ('O', 'A')
WHERE t.oid IS NULL
UNION ALL
SELECT wanted.name FROM unnest(%s::text[]) AS wanted(name)
LEFT JOIN pg_constraint c ON c.conname = wanted.name AND c.convalidated
LEFT JOIN (pg_class k JOIN pg_index i ON i.indexrelid = k.oid AND i.indisunique AND i.indisvalid)
  ON k.relname = wanted.name
WHERE c.oid IS NULL AND k.oid IS NULL"""


_BY_STATE = "SELECT state, count(*) AS recharges FROM billing_recharge GROUP BY 1"


class InState(NamedTuple):
    """One row of `_BY_STATE`."""

    state: str
    recharges: int


@dataclass(slots=True)
class Report:
    """What was proved. `is_clean` is what the exit code says."""

    states: dict[str, int]
    accounts: dict[str, dict[str, int]]  # currency -> account -> minor units
    violations: dict[str, list[str]]
    counts: dict[str, int]
    checks: list[str] = field(default_factory=list)
    books: dict[str, object] | None = None

    @property
    def is_clean(self) -> bool:
        return not self.counts


def verify() -> Report:
    """Run every check once, each by itself. Read-only; may run beside anything."""
    violations: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for name, query in CHECKS.items():
        _note(name, rowsets.column(query, _STATES, of=str), violations, counts)
    tables = [*APPEND_ONLY, *(table for table, _name in _TRIGGERS)]
    triggers = [*("append_only" for _ in APPEND_ONLY), *(name for _table, name in _TRIGGERS)]
    missing = rowsets.column(_GUARDS, [tables, triggers, _constraints()], of=str)
    _note("guards_are_installed", missing, violations, counts)
    return Report(
        states={one.state: one.recharges for one in rowsets.read(_BY_STATE, [], into=InState)},
        accounts=accounts(),
        violations=violations,
        counts=counts,
        checks=[*CHECKS, "guards_are_installed"],
    )


def _constraints() -> list[str]:
    """Every constraint that the models of money and lines name, unique and check."""
    models = [
        *apps.get_app_config("billing").get_models(),
        *apps.get_app_config("lines").get_models(),
    ]
    return sorted({one.name for model in models for one in model._meta.constraints})


def _note(
    name: str, found: list[str], violations: dict[str, list[str]], counts: dict[str, int]
) -> None:
    if found:
        violations[name] = found[:MOST_NAMED]
        counts[name] = len(found)


_ACCOUNTS = """
SELECT currency, account, sum(minor) AS minor FROM (
  SELECT currency, destination AS account, amount_minor AS minor FROM billing_transfer
  UNION ALL SELECT currency, source, -amount_minor FROM billing_transfer) AS sides
GROUP BY 1, 2 ORDER BY 1, 2"""


class Account(NamedTuple):
    """One row of `_ACCOUNTS`."""

    currency: str
    account: str
    minor: Decimal


def accounts() -> dict[str, dict[str, int]]:
    """Balances by currency and account, in minor units: what came in less what went out."""
    balances: dict[str, dict[str, int]] = defaultdict(dict)
    for one in rowsets.read(_ACCOUNTS, [], into=Account):
        balances[one.currency][one.account] = int(one.minor)
    return dict(balances)


# --- three books --------------------------------------------------------------------------------


class Effect(NamedTuple):
    """One thing that happened in somebody's books, under a reference of ours. Of ours: a row of
    `_OURS`."""

    kind: str  # "charge", "refund", "credit" or "reversal"
    reference: str
    amount_minor: int


_OURS = """
SELECT 'charge' AS kind, reference, amount_minor FROM billing_paymentattempt
WHERE state = 'succeeded'
UNION ALL
SELECT 'refund', reference, sum(amount_minor)::bigint FROM billing_transfer
WHERE kind IN ('refund', 'refund_excess', 'refund_foreign') GROUP BY reference
UNION ALL
SELECT 'credit', reference, credited_minor FROM lines_delivery
WHERE state IN ('credited', 'reversed') AND credited_minor IS NOT NULL
UNION ALL
SELECT 'reversal', reference, amount_minor FROM billing_transfer WHERE kind = 'reverse'
UNION ALL
SELECT CASE kind WHEN 'stray' THEN 'charge' ELSE 'refund' END, reference, amount_minor
FROM billing_transfer WHERE kind IN ('stray', 'stray_returned')"""
_IN_DOUBT = """
SELECT reference FROM billing_paymentattempt
WHERE state NOT IN ('succeeded', 'declined', 'closed')
UNION ALL
SELECT reference FROM billing_refund WHERE state IN ('intended', 'unknown', 'reversing')
UNION ALL
SELECT reversal_ref FROM billing_refund WHERE state = 'reversing'
UNION ALL
SELECT reference FROM lines_delivery WHERE state IN ('intended', 'accepted', 'unknown')"""


def ours() -> list[Effect]:
    """Every effect that our own books claim."""
    return rowsets.read(_OURS, [], into=Effect)


def compare(*, mine: Iterable[Effect], theirs: Iterable[Effect]) -> dict[str, list[str]]:
    """Differences by name, each a list of references. What is still in doubt is not a difference.

    `doubled` is the one that must never be: the same effect twice in somebody's books.
    """
    doubt = set(rowsets.column(_IN_DOUBT, [], of=str))
    counted_mine, counted_theirs = Counter(mine), Counter(theirs)
    by_reference = Counter((one.kind, one.reference) for one in counted_theirs.elements())
    differences: dict[str, list[str]] = defaultdict(list)
    for (_kind, reference), times in by_reference.items():
        if times > 1:
            differences["doubled"].append(reference)
    for one in counted_mine - counted_theirs:
        differences[f"{one.kind}_missing_theirs"].append(one.reference)
    for one in counted_theirs - counted_mine:
        if one.reference not in doubt and one.reference not in differences["doubled"]:
            differences[f"{one.kind}_missing_ours"].append(one.reference)
    return {name: sorted(refs) for name, refs in differences.items() if refs}


def stamp(report: Report, *, at: datetime) -> dict[str, object]:
    """The report as JSON-able values."""
    return {
        "ok": report.is_clean,
        "at": at.isoformat(),
        "checks": report.checks,
        "violations": report.counts,
        "named": report.violations,
        "states": report.states,
        "accounts": report.accounts,
        "books": report.books,
    }

"""Disputes: a payer had the bank take the money back (rule 28). No retry, and a person is called.

A message alone decides no money: what a rail really withdrew or returned is in its statement, and
reconciliation shows it. What a message does is to stop further charges at once.
"""

from datetime import datetime

from django.db.models import QuerySet

from billing import nudges
from billing.bindings import breaker
from billing.casebook import Heard
from billing.gateways.base import DisputeStanding, NotificationKind, StatementKind
from billing.models import (
    Case,
    InboundNotification,
    PaymentAttempt,
    Recharge,
    Refund,
    StatementLine,
)
from billing.recharges import cases, disputed
from billing.recharges.cases import Step
from billing.recharges.machine import DISPUTED
from billing.states import RechargeState

# The attention code of a lost dispute that was won after all: what it had cost comes back.
GIVEN_AGAIN = "loss_returned"


def told(row: InboundNotification, *, at: datetime) -> str | None:
    """Act on one message about a dispute, in the caller's transaction; what was done.

    None: it names no payment of ours. May come again, and in any order.
    """
    attempt = _attempt_of(row)
    if attempt is None:
        return None
    recharge = Recharge.objects.filter(pk=attempt.recharge_id)
    row.our_ref = attempt.reference
    row.save(update_fields=["our_ref"])
    if not disputed.is_unsettled(recharge_id=attempt.recharge_id):
        is_lost = disputed.is_lost(recharge_id=attempt.recharge_id)
        _let_go(recharge, is_lost=is_lost, at=at)
        if disputed.is_owed_back(recharge_id=attempt.recharge_id):
            _call(attempt, row, GIVEN_AGAIN, at=at)
        return "nothing to do" if is_lost else "won"
    rules, method = breaker.lock_method(attempt.binding_id)
    breaker.pause(rules=rules, method=method, reason=breaker.DISPUTED, at=at)
    _call(attempt, row, DISPUTED, at=at)
    return "paused"


def _call(attempt: PaymentAttempt, row: InboundNotification, code: str, *, at: datetime) -> None:
    state = Recharge.objects.values_list("state", flat=True).get(pk=attempt.recharge_id)
    step = Step(attempt.recharge_id, state, "dispute", Heard.NOTHING, opens=code, says=row.claims)
    cases.follow([step], at=at)


def read_in_statement(rail: str, line: StatementLine, *, at: datetime) -> None:
    """Hear of a dispute by its rail's statement, as if a message had told of it. May come again."""
    is_won = line.kind == StatementKind.DISPUTE_WON
    row, is_new = InboundNotification.objects.get_or_create(
        source=f"rail:{rail}",
        dedupe_id=f"statement:{line.kind}:{line.dispute_ref or line.their_ref}:{line.at}"[:128],
        defaults={
            "kind": NotificationKind.DISPUTE,
            "our_ref": line.reference,
            "claims": DisputeStanding.WON if is_won else DisputeStanding.OPEN,
            "dispute_ref": line.dispute_ref,
            "said_at": line.at,
            "amount_minor": line.amount_minor,
            "received_at": at,
            "done_at": at,
        },
    )
    if is_new:
        row.outcome = told(row, at=at) or "not ours"
        row.save(update_fields=["outcome"])


def _let_go(recharge: QuerySet[Recharge], *, is_lost: bool, at: datetime) -> None:
    """What stood still for it goes on: a credit that was not given, a refund that was not made.

    Not where another dispute is lost: money that comes back after all is in the rail's statement.
    """
    disputed_ones = Case.objects.filter(recharge__in=recharge, code=DISPUTED)
    if not is_lost:
        _set_going(recharge, disputed_ones, at=at)
    over = disputed_ones.filter(refund=None) if is_lost else disputed_ones
    cases.settle(over, because="dispute_over", at=at)


def _set_going(recharge: QuerySet[Recharge], held: QuerySet[Case], *, at: datetime) -> None:
    """Refund before recharge, as everybody locks them (docs/locking.md)."""
    still = held.filter(settled_at=None)
    refunds = Refund.objects.filter(pk__in=still.values("refund"), act_at=None)
    is_going = refunds.update(act_at=at)
    if still.filter(refund=None).exists():
        waiting = recharge.filter(state=RechargeState.CHARGED, act_at=None)
        is_going += waiting.update(act_at=at)
    if is_going:
        nudges.money()


def _rail(source: str) -> str:
    return source.removeprefix("rail:")


def _attempt_of(row: InboundNotification) -> PaymentAttempt | None:
    attempts = PaymentAttempt.objects.filter(rail=_rail(row.source))
    if row.our_ref:
        return attempts.filter(reference=row.our_ref).first()
    # Some rails name the payment by their own number alone.
    return attempts.filter(provider_ref=row.provider_ref).exclude(provider_ref="").first()

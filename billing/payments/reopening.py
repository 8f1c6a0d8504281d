"""What a rail says of a reference that had ended: it is asked before anything else is sent, since
money may have moved after all (rule 20)."""

from datetime import datetime, timedelta

from django.db import transaction

from billing.casebook import Heard
from billing.gateways.base import (
    ActionRequired,
    Closed,
    NotFound,
    Pending,
    Succeeded,
    Unknown,
)
from billing.models import PaymentAttempt, Recharge, Transfer, TransferKind
from billing.recharges import claims, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import LostRace, Move
from billing.states import CANCELABLE_STATES, UNPAID_END_STATES, AttemptState
from billing.states import RechargeState as S


def contradiction(row: Work, outcome: object, *, at: datetime) -> None:
    """Asked about one at rest, because someone spoke of it: money after its end alarms.

    No answer is no news, so it is asked again.
    """
    is_late = isinstance(outcome, Succeeded) and _is_unbooked(row)
    is_untold = isinstance(outcome, Unknown | Pending)
    act_at = _next_query_at(row, at=at) if is_untold else None
    if not is_untold and claims.LATE_PAYMENT not in row.cases:  # that, two people end
        _doubt(row, at if is_late else None)
    attention = claims.LATE_PAYMENT if is_late else _attention(outcome)
    if is_untold and act_at is None and claims.is_doubted(row):
        attention = "payment_unknown"  # nobody says what it was spoken of for
    claims.stay(
        row,
        act_at=act_at,
        attention=attention,
        heard=Heard.SILENCE if is_untold else Heard.ANSWER,
        at=at,
    )


def _next_query_at(row: Work, *, at: datetime) -> datetime | None:
    return ladders.next_query_at(queries=row.queries, at=at, since=row.attempt_doubted_at)


def _is_unbooked(row: Work) -> bool:
    """Whether money taken under this reference is nowhere in the books: its recharge ended without
    it, or was paid under another. Not where two people have said that it was given back."""
    if row.state not in UNPAID_END_STATES and row.attempt_doubted_at is None:
        return False
    kinds = (TransferKind.CHARGE, TransferKind.STRAY)
    return not Transfer.objects.filter(reference=row.payment_ref, kind__in=kinds).exists()


def _doubt(row: Work, at: datetime | None) -> None:
    PaymentAttempt.objects.filter(reference=row.payment_ref).update(doubted_at=at)


def reopened(row: Work, outcome: object, *, at: datetime) -> Work:
    """The row as if its reference had never ended, where the rail says that it has not: what was
    answered then means what it means of any other. Nothing new was sent meanwhile."""
    if not (claims.is_doubted(row) and row.state in CANCELABLE_STATES):
        return row
    if not _is_not_ended(row, outcome, at=at):
        return row
    try:
        with transaction.atomic():
            _reopen(row, at=at)
    except LostRace:
        return row
    return row._replace(
        state=S.CHARGING.value, attempt_state=AttemptState.UNKNOWN.value, attempt_doubted_at=None
    )


def _is_not_ended(row: Work, outcome: object, *, at: datetime) -> bool:
    """No answer is no news, until nobody but a person can help."""
    if isinstance(outcome, Unknown):
        return _next_query_at(row, at=at) is None
    is_given_back = isinstance(outcome, Closed) and outcome.is_given_back
    return is_given_back or isinstance(outcome, Succeeded | Pending | ActionRequired)


def _reopen(row: Work, *, at: datetime) -> None:
    """By the one way that leads to a payment under way; the method is that of the reference."""
    if row.state != S.DUE.value:
        machine.move_one(_back(row, S.DUE, at=at), at=at)
    machine.move_one(_back(row._replace(state=S.DUE.value), S.CHARGING, at=at), at=at)
    Recharge.objects.filter(pk=row.id).update(rail=row.rail, binding_id=row.binding_id)
    PaymentAttempt.objects.filter(reference=row.payment_ref).update(
        state=AttemptState.UNKNOWN, settled_at=None, doubted_at=None, code="", decline_class=""
    )


def _back(row: Work, target: S, *, at: datetime) -> Move:
    return row.move(
        target, "rail_spoke", at, keeps_lease=True, keeps_crashes=True, heard=Heard.NOTHING
    )


def ended_indeed(row: Work, outcome: object, *, grace: timedelta, at: datetime) -> None:
    """The rail stands by its first word, so that what was to come comes as it was to; or it has not
    answered, and is asked again before that."""
    doubted_at = row.attempt_doubted_at or at
    act_at: datetime | None = _resumes_at(row, at=at)
    if isinstance(outcome, Unknown):
        act_at = _next_query_at(row, at=at)
    elif isinstance(outcome, NotFound) and at - doubted_at < grace:
        act_at = doubted_at + grace
    else:
        _doubt(row, None)
    claims.stay(
        row,
        act_at=act_at,
        attention=_attention(outcome),
        heard=Heard.SILENCE if isinstance(outcome, Unknown) else Heard.ANSWER,
        at=at,
    )


def _attention(outcome: object) -> str:
    """That it may not even be asked is shown at once."""
    return "config" if isinstance(outcome, Unknown) and outcome.is_ours else ""


def _resumes_at(row: Work, *, at: datetime) -> datetime | None:
    """When it would have been looked at next: its place on the ladder; a held one waits."""
    if row.state == S.REVIEW.value:
        return None
    is_on_ladder = row.state == S.DECLINED.value and 0 < row.declines <= len(row.ladder_s)
    if not is_on_ladder or row.attempt_settled_at is None:
        return at
    retry_at = row.attempt_settled_at + timedelta(seconds=row.ladder_s[row.declines - 1])
    return max(at, retry_at)

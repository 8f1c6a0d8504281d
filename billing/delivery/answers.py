"""Everything but a clean credit: what each answer of a carrier means, a row at a time.

As in `payments.answers`: unknown is never a rejection, so that nothing is sent again and nothing
refunded while it lasts.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from billing import rowsets
from billing.casebook import Heard
from billing.ledger import transfers
from billing.models import NoticeKind, Recharge
from billing.notices import telling
from billing.notices.telling import Telling
from billing.recharges import aftermath, claims, evidence, ladders, machine, recipients
from billing.recharges.claims import Work
from billing.recharges.machine import LostRace
from billing.refunds import approvals
from billing.states import DELIVERING_STATES, RechargeState
from lines.carriers.base import (
    Accepted,
    CreditAnswer,
    Credited,
    CreditOutcome,
    NotAllowed,
    NotFound,
    Rejected,
    Reversed,
    Unknown,
)
from lines.models import Delivery, DeliveryState

log = logging.getLogger(__name__)

S = RechargeState
NOT_FOUND_GRACE = timedelta(minutes=2)


def delivery(*, row: Work, answer: CreditAnswer, at: datetime, is_question: bool = False) -> None:
    """Commit the evidence and what follows. Fenced; a lost race is left to whoever won."""
    try:
        with transaction.atomic():
            evidence.record_calls(answer.exchanges, at=at)
            if is_question and isinstance(answer.outcome, NotAllowed):
                _may_not_ask(row, at=at)
            else:
                _settle(row, answer.outcome, at=at)
    except LostRace:
        log.info("delivery of recharge %s was settled by another worker", row.id)
    except rowsets.POISON:
        log.exception("carrier's answer about recharge %s cannot be recorded", row.id)


def gone(row: Work, *, at: datetime) -> None:
    """Paid, and the line is no longer what was agreed on: nothing is credited, and the money goes
    back. Fenced; a lost race is left to whoever won."""
    try:
        with transaction.atomic():
            if claims.is_live_delivery(row):
                _mark(row, DeliveryState.REJECTED, code="line_lost", at=at)  # never heard of there
            _refund(row, "line_lost", at=at)
    except LostRace:
        log.info("recharge %s was settled by another worker", row.id)
    except rowsets.POISON:
        log.exception("recharge %s of a line that is gone cannot be given back", row.id)


def away(row: Work, *, at: datetime) -> None:
    """Paid, and the carrier has suspended the line: it may come back, and is looked at again."""
    is_late = recipients.has_waited(row, recipients.PERSON_AFTER, at=at)
    with transaction.atomic():
        Recharge.objects.filter(pk=row.id, fence=row.fence).update(reason="line_suspended")
        claims.stay(
            row,
            act_at=at + recipients.LOOK_AGAIN,
            attention="line_suspended" if is_late else "",
            heard=Heard.NOTHING,
            at=at,
        )


def _settle(row: Work, outcome: CreditOutcome, *, at: datetime) -> None:
    if row.state == S.COMPLETED.value:
        _after_completion(row, outcome, at=at)
    elif row.state not in DELIVERING_STATES:
        _is_at_rest(row, is_told=not isinstance(outcome, Unknown), at=at)
    elif isinstance(outcome, Accepted):
        _accepted(row, outcome, at=at)
    elif isinstance(outcome, Rejected):
        _rejected(row, outcome, at=at)
    elif isinstance(outcome, NotAllowed):
        _not_allowed(row, outcome, at=at)
    elif isinstance(outcome, Reversed):
        _undeliverable(row, "reversed_by_carrier", outcome.carrier_ref, at=at)
    elif _is_surely_not_there(row, outcome, at=at):
        _send_again(row, at=at)
    else:
        _not_known(row, at=at)


def _send_again(row: Work, *, at: datetime) -> None:
    """Under its own reference. That the carrier has no such order, however often it is sent, is no
    progress: the rounds are counted, and the last one is a person's."""
    rounds = machine.rounds(recharge_id=row.id, because="confirmed_not_credited")
    act_at = ladders.next_resend_at(rounds=rounds, at=at)
    if act_at is None:
        _lost_sight(row, at=at)
        return
    again = row.move(S.CHARGED, "confirmed_not_credited", act_at, keeps_crashes=True)
    machine.move_one(again, at=at)
    _mark(row, DeliveryState.INTENDED)


def _lost_sight(row: Work, *, at: datetime) -> None:
    """Asked, or sent, in vain for as long as it makes sense: a person's."""
    _mark(row, DeliveryState.UNKNOWN)
    attention = "delivery_unknown"
    if row.state == S.DELIVERY_UNKNOWN.value:
        claims.stay(row, act_at=None, attention=attention, at=at)
    else:
        unknown = row.move(S.DELIVERY_UNKNOWN, "carrier_no_answer", None, attention=attention)
        machine.move_one(unknown, at=at)


def _is_at_rest(row: Work, *, is_told: bool, at: datetime) -> None:
    """Someone spoke of it. What tells nothing is asked again, for a week; then a person."""
    act_at = None if is_told else ladders.next_query_at(queries=row.queries, at=at)
    claims.stay(
        row,
        act_at=act_at,
        attention="delivery_unknown" if not is_told and act_at is None else "",
        heard=Heard.ANSWER if is_told else Heard.SILENCE,
        at=at,
    )


def _is_surely_not_there(row: Work, outcome: CreditOutcome, *, at: datetime) -> bool:
    """Whether the same order may be sent again, to a carrier for which that is a second order.

    One still `delivering` was left by a worker that may only be stalled and send it yet: its grace
    begins now, when its lease has run out.
    """
    if not isinstance(outcome, NotFound) or row.state == S.DELIVERING.value:
        return False
    return at - _sent_at(row) >= NOT_FOUND_GRACE


def _sent_at(row: Work) -> datetime:
    moments = (row.delivery_created_at or row.charged_at, row.unknown_since)
    return max(moment for moment in moments if moment is not None)


def _accepted(row: Work, outcome: Accepted, *, at: datetime) -> None:
    """Asked about gently; what is not credited in a day is shown to a person, and after a month is
    theirs alone."""
    queries = row.queries if row.state == S.DELIVERY_PENDING.value else 0
    act_at = ladders.next_slow_at(queries=queries, at=at)
    if act_at is None:
        _lost_sight(row, at=at)
    elif row.state == S.DELIVERY_PENDING.value:
        is_long = at - _sent_at(row) > ladders.SLOW_AFTER
        claims.stay(
            row,
            act_at=act_at,
            attention="delivery_unknown" if is_long else "",
            heard=Heard.ANSWER,
            at=at,
        )
    else:
        machine.move_one(row.move(S.DELIVERY_PENDING, "accepted", act_at), at=at)
    _mark(row, DeliveryState.ACCEPTED, carrier_ref=outcome.carrier_ref)


def _rejected(row: Work, outcome: Rejected, *, at: datetime) -> None:
    """A definite no: a few more tries where that can help, then the money goes back (rule 21)."""
    _mark(row, DeliveryState.REJECTED, code=outcome.code, at=at)
    retry_at = ladders.next_delivery_at(deliveries=row.delivery_count, at=at)
    if outcome.is_permanent or retry_at is None:
        _refund(row, "carrier_rejected", at=at)
    else:
        machine.move_one(row.move(S.CHARGED, "carrier_retry", retry_at), at=at)


def _may_not_ask(row: Work, *, at: datetime) -> None:
    """The *question* was refused: that says nothing about the credit, which is neither sent again
    nor given up. An operator is told at once, and it is asked again."""
    act_at = ladders.next_config_at(rounds=row.queries, at=at)
    attention = "delivery_unknown" if act_at is None else "config"
    if row.state == S.DELIVERING.value:
        unknown = row.move(
            S.DELIVERY_UNKNOWN,
            "carrier_no_answer",
            act_at,
            keeps_crashes=True,
            attention=attention,
            heard=Heard.SILENCE,
        )
        machine.move_one(unknown, at=at)
        _mark(row, DeliveryState.UNKNOWN)
    else:
        claims.stay(row, act_at=act_at, attention=attention, at=at)


def _not_allowed(row: Work, outcome: NotAllowed, *, at: datetime) -> None:
    """Our own fault, not the line's: nothing was credited, an operator is told, and it waits.

    No refund: thousands would be given back for one expired token. The order keeps its reference.
    """
    _mark(row, DeliveryState.INTENDED, code=outcome.code)
    rounds = machine.rounds(recharge_id=row.id, because="carrier_config")
    act_at = ladders.next_config_at(rounds=rounds, at=at)
    machine.move_one(row.move(S.CHARGED, "carrier_config", act_at, attention="config"), at=at)


def _undeliverable(row: Work, because: str, carrier_ref: str, *, at: datetime) -> None:
    _mark(row, DeliveryState.REVERSED, carrier_ref=carrier_ref, at=at)
    _refund(row, because, at=at)


def _refund(row: Work, because: str, *, at: datetime) -> None:
    """The refund's intent is in the same commit as the rejection that causes it."""
    machine.move_one(row.move(S.UNDELIVERABLE, because, None), at=at)
    approvals.automatic(recharge=Recharge.objects.get(pk=row.id), because=because, at=at)


def _not_known(row: Work, *, at: datetime) -> None:
    """Neither resend nor refund; ask up the ladder, then a person."""
    _mark(row, DeliveryState.UNKNOWN)
    is_unknown = row.state == S.DELIVERY_UNKNOWN.value
    queries = row.queries + 1 if is_unknown else 0
    act_at = ladders.next_query_at(queries=queries, at=at, since=row.unknown_since)
    attention = "delivery_unknown" if act_at is None else ""
    if is_unknown:
        claims.stay(row, act_at=act_at, attention=attention, at=at)
    else:
        unknown = row.move(
            S.DELIVERY_UNKNOWN,
            "carrier_no_answer",
            act_at,
            keeps_crashes=True,
            heard=Heard.SILENCE,
        )
        machine.move_one(unknown, at=at)


def _after_completion(row: Work, outcome: CreditOutcome, *, at: datetime) -> None:
    """Completed may later be reversed (rule 22): back into the books, and the money goes back."""
    if not isinstance(outcome, Reversed):
        _is_at_rest(row, is_told=isinstance(outcome, Credited), at=at)
        return
    machine.move_one(row.move(S.REVERSED, "reversed_by_carrier", None), at=at)
    _mark_reversed(row, at=at)
    # Of one that was refunded in part, that part came back before.
    left_minor = transfers.on_line_minor(recharge_id=row.id)
    transfers.post(
        [
            transfers.reversed_(
                recharge_id=row.id,
                reference=row.delivery_ref,
                carrier_code=row.carrier,
                credit_minor=left_minor,
                currency=row.currency,
                at=at,
            )
        ]
    )
    aftermath.taken_back(recharge_ids=[row.id], at=at)
    approvals.automatic(
        recharge=Recharge.objects.get(pk=row.id), because="reversed_by_carrier", at=at
    )
    telling.tell_many([message(row, NoticeKind.REVERSED, "reversed_by_carrier", at=at)])


def _mark(
    row: Work,
    state: DeliveryState,
    *,
    carrier_ref: str = "",
    code: str = "",
    at: datetime | None = None,
) -> None:
    """Set the delivery's own state. A settled one is never unsettled."""
    changes: dict[str, object] = {"state": state, "settled_at": at}
    if carrier_ref:
        changes["carrier_ref"] = carrier_ref[:64]
    if code:
        changes["code"] = code[:64]
    Delivery.objects.filter(reference=row.delivery_ref, settled_at__isnull=True).update(**changes)


def _mark_reversed(row: Work, *, at: datetime) -> None:
    Delivery.objects.filter(reference=row.delivery_ref, state=DeliveryState.CREDITED).update(
        state=DeliveryState.REVERSED, settled_at=at
    )


def message(row: Work, kind: NoticeKind, code: str, *, at: datetime) -> Telling:
    facts = {
        "code": code,
        "face_minor": row.face_minor,
        "price_minor": row.price_minor,
        "bonus_minor": row.bonus_minor,
        "currency": row.currency,
        "rail": row.rail,
        "trigger": row.trigger,
    }
    key = f"{row.ref}:{code}"
    return Telling(row.owner_id, kind.value, key, row.line_id, row.id, facts, row.channels, at)

"""The delivery leg: a confirmed payment becomes credit on the line, once.

Shaped like `payments`: `begin` commits the intent, the call happens outside, `record` commits what
came back. A carrier that cannot be asked by reference is never sent a second order by itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from billing import (
    aftermath,
    claims,
    evidence,
    intents,
    ladders,
    ledger,
    notices,
    recharges,
    refunds,
    rowsets,
)
from billing.models import NoticeKind, Recharge
from billing.notices import Telling
from billing.payments import DEFERRED_RECHECK
from billing.recharges import LostRace, Move
from billing.rowsets import Column
from billing.states import RechargeState
from lines.carriers.base import (
    Accepted,
    CarrierAdapter,
    CreditAnswer,
    Credited,
    CreditOutcome,
    CreditRequest,
    LineAddress,
    NotFound,
    Rejected,
    Reversed,
    Unknown,
)
from lines.models import Delivery, DeliveryState
from lines.references import new_reference

log = logging.getLogger(__name__)

S = RechargeState
DELIVERING_STATES = (S.DELIVERING.value, S.DELIVERY_PENDING.value, S.DELIVERY_UNKNOWN.value)
NOT_FOUND_GRACE = timedelta(minutes=2)

_CREDITED_COLUMNS = (
    Column("reference", "text"),
    Column("carrier_ref", "text"),
    Column("credited_minor", "bigint"),
    Column("at", "timestamptz"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that was made: what was claimed, and what came back."""

    row: Any
    answer: CreditAnswer


def credit_minor(row: Any) -> int:
    """What the line is owed."""
    return int(row.face_minor + row.bonus_minor)


# --- before the call ----------------------------------------------------------------------------


def begin(rows: Sequence[Any], *, at: datetime) -> list[Any]:
    """Commit a delivery intent for each paid row; the rows that are now ours to credit.

    An order the carrier has never heard of is sent under its own reference again.
    """
    wait = [row for row in rows if row.carrier_deferred_since is not None]
    for row in wait:
        recharges.stay(
            recharge_id=row.id, fence=row.fence, act_at=at + DEFERRED_RECHECK, attention="", at=at
        )
    ready = [_ready(row) for row in rows if row.carrier_deferred_since is None]
    with transaction.atomic():
        moved = recharges.move([_sent(row, at=at) for row in ready], at=at)
        mine = [row for row in ready if row.id in moved]
        intents.deliveries([row for row in mine if not row.delivery_id], at=at)
    return [row._replace(state=S.DELIVERING.value) for row in mine]


def _ready(row: Any) -> Any:
    if claims.is_live_delivery(row):
        return row
    return row._replace(
        delivery_id=0,
        delivery_ref=new_reference(),
        delivery_count=row.delivery_count + 1,
        carrier_ref="",
    )


def _sent(row: Any, *, at: datetime) -> Move:
    return _move(
        row,
        S.DELIVERING,
        "sent",
        at,
        keeps_lease=True,
        keeps_crashes=True,
        new_deliveries=0 if row.delivery_id else 1,
    )


# --- the call -----------------------------------------------------------------------------------


def credit(row: Any, *, adapter: CarrierAdapter) -> CreditAnswer:
    """Send the committed order. No transaction is open."""
    return adapter.credit(
        request=CreditRequest(
            reference=row.delivery_ref,
            address=LineAddress(msisdn=row.msisdn, iccid=row.iccid),
            amount_minor=credit_minor(row),
            currency=row.currency,
        )
    )


def query(row: Any, *, adapter: CarrierAdapter) -> CreditAnswer:
    """Ask what became of the last order. No transaction is open."""
    if not adapter.can_query_by_reference and not row.carrier_ref:
        return CreditAnswer(Unknown("this carrier cannot be asked by reference"))
    return adapter.query(reference=row.delivery_ref, carrier_ref=row.carrier_ref or "")


# --- after the call -----------------------------------------------------------------------------


def record(asked: Sequence[Asked], *, at: datetime) -> None:
    """Commit what came back: credits together, everything rarer a row at a time."""
    clean = [one for one in asked if _is_clean_credit(one)]
    try:
        _record_credited(clean, at=at)
    except rowsets.POISON:
        log.exception("a batch of credits failed to be recorded; one by one")
        for one in clean:
            _record_alone(one, at=at)
    done = {id(one) for one in clean}
    for one in asked:
        if id(one) not in done:
            _record_setback(one, at=at)


def _record_alone(one: Asked, *, at: datetime) -> None:
    try:
        _record_credited([one], at=at)
    except rowsets.POISON:
        log.exception("credit of recharge %s cannot be recorded", one.row.id)


def _is_clean_credit(one: Asked) -> bool:
    return isinstance(one.answer.outcome, Credited) and one.row.state in DELIVERING_STATES


def _record_credited(credited: Sequence[Asked], *, at: datetime) -> None:
    """A carrier's own figure that differs is kept, and a person told; the line is paid."""
    if not credited:
        return
    with transaction.atomic():
        evidence.record_calls([x for one in credited for x in one.answer.exchanges], at=at)
        moved = recharges.move([_credited_move(one, at=at) for one in credited], at=at)
        mine = [one for one in credited if one.row.id in moved]
        rowsets.update(
            "lines_delivery",
            _CREDITED_COLUMNS,
            [_settled(one, at=at) for one in mine],
            assign="state = 'credited', carrier_ref = v.carrier_ref, "
            "credited_minor = v.credited_minor, settled_at = v.at",
            where="t.reference = v.reference",
        )
        ledger.post([_entry(one.row, at=at) for one in mine])
        aftermath.credited(recharge_ids=[one.row.id for one in mine], at=at)
        told = [one.row for one in mine if one.row.remind_result is not False]
        notices.tell_many([_telling(row, NoticeKind.RECHARGED, "credited", at=at) for row in told])


def _credited_move(one: Asked, *, at: datetime) -> Move:
    outcome = one.answer.outcome
    assert isinstance(outcome, Credited)  # noqa: S101 - `_is_clean_credit` chose it
    differs = outcome.credited_minor != credit_minor(one.row)
    return _move(
        one.row,
        S.COMPLETED,
        "credited",
        None,
        completed_at=at,
        credited_minor=outcome.credited_minor,
        attention="credit_differs" if differs else "",
    )


def _settled(one: Asked, *, at: datetime) -> tuple[Any, ...]:
    outcome = one.answer.outcome
    assert isinstance(outcome, Credited)  # noqa: S101 - `_is_clean_credit` chose it
    return one.row.delivery_ref, outcome.carrier_ref[:64], outcome.credited_minor, at


def _entry(row: Any, *, at: datetime) -> ledger.Entry:
    return ledger.delivered(
        recharge_id=row.id,
        reference=row.delivery_ref,
        carrier_code=row.carrier,
        credit_minor=credit_minor(row),
        currency=row.currency,
        at=at,
    )


def _telling(row: Any, kind: NoticeKind, code: str, *, at: datetime) -> Telling:
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
    channels = row.channels or ("inbox", "email")
    return Telling(row.owner_id, kind.value, key, row.line_id, row.id, facts, channels, at)


# --- everything rarer ---------------------------------------------------------------------------


def _record_setback(one: Asked, *, at: datetime) -> None:
    """Commit the evidence and what follows. Fenced; a lost race is left to whoever won."""
    try:
        with transaction.atomic():
            evidence.record_calls(one.answer.exchanges, at=at)
            _settle(one.row, one.answer.outcome, at=at)
    except LostRace:
        log.info("delivery of recharge %s was settled by another worker", one.row.id)
    except rowsets.POISON:
        log.exception("carrier's answer about recharge %s cannot be recorded", one.row.id)


def _settle(row: Any, outcome: CreditOutcome, *, at: datetime) -> None:
    if row.state == S.COMPLETED.value:
        _after_completion(row, outcome, at=at)
    elif row.state not in DELIVERING_STATES:
        _is_at_rest(row, is_told=not isinstance(outcome, Unknown), at=at)
    elif isinstance(outcome, Accepted):
        _accepted(row, outcome, at=at)
    elif isinstance(outcome, Rejected):
        _rejected(row, outcome, at=at)
    elif isinstance(outcome, Reversed):
        _undeliverable(row, "reversed_by_carrier", outcome.carrier_ref, at=at)
    elif _is_surely_not_there(row, outcome, at=at):
        again = _move(row, S.CHARGED, "confirmed_not_credited", at, keeps_crashes=True)
        recharges.move_one(again, at=at)
        _mark(row, DeliveryState.INTENDED)
    else:
        _not_known(row, at=at)


def _is_at_rest(row: Any, *, is_told: bool, at: datetime) -> None:
    """Someone spoke of it. What tells nothing is asked again, for a week; then a person."""
    act_at = None if is_told else ladders.next_query_at(queries=row.queries, at=at)
    is_given_up = not is_told and act_at is None
    attention = "delivery_unknown" if is_given_up else claims.attention_left(row)
    recharges.stay(recharge_id=row.id, fence=row.fence, act_at=act_at, attention=attention, at=at)


def _is_surely_not_there(row: Any, outcome: CreditOutcome, *, at: datetime) -> bool:
    """Whether the same order may be sent again, to a carrier for which that is a second order.

    One still `delivering` was left by a worker that may only be stalled and send it yet: its grace
    begins now, when its lease has run out.
    """
    if not isinstance(outcome, NotFound) or row.state == S.DELIVERING.value:
        return False
    return at - _sent_at(row) >= NOT_FOUND_GRACE


def _sent_at(row: Any) -> datetime:
    sent_at: datetime = row.delivery_created_at or row.charged_at
    return max(sent_at, row.unknown_since) if row.unknown_since else sent_at


def _accepted(row: Any, outcome: Accepted, *, at: datetime) -> None:
    act_at = ladders.next_pending_at(queries=row.queries, at=at)
    if row.state == S.DELIVERY_PENDING.value:
        recharges.stay(recharge_id=row.id, fence=row.fence, act_at=act_at, attention="", at=at)
    else:
        recharges.move_one(_move(row, S.DELIVERY_PENDING, "accepted", act_at), at=at)
    _mark(row, DeliveryState.ACCEPTED, carrier_ref=outcome.carrier_ref)


def _rejected(row: Any, outcome: Rejected, *, at: datetime) -> None:
    """A definite no: a few more tries where that can help, then the money goes back (rule 21)."""
    _mark(row, DeliveryState.REJECTED, code=outcome.code, at=at)
    retry_at = ladders.next_delivery_at(deliveries=row.delivery_count, at=at)
    if outcome.is_permanent or retry_at is None:
        _refund(row, "carrier_rejected", at=at)
    else:
        recharges.move_one(_move(row, S.CHARGED, "carrier_retry", retry_at), at=at)


def _undeliverable(row: Any, because: str, carrier_ref: str, *, at: datetime) -> None:
    _mark(row, DeliveryState.REVERSED, carrier_ref=carrier_ref, at=at)
    _refund(row, because, at=at)


def _refund(row: Any, because: str, *, at: datetime) -> None:
    """The refund's intent is in the same commit as the rejection that causes it."""
    recharges.move_one(_move(row, S.UNDELIVERABLE, because, None), at=at)
    refunds.automatic(recharge=Recharge.objects.get(pk=row.id), because=because, at=at)


def _not_known(row: Any, *, at: datetime) -> None:
    """Neither resend nor refund; ask up the ladder, then a person."""
    _mark(row, DeliveryState.UNKNOWN)
    is_unknown = row.state == S.DELIVERY_UNKNOWN.value
    act_at = ladders.next_query_at(queries=row.queries + 1 if is_unknown else 0, at=at)
    attention = "delivery_unknown" if act_at is None else claims.attention_left(row)
    if is_unknown:
        recharges.stay(
            recharge_id=row.id, fence=row.fence, act_at=act_at, attention=attention, at=at
        )
    else:
        unknown = _move(row, S.DELIVERY_UNKNOWN, "carrier_no_answer", act_at, keeps_crashes=True)
        recharges.move_one(unknown, at=at)


def _after_completion(row: Any, outcome: CreditOutcome, *, at: datetime) -> None:
    """Completed may later be reversed (rule 22): back into the books, and the money goes back."""
    if not isinstance(outcome, Reversed):
        _is_at_rest(row, is_told=isinstance(outcome, Credited), at=at)
        return
    recharges.move_one(_move(row, S.REVERSED, "reversed_by_carrier", None), at=at)
    _mark_reversed(row, at=at)
    # Of one that was refunded in part, that part came back before.
    left_minor = ledger.on_line_minor(recharge_id=row.id)
    ledger.post(
        [
            ledger.reversed_(
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
    refunds.automatic(
        recharge=Recharge.objects.get(pk=row.id), because="reversed_by_carrier", at=at
    )
    notices.tell_many([_telling(row, NoticeKind.REVERSED, "reversed_by_carrier", at=at)])


def _move(row: Any, target: S, because: str, act_at: datetime | None, **more: Any) -> Move:
    return Move(row.id, row.state, target.value, because, act_at, fence=row.fence, **more)


def _mark(
    row: Any,
    state: DeliveryState,
    *,
    carrier_ref: str = "",
    code: str = "",
    at: datetime | None = None,
) -> None:
    """Set the delivery's own state. A settled one is never unsettled."""
    changes: dict[str, Any] = {"state": state, "settled_at": at}
    if carrier_ref:
        changes["carrier_ref"] = carrier_ref[:64]
    if code:
        changes["code"] = code[:64]
    Delivery.objects.filter(reference=row.delivery_ref, settled_at__isnull=True).update(**changes)


def _mark_reversed(row: Any, *, at: datetime) -> None:
    Delivery.objects.filter(reference=row.delivery_ref, state=DeliveryState.CREDITED).update(
        state=DeliveryState.REVERSED, settled_at=at
    )


def unusable(error: Exception) -> CreditAnswer:
    """A call that broke in our own code: whether anything was sent is not known."""
    return CreditAnswer(Unknown(f"{type(error).__name__} in the adapter"))

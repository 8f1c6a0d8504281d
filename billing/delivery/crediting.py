"""The delivery leg: a confirmed payment becomes credit on the line, once.

Shaped like `charging`: `begin` commits the intent, the call happens outside, `record` commits what
came back. A carrier that cannot be asked by reference is never sent a second order by itself.
"""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing import rowsets
from billing.casebook import Heard
from billing.delivery import answers
from billing.delivery.answers import message
from billing.ledger import transfers
from billing.models import NoticeKind
from billing.notices import telling
from billing.recharges import aftermath, claims, disputed, evidence, intents, machine, recipients
from billing.recharges.claims import Work
from billing.recharges.ladders import DEFERRED_RECHECK
from billing.recharges.machine import Move
from billing.recharges.recipients import Recipient
from billing.rowsets import Column
from billing.states import DELIVERING_STATES, RechargeState
from lines.carriers.base import (
    CarrierAdapter,
    CreditAnswer,
    Credited,
    CreditRequest,
    LineAddress,
    Unknown,
)
from lines.references import new_reference

log = logging.getLogger(__name__)

S = RechargeState

_CREDITED_COLUMNS = (
    Column("reference", "text"),
    Column("carrier_ref", "text"),
    Column("credited_minor", "bigint"),
    Column("at", "timestamptz"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that was made: what was claimed, and what came back."""

    row: Work
    answer: CreditAnswer
    is_question: bool = False  # about an order that was sent before


# --- before the call ----------------------------------------------------------------------------


def begin(rows: Sequence[Work], *, at: datetime) -> list[Work]:
    """Commit a delivery intent for each paid row; the rows that are now ours to credit.

    An order the carrier has never heard of is sent under its own reference again. The line is
    looked at once more: one that was suspended is waited for, one that is gone is not credited.
    What its payer disputes is not credited either: it waits for the end of that.
    """
    ended = claims.gone_lines(rows)
    held = disputed.among([row.id for row in rows])
    ready = [_ready(row) for row in rows if _may_go(row, held=held, ended=ended, at=at)]
    with transaction.atomic():
        moved = machine.move([_sent(row, at=at) for row in ready], at=at)
        mine = [row for row in ready if row.id in moved]
        intents.deliveries([row for row in mine if not row.delivery_id], at=at)
    return [row._replace(state=S.DELIVERING.value) for row in mine]


def _may_go(row: Work, *, held: Set[int], ended: Set[int], at: datetime) -> bool:
    """Whether to credit now. What cannot go on is moved out of the way at once."""
    found = recipients.recipient(row, ended=ended, at=at)
    if row.id in held:
        _hold(row, at=at)
    elif found is Recipient.GONE:
        answers.gone(row, at=at)
    elif found is Recipient.AWAY:
        answers.away(row, at=at)
    elif row.carrier_deferred_since is not None:
        machine.wait(recharge_id=row.id, fence=row.fence, act_at=at + DEFERRED_RECHECK)
    else:
        return True
    return False


def _hold(row: Work, *, at: datetime) -> None:
    claims.stay(row, act_at=None, attention=machine.DISPUTED, heard=Heard.NOTHING, at=at)


def _ready(row: Work) -> Work:
    if claims.is_live_delivery(row):
        return row
    return row._replace(
        delivery_id=0,
        delivery_ref=new_reference(),
        delivery_count=row.delivery_count + 1,
        carrier_ref="",
    )


def _sent(row: Work, *, at: datetime) -> Move:
    return row.move(
        S.DELIVERING,
        "sent",
        at,
        keeps_lease=True,
        keeps_crashes=True,
        new_deliveries=0 if row.delivery_id else 1,
        heard=Heard.NOTHING,
    )


# --- the call -----------------------------------------------------------------------------------


def credit(row: Work, *, adapter: CarrierAdapter) -> CreditAnswer:
    """Send the committed order. No transaction is open."""
    return adapter.credit(
        request=CreditRequest(
            reference=row.delivery_ref,
            address=LineAddress(msisdn=row.msisdn, iccid=row.iccid),
            amount_minor=row.credit_minor,
            currency=row.currency,
        )
    )


def query(row: Work, *, adapter: CarrierAdapter) -> CreditAnswer:
    """Ask what became of the last order. No transaction is open."""
    if not adapter.can_query_by_reference and not row.carrier_ref:
        return CreditAnswer(Unknown("this carrier cannot be asked by reference"))
    return adapter.query(
        reference=row.delivery_ref,
        address=LineAddress(msisdn=row.msisdn, iccid=row.iccid),
        carrier_ref=row.carrier_ref,
    )


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
            answers.delivery(row=one.row, answer=one.answer, is_question=one.is_question, at=at)


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
        moved = machine.move([_credited_move(one, at=at) for one in credited], at=at)
        mine = [one for one in credited if one.row.id in moved]
        rowsets.update(
            "lines_delivery",
            _CREDITED_COLUMNS,
            [_settled(one, at=at) for one in mine],
            assign="state = 'credited', carrier_ref = v.carrier_ref, "
            "credited_minor = v.credited_minor, settled_at = v.at",
            where="t.reference = v.reference",
        )
        transfers.post([_entry(one.row, at=at) for one in mine])
        aftermath.credited(recharge_ids=[one.row.id for one in mine], at=at)
        told = [one.row for one in mine if one.row.remind_result is not False]
        telling.tell_many([message(row, NoticeKind.RECHARGED, "credited", at=at) for row in told])


def _credited_move(one: Asked, *, at: datetime) -> Move:
    outcome = one.answer.outcome
    assert isinstance(outcome, Credited)  # noqa: S101 - `_is_clean_credit` chose it
    differs = outcome.credited_minor != one.row.credit_minor
    return one.row.move(
        S.COMPLETED,
        "credited",
        None,
        completed_at=at,
        credited_minor=outcome.credited_minor,
        attention="credit_differs" if differs else "",
    )


def _settled(one: Asked, *, at: datetime) -> tuple[object, ...]:
    outcome = one.answer.outcome
    assert isinstance(outcome, Credited)  # noqa: S101 - `_is_clean_credit` chose it
    return one.row.delivery_ref, outcome.carrier_ref[:64], outcome.credited_minor, at


def _entry(row: Work, *, at: datetime) -> transfers.Entry:
    return transfers.delivered(
        recharge_id=row.id,
        reference=row.delivery_ref,
        carrier_code=row.carrier,
        credit_minor=row.credit_minor,
        currency=row.currency,
        at=at,
    )


def unusable(error: Exception) -> CreditAnswer:
    """A call that broke in our own code: whether anything was sent is not known."""
    return CreditAnswer(Unknown(f"{type(error).__name__} in the adapter"))

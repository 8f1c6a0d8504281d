"""The refund leg, run by the executor: the credit back from the carrier first, then the money.

Shaped like `charging` and `crediting`: `claims` leases what is due, `ask` is the one call, `record`
commits what came back. What may go back, and who decides it, is in `approvals`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing import rowsets
from billing.casebook import Heard
from billing.gateways.base import (
    Answer,
    Gateway,
    NotFound,
    Pending,
    RefundRequest,
    Refused,
    Succeeded,
    Unknown,
)
from billing.ledger import transfers
from billing.models import Recharge, Refund
from billing.recharges import aftermath, evidence, ladders
from billing.recharges.ladders import CONFIG_RETRY
from billing.recharges.machine import LostRace
from billing.refunds import afterwards, approvals, claims, settled
from billing.refunds.claims import RefundWork
from billing.states import ENDED_REFUND_STATES, RechargeState, RefundState
from lines.carriers.base import (
    CarrierAdapter,
    CreditAnswer,
    CreditRequest,
    LineAddress,
    NotAllowed,
)
from lines.carriers.base import Rejected as CarrierRejected
from lines.carriers.base import Reversed as CarrierReversed
from lines.carriers.base import Unknown as NoAnswer

log = logging.getLogger(__name__)

S = RechargeState
# A rail may need time to have the money it gives back (a merchant's empty balance).
REFUSED_WAIT = timedelta(hours=1)
MAX_REFUSALS = 5
GIVEN_UP_AFTER, DAILY = timedelta(days=30), timedelta(days=1)
REVERSAL_GRACE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The carrier had reversed the credit by itself: it must not be asked to do so again."""

    answer: CreditAnswer


Said = Answer | CreditAnswer | TakenBack


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that was made: what was claimed, and what came back."""

    row: RefundWork
    answer: Said


def set_aside(row: RefundWork, *, attention: str, at: datetime) -> None:
    """It stays where it is, and a person is called. Nothing was asked. Fenced."""
    with transaction.atomic():
        refund = Refund.objects.select_for_update(no_key=True).get(pk=row.id)
        if refund.fence == row.fence:
            settled.hold(refund, attention, heard=Heard.NOTHING, at=at)


def is_about_credit(row: RefundWork) -> bool:
    """Whether the carrier is asked next; otherwise it is the rail."""
    return row.state == RefundState.REVERSING.value


def is_unsent(row: RefundWork) -> bool:
    """Whether the rail has yet to be told to give the money back."""
    return row.state in (RefundState.REVERSING.value, RefundState.INTENDED.value)


def ask(row: RefundWork, *, gateway: Gateway) -> Answer:
    """The rail's next call. No transaction is open; repeated under the same reference."""
    if not is_unsent(row):
        return gateway.query_refund(refund_ref=row.reference, charge_ref=row.charge_ref)
    return gateway.refund(
        request=RefundRequest(
            refund_ref=row.reference,
            charge_ref=row.charge_ref,
            provider_charge_ref=row.provider_charge_ref,
            amount_minor=row.amount_minor,
            charged_minor=row.price_minor,
            currency=row.currency,
            reason=row.reason[:60],
        )
    )


def take_back(row: RefundWork, *, adapter: CarrierAdapter) -> CreditAnswer | TakenBack:
    """The carrier's next call. Look first: a line debited twice for one credit would be its
    holder's loss. No transaction is open."""
    is_perhaps_sent = row.queries > 0 or row.crash_count > 1
    if is_perhaps_sent and not adapter.can_query_by_reference:
        return CreditAnswer(NoAnswer("this carrier cannot be asked, so it is not sent again"))
    if adapter.can_query_by_reference:
        found = adapter.query(
            reference=row.delivery_ref,
            address=LineAddress(msisdn=row.msisdn, iccid=row.iccid),
            carrier_ref=row.carrier_ref,
        )
        if isinstance(found.outcome, CarrierReversed):
            return TakenBack(found)
        if isinstance(found.outcome, NoAnswer | NotAllowed):
            return found
    return adapter.reverse(
        request=CreditRequest(
            reference=row.reversal_ref,
            address=LineAddress(msisdn=row.msisdn, iccid=row.iccid),
            amount_minor=row.reversal_minor,
            currency=row.currency,
        ),
        carrier_ref=row.carrier_ref,
    )


def record(asked: Sequence[Asked], *, at: datetime) -> None:
    """Commit what came back, a row at a time: refunds are rare, and each must stand alone."""
    for one in asked:
        try:
            with transaction.atomic():
                _settle(one.row, one.answer, at=at)
        except LostRace:
            log.info("refund %s was settled by another worker", one.row.id)
        except rowsets.POISON:
            log.exception("answer about refund %s cannot be recorded", one.row.id)


def _settle(row: RefundWork, answer: Said, *, at: datetime) -> None:
    """Fenced: whoever holds a newer lease decides."""
    refund = Refund.objects.select_for_update(no_key=True).get(pk=row.id)
    if refund.fence != row.fence or refund.state != row.state:
        raise LostRace(refund.reference)
    if isinstance(answer, TakenBack):
        evidence.record_calls(answer.answer.exchanges, at=at)
        _settle_taken_back(refund, row, at=at)
        return
    if isinstance(answer, CreditAnswer):
        evidence.record_calls(answer.exchanges, at=at)
        _settle_reversal(refund, row, answer, at=at)
        return
    evidence.record_rail_calls([(row.rail, answer)], at=at)
    if refund.state in ENDED_REFUND_STATES:
        afterwards.heard(refund, answer.outcome, at=at)
        return
    _OUTCOMES.get(type(answer.outcome), _ask_again)(refund, row, answer.outcome, at)


def _settle_taken_back(refund: Refund, row: RefundWork, *, at: datetime) -> None:
    """All the line had of it is gone already. A refund of all goes on; one of a part ends, since
    all that is left is owed now, as after any credit that a carrier takes back."""
    left_minor = transfers.on_line_minor(recharge_id=row.recharge_id)
    if row.reversal_minor == left_minor:
        _book_reversal(refund, row, reference=row.delivery_ref, at=at)
        return
    because = "reversed_by_carrier"
    approvals.undo(refund, because=because, actor_id=None, at=at, back=S.REVERSED)
    _post_reversal(row, reference=row.delivery_ref, credit_minor=left_minor, at=at)
    recharge = Recharge.objects.get(pk=row.recharge_id)
    approvals.automatic(recharge=recharge, because=because, at=at)


def _book_reversal(refund: Refund, row: RefundWork, *, reference: str, at: datetime) -> None:
    """The credit is back from the carrier: the money may go back too."""
    _post_reversal(row, reference=reference, credit_minor=row.reversal_minor, at=at)
    settled.leave(refund, RefundState.INTENDED, act_at=at, at=at)


def _post_reversal(row: RefundWork, *, reference: str, credit_minor: int, at: datetime) -> None:
    entry = transfers.reversed_(
        recharge_id=row.recharge_id,
        reference=reference,
        carrier_code=row.carrier,
        credit_minor=credit_minor,
        currency=row.currency,
        at=at,
    )
    transfers.post([entry])
    aftermath.taken_back(recharge_ids=[row.recharge_id], at=at)


def _settle_reversal(
    refund: Refund, row: RefundWork, answer: CreditAnswer, *, at: datetime
) -> None:
    """Credit first, money second: nobody keeps both."""
    if isinstance(answer.outcome, CarrierReversed):
        _book_reversal(refund, row, reference=row.reversal_ref, at=at)
    elif isinstance(answer.outcome, NotAllowed):
        _may_not(refund, row, at=at)
    elif isinstance(answer.outcome, CarrierRejected):
        approvals.undo(
            refund, because="refund_refused", actor_id=None, at=at, code=answer.outcome.code
        )
    else:
        _retry(refund, at=at)


def _may_not(refund: Refund, row: RefundWork, *, at: datetime) -> None:
    """We are refused, not it: nothing was asked for, so it does not count as perhaps sent. It waits
    half as long again as it has lasted, and after a month it is a person's alone."""
    lasted = at - row.created_at
    if lasted > GIVEN_UP_AFTER:
        settled.hold(refund, "config", heard=Heard.SILENCE, at=at)
        return
    wait = min(max(lasted / 2, CONFIG_RETRY), DAILY)
    claims.release(row, act_at=at + wait, attention="config", at=at)


def _succeeded(refund: Refund, row: RefundWork, outcome: Succeeded, at: datetime) -> None:
    if outcome.amount_minor != refund.amount_minor or outcome.currency != refund.currency:
        settled.hold(refund, "amount_differs", at=at)
        return
    settled.given_back(refund, at=at)


def _refused(refund: Refund, row: RefundWork, outcome: Refused, at: datetime) -> None:
    """Tried again for a while (a merchant's balance may fill), then a person.

    Also of one that the rail had accepted: asked about it, a rail refuses only what has failed. So
    it is unsent again, and each round of accepting and failing counts.
    """
    del row
    refund.code = outcome.code[:80]
    refund.state = RefundState.INTENDED
    if refund.queries >= MAX_REFUSALS:
        settled.hold(refund, "refund_refused", at=at)
    else:
        settled.leave(refund, RefundState.INTENDED, act_at=at + REFUSED_WAIT, at=at, asked=1)


def _not_found(refund: Refund, row: RefundWork, outcome: NotFound, at: datetime) -> None:
    """Never happened: the same reference goes again, which the rail counts once.

    Not for ever: a rail that accepts it and has never heard of it, in turns, is a person's.
    """
    del row, outcome
    if ladders.next_query_at(queries=refund.queries, at=at) is None:
        settled.hold(refund, "refund_unknown", heard=Heard.SILENCE, at=at)
    else:
        settled.leave(refund, RefundState.INTENDED, act_at=at, at=at, asked=1, heard=Heard.SILENCE)


def _ask_again(refund: Refund, row: RefundWork, outcome: object, at: datetime) -> None:
    del row
    if isinstance(outcome, Pending):
        _still_pending(refund, at=at)
    elif isinstance(outcome, Unknown) and outcome.is_ours:
        _may_not_ask(refund, at=at)
    else:
        _retry(refund, at=at)


def _still_pending(refund: Refund, *, at: datetime) -> None:
    """Asked about gently for a month; then a person."""
    act_at = ladders.next_slow_at(queries=refund.queries, at=at)
    if act_at is None:
        settled.hold(refund, "refund_unknown", at=at)
    else:
        settled.leave(refund, RefundState.UNKNOWN, act_at=act_at, at=at, asked=1)


def _may_not_ask(refund: Refund, *, at: datetime) -> None:
    """The *question* was refused, which says nothing about the refund: an operator is told at once,
    and nothing is sent again."""
    act_at = ladders.next_config_at(rounds=refund.queries, at=at)
    if act_at is None:
        settled.hold(refund, "config", heard=Heard.SILENCE, at=at)
        return
    settled.leave(
        refund,
        RefundState.UNKNOWN,
        act_at=act_at,
        at=at,
        asked=1,
        heard=Heard.SILENCE,
        attention="config",
    )


def _retry(refund: Refund, *, at: datetime) -> None:
    """Up the ladder under the same reference; at its end a person."""
    since = refund.unknown_since
    act_at = ladders.next_query_at(queries=refund.queries, at=at, since=since)
    if act_at is None:
        settled.hold(refund, "refund_unknown", heard=Heard.SILENCE, at=at)
        return
    refund.unknown_since = since or at
    state = RefundState.UNKNOWN
    if refund.state == RefundState.REVERSING:
        # It has no key: sent again only when a late effect of the last one would have shown.
        state, act_at = RefundState.REVERSING, max(act_at, at + REVERSAL_GRACE)
    settled.leave(refund, state, act_at=act_at, at=at, asked=1, heard=Heard.SILENCE)


_OUTCOMES: Mapping[type, Callable[..., None]] = {
    Succeeded: _succeeded,
    Refused: _refused,
    NotFound: _not_found,
    Unknown: _ask_again,
}

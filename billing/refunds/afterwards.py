"""What a rail says of a refund that has its end already: one that succeeded may come back days
later, and one that was given up may have been made after all (rule 28).

In the caller's transaction, with the refund locked. Nothing is believed but an answer to a question
of ours.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing.casebook import Heard
from billing.gateways.base import Outcome, Pending, Refused, Succeeded, Unknown
from billing.ledger import transfers
from billing.models import NoticeKind, Recharge, Refund, Settlement, Transfer, TransferKind
from billing.recharges import ladders, machine
from billing.recharges.machine import Move
from billing.refunds import approvals, settled
from billing.states import Finding, RechargeState, RefundState, RefundWay, SettlementState

S = RechargeState
FAILED = "refund_failed"  # the attention code of money that came back to us
LATE = "late_refund"  # and of money that went back though its refund had been given up
LATE_REVERSAL = "late_reversal"  # and of a credit that was taken back though its refund had ended
LATE_ONES = (LATE, LATE_REVERSAL)


def heard(refund: Refund, outcome: Outcome, *, at: datetime) -> None:
    """Its rail was asked about it once more, since somebody spoke of it."""
    has_succeeded = refund.state == RefundState.SUCCEEDED
    if has_succeeded and isinstance(outcome, Refused):
        _came_back(refund, outcome.code, at=at)
    elif not has_succeeded and isinstance(outcome, Succeeded) and not is_booked(refund):
        settled.hold(refund, LATE, at=at)
    elif isinstance(outcome, Unknown | Pending):
        _ask_again(refund, at=at)
    else:
        settled.leave(refund, RefundState(refund.state), act_at=None, at=at)


def _came_back(refund: Refund, code: str, *, at: datetime) -> None:
    """Where another refund of the same charge is under way, that one ends first."""
    if Recharge.objects.filter(pk=refund.recharge_id, state=S.REFUNDING).exists():
        _ask_again(refund, at=at)
        return
    leave_failed(refund, code, at=at)


def _ask_again(refund: Refund, *, at: datetime) -> None:
    state = RefundState(refund.state)
    act_at = ladders.next_query_at(queries=refund.queries, at=at)
    if act_at is None:
        settled.hold(refund, "refund_unknown", heard=Heard.SILENCE, at=at)
    else:
        settled.leave(refund, state, act_at=act_at, at=at, asked=1, heard=Heard.SILENCE)


def taken_back(*, reference: str, at: datetime) -> None:
    """A carrier's statement lists the taking back of a credit for a refund that had ended without
    it: people say whether it is so. In a transaction of its own; may come again."""
    with transaction.atomic():
        ended = Refund.objects.select_for_update(no_key=True).filter(
            reversal_ref=reference, state=RefundState.REFUSED, attention="", act_at=None
        )
        refund = ended.first()
        if refund is not None and not _is_answered(refund):
            settled.hold(refund, LATE_REVERSAL, at=at)


def _is_answered(refund: Refund) -> bool:
    """Whether two people have said since that the carrier did not: its statement is wrong."""
    said = Settlement.objects.filter(
        refund=refund, finding=Finding.NOT_TAKEN, state=SettlementState.APPROVED
    )
    return said.filter(settled_at__gt=refund.settled_at).exists()


def is_booked(refund: Refund) -> bool:
    """Whether what the rail has given back under its reference is in the books."""
    kinds = (TransferKind.REFUND, TransferKind.REFUND_EXCESS, TransferKind.REFUND_FOREIGN)
    return Transfer.objects.filter(reference=refund.reference, kind__in=kinds).exists()


def leave_failed(refund: Refund, code: str, *, at: datetime) -> None:
    """It had succeeded and came back. The money is owed as before, its payer is told, and a person
    finds it another way: a new refund waits for them, under a reference of its own."""
    recharge = reopen(refund, code=code, because=FAILED, at=at)
    if owe(recharge, refund.returned_minor, code=code, at=at) is not None:
        settled.tell(refund, recharge, NoticeKind.REFUND_FAILED, FAILED, at=at)


def owe(recharge: Recharge, minor: int, *, code: str, at: datetime) -> Refund | None:
    """What came back to us is owed again: a refund of it that waits for a person. First it covers
    what a bank has taken for the payer beyond what had gone back (None: all of it does)."""
    minor -= _covered(recharge, minor, at=at)
    if not minor:
        return None
    again = approvals.create(
        recharge=recharge,
        amount_minor=minor,
        reason=FAILED,
        requested_by=None,
        state=RefundState.INTENDED,
        at=at,
    )
    again.code = code[:80]
    settled.hold(again, FAILED, at=at)
    return again


def _covered(recharge: Recharge, minor: int, *, at: datetime) -> int:
    """Only where the line has nothing of it: else the loss is of what the line keeps."""
    lost_minor = transfers.lost_minor(recharge_id=recharge.pk)
    covered_minor = min(lost_minor, minor) if recharge.state == S.REVERSED else 0
    if covered_minor:
        approvals.cover(recharge, covered_minor, because=FAILED, at=at)
    return covered_minor


def reopen(refund: Refund, *, code: str, because: str, at: datetime) -> Recharge:
    """Book that what had gone back is with us again; the recharge, from where a refund may begin
    anew: completed where the line still has a part of it, else reversed."""
    is_bank = refund.way == RefundWay.BANK
    kind = TransferKind.CHARGEBACK_RETURNED if is_bank else TransferKind.REFUND_FAILED
    entries = transfers.refund_failed(
        recharge_id=refund.recharge_id,
        reference=refund.reference,
        rail_code=refund.attempt.rail,
        amount_minor=refund.returned_minor,
        promotion_minor=refund.returned_promotion_minor,
        currency=refund.currency,
        at=at,
        kind=kind,
    )
    transfers.post(entries)
    refund.code = code[:80]
    settled.leave(refund, RefundState.REFUSED, act_at=None, at=at)
    recharge = Recharge.objects.select_for_update(no_key=True).get(pk=refund.recharge_id)
    Recharge.objects.filter(pk=recharge.pk).update(
        refund_committed_minor=F("refund_committed_minor") - refund.returned_minor
    )
    if recharge.state == S.REFUNDED:
        machine.move_one(
            Move(recharge.pk, S.REFUNDED.value, S.REVERSED.value, because, None), at=at
        )
    recharge.refresh_from_db()
    return recharge

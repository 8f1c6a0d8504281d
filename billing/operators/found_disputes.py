"""What a payer's bank did in a dispute, and where that leads (rule 28).

What it keeps is taken from what was charged: where the line has its credit, the loss is ours; where
it has none, that money lay ready to go back anyhow, and nothing follows but the rest. A refund that
stands still for the dispute ends with it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from billing.ledger import transfers
from billing.models import NoticeKind, Recharge, Refund, Settlement, Transfer, TransferKind
from billing.operators.found import Found, NotWithinCharge
from billing.recharges import cases, disputed, machine
from billing.recharges.machine import Move
from billing.refunds import afterwards, approvals, settled
from billing.refunds.disputes import GIVEN_AGAIN
from billing.states import Finding, RefundState, RefundWay
from billing.states import RechargeState as S
from lines.models import Delivery, DeliveryState

LOST, WON = "dispute_lost", "dispute_won"
# The line has nothing of it, and nothing of it is on the way there.
_NOT_CREDITED = (S.CHARGED, S.UNDELIVERABLE, S.REVERSED)
_STANDING_STILL = (RefundState.REQUESTED, RefundState.REVERSING, RefundState.INTENDED)


def possible(recharge: Recharge) -> list[Finding]:
    """What may be said of its disputes."""
    found = [Finding.LOST] if _may_be_lost(recharge) else []
    return found + ([Finding.RETURNED] if _may_come_back(recharge) else [])


def _may_be_lost(recharge: Recharge) -> bool:
    """Whether its payer's bank may have taken the money back, and the books do not have it. Not
    while a refund or a credit is on its way: that comes to its end first. Also of what had gone
    back whole: a bank may take it all the same."""
    at_rest = (S.COMPLETED, S.REFUNDED, *_NOT_CREDITED)
    is_still = recharge.state in at_rest or _still(recharge) is not None
    is_asked = is_still and disputed.is_unsettled(recharge_id=recharge.pk)
    return is_asked and not is_nothing_left(recharge)


def _may_come_back(recharge: Recharge) -> bool:
    is_still = recharge.state in (S.COMPLETED, S.REFUNDED, S.REVERSED)
    return is_still and disputed.is_lost(recharge_id=recharge.pk)


def _still(recharge: Recharge) -> Refund | None:
    """The refund that stands still: nothing of it has reached the rail."""
    if recharge.state != S.REFUNDING:
        return None
    return recharge.refunds.filter(state__in=_STANDING_STILL, act_at=None).first()


def dispute_of(recharge: Recharge, found: Found) -> str:
    """The rail's number of the dispute that is meant: a person may have named the payment."""
    if found.finding not in (Finding.LOST, Finding.RETURNED):
        return ""
    if found.finding == Finding.RETURNED:
        known = _booked_as_lost(recharge)
    else:
        known = disputed.unsettled(recharge_id=recharge.pk)
    return found.payment_ref if found.payment_ref in known or not known else known[0]


def _booked_as_lost(recharge: Recharge) -> list[str]:
    lost = recharge.settlements.filter(state="approved", finding=Finding.LOST)
    return list(lost.order_by("-settled_at", "-pk").values_list("dispute_ref", flat=True))


def refuse_beyond(recharge: Recharge, found: Found) -> None:
    """A bank takes back what was charged, or a part of it: never what went back before, by a refund
    or another dispute; and gives us again no more than it took. Raises NotWithinCharge."""
    if found.finding == Finding.LOST:
        _refuse(found, most=_left_minor(recharge), recharge=recharge)
    elif found.finding == Finding.RETURNED:
        most = transfers.lost_minor(recharge_id=recharge.pk) + _taken_minor(recharge)
        _refuse(found, most=most, recharge=recharge)


def _refuse(found: Found, *, most: int, recharge: Recharge) -> None:
    is_within = 0 < (found.taken_minor or 0) <= most
    if found.taken_currency != recharge.currency or not is_within:
        raise NotWithinCharge(most)


def is_nothing_left(recharge: Recharge) -> bool:
    """Whether the books have nothing that a bank could take: it was never paid, or banks have taken
    all of it. What one takes all the same is between it and the rail."""
    return recharge.charged_at is None or _left_minor(recharge) <= 0


def _left_minor(recharge: Recharge) -> int:
    """What was charged and has not gone back; one that stands still has not. Of what went back
    whole, what no bank has taken yet: that is taken from us a second time."""
    if recharge.state == S.REFUNDED:
        lost_minor = transfers.lost_minor(recharge_id=recharge.pk)
        return recharge.price_minor - lost_minor - _taken_minor(recharge)
    still = _still(recharge)
    committed_minor = recharge.refund_committed_minor - (still.amount_minor if still else 0)
    lost_minor = transfers.lost_minor(recharge_id=recharge.pk)
    return recharge.price_minor - committed_minor - lost_minor


def _taken(recharge: Recharge) -> list[Refund]:
    """What banks have taken of what the line does not have, the last first."""
    by_banks = recharge.refunds.filter(way=RefundWay.BANK, state=RefundState.SUCCEEDED)
    return list(by_banks.order_by("-pk"))


def _taken_minor(recharge: Recharge) -> int:
    return sum(one.returned_minor for one in _taken(recharge))


# --- where each finding leads -------------------------------------------------------------------


def _lost(recharge: Recharge, one: Settlement, at: datetime) -> None:
    refuse_beyond(recharge, as_found(one))
    still = _still(recharge)
    back_minor = still.reversal_minor if still and still.state == RefundState.INTENDED else 0
    if still is not None:
        _end(still, at=at)
        recharge.refresh_from_db()
    if recharge.state in (S.COMPLETED, S.REFUNDED):
        _of_credited(recharge, one, still if back_minor else None, at=at)
    else:
        _of_not_credited(recharge, one, at=at)
    clear(recharge, one, at=at)


def _end(still: Refund, *, at: datetime) -> None:
    """It goes no further: the recharge goes back to where it was, or to where the credit is."""
    is_back = still.state == RefundState.INTENDED and still.reversal_minor > 0
    is_all = is_back and not transfers.on_line_minor(recharge_id=still.recharge_id)
    approvals.undo(
        still, because=LOST, actor_id=None, at=at, code=LOST, back=S.REVERSED if is_all else None
    )


def _of_credited(recharge: Recharge, one: Settlement, back: Refund | None, *, at: datetime) -> None:
    """The line keeps what it has, or its payer had the money back before, and that much of the loss
    is ours. `back`: a refund for which a part of the credit has come back; the bank's taking is of
    that first."""
    minor = one.taken_minor or 0
    if back is not None:
        part_minor = min(minor, back.amount_minor)
        _by_the_bank(recharge, one, part_minor, at=at)
        minor -= part_minor
        _go_on(recharge, back, back.amount_minor - part_minor, at=at)
    if minor:
        is_first = not Transfer.objects.filter(
            reference=one.attempt.reference, kind=TransferKind.CHARGEBACK
        ).exists()
        entry = transfers.charged_back(
            recharge_id=recharge.pk,
            reference=one.attempt.reference if is_first else one.reference,
            rail_code=one.attempt.rail,
            amount_minor=minor,
            currency=one.taken_currency,
            at=at,
        )
        transfers.post([entry])


def _go_on(recharge: Recharge, back: Refund, minor: int, *, at: datetime) -> None:
    """What the bank has left of a refund whose credit is back goes on, as two people had let it."""
    if not minor:
        return
    recharge.refresh_from_db()
    again = approvals.create(
        recharge=recharge,
        amount_minor=minor,
        reason=back.reason,
        requested_by=back.requested_by,
        state=RefundState.REQUESTED,
        at=at,
    )
    again.approved_by_id, again.state, again.act_at = (
        back.approved_by_id,
        RefundState.INTENDED,
        at,
    )
    again.save()


def _of_not_credited(recharge: Recharge, one: Settlement, *, at: datetime) -> None:
    """It ends: its payer has the money from the bank, the rest follows, and no credit."""
    if recharge.state == S.CHARGED:
        never = Delivery.objects.filter(order_ref=recharge.ref, settled_at=None)
        never.update(state=DeliveryState.REJECTED, code=LOST, settled_at=at)
        machine.move_one(
            Move(recharge.pk, S.CHARGED.value, S.UNDELIVERABLE.value, LOST, None), at=at
        )
    _by_the_bank(recharge, one, one.taken_minor or 0, at=at)
    recharge.refresh_from_db()
    if recharge.state == S.REVERSED:
        approvals.automatic(recharge=recharge, because=LOST, at=at)


def _by_the_bank(
    recharge: Recharge, one: Settlement, minor: int, *, at: datetime, is_news: bool = True
) -> None:
    recharge.refresh_from_db()
    refund = approvals.create(
        recharge=recharge,
        amount_minor=minor,
        reason=one.reason,
        requested_by=one.requested_by,
        state=RefundState.REQUESTED,
        at=at,
        way=RefundWay.BANK,
    )
    refund.approved_by_id = one.decided_by_id
    settled.given_back(refund, at=at, is_news=is_news)


def _returned(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """First of what the line never had, which is owed again; the rest is less of a loss."""
    refuse_beyond(recharge, as_found(one))
    minor = one.taken_minor or 0
    owed_minor = min(minor, _taken_minor(recharge))
    if owed_minor:
        _owe_again(recharge, one, owed_minor, at=at)
    if minor > owed_minor:
        entry = transfers.loss_returned(
            recharge_id=recharge.pk,
            reference=one.reference,
            rail_code=one.attempt.rail,
            amount_minor=minor - owed_minor,
            currency=one.taken_currency,
            at=at,
        )
        transfers.post([entry])
    clear(recharge, one, at=at)


def _owe_again(recharge: Recharge, one: Settlement, minor: int, *, at: datetime) -> None:
    """What banks took is with us again, the last taken first. Where it is less than one took, that
    one keeps the rest: taken anew, of which its payer was told then."""
    left_minor = minor
    for refund in _taken(recharge):
        if left_minor:
            afterwards.reopen(refund, code=WON, because=afterwards.FAILED, at=at)
            kept_minor = max(refund.returned_minor - left_minor, 0)
            left_minor -= refund.returned_minor - kept_minor
            if kept_minor:
                _by_the_bank(recharge, one, kept_minor, at=at, is_news=False)
    recharge.refresh_from_db()
    again = afterwards.owe(recharge, minor, code=WON, at=at)
    if again is not None:
        settled.tell(again, recharge, NoticeKind.REFUND_FAILED, afterwards.FAILED, at=at)


def as_found(one: Settlement) -> Found:
    """What was said, as whoever said it had found it."""
    return Found(Finding(one.finding), one.payment_ref, one.taken_minor, one.taken_currency)


def clear(recharge: Recharge, one: Settlement, *, at: datetime) -> None:
    """What is in the books now needs nobody any more; what is not, still does."""
    codes = set()
    if not disputed.is_unsettled(recharge_id=recharge.pk):
        codes.add(machine.DISPUTED)
    if not disputed.is_owed_back(recharge_id=recharge.pk):
        codes.add(GIVEN_AGAIN)
    over = cases.of(recharge).filter(code__in=codes)
    because = "settled_lost" if one.finding == Finding.LOST else "settled_returned"
    cases.settle(over, because=because, actor_id=one.decided_by_id, at=at)


CARRY_OUT: Mapping[Finding, Callable[[Recharge, Settlement, datetime], None]] = {
    Finding.LOST: _lost,
    Finding.RETURNED: _returned,
}

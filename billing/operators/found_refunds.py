"""What a rail did with a refund that it will not speak clearly of, or gave back otherwise than was
asked; what a carrier did with the credit that was to come back for it; and where that leads."""

from collections.abc import Callable, Mapping
from datetime import datetime

from django.db.models import F

from billing.ledger import transfers
from billing.models import Recharge, Refund, Settlement, TransferKind
from billing.recharges import aftermath, cases, disputed
from billing.recharges.claims import CRASHED
from billing.refunds import afterwards, approvals, settled
from billing.states import ENDED_REFUND_STATES, Finding, RechargeState, RefundState, RefundWay

S = RechargeState
# That we are not let in for good is unclear, too: what is tried still, nobody is asked about.
_UNCLEAR = frozenset(("refund_unknown", "amount_differs", "config", CRASHED))


def refund_of(recharge: Recharge) -> Refund | None:
    """The refund of it that a person is called for, and nobody is about to ask about."""
    called = recharge.refunds.exclude(attention="").filter(act_at=None)
    return called.select_related("attempt").order_by("-pk").first()


def possible(recharge: Recharge) -> list[Finding]:
    """What may be said of its refund."""
    refund = refund_of(recharge)
    if refund is None:
        return []
    codes = cases.refund_codes(refund)
    is_unclear = not _UNCLEAR.isdisjoint(codes)
    if refund.state == RefundState.REVERSING:
        return [Finding.TAKEN_BACK, Finding.NOT_TAKEN] if is_unclear else []
    if afterwards.LATE_REVERSAL in codes:
        return _of_one_taken_back_late(recharge, refund)
    if refund.state in ENDED_REFUND_STATES:
        is_asked = is_unclear or afterwards.LATE in codes
        return [Finding.UNREFUNDED, Finding.REFUNDED] if is_asked else []
    if is_unclear:
        return [Finding.UNREFUNDED, Finding.REFUNDED, Finding.OTHERWISE]
    return _of_one_refused(recharge, refund)


def _of_one_taken_back_late(recharge: Recharge, refund: Refund) -> list[Finding]:
    """It goes on from there, where the books have that much on the line and another refund is not
    under way: that one comes to its end first."""
    if recharge.state == S.REFUNDING:
        return []
    left_minor = recharge.price_minor - recharge.refund_committed_minor
    is_there = (
        recharge.state == S.COMPLETED
        and refund.amount_minor <= left_minor
        and refund.reversal_minor <= transfers.on_line_minor(recharge_id=recharge.pk)
    )
    return [Finding.TAKEN_BACK, Finding.NOT_TAKEN] if is_there else [Finding.NOT_TAKEN]


def _of_one_refused(recharge: Recharge, refund: Refund) -> list[Finding]:
    """By another way only what the rail has refused for good, and no bank may take back as well."""
    is_free = approvals.is_refused_by_rail(refund)
    if is_free and not disputed.is_unsettled(recharge_id=recharge.pk):
        return [Finding.PAID_OUT]
    return []


# --- where each finding leads -------------------------------------------------------------------


def _unrefunded(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """As if the rail had refused it: asked for again, given up, or paid out by another way."""
    refund = _refund(one, at=at)
    if refund.state == RefundState.SUCCEEDED:
        afterwards.leave_failed(refund, "unrefunded", at=at)
    elif refund.state == RefundState.REFUSED:
        settled.leave(refund, RefundState.REFUSED, act_at=None, at=at)
    else:
        refund.state = RefundState.INTENDED
        settled.hold(refund, "refund_refused", at=at)


def _refunded(recharge: Recharge, one: Settlement, at: datetime) -> None:
    refund = _refund(one, at=at)
    if refund.state == RefundState.SUCCEEDED:
        settled.leave(refund, RefundState.SUCCEEDED, act_at=None, at=at)
    elif refund.state == RefundState.REFUSED:
        _after_all(recharge, refund, at=at)
    else:
        settled.given_back(refund, at=at)


def _after_all(recharge: Recharge, refund: Refund, *, at: datetime) -> None:
    """It had been given up, and was made. Where its money still lay there, it is a refund as any
    other; where the line was credited since, or it went back anew, the loss is ours."""
    is_there = recharge.state in (S.REVERSED, S.UNDELIVERABLE)
    left_minor = recharge.price_minor - recharge.refund_committed_minor
    if is_there and refund.amount_minor == left_minor:
        again = approvals.resumed(recharge=recharge, refund=refund, at=at)
        settled.given_back(again, at=at)
        return
    settled.leave(refund, RefundState.REFUSED, act_at=None, at=at)
    _post_beyond(refund, refund.amount_minor, refund.currency, at=at)


def _otherwise(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """What the rail gave is booked as it gave it. Less: the rest still goes back. More, or another
    currency, which its payer has instead: the loss is ours."""
    refund, minor = _refund(one, at=at), one.taken_minor or 0
    if one.taken_currency != refund.currency:
        settled.given_back(refund, at=at, kind=TransferKind.REFUND_KEPT)
        kind = TransferKind.REFUND_FOREIGN
        _post_beyond(refund, minor, one.taken_currency, at=at, kind=kind)
    elif minor >= refund.amount_minor:
        settled.given_back(refund, at=at)
        if minor > refund.amount_minor:
            _post_beyond(refund, minor - refund.amount_minor, refund.currency, at=at)
    else:
        _less(recharge, refund, one, minor, at=at)


def _less(recharge: Recharge, refund: Refund, one: Settlement, minor: int, *, at: datetime) -> None:
    rest_minor = refund.amount_minor - minor
    refund.given_minor = minor
    refund.given_promotion_minor = refund.promotion_minor * minor // refund.amount_minor
    Recharge.objects.filter(pk=recharge.pk).update(
        refund_committed_minor=F("refund_committed_minor") - rest_minor
    )
    settled.given_back(refund, at=at)
    recharge.refresh_from_db()
    rest = approvals.create(
        recharge=recharge,
        amount_minor=rest_minor,
        reason=one.reason,
        requested_by=one.requested_by,
        state=RefundState.REQUESTED,
        at=at,
    )
    rest.approved_by_id, rest.state, rest.act_at = one.decided_by_id, RefundState.INTENDED, at
    rest.save()


def _post_beyond(
    refund: Refund,
    minor: int,
    currency: str,
    *,
    at: datetime,
    kind: TransferKind = TransferKind.REFUND_EXCESS,
) -> None:
    entry = transfers.given_beyond(
        recharge_id=refund.recharge_id,
        reference=refund.reference,
        rail_code=refund.attempt.rail,
        amount_minor=minor,
        currency=currency,
        at=at,
        kind=kind,
    )
    transfers.post([entry])


def _paid_out(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """The rail never will; its payer has it by another way, and nothing is sent any more."""
    refund = _refund(one, at=at)
    refund.way = RefundWay.ELSEWHERE
    settled.given_back(refund, at=at)


def _taken_back(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """The credit is back from the carrier: the money may go back too."""
    refund = _refund(one, at=at)
    if refund.state == RefundState.REFUSED:  # it had ended without that, and goes on now
        promotion_minor = refund.promotion_minor
        approvals.resumed(recharge=recharge, refund=refund, at=at, because="reversed_by_carrier")
        refund.promotion_minor = promotion_minor  # what was taken back with it
    carrier_code = recharge.line.carrier.code
    entry = transfers.reversed_(
        recharge_id=recharge.pk,
        reference=refund.reversal_ref or "",
        carrier_code=carrier_code,
        credit_minor=refund.reversal_minor,
        currency=refund.currency,
        at=at,
    )
    transfers.post([entry])
    aftermath.taken_back(recharge_ids=[recharge.pk], at=at)
    settled.leave(refund, RefundState.INTENDED, act_at=at, at=at)


def _not_taken(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """The line keeps its credit, so no money goes back."""
    refund = _refund(one, at=at)
    if refund.state == RefundState.REFUSED:
        settled.leave(refund, RefundState.REFUSED, act_at=None, at=at)
        return
    approvals.undo(
        refund,
        because="refund_refused",
        actor_id=one.decided_by_id,
        at=at,
        code="not_taken",
    )


def _refund(one: Settlement, *, at: datetime) -> Refund:
    """It, locked. What people were called for is answered by what they say; what else there is,
    stays."""
    assert one.refund_id is not None  # noqa: S101 - a CHECK holds it
    locked = Refund.objects.select_for_update(no_key=True, of=("self",))
    refund = locked.select_related("attempt").get(pk=one.refund_id)
    over = cases.of_refund(refund).filter(code__in=[*_UNCLEAR, *afterwards.LATE_ONES])
    if cases.settle(over, because="settled_by_two", actor_id=one.decided_by_id, at=at):
        refund.refresh_from_db(fields=["attention"])
    return refund


CARRY_OUT: Mapping[Finding, Callable[[Recharge, Settlement, datetime], None]] = {
    Finding.UNREFUNDED: _unrefunded,
    Finding.REFUNDED: _refunded,
    Finding.OTHERWISE: _otherwise,
    Finding.PAID_OUT: _paid_out,
    Finding.TAKEN_BACK: _taken_back,
    Finding.NOT_TAKEN: _not_taken,
}

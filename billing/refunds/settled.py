"""How a refund ends or waits: booked, told, left for later, or held for a person.

In the caller's transaction, with the refund locked. Who carries it out is `refunding`; what people
find out about one is said in `billing.operators`.
"""

from datetime import datetime

from billing.casebook import Heard
from billing.ledger import transfers
from billing.models import NoticeKind, Recharge, Refund, TransferKind
from billing.notices import telling
from billing.recharges import aftermath, cases, machine
from billing.recharges.machine import Move
from billing.states import ENDED_REFUND_STATES, RechargeState, RefundState, RefundWay
from lines.models import Delivery, DeliveryState

S = RechargeState
_BOOKED_AS = {
    RefundWay.RAIL: TransferKind.REFUND,
    RefundWay.BANK: TransferKind.CHARGEBACK,
    RefundWay.ELSEWHERE: TransferKind.PAID_OUT,
}


def given_back(
    refund: Refund, *, at: datetime, kind: TransferKind | None = None, is_news: bool = True
) -> None:
    """The payer has it: booked, told, and the recharge goes where that leads. `kind`: as what it
    is booked, where its way does not say so; `is_news`: whether its payer was not told before."""
    transfers.post(
        transfers.refunded(
            recharge_id=refund.recharge_id,
            reference=refund.reference,
            rail_code=refund.attempt.rail,
            amount_minor=refund.returned_minor,
            promotion_minor=refund.returned_promotion_minor,
            currency=refund.currency,
            at=at,
            kind=kind or _BOOKED_AS[RefundWay(refund.way)],
        )
    )
    leave(refund, RefundState.SUCCEEDED, act_at=None, at=at)
    recharge = Recharge.objects.get(pk=refund.recharge_id)
    is_whole = recharge.refund_committed_minor == recharge.price_minor
    if is_whole or transfers.on_line_minor(recharge_id=recharge.pk):
        target = S.REFUNDED if is_whole else S.COMPLETED
    else:
        target = S.REVERSED  # the line has nothing of it, and a part is still owed
    machine.move_one(Move(recharge.pk, S.REFUNDING.value, target.value, _why(refund), None), at=at)
    if is_whole:
        _after_whole(recharge, at=at)
    if is_news:
        tell(refund, recharge, NoticeKind.REFUNDED, _why(refund), at=at)


def _why(refund: Refund) -> str:
    return "dispute_lost" if refund.way == RefundWay.BANK else "refunded"


def _after_whole(recharge: Recharge, *, at: datetime) -> None:
    """The line has nothing of it any more: its delivery is reversed, its rule may fire again."""
    Delivery.objects.filter(order_ref=recharge.ref, state=DeliveryState.CREDITED).update(
        state=DeliveryState.REVERSED, settled_at=at
    )
    aftermath.refunded(recharge_ids=[recharge.pk], at=at)


def leave(
    refund: Refund,
    state: RefundState,
    *,
    act_at: datetime | None,
    at: datetime,
    asked: int = 0,
    heard: Heard = Heard.ANSWER,
    attention: str = "",
) -> None:
    """Where it stands now, and when it is looked at next. `attention`: the case that it opens
    meanwhile; `heard`: what it settles goes by that."""
    is_final = state in ENDED_REFUND_STATES
    if state not in (RefundState.UNKNOWN, RefundState.REVERSING):
        refund.unknown_since = None
    refund.state = state
    refund.act_at = act_at
    refund.lease_until = None
    refund.crash_count, refund.queries = 0, refund.queries + asked if asked else 0
    refund.settled_at = (refund.settled_at or at) if is_final else None
    refund.save()
    because = _why(refund) if state == RefundState.SUCCEEDED else "answered"
    cases.follow_refund(refund, because=because, heard=heard, opens=attention, at=at)


def hold(refund: Refund, attention: str, *, at: datetime, heard: Heard = Heard.ANSWER) -> None:
    """For a person: the recharge shows it too, on the operators' front page, with its age."""
    refund.act_at, refund.lease_until = None, None
    refund.crash_count = 0
    refund.save()
    cases.follow_refund(refund, because="answered", heard=heard, opens=attention, at=at)


def tell(refund: Refund, recharge: Recharge, kind: NoticeKind, code: str, *, at: datetime) -> None:
    """Its payer, once for each refund and kind."""
    telling.tell(
        owner_id=recharge.owner_id,
        kind=kind,
        occurrence_key=refund.reference,
        line_id=recharge.line_id,
        recharge_id=recharge.pk,
        facts={
            "code": code,
            "amount_minor": refund.returned_minor,
            "currency": refund.currency,
        }
        | ({"rail": refund.attempt.rail} if refund.way == RefundWay.RAIL else {}),
        channels=recharge.rule.channels if recharge.rule else None,
        at=at,
    )

"""What a carrier did with a credit that it will never tell of: it cannot be asked, it does not
answer, or it is out of business (rule 21)."""

from collections.abc import Callable, Mapping
from datetime import datetime

from billing.ledger import transfers
from billing.models import NoticeKind, Recharge, Settlement
from billing.notices import telling
from billing.recharges import aftermath, cases, machine
from billing.recharges.claims import CRASHED
from billing.recharges.machine import Move
from billing.refunds import approvals
from billing.states import DELIVERING_STATES, Finding
from billing.states import RechargeState as S
from lines.models import Delivery, DeliveryState

_UNCLEAR = frozenset(("delivery_unknown", "config", CRASHED))


def possible(recharge: Recharge) -> list[Finding]:
    """What may be said of its credit."""
    if _UNCLEAR.isdisjoint(cases.codes(recharge)):
        return []
    if recharge.state in DELIVERING_STATES and _order(recharge) is not None:
        return [Finding.CREDITED, Finding.UNCREDITED]
    # Never taken by a carrier that does not let us in: nothing but the money can go back.
    return [Finding.UNCREDITED] if recharge.state == S.CHARGED else []


def _order(recharge: Recharge) -> Delivery | None:
    live = Delivery.objects.filter(order_ref=recharge.ref, settled_at=None)
    return live.order_by("-number").first()


# --- where each finding leads -------------------------------------------------------------------


def _credited(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """As if the carrier had said so: booked, and told."""
    order = _order(recharge)
    assert order is not None  # noqa: S101 - `possible` has seen it, under the recharge's lock
    Delivery.objects.filter(pk=order.pk).update(
        state=DeliveryState.CREDITED,
        carrier_ref=one.payment_ref,
        credited_minor=order.amount_minor,
        settled_at=at,
    )
    move = Move(
        recharge.pk,
        recharge.state,
        S.COMPLETED.value,
        "settled_credited",
        None,
        completed_at=at,
        credited_minor=order.amount_minor,
        note=one.reason,
        actor_id=one.decided_by_id,
    )
    machine.move_one(move, at=at)
    entry = transfers.delivered(
        recharge_id=recharge.pk,
        reference=order.reference,
        carrier_code=recharge.line.carrier.code,
        credit_minor=order.amount_minor,
        currency=recharge.currency,
        at=at,
    )
    transfers.post([entry])
    aftermath.credited(recharge_ids=[recharge.pk], at=at)
    _tell(recharge, NoticeKind.RECHARGED, "settled_credited", at=at)


def _uncredited(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """The money goes back. Of a disputed payment it stands still, as any refund does."""
    orders = Delivery.objects.filter(order_ref=recharge.ref, settled_at=None)
    orders.update(state=DeliveryState.REJECTED, code="settled_uncredited", settled_at=at)
    move = Move(
        recharge.pk,
        recharge.state,
        S.UNDELIVERABLE.value,
        "settled_uncredited",
        None,
        note=one.reason,
        actor_id=one.decided_by_id,
    )
    machine.move_one(move, at=at)
    recharge.refresh_from_db()
    approvals.automatic(recharge=recharge, because="settled_uncredited", at=at)


def _tell(recharge: Recharge, kind: NoticeKind, code: str, *, at: datetime) -> None:
    rule = recharge.rule
    if rule is not None and not rule.remind_result:
        return
    telling.tell(
        owner_id=recharge.owner_id,
        kind=kind,
        occurrence_key=f"{recharge.ref}:{code}",
        line_id=recharge.line_id,
        recharge_id=recharge.pk,
        facts={
            "code": code,
            "face_minor": recharge.face_minor,
            "price_minor": recharge.price_minor,
            "bonus_minor": recharge.bonus_minor,
            "currency": recharge.currency,
            "rail": recharge.rail,
            "trigger": recharge.trigger,
        },
        channels=rule.channels if rule else None,
        at=at,
    )


CARRY_OUT: Mapping[Finding, Callable[[Recharge, Settlement, datetime], None]] = {
    Finding.CREDITED: _credited,
    Finding.UNCREDITED: _uncredited,
}

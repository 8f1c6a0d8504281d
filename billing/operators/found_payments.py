"""What a rail did with a payment that it will not speak clearly of, and where that leads."""

from collections.abc import Callable, Mapping
from datetime import datetime

from billing.ledger import transfers
from billing.models import NoticeKind, PaymentAttempt, Recharge, Settlement, Transfer, TransferKind
from billing.notices import telling
from billing.operators.found import AlreadyReturned
from billing.recharges import aftermath, cases, machine
from billing.recharges.claims import CRASHED, LATE_PAYMENT
from billing.recharges.machine import Move
from billing.states import AttemptState, Finding
from billing.states import RechargeState as S

# A reference may be at the rail, and the machine has given up asking about it.
SETTLEABLE_STATES = (
    S.CHARGING,
    S.PAYMENT_PENDING,
    S.PAYMENT_UNKNOWN,
    S.ACTION_REQUIRED,
    S.REVIEW,
)
SETTLEABLE_CASES = frozenset(("payment_unknown", "amount_differs", "action_expired", CRASHED))
_LATE = frozenset((LATE_PAYMENT, "payment_unknown"))
_LIVE = (AttemptState.INTENDED, AttemptState.PENDING, AttemptState.UNKNOWN)


def possible(recharge: Recharge) -> list[Finding]:
    """What may be said of its payment."""
    if is_late(recharge):
        return [Finding.NOTHING, Finding.GIVEN_BACK]
    if is_settleable(recharge):
        return [Finding.NOTHING, Finding.AS_AGREED, Finding.GIVEN_BACK]
    return []


def is_settleable(recharge: Recharge) -> bool:
    """Whether a reference of it is at the rail and only people can say what became of it."""
    return (
        recharge.state in SETTLEABLE_STATES
        and not SETTLEABLE_CASES.isdisjoint(cases.codes(recharge))
        and _live_attempt(recharge) is not None
    )


def is_late(recharge: Recharge) -> bool:
    """Whether money was taken, or may have been, that its recharge has no use for: it had ended, or
    was paid already. It goes back, and both movements are booked."""
    codes = cases.codes(recharge)
    is_asked = LATE_PAYMENT in codes or (
        recharge.state not in SETTLEABLE_STATES and "payment_unknown" in codes
    )
    return is_asked and _late_attempt(recharge) is not None


def attempt_of(recharge: Recharge) -> PaymentAttempt | None:
    """The payment that is in question."""
    return _late_attempt(recharge) if is_late(recharge) else _live_attempt(recharge)


def _late_attempt(recharge: Recharge) -> PaymentAttempt | None:
    return recharge.attempts.filter(doubted_at__isnull=False).order_by("-number").first()


def _live_attempt(recharge: Recharge) -> PaymentAttempt | None:
    return recharge.attempts.filter(state__in=_LIVE).first()


# --- where each finding leads -------------------------------------------------------------------


def _taken_as_agreed(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """As if the rail had said so: booked, and on its way to the line."""
    _end_attempt(one, AttemptState.SUCCEEDED, at=at)
    move = Move(
        recharge.pk,
        recharge.state,
        S.CHARGED.value,
        "settled_taken",
        at,
        charged_at=at,
        note=one.reason,
        actor_id=one.decided_by_id,
    )
    machine.move_one(move, at=at)
    transfers.post(
        transfers.charged(
            recharge_id=recharge.pk,
            reference=one.attempt.reference,
            rail_code=one.attempt.rail,
            price_minor=recharge.price_minor,
            discount_minor=recharge.discount_minor,
            bonus_minor=recharge.bonus_minor,
            currency=recharge.currency,
            at=at,
        )
    )
    is_promoted = recharge.discount_minor or recharge.bonus_minor
    aftermath.paid(
        promoted_ids=[recharge.pk] if is_promoted else [], binding_ids=[one.attempt.binding_id]
    )


def _nothing_taken(recharge: Recharge, one: Settlement, at: datetime) -> None:
    _end_unpaid(recharge, one, because="settled_not_taken", at=at)


def _given_back(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """Both movements are booked, so that the rail's statement finds them; the line gets nothing."""
    if Transfer.objects.filter(kind=TransferKind.STRAY_RETURNED, reference=one.returned_ref):
        raise AlreadyReturned(one.returned_ref)
    transfers.post(
        transfers.strayed(
            recharge_id=recharge.pk,
            reference=one.attempt.reference,
            returned_ref=one.returned_ref,
            rail_code=one.attempt.rail,
            amount_minor=one.taken_minor or 0,
            currency=one.taken_currency,
            at=at,
        )
    )
    _end_unpaid(recharge, one, because="settled_given_back", at=at)


def _end_unpaid(recharge: Recharge, one: Settlement, *, because: str, at: datetime) -> None:
    _end_attempt(one, AttemptState.CLOSED, at=at)
    if recharge.state not in SETTLEABLE_STATES:  # it has an end already, and keeps it
        over = cases.of(recharge).filter(code__in=_LATE)
        cases.settle(over, because=because, actor_id=one.decided_by_id, at=at)
        return
    machine.end_unpaid(
        recharge=recharge,
        target=S.FAILED,
        because=because,
        actor_id=one.decided_by_id,
        note=one.reason,
        at=at,
    )
    _tell(recharge, because, at=at)


def _end_attempt(one: Settlement, state: AttemptState, *, at: datetime) -> None:
    found = PaymentAttempt.objects.filter(pk=one.attempt_id)
    found.update(state=state, settled_at=at, doubted_at=None)
    if one.payment_ref:
        found.update(provider_ref=one.payment_ref)


def _tell(recharge: Recharge, because: str, *, at: datetime) -> None:
    """Its owner was told that it is being confirmed, and has waited since."""
    telling.tell(
        owner_id=recharge.owner_id,
        kind=NoticeKind.NOT_RECHARGED,
        occurrence_key=f"{recharge.ref}:{because}",
        line_id=recharge.line_id,
        recharge_id=recharge.pk,
        facts={
            "code": because,
            "face_minor": recharge.face_minor,
            "price_minor": recharge.price_minor,
            "currency": recharge.currency,
            "rail": recharge.rail,
        },
        channels=recharge.rule.channels if recharge.rule else None,
        at=at,
    )


CARRY_OUT: Mapping[Finding, Callable[[Recharge, Settlement, datetime], None]] = {
    Finding.NOTHING: _nothing_taken,
    Finding.AS_AGREED: _taken_as_agreed,
    Finding.GIVEN_BACK: _given_back,
}

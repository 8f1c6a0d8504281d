"""What only people can find out: what a rail did with a payment that it will not speak clearly of.

One reads it on the rail's own pages and asks; another confirms it, and then the recharge goes where
that leads: on to the line, or to its end. A lost dispute is said in the same way. Nothing moves
before, and nothing by one person alone (docs/decisions/0012-two-people-settle.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Sum

from billing import four_eyes, nudges, rowsets
from billing.ledger import transfers
from billing.models import NoticeKind, PaymentAttempt, Recharge, Settlement, Transfer, TransferKind
from billing.notices import telling
from billing.recharges import aftermath, disputed, machine
from billing.recharges.claims import CRASHED, LATE_PAYMENT, BeingAsked
from billing.recharges.machine import Move
from billing.states import AttemptState, Finding, SettlementState
from billing.states import RechargeState as S
from lines.people import Person

# A reference may be at the rail, and the machine has given up asking about it.
SETTLEABLE_STATES = (
    S.CHARGING,
    S.PAYMENT_PENDING,
    S.PAYMENT_UNKNOWN,
    S.ACTION_REQUIRED,
    S.REVIEW,
)
SETTLEABLE_ATTENTION = ("payment_unknown", "amount_differs", CRASHED)
_LIVE = (AttemptState.INTENDED, AttemptState.PENDING, AttemptState.UNKNOWN)


class NotSettleable(Exception):
    """The rail is still asked about it, or it has an end: there is nothing for people to say."""


class NotWithinCharge(Exception):
    """More than was charged and has not gone back, or in another currency: that is not what was
    disputed. `left_minor` may be."""

    def __init__(self, left_minor: int) -> None:
        super().__init__(f"{left_minor} left")
        self.left_minor = left_minor


class AlreadyRequested(Exception):
    """Another settlement of it waits for a second person: approve or reject that one."""


class AlreadyReturned(Exception):
    """Another payment was given back under that reference already."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a person found at the rail. An amount only of what was given back, or is lost."""

    finding: Finding
    payment_ref: str = ""
    taken_minor: int | None = None
    taken_currency: str = ""
    returned_ref: str = ""


def is_settleable(recharge: Recharge) -> bool:
    """Whether a reference of it is at the rail and only people can say what became of it."""
    return (
        recharge.state in SETTLEABLE_STATES
        and recharge.attention in SETTLEABLE_ATTENTION
        and _live_attempt(recharge) is not None
    )


def is_late(recharge: Recharge) -> bool:
    """Whether money was taken that its recharge has no use for: it had ended, or was paid already.
    It goes back, and both movements are booked."""
    return recharge.attention == LATE_PAYMENT and _late_attempt(recharge) is not None


def is_disputed(recharge: Recharge) -> bool:
    """Whether its payer's bank may have taken the money back, and the books do not have it."""
    return recharge.state == S.COMPLETED and disputed.is_unsettled(recharge_id=recharge.pk)


def is_waiting(recharge: Recharge) -> bool:
    """Whether somebody has said already what the rail did, and a second person is awaited."""
    return recharge.settlements.filter(state=SettlementState.REQUESTED).exists()


def request(
    *, recharge: Recharge, found: Found, reason: str, requested_by: Person, at: datetime
) -> Settlement:
    """Say what the rail did; it waits for a second person, and nothing moves.

    Raises NotSettleable, NotWithinCharge, AlreadyRequested.
    """
    with transaction.atomic():
        locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
        attempt = _payment(locked, found.finding)
        if found.finding == Finding.LOST:
            _refuse_beyond_charge(found.taken_minor, found.taken_currency, locked)
        if is_waiting(locked):
            raise AlreadyRequested(locked.ref)
        asked = Settlement(
            recharge=locked,
            attempt=attempt,
            finding=found.finding,
            payment_ref=found.payment_ref,
            taken_minor=found.taken_minor,
            taken_currency=found.taken_currency,
            returned_ref=found.returned_ref,
            reason=reason,
            requested_by_id=requested_by.pk,
            created_at=at,
        )
        asked.fingerprint = _fingerprint(asked)
        asked.save()
        return asked


def approve(*, settlement: Settlement, seen: str, approved_by: Person, at: datetime) -> None:
    """Let it be so: the recharge goes where the finding leads. `seen` is what the page showed.

    Raises SamePerson, NotWaiting, RequestExpired, OperationChanged, NotSettleable, BeingAsked,
    AlreadyReturned, NotWithinCharge; then nothing has moved. The second of two approvals finds
    NotWaiting.
    """
    with transaction.atomic():
        recharge = Recharge.objects.select_for_update(no_key=True).get(pk=settlement.recharge_id)
        locked = four_eyes.approvable(
            settlement, approved_by=approved_by, seen=seen, fingerprint_of=_fingerprint, at=at
        )
        _hold_off_workers(recharge, locked)
        _decide(locked, SettlementState.APPROVED, by=approved_by, at=at)
        _CARRY_OUT[Finding(locked.finding)](recharge, locked, at)
        nudges.money()
    settlement.refresh_from_db()


def reject(*, settlement: Settlement, rejected_by: Person, at: datetime) -> None:
    """It is not so, or is taken back by whoever said it. Raises NotWaiting. Nothing moves."""
    with transaction.atomic():
        _decide(four_eyes.waiting(settlement), SettlementState.REJECTED, by=rejected_by, at=at)
    settlement.refresh_from_db()


def expire(*, at: datetime, limit: int) -> int:
    """End what nobody has confirmed in time; how many. Nothing moves. May run at any time."""
    with transaction.atomic():
        free = Settlement.objects.select_for_update(no_key=True, skip_locked=True)
        ended = list(four_eyes.over(free, at=at)[:limit])
        for one in ended:
            _decide(one, SettlementState.EXPIRED, by=None, at=at)
    return len(ended)


def _decide(one: Settlement, state: SettlementState, *, by: Person | None, at: datetime) -> None:
    one.state, one.settled_at = state, at
    one.decided_by_id = by.pk if by else None
    one.save(update_fields=["state", "decided_by", "settled_at"])


def _fingerprint(one: Settlement) -> str:
    """Of the finding and of what it is about, as the rows have them now."""
    recharge, attempt = one.recharge, one.attempt
    return four_eyes.fingerprint(
        recharge=recharge.ref,
        price_minor=recharge.price_minor,
        currency=recharge.currency,
        payment=attempt.reference,
        amount_minor=attempt.amount_minor,
        finding=str(one.finding),
        payment_ref=one.payment_ref,
        taken_minor=one.taken_minor,
        taken_currency=one.taken_currency,
        returned_ref=one.returned_ref,
        reason=one.reason,
        requested_by=one.requested_by_id,
    )


def _payment(recharge: Recharge, finding: str) -> PaymentAttempt:
    """The payment that the finding is about. Raises NotSettleable where it is not open to it."""
    if finding == Finding.LOST:
        is_open, attempt = is_disputed(recharge), _taken_attempt(recharge)
    elif is_late(recharge) and finding != Finding.AS_AGREED:
        is_open, attempt = True, _late_attempt(recharge)
    else:
        is_open, attempt = is_settleable(recharge), _live_attempt(recharge)
    if not is_open or attempt is None:
        raise NotSettleable(recharge.ref)
    return attempt


def _refuse_beyond_charge(minor: int | None, currency: str, recharge: Recharge) -> None:
    """A bank takes back what was charged, or a part of it: never what went back before, by a refund
    or another dispute. Raises NotWithinCharge."""
    lost = recharge.transfers.filter(kind=TransferKind.CHARGEBACK)
    lost_minor = lost.aggregate(minor=Sum("amount_minor"))["minor"] or 0
    left_minor = recharge.price_minor - recharge.refund_committed_minor - lost_minor
    if currency != recharge.currency or not 0 < (minor or 0) <= left_minor:
        raise NotWithinCharge(left_minor)


def _taken_attempt(recharge: Recharge) -> PaymentAttempt | None:
    return recharge.attempts.filter(state=AttemptState.SUCCEEDED).first()


def _late_attempt(recharge: Recharge) -> PaymentAttempt | None:
    return recharge.attempts.filter(doubted_at__isnull=False).order_by("-number").first()


def _live_attempt(recharge: Recharge) -> PaymentAttempt | None:
    return recharge.attempts.filter(state__in=_LIVE).first()


def _hold_off_workers(recharge: Recharge, settlement: Settlement) -> None:
    """Nobody may be asking, and whoever slept through a lease comes too late from here on.

    Raises NotSettleable, BeingAsked.
    """
    if _payment(recharge, settlement.finding).pk != settlement.attempt_id:
        raise NotSettleable(recharge.ref)
    is_held = rowsets.run(
        "SELECT 1 FROM billing_recharge WHERE id = %s AND lease_until > clock_timestamp()",
        [recharge.pk],
    )
    if is_held:
        raise BeingAsked(recharge.ref)
    Recharge.objects.filter(pk=recharge.pk).update(fence=F("fence") + 1)


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


def _lost(recharge: Recharge, one: Settlement, at: datetime) -> None:
    """The line keeps what it had long ago; what the bank took back is our loss, and is booked: the
    first under the payment's reference, any further one under its settlement's."""
    _refuse_beyond_charge(one.taken_minor, one.taken_currency, recharge)
    is_first = not disputed.is_lost(recharge_id=recharge.pk)
    entry = transfers.charged_back(
        recharge_id=recharge.pk,
        reference=one.attempt.reference if is_first else one.reference,
        rail_code=one.attempt.rail,
        amount_minor=one.taken_minor or 0,
        currency=one.taken_currency,
        at=at,
    )
    transfers.post([entry])
    if not disputed.is_unsettled(recharge_id=recharge.pk):
        waiting = Recharge.objects.filter(pk=recharge.pk, attention=machine.DISPUTED)
        waiting.update(attention="", attention_since=None)


def _end_unpaid(recharge: Recharge, one: Settlement, *, because: str, at: datetime) -> None:
    _end_attempt(one, AttemptState.CLOSED, at=at)
    if recharge.attention == LATE_PAYMENT:  # it has an end already, and keeps it
        Recharge.objects.filter(pk=recharge.pk).update(attention="", attention_since=None)
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


_CARRY_OUT: Mapping[Finding, Callable[[Recharge, Settlement, datetime], None]] = {
    Finding.NOTHING: _nothing_taken,
    Finding.AS_AGREED: _taken_as_agreed,
    Finding.GIVEN_BACK: _given_back,
    Finding.LOST: _lost,
}

"""Money on its way back: what people ask for, approve, reject and give up, and what goes by itself.

Whole or part, and never more than was taken: the recharge's `refund_committed_minor` counts refunds
that are pending too, and its CHECK holds the sum. One asked for by a person waits for a second
person; the database refuses the same one twice. `refunding` carries out what is agreed here.
"""

import logging
from dataclasses import replace
from datetime import datetime

import psycopg
from django.db import transaction
from django.db.models import F

from billing import casebook, four_eyes, nudges, rowsets
from billing.four_eyes import NotWaiting
from billing.ledger import transfers
from billing.models import PaymentAttempt, Recharge, Refund, TransferKind
from billing.money import share
from billing.recharges import cases, disputed, machine
from billing.recharges.machine import Move
from billing.refunds import settled
from billing.states import (
    ENDED_REFUND_STATES,
    AttemptState,
    RechargeState,
    RefundState,
    RefundWay,
)
from lines.models import Delivery, DeliveryState
from lines.people import Person
from lines.references import new_reference

log = logging.getLogger(__name__)

S = RechargeState
GIVE_UP = "give-up-refund"  # as the casebook and the pages of operators name it
REFUNDABLE_STATES = (S.UNDELIVERABLE, S.COMPLETED, S.REVERSED)
# The rail may have heard of it: asked about when it speaks of it, also of one that has an end.
_TOLD_OF = (RefundState.INTENDED, RefundState.UNKNOWN, *ENDED_REFUND_STATES)


class NotRefundable(Exception):
    """Nothing was taken, or it is still on its way to the line, or it all went back already."""


class TooMuch(Exception):
    """More than was charged and is not yet refunded. `left_minor` may still be."""

    def __init__(self, left_minor: int) -> None:
        super().__init__(f"{left_minor} left")
        self.left_minor = left_minor


class WholeOnly(Exception):
    """The line has nothing of it, so all that is left goes back: `left_minor`, no part of it."""

    def __init__(self, left_minor: int) -> None:
        super().__init__(f"{left_minor} left")
        self.left_minor = left_minor


class NotRefusedByRail(Exception):
    """The rail has not said a definite no to this refund: it may yet give the money back."""


class CreditTakenBack(Exception):
    """The line has lost the part that was to be refunded: only the money can make up for it."""


def automatic(*, recharge: Recharge, because: str, at: datetime) -> Refund | None:
    """Refund all that is left of an undeliverable or reversed one. In the caller's transaction.
    What a bank has taken back for its payer is not given back as well: it covers our loss.

    Once: a recharge that is refunding already raises LostRace.
    """
    lost_minor = transfers.lost_minor(recharge_id=recharge.pk)
    if lost_minor:
        cover(recharge, lost_minor, because=because, at=at)
    left_minor = recharge.price_minor - recharge.refund_committed_minor
    if not left_minor:
        return None
    refund = create(
        recharge=recharge,
        amount_minor=left_minor,
        reason=because,
        requested_by=None,
        state=RefundState.INTENDED,
        at=at,
    )
    nudges.money()
    return refund


def cover(recharge: Recharge, lost_minor: int, *, because: str, at: datetime) -> None:
    """Its payer has it from the bank already, at our loss; now the line has nothing of it."""
    refund = create(
        recharge=recharge,
        amount_minor=lost_minor,
        reason=because,
        requested_by=None,
        state=RefundState.INTENDED,
        at=at,
        way=RefundWay.BANK,
    )
    settled.given_back(refund, at=at, kind=TransferKind.LOSS_COVERED)
    recharge.refresh_from_db()


def request(
    *, recharge: Recharge, amount_minor: int, reason: str, requested_by: Person, at: datetime
) -> Refund:
    """Ask for `amount_minor` (minor units) back; it waits for a second person.

    Raises NotRefundable, TooMuch, WholeOnly. The sum, pending ones included, is held under the
    recharge's lock.
    """
    with transaction.atomic():
        locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
        # Of a disputed payment the bank gives the money back: never both.
        if locked.state not in REFUNDABLE_STATES or disputed.is_open(recharge_id=locked.pk):
            raise NotRefundable(locked.ref)
        left_minor = locked.price_minor - locked.refund_committed_minor
        if not 0 < amount_minor <= left_minor:
            raise TooMuch(left_minor)
        if locked.state != S.COMPLETED and amount_minor != left_minor:
            raise WholeOnly(left_minor)
        return create(
            recharge=locked,
            amount_minor=amount_minor,
            reason=reason,
            requested_by=requested_by,
            state=RefundState.REQUESTED,
            at=at,
        )


def approve(
    *, refund: Refund, approved_by: Person, at: datetime, seen: str | None = None
) -> Refund:
    """Let exactly what was asked for go. `seen` is what the approver's page showed; without it,
    `refund` as it is handed in.

    Raises SamePerson, NotWaiting, RequestExpired, OperationChanged; then nothing has moved. The
    second of two approvals finds NotWaiting.
    """
    with transaction.atomic():
        locked = four_eyes.approvable(
            refund,
            approved_by=approved_by,
            seen=refund.fingerprint if seen is None else seen,
            fingerprint_of=fingerprint_of,
            at=at,
        )
        locked.state = RefundState.REVERSING if locked.reversal_minor else RefundState.INTENDED
        locked.approved_by_id, locked.act_at = approved_by.pk, at
        locked.save(update_fields=["state", "approved_by", "act_at"])
        nudges.money()
    refund.refresh_from_db()
    return refund


def reject(*, refund: Refund, rejected_by: Person, at: datetime) -> None:
    """Do not refund. Raises NotWaiting. Nothing moved, and the recharge is as it was."""
    with transaction.atomic():
        undo(four_eyes.waiting(refund), because="refund_refused", actor_id=rejected_by.pk, at=at)


def expire(*, at: datetime, limit: int) -> int:
    """End what was asked for and nobody has approved in time; how many. Nothing moved, and the
    recharge is as it was. May run at any time."""
    over = four_eyes.over(Refund.objects.all(), at=at)
    return sum(_expire(refund, at=at) for refund in over[:limit])


def _expire(refund: Refund, *, at: datetime) -> bool:
    """A poisoned one is left as it is, and stops only itself."""
    try:
        with transaction.atomic():
            undo(four_eyes.waiting(refund), because="request_expired", actor_id=None, at=at)
    except NotWaiting:  # somebody has decided this moment, after all
        return False
    except rowsets.POISON:
        log.exception("refund %s cannot be ended", refund.reference)
        return False
    return True


def fingerprint_of(refund: Refund) -> str:
    """Of the refund and of what it is of, as the rows have them now."""
    return four_eyes.fingerprint(
        recharge=refund.recharge.ref,
        payment=refund.attempt.reference,
        refund=refund.reference,
        amount_minor=refund.amount_minor,
        promotion_minor=refund.promotion_minor,
        reversal_minor=refund.reversal_minor,
        currency=refund.currency,
        reason=refund.reason,
        requested_by=refund.requested_by_id,
    )


def give_up(*, refund: Refund, given_up_by: Person, at: datetime) -> None:
    """End a refund that the rail has refused for good: the recharge goes back to where it was.

    No money moved, so the line may be credited after all: also where its credit was taken back,
    but then only where that was all of it. Raises NotRefusedByRail, CreditTakenBack.
    """
    with transaction.atomic():
        locked = Refund.objects.select_for_update(no_key=True).get(pk=refund.pk)
        if not is_refused_by_rail(locked):
            raise NotRefusedByRail(locked.reference)
        if is_partly_taken_back(locked):
            raise CreditTakenBack(locked.reference)
        back = S.REVERSED if locked.reversal_minor else None
        actor_id = given_up_by.pk
        undo(
            locked, because="refund_refused", actor_id=actor_id, at=at, code=locked.code, back=back
        )


def is_partly_taken_back(refund: Refund) -> bool:
    """Whether a part of the credit was taken back for it, so that the money must follow."""
    is_back = refund.reversal_minor > 0
    return is_back and transfers.on_line_minor(recharge_id=refund.recharge_id) > 0


def may_be_given_up(refund: Refund) -> bool:
    """Whether it may end without money."""
    return is_refused_by_rail(refund) and not is_partly_taken_back(refund)


def is_refused_by_rail(refund: Refund) -> bool:
    """Whether no money of it can be on its way: not where it is due again, and perhaps asked for
    right now."""
    if refund.state != RefundState.INTENDED or refund.act_at is not None:
        return False
    leads_on = casebook.lead_to(GIVE_UP, casebook.REFUND)
    return bool(cases.refund_codes(refund) & leads_on)


def undo(
    refund: Refund,
    *,
    because: str,
    actor_id: int | None,
    at: datetime,
    code: str = "",
    back: RechargeState | None = None,
) -> None:
    """The refund does not happen: the recharge goes `back`, by default to where it was.

    In the caller's transaction, with the refund locked.
    """
    recharge = Recharge.objects.select_for_update(no_key=True).get(pk=refund.recharge_id)
    refund.code = code[:80]
    refund.state, refund.settled_at = RefundState.REFUSED, at
    refund.act_at, refund.lease_until = None, None
    refund.save()
    cases.follow_refund(refund, because=because, actor_id=actor_id, at=at)
    Recharge.objects.filter(pk=recharge.pk).update(
        refund_committed_minor=F("refund_committed_minor") - refund.amount_minor
    )
    last = recharge.moves.filter(target=S.REFUNDING).order_by("-pk").first()
    target = back or S(last.source if last else S.COMPLETED)
    if target == S.REVERSED:
        Delivery.objects.filter(order_ref=recharge.ref, state=DeliveryState.CREDITED).update(
            state=DeliveryState.REVERSED, settled_at=at
        )
    # What the carrier said meanwhile was not heard: a completed one is looked at once more. Any
    # other is paid for nothing, and only a person can go on.
    is_completed = target == S.COMPLETED
    move = Move(
        recharge.pk,
        S.REFUNDING.value,
        target.value,
        because,
        at if is_completed else None,
        actor_id=actor_id,
        attention="" if is_completed else "undeliverable",
    )
    _move_back(move, at=at)


def _move_back(move: Move, *, at: datetime) -> None:
    """One that lies open again does so beside no other of its line: where another has begun
    meanwhile it rests, as one does whose credit was taken back, with the same ways out."""
    try:
        with transaction.atomic():
            machine.move_one(move, at=at)
    except psycopg.errors.UniqueViolation:  # a set-wise write: Django has not wrapped it
        machine.move_one(replace(move, target=S.REVERSED.value), at=at)


def wake(*, reference: str, at: datetime) -> bool:
    """The rail spoke of this refund: ask about it now. False: a worker holds it, try later."""
    states = [state.value for state in _TOLD_OF]
    is_woken = rowsets.run(
        "UPDATE billing_refund SET act_at = %s WHERE reference = %s AND way = 'rail' "
        "AND state = ANY(%b) AND (lease_until IS NULL OR lease_until < clock_timestamp())",
        [at, reference, states],
    )
    if is_woken:
        nudges.money()
        return True
    return not Refund.objects.filter(reference=reference, way="rail", state__in=states).exists()


def create(
    *,
    recharge: Recharge,
    amount_minor: int,
    reason: str,
    requested_by: Person | None,
    state: RefundState,
    at: datetime,
    way: RefundWay = RefundWay.RAIL,
) -> Refund:
    """The refund and the recharge's move to `refunding`, in the caller's transaction.

    What was credited is to be taken back first, unless `state` says that it is back already.
    """
    attempt = PaymentAttempt.objects.get(recharge=recharge, state=AttemptState.SUCCEEDED)
    came_from = recharge.state
    promotion_minor = _promotion_part(recharge, amount_minor)
    is_delivered = came_from == S.COMPLETED
    refund = Refund(
        reference=new_reference(),
        recharge=recharge,
        attempt=attempt,
        amount_minor=amount_minor,
        promotion_minor=promotion_minor,
        reversal_minor=amount_minor + promotion_minor if is_delivered else 0,
        reversal_ref=new_reference() if is_delivered else None,
        currency=recharge.currency,
        way=way,
        state=state,
        reason=reason[:200],
        requested_by_id=requested_by.pk if requested_by else None,
        created_at=at,
        act_at=at if state == RefundState.INTENDED else None,
    )
    refund.fingerprint = fingerprint_of(refund)
    refund.save()
    Recharge.objects.filter(pk=recharge.pk).update(
        refund_committed_minor=F("refund_committed_minor") + amount_minor
    )
    actor_id = requested_by.pk if requested_by else None
    machine.move_one(
        Move(
            recharge.pk,
            came_from,
            S.REFUNDING.value,
            "refund_requested" if requested_by else reason[:40],
            None,
            note=reason[:200],
            actor_id=actor_id,
        ),
        at=at,
    )
    return refund


def resumed(
    *, recharge: Recharge, refund: Refund, at: datetime, because: str = "refund_made"
) -> Refund:
    """The refund, under way again though it had ended: its rail has made it after all, or its
    carrier has taken the credit back. In the caller's transaction, with both locked."""
    refund.promotion_minor = _promotion_part(recharge, refund.amount_minor)
    refund.settled_at = None
    Recharge.objects.filter(pk=recharge.pk).update(
        refund_committed_minor=F("refund_committed_minor") + refund.amount_minor
    )
    move = Move(recharge.pk, recharge.state, S.REFUNDING.value, because, None)
    machine.move_one(move, at=at)
    return refund


def _promotion_part(recharge: Recharge, amount_minor: int) -> int:
    """The promotion's share of a refund, so that the last refund takes exactly what is left, also
    where an earlier one came back."""
    benefit_minor = recharge.discount_minor + recharge.bonus_minor
    after_minor = recharge.refund_committed_minor + amount_minor
    others = recharge.refunds.exclude(state=RefundState.REFUSED)
    returned_minor = sum(one.returned_promotion_minor for one in others)
    return share(benefit_minor, after_minor, recharge.price_minor) - returned_minor

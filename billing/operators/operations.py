"""What an operator may do to a recharge, a rule, a binding or a rail: each a decision on record.

Every function takes the actor and the reason, moves a row only from where it may be moved, and
raises a small exception where someone was first or the way is closed. None calls the outside: they
set what is due, and the executor does it. Each may be called twice: the second call is refused.
"""

from datetime import datetime

import psycopg
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from billing import casebook, nudges
from billing.bindings import breaker
from billing.models import Binding, Rail, Recharge, Refund, Rule
from billing.operators import found_disputes
from billing.recharges import cases, disputed, machine
from billing.recharges.claims import CRASHED, BeingAsked
from billing.recharges.machine import Move, OpenRecharge
from billing.states import OPEN_STATES, RefundState
from billing.states import RechargeState as S
from lines.models import Line
from lines.people import Person

# What a rail or carrier can be asked about: something was sent, and its end may differ from ours.
ASKABLE_STATES = (
    S.CHARGING,
    S.PAYMENT_PENDING,
    S.PAYMENT_UNKNOWN,
    S.ACTION_REQUIRED,
    S.DELIVERING,
    S.DELIVERY_PENDING,
    S.DELIVERY_UNKNOWN,
    S.COMPLETED,
)
REFUND_ASKABLE_STATES = (RefundState.REVERSING, RefundState.INTENDED, RefundState.UNKNOWN)
REDELIVERABLE_STATES = (S.UNDELIVERABLE, S.REVERSED)
APPROVE, SETTLE = "approve-review", "settle-elsewhere"  # as the casebook names these acts
# Wherever it is by now: its quarantine is ended, what we had to mend is tried, a carrier that was
# silent about a credit is asked once more.
_ASKED_ANEW = (CRASHED, "config", "payment_unknown", "delivery_unknown")
_AT_REST = (S.COMPLETED, S.REFUNDED, S.FAILED, S.CANCELED, S.MISSED)


class NotHeld(Exception):
    """The recharge is not held for review: someone was first."""


class AmountDiffers(Exception):
    """Another amount than agreed was taken: sending it again cannot put that right."""


class WindowOver(Exception):
    """The time for the charge is over and nothing was ever sent: it can only be rejected."""


class NothingToAsk(Exception):
    """Nothing of it was sent to anyone, or all of it is settled."""


class NothingToSettle(Exception):
    """Nothing of it waits to be settled with the rail or the carrier: someone was first."""


class NotUndelivered(Exception):
    """The recharge is not lying between payment and line: someone was first."""


class PartlyRefunded(Exception):
    """Some of the money went back already, so the whole is not owed: give the rest back too."""


class Disputed(Exception):
    """The payer's bank may take the money back: nothing is credited before that is over."""


class LineGone(Exception):
    """The line is gone, or has another SIM: nothing can be credited to it."""


class RuleNotPaused(Exception):
    """The system has not paused this rule, or its owner has switched it off."""


class NeedsOwner(Exception):
    """The line has another SIM than agreed on: only its owner can confirm the rule again."""


class MethodNotUsable(Exception):
    """The rule's payment method is paused or has ended: mend that first."""


class NotPaused(Exception):
    """The payment method is not paused: someone was first."""


class AlreadyDeferred(Exception):
    """The rail's charges are held back already."""


class NotDeferred(Exception):
    """The rail's charges are not held back."""


def approve_review(*, recharge: Recharge, actor: Person, reason: str, at: datetime) -> None:
    """Let a held recharge be charged now, under the reference it has, if it has one.

    Raises NotHeld, AmountDiffers, WindowOver.
    """
    with transaction.atomic():
        locked = _held(recharge)
        if is_barred(locked):
            raise AmountDiffers(locked.ref)
        if _is_too_late(locked, at=at):
            raise WindowOver(locked.ref)
        move = Move(
            locked.pk, S.REVIEW.value, S.DUE.value, "approved", at, note=reason, actor_id=actor.pk
        )
        machine.move_one(move, at=at)
        nudges.money()


def is_approvable(recharge: Recharge, *, at: datetime) -> bool:
    """Whether a held one may be let go."""
    is_free = recharge.state == S.REVIEW and not is_barred(recharge)
    return is_free and not _is_too_late(recharge, at=at)


def _is_too_late(recharge: Recharge, *, at: datetime) -> bool:
    return at > recharge.expires_at and recharge.attempt_count == 0


def is_barred(recharge: Recharge) -> bool:
    """Whether a held one has a case that charging it, or charging it again, cannot settle."""
    return bool(cases.codes(recharge) & casebook.bars(APPROVE, casebook.RECHARGE))


def reject_review(*, recharge: Recharge, actor: Person, reason: str, at: datetime) -> None:
    """End a held recharge without a charge. Raises NotHeld, or machine.TooLate."""
    with transaction.atomic():
        _held(recharge)
        cancel(recharge=recharge, actor=actor, reason=reason, at=at)


def cancel(*, recharge: Recharge, actor: Person, reason: str, at: datetime) -> None:
    """End a recharge of which nothing is at a rail. Raises machine.TooLate, LostRace."""
    machine.cancel(
        recharge=recharge, actor=actor, because="canceled_by_operator", note=reason, at=at
    )


def _held(recharge: Recharge) -> Recharge:
    """The row, locked. In the caller's transaction. Raises NotHeld."""
    locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
    if locked.state != S.REVIEW:
        raise NotHeld(locked.ref)
    return locked


def query_again(*, recharge: Recharge, at: datetime) -> None:
    """Have the rail or the carrier asked now, once; what they say decides, not the operator.

    Quarantined work gets another chance. Raises NothingToAsk, BeingAsked.
    """
    if not is_askable(recharge):
        raise NothingToAsk(recharge.ref)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    with transaction.atomic():
        # Only where the page saw it: a recharge that has moved on has its own next step.
        asked = Recharge.objects.filter(free, pk=recharge.pk, state=recharge.state)
        if asked.update(act_at=at, crash_count=0) != 1:
            raise BeingAsked(recharge.ref)
        nudges.money()


def is_askable(recharge: Recharge) -> bool:
    """Whether anything of it is out there to be asked about, or its quarantine can be ended, or
    what we had to mend may be mended."""
    if recharge.state == S.REVIEW:  # asking adds evidence and moves nothing
        return machine.has_live_attempt(recharge_id=recharge.pk)
    codes = cases.codes(recharge)
    return recharge.state in ASKABLE_STATES or not codes.isdisjoint(_ASKED_ANEW)


def settle_elsewhere(*, recharge: Recharge, actor: Person, at: datetime) -> None:
    """Close what a person has put right at the rail or the carrier. Raises NothingToSettle.

    No money and no state: what moved out there comes into the books by their statements. Money that
    a rail took is never among it: two people say what became of it (`attestations`).
    """
    with transaction.atomic():
        locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
        if not is_settled_elsewhere(locked):
            raise NothingToSettle(recharge.ref)
        over = cases.of(locked).filter(code__in=put_right(locked))
        cases.settle(over, because="settled_elsewhere", actor_id=actor.pk, at=at)


def is_settled_elsewhere(recharge: Recharge) -> bool:
    """Whether it is at rest here, and what is wrong with it is for the rail or the carrier."""
    return recharge.state in _AT_REST and bool(put_right(recharge))


def put_right(recharge: Recharge) -> frozenset[str]:
    """What of it may be put right elsewhere: a dispute only of money that the books do not have."""
    codes = cases.codes(recharge) & casebook.lead_to(SETTLE, casebook.RECHARGE)
    is_booked = machine.DISPUTED in codes and not found_disputes.is_nothing_left(recharge)
    return codes - {machine.DISPUTED} if is_booked else codes


def redeliver(*, recharge: Recharge, actor: Person, reason: str, at: datetime) -> None:
    """Credit the line after all, as a new order, where the money could not be given back.

    Raises NotUndelivered, Disputed, PartlyRefunded, LineGone, OpenRecharge.
    """
    try:
        with transaction.atomic():
            locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
            if refusal := against_redelivery(locked):
                raise refusal
            move = Move(
                locked.pk,
                locked.state,
                S.CHARGED.value,
                "carrier_retry",
                at,
                note=reason,
                actor_id=actor.pk,
            )
            machine.move_one(move, at=at)
            nudges.money()
    except psycopg.IntegrityError as error:  # a set-wise write: Django has not wrapped it
        # One open recharge a line: another one has begun since this one was reversed.
        raise OpenRecharge(recharge.ref) from error


def against_redelivery(recharge: Recharge) -> Exception | None:
    """What stands in the way of crediting it again, as `redeliver` raises it; None: nothing."""
    if recharge.state not in REDELIVERABLE_STATES:
        return NotUndelivered(recharge.ref)
    if disputed.is_open(recharge_id=recharge.pk):
        return Disputed(recharge.ref)
    if recharge.refund_committed_minor:
        return PartlyRefunded(recharge.ref)
    line = Line.objects.get(pk=recharge.line_id)
    if not line.is_live or line.sim_generation != recharge.sim_generation:
        return LineGone(line.public_id)
    others = Recharge.objects.filter(line=line, state__in=OPEN_STATES).exclude(pk=recharge.pk)
    return OpenRecharge(recharge.ref) if others.exists() else None


def query_refund(*, refund: Refund, at: datetime) -> None:
    """Have the next question about a refund asked now. Raises NothingToAsk, BeingAsked."""
    if refund.state not in REFUND_ASKABLE_STATES:
        raise NothingToAsk(refund.reference)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    with transaction.atomic():
        asked = Refund.objects.filter(free, pk=refund.pk, state=refund.state)
        if asked.update(act_at=at, crash_count=0) != 1:
            raise BeingAsked(refund.reference)
        nudges.money()


def resume_rule(*, rule: Rule, at: datetime) -> None:
    """Take the system's pause off a rule that is on; it is looked at at once.

    Never turns a rule on. Raises RuleNotPaused, NeedsOwner, MethodNotUsable.
    """
    with transaction.atomic():
        locked = (
            Rule.objects.select_for_update(no_key=True, of=("self",))
            .select_related("line", "binding")
            .get(pk=rule.pk)
        )
        if locked.paused_at is None or not locked.is_on:
            raise RuleNotPaused(locked.public_id)
        if locked.sim_generation != locked.line.sim_generation or not locked.line.is_live:
            raise NeedsOwner(locked.public_id)
        if locked.binding is None or not locked.binding.is_usable:
            raise MethodNotUsable(locked.public_id)
        locked.paused_at, locked.pause_reason = None, ""
        locked.wake_at, locked.crash_count = at, 0
        locked.save(update_fields=["paused_at", "pause_reason", "wake_at", "crash_count"])
        nudges.money()


def unpause_binding(*, binding: Binding, actor: Person, at: datetime) -> None:
    """Close the breaker of a payment method that its rail still honours.

    Raises NotPaused, breaker.BindingNotUsable. Nothing is locked here: `breaker` locks the rules
    before the bindings, as everybody must.
    """
    if not Binding.objects.filter(pk=binding.pk, paused_at__isnull=False).exists():
        raise NotPaused(binding.ref)
    breaker.resume(binding=binding, actor=actor, at=at)


def defer_rail(*, rail: Rail, at: datetime) -> None:
    """Hold a rail's charges back: they wait, and drain later. Raises AlreadyDeferred."""
    running = Rail.objects.filter(pk=rail.pk, deferred_since__isnull=True)
    if running.update(deferred_since=at) != 1:
        raise AlreadyDeferred(rail.code)


def resume_rail(*, rail: Rail) -> None:
    """Let a rail's charges go on; what waits looks again within a minute. Raises NotDeferred."""
    held = Rail.objects.filter(pk=rail.pk, deferred_since__isnull=False)
    if held.update(deferred_since=None) != 1:
        raise NotDeferred(rail.code)

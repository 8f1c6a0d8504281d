"""What only people can find out: what a rail did with a payment or refund, a bank with a dispute, a
carrier with a credit, that they will not speak clearly of.

One reads it on their own pages and asks; another confirms it, and then the recharge goes where that
leads. Nothing moves before, and nothing by one person alone
(docs/decisions/0012-two-people-settle.md). What may be said of what, and where it leads, is in
`found_payments`, `found_disputes`, `found_refunds` and `found_credits`.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing import four_eyes, nudges, rowsets
from billing.models import PaymentAttempt, Recharge, Refund, Settlement
from billing.operators import found_credits, found_disputes, found_payments, found_refunds
from billing.operators.found import Found, NotSettleable, NotWithinCharge
from billing.recharges.claims import BeingAsked
from billing.states import AttemptState, Finding, SettlementState
from lines.people import Person

log = logging.getLogger(__name__)

CarryOut = Callable[[Recharge, Settlement, datetime], None]
_CARRY_OUT: Mapping[Finding, CarryOut] = {
    **found_payments.CARRY_OUT,
    **found_disputes.CARRY_OUT,
    **found_refunds.CARRY_OUT,
    **found_credits.CARRY_OUT,
}
_SAYS_WHICH_DISPUTE = (Finding.LOST, Finding.RETURNED)


class AlreadyRequested(Exception):
    """Another settlement of it waits for a second person: approve or reject that one."""


def possible(recharge: Recharge) -> list[Finding]:
    """What may be said of it now."""
    return [
        *found_disputes.possible(recharge),
        *found_payments.possible(recharge),
        *found_refunds.possible(recharge),
        *found_credits.possible(recharge),
    ]


def is_confirmable(settlement: Settlement) -> bool:
    """Whether what was said may still be so: what it is about has not moved on meanwhile."""
    recharge = settlement.recharge
    try:
        attempt, refund = _subject(recharge, settlement.finding)
        found_disputes.refuse_beyond(recharge, found_disputes.as_found(settlement))
    except (NotSettleable, NotWithinCharge):
        return False
    return _is_about(settlement, attempt, refund)


def _is_about(settlement: Settlement, attempt: PaymentAttempt, refund: Refund | None) -> bool:
    asked = (settlement.attempt_id, settlement.refund_id)
    return asked == (attempt.pk, refund.pk if refund else None)


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
        attempt, refund = _subject(locked, found.finding)
        found_disputes.refuse_beyond(locked, found)
        if is_waiting(locked):
            raise AlreadyRequested(locked.ref)
        asked = Settlement(
            recharge=locked,
            attempt=attempt,
            refund=refund,
            finding=found.finding,
            payment_ref=found.payment_ref,
            dispute_ref=found_disputes.dispute_of(locked, found),
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
    over = four_eyes.over(Settlement.objects.all(), at=at)
    return sum(_expire(one, at=at) for one in over[:limit])


def _expire(one: Settlement, *, at: datetime) -> bool:
    """A poisoned one is left as it is, and stops only itself."""
    try:
        with transaction.atomic():
            mine = Settlement.objects.select_for_update(no_key=True, skip_locked=True)
            if not mine.filter(pk=one.pk).exists():
                return False  # whoever holds it decides it
            _decide(four_eyes.waiting(one), SettlementState.EXPIRED, by=None, at=at)
    except four_eyes.NotWaiting:  # somebody has decided this moment, after all
        return False
    except rowsets.POISON:
        log.exception("settlement %s cannot be ended", one.reference)
        return False
    return True


def _decide(one: Settlement, state: SettlementState, *, by: Person | None, at: datetime) -> None:
    one.state, one.settled_at = state, at
    one.decided_by_id = by.pk if by else None
    one.save(update_fields=["state", "decided_by", "settled_at"])


def _fingerprint(one: Settlement) -> str:
    """Of the finding and of what it is about, as the rows have them now."""
    recharge, attempt = one.recharge, one.attempt
    more: dict[str, str | int | None] = {}
    if one.refund is not None:
        more = {"refund": one.refund.reference, "refund_minor": one.refund.amount_minor}
    if one.finding in _SAYS_WHICH_DISPUTE:
        more["dispute"] = one.dispute_ref
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
        **more,
    )


def _subject(recharge: Recharge, finding: str) -> tuple[PaymentAttempt, Refund | None]:
    """The payment, and the refund where the finding is about one. Raises NotSettleable where it is
    not open to it."""
    if finding not in possible(recharge):
        raise NotSettleable(recharge.ref)
    refund = found_refunds.refund_of(recharge) if finding in found_refunds.CARRY_OUT else None
    if finding in found_payments.CARRY_OUT:
        attempt = found_payments.attempt_of(recharge)
    else:
        attempt = recharge.attempts.filter(state=AttemptState.SUCCEEDED).first()
    if attempt is None:
        raise NotSettleable(recharge.ref)
    return attempt, refund


_HELD = """
SELECT 1 FROM billing_recharge WHERE id = %s AND lease_until > clock_timestamp()
UNION ALL
SELECT 1 FROM billing_refund WHERE recharge_id = %s AND lease_until > clock_timestamp()"""


def _hold_off_workers(recharge: Recharge, settlement: Settlement) -> None:
    """Nobody may be asking, and whoever slept through a lease comes too late from here on.

    Raises NotSettleable, BeingAsked.
    """
    attempt, refund = _subject(recharge, settlement.finding)
    if not _is_about(settlement, attempt, refund):
        raise NotSettleable(recharge.ref)
    refunds = Refund.objects.filter(recharge=recharge)
    list(refunds.select_for_update(no_key=True))
    if rowsets.run(_HELD, [recharge.pk, recharge.pk]):
        raise BeingAsked(recharge.ref)
    Recharge.objects.filter(pk=recharge.pk).update(fence=F("fence") + 1)
    refunds.update(fence=F("fence") + 1)

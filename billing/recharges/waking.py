"""Somebody spoke of a payment or a credit: it is asked about now, unless a worker is at it."""

from collections.abc import Sequence
from datetime import datetime

from billing import nudges, rowsets
from billing.models import PaymentAttempt, Recharge
from billing.recharges.machine import ENDED_ATTEMPTS
from billing.states import CANCELABLE_STATES, DELIVERING_STATES, PAYING_STATES, RechargeState
from lines.models import Delivery

_SENDING_NEXT = [
    state.value
    for state in (
        RechargeState.WAITING,
        RechargeState.DUE,
        RechargeState.DECLINED,
        RechargeState.CHARGED,
    )
]


def wake(*, reference: str, at: datetime) -> bool:
    """The rail spoke of this payment reference: ask it about it now. False: not yet, try later.

    False while a worker holds the recharge, since what it writes would undo the wake; and while a
    later reference is under way, of one that had ended without money: that one is asked about next.
    """
    found = PaymentAttempt.objects.filter(reference=reference).first()
    if found is not None and found.state in ENDED_ATTEMPTS:
        return _doubt(found, at=at)
    return _wake([found.recharge_id] if found else [], at=at)


_DOUBT = """
WITH free AS (
  UPDATE billing_recharge g SET act_at = LEAST(g.act_at, %s)
  WHERE g.id = %s AND (g.lease_until IS NULL OR g.lease_until < clock_timestamp())
    AND g.state <> ALL(%b) AND NOT (g.state = ANY(%b) AND EXISTS (
      SELECT 1 FROM billing_paymentattempt p WHERE p.recharge_id = g.id AND p.state <> ALL(%b)))
  RETURNING g.id)
UPDATE billing_paymentattempt a SET doubted_at = COALESCE(a.doubted_at, %s)
FROM free WHERE a.id = %s AND a.recharge_id = free.id"""


def _doubt(attempt: PaymentAttempt, *, at: datetime) -> bool:
    """A rail contradicts itself, perhaps: nothing else is sent before it was asked."""
    busy = [*PAYING_STATES, RechargeState.CHARGED, *DELIVERING_STATES]
    params = [at, attempt.recharge_id, busy, list(CANCELABLE_STATES), list(ENDED_ATTEMPTS)]
    is_doubted = rowsets.run(_DOUBT, [*params, at, attempt.pk])
    if is_doubted:
        nudges.money()
    return bool(is_doubted)


def wake_delivery(*, reference: str, carrier_ref: str, at: datetime) -> bool:
    """The carrier spoke of this delivery, by our reference or its own: ask it now."""
    found = Delivery.objects.filter(reference=reference) if reference else Delivery.objects.none()
    if not found and carrier_ref:
        found = Delivery.objects.filter(carrier_ref=carrier_ref)
    order_refs = list(found.values_list("order_ref", flat=True)[:1])
    recharges = Recharge.objects.filter(ref__in=order_refs)
    return _wake(list(recharges.values_list("pk", flat=True)), at=at)


def _wake(recharge_ids: Sequence[int], *, at: datetime) -> bool:
    """Set `act_at`, unless leased. One at rest is asked about too: it may be contradicted."""
    if not recharge_ids:
        return True  # no such reference of ours: nothing will ever be to do
    is_woken = rowsets.run(
        "UPDATE billing_recharge SET "
        "act_at = CASE WHEN state = ANY(%b) THEN act_at ELSE LEAST(act_at, %s) END "
        "WHERE id = ANY(%b) AND (lease_until IS NULL OR lease_until < clock_timestamp())",
        [_SENDING_NEXT, at, recharge_ids],
    )
    if is_woken:
        nudges.money()
    return bool(is_woken)

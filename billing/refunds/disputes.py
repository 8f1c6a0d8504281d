"""Disputes: a payer had the bank take the money back (rule 28). No retry, and a person is called.

A message alone decides no money: what a rail really withdrew or returned is in its statement, and
reconciliation shows it. What a message does is to stop further charges at once.
"""

from datetime import datetime

from billing import gateways, nudges
from billing.bindings import breaker
from billing.gateways.base import DisputeStanding, NotificationKind
from billing.models import (
    InboundNotification,
    PaymentAttempt,
    Recharge,
    Refund,
    Transfer,
    TransferKind,
)

ATTENTION = breaker.DISPUTED
_KIND = NotificationKind.DISPUTE.value
# It is over and the money is, or stays, ours.
_OURS = (DisputeStanding.WON, DisputeStanding.DROPPED)


def is_open(*, recharge_id: int) -> bool:
    """Whether its payer has disputed the payment, and no message says that it is over and ours.

    Messages come in any order. One that is in the books as lost stays so, whatever is said later.
    """
    if is_lost(recharge_id=recharge_id):
        return True
    references = PaymentAttempt.objects.filter(recharge=recharge_id).values("reference")
    heard = InboundNotification.objects.filter(kind=_KIND, our_ref__in=references)
    standings = {
        gateways.dispute_standing(_rail(source), claims)
        for source, claims in heard.values_list("source", "claims")
    }
    return bool(standings) and standings.isdisjoint(_OURS)


def is_lost(*, recharge_id: int) -> bool:
    """Whether two people have said that the bank keeps the money, so that it is in the books."""
    booked = Transfer.objects.filter(recharge=recharge_id, kind=TransferKind.CHARGEBACK)
    return booked.exists()


def told(row: InboundNotification, *, at: datetime) -> str | None:
    """Act on one message about a dispute, in the caller's transaction; what was done.

    None: it names no payment of ours. May come again, and in any order.
    """
    attempt = _attempt_of(row)
    if attempt is None:
        return None
    recharge = Recharge.objects.filter(pk=attempt.recharge_id)
    row.our_ref = attempt.reference
    row.save(update_fields=["our_ref"])
    if is_lost(recharge_id=attempt.recharge_id):
        return "nothing to do"  # money that comes back after all is in the rail's statement
    if not is_open(recharge_id=attempt.recharge_id):
        recharge.filter(attention=ATTENTION).update(attention="", attention_since=None)
        held = Refund.objects.filter(recharge=attempt.recharge_id, attention=ATTENTION)
        if held.update(attention="", act_at=at):
            nudges.money()
        return "won"
    rules, method = breaker.lock_method(attempt.binding_id)
    breaker.pause(rules=rules, method=method, reason=breaker.DISPUTED, at=at)
    recharge.filter(attention="").update(attention=ATTENTION, attention_since=at)
    return "paused"


def _rail(source: str) -> str:
    return source.removeprefix("rail:")


def _attempt_of(row: InboundNotification) -> PaymentAttempt | None:
    attempts = PaymentAttempt.objects.filter(rail=_rail(row.source))
    if row.our_ref:
        return attempts.filter(reference=row.our_ref).first()
    # Some rails name the payment by their own number alone.
    return attempts.filter(provider_ref=row.provider_ref).exclude(provider_ref="").first()

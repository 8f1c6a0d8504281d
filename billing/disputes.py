"""Disputes: a payer had the bank take the money back (rule 28). No retry, and a person is called.

A message alone decides no money: what a rail really withdrew or returned is in its statement, and
reconciliation shows it. What a message does is to stop further charges at once.
"""

from datetime import datetime

from billing import breaker
from billing.models import InboundNotification, PaymentAttempt, Recharge

ATTENTION = breaker.DISPUTED
# How a rail says that it is over and the money is, or stays, ours; in any order of messages.
_OURS = ("won", "warning_closed")


def told(row: InboundNotification, *, at: datetime) -> str | None:
    """Act on one message about a dispute, in the caller's transaction; what was done.

    None: it names no payment of ours. May come again, and in any order.
    """
    attempt = _attempt_of(row)
    if attempt is None:
        return None
    recharge = Recharge.objects.filter(pk=attempt.recharge_id)
    if _is_won(row):
        recharge.filter(attention=ATTENTION).update(attention="", attention_since=None)
        return "won"
    rules, method = breaker.lock_method(attempt.binding_id)
    breaker.pause(rules=rules, method=method, reason=breaker.DISPUTED, at=at)
    recharge.filter(attention="").update(attention=ATTENTION, attention_since=at)
    return "paused"


def _attempt_of(row: InboundNotification) -> PaymentAttempt | None:
    attempts = PaymentAttempt.objects.filter(rail=row.source.removeprefix("rail:"))
    if row.our_ref:
        return attempts.filter(reference=row.our_ref).first()
    # Some rails name the payment by their own number alone.
    return attempts.filter(provider_ref=row.provider_ref).exclude(provider_ref="").first()


def _is_won(row: InboundNotification) -> bool:
    """This message says so, or one about the same payment that was faster."""
    about = {"our_ref": row.our_ref, "provider_ref": row.provider_ref}
    same = InboundNotification.objects.filter(source=row.source, kind=row.kind, **about)
    claims = same.values_list("claims", flat=True)
    return any(claim.rpartition(":")[2] in _OURS for claim in claims)

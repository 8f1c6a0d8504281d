"""Which payments their payers dispute, by what the rails told: of those nothing is credited, given
back or charged again by ourselves.

Each step that would asks here, in its own transaction: a message may have come meanwhile.
"""

from collections.abc import Sequence

from billing import gateways
from billing.gateways.base import DisputeStanding, NotificationKind
from billing.models import InboundNotification, PaymentAttempt, Transfer, TransferKind

_KIND = NotificationKind.DISPUTE.value
# It is over and the money is, or stays, ours.
_OURS = (DisputeStanding.WON, DisputeStanding.DROPPED)


def is_open(*, recharge_id: int) -> bool:
    """Whether its payer has disputed the payment, and no message says that it is over and ours.

    Messages come in any order. One that is in the books as lost stays so, whatever is said later.
    """
    return recharge_id in among([recharge_id])


def is_lost(*, recharge_id: int) -> bool:
    """Whether two people have said that the bank keeps the money, so that it is in the books."""
    return recharge_id in _lost_among([recharge_id])


def among(recharge_ids: Sequence[int]) -> set[int]:
    """Those of `recharge_ids` whose payment is disputed, or lost."""
    attempts = PaymentAttempt.objects.filter(recharge__in=recharge_ids)
    owners = dict(attempts.values_list("reference", "recharge_id"))
    heard = InboundNotification.objects.filter(kind=_KIND, our_ref__in=list(owners))
    standings: dict[int, set[DisputeStanding]] = {}
    for source, reference, claims in heard.values_list("source", "our_ref", "claims"):
        standing = gateways.dispute_standing(source.removeprefix("rail:"), claims)
        standings.setdefault(owners[reference], set()).add(standing)
    disputed = {pk for pk, said in standings.items() if said.isdisjoint(_OURS)}
    return disputed | _lost_among(recharge_ids)


def _lost_among(recharge_ids: Sequence[int]) -> set[int]:
    booked = Transfer.objects.filter(recharge__in=recharge_ids, kind=TransferKind.CHARGEBACK)
    return set(booked.values_list("recharge_id", flat=True))

"""Which payments their payers dispute, by what the rails told: of those nothing is credited, given
back or charged again by ourselves.

Each step that would asks here, in its own transaction: a message may have come meanwhile. A payment
may be disputed more than once, each time under a number of its own, and each dispute stands as its
sender said last: an end may be appealed, and messages come in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from billing import gateways
from billing.gateways.base import DisputeStanding, NotificationKind
from billing.models import (
    InboundNotification,
    PaymentAttempt,
    Settlement,
    Transfer,
    TransferKind,
)
from billing.states import Finding, SettlementState

_KIND = NotificationKind.DISPUTE.value
# It is over and the money is, or stays, ours.
_OURS = (DisputeStanding.WON, DisputeStanding.DROPPED)
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def is_open(*, recharge_id: int) -> bool:
    """Whether its payer disputes the payment, or has won a dispute of it.

    One that is in the books as lost stays so, whatever is said later.
    """
    return recharge_id in among([recharge_id])


def is_lost(*, recharge_id: int) -> bool:
    """Whether two people have said that the bank keeps the money, so that it is in the books."""
    return recharge_id in _lost_among([recharge_id])


def is_unsettled(*, recharge_id: int) -> bool:
    """Whether a dispute of it is neither over and ours, nor in the books as lost."""
    standings = _standings([recharge_id]).get(recharge_id, {})
    lost = Settlement.objects.filter(
        recharge=recharge_id, state=SettlementState.APPROVED, finding=Finding.LOST
    )
    booked = list(lost.values_list("payment_ref", flat=True))
    theirs = {ref for ref, standing in standings.items() if standing not in _OURS}
    # A person may have named the payment instead: that loss is of whichever dispute is left.
    unnamed = [ref for ref in booked if ref not in standings]
    return len(theirs.difference(booked)) > len(unnamed)


def among(recharge_ids: Sequence[int]) -> set[int]:
    """Those of `recharge_ids` whose payment is disputed, or lost."""
    standings = _standings(recharge_ids)
    disputed = {pk for pk, each in standings.items() if not set(each.values()) <= set(_OURS)}
    return disputed | _lost_among(recharge_ids)


class _Told(NamedTuple):
    """One message of a dispute."""

    said_at: datetime
    is_end: bool
    number: int  # in the order of their coming
    standing: DisputeStanding


def _standings(recharge_ids: Sequence[int]) -> dict[int, dict[str, DisputeStanding]]:
    """For each that was ever disputed, how each of its disputes stands, by the rail's number."""
    attempts = PaymentAttempt.objects.filter(recharge__in=recharge_ids)
    owners = dict(attempts.values_list("reference", "recharge_id"))
    heard = InboundNotification.objects.filter(kind=_KIND, our_ref__in=list(owners))
    told: dict[tuple[int, str], list[_Told]] = {}
    for one in heard.only("source", "our_ref", "claims", "dispute_ref", "said_at"):
        told.setdefault((owners[one.our_ref], one.dispute_ref), []).append(_told(one))
    return _by_recharge({key: _latest(messages) for key, messages in told.items()})


def _told(one: InboundNotification) -> _Told:
    standing = gateways.dispute_standing(one.source.removeprefix("rail:"), one.claims)
    return _Told(one.said_at or _NO_TIME, standing is not DisputeStanding.OPEN, one.pk, standing)


def _latest(messages: Iterable[_Told]) -> DisputeStanding:
    """By the sender's clock; where it told no time, its end, by whichever of them came last."""
    return max(messages, key=lambda one: one[:3]).standing


def _by_recharge(
    standings: Mapping[tuple[int, str], DisputeStanding],
) -> dict[int, dict[str, DisputeStanding]]:
    found: dict[int, dict[str, DisputeStanding]] = {}
    for (recharge_id, dispute_ref), standing in standings.items():
        found.setdefault(recharge_id, {})[dispute_ref] = standing
    return found


def _lost_among(recharge_ids: Sequence[int]) -> set[int]:
    booked = Transfer.objects.filter(recharge__in=recharge_ids, kind=TransferKind.CHARGEBACK)
    return set(booked.values_list("recharge_id", flat=True))

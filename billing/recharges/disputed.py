"""Which payments their payers dispute, by what the rails told: of those nothing is credited, given
back or charged again by ourselves.

Each step that would asks here, in its own transaction: a message may have come meanwhile. A payment
may be disputed more than once, each time under a number of its own, and each dispute stands as its
sender said last: an end may be appealed, and messages come in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.models import QuerySet

from billing import gateways, rowsets
from billing.gateways.base import DisputeStanding, NotificationKind
from billing.models import (
    InboundNotification,
    PaymentAttempt,
    Settlement,
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
    return bool(unsettled(recharge_id=recharge_id))


def unsettled(*, recharge_id: int) -> list[str]:
    """The rail's numbers of its disputes that are neither over and ours, nor in the books."""
    standings = _standings([recharge_id]).get(recharge_id, {})
    booked = _booked(recharge_id)
    theirs = [ref for ref, standing in standings.items() if standing not in _OURS]
    return sorted(ref for ref in theirs if booked.get(ref) != Finding.LOST)


def is_owed_back(*, recharge_id: int) -> bool:
    """Whether a dispute that is in the books as lost was won after all: its money comes back."""
    standings = _standings([recharge_id]).get(recharge_id, {})
    booked = _booked(recharge_id)
    return any(
        standing in _OURS and booked.get(ref) == Finding.LOST for ref, standing in standings.items()
    )


def _booked(recharge_id: int) -> dict[str, str]:
    """What two people said last of each of its disputes."""
    said = _said([recharge_id]).order_by("settled_at", "pk")
    return dict(said.values_list("dispute_ref", "finding"))


def _said(recharge_ids: Sequence[int]) -> QuerySet[Settlement]:
    return Settlement.objects.filter(
        recharge__in=recharge_ids,
        state=SettlementState.APPROVED,
        finding__in=[Finding.LOST, Finding.RETURNED],
    )


def among(recharge_ids: Sequence[int]) -> set[int]:
    """Those of `recharge_ids` whose payment is disputed, or lost."""
    standings = _standings(recharge_ids)
    disputed = {pk for pk, each in standings.items() if not set(each.values()) <= set(_OURS)}
    return disputed | _lost_among(recharge_ids)


class _Told(NamedTuple):
    """One message of a dispute, or two people's word that its money is back."""

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
    if told:
        _with_what_is_back(told)
    return _by_recharge({key: _latest(messages) for key, messages in told.items()})


def _with_what_is_back(told: dict[tuple[int, str], list[_Told]]) -> None:
    """Booked as given us again: over and ours, until its sender says something later."""
    back = _said([recharge_id for recharge_id, _ in told]).filter(finding=Finding.RETURNED)
    for recharge_id, dispute_ref, at in back.values_list("recharge", "dispute_ref", "settled_at"):
        word = _Told(at or _NO_TIME, True, 0, DisputeStanding.WON)
        told.setdefault((recharge_id, dispute_ref), []).append(word)


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


_LOST = """
SELECT recharge_id FROM billing_transfer
WHERE recharge_id = ANY(%b) AND kind IN ('chargeback', 'chargeback_returned') GROUP BY 1
HAVING sum(CASE kind WHEN 'chargeback' THEN amount_minor ELSE -amount_minor END) > 0"""


def _lost_among(recharge_ids: Sequence[int]) -> set[int]:
    return set(rowsets.column(_LOST, [list(recharge_ids)], of=int)) if recharge_ids else set()

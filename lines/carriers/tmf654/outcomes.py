"""What a carrier's answer means for a line. Pure: documents in, outcomes out.

A contradiction raises `Unreadable`, which the adapter hands on as `Unknown`: an answer about
another line, another amount or another reference says nothing of ours.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from lines.carriers.base import (
    Accepted,
    Credited,
    CreditOutcome,
    LineAddress,
    NotAllowed,
    NotFound,
    Rejected,
    Reversed,
    Unknown,
)
from lines.carriers.naming import same_card
from lines.carriers.tmf654.reading import (
    Bucket,
    Order,
    Unreadable,
    bucket_from,
    listed,
    total_count,
)
from lines.carriers.tmf654.wire import Refusal, Reply

_CURRENCY: Final = re.compile(r"[A-Z][A-Z][A-Z]")
# Three capitals too, and no money: what buckets of data, texts and calls are counted in.
_COUNTED: Final = {"BIT", "DAY", "GIB", "HRS", "KIB", "MIB", "MIN", "MMS", "SEC", "SMS", "TIB"}
# RFC 9110 15.5.2 and 15.5.4: the credentials, or what they allow; not what was asked.
TO_US: Final = {401, 403}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`permanent_codes`: the refusals of this carrier that no later try can change."""

    permanent_codes: frozenset[str]

    def credited(self, order: Order) -> CreditOutcome:
        """What became of a top-up. Raises Unreadable."""
        if order.status != "completed":
            return self._unfinished(order)
        if order.amount_minor is None or order.amount_minor <= 0:
            raise Unreadable("a completed top-up without its amount")
        return Credited(order.carrier_ref, order.amount_minor, order.confirmed.at)

    def taken_back(self, order: Order, amount_minor: int) -> CreditOutcome:
        """What became of a debit of exactly `amount_minor`. Raises Unreadable."""
        if order.status != "completed":
            outcome = self._unfinished(order)
            # A debit that was undone: the line has its money, as if it had never been debited.
            return Rejected("cancelled") if isinstance(outcome, Reversed) else outcome
        if order.amount_minor != -amount_minor:
            raise Unreadable("the carrier took back another amount")
        return Reversed(order.carrier_ref)

    def refused(self, refusal: Refusal) -> Rejected | NotAllowed | Unknown:
        """A 4xx to something we sent. A carrier that bars a *line* by 403 lists that code."""
        is_permanent = refusal.code in self.permanent_codes
        if refusal.status in TO_US and not is_permanent:
            return NotAllowed(refusal.code, refusal.message)
        if refusal.status == 409 and not is_permanent:
            # Perhaps a carrier that does look at references, and has seen this one: ask.
            return Unknown(f"conflict: {refusal.code}")
        return Rejected(refusal.code, refusal.message, is_permanent)

    def not_sent(self, found: Refusal | NotFound | Unknown) -> CreditOutcome:
        """The line was looked up in vain, so nothing was asked of the carrier."""
        match found:
            case Refusal():
                return self.refused(found)
            case NotFound():
                return Rejected("unknownResource", "the carrier has no such line", True)
        return Unknown(f"nothing was sent: {found.reason}")

    def _unfinished(self, order: Order) -> CreditOutcome:
        if order.status == "created":
            return Accepted(order.carrier_ref)
        if order.status == "cancelled":
            # Confirmed and cancelled: the line had the money once. Never confirmed: it had not.
            if order.confirmed.is_told:
                return Reversed(order.carrier_ref)
            return Rejected("cancelled", order.reason)
        # The protocol has no field for a code: carriers put theirs, or a sentence, in `reason`.
        is_code = bool(order.reason) and " " not in order.reason and len(order.reason) <= 64
        code = order.reason if is_code else "failed"
        return Rejected(code, order.reason, code in self.permanent_codes)


def joint(outcomes: list[CreditOutcome]) -> CreditOutcome:
    """One reference, several orders: a try that failed may stand beside one that took effect."""
    live = [outcome for outcome in outcomes if not isinstance(outcome, Rejected)]
    if len(live) > 1:
        return Unknown("the carrier has several orders under our reference")
    if live:
        return live[0]
    return outcomes[-1] if outcomes else NotFound()


def only_bucket(reply: Reply, address: LineAddress) -> Bucket | NotFound:
    """The line's only monetary bucket. Raises Unreadable when it cannot be told which it is."""
    documents = listed(reply.body)
    ours = [bucket for bucket in map(bucket_from, documents) if _is_money_of(bucket, address)]
    if len(ours) == 1:
        return ours[0]
    if ours:
        raise Unreadable("the line has more than one monetary bucket")
    if documents:
        raise Unreadable("the carrier answered for another line")
    if total_count(reply.headers):
        raise Unreadable("the carrier holds back part of the list")
    return NotFound()


def stranger(bucket: Bucket, address: LineAddress) -> Rejected | None:
    """A number that is on another card by now may be another person's: nothing is sent to it."""
    cards = [resource.id for resource in bucket.resources if resource.kind == "iccid"]
    if not address.iccid or not cards:
        return None
    if any(same_card(card, address.iccid) for card in cards):
        return None
    return Rejected("simChanged", "the number is on another SIM card", True)


def check_line(order: Order, address: LineAddress, bucket_id: str = "") -> None:
    """Raises Unreadable when the carrier says that another line than ours was meant, by its number
    or by the bucket that the order was sent to.
    """
    if order.resources and not any(
        resource.names(address.msisdn) or resource.names(address.iccid)
        for resource in order.resources
    ):
        raise Unreadable("the answer is about another line")
    if bucket_id and order.bucket_id not in ("", bucket_id):
        raise Unreadable("the answer is about another bucket")


def _is_money_of(bucket: Bucket, address: LineAddress) -> bool:
    return _is_money(bucket) and any(
        resource.names(address.resource) for resource in bucket.resources
    )


def _is_money(bucket: Bucket) -> bool:
    """By its usage, and by its units where they tell: gigabytes are no money, whatever it says."""
    usage: Any = bucket.document.get("usageType")
    quantity = bucket.document.get("remainingValue")
    units = quantity.get("units") if isinstance(quantity, dict) else None
    if usage not in (None, "monetary"):
        return False
    return units is None or (bool(_CURRENCY.fullmatch(str(units))) and units not in _COUNTED)

"""What Stripe says about a card that was bound, as facts. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from billing.gateways.base import BindingFacts, BindingStatus, NotFound, Unknown
from billing.gateways.stripe.intents import instant, text

_BRANDS = {
    "amex": "American Express",
    "diners": "Diners Club",
    "discover": "Discover",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}


def facts(card: Mapping[str, object], *, customer: str, at: datetime) -> BindingFacts | Unknown:
    """A payment method as a binding of `customer`. Attached to nobody, it was removed: REVOKED.

    A card is good to the end of its month; Stripe may renew its date by itself, and says so by
    `payment_method.automatically_updated`.
    """
    number, member = text(card, "id"), card.get("card")
    if card.get("object") != "payment_method" or not number or not isinstance(member, Mapping):
        return Unknown("the answer is no card")
    expires_at = _end_of_month(member.get("exp_year"), member.get("exp_month"))
    status = BindingStatus.ACTIVE
    if text(card, "customer") != customer:
        status = BindingStatus.REVOKED
    elif expires_at is not None and expires_at <= at:
        status = BindingStatus.EXPIRED
    return BindingFacts(
        status,
        provider_ref=f"{customer}/{number}",
        label=_label(member),
        fingerprint=text(member, "fingerprint"),
        expires_at=expires_at,
        signed_at=instant(card.get("created")),
    )


def unsigned(session: Mapping[str, object]) -> BindingFacts | NotFound | None:
    """What an unfinished signing page means; None where it came to its end and left a card.

    An expired page is one that nobody signed.
    """
    status = text(session, "status")
    setup = text(session, "setup_intent", "status")
    if status == "complete" and setup == "succeeded":
        return None
    if status == "expired" or setup == "canceled":
        return NotFound()
    return BindingFacts(BindingStatus.PENDING, provider_ref=text(session, "id"))


def _label(card: Mapping[str, object]) -> str:
    brand = text(card, "brand")
    return f"{_BRANDS.get(brand, brand.title() or 'Card')} ****{text(card, 'last4')}"


def _end_of_month(year: object, month: object) -> datetime | None:
    """The instant after the card's last day, in UTC: some banks' midnights are hours off."""
    if not isinstance(year, int) or not isinstance(month, int):
        return None
    if not (2000 <= year < 9000 and 1 <= month <= 12):
        return None
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)

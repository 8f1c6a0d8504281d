"""What Stripe posts to us: verified over the raw body, fresh, for this account; then read.

The signature is the SDK's to check; the time in it is checked here, against the time handed in.
While a webhook's secret is rolled Stripe signs with both, and so either of ours will do. Every
delivery is signed anew, so what is older than five minutes is somebody's copy.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import stripe

from billing.gateways.base import Acknowledgement, BadNotification, Notification, NotificationKind
from billing.gateways.stripe import disputes
from billing.gateways.stripe.account import Account
from billing.gateways.stripe.intents import instant, member, text, whole
from billing.gateways.stripe.masking import masked_json
from billing.gateways.stripe.orders import BINDING_KEY, CHARGE_KEY, REFUND_KEY

ACCEPTED = Acknowledgement('{"received":true}', "application/json")
REFUSED = Acknowledgement('{"received":false}', "application/json", status=400)

_TOLERANCE = timedelta(minutes=5)
_LONGEST_BODY_BYTES = 256 * 1024
_LONGEST_HEADER = 2000


def read(
    body: bytes, *, headers: Mapping[str, str], account: Account, at: datetime
) -> Notification:
    """The notification in `body`. Raises BadNotification: nothing of it may be believed."""
    payload = _payload(body)
    header = _header(headers)
    if not any(_is_signed(payload, header, secret) for secret in account.webhook_secrets):
        raise BadNotification("the signature is wrong", REFUSED)
    sent_at = _sent_at(header)
    if sent_at is None or abs(at - sent_at) > _TOLERANCE:
        raise BadNotification("it is too old, or from the future", REFUSED)
    event = _event(payload)
    if event.get("livemode") is not account.is_live:
        return _other(event)
    subject = member(event, "data").get("object")
    reader = _reader(text(event, "type"))
    return reader(event, subject) if reader and isinstance(subject, dict) else _other(event)


def _payload(body: bytes) -> str:
    if len(body) > _LONGEST_BODY_BYTES:
        raise BadNotification("it is too long", REFUSED)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadNotification("it is not UTF-8", REFUSED) from None


def _header(headers: Mapping[str, str]) -> str:
    found = [value for name, value in headers.items() if name.lower() == "stripe-signature"]
    header = found[0] if len(found) == 1 else ""
    if not header or len(header) > _LONGEST_HEADER:
        raise BadNotification("it is not signed", REFUSED)
    return header


def _is_signed(payload: str, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(payload, header, secret)
    except stripe.SignatureVerificationError:
        return False
    return True


def _sent_at(header: str) -> datetime | None:
    """The time that was signed: the first `t`, as the SDK takes it."""
    times = [part.split("=", 2) for part in header.split(",")]
    first = next((part[1] for part in times if part[0] == "t" and len(part) > 1), "")
    return instant(int(first)) if first.isascii() and first.isdecimal() else None


def _event(payload: str) -> Mapping[str, object]:
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadNotification("it is not JSON", REFUSED) from None
    is_event = isinstance(event, dict) and event.get("object") == "event"
    if not is_event or not text(event, "id") or not isinstance(event.get("data"), dict):
        raise BadNotification("it is no event", REFUSED)
    found: Mapping[str, object] = event
    return found


# --- one reader a kind of subject ---------------------------------------------------------------

Reader = Callable[[Mapping[str, object], Mapping[str, object]], Notification]


def _charge(event: Mapping[str, object], intent: Mapping[str, object]) -> Notification:
    reference = text(intent, "metadata", CHARGE_KEY)
    if not reference:
        return _other(event)  # of something else that this account sells
    return _note(
        event,
        NotificationKind.CHARGE,
        our_ref=reference,
        provider_ref=text(intent, "id"),
        amount_minor=whole(intent.get("amount")),
        currency=text(intent, "currency").upper(),
    )


def _refund(event: Mapping[str, object], refund: Mapping[str, object]) -> Notification:
    """Of one refund, in its own amount. One made at Stripe's dashboard has no number of ours."""
    return _note(
        event,
        NotificationKind.REFUND,
        our_ref=text(refund, "metadata", CHARGE_KEY),
        provider_ref=text(refund, "payment_intent"),
        refund_ref=text(refund, "metadata", REFUND_KEY),
        amount_minor=whole(refund.get("amount")),
        currency=text(refund, "currency").upper(),
    )


def _refunded_charge(event: Mapping[str, object], charge: Mapping[str, object]) -> Notification:
    """`amount_minor` is all that was given back of the charge so far."""
    return _note(
        event,
        NotificationKind.REFUND,
        our_ref=text(charge, "metadata", CHARGE_KEY),
        provider_ref=text(charge, "payment_intent"),
        amount_minor=whole(charge.get("amount_refunded")),
        currency=text(charge, "currency").upper(),
    )


def _dispute(event: Mapping[str, object], dispute: Mapping[str, object]) -> Notification:
    """It names the payment by Stripe's number alone; `claims` holds the dispute's own state, and
    events come in any order, so each carries the time at which it was so."""
    return _note(
        event,
        NotificationKind.DISPUTE,
        our_ref=text(dispute, "metadata", CHARGE_KEY),
        provider_ref=text(dispute, "payment_intent"),
        amount_minor=whole(dispute.get("amount")),
        currency=text(dispute, "currency").upper(),
        claims=disputes.said(event_type=text(event, "type"), status=text(dispute, "status")),
        dispute_ref=text(dispute, "id"),
        said_at=instant(event.get("created")),
    )


def _binding(event: Mapping[str, object], subject: Mapping[str, object]) -> Notification:
    """A page, a set-up, a card or a customer: each was marked with the binding's reference."""
    reference = text(subject, "metadata", BINDING_KEY) or text(subject, "client_reference_id")
    if not reference:
        return _other(event)
    return _note(
        event, NotificationKind.BINDING, our_ref=reference, provider_ref=text(subject, "id")
    )


def _other(event: Mapping[str, object]) -> Notification:
    """Genuine, and nothing to us: acknowledged, so that it does not come again."""
    return _note(event, NotificationKind.OTHER, our_ref="")


_READERS: dict[str, Reader] = {
    "checkout.session.completed": _binding,
    "checkout.session.expired": _binding,
    "setup_intent.succeeded": _binding,
    "setup_intent.setup_failed": _binding,
    "setup_intent.canceled": _binding,
    "payment_method.detached": _binding,
    "payment_method.updated": _binding,
    "payment_method.automatically_updated": _binding,
    "customer.deleted": _binding,
    "charge.refunded": _refunded_charge,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
}


def _reader(kind: str) -> Reader | None:
    if kind.startswith("payment_intent."):
        return _charge
    if kind.startswith(disputes.PREFIX):
        return _dispute
    return _READERS.get(kind)


def _note(
    event: Mapping[str, object],
    kind: NotificationKind,
    *,
    our_ref: str,
    provider_ref: str = "",
    refund_ref: str = "",
    amount_minor: int | None = None,
    currency: str = "",
    claims: str = "",
    dispute_ref: str = "",
    said_at: datetime | None = None,
) -> Notification:
    return Notification(
        kind=kind,
        dedupe_id=text(event, "id"),
        our_ref=our_ref,
        provider_ref=provider_ref,
        refund_ref=refund_ref,
        amount_minor=amount_minor,
        currency=currency,
        claims=claims or text(event, "type"),
        dispute_ref=dispute_ref,
        said_at=said_at,
        body_masked=masked_json(event),
    )

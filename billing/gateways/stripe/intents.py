"""What payments and refunds at Stripe mean, as outcomes. Pure: facts in, an outcome out.

Traps: a declined intent is *not* over by name, it is
`requires_payment_method`, and nothing but we would confirm it again, so its reference is spent; a
payment keeps `succeeded` when all of it was given back, which shows on its charge alone; and a
refusal while *asking* says nothing about the payment.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import stripe

from billing.gateways.base import (
    ActionRequired,
    Closed,
    Outcome,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.gateways.stripe import codes
from billing.gateways.stripe.orders import CHARGE_KEY, REFUND_KEY
from billing.gateways.stripe.wire import Reply

CANCELED = "canceled"
# Of several payments under one reference, which one counts first.
_TELLING = ("succeeded", "processing", "requires_action", "requires_capture")


def refusal(reply: Reply) -> Refused | Unknown:
    """An answer other than success to a call that changes something.

    429 is Unknown: nothing happened, and what an unknown outcome leads to, asking and then sending
    the *same* key again, is the back-off that Stripe wants. So is 409: the key is in use right now.
    """
    match reply.problem:
        case stripe.CardError():
            return Refused(codes.of_decline(reply.error) or "card_declined", reply.explain())
        case stripe.IdempotencyError():
            return Refused("idempotency_error", reply.explain())
        case stripe.InvalidRequestError():
            code = str(reply.error.get("code") or "")
            listed = codes.DECLINE_CODES.get(code) == "config"
            return Refused(code if listed else "invalid_request_error", reply.explain())
        case stripe.AuthenticationError():
            return Refused("authentication_error", reply.explain())
        case stripe.PermissionError():
            return Refused("permission_error", reply.explain())
    said = reply.explain() or "no usable answer"
    return Unknown(said, wait=reply.wait, is_too_fast=is_too_fast(reply))


def untold(reply: Reply) -> Unknown:
    """A refusal to tell, or no answer: it says nothing of what was asked."""
    is_ours = isinstance(reply.problem, stripe.AuthenticationError | stripe.PermissionError)
    return Unknown(
        reply.explain(), is_ours=is_ours, wait=reply.wait, is_too_fast=is_too_fast(reply)
    )


def is_too_fast(reply: Reply) -> bool:
    """Stripe's rate limiter, or its limit of calls about one object at a time."""
    return reply.status == 429


def outcome(intent: Mapping[str, object], *, reference: str) -> Outcome:
    """What a payment intent is now. Never Refused: what was declined is Closed."""
    number = intent.get("id")
    if intent.get("object") != "payment_intent" or not isinstance(number, str):
        return Unknown("the answer is no payment")
    if text(intent, "metadata", CHARGE_KEY) != reference:
        return Unknown("the answer is about another charge")
    match intent.get("status"):
        case "succeeded":
            return _succeeded(intent, number)
        case "processing":
            return Pending(number)
        case "requires_action":
            url = text(intent, "next_action", "redirect_to_url", "url")
            return ActionRequired(url, number) if url else Unknown("no page to confirm on is told")
        case "requires_payment_method":
            return Closed(number, codes.of_decline(member(intent, "last_payment_error")))
        case "canceled":
            return Closed(number, CANCELED)
    return Unknown(f"status {intent.get('status')}")


def most_telling(intents: list[Mapping[str, object]]) -> Mapping[str, object] | None:
    """Of the payments under one reference, newest first, the one to go by. None: two were paid,
    which no rule settles."""
    by_status = {
        status: [one for one in intents if one.get("status") == status] for status in _TELLING
    }
    if len(by_status["succeeded"]) > 1:
        return None
    return next((found[0] for found in by_status.values() if found), intents[0])


def refund_outcome(refund: Mapping[str, object], *, refund_ref: str) -> Outcome:
    """What a refund is now: Succeeded, Pending, Refused (it failed) or Unknown."""
    if refund.get("object") != "refund" or text(refund, "metadata", REFUND_KEY) != refund_ref:
        return Unknown("the answer is about another refund")
    number, status = str(refund.get("id")), refund.get("status")
    if status == "succeeded":
        amount_minor, currency = _amount(refund.get("amount")), text(refund, "currency").upper()
        if amount_minor is None or not currency:
            return Unknown("the answer's amount cannot be read")
        return Succeeded(number, amount_minor, currency, instant(refund.get("created")))
    if status in ("pending", "requires_action"):
        return Pending(number)
    if status in ("failed", "canceled"):
        return Refused(text(refund, "failure_reason") or f"refund_{status}")
    return Unknown(f"status {status}")


def instant(seconds: object) -> datetime | None:
    """Stripe's time, whole seconds of UTC; None for what is none."""
    told = whole(seconds)
    return datetime.fromtimestamp(told, UTC) if told is not None and 0 < told < 2**33 else None


def text(value: object, *path: str) -> str:
    """A nested member as text; empty where it is missing, null or no string."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """A whole number; None for what is none, as a flag is."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def member(value: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A member that is an object; empty where it is missing, null or none."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def page(reply: Reply) -> list[Mapping[str, object]] | None:
    """The objects of a list; None where no list came, or one with something else in it."""
    found = reply.fields.get("data")
    if not reply.is_ok or not isinstance(found, list):
        return None
    objects = [one for one in found if isinstance(one, Mapping)]
    return objects if len(objects) == len(found) else None


def _succeeded(intent: Mapping[str, object], number: str) -> Outcome:
    charge, currency = member(intent, "latest_charge"), text(intent, "currency").upper()
    # What was received, never what was asked for; a simulator of a third party tells it there.
    amount_minor = _amount(intent.get("amount_received", charge.get("amount")))
    if amount_minor is None or not currency:
        return Unknown("the answer's amount cannot be read")
    if charge.get("refunded") is True:
        return Closed(number, is_given_back=True)
    at = instant(charge.get("created")) or instant(intent.get("created"))
    return Succeeded(number, amount_minor, currency, at)


def _amount(value: object) -> int | None:
    """What moved: a whole number above zero, or None."""
    minor = whole(value)
    return minor if minor is not None and minor > 0 else None

"""What is sent for a charge and a refund, and what is refused before sending. Pure.

The same on every sending of a reference: other parameters under one idempotency key are an error.
"""

import re

from stripe.params import PaymentIntentCreateParams, RefundCreateParams

from billing.gateways.base import ChargeRequest, RefundRequest, Refused
from billing.gateways.stripe import codes
from billing.gateways.stripe.account import Account

# What finds our payment again when every answer was lost.
CHARGE_KEY, REFUND_KEY, BINDING_KEY = "keepline_ref", "keepline_refund", "keepline_binding"

_REFERENCE = re.compile(r"[A-Za-z0-9_]{1,32}")
_BINDING = re.compile(r"(?P<customer>cus_[A-Za-z0-9_]+)/(?P<card>pm_[A-Za-z0-9_]+)")
_LONGEST_NOTE = 500


def split_binding(provider_ref: str) -> tuple[str, str]:
    """ "cus_…/pm_…" as customer and payment method; both empty where it is no such thing."""
    found = _BINDING.fullmatch(provider_ref)
    return (found["customer"], found["card"]) if found else ("", "")


def intent_params(request: ChargeRequest, account: Account) -> PaymentIntentCreateParams:
    """Of a payment intent that is confirmed at once, without its payer. The description travels as
    metadata: on the payer's statement stands the account's own name and our suffix."""
    customer, card = split_binding(request.provider_binding_ref)
    params: PaymentIntentCreateParams = {
        "amount": request.amount_minor,
        "currency": request.currency.lower(),
        "customer": customer,
        "payment_method": card,
        "allowed_payment_method_types": ["card"],
        "off_session": True,
        "confirm": True,
        "metadata": {
            CHARGE_KEY: request.reference,
            "keepline_description": request.description[:_LONGEST_NOTE],
        },
        "expand": ["latest_charge"],
    }
    if account.statement_descriptor_suffix:
        params["statement_descriptor_suffix"] = account.statement_descriptor_suffix
    return params


def refund_params(request: RefundRequest, intent_id: str) -> RefundCreateParams:
    return {
        "payment_intent": intent_id,
        "amount": request.amount_minor,
        "metadata": {
            REFUND_KEY: request.refund_ref,
            CHARGE_KEY: request.charge_ref,
            "keepline_reason": request.reason[:_LONGEST_NOTE],
        },
    }


def wrong_charge(request: ChargeRequest, account: Account) -> Refused | None:
    """What Stripe would refuse anyway, refused before anything is sent."""
    if request.currency not in account.currencies:
        return Refused(codes.NOT_OFFERED, "STRIPE_CURRENCIES does not list it.")
    if request.amount_minor <= 0 or not _REFERENCE.fullmatch(request.reference):
        return Refused("invalid_request_error", "A charge needs an amount and a reference.")
    if not split_binding(request.provider_binding_ref)[0]:
        return Refused("invalid_request_error", "A charge needs a card: cus_…/pm_….")
    return None


def wrong_refund(request: RefundRequest, account: Account) -> Refused | None:
    """The same for a refund. What all refunds add up to is our own ledger's to watch as well."""
    if request.currency not in account.currencies:
        return Refused(codes.NOT_OFFERED, "STRIPE_CURRENCIES does not list it.")
    if not 0 < request.amount_minor <= request.charged_minor:
        return Refused("amount_too_large", "A refund cannot exceed its charge.")
    if not _REFERENCE.fullmatch(request.refund_ref):
        return Refused("invalid_request_error", "A refund needs a reference.")
    return None

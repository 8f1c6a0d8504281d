"""What Stripe's codes mean for a charge: the data an operator's `DeclineCode` table starts from.

A card's decline carries a `decline_code` and sometimes the issuer's `advice_code`. Advice, where
there is any, wins: then our code is "advice:<advice_code>", a row of its own in the same table, so
that this too is data. Classes are a judgement from the vendor's texts; public code
disagrees about do_not_honor and card_velocity_exceeded, which is why an operator can change a row.

soft = again later on the ladder; hard = stop and ask the payer; auth = the payer confirms with the
bank; config = pause the rail and tell the operator; unknown = ask, never resend.
"""

from collections.abc import Mapping
from datetime import timedelta

AUTHENTICATION_REQUIRED = "authentication_required"
DUPLICATE = "duplicate_transaction"
INSTRUMENT_GONE = "payment_method_gone"  # ours: the card was removed from its customer
NOT_OFFERED = "currency_not_offered"  # ours: no setting lists it; the card is not to blame
ADVICE = "advice:"
# Mastercard's own numbers for "never again", in case Stripe passes them on without its word for it.
NEVER_AGAIN = frozenset({"03", "21"})
_VAGUE = ("try_again_later", "confirm_card_data")

NETWORK = "network_"
# Mastercard's advice on when to try again, more exact than Stripe's word for it: never sooner.
WAITS: Mapping[str, timedelta] = {
    f"{ADVICE}{NETWORK}24": timedelta(hours=1),
    f"{ADVICE}{NETWORK}25": timedelta(days=1),
    f"{ADVICE}{NETWORK}26": timedelta(days=2),
    f"{ADVICE}{NETWORK}27": timedelta(days=4),
    f"{ADVICE}{NETWORK}28": timedelta(days=6),
    f"{ADVICE}{NETWORK}29": timedelta(days=8),
    f"{ADVICE}{NETWORK}30": timedelta(days=10),
}

DECLINE_CODES: dict[str, str] = {
    # What the issuer advises, whatever its decline says.
    **dict.fromkeys(WAITS, "soft"),
    f"{ADVICE}{NETWORK}40": "hard",  # a prepaid card that cannot be filled again
    f"{ADVICE}{NETWORK}41": "hard",  # a virtual card's number, good for one payment
    "advice:try_again_later": "soft",
    "advice:do_not_try_again": "hard",
    "advice:confirm_card_data": "hard",
    # No money now, a limit that time resets, or an issuer that is away.
    "insufficient_funds": "soft",
    "try_again_later": "soft",
    "issuer_not_available": "soft",
    "processing_error": "soft",
    "reenter_transaction": "soft",
    "approve_with_id": "soft",
    "card_velocity_exceeded": "soft",
    "withdrawal_count_limit_exceeded": "soft",
    "generic_decline": "soft",
    "card_declined": "soft",  # an error's `code`, where its decline_code is not told
    "do_not_honor": "soft",
    "no_action_taken": "soft",
    "call_issuer": "soft",
    "card_decline_rate_limit_exceeded": "soft",  # declined too often today
    "charge_exceeds_source_limit": "soft",
    "charge_exceeds_transaction_limit": "soft",
    "refer_to_customer": "soft",
    "payment_method_provider_decline": "soft",
    "payment_method_provider_timeout": "soft",
    "payment_method_not_available": "soft",
    "payment_intent_payment_attempt_failed": "soft",
    # Looked for before it gets here: no other payment of ours had this reference.
    "duplicate_transaction": "soft",
    # The card or its account will not do again.
    "lost_card": "hard",
    "stolen_card": "hard",
    "pickup_card": "hard",
    "restricted_card": "hard",
    "fraudulent": "hard",
    "merchant_blacklist": "hard",
    "security_violation": "hard",
    "revocation_of_authorization": "hard",
    "revocation_of_all_authorizations": "hard",
    "stop_payment_order": "hard",
    "do_not_try_again": "hard",
    "invalid_account": "hard",
    "new_account_information_available": "hard",
    "expired_card": "hard",
    "incorrect_number": "hard",
    "incorrect_cvc": "hard",
    "card_not_supported": "hard",
    "currency_not_supported": "hard",
    "not_permitted": "hard",
    "service_not_allowed": "hard",
    "transaction_not_allowed": "hard",
    "invalid_amount": "hard",
    "invalid_number": "hard",
    "invalid_cvc": "hard",
    "invalid_expiry_month": "hard",
    "invalid_expiry_year": "hard",
    "invalid_card_type": "hard",
    "expired_payment_method": "hard",
    "incorrect_address": "hard",
    "incorrect_postal_code": "hard",
    "incorrect_zip": "hard",
    "postal_code_invalid": "hard",
    "account_closed": "hard",
    "no_account": "hard",
    "debit_not_authorized": "hard",
    "india_recurring_payment_mandate_canceled": "hard",
    "payment_intent_mandate_invalid": "hard",
    "payment_method_currency_mismatch": "hard",
    "payment_method_customer_decline": "hard",
    "payment_method_restricted": "hard",
    "payment_method_unactivated": "hard",
    INSTRUMENT_GONE: "hard",
    # The bank wants the payer there.
    AUTHENTICATION_REQUIRED: "auth",
    "payment_intent_action_required": "auth",
    "approval_required": "auth",
    "authentication_failure": "hard",
    "three_d_secure_authentication_not_supported": "hard",  # so this bank can never confirm
    "three_d_secure_authentication_upstream_error": "soft",
    "payment_intent_payment_attempt_expired": "hard",  # asked, and nobody came
    "payment_intent_authentication_failure": "hard",  # asked, and did not confirm
    "canceled": "auth",  # called off, for nobody confirmed it in time
    # Ours or the merchant's to put right.
    "authentication_error": "config",  # 401
    "permission_error": "config",  # 403
    "invalid_request_error": "config",  # 400, 404
    "idempotency_error": "config",  # a key of ours was used twice with two meanings
    "resource_missing": "config",
    "account_invalid": "config",
    "action_blocked": "config",
    "api_key_expired": "config",
    "balance_insufficient": "config",  # of a refund: ours is empty
    "capability_not_active": "config",
    "intent_invalid_state": "config",
    "invalid_charge_amount": "config",
    "livemode_mismatch": "config",
    "missing": "config",
    "parameter_invalid_empty": "config",
    "parameter_invalid_string_blank": "config",
    "parameter_invalid_string_empty": "config",
    "parameters_exclusive": "config",
    "payment_intent_incompatible_payment_method": "config",
    "payment_intent_invalid_parameter": "config",
    "payment_intent_unexpected_state": "config",
    "payment_method_configuration_failures": "config",
    "payment_method_invalid_parameter": "config",
    "payment_method_invalid_parameter_testmode": "config",
    "payment_method_unexpected_state": "config",
    "payment_method_unsupported_type": "config",
    "platform_api_key_expired": "config",
    "request_blocked": "config",
    "secret_key_required": "config",
    "testmode_charges_only": "config",
    "tls_version_unsupported": "config",
    "url_invalid": "config",
    # A refund that cannot be made, or not now: a person looks at the payment.
    "charge_already_refunded": "config",
    "charge_disputed": "config",
    "charge_not_refundable": "config",
    "refund_disputed_payment": "config",
    # Nothing was looked at: the same key goes again.
    "idempotency_key_in_use": "unknown",
    "lock_timeout": "unknown",
    "payment_intent_rate_limit_exceeded": "unknown",
    "rate_limit": "unknown",
    "amount_too_small": "config",
    "amount_too_large": "config",
    "parameter_invalid_integer": "config",
    "parameter_missing": "config",
    "parameter_unknown": "config",
    NOT_OFFERED: "config",
    "testmode_decline": "config",  # a test card with a live key
    "live_mode_test_card": "config",
}


def of_decline(error: Mapping[str, object]) -> str:
    """Our code for a card error, or for a payment's `last_payment_error`.

    An advice nobody has listed says nothing to us, so the decline speaks then.
    """
    advice = f"{ADVICE}{_advice(error)}"
    code, decline_code = error.get("code"), error.get("decline_code")
    if code == AUTHENTICATION_REQUIRED or decline_code == AUTHENTICATION_REQUIRED:
        return AUTHENTICATION_REQUIRED
    if advice in DECLINE_CODES:
        return advice
    given = decline_code or code
    return given if isinstance(given, str) else ""


def _advice(error: Mapping[str, object]) -> object:
    """The network's own where it says more than Stripe's word, unless that is "never again"."""
    told, network = error.get("advice_code"), str(error.get("network_advice_code"))
    if network in NEVER_AGAIN:
        return told or "do_not_try_again"
    is_more = f"{ADVICE}{NETWORK}{network}" in DECLINE_CODES
    return f"{NETWORK}{network}" if is_more and told in (None, "", *_VAGUE) else told or ""

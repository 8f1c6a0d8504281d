"""What Stripe's codes mean for a charge: the data an operator's `DeclineCode` table starts from.

A card's decline carries a `decline_code` and sometimes the issuer's `advice_code`. Advice, where
there is any, wins: then our code is "advice:<advice_code>", a row of its own in the same table, so
that this too is data. Classes are a judgement from the vendor's texts; public code
disagrees about do_not_honor and card_velocity_exceeded, which is why an operator can change a row.

soft = again later on the ladder; hard = stop and ask the payer; auth = the payer confirms with the
bank; config = pause the rail and tell the operator; unknown = ask, never resend.
"""

from collections.abc import Mapping

AUTHENTICATION_REQUIRED = "authentication_required"
DUPLICATE = "duplicate_transaction"
INSTRUMENT_GONE = "payment_method_gone"  # ours: the card was removed from its customer
NOT_OFFERED = "currency_not_offered"  # ours: no setting lists it; the card is not to blame
ADVICE = "advice:"
# Mastercard's own numbers for "never again", in case Stripe passes them on without its word for it.
NEVER_AGAIN = frozenset({"03", "21"})

DECLINE_CODES: dict[str, str] = {
    # What the issuer advises, whatever its decline says.
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
    INSTRUMENT_GONE: "hard",
    # The bank wants the payer there.
    AUTHENTICATION_REQUIRED: "auth",
    "payment_intent_authentication_failure": "hard",  # asked, and did not confirm
    "canceled": "auth",  # called off, for nobody confirmed it in time
    # Ours or the merchant's to put right.
    "authentication_error": "config",  # 401
    "permission_error": "config",  # 403
    "invalid_request_error": "config",  # 400, 404
    "idempotency_error": "config",  # a key of ours was used twice with two meanings
    "resource_missing": "config",
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
    is_final = str(error.get("network_advice_code")) in NEVER_AGAIN
    return error.get("advice_code") or ("do_not_try_again" if is_final else "")

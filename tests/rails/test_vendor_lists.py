"""What vendors' own packages list, beside what we know: a release that adds a word is red here.

Stripe's SDK names its error codes and statuses, but issuers' decline codes are bare texts there.
Neither package of Alipay's or WeChat's that is installed holds a table of codes; the few that stand
in their texts are looked for.
"""

import inspect
import re
import typing

import alipay
import pytest
import stripe

from billing.gateways.alipay import codes as alipay_codes
from billing.gateways.base import DisputeStanding, Unknown
from billing.gateways.stripe import codes, disputes, intents
from billing.gateways.stripe.orders import CHARGE_KEY, REFUND_KEY

# Answers to calls that we do not make: payouts, terminals, invoices, bank debits, tax, set-up.
_OTHERS = """
account_country_invalid_address account_error_country_change_requires_additional_steps
account_information_mismatch account_number_invalid account_token_required_for_v2_account
acss_debit_session_incomplete alipay_upgrade_required anomalous_money_movement_request
application_fees_not_allowed balance_invalid_parameter bank_account_bad_routing_numbers
bank_account_declined bank_account_exists bank_account_restricted bank_account_unusable
bank_account_unverified bank_account_verification_failed billing_invalid_mandate
bitcoin_upgrade_required capture_charge_authorization_expired capture_unauthorized_payment
cardholder_phone_number_required charge_already_captured charge_expired_for_capture
charge_invalid_parameter clearing_code_unsupported country_code_invalid country_unsupported
coupon_expired customer_max_payment_methods customer_max_subscriptions
customer_session_expired customer_tax_location_invalid dispute_evidence_page_limit_exceeded
email_invalid failed_tax_calculation financial_account_balance_does_not_support_currency
financial_account_capability_not_enabled financial_account_capability_restricted
financial_connections_account_inactive financial_connections_account_pending_account_numbers
financial_connections_account_unavailable_account_numbers
financial_connections_consent_locale_invalid
financial_connections_consent_locale_unsupported
financial_connections_no_successful_transaction_refresh forwarding_api_inactive
forwarding_api_invalid_parameter forwarding_api_retryable_upstream_error
forwarding_api_upstream_connection_error forwarding_api_upstream_connection_timeout
forwarding_api_upstream_error instant_payouts_config_disabled
instant_payouts_currency_disabled instant_payouts_limit_exceeded instant_payouts_unsupported
intent_verification_method_missing invalid_canceled_subscription_fields invalid_characters
invalid_mandate_reference_prefix_format invalid_source_usage invalid_tax_location
invoice_no_customer_line_items invoice_no_payment_method_types
invoice_no_subscription_line_items invoice_not_editable invoice_on_behalf_of_not_editable
invoice_payment_intent_requires_action invoice_upcoming_none not_allowed_on_standard_account
out_of_inventory ownership_declaration_not_allowed
payment_evaluation_on_api_version_not_supported
payment_intent_konbini_rejected_confirmation_number
payment_method_bank_account_already_verified payment_method_bank_account_blocked
payment_method_billing_details_address_missing payment_method_microdeposit_failed
payment_method_microdeposit_processing_error
payment_method_microdeposit_verification_amounts_invalid
payment_method_microdeposit_verification_amounts_mismatch
payment_method_microdeposit_verification_attempts_exceeded
payment_method_microdeposit_verification_descriptor_code_mismatch
payment_method_microdeposit_verification_timeout payout_reconciliation_not_ready
payouts_limit_exceeded payouts_not_allowed platform_account_required product_inactive
progressive_onboarding_limit_exceeded resource_already_exists
return_intent_already_processed routing_number_invalid sepa_unsupported_account
service_period_coupon_with_metered_tiered_item_unsupported setup_attempt_failed
setup_intent_authentication_failure setup_intent_invalid_parameter
setup_intent_mandate_invalid setup_intent_mobile_wallet_unsupported
setup_intent_setup_attempt_expired setup_intent_unexpected_state shipping_address_invalid
shipping_calculation_failed siret_invalid sku_inactive smart_disputes_not_available
state_unsupported status_transition_invalid storer_capability_missing
storer_capability_not_active stripe_tax_inactive
subscription_update_trial_after_billing_cycle_anchor tax_id_invalid tax_id_prohibited
taxes_calculation_failed terminal_location_country_unsupported terminal_reader_busy
terminal_reader_hardware_fault terminal_reader_invalid_location_for_activation
terminal_reader_invalid_location_for_payment terminal_reader_offline terminal_reader_timeout
token_already_used token_card_network_invalid token_in_use
transfer_source_balance_parameters_mismatch transfers_not_allowed
"""
# Alipay's own list of what alipay.trade.pay may be refused with, without the "ACQ." of each.
_OF_TRADE_PAY = """
ACCESS_FORBIDDEN AGREEMENT_ERROR AGREEMENT_INVALID AGREEMENT_NOT_EXIST
AGREEMENT_STATUS_NOT_NORMAL AMOUNT_OR_CURRENCY_ERROR AUTH_AMOUNT_NOT_ENOUGH AUTH_NO_ERROR
AUTH_ORDER_HAS_CLOSED AUTH_ORDER_HAS_FINISHED AUTH_ORDER_NOT_PAID AUTH_TOKEN_IS_NOT_EXIST
BEYOND_PAY_RESTRICTION BEYOND_PER_RECEIPT_DAY_RESTRICTION BEYOND_PER_RECEIPT_RESTRICTION
BEYOND_PER_RECEIPT_SINGLE_RESTRICTION BUYER_BALANCE_NOT_ENOUGH BUYER_BANKCARD_BALANCE_NOT_ENOUGH
BUYER_ENABLE_STATUS_FORBID BUYER_NOT_EXIST BUYER_NOT_MAINLAND_CERT
BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR BUYER_SELLER_EQUAL
BUYER_UNSUPPORT_ADVANCE CARD_TYPE_ERROR CARD_USER_NOT_MATCH CERT_EXPIRED CONTEXT_INCONSISTENT
CURRENCY_NOT_SUPPORT CYCLE_PAY_DATE_NOT_MATCH CYCLE_PAY_SINGLE_FEE_EXCEED
CYCLE_PAY_TOTAL_FEE_EXCEED CYCLE_PAY_TOTAL_TIMES_EXCEED ERROR_BALANCE_PAYMENT_DISABLE
ERROR_BUYER_CERTIFY_LEVEL_LIMIT EXIST_FORBIDDEN_WORD INVALID_PARAMETER INVALID_RECEIVE_ACCOUNT
INVALID_STORE_ID MERCHANT_AGREEMENT_INVALID MERCHANT_AGREEMENT_NOT_EXIST
MERCHANT_PERM_RECEIPT_DAY_LIMIT MERCHANT_PERM_RECEIPT_SINGLE_LIMIT
MERCHANT_PERM_RECEIPT_SUSPEND_LIMIT MERCHANT_STATUS_NOT_NORMAL MERCHANT_UNSUPPORT_ADVANCE
MOBILE_PAYMENT_SWITCH_OFF NOT_CERTIFIED_USER NOT_SUPPORT_PAYMENT_INST
NOW_TIME_AFTER_EXPIRE_TIME_ERROR NO_PAYMENT_INSTRUMENTS_AVAILABLE ORDER_UNSUPPORT_ADVANCE
PARTNER_ERROR PAYER_UNMATCHED PAYMENT_AUTH_CODE_INVALID PAYMENT_FAIL PAYMENT_REQUEST_HAS_RISK
PLATFORM_BUSINESS_ACQUIRE_MODE_MUST_MERCHANT_ID PRE_AUTH_PROD_CODE_INCONSISTENT
PRODUCT_AMOUNT_LIMIT_ERROR PULL_MOBILE_CASHIER_FAIL REQUEST_AMOUNT_EXCEED
RESTRICTED_MERCHANT_INDUSTRY RISK_MERCHANT_IP_NOT_EXIST ROYALTY_ACCOUNT_NOT_EXIST
SECONDARY_MERCHANT_ALIPAY_ACCOUNT_INVALID SECONDARY_MERCHANT_ID_BLANK
SECONDARY_MERCHANT_ID_INVALID SECONDARY_MERCHANT_ISV_PUNISH_INDIRECT
SECONDARY_MERCHANT_NOT_MATCH SECONDARY_MERCHANT_STATUS_ERROR SELLER_BEEN_BLOCKED
SELLER_NOT_EXIST SMILE_PAY_MERCHANT_NOT_MATCH SUB_GOODS_SIZE_MAX_COUNT SUB_MERCHANT_CREATE_FAIL
SUB_MERCHANT_TYPE_INVALID SYSTEM_ERROR TOTAL_FEE_EXCEED TRADE_BUYER_NOT_MATCH TRADE_HAS_CLOSE
TRADE_HAS_SUCCESS TRADE_SETTLE_ERROR TRADE_STATUS_ERROR UN_SUPPORT_TRADE_SCENE
USER_FACE_PAYMENT_SWITCH_OFF USER_LOGONID_DUP ZM_AUTH_AMOUNT_EXCEED ZM_AUTH_RULE_LIMIT
ZM_CREDIT_AUTH_FAIL
"""
# And of what asking for an agreement, or ending it, may be.
_OF_AGREEMENTS = """
AGREEMENT_HAS_UNSIGNED AUTHOREE_IS_NOT_MATCH MERCHANT_STATUS_IS_NOT_NORMAL
PRODUCT_CODE_NOT_SUPPORTED_ERROR USER_AGREEMENT_NOT_EXIST USER_NOT_EXIST_ERROR
USER_NOT_EXSIT_ERROR
"""
OF_OTHER_CALLS = set(_OTHERS.split())
# A dispute that may yet go either way; what a prevented one did, its statement says to a person.
OPEN_DISPUTES = {
    *("needs_response", "under_review", "warning_needs_response", "warning_under_review"),
    *("appeal_needs_response", "appeal_under_review"),
}


def listed(owner: type, name: str) -> set[str]:
    """The words that an attribute of the SDK's may hold."""
    said = owner.__annotations__[name]
    kind = eval(said, vars(inspect.getmodule(owner))) if isinstance(said, str) else said  # noqa: S307
    found = {word for part in typing.get_args(kind) for word in typing.get_args(part)}
    assert found, f"{owner.__name__}.{name} lists nothing any more"
    return found


class TestStripesErrorCodes:
    @pytest.mark.parametrize(
        "owner", [stripe.PaymentIntent.LastPaymentError, stripe.SetupIntent.LastSetupError]
    )
    def test_are_all_in_our_table_or_of_calls_that_we_do_not_make(self, owner):
        of_sdk = listed(owner, "code")
        assert len(of_sdk) > 200
        assert of_sdk - set(codes.DECLINE_CODES) - OF_OTHER_CALLS == set()

    def test_of_other_calls_are_codes_and_are_not_ours(self):
        assert OF_OTHER_CALLS - listed(stripe.PaymentIntent.LastPaymentError, "code") == set()
        assert OF_OTHER_CALLS & set(codes.DECLINE_CODES) == set()

    def test_have_the_types_that_a_refusal_is_told_by(self):
        assert listed(stripe.PaymentIntent.LastPaymentError, "type") == {
            *("api_error", "card_error", "idempotency_error", "invalid_request_error"),
        }


class TestStripesStatuses:
    def test_of_a_dispute_stand_as_ours_do(self):
        standings = {one: disputes.standing(f"d:{one}") for one in listed(stripe.Dispute, "status")}
        assert standings == dict.fromkeys(OPEN_DISPUTES, DisputeStanding.OPEN) | {
            "won": DisputeStanding.WON,
            "lost": DisputeStanding.LOST,
            "prevented": DisputeStanding.LOST,  # the network gave the payer the money at once
            "warning_closed": DisputeStanding.DROPPED,
        }

    def test_of_a_refund_are_all_understood(self):
        said = re.search(
            r"    status: Optional\[str\]\n    \"\"\"\n    Status of the refund\.(.*)",
            inspect.getsource(stripe.Refund),
        )
        assert said is not None
        statuses = set(re.findall(r"`(\w+)`", said[1]))
        assert statuses == {"pending", "requires_action", "succeeded", "failed", "canceled"}
        for status in statuses:
            refund = {
                "object": "refund", "id": "re_1", "status": status, "amount": 5000,
                "currency": "cny", "metadata": {REFUND_KEY: "R1"},
            }  # fmt: skip
            assert not isinstance(intents.refund_outcome(refund, refund_ref="R1"), Unknown)

    def test_of_a_payment_are_all_understood_but_those_that_ours_cannot_have(self):
        """We neither hold an amount to take later, nor leave a payment to be confirmed."""
        strange = set()
        for status in listed(stripe.PaymentIntent, "status"):
            intent = {
                "object": "payment_intent", "id": "pi_1", "status": status, "currency": "cny",
                "amount_received": 5000, "metadata": {CHARGE_KEY: "C1"},
                "next_action": {"redirect_to_url": {"url": "https://hooks.example/3ds"}},
            }  # fmt: skip
            if isinstance(intents.outcome(intent, reference="C1"), Unknown):
                strange.add(status)
        assert strange == {"requires_capture", "requires_confirmation"}


def test_the_codes_in_alipays_package_are_in_our_table():
    found = set(re.findall(r"ACQ\.([A-Z_]+)", inspect.getsource(alipay)))
    assert found != set()
    assert found - set(alipay_codes.DECLINE_CODES) == set()


class TestAlipaysOwnListOfCodes:
    """As the vendor's page of alipay.trade.pay has it; no package holds it. Read in a copy of
    that page that others use (Bishoptylaor/paypay on GitHub, 2026)."""

    def test_of_charges_is_in_our_table(self):
        listed_codes = _OF_TRADE_PAY.split()
        assert len(listed_codes) == 91
        assert set(listed_codes) - set(alipay_codes.DECLINE_CODES) == set()

    def test_of_agreements_is_in_our_table(self):
        assert set(_OF_AGREEMENTS.split()) - set(alipay_codes.DECLINE_CODES) == set()

    def test_tells_an_agreement_that_is_over_already(self):
        over = {"AGREEMENT_HAS_UNSIGNED", "USER_AGREEMENT_NOT_EXIST", "AGREEMENT_NOT_EXIST"}
        assert over - alipay_codes.NO_SUCH_AGREEMENT == set()
        assert {alipay_codes.DECLINE_CODES[code] for code in over} == {"hard"}

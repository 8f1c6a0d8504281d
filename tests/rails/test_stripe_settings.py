"""Stripe's settings, and what its codes mean: nothing here runs a process."""

from datetime import timedelta

import pytest

from billing.gateways import configuration
from billing.gateways.stripe import codes
from billing.gateways.stripe.adapter import StripeGateway
from billing.states import DeclineClass
from tests.rails.stripe_simulator import SECRET_KEY, WEBHOOK_SECRET

GOOD = {"STRIPE_SECRET_KEY": SECRET_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
# By the vendor's texts; written out again, so that a slip in the table shows.
SOFT = """
    insufficient_funds try_again_later issuer_not_available processing_error reenter_transaction
    approve_with_id card_velocity_exceeded withdrawal_count_limit_exceeded generic_decline
    do_not_honor no_action_taken call_issuer advice:try_again_later duplicate_transaction"""
HARD = """
    lost_card stolen_card pickup_card restricted_card fraudulent merchant_blacklist
    security_violation revocation_of_authorization revocation_of_all_authorizations
    stop_payment_order do_not_try_again invalid_account new_account_information_available
    expired_card incorrect_number incorrect_cvc card_not_supported currency_not_supported
    not_permitted service_not_allowed transaction_not_allowed invalid_amount
    advice:do_not_try_again advice:confirm_card_data"""
CONFIG = """
    authentication_error permission_error invalid_request_error idempotency_error
    currency_not_offered
    testmode_decline"""


class TestTheCodeTable:
    @pytest.mark.parametrize(
        ("names", "meaning"), [(SOFT, "soft"), (HARD, "hard"), (CONFIG, "config")]
    )
    def test_holds_every_code_of_the_design_in_its_class(self, names, meaning):
        table = codes.DECLINE_CODES
        assert {name: table.get(name) for name in names.split()} == dict.fromkeys(
            names.split(), meaning
        )

    def test_sends_the_payer_to_the_bank_for_authentication(self):
        assert codes.DECLINE_CODES["authentication_required"] == "auth"

    def test_has_mastercards_own_waits_and_its_cards_that_pay_once(self):
        assert {code.removeprefix("advice:network_"): str(wait) for code, wait in
                codes.WAITS.items()} == {
            "24": "1:00:00", "25": "1 day, 0:00:00", "26": "2 days, 0:00:00",
            "27": "4 days, 0:00:00", "28": "6 days, 0:00:00", "29": "8 days, 0:00:00",
            "30": "10 days, 0:00:00",
        }  # fmt: skip
        assert {codes.DECLINE_CODES[code] for code in codes.WAITS} == {"soft"}
        assert [codes.DECLINE_CODES[f"advice:network_{n}"] for n in (40, 41)] == ["hard", "hard"]

    def test_knows_no_class_but_ours(self):
        assert set(codes.DECLINE_CODES.values()) <= set(DeclineClass.values)

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            ({"code": "card_declined"}, "card_declined"),
            ({"code": "card_declined", "decline_code": "lost_card"}, "lost_card"),
            (
                {"decline_code": "lost_card", "advice_code": "try_again_later"},
                "advice:try_again_later",
            ),
            ({"code": "authentication_required", "advice_code": "try_again_later"},
             "authentication_required"),
            ({"decline_code": "lost_card", "advice_code": None}, "lost_card"),
            (
                {"decline_code": "do_not_honor", "network_advice_code": "03"},
                "advice:do_not_try_again",
            ),
            (
                {"decline_code": "do_not_honor", "network_advice_code": "21"},
                "advice:do_not_try_again",
            ),
            ({"decline_code": "do_not_honor", "network_advice_code": "02"}, "do_not_honor"),
            ({"decline_code": "do_not_honor", "network_advice_code": ["03"]}, "do_not_honor"),
            ({"decline_code": "insufficient_funds", "network_advice_code": "24"},
             "advice:network_24"),
            ({"decline_code": "insufficient_funds", "advice_code": "try_again_later",
              "network_advice_code": "30"}, "advice:network_30"),
            ({"advice_code": "do_not_try_again", "network_advice_code": "24"},
             "advice:do_not_try_again"),
            ({"decline_code": "do_not_honor", "network_advice_code": "41"}, "advice:network_41"),
            ({"decline_code": "do_not_honor", "network_advice_code": "31"}, "do_not_honor"),
            ({"decline_code": "do_not_honor", "advice_code": "try_again_later",
              "network_advice_code": "03"}, "advice:try_again_later"),
            ({"decline_code": ["lost_card"]}, ""),
            ({}, ""),
        ],
    )  # fmt: skip
    def test_names_a_decline_by_advice_then_reason_then_kind(self, error, code):
        assert codes.of_decline(error) == code


class TestCapabilities:
    def test_say_what_cards_allow(self):
        settings = {"STRIPE_CURRENCIES": "hkd, usd", "STRIPE_MAX_CHARGE_MINOR": "90000"}
        allowed = StripeGateway.from_settings(GOOD | settings, timeout_s=10).capabilities
        assert allowed.rail == "stripe"
        assert allowed.currencies == {"HKD", "USD"}
        assert (allowed.min_amount_minor, allowed.max_amount_minor) == (400, 90_000)
        assert allowed.reference_lifetime is not None
        assert timedelta(hours=20) < allowed.reference_lifetime < timedelta(hours=24)
        assert allowed.hours is None
        assert allowed.can_reuse_reference_after_decline is False


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("STRIPE_SECRET_KEY", ""),
            ("STRIPE_SECRET_KEY", "pk_test_publishable"),
            ("STRIPE_WEBHOOK_SECRET", ""),
            ("STRIPE_WEBHOOK_SECRET", "hunter2hunter2hunter2"),
            ("STRIPE_WEBHOOK_SECRET_PREVIOUS", "hunter2hunter2hunter2"),
            ("STRIPE_API_URL", "http://api.stripe.example"),
            ("STRIPE_RETURN_URL", "keepline.example"),
            ("STRIPE_CURRENCIES", "cny,gold"),
            ("STRIPE_CURRENCIES", "isk"),
            ("STRIPE_CURRENCIES", "mga"),  # counted whole there, in hundredths by ISO 4217
            ("STRIPE_CURRENCIES", "bgn"),  # the euro since 2026
            ("STRIPE_STATEMENT_DESCRIPTOR_SUFFIX", "话费"),
            ("STRIPE_MAX_CHARGE_MINOR", "-1"),
        ],
    )
    def test_at_fault_are_named_and_never_quoted(self, name, value):
        with pytest.raises(ValueError, match=name) as refusal:
            StripeGateway.from_settings(GOOD | {name: value}, timeout_s=10)
        assert not value or value not in str(refusal.value)

    def test_are_those_of_the_installation(self):
        names = configuration.RAILS["stripe"]
        assert set(names.required) == set(GOOD)
        assert StripeGateway.from_settings(GOOD | dict(names.optional), timeout_s=10)

    def test_leave_too_short_a_time_for_a_call(self):
        with pytest.raises(ValueError, match="3 seconds"):
            StripeGateway.from_settings(GOOD, timeout_s=2)

"""What is kept of Stripe's words: its codes whole, what lets anybody charge never."""

import json
import re

import pytest
import stripe

from billing.gateways.stripe import codes
from billing.gateways.stripe.masking import masked_json, masked_text
from tests.rails.test_vendor_lists import OF_OTHER_CALLS, listed

CODES = sorted(
    {*codes.DECLINE_CODES, *OF_OTHER_CALLS, *listed(stripe.PaymentIntent.LastPaymentError, "code")}
)
SECRETS = {
    "cus_NffrFeUfNV2Hib": "cus_***2Hib",
    "pm_1MqLiJLkdIwHu7ixUEgbFdYF": "pm_***FdYF",
    "card_1MvoiELkdIwHu7ixOeFGbN9D": "card_***bN9D",
    "cus_abcdefghijklmn": "cus_***klmn",
    "src_1234": "src_***1234",
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc": "sk_***",
    "whsec_abcdefgh": "whsec_***",
    "seti_1Mm8s8LkdIwHu7ix0OXBfTRG_secret_NXDICkPqPeiBTAFqWmkbff09lRmSVXe":
        "seti_***XBfTRG_secret_***",
    "+8613812345678": "***5678",
    "13812345678": "***5678",
    "89860012345678901234": "***1234",
    "4242424242424242": "***4242",
    "li@example.com": "***@",
}  # fmt: skip


def test_codes_stay_as_they_are_and_no_two_read_the_same():
    assert len(CODES) > 250
    assert [masked_text(code) for code in CODES] == CODES
    assert json.loads(masked_json({"code": CODES})) == {"code": CODES}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_and_numbers_never_pass(secret):
    for told in (secret, f"No such customer: '{secret}'", f"a={secret}&b=1"):
        shown = masked_text(told)
        assert secret not in shown
        assert max(map(len, re.findall("[0-9]+", shown)), default=0) <= 4
    assert secret not in masked_json({"error": {"message": f"{secret} is not there"}})


def test_what_names_a_payment_and_its_time_stays():
    told = "pi_3MtwBwLkdIwHu7ix28a3tqPa ch_3MmlLrLkdIwHu7ix0snN0B15 1764547200 created[gte]=1764"
    assert masked_text(told) == told

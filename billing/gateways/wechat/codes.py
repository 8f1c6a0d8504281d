"""What WeChat Pay's codes mean: the data an operator's `DeclineCode` table starts from.

Keys are err_codes (v2) and codes (v3), values are classes: soft = again later on the ladder; hard =
stop and ask the payer; config = pause the rail and tell the operator; unknown = ask, never resend;
pending = accepted; done = the order is already in an end state, ask for it. Classes are a judgement
from the vendor's cause and solution texts.
"""

from collections.abc import Mapping
from datetime import timedelta

DECLINE_CODES: dict[str, str] = {
    # No money now, or a limit that time resets. NOTENOUGH is the payer's balance for a charge and
    # the merchant's for a refund: either fills up again.
    "NOTENOUGH": "soft",
    "RULELIMIT": "soft",
    "RULE_LIMIT": "soft",  # v3's spelling
    "FREQUENCY_LIMITED": "soft",  # as what an order failed of; as an answer see SAME_NUMBER
    "PAYERROR": "soft",  # a trade_state: "the payment failed, for instance at the bank"
    "PAY_FAIL": "soft",  # the same, as a deduction's own query and notification have it
    # The contract is gone: bind again.
    "CONTRACT_NOT_EXIST": "hard",
    "CONTRACTERROR": "hard",
    # The payer's account.
    "ACCOUNTERROR": "hard",
    "USER_ACCOUNT_ABNORMAL": "hard",
    "USER_NOT_EXIST": "hard",
    "TRADE_ERROR": "hard",
    # It may have happened. The vendor: query, and close what is not closed, before a new number.
    "SYSTEMERROR": "unknown",
    "SYSTEM_ERROR": "unknown",  # v3's spelling
    "BANKERROR": "unknown",  # as an answer; in a closed order it is what the order failed of
    "USERPAYING": "unknown",
    "BIZERR_NEED_RETRY": "unknown",
    # Accepted, not final.
    "ORDER_ACCEPTED": "pending",
    "ACCEPT": "pending",  # a trade_state: waiting for WeChat Pay to deduct
    # The order is already somewhere: ask where.
    "ORDERPAID": "done",
    "ORDERCLOSED": "done",
    "OUT_TRADE_NO_USED": "done",
    # Ours or the merchant's to put right.
    "SIGNERROR": "config",
    "SIGN_ERROR": "config",
    "PARAM_ERROR": "config",
    "LACK_PARAMS": "config",
    "XML_FORMAT_ERROR": "config",
    "POST_DATA_EMPTY": "config",
    "REQUIRE_POST_METHOD": "config",
    "NOT_UTF8": "config",
    "APPID_NOT_EXIST": "config",
    "MCHID_NOT_EXIST": "config",
    "APPID_MCHID_NOT_MATCH": "config",
    "NOAUTH": "config",
    "NO_AUTH": "config",
    "CERT_ERROR": "config",
    "INVALID_REQUEST": "config",  # the notice is missing, or says something else than the charge
    "CURRENCY_NOT_SUPPORT": "config",
    # Refunds.
    "TRADE_OVERDUE": "hard",
    "REFUNDCLOSE": "hard",
    "CHANGE": "hard",  # the bank refused it: given back by hand on the merchant platform
    "USER_ACCOUNT_CLOSED": "hard",
    "INVALID_TRANSACTIONID": "config",
    "REFUND_FEE_MISMATCH": "config",
    "ERROR": "unknown",
}

# A limit of the day, for whose end the vendor wants to be waited: sooner is refused again.
WAITS: Mapping[str, timedelta] = dict.fromkeys(("RULELIMIT", "RULE_LIMIT"), timedelta(days=1))

SUCCESS = "SUCCESS"

# An order with this number exists, so a charge that gets one of these is settled by asking for it,
# not by the code.
ASK_THE_ORDER = frozenset({"ORDERPAID", "ORDERCLOSED", "OUT_TRADE_NO_USED"})
CLOSED_ALREADY = "ORDERCLOSED"  # as an answer to closing one

# Accepted before: it waits like any other, and is not sent again.
ACCEPTED_BEFORE = frozenset({"ORDER_ACCEPTED", "ACCEPT"})

# Too many calls: nothing was looked at, so it is no decline, and no number is spent.
SAME_NUMBER = frozenset({"FREQUENCY_LIMITED"})

NO_SUCH_ORDER = frozenset({"ORDERNOTEXIST"})
NO_SUCH_REFUND = frozenset({"REFUNDNOTEXIST"})
NO_SUCH_CONTRACT = frozenset({"CONTRACT_NOT_EXIST"})

# v3's answer to a notice that was sent already, with the same content.
ALREADY_NOTICED = "RESOURCE_ALREADY_EXISTS"
INVALID_REQUEST = "INVALID_REQUEST"

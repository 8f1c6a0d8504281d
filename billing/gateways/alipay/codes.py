"""What Alipay's codes mean for a charge: the data an operator's `DeclineCode` table starts from.

Keys are sub_codes without their "ACQ." (and the gateway's own codes), values are classes:
soft = again later on the ladder; hard = stop and ask the payer; config = pause the rail and tell
the operator; unknown = ask, never resend; pending = accepted; done = the trade is already in an
end state, ask for it. Classes are a judgement from the vendor's cause and solution texts.
"""

DECLINE_CODES: dict[str, str] = {
    # No money now, or a limit that time resets.
    "BUYER_BALANCE_NOT_ENOUGH": "soft",
    "BUYER_BANKCARD_BALANCE_NOT_ENOUGH": "soft",
    "BUYER_BANKCARD_DECLINED": "soft",
    "BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": "soft",
    "BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR": "soft",
    "BUYER_LIMIT_EXCEEDED": "soft",
    "PAYMENT_FAIL": "soft",
    "PULL_MOBILE_CASHIER_FAIL": "soft",
    # The merchant's own receipt limits: time resets them. See MERCHANTS_LIMITS.
    "BEYOND_PAY_RESTRICTION": "soft",
    "BEYOND_PER_RECEIPT_RESTRICTION": "soft",
    "BEYOND_PER_RECEIPT_DAY_RESTRICTION": "soft",
    # The deduction plan of a 周期扣款 agreement: wait for its date, or move it.
    "CYCLE_PAY_DATE_NOT_MATCH": "soft",
    # Read from their names; no text of the vendor's was found.
    "OVER_DEDUCT_PERIOD": "soft",
    "OVER_MAX_DEDUCT_COUNT": "soft",
    "OVER_MAX_UNDER_WAY_DEDUCT_COUNT": "soft",
    "OVER_MERCHANT_DAILY_DEDUCT_AMOUNT": "soft",
    # The agreement is gone: bind again.
    "AGREEMENT_NOT_EXIST": "hard",
    "AGREEMENT_NOT_EXSIT": "hard",  # the vendor's spelling, in one of its enums
    "AGREEMENT_INVALID": "hard",
    "AGREEMENT_STATUS_NOT_NORMAL": "hard",
    "AGREEMENT_ERROR": "hard",
    "USER_AGREEMENT_STATUS_NOT_NORMAL": "hard",
    "AGREEMENT_HAS_UNSIGNED": "hard",
    "USER_AGREEMENT_NOT_EXIST": "hard",
    # The payer or the payer's instruments.
    "NO_PAYMENT_INSTRUMENTS_AVAILABLE": "hard",
    "ERROR_BALANCE_PAYMENT_DISABLE": "hard",
    "BUYER_BANKCARD_INVALID": "hard",
    "BUYER_ENABLE_STATUS_FORBID": "hard",
    "ERROR_BUYER_CERTIFY_LEVEL_LIMIT": "hard",
    "NOT_CERTIFIED_USER": "hard",
    "BUYER_NOT_EXIST": "hard",
    "USER_NOT_EXIST_ERROR": "hard",
    "USER_NOT_EXSIT_ERROR": "hard",  # the vendor's spelling
    "TRADE_BUYER_NOT_MATCH": "hard",
    "BUYER_SELLER_EQUAL": "hard",
    "PAYMENT_REQUEST_HAS_RISK": "hard",
    "BUYER_NOT_MAINLAND_CERT": "hard",
    "MOBILE_PAYMENT_SWITCH_OFF": "hard",
    "NOT_SUPPORT_PAYMENT_INST": "hard",
    "PAYER_UNMATCHED": "hard",
    "USER_LOGONID_DUP": "hard",
    # Of paying later: the payer does not qualify.
    "BUYER_UNSUPPORT_ADVANCE": "hard",
    "ZM_AUTH_AMOUNT_EXCEED": "hard",
    "ZM_AUTH_RULE_LIMIT": "hard",
    "ZM_CREDIT_AUTH_FAIL": "hard",
    # What the payer agreed to is used up: only a new or changed agreement helps.
    "CYCLE_PAY_SINGLE_FEE_EXCEED": "hard",
    "CYCLE_PAY_TOTAL_FEE_EXCEED": "hard",
    "CYCLE_PAY_TOTAL_TIMES_EXCEED": "hard",
    # It may have happened. "The trade may have succeeded or failed: query first" (vendor).
    "SYSTEM_ERROR": "unknown",
    "20000": "unknown",
    "10003": "unknown",
    # Ours or the merchant's to put right.
    "INVALID_PARAMETER": "config",
    "ILLEGAL_PARAMS": "config",
    "ACCESS_FORBIDDEN": "config",
    "PARTNER_ERROR": "config",
    "EXIST_FORBIDDEN_WORD": "config",
    "TOTAL_FEE_EXCEED": "config",
    "PRODUCT_AMOUNT_LIMIT_ERROR": "config",
    "PRODUCT_CODE_NOT_SUPPORTED_ERROR": "config",
    "SELLER_BEEN_BLOCKED": "config",
    "MERCHANT_AGREEMENT_NOT_EXIST": "config",
    "MERCHANT_AGREEMENT_IS_NOT_EXIST": "config",
    "MERCHANT_AGREEMENT_INVALID": "config",
    "MERCHANT_STATUS_NOT_NORMAL": "config",
    "MERCHANT_STATUS_IS_NOT_NORMAL": "config",
    "MERCHANT_PERM_RECEIPT_SUSPEND_LIMIT": "config",
    "MERCHANT_PERM_RECEIPT_SINGLE_LIMIT": "config",
    "MERCHANT_PERM_RECEIPT_DAY_LIMIT": "config",
    "AUTHOREE_IS_NOT_MATCH": "config",
    "BEYOND_PER_RECEIPT_SINGLE_RESTRICTION": "config",
    "REQUEST_AMOUNT_EXCEED": "config",
    "RESTRICTED_MERCHANT_INDUSTRY": "config",
    "SELLER_NOT_EXIST": "config",
    "INVALID_RECEIVE_ACCOUNT": "config",
    "INVALID_STORE_ID": "config",
    "ROYALTY_ACCOUNT_NOT_EXIST": "config",
    "TRADE_SETTLE_ERROR": "config",
    "UN_SUPPORT_TRADE_SCENE": "config",
    "MERCHANT_UNSUPPORT_ADVANCE": "config",
    "ORDER_UNSUPPORT_ADVANCE": "config",
    "SUB_GOODS_SIZE_MAX_COUNT": "config",
    # Of merchants below a merchant.
    "PLATFORM_BUSINESS_ACQUIRE_MODE_MUST_MERCHANT_ID": "config",
    "SECONDARY_MERCHANT_ALIPAY_ACCOUNT_INVALID": "config",
    "SECONDARY_MERCHANT_ID_BLANK": "config",
    "SECONDARY_MERCHANT_ID_INVALID": "config",
    "SECONDARY_MERCHANT_ISV_PUNISH_INDIRECT": "config",
    "SECONDARY_MERCHANT_NOT_MATCH": "config",
    "SECONDARY_MERCHANT_STATUS_ERROR": "config",
    "SUB_MERCHANT_CREATE_FAIL": "config",
    "SUB_MERCHANT_TYPE_INVALID": "config",
    # Of products that a deduction is not: a contract or a setting has us taken for one of them.
    "AUTH_AMOUNT_NOT_ENOUGH": "config",
    "AUTH_NO_ERROR": "config",
    "AUTH_ORDER_HAS_CLOSED": "config",
    "AUTH_ORDER_HAS_FINISHED": "config",
    "AUTH_ORDER_NOT_PAID": "config",
    "AUTH_TOKEN_IS_NOT_EXIST": "config",
    "CARD_TYPE_ERROR": "config",
    "CARD_USER_NOT_MATCH": "config",
    "CERT_EXPIRED": "config",
    "PAYMENT_AUTH_CODE_INVALID": "config",
    "PRE_AUTH_PROD_CODE_INCONSISTENT": "config",
    "SMILE_PAY_MERCHANT_NOT_MATCH": "config",
    "USER_FACE_PAYMENT_SWITCH_OFF": "config",
    "AMOUNT_OR_CURRENCY_ERROR": "config",
    "CURRENCY_NOT_SUPPORT": "config",
    "RISK_MERCHANT_IP_NOT_EXIST": "config",
    "CONTEXT_INCONSISTENT": "config",  # a number of ours was used twice with two meanings
    "20001": "config",
    "40001": "config",
    "40002": "config",
    "40006": "config",
    # The trade is already somewhere: ask where.
    "TRADE_HAS_SUCCESS": "done",
    "TRADE_HAS_CLOSE": "done",
    "NOW_TIME_AFTER_EXPIRE_TIME_ERROR": "done",
    "TRADE_STATUS_ERROR": "done",
    # Accepted, not final: `trade_status` of a query, so that the table is whole.
    "WAIT_BUYER_PAY": "pending",
    # Refunds. The seller's balance fills up again with the next charges.
    "SELLER_BALANCE_NOT_ENOUGH": "soft",
    "REASON_TRADE_BEEN_FREEZEN": "hard",
    "TRADE_HAS_FINISHED": "hard",
    "TRADE_NOT_ALLOW_REFUND": "hard",
    "REFUND_FAIL": "hard",
    "TRADE_NOT_EXIST": "unknown",
    "REFUND_AMT_NOT_EQUAL_TOTAL": "config",
    "DISCORDANT_REPEAT_REQUEST": "config",
    "REASON_TRADE_REFUND_FEE_ERR": "config",
}

_DECLINES = ("soft", "hard")

SUCCESS = "10000"
BUSINESS_FAILURE = "40004"

# Definite refusals by the gateway itself: nothing was tried.
GATEWAY_REFUSALS = frozenset({"20001", "40001", "40002", "40006"})
# Called too often: isv.app-call-limited, isv.method-call-limited.
TOO_FAST = "40005"

# A trade with this number exists, so a charge that gets one of these is settled by asking, not by
# the code: CONTEXT_INCONSISTENT too, for the trade it disagrees with may well be paid.
ASK_THE_TRADE = frozenset(
    {
        "TRADE_HAS_SUCCESS",
        "TRADE_HAS_CLOSE",
        "TRADE_STATUS_ERROR",
        "NOW_TIME_AFTER_EXPIRE_TIME_ERROR",
        "CONTEXT_INCONSISTENT",
    }
)

# A decline may leave its trade open (WAIT_BUYER_PAY), where a payer can still pay it. What is ours
# to put right, or not known, keeps its number; only what a new number follows is closed first.
LEAVES_OPEN = frozenset(code for code, meaning in DECLINE_CODES.items() if meaning in _DECLINES)

# What we may take in all is used up: no payer's fault, and somebody must have it raised.
MERCHANTS_LIMITS = frozenset(
    {
        "BEYOND_PAY_RESTRICTION",
        "BEYOND_PER_RECEIPT_RESTRICTION",
        "BEYOND_PER_RECEIPT_DAY_RESTRICTION",
        "OVER_MERCHANT_DAILY_DEDUCT_AMOUNT",
    }
)

# Also of one that has ended: then what is asked for is done. Both spellings are the vendor's.
NO_SUCH_AGREEMENT = frozenset(
    {
        "AGREEMENT_NOT_EXIST",
        "AGREEMENT_NOT_EXSIT",
        "AGREEMENT_HAS_UNSIGNED",
        "USER_AGREEMENT_NOT_EXIST",
        "USER_NOT_EXIST_ERROR",
        "USER_NOT_EXSIT_ERROR",
    }
)

NO_SUCH_TRADE = "TRADE_NOT_EXIST"
# As an answer to closing a trade.
CANNOT_BE_PAID = frozenset({NO_SUCH_TRADE, "TRADE_HAS_CLOSE"})


def bare(sub_code: str) -> str:
    """A sub_code as the tables know it: "aop.ACQ.SYSTEM_ERROR" and "ACQ.SYSTEM_ERROR" alike."""
    return sub_code.removeprefix("aop.").removeprefix("ACQ.")

"""Why a payment was declined, to the payer: the rails' codes that they can do something about.

A code without words here is told as a decline and no more: a guess would send people to the wrong
place. Keys are the rails' own codes, as attempts keep them, Alipay's without "ACQ.".
"""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

_NO_MONEY = _("there is not enough money in the account")
_LIMIT = _("a limit of the account is reached")
_RESTRICTED = _("the account is restricted")
_REFUSED = _("the bank refused it")
_BLOCKED = _("the card is blocked")
_NOT_VALID = _("the card is not valid")
_NO_AGREEMENT = _("the agreement is no longer in force")

_WORDS: dict[str, Promise] = {
    # Alipay
    "BUYER_BALANCE_NOT_ENOUGH": _NO_MONEY,
    "BUYER_BANKCARD_BALANCE_NOT_ENOUGH": _NO_MONEY,
    "BUYER_BANKCARD_DECLINED": _REFUSED,
    "BUYER_BANKCARD_INVALID": _NOT_VALID,
    "BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": _LIMIT,
    "BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR": _LIMIT,
    "BUYER_LIMIT_EXCEEDED": _LIMIT,
    "BUYER_ENABLE_STATUS_FORBID": _RESTRICTED,
    "ERROR_BALANCE_PAYMENT_DISABLE": _RESTRICTED,
    "NO_PAYMENT_INSTRUMENTS_AVAILABLE": _("the account has nothing that can pay"),
    "AGREEMENT_NOT_EXIST": _NO_AGREEMENT,
    "AGREEMENT_NOT_EXSIT": _NO_AGREEMENT,  # the vendor's spelling
    "AGREEMENT_INVALID": _NO_AGREEMENT,
    "AGREEMENT_STATUS_NOT_NORMAL": _NO_AGREEMENT,
    "USER_AGREEMENT_STATUS_NOT_NORMAL": _NO_AGREEMENT,
    "AGREEMENT_HAS_UNSIGNED": _NO_AGREEMENT,
    "USER_AGREEMENT_NOT_EXIST": _NO_AGREEMENT,
    # WeChat Pay
    "NOTENOUGH": _NO_MONEY,
    "RULELIMIT": _LIMIT,
    "RULE_LIMIT": _LIMIT,
    "ACCOUNTERROR": _RESTRICTED,
    "USER_ACCOUNT_ABNORMAL": _RESTRICTED,
    "CONTRACT_NOT_EXIST": _NO_AGREEMENT,
    "CONTRACTERROR": _NO_AGREEMENT,
    # Cards
    "insufficient_funds": _NO_MONEY,
    **{f"advice:network_{number}": _NO_MONEY for number in range(24, 31)},
    "card_velocity_exceeded": _LIMIT,
    "withdrawal_count_limit_exceeded": _LIMIT,
    "generic_decline": _REFUSED,
    "card_declined": _REFUSED,
    "do_not_honor": _REFUSED,
    "call_issuer": _REFUSED,
    "lost_card": _BLOCKED,
    "stolen_card": _BLOCKED,
    "pickup_card": _BLOCKED,
    "restricted_card": _BLOCKED,
    "expired_card": _("the card has expired"),
    "invalid_account": _NOT_VALID,
    "incorrect_number": _NOT_VALID,
    "payment_intent_authentication_failure": _("the bank's check was not passed"),
}


def because(code: str) -> str:
    """ "there is not enough money in the account", in the active language; "" where not known."""
    return str(_WORDS.get(code.removeprefix("ACQ."), ""))

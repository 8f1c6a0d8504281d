"""What is sent for a charge and a refund, and what is refused before sending. Pure."""

import re
from collections.abc import Mapping

from billing.gateways.alipay.contract import Contract
from billing.gateways.alipay.trades import CURRENCY
from billing.gateways.base import ChargeRequest, RefundRequest, Refused
from billing.money import to_decimal_text

_REFERENCE = re.compile(r"[A-Za-z0-9_]{1,32}")
_FORBIDDEN_IN_SUBJECT = str.maketrans("/=&", "   ")
_LONGEST_SUBJECT = 128


def pay_content(request: ChargeRequest, contract: Contract) -> Mapping[str, object]:
    """`biz_content` of alipay.trade.pay: the same on every sending of a reference.

    Different parameters under one number are CONTEXT_INCONSISTENT, so nothing here may depend on
    the time.
    """
    content: dict[str, object] = {
        "out_trade_no": request.reference,
        "total_amount": to_decimal_text(request.amount_minor, request.currency),
        "subject": request.description.translate(_FORBIDDEN_IN_SUBJECT)[:_LONGEST_SUBJECT],
        "product_code": contract.product_code,
        "agreement_params": {"agreement_no": request.provider_binding_ref},
        "timeout_express": contract.trade_timeout,
    }
    if contract.async_type:
        content["is_async_pay"] = True
        content["pay_params"] = {
            "async_type": contract.async_type,
            "retry_type": contract.async_retry,
        }
    return content


def refund_content(request: RefundRequest) -> Mapping[str, object]:
    """`biz_content` of alipay.trade.refund; `out_request_no` is what makes it happen once."""
    return {
        "out_trade_no": request.charge_ref,
        "out_request_no": request.refund_ref,
        "refund_amount": to_decimal_text(request.amount_minor, request.currency),
        "refund_reason": request.reason[:_LONGEST_SUBJECT],
        "query_options": ["deposit_back_info"],  # else nobody tells what the payer's bank did
    }


def wrong_charge(request: ChargeRequest) -> Refused | None:
    """What Alipay would refuse anyway, refused before anything is sent."""
    if request.currency != CURRENCY:
        return Refused("CURRENCY_NOT_SUPPORT", "Alipay charges in CNY only.")
    if request.amount_minor <= 0 or not _REFERENCE.fullmatch(request.reference):
        return Refused("INVALID_PARAMETER", "A charge needs an amount and a reference.")
    return None


def wrong_refund(request: RefundRequest) -> Refused | None:
    """The same for a refund."""
    if request.currency != CURRENCY:
        return Refused("CURRENCY_NOT_SUPPORT", "Alipay refunds in CNY only.")
    if not 0 < request.amount_minor <= request.charged_minor:
        return Refused("REASON_TRADE_REFUND_FEE_ERR", "A refund cannot exceed its charge.")
    if not _REFERENCE.fullmatch(request.refund_ref):
        return Refused("INVALID_PARAMETER", "A refund needs a reference.")
    return None

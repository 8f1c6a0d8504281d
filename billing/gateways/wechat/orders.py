"""What is sent for a charge and a refund, and what is refused before sending. Pure."""

import re

from billing.gateways.base import ChargeRequest, RefundRequest, Refused
from billing.gateways.wechat.documents import plain
from billing.gateways.wechat.terms import Terms

CURRENCY = "CNY"

_REFERENCE = re.compile(r"[A-Za-z0-9_]{1,32}")
_LONGEST_BODY = 42  # 128 bytes in the vendor's table, and Chinese takes three each
_LONGEST_REASON = 26  # 80 bytes


def charge_fields(request: ChargeRequest, terms: Terms) -> dict[str, str]:
    """Of /pay/pappayapply: the same on every sending of a reference, for nothing here depends on
    the time."""
    return {
        "body": plain(request.description, longest=_LONGEST_BODY) or request.reference,
        "out_trade_no": request.reference,
        "total_fee": str(request.amount_minor),
        "fee_type": CURRENCY,
        "spbill_create_ip": terms.server_ip,
        "notify_url": request.notify_url,
        "trade_type": "PAP",
        "contract_id": request.provider_binding_ref,
    }


def refund_fields(request: RefundRequest) -> dict[str, str]:
    """Of /secapi/pay/refund; `out_refund_no` is what makes it happen once."""
    fields = {
        "out_trade_no": request.charge_ref,
        "out_refund_no": request.refund_ref,
        "total_fee": str(request.charged_minor),
        "refund_fee": str(request.amount_minor),
        "refund_fee_type": CURRENCY,
    }
    reason = plain(request.reason, longest=_LONGEST_REASON)
    return fields | {"refund_desc": reason} if reason else fields


def wrong_charge(request: ChargeRequest) -> Refused | None:
    """What WeChat Pay would refuse anyway, refused before anything is sent."""
    if request.currency != CURRENCY:
        return Refused("CURRENCY_NOT_SUPPORT", "WeChat Pay charges in CNY only.")
    if request.amount_minor <= 0 or not _REFERENCE.fullmatch(request.reference):
        return Refused("PARAM_ERROR", "A charge needs an amount and a reference.")
    if not request.provider_binding_ref:
        return Refused("PARAM_ERROR", "A charge needs a contract.")
    return None


def wrong_refund(request: RefundRequest) -> Refused | None:
    """The same for a refund."""
    if request.currency != CURRENCY:
        return Refused("CURRENCY_NOT_SUPPORT", "WeChat Pay refunds in CNY only.")
    if not 0 < request.amount_minor <= request.charged_minor:
        return Refused("REFUND_FEE_MISMATCH", "A refund cannot exceed its charge.")
    if not (_REFERENCE.fullmatch(request.refund_ref) and _REFERENCE.fullmatch(request.charge_ref)):
        return Refused("PARAM_ERROR", "A refund needs a reference.")
    return None

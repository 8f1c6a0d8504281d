"""What trade answers mean, as outcomes. Pure: a verified reply in, an outcome out.

The traps:
- `TRADE_CLOSED` is an unpaid trade's end *and* a fully refunded one's. Paid shows in
  `send_pay_date`. Either way nothing of it is kept, so both are `Closed`; the paid one is said to
  be given back, for it was taken once and its books hold two rows.
- A refusal while *asking* says nothing about the trade: only a charge or refund may be `Refused`.
- `additional_status` SELLER_NOT_RECEIVED says that the payer has paid and we have not been paid:
  neither success nor an end, and never called off, since that gives the money back.
- `refund_fee` is the sum of a trade's refunds, never the amount of this one.
"""

from billing.gateways.alipay import codes, instants
from billing.gateways.alipay.client import Reply
from billing.gateways.base import Closed, NotFound, Outcome, Pending, Refused, Succeeded, Unknown
from billing.money import InvalidAmount, from_decimal_text

CURRENCY = "CNY"
CANCELED = "CANCELED"
NOT_RECEIVED = "SELLER_NOT_RECEIVED"


def refusal(reply: Reply) -> Refused | Unknown:
    """A reply other than success to a call that changes something."""
    if reply.code in codes.GATEWAY_REFUSALS:
        return Refused(reply.code, reply.explain())
    if reply.code != codes.BUSINESS_FAILURE or not reply.sub_code:
        return Unknown(reply.explain(), is_too_fast=is_too_fast(reply))
    if codes.DECLINE_CODES.get(reply.sub_code) == "unknown":
        return Unknown(reply.explain(), is_too_fast=is_too_fast(reply))
    is_merchants = reply.sub_code in codes.MERCHANTS_LIMITS
    return Refused(reply.sub_code, reply.text("sub_msg"), is_merchants)


def untold(reply: Reply) -> Unknown:
    """A refusal to tell, or no answer: it says nothing of what was asked."""
    is_ours = reply.code in codes.GATEWAY_REFUSALS
    return Unknown(reply.explain(), is_ours=is_ours, is_too_fast=is_too_fast(reply))


def is_too_fast(reply: Reply) -> bool:
    """By the gateway's own code, or by the status of whoever stands in front of it."""
    return reply.code == codes.TOO_FAST or reply.exchange.error == "HTTP 429"


def paid(reply: Reply, *, reference: str) -> Outcome:
    """What `alipay.trade.pay` answered."""
    if reply.code != codes.SUCCESS:
        return refusal(reply)
    if reply.text("async_pay_apply_status") == "S":
        return Pending(reply.text("trade_no"))
    if reply.text("async_pay_apply_status") or not reply.text("gmt_payment"):
        return Unknown("accepted, but the answer does not say paid")
    return _succeeded(reply, reference=reference, time_field="gmt_payment")


def found(reply: Reply, *, reference: str) -> Outcome:
    """What `alipay.trade.query` answered: never Refused."""
    if reply.code == codes.BUSINESS_FAILURE and reply.sub_code == codes.NO_SUCH_TRADE:
        return NotFound()
    if reply.code != codes.SUCCESS:
        return untold(reply)
    status = reply.text("trade_status")
    if status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
        return _succeeded(reply, reference=reference, time_field="send_pay_date")
    if reply.text("out_trade_no") != reference:
        return Unknown("the answer is about another trade")
    if status == "WAIT_BUYER_PAY" and reply.text("additional_status") == NOT_RECEIVED:
        return Unknown("the payer has paid, and it has not reached us")
    if status == "WAIT_BUYER_PAY":
        return Pending(reply.text("trade_no"))
    if status == "TRADE_CLOSED":
        if reply.text("send_pay_date"):
            return Closed(reply.text("trade_no"), is_given_back=True)
        return Closed(reply.text("trade_no"), status)
    return Unknown(f"trade_status {status or 'missing'}")


def canceled(reply: Reply) -> Outcome:
    """What `alipay.trade.cancel` answered: Closed, NotFound or Unknown.

    No `action` means that Alipay found nothing to cancel, or could not look.
    """
    if reply.code == codes.BUSINESS_FAILURE and reply.sub_code == codes.NO_SUCH_TRADE:
        return NotFound()
    if reply.code != codes.SUCCESS or reply.text("retry_flag") == "Y":
        return Unknown(reply.explain())
    match action := reply.text("action"):
        case "close":
            return Closed(reply.text("trade_no"), CANCELED)
        case "refund":
            return Closed(reply.text("trade_no"), is_given_back=True)
        case "" | "absent":
            return NotFound()
    return Unknown(f"cancel's action was {action}")


def refunded(reply: Reply, *, amount_minor: int) -> Outcome:
    """What `alipay.trade.refund` answered. `Pending`: accepted, but nothing moved in this call."""
    if reply.code != codes.SUCCESS:
        return refusal(reply)
    if reply.text("fund_change") != "Y":
        return Pending(reply.text("trade_no"))
    at = instants.from_text(reply.text("gmt_refund_pay"))
    return Succeeded(reply.text("trade_no"), amount_minor, CURRENCY, at)


def refund_found(reply: Reply, *, refund_ref: str) -> Outcome:
    """What `alipay.trade.fastpay.refund.query` answered; an empty status is "not refunded" [NV]."""
    if reply.code == codes.BUSINESS_FAILURE and reply.sub_code == codes.NO_SUCH_TRADE:
        return NotFound()
    if reply.code != codes.SUCCESS:
        return untold(reply)
    status = reply.text("refund_status")
    if not status:
        return NotFound()
    if reply.text("out_request_no") != refund_ref:
        return Unknown("the answer is about another refund")
    if status == "REFUND_SUCCESS":
        return _refund_succeeded(reply)
    if status == "REFUND_PROCESSING":
        return Pending(reply.text("trade_no"))
    return Refused(status) if status == "REFUND_FAIL" else Unknown(f"refund_status {status}")


def _succeeded(reply: Reply, *, reference: str, time_field: str) -> Outcome:
    if reply.text("additional_status") == NOT_RECEIVED:
        return Unknown("the payer has paid, and it has not reached us")
    if reply.text("out_trade_no") != reference:
        return Unknown("the answer is about another trade")
    try:
        amount_minor = from_decimal_text(reply.text("total_amount"), CURRENCY)
    except InvalidAmount:
        return Unknown("the answer's amount cannot be read")
    at = instants.from_text(reply.text(time_field))
    return Succeeded(reply.text("trade_no"), amount_minor, CURRENCY, at)


def _refund_succeeded(reply: Reply) -> Outcome:
    try:
        amount_minor = from_decimal_text(reply.text("refund_amount"), CURRENCY)
    except InvalidAmount:
        return Unknown("the answer's amount cannot be read")
    at = instants.from_text(reply.text("gmt_refund_pay"))
    return Succeeded(reply.text("trade_no"), amount_minor, CURRENCY, at)

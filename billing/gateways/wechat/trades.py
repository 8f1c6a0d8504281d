"""What answers about orders and refunds mean, as outcomes. Pure: a verified reply in.

The traps:
- "Success" of an application is acceptance: the money moves later, or does not.
- `REFUND` is the state of an order once *any* of it was given back, so it is paid all the same;
  only the refunds tell whether anything is kept.
- A refusal while *asking* says nothing about the order: only a charge or refund may be `Refused`.
- An order that failed is closed by WeChat Pay, and its number is spent.
"""

import re
from collections.abc import Iterator

from billing.gateways.base import Closed, NotFound, Outcome, Pending, Refused, Succeeded, Unknown
from billing.gateways.wechat import codes, instants
from billing.gateways.wechat.client import Reply
from billing.gateways.wechat.orders import CURRENCY

CANCELED = "CANCELED"
REFUNDS_A_PAGE = 10

_FEN = re.compile(r"[0-9]{1,12}")
_GIVEN_BACK_STATE = "REFUND"
_PAID_STATES = ("SUCCESS", _GIVEN_BACK_STATE)
_WAITING_STATES = ("ACCEPT", "NOTPAY", "USERPAYING")
_CLOSED_STATES = ("CLOSED", "REVOKED", "PAYERROR", "PAY_FAIL")


def refusal(reply: Reply) -> Refused | Unknown:
    """A reply other than success to a call that changes something.

    Too many calls are Unknown: asking, and then sending the *same* number again, is the back-off
    that WeChat Pay wants.
    """
    says_nothing = not reply.code or codes.DECLINE_CODES.get(reply.code) == "unknown"
    if says_nothing or reply.code in codes.SAME_NUMBER:
        return Unknown(reply.explain(), is_too_fast=is_too_fast(reply))
    return Refused(reply.code, reply.text("err_code_des"))


def untold(reply: Reply) -> Unknown:
    """A refusal to tell, or no answer: it says nothing of what was asked."""
    is_ours = codes.DECLINE_CODES.get(reply.code) == "config"
    return Unknown(reply.explain(), is_ours=is_ours, is_too_fast=is_too_fast(reply))


def is_too_fast(reply: Reply) -> bool:
    """By its own code, or by the status of whoever stands in front of it."""
    return reply.code in codes.SAME_NUMBER or reply.exchange.error == "HTTP 429"


def applied(reply: Reply) -> Outcome:
    """What /pay/pappayapply answered: at best Pending."""
    return Pending() if reply.is_success else refusal(reply)


def found(reply: Reply, *, reference: str) -> Outcome:
    """What /pay/orderquery answered: never Refused. An order given back is Succeeded here."""
    if reply.code in codes.NO_SUCH_ORDER:
        return NotFound()
    if not reply.is_success:
        return untold(reply)
    if reply.text("out_trade_no") != reference:
        return Unknown("the answer is about another order")
    state = reply.text("trade_state")
    if state in _PAID_STATES:
        return _succeeded(reply)
    if state in _WAITING_STATES:
        return Pending(reply.text("transaction_id"))
    if state in _CLOSED_STATES:
        return Closed(reply.text("transaction_id"), _why_closed(reply, state))
    return Unknown(f"trade_state {state or 'missing'}")


def has_refunds(reply: Reply) -> bool:
    """Whether anything of an order was given back, little or all of it."""
    return reply.text("trade_state") == _GIVEN_BACK_STATE


def _why_closed(reply: Reply, state: str) -> str:
    """`err_code` where it is a reason; the vendor's samples have "0" for none."""
    code = reply.text("err_code")
    return code if code not in ("", "0", codes.SUCCESS) else state


def _succeeded(reply: Reply) -> Outcome:
    if reply.text("fee_type") not in ("", CURRENCY):
        return Unknown("the answer is in another currency")
    amount_minor = fen(reply.text("total_fee"))
    if amount_minor is None:
        return Unknown("the answer's amount cannot be read")
    at = instants.from_text(reply.text("time_end"))
    return Succeeded(reply.text("transaction_id"), amount_minor, CURRENCY, at)


def fen(text: str) -> int | None:
    """An amount as WeChat Pay writes it, a whole number of fen; None for anything else."""
    return int(text) if _FEN.fullmatch(text) else None


# --- refunds ----------------------------------------------------------------------------------


def refund_applied(reply: Reply) -> Outcome:
    """What /secapi/pay/refund answered: at best Pending."""
    return Pending(reply.text("refund_id")) if reply.is_success else refusal(reply)


def refund_found(reply: Reply, *, refund_ref: str) -> Outcome:
    """What /pay/refundquery answered about one refund."""
    if reply.code in codes.NO_SUCH_REFUND:
        return NotFound()
    if not reply.is_success:
        return untold(reply)
    place = next((n for n in _places(reply) if _nth(reply, "out_refund_no", n) == refund_ref), None)
    if place is None:
        return Unknown("the answer is about another refund")
    status = _nth(reply, "refund_status", place)
    if status == "SUCCESS":
        return _refund_succeeded(reply, place)
    if status == "PROCESSING":
        return Pending(_nth(reply, "refund_id", place))
    known = codes.DECLINE_CODES.get(status) == "hard"
    return Refused(status) if known else Unknown(f"refund_status {status or 'missing'}")


def given_back(reply: Reply) -> dict[str, int] | None:
    """Refund's reference → fen it gave back so far; None where it cannot be told."""
    if reply.code in codes.NO_SUCH_REFUND:
        return {}
    if not reply.is_success:
        return None
    amounts: dict[str, int] = {}
    for place in _places(reply):
        amount_minor = fen(_nth(reply, "refund_fee", place))
        if amount_minor is None:
            return None
        is_done = _nth(reply, "refund_status", place) == "SUCCESS"
        amounts[_nth(reply, "out_refund_no", place)] = amount_minor if is_done else 0
    return amounts


def _places(reply: Reply) -> Iterator[int]:
    """The numbers behind the names; a total that is no number has none."""
    count = reply.text("refund_count")
    return iter(range(min(int(count), 100) if _FEN.fullmatch(count) else 0))


def _nth(reply: Reply, name: str, place: int) -> str:
    return reply.text(f"{name}_{place}")


def _refund_succeeded(reply: Reply, place: int) -> Outcome:
    # Not settlement_refund_fee: what coupons had paid comes back to whoever gave them.
    amount_minor = fen(_nth(reply, "refund_fee", place))
    if amount_minor is None:
        return Unknown("the answer's amount cannot be read")
    at = instants.from_text(_nth(reply, "refund_success_time", place))
    return Succeeded(_nth(reply, "refund_id", place), amount_minor, CURRENCY, at)

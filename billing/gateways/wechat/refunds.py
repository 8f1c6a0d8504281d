"""Giving back, at most once per `refund_ref`, under the client certificate that WeChat Pay demands.

At best a refund is pending: the money comes back minutes or days later, and asking tells.
"""

from billing.gateways.base import Answer, Exchange, RefundRequest
from billing.gateways.wechat import orders, trades
from billing.gateways.wechat.client import WechatClient

REFUND, REFUND_QUERY = "/secapi/pay/refund", "/pay/refundquery"

# An order is given back in at most 50 parts, told ten at a time.
_MOST_PAGES = 6


class Refunds:
    """The calls about refunds."""

    def __init__(self, *, client: WechatClient) -> None:
        self._client = client

    def refund(self, request: RefundRequest) -> Answer:
        """Apply for giving back part or all of a charge."""
        wrong = orders.wrong_refund(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            REFUND,
            orders.refund_fields(request),
            reference=request.refund_ref,
            is_secure=True,
        )
        return Answer(trades.refund_applied(reply), (reply.exchange,))

    def query(self, refund_ref: str) -> Answer:
        """What became of a refund. Changes nothing."""
        reply = self._client.call(REFUND_QUERY, {"out_refund_no": refund_ref}, reference=refund_ref)
        return Answer(trades.refund_found(reply, refund_ref=refund_ref), (reply.exchange,))

    def given_back(self, charge_ref: str) -> tuple[int | None, tuple[Exchange, ...]]:
        """How much of an order its refunds have returned so far; None where it is not told."""
        amounts: dict[str, int] = {}
        evidence: tuple[Exchange, ...] = ()
        for page in range(_MOST_PAGES):
            offset = {"offset": str(page * trades.REFUNDS_A_PAGE)} if page else {}
            fields = {"out_trade_no": charge_ref, **offset}
            reply = self._client.call(REFUND_QUERY, fields, reference=charge_ref)
            evidence += (reply.exchange,)
            more = trades.given_back(reply)
            if more is None:
                return None, evidence
            is_last = len(more) < trades.REFUNDS_A_PAGE or more.keys() <= amounts.keys()
            amounts |= more
            if is_last:
                break
        return sum(amounts.values()), evidence

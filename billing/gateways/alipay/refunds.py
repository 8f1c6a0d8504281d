"""Giving back, at most once per `refund_ref`, which is the refund's own number at Alipay.

`fund_change=N` means that a call moved nothing: a repeat, or not yet. So Alipay is asked, and only
what it shows as refunded is Succeeded.
"""

from billing.gateways.alipay import orders, trades
from billing.gateways.alipay.client import AlipayClient
from billing.gateways.base import Answer, NotFound, Outcome, Pending, RefundRequest, Unknown


class Refunds:
    """The calls about refunds."""

    def __init__(self, *, client: AlipayClient) -> None:
        self._client = client

    def refund(self, request: RefundRequest) -> Answer:
        """Give back part or all of a charge."""
        wrong = orders.wrong_refund(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            method="alipay.trade.refund",
            content=orders.refund_content(request),
            reference=request.refund_ref,
        )
        outcome = trades.refunded(reply, amount_minor=request.amount_minor)
        if not isinstance(outcome, Pending):
            return Answer(outcome, (reply.exchange,))
        asked = self.query(request.refund_ref, request.charge_ref)
        sure: Outcome = asked.outcome
        if isinstance(sure, NotFound):
            sure = Unknown("accepted, but not shown as refunded yet")
        return Answer(sure, (reply.exchange, *asked.exchanges))

    def query(self, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund. Changes nothing."""
        reply = self._client.call(
            method="alipay.trade.fastpay.refund.query",
            content={"out_trade_no": charge_ref, "out_request_no": refund_ref},
            reference=refund_ref,
        )
        return Answer(trades.refund_found(reply, refund_ref=refund_ref), (reply.exchange,))

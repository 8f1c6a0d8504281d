"""Deducting, asking what became of it, calling it off.

Our reference is the trade's number, and a number is one trade for ever: sent twice, it is the same
trade. A decline may leave its trade open to be paid, so it is closed before it counts as one.
"""

from billing.gateways.alipay import codes, orders, trades
from billing.gateways.alipay.client import AlipayClient, Reply
from billing.gateways.alipay.contract import Contract
from billing.gateways.base import Answer, ChargeRequest, Exchange, NotFound, Refused, Unknown


class Charges:
    """The calls about trades."""

    def __init__(self, *, contract: Contract, client: AlipayClient) -> None:
        self._contract, self._client = contract, client

    # --- taking -------------------------------------------------------------------------------

    def charge(self, request: ChargeRequest) -> Answer:
        """Deduct, at most once per reference."""
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            method="alipay.trade.pay",
            content=orders.pay_content(request, self._contract),
            reference=request.reference,
            notify_url=request.notify_url,
        )
        outcome = trades.paid(reply, reference=request.reference)
        if isinstance(outcome, Refused) and outcome.code in codes.ASK_THE_TRADE:
            return self._ask_instead(reply, request.reference)
        if isinstance(outcome, Refused) and outcome.code in codes.LEAVES_OPEN:
            return self._closed_first(reply, outcome, request.reference)
        return Answer(outcome, (reply.exchange,))

    def _ask_instead(self, reply: Reply, reference: str, *before: Exchange) -> Answer:
        """The code says that the trade exists: its state is the outcome, not the code."""
        asked = self.query(reference)
        outcome = asked.outcome
        if isinstance(outcome, NotFound):
            outcome = Unknown(f"{reply.sub_code}, yet no such trade is found")
        return Answer(outcome, (*before, reply.exchange, *asked.exchanges))

    def _closed_first(self, reply: Reply, declined: Refused, reference: str) -> Answer:
        """A decline is final once its trade cannot be paid any more: closed, or never made.

        One that cannot be closed is Unknown, so no new number follows while it may be paid.
        """
        closing = self._trade("alipay.trade.close", reference)
        if closing.code == codes.SUCCESS or closing.sub_code in codes.CANNOT_BE_PAID:
            return Answer(declined, (reply.exchange, closing.exchange))
        if closing.sub_code in codes.ASK_THE_TRADE:
            return self._ask_instead(closing, reference, reply.exchange)
        uncertain = Unknown(f"{declined.code}, and its trade may be open: {closing.explain()}")
        return Answer(uncertain, (reply.exchange, closing.exchange))

    # --- finding and ending -------------------------------------------------------------------

    def query(self, reference: str) -> Answer:
        """What became of a charge. Changes nothing."""
        reply = self._trade("alipay.trade.query", reference)
        return Answer(trades.found(reply, reference=reference), (reply.exchange,))

    def cancel(self, reference: str) -> Answer:
        """Close an unpaid trade, give back a paid one."""
        reply = self._trade("alipay.trade.cancel", reference)
        return Answer(trades.canceled(reply), (reply.exchange,))

    def _trade(self, method: str, reference: str) -> Reply:
        content = {"out_trade_no": reference}
        return self._client.call(method=method, content=content, reference=reference)

"""Applying for a deduction, asking what became of it, closing what waits.

Our reference is the order's number, and a number is one order for ever. WeChat Pay accepts an
application and deducts later, so at best a charge is pending; when to ask is told with it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.gateways.base import (
    Answer,
    BindingAnswer,
    BindingFacts,
    ChargeRequest,
    Closed,
    Exchange,
    NotFound,
    Outcome,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.gateways.wechat import codes, orders, trades
from billing.gateways.wechat.capabilities import DELAY, FRESH
from billing.gateways.wechat.client import Reply, WechatClient
from billing.gateways.wechat.terms import NoticeMode, Terms

APPLY, ORDER_QUERY, CLOSE = "/pay/pappayapply", "/pay/orderquery", "/pay/closeorder"

# A little after the 24 hours, so that one question is enough.
_SLACK = timedelta(minutes=10)
_SOON = timedelta(minutes=1)
GivenBack = tuple[int | None, tuple[Exchange, ...]]


class Charges:
    """The calls about orders. `facts_of` tells a contract's state, by WeChat Pay's number;
    `given_back` how much of an order was returned, by ours."""

    def __init__(
        self,
        *,
        terms: Terms,
        client: WechatClient,
        facts_of: Callable[[str], BindingAnswer],
        given_back: Callable[[str], GivenBack],
    ) -> None:
        self._client, self._facts_of, self._given_back = client, facts_of, given_back
        self._terms = terms
        self._is_slow = terms.notice_mode is NoticeMode.AFTER_24H

    # --- taking -------------------------------------------------------------------------------

    def charge(self, request: ChargeRequest) -> Answer:
        """Apply for a deduction, at most once per reference: at best Pending."""
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Answer(wrong)
        fields = orders.charge_fields(request, self._terms)
        reply = self._client.call(APPLY, fields, reference=request.reference)
        if reply.code in codes.ACCEPTED_BEFORE:
            return self._accepted_before(reply, request)
        outcome = trades.applied(reply)
        if isinstance(outcome, Pending):
            return self._accepted(reply, request)
        if isinstance(outcome, Refused) and outcome.code in codes.ASK_THE_ORDER:
            return self._ask_instead(reply, request.reference)
        if isinstance(outcome, Refused) and outcome.code == codes.INVALID_REQUEST:
            return self._refused_unless_ordered(reply, outcome, request.reference)
        return Answer(outcome, (reply.exchange,))

    def _accepted(self, reply: Reply, request: ChargeRequest) -> Answer:
        """Says when to ask: a day later, unless the mode or a fresh contract makes it soon."""
        now = self._client.now()
        if not self._is_slow:
            return Answer(Pending("", now + _SOON), (reply.exchange,))
        asked = self._facts_of(request.provider_binding_ref)
        again_at = now + (_SOON if _is_fresh(asked, at=now) else DELAY + _SLACK)
        return Answer(Pending("", again_at), (reply.exchange, *asked.exchanges))

    def _accepted_before(self, reply: Reply, request: ChargeRequest) -> Answer:
        """This number was accepted before, or another one of the contract's is under way.

        The vendor has the same words for both, and an order that waits may not be shown yet. So
        one that is not found waits too; asked again when either is over, it is found or is not.
        """
        asked = self.query(request.reference)
        evidence = (reply.exchange, *asked.exchanges)
        if not isinstance(asked.outcome, Pending | NotFound):
            return Answer(asked.outcome, evidence)
        now = self._client.now()
        since = request.first_sent_at or now
        again_at = max(since + DELAY + _SLACK if self._is_slow else now, now + _SOON)
        return Answer(Pending("", again_at), evidence)

    def _ask_instead(self, reply: Reply, reference: str) -> Answer:
        """The code says that the order exists: its state is the outcome, not the code."""
        asked = self.query(reference)
        outcome = asked.outcome
        if isinstance(outcome, NotFound):
            outcome = Unknown(f"{reply.code}, yet no such order is found")
        return Answer(outcome, (reply.exchange, *asked.exchanges))

    def _refused_unless_ordered(self, reply: Reply, refused: Refused, reference: str) -> Answer:
        """One code for no notice, a wrong hour, and another request under this number: an order
        of that one may well be paid, and then it is the outcome."""
        asked = self.query(reference)
        outcome = refused if isinstance(asked.outcome, NotFound) else asked.outcome
        return Answer(outcome, (reply.exchange, *asked.exchanges))

    # --- finding ------------------------------------------------------------------------------

    def query(self, reference: str) -> Answer:
        """What became of a charge. Changes nothing."""
        reply = self._order(ORDER_QUERY, reference)
        outcome = trades.found(reply, reference=reference)
        if isinstance(outcome, Succeeded) and trades.has_refunds(reply):
            return self._in_part_or_whole(reply, outcome, reference)
        return Answer(outcome, (reply.exchange,))

    def _in_part_or_whole(self, reply: Reply, paid: Succeeded, reference: str) -> Answer:
        """Something was given back; only the refunds tell how much."""
        amount_minor, exchanges = self._given_back(reference)
        evidence = (reply.exchange, *exchanges)
        if amount_minor is None:
            return Answer(Unknown("how much was given back is not told"), evidence)
        is_whole = amount_minor >= paid.amount_minor
        whole = Closed(paid.provider_ref, is_given_back=True)
        outcome: Outcome = whole if is_whole else paid
        return Answer(outcome, evidence)

    # --- ending -------------------------------------------------------------------------------

    def cancel(self, reference: str) -> Answer:
        """Close an order that waits. One that is paid stays paid: a refund is the way back."""
        asked = self.query(reference)
        if isinstance(asked.outcome, Succeeded):
            return Answer(Unknown("it is paid, so it can only be refunded"), asked.exchanges)
        if not isinstance(asked.outcome, Pending):
            return asked
        reply = self._order(CLOSE, reference)
        evidence = (*asked.exchanges, reply.exchange)
        if reply.is_success or reply.code == codes.CLOSED_ALREADY:
            return Answer(Closed(asked.outcome.provider_ref, trades.CANCELED), evidence)
        return Answer(Unknown(reply.explain()), evidence)

    def _order(self, path: str, reference: str) -> Reply:
        return self._client.call(path, {"out_trade_no": reference}, reference=reference)


def _is_fresh(contract: BindingAnswer, *, at: datetime) -> bool:
    """Signed so recently that deductions are made at once. Not told: asked soon, to be sure."""
    facts = contract.outcome
    if not isinstance(facts, BindingFacts) or facts.signed_at is None:
        return True
    return at - facts.signed_at < FRESH

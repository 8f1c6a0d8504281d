"""Binding a WeChat Pay account: the signing page, what became of its contract, ending it.

How a page is begun is in `signing_pages`; a contract is known by our reference until WeChat Pay
has told its number.
"""

from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    NotFound,
    Refused,
    SigningPage,
    Unknown,
)
from billing.gateways.wechat import codes, contracts, signing_pages, trades
from billing.gateways.wechat.client import Reply, WechatClient
from billing.gateways.wechat.terms import Terms

_QUERY, _DELETE = "/papay/querycontract", "/papay/deletecontract"


class Bindings:
    """The calls about contracts."""

    def __init__(self, *, terms: Terms, client: WechatClient) -> None:
        self._terms, self._client = terms, client

    def start(self, request: BindingRequest) -> SigningPage:
        """The page to send the browser to. Raises SigningNotStarted, and ValueError for a bad
        reference."""
        return signing_pages.start(request, terms=self._terms, client=self._client)

    def get(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """A contract by WeChat Pay's number, or by ours."""
        reply = self._call(_QUERY, binding_ref, provider_ref)
        facts = contracts.facts(reply, binding_ref=binding_ref, at=self._client.now())
        return BindingAnswer(facts, (reply.exchange,))

    def revoke(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End it. What is gone is gone: REVOKED."""
        remark = {"contract_termination_remark": "ended by the subscriber"}
        reply = self._call(_DELETE, binding_ref, provider_ref, **remark)
        revoked = BindingFacts(BindingStatus.REVOKED, provider_ref)
        if reply.is_success or reply.code in codes.NO_SUCH_CONTRACT:
            return BindingAnswer(revoked, (reply.exchange,))
        if not reply.code:
            return BindingAnswer(trades.refusal(reply), (reply.exchange,))
        # Ended already, or not yet begun: only the contract itself tells which.
        asked = self.get(binding_ref, provider_ref)
        outcome = revoked if _is_over(asked.outcome) else trades.refusal(reply)
        return BindingAnswer(outcome, (reply.exchange, *asked.exchanges))

    def _call(self, path: str, binding_ref: str, provider_ref: str, **more: str) -> Reply:
        named = contracts.identifiers(
            binding_ref=binding_ref, provider_ref=provider_ref, terms=self._terms
        )
        return self._client.call(path, {**named, **more}, reference=binding_ref, has_nonce=False)


def _is_over(outcome: BindingFacts | Unknown | NotFound | Refused) -> bool:
    if isinstance(outcome, BindingFacts):
        return outcome.status in (BindingStatus.REVOKED, BindingStatus.EXPIRED)
    return isinstance(outcome, NotFound)

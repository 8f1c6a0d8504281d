"""Binding an Alipay account: the signing page, what became of its agreement, ending it.

The page is a signed URL made offline; an agreement is known by our reference until Alipay has told
its number.
"""

from billing.gateways.alipay import agreements, codes, instants, trades
from billing.gateways.alipay.client import AlipayClient, Reply
from billing.gateways.alipay.contract import Contract
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

_NOT_NORMAL = "USER_AGREEMENT_STATUS_NOT_NORMAL"


class Bindings:
    """The calls about agreements."""

    def __init__(self, *, contract: Contract, client: AlipayClient) -> None:
        self._contract, self._client = contract, client

    def start(self, request: BindingRequest) -> SigningPage:
        """The page to send the browser to. Raises ValueError for a bad reference."""
        today = instants.beijing_date(self._client.now())
        url = self._client.page_url(
            method="alipay.user.agreement.page.sign",
            content=agreements.signing_content(request, contract=self._contract, today=today),
            notify_url=request.notify_url,
            return_url=request.return_url,
        )
        return SigningPage(url)

    def get(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """An agreement by Alipay's number, or by ours."""
        reply = self.query(binding_ref, provider_ref)
        facts = agreements.facts(reply, binding_ref=binding_ref, at=self._client.now())
        return BindingAnswer(facts, (reply.exchange,))

    def query(self, binding_ref: str, provider_ref: str) -> Reply:
        """What Alipay tells of an agreement, its plan included, as it comes."""
        return self._call("alipay.user.agreement.query", binding_ref, provider_ref)

    def revoke(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End it. What is gone is gone: REVOKED."""
        reply = self._call("alipay.user.agreement.unsign", binding_ref, provider_ref)
        revoked = BindingFacts(BindingStatus.REVOKED, provider_ref)
        if reply.code == codes.SUCCESS or reply.sub_code in codes.NO_SUCH_AGREEMENT:
            return BindingAnswer(revoked, (reply.exchange,))
        if reply.sub_code != _NOT_NORMAL:
            return BindingAnswer(trades.refusal(reply), (reply.exchange,))
        # Stopped already, or not yet begun: only the agreement itself tells which.
        asked = self.get(binding_ref, provider_ref)
        outcome = revoked if _is_over(asked.outcome) else trades.refusal(reply)
        return BindingAnswer(outcome, (reply.exchange, *asked.exchanges))

    def _call(self, method: str, binding_ref: str, provider_ref: str) -> Reply:
        content = agreements.identifiers(
            binding_ref=binding_ref, provider_ref=provider_ref, contract=self._contract
        )
        return self._client.call(method=method, content=content, reference=binding_ref)


def _is_over(outcome: BindingFacts | Unknown | NotFound | Refused) -> bool:
    if isinstance(outcome, BindingFacts):
        return outcome.status in (BindingStatus.REVOKED, BindingStatus.EXPIRED)
    return isinstance(outcome, NotFound)

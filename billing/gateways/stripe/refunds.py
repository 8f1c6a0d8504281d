"""Giving back, at most once per `refund_ref`: looked for first, then sent under that key.

An idempotency key forgets after a day and a refund may be tried again later than that, so the
payment's refunds are read before anything is sent.
"""

from collections.abc import Callable, Mapping

from billing.gateways.base import Answer, Exchange, NotFound, RefundRequest, Unknown
from billing.gateways.stripe import intents, orders
from billing.gateways.stripe.account import Account
from billing.gateways.stripe.charges import Found
from billing.gateways.stripe.wire import Wire

_PAGE = 100


class Refunds:
    """The calls about refunds. `find` tells the payment under a charge's reference."""

    def __init__(self, *, account: Account, wire: Wire, find: Callable[[str, str], Found]) -> None:
        self._account, self._wire, self._find = account, wire, find

    def refund(self, request: RefundRequest) -> Answer:
        """Give back part or all of a charge. A refund of that reference that exists is the answer,
        also one that failed: Stripe gives it no second try, and neither do we."""
        wrong = orders.wrong_refund(request, self._account)
        if wrong is not None:
            return Answer(wrong)
        number, lost, evidence = self._intent(request.charge_ref, request.provider_charge_ref)
        if lost is not None:
            nowhere = Unknown("its charge is not found") if isinstance(lost, NotFound) else lost
            return Answer(nowhere, evidence)
        known = self._known(request.refund_ref, number)
        evidence += known.exchanges
        if not isinstance(known.outcome, NotFound):
            return Answer(known.outcome, evidence)
        reply = self._wire.call(
            "refunds.create",
            request.refund_ref,
            lambda: self._wire.v1.refunds.create(
                orders.refund_params(request, number), {"idempotency_key": request.refund_ref}
            ),
        )
        evidence += (reply.exchange,)
        if not reply.is_ok:
            return Answer(intents.refusal(reply), evidence)
        return Answer(intents.refund_outcome(reply.fields, refund_ref=request.refund_ref), evidence)

    def query(self, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund. Changes nothing."""
        number, lost, evidence = self._intent(charge_ref, "")
        if lost is not None:
            return Answer(lost, evidence)
        known = self._known(refund_ref, number)
        return Answer(known.outcome, evidence + known.exchanges)

    def _intent(
        self, charge_ref: str, provider_charge_ref: str
    ) -> tuple[str, NotFound | Unknown | None, tuple[Exchange, ...]]:
        """The payment's number; or why there is none."""
        if provider_charge_ref.startswith("pi_"):
            return provider_charge_ref, None, ()
        found, evidence = self._find(charge_ref, "")
        if isinstance(found, NotFound | Unknown):
            return "", found, evidence
        return str(found.get("id")), None, evidence

    def _known(self, refund_ref: str, intent_id: str) -> Answer:
        """The payment's refund under that reference, as it is now."""
        reply = self._wire.call(
            "refunds.list",
            refund_ref,
            lambda: self._wire.v1.refunds.list({"payment_intent": intent_id, "limit": _PAGE}),
        )
        page = intents.page(reply)
        if page is None or reply.fields.get("has_more"):
            return Answer(intents.untold(reply), (reply.exchange,))
        mine = [one for one in page if _is_named(one, refund_ref)]
        if not mine:
            return Answer(NotFound(), (reply.exchange,))
        return Answer(intents.refund_outcome(mine[0], refund_ref=refund_ref), (reply.exchange,))


def _is_named(refund: Mapping[str, object], refund_ref: str) -> bool:
    return intents.text(refund, "metadata", orders.REFUND_KEY) == refund_ref

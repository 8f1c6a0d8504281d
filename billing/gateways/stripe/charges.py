"""Charging a card, and finding a charge again whatever was lost.

The idempotency key is our reference. It makes Stripe give a *saved* answer, also of a failure, for
24 hours; a saved answer tells how things were, so the payment itself is then looked at. After that
time the key would charge anew, so nothing is sent and the payment is looked for.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import stripe
from stripe.params import PaymentIntentListParams

from billing.gateways.base import (
    Answer,
    BindingAnswer,
    BindingFacts,
    BindingStatus,
    ChargeRequest,
    Closed,
    Exchange,
    NotFound,
    Outcome,
    Refused,
    Unknown,
)
from billing.gateways.stripe import codes, intents, orders
from billing.gateways.stripe.account import Account
from billing.gateways.stripe.wire import Reply, Wire

# A key lives 24 hours at least; the margin is for clocks and for a call under way.
KEY_LIFETIME = timedelta(hours=23)
_PAGE, _MOST_PAGES = 100, 10
Found = tuple[Mapping[str, object] | NotFound | Unknown, tuple[Exchange, ...]]


class Charges:
    """The calls about payments. `facts_of` tells a card's state, by "cus_…/pm_…"."""

    def __init__(
        self,
        *,
        account: Account,
        wire: Wire,
        clock: Callable[[], datetime],
        facts_of: Callable[[str], BindingAnswer],
    ) -> None:
        self._account, self._wire, self._clock = account, wire, clock
        self._facts_of = facts_of

    # --- taking -------------------------------------------------------------------------------

    def charge(self, request: ChargeRequest) -> Answer:
        """Take the money, at most once per reference."""
        wrong = orders.wrong_charge(request, self._account)
        if wrong is not None:
            return Answer(wrong)
        sent_at = request.first_sent_at
        if sent_at is not None and self._clock() - sent_at > KEY_LIFETIME:
            return self.query(request.reference, "", request.provider_binding_ref)
        reply = self._wire.call(
            "payment_intents.create",
            request.reference,
            lambda: self._wire.v1.payment_intents.create(
                orders.intent_params(request, self._account),
                {"idempotency_key": request.reference},
            ),
        )
        return self._settled(request, reply)

    def _settled(self, request: ChargeRequest, reply: Reply) -> Answer:
        intent = reply.fields if reply.is_ok else reply.error.get("payment_intent")
        if reply.is_replayed and isinstance(intent, dict):
            return self._as_it_is_now(request, intent, (reply.exchange,))
        if reply.is_ok:
            outcome = intents.outcome(reply.fields, reference=request.reference)
            return self._or_ask_payer(request, reply.fields, outcome, (reply.exchange,))
        refused = intents.refusal(reply)
        if isinstance(refused, Refused):
            return self._refused(request, reply, refused)
        return Answer(refused, (reply.exchange,))

    def _refused(self, request: ChargeRequest, reply: Reply, refused: Refused) -> Answer:
        """Three refusals are not the last word: each is looked into with one more call."""
        evidence: tuple[Exchange, ...] = (reply.exchange,)
        if refused.code == codes.AUTHENTICATION_REQUIRED:
            intent = reply.error.get("payment_intent")
            return self._ask_payer(request, intent, refused, evidence)
        if refused.code == codes.DUPLICATE:
            earlier = self.query(request.reference, "", request.provider_binding_ref)
            # A decline only where it is certain that nothing of ours under it is paid or under way.
            is_nothing = isinstance(earlier.outcome, Closed | NotFound)
            return Answer(refused if is_nothing else earlier.outcome, evidence + earlier.exchanges)
        is_about_params = isinstance(reply.problem, stripe.InvalidRequestError)
        if is_about_params and reply.error.get("param") in ("payment_method", "customer"):
            card = self._facts_of(request.provider_binding_ref)
            gone = Refused(codes.INSTRUMENT_GONE, "The card is no longer bound.")
            return Answer(gone if _is_over(card) else refused, evidence + card.exchanges)
        return Answer(refused, evidence)

    def _as_it_is_now(
        self, request: ChargeRequest, intent: Mapping[str, object], evidence: tuple[Exchange, ...]
    ) -> Answer:
        """The saved answer is old news: the payment itself is asked for."""
        reply = self._retrieve(str(intent.get("id")), request.reference)
        evidence += (reply.exchange,)
        if not reply.is_ok:
            return Answer(intents.untold(reply), evidence)
        outcome = intents.outcome(reply.fields, reference=request.reference)
        return self._or_ask_payer(request, reply.fields, outcome, evidence)

    def _or_ask_payer(
        self,
        request: ChargeRequest,
        intent: Mapping[str, object],
        outcome: Outcome,
        evidence: tuple[Exchange, ...],
    ) -> Answer:
        """Where the bank asks for the payer and nobody has been asked yet, ask."""
        needs_page = isinstance(outcome, Unknown) and intent.get("status") == "requires_action"
        needs_asking = isinstance(outcome, Closed) and outcome.code == codes.AUTHENTICATION_REQUIRED
        if needs_page or needs_asking:
            refused = Refused(codes.AUTHENTICATION_REQUIRED)
            return self._ask_payer(request, intent, refused, evidence)
        return Answer(outcome, evidence)

    def _ask_payer(
        self,
        request: ChargeRequest,
        intent: object,
        refused: Refused,
        evidence: tuple[Exchange, ...],
    ) -> Answer:
        """Confirm the same payment as if its payer were here: that makes the page to confirm on."""
        number = intents.text(intent, "id")
        return_url = request.return_url or self._account.return_url
        if not number or not return_url:
            return Answer(refused, evidence)
        reply = self._wire.call(
            "payment_intents.confirm",
            request.reference,
            lambda: self._wire.v1.payment_intents.confirm(
                number,
                {
                    "payment_method": orders.split_binding(request.provider_binding_ref)[1],
                    "return_url": return_url,
                    "expand": ["latest_charge"],
                },
                {"idempotency_key": f"{request.reference}:confirm"},
            ),
        )
        evidence += (reply.exchange,)
        if reply.is_ok and not reply.is_replayed:
            return Answer(intents.outcome(reply.fields, reference=request.reference), evidence)
        if reply.is_replayed:
            again = self._retrieve(number, request.reference)
            return Answer(_as_asked(again, request.reference), (*evidence, again.exchange))
        return Answer(intents.refusal(reply), evidence)

    # --- finding ------------------------------------------------------------------------------

    def query(self, reference: str, provider_ref: str, provider_binding_ref: str) -> Answer:
        """What became of a charge. Changes nothing."""
        if provider_ref.startswith("pi_"):
            reply = self._retrieve(provider_ref, reference)
            return Answer(_as_asked(reply, reference), (reply.exchange,))
        found, evidence = self.find(reference, provider_binding_ref)
        if isinstance(found, NotFound | Unknown):
            return Answer(found, evidence)
        # A search shows a payment as it was indexed; itself, it is as it is.
        reply = self._retrieve(str(found.get("id")), reference)
        return Answer(_as_asked(reply, reference), (*evidence, reply.exchange))

    def find(self, reference: str, provider_binding_ref: str) -> Found:
        """The payment under our reference: among its payer's, else by search and the latest ones.

        A search lags behind by a minute, in a bad hour by an hour; lists do not.
        """
        customer, _ = orders.split_binding(provider_binding_ref)
        if customer:
            return self._listed(reference, customer, pages=_MOST_PAGES)
        query = f"metadata['{orders.CHARGE_KEY}']:'{reference}'"
        reply = self._wire.call(
            "payment_intents.search",
            reference,
            lambda: self._wire.v1.payment_intents.search({"query": query, "limit": _PAGE}),
        )
        page = intents.page(reply)
        if page is None:
            return intents.untold(reply), (reply.exchange,)
        if matches := _matching(page, reference):
            return _chosen(matches), (reply.exchange,)
        found, evidence = self._listed(reference, "", pages=1)
        return found, (reply.exchange, *evidence)

    def _listed(self, reference: str, customer: str, *, pages: int) -> Found:
        evidence: tuple[Exchange, ...] = ()
        params: PaymentIntentListParams = {"limit": _PAGE}
        if customer:
            params["customer"] = customer
        for _ in range(pages):
            reply = self._list(params, reference)
            evidence += (reply.exchange,)
            page = intents.page(reply)
            if page is None:
                return intents.untold(reply), evidence
            if matches := _matching(page, reference):
                return _chosen(matches), evidence
            if not page or not reply.fields.get("has_more"):
                return NotFound(), evidence
            last = intents.text(page[-1], "id")
            if not last:
                return Unknown("a list's last names no number"), evidence
            params["starting_after"] = last
        is_whole = not customer  # the search has looked further than the latest ones
        return NotFound() if is_whole else Unknown("not among the payer's latest"), evidence

    def _list(self, params: PaymentIntentListParams, reference: str) -> Reply:
        return self._wire.call(
            "payment_intents.list",
            reference,
            lambda: self._wire.v1.payment_intents.list(params),
        )

    def _retrieve(self, number: str, reference: str) -> Reply:
        return self._wire.call(
            "payment_intents.retrieve",
            reference,
            lambda: self._wire.v1.payment_intents.retrieve(number, {"expand": ["latest_charge"]}),
        )

    # --- ending -------------------------------------------------------------------------------

    def cancel(self, reference: str) -> Answer:
        """End an unsettled payment. One that is paid stays paid: a refund is the way back."""
        found, evidence = self.find(reference, "")
        if isinstance(found, NotFound | Unknown):
            return Answer(found, evidence)
        number = str(found.get("id"))
        reply = self._wire.call(
            "payment_intents.cancel",
            reference,
            lambda: self._wire.v1.payment_intents.cancel(number),
        )
        evidence += (reply.exchange,)
        if not reply.is_ok:  # too late, or over already: the payment itself says which
            reply = self._retrieve(number, reference)
            evidence += (reply.exchange,)
        outcome = _as_asked(reply, reference)
        if isinstance(outcome, Closed):
            return Answer(outcome, evidence)
        return Answer(Unknown("it cannot be canceled any more"), evidence)


def _as_asked(reply: Reply, reference: str) -> Outcome:
    if not reply.is_ok:
        return intents.untold(reply)
    return intents.outcome(reply.fields, reference=reference)


def _matching(page: list[Mapping[str, object]], reference: str) -> list[Mapping[str, object]]:
    return [one for one in page if intents.text(one, "metadata", orders.CHARGE_KEY) == reference]


def _chosen(matches: list[Mapping[str, object]]) -> Mapping[str, object] | Unknown:
    return intents.most_telling(matches) or Unknown("two payments carry this reference")


def _is_over(card: BindingAnswer) -> bool:
    ended = (BindingStatus.REVOKED, BindingStatus.EXPIRED)
    if isinstance(card.outcome, BindingFacts):
        return card.outcome.status in ended
    return isinstance(card.outcome, NotFound)

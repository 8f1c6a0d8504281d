"""Binding a card on Stripe's own page, asking about it, removing it.

The page is a hosted Checkout Session that sets a card up: the browser is sent there and back, and
no card number comes near us (SAQ A). Until it is signed the binding is known by the session
("cs_…"), afterwards by customer and payment method together ("cus_…/pm_…").
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime

from stripe.params.checkout import SessionCreateParams, SessionListParams

from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    Exchange,
    NotFound,
    SigningNotStarted,
    SigningPage,
    Unknown,
)
from billing.gateways.stripe import cards, intents
from billing.gateways.stripe.intents import member, text
from billing.gateways.stripe.orders import BINDING_KEY, split_binding
from billing.gateways.stripe.wire import Reply, Wire

_LOCALES = {"zh-hans": "zh", "zh-cn": "zh", "zh": "zh", "zh-hant": "zh-TW", "zh-hk": "zh-HK"}
_INSIDE = ["setup_intent", "setup_intent.payment_method"]
_PAGE, _MOST_PAGES = 100, 5
Seen = tuple[Mapping[str, object] | NotFound | Unknown, tuple[Exchange, ...]]


class Bindings:
    """The calls about cards."""

    def __init__(self, *, wire: Wire, clock: Callable[[], datetime]) -> None:
        self._wire, self._clock = wire, clock

    # --- begun --------------------------------------------------------------------------------

    def start(self, request: BindingRequest) -> SigningPage:
        """The page to send the browser to; the same one while it is open. Raises
        SigningNotStarted."""
        ref = request.binding_ref
        customer = self._made(
            self._wire.call(
                "customers.create",
                ref,
                lambda: self._wire.v1.customers.create(
                    {"metadata": {BINDING_KEY: ref}}, {"idempotency_key": f"{ref}:customer"}
                ),
            )
        )
        params = _session_params(request, text(customer, "id"))
        session = self._open_session(ref, params, salt="")
        if text(session, "status") != "open":  # the key gave the old one, which is over
            session = self._open_session(ref, params, salt=text(session, "id"))
        url, number = text(session, "url"), text(session, "id")
        if not url or not number:
            raise SigningNotStarted("Stripe gave no page.")
        return SigningPage(url, number)

    def _open_session(
        self, ref: str, params: SessionCreateParams, *, salt: str
    ) -> Mapping[str, object]:
        """Another language or address makes another page, and a key of its own."""
        told = json.dumps([params, salt], sort_keys=True)
        key = f"{ref}:page:{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        reply = self._wire.call(
            "checkout.sessions.create",
            ref,
            lambda: self._wire.v1.checkout.sessions.create(params, {"idempotency_key": key}),
        )
        session = self._made(reply)
        if reply.is_replayed:
            session = self._made(self._session(text(session, "id"), ref))
        return session

    @staticmethod
    def _made(reply: Reply) -> Mapping[str, object]:
        if not reply.is_ok:
            raise SigningNotStarted(f"Stripe gave no page: {reply.explain()}.")
        return reply.fields

    # --- asked --------------------------------------------------------------------------------

    def get(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """A binding by "cus_…/pm_…", by its page "cs_…", or by our reference alone."""
        customer, number = split_binding(provider_ref)
        if customer:
            reply = self._card(number, binding_ref)
            return BindingAnswer(self._facts(reply, customer), (reply.exchange,))
        session, evidence = self._sessions_of(binding_ref, provider_ref)
        if isinstance(session, NotFound | Unknown):
            return BindingAnswer(session, evidence)
        waiting = cards.unsigned(session)
        if waiting is not None:
            return BindingAnswer(waiting, evidence)
        return self._signed(session, binding_ref, evidence)

    def _sessions_of(self, binding_ref: str, provider_ref: str) -> Seen:
        """The page that was signed, or else the one that waits."""
        if not provider_ref.startswith("cs_"):
            return self._by_reference(binding_ref)
        reply = self._session(provider_ref, binding_ref)
        if reply.is_missing:
            return NotFound(), (reply.exchange,)
        if not reply.is_ok:
            return intents.untold(reply), (reply.exchange,)
        if cards.unsigned(reply.fields) is None:
            return reply.fields, (reply.exchange,)
        # Sent there twice, the payer may have signed the other page.
        others, evidence = self._listed(binding_ref, text(reply.fields, "customer"))
        signed = isinstance(others, Mapping) and cards.unsigned(others) is None
        return (others if signed else reply.fields), (reply.exchange, *evidence)

    def _by_reference(self, binding_ref: str) -> Seen:
        """Among the latest pages: only a lost answer leaves us without the page's number."""
        return self._listed(binding_ref, None)

    def _listed(self, binding_ref: str, customer: str | None) -> Seen:
        params: SessionListParams = {
            "limit": _PAGE,
            "expand": [f"data.{name}" for name in _INSIDE],
        }
        if customer is not None:
            params["customer"] = customer
        evidence: tuple[Exchange, ...] = ()
        for _ in range(_MOST_PAGES):
            reply = self._list(params, binding_ref)
            evidence += (reply.exchange,)
            page = intents.page(reply)
            if page is None:
                return intents.untold(reply), evidence
            mine = [one for one in page if text(one, "client_reference_id") == binding_ref]
            if binding_ref and mine:
                return next((one for one in mine if cards.unsigned(one) is None), mine[0]), evidence
            if not page or not reply.fields.get("has_more"):
                return NotFound(), evidence
            last = text(page[-1], "id")
            if not last:
                return Unknown("a list's last names no number"), evidence
            params["starting_after"] = last
        return Unknown("not among the latest pages"), evidence

    def _signed(
        self, session: Mapping[str, object], binding_ref: str, evidence: tuple[Exchange, ...]
    ) -> BindingAnswer:
        """The card that a page left: attached to its customer, and marked as ours."""
        customer = text(session, "customer")
        card = member(member(session, "setup_intent"), "payment_method")
        number = text(card, "id")
        if not customer or not number:
            return BindingAnswer(Unknown("the page names no card"), evidence)
        if text(card, "customer") != customer and not text(card, "metadata", BINDING_KEY):
            attached = self._attach(number, customer, binding_ref)
            evidence += (attached.exchange,)
            if not attached.is_ok and attached.status != 400:
                return BindingAnswer(Unknown(attached.explain()), evidence)
            # Refused: a card that was removed already cannot come back, and shows as removed.
            card = attached.fields if attached.is_ok else card
        if text(card, "metadata", BINDING_KEY) != binding_ref and binding_ref:
            marked = self._mark(number, binding_ref)
            evidence += (marked.exchange,)
            card = marked.fields if marked.is_ok else card
        return BindingAnswer(cards.facts(card, customer=customer, at=self._clock()), evidence)

    def _facts(self, reply: Reply, customer: str) -> BindingFacts | NotFound | Unknown:
        if reply.is_missing:
            return NotFound()
        if not reply.is_ok:
            return intents.untold(reply)
        return cards.facts(reply.fields, customer=customer, at=self._clock())

    # --- ended --------------------------------------------------------------------------------

    def revoke(self, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Remove the card; close a page that nobody signed yet. What is gone is gone: REVOKED."""
        customer, number = split_binding(provider_ref)
        if customer:
            return self._detached(binding_ref, provider_ref, ())
        session, evidence = self._sessions_of(binding_ref, provider_ref)
        if isinstance(session, Unknown):
            return BindingAnswer(session, evidence)
        if isinstance(session, NotFound):
            return BindingAnswer(BindingFacts(BindingStatus.REVOKED), evidence)
        if cards.unsigned(session) is None:
            number = text(session, "setup_intent", "payment_method", "id")
            return self._detached(binding_ref, f"{text(session, 'customer')}/{number}", evidence)
        return self._closed(binding_ref, session, evidence)

    def _detached(
        self, binding_ref: str, provider_ref: str, evidence: tuple[Exchange, ...]
    ) -> BindingAnswer:
        customer, number = split_binding(provider_ref)
        reply = self._wire.call(
            "payment_methods.detach",
            binding_ref,
            lambda: self._wire.v1.payment_methods.detach(number),
        )
        evidence += (reply.exchange,)
        revoked = BindingFacts(BindingStatus.REVOKED, provider_ref)
        if reply.is_ok or reply.is_missing:
            return BindingAnswer(revoked, evidence)
        if reply.status != 400:
            return BindingAnswer(intents.refusal(reply), evidence)
        card = self._card(number, binding_ref)  # detached already? the card itself says so
        evidence += (card.exchange,)
        is_gone = card.is_missing or (card.is_ok and text(card.fields, "customer") != customer)
        return BindingAnswer(revoked if is_gone else intents.refusal(reply), evidence)

    def _closed(
        self, binding_ref: str, session: Mapping[str, object], evidence: tuple[Exchange, ...]
    ) -> BindingAnswer:
        number = text(session, "id")
        reply = self._wire.call(
            "checkout.sessions.expire",
            binding_ref,
            lambda: self._wire.v1.checkout.sessions.expire(number),
        )
        evidence += (reply.exchange,)
        is_over = reply.is_ok or text(session, "status") != "open"
        if is_over:
            return BindingAnswer(BindingFacts(BindingStatus.REVOKED, number), evidence)
        return BindingAnswer(intents.refusal(reply), evidence)

    # --- single calls -------------------------------------------------------------------------

    def _session(self, number: str, ref: str) -> Reply:
        return self._wire.call(
            "checkout.sessions.retrieve",
            ref,
            lambda: self._wire.v1.checkout.sessions.retrieve(number, {"expand": _INSIDE}),
        )

    def _list(self, params: SessionListParams, ref: str) -> Reply:
        return self._wire.call(
            "checkout.sessions.list",
            ref,
            lambda: self._wire.v1.checkout.sessions.list(params),
        )

    def _card(self, number: str, ref: str) -> Reply:
        return self._wire.call(
            "payment_methods.retrieve", ref, lambda: self._wire.v1.payment_methods.retrieve(number)
        )

    def _attach(self, number: str, customer: str, ref: str) -> Reply:
        return self._wire.call(
            "payment_methods.attach",
            ref,
            lambda: self._wire.v1.payment_methods.attach(number, {"customer": customer}),
        )

    def _mark(self, number: str, binding_ref: str) -> Reply:
        """So that a notification about the card names the binding."""
        return self._wire.call(
            "payment_methods.update",
            binding_ref,
            lambda: self._wire.v1.payment_methods.update(
                number, {"metadata": {BINDING_KEY: binding_ref}}
            ),
        )


def _session_params(request: BindingRequest, customer: str) -> SessionCreateParams:
    metadata = {BINDING_KEY: request.binding_ref}
    return {
        "mode": "setup",
        "customer": customer,
        "allowed_payment_method_types": ["card"],
        "client_reference_id": request.binding_ref,
        "metadata": metadata,
        "setup_intent_data": {"metadata": metadata},
        "locale": _LOCALES.get(request.language.lower(), request.language[:2] or "auto"),
        "success_url": request.return_url,
        "cancel_url": request.return_url,
    }

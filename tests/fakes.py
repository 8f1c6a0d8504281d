"""A rail and a carrier in memory, for tests of the core: each keeps books of its own.

They do what real ones do that matters: an effect happens at most once per reference, an answer can
be lost on either side of it, and whoever asks later hears the truth.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.gateways.base import (
    Answer,
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    Capabilities,
    ChargeRequest,
    DisputeStanding,
    Exchange,
    NotFound,
    Noticed,
    NotNeeded,
    Outcome,
    Preparation,
    RefundRequest,
    Refused,
    SigningPage,
    Succeeded,
    Unknown,
)
from lines.carriers.base import (
    Balance,
    BalanceAnswer,
    CreditAnswer,
    Credited,
    CreditOutcome,
    CreditRequest,
    LineAddress,
    Reversed,
)
from lines.carriers.base import NotFound as NoOrder
from lines.carriers.base import Unknown as NoAnswer

LOST_AFTER = "lost after commit"
LOST_BEFORE = "lost before commit"


@dataclass
class FakeGateway:
    """A rail that charges. `script` holds what to do instead, one entry a call."""

    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(rail="alipay", currencies=frozenset({"CNY"}))
    )
    script: list[Outcome | str] = field(default_factory=list)
    closings: list[Outcome] = field(default_factory=list)
    charged: dict[str, int] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bindings: dict[str, BindingFacts] = field(default_factory=dict)
    preparations: list[NotNeeded | Noticed | Refused | Unknown] = field(default_factory=list)
    announced: dict[str, Noticed] = field(default_factory=dict)

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        return SigningPage(f"http://rail.invalid/sign?ref={request.binding_ref}")

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        facts = self.bindings.get(binding_ref, BindingFacts(BindingStatus.PENDING))
        return BindingAnswer(facts)

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        facts = BindingFacts(BindingStatus.REVOKED)
        self.bindings[binding_ref] = facts
        return BindingAnswer(facts)

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Announces where it must: the same first instant, the same window, told once."""
        self.calls["prepare"].append(request.reference)
        if self.preparations:
            return self._prepared(request.reference, self.preparations.pop(0))
        if not self.capabilities.must_prepare:
            return self._prepared(request.reference, NotNeeded())
        assert request.first_sent_at is not None
        opens = request.first_sent_at + self.capabilities.notice
        closes = opens + (self.capabilities.window or timedelta(days=7))
        told = Noticed(opens, closes, request.amount_minor)
        key = f"{request.reference} on {request.provider_binding_ref}"
        self.announced.setdefault(key, told)
        assert self.announced[key] == told
        return self._prepared(request.reference, told)

    @staticmethod
    def _prepared(reference: str, outcome: NotNeeded | Noticed | Refused | Unknown) -> Preparation:
        lost = isinstance(outcome, Unknown)
        exchange = Exchange("notice", reference, "{}", "" if lost else "{}", is_verified=not lost)
        return Preparation(outcome, (exchange,))

    def charge(self, *, request: ChargeRequest) -> Answer:
        self.calls["charge"].append(request.reference)
        planned = self._next()
        if planned == LOST_BEFORE:
            return self._answer("charge", request.reference, Unknown("lost"))
        if planned is not None and planned != LOST_AFTER:
            return self._answer("charge", request.reference, planned)
        self.charged.setdefault(request.reference, request.amount_minor)
        outcome: Outcome = self._paid(request.reference)
        if planned == LOST_AFTER:
            outcome = Unknown("lost")
        return self._answer("charge", request.reference, outcome)

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        self.calls["query"].append(reference)
        planned = self._next()
        if planned is not None and not isinstance(planned, str):
            return self._answer("query", reference, planned)
        known = reference in self.charged
        return self._answer("query", reference, self._paid(reference) if known else NotFound())

    def cancel(self, *, reference: str) -> Answer:
        self.calls["cancel"].append(reference)
        outcome = self.closings.pop(0) if self.closings else Unknown("it cannot be called off")
        return self._answer("cancel", reference, outcome)

    def refund(self, *, request: RefundRequest) -> Answer:
        self.calls["refund"].append(request.refund_ref)
        planned = self._next()
        if planned is not None and not isinstance(planned, str):
            return self._answer("refund", request.refund_ref, planned)
        self.refunded.setdefault(request.refund_ref, request.amount_minor)
        outcome: Outcome = Succeeded("R" + request.refund_ref, request.amount_minor, "CNY")
        if planned == LOST_AFTER:
            outcome = Unknown("lost")
        return self._answer("refund", request.refund_ref, outcome)

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        self.calls["query_refund"].append(refund_ref)
        if refund_ref not in self.refunded:
            return self._answer("query_refund", refund_ref, NotFound())
        done = Succeeded("R" + refund_ref, self.refunded[refund_ref], "CNY")
        return self._answer("query_refund", refund_ref, done)

    def statement(self, *, day: Any) -> Any:
        return iter(())

    def parse_notification(self, **_: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def dispute_standing(*, claims: str) -> DisputeStanding:
        """Its words for it are ours."""
        return DisputeStanding(claims)

    def _next(self) -> Outcome | str | None:
        return self.script.pop(0) if self.script else None

    def _paid(self, reference: str) -> Succeeded:
        return Succeeded("T" + reference, self.charged[reference], "CNY")

    def _answer(self, kind: str, reference: str, outcome: Outcome) -> Answer:
        lost = isinstance(outcome, Unknown)
        exchange = Exchange(kind, reference, "{}", "" if lost else "{}", is_verified=not lost)
        return Answer(outcome, (exchange,))


@dataclass
class FakeCarrier:
    """A carrier that credits. A repeated order is a second credit: TMF654 has no key."""

    can_query_by_reference: bool = True
    script: list[CreditOutcome | str] = field(default_factory=list)
    credits: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    reversals: dict[str, int] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)
    balances: dict[str, Balance] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def balance(self, *, address: LineAddress) -> BalanceAnswer:
        known = self.balances.get(address.resource)
        return BalanceAnswer(known if known else NoAnswer("down"))

    def credit(self, *, request: CreditRequest) -> CreditAnswer:
        self.calls["credit"].append(request.reference)
        planned = self.script.pop(0) if self.script else None
        if planned == LOST_BEFORE:
            return CreditAnswer(NoAnswer("lost"))
        if planned is not None and planned != LOST_AFTER:
            assert not isinstance(planned, str)
            return CreditAnswer(planned)
        self.credits[request.reference].append(request.amount_minor)
        if planned == LOST_AFTER:
            return CreditAnswer(NoAnswer("lost"))
        return CreditAnswer(self._credited(request.reference))

    def query(self, *, reference: str, address: LineAddress, carrier_ref: str = "") -> CreditAnswer:
        self.calls["query"].append(reference)
        planned = self.script.pop(0) if self.script else None
        if planned is not None and not isinstance(planned, str):
            return CreditAnswer(planned)
        if reference in self.reversals:
            return CreditAnswer(Reversed("C" + reference))
        known = reference in self.credits
        return CreditAnswer(self._credited(reference) if known else NoOrder())

    def reverse(self, *, request: CreditRequest, carrier_ref: str) -> CreditAnswer:
        self.calls["reverse"].append(request.reference)
        planned = self.script.pop(0) if self.script else None
        if planned is not None and not isinstance(planned, str):
            return CreditAnswer(planned)
        self.reversals.setdefault(request.reference, request.amount_minor)
        return CreditAnswer(Reversed(carrier_ref))

    def send_code(self, *, address: LineAddress, text: str) -> bool:
        self.texts.append((address.resource, text))
        return True

    def statement(self, *, day: Any) -> Any:
        return iter(())

    def parse_event(self, **_: Any) -> Any:
        raise NotImplementedError

    def _credited(self, reference: str) -> Credited:
        return Credited("C" + reference, self.credits[reference][0], datetime.now(UTC))

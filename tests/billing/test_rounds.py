"""No round without a counter: every loop whose answer leads back to where it began, driven through
its worst answer for two months, and its calls counted (docs/architecture.md, "Rounds")."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from billing.bindings import lifecycle
from billing.engine import polling
from billing.gateways.base import (
    ActionRequired,
    Answer,
    BindingAnswer,
    NotFound,
    Noticed,
    Pending,
    Preparation,
    Refused,
    Unknown,
)
from billing.models import BindingState, Recharge, Refund, Rule
from billing.refunds import approvals
from lines.carriers.base import Accepted, BalanceAnswer, CreditAnswer, NotAllowed, Rejected
from lines.carriers.base import NotFound as NoOrder
from lines.carriers.base import Unknown as NoAnswer
from lines.models import Line
from tests import world as w
from tests.fakes import FakeCarrier, FakeGateway
from tests.world import World

pytestmark = pytest.mark.django_db

TWO_MONTHS = timedelta(days=60)
NOT_OURS = Unknown("no answer")
OURS = Unknown("refused: no such key", is_ours=True)
NO_TOKEN = NotAllowed("unauthorised")
ANEW = object()  # announced whenever it is asked for, for another window each time


@dataclass
class WorstRail(FakeGateway):
    """Says the same to each kind of call, for ever."""

    says: dict[str, Any] = field(default_factory=dict)

    def _said(self, kind: str, reference: str) -> Answer | None:
        if kind not in self.says:
            return None
        self.calls[kind].append(reference)
        return self._answer(kind, reference, self.says[kind])

    def charge(self, *, request: Any) -> Answer:
        return self._said("charge", request.reference) or super().charge(request=request)

    def query(self, *, reference: str, **more: Any) -> Answer:
        return self._said("query", reference) or super().query(reference=reference, **more)

    def cancel(self, *, reference: str) -> Answer:
        return self._said("cancel", reference) or super().cancel(reference=reference)

    def refund(self, *, request: Any) -> Answer:
        return self._said("refund", request.refund_ref) or super().refund(request=request)

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        said = self._said("query_refund", refund_ref)
        return said or super().query_refund(refund_ref=refund_ref, charge_ref=charge_ref)

    def prepare_charge(self, *, request: Any, due_at: Any) -> Preparation:
        if "prepare" not in self.says:
            return super().prepare_charge(request=request, due_at=due_at)
        self.calls["prepare"].append(request.reference)
        said = self.says["prepare"]
        if said is ANEW:
            opens_at = request.first_sent_at + timedelta(days=2)
            said = Noticed(opens_at, opens_at + timedelta(days=7), request.amount_minor)
        return self._prepared(request.reference, said)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        self.calls["get"].append(binding_ref)
        return BindingAnswer(self.says["get"])

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        self.calls["revoke"].append(binding_ref)
        return BindingAnswer(self.says["revoke"])


@dataclass
class WorstCarrier(FakeCarrier):
    says: dict[str, Any] = field(default_factory=dict)

    def _said(self, kind: str, reference: str) -> CreditAnswer | None:
        if kind not in self.says:
            return None
        self.calls[kind].append(reference)
        return CreditAnswer(self.says[kind])

    def credit(self, *, request: Any) -> CreditAnswer:
        return self._said("credit", request.reference) or super().credit(request=request)

    def query(self, *, reference: str, **more: Any) -> CreditAnswer:
        return self._said("query", reference) or super().query(reference=reference, **more)

    def reverse(self, *, request: Any, carrier_ref: str) -> CreditAnswer:
        said = self._said("reverse", request.reference)
        return said or super().reverse(request=request, carrier_ref=carrier_ref)

    def balance(self, *, address: Any) -> BalanceAnswer:
        self.calls["balance"].append(address.resource)
        return BalanceAnswer(self.says["balance"])


@dataclass
class WorstWorld(World):
    gateway: WorstRail = field(default_factory=WorstRail)
    carrier: WorstCarrier = field(default_factory=WorstCarrier)

    def until_nothing_is_due(self) -> None:
        """From one due moment to the next, for two months at most."""
        ends_at = self.at + TWO_MONTHS
        for _ in range(400):
            Rule.objects.update(wake_at=None)
            due = [*Recharge.objects.values_list("act_at", flat=True)]
            due += Refund.objects.values_list("act_at", flat=True)
            due_at = min((at for at in due if at is not None), default=None)
            if due_at is None or due_at > ends_at:
                return
            self.at = max(self.at, due_at)
            self.run(batches=1)


Rail = dict[str, Any]
Seen = tuple[dict[str, int], tuple[str, str]]  # calls by kind; what is left of it


def low(world: WorstWorld, **capabilities: Any) -> None:
    w.carrier(), w.rail()
    world.gateway.capabilities = replace(world.gateway.capabilities, **capabilities)
    w.rule(w.line(balance_minor=980), wake_at=world.at)


def at_rest(world: WorstWorld) -> tuple[str, str]:
    recharge = Recharge.objects.get()
    assert recharge.act_at is None
    w.assert_balanced()
    return recharge.state, recharge.attention


def a_charge(said: Rail, **capabilities: Any) -> Callable[[WorstWorld], Seen]:
    def drive(world: WorstWorld) -> Seen:
        low(world, **capabilities)
        world.gateway.says = said
        world.run(batches=1)
        world.until_nothing_is_due()
        return counted(world.gateway.calls), at_rest(world)

    return drive


def a_credit(said: Rail) -> Callable[[WorstWorld], Seen]:
    def drive(world: WorstWorld) -> Seen:
        low(world)
        world.carrier.says = said
        world.run(batches=1)
        world.until_nothing_is_due()
        return counted(world.carrier.calls), at_rest(world)

    return drive


def a_refund(said: Rail) -> Callable[[WorstWorld], Seen]:
    def drive(world: WorstWorld) -> Seen:
        low(world)
        world.carrier.says = {"credit": Rejected("unknownResource", "", True)}
        world.gateway.says = said
        world.run(batches=2)
        world.until_nothing_is_due()
        kinds = ("refund", "query_refund")
        calls = {
            kind: len(world.gateway.calls[kind]) for kind in kinds if world.gateway.calls[kind]
        }
        assert Refund.objects.get().act_at is None
        return calls, (Refund.objects.get().state, Refund.objects.get().attention)

    return drive


def a_credit_taken_back(said: Rail) -> Callable[[WorstWorld], Seen]:
    def drive(world: WorstWorld) -> Seen:
        low(world)
        world.run()
        refund = approvals.request(
            recharge=Recharge.objects.get(), amount_minor=5000, reason="x",
            requested_by=w.person("support"), at=world.at,
        )  # fmt: skip
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)
        world.carrier.says = said
        world.carrier.calls.clear()
        world.until_nothing_is_due()
        assert (world.gateway.refunded, Refund.objects.get().act_at) == ({}, None)
        left = Refund.objects.get().state, Refund.objects.get().attention
        return counted(world.carrier.calls), left

    return drive


def an_agreement(said: Rail, monkeypatch: Any, **more: Any) -> Callable[[WorstWorld], Seen]:
    """Two months of questions, each when it is due."""

    def drive(world: WorstWorld) -> Seen:
        w.rail()
        world.gateway.says = said
        monkeypatch.setattr(lifecycle.gateways, "available", lambda: ["alipay"])
        monkeypatch.setattr(lifecycle.gateways, "get", lambda _code: world.gateway)
        binding = w.binding(created_at=world.at, check_at=world.at, **more)
        ends_at = world.at + TWO_MONTHS
        while binding.check_at is not None and binding.check_at <= ends_at:
            world.at = max(world.at, binding.check_at)
            lifecycle.poll_due(at=world.at, limit=10)
            binding.refresh_from_db()
        return counted(world.gateway.calls), (binding.state, binding.pause_reason)

    return drive


def balances(said: object) -> Callable[[WorstWorld], Seen]:
    """A day of them."""

    def drive(world: WorstWorld) -> Seen:
        w.carrier()
        line = w.line(poll_at=world.at)
        world.carrier.says = {"balance": said}
        ends_at = world.at + w.DAY
        while line.poll_at is not None and line.poll_at <= ends_at:
            world.at = max(world.at, line.poll_at)
            polling.poll_balances(at=world.at, outside=world.outside, limit=200)
            line.refresh_from_db()
        is_shown = Line.objects.get().carrier.refuses_us_since is not None
        return counted(world.carrier.calls), ("", "shown" if is_shown else "")

    return drive


def counted(calls: dict[str, list[str]]) -> dict[str, int]:
    return {kind: len(made) for kind, made in calls.items() if made}


UNLISTED = Refused("NOBODY_HAS_LISTED_THIS")
SETUP = Refused("INVALID_PARAMETER")
PAGE = ActionRequired("https://rail.example/confirm", "P1")
NOTICED = {
    "must_prepare": True, "notice": timedelta(days=2), "window": timedelta(days=7),
    "not_announced_code": "INVALID_PARAMETER",
}  # fmt: skip


def test_every_loop_counts_its_rounds_and_ends_with_a_person(monkeypatch: Any) -> None:
    loops: dict[str, Callable[[WorstWorld], Seen]] = {
        "charge: refused by an unlisted code, and no order is left": a_charge(
            {"charge": UNLISTED, "query": NotFound()}
        ),
        "charge: accepted and never heard of": a_charge({"charge": Pending(), "query": NotFound()}),
        "charge: no answer": a_charge({"charge": NOT_OURS, "query": NOT_OURS}),
        "charge: we may not ask": a_charge({"charge": NOT_OURS, "query": OURS}),
        "charge: refused for our set-up": a_charge({"charge": SETUP}),
        "charge: declined softly": a_charge({"charge": Refused("BUYER_BALANCE_NOT_ENOUGH")}),
        "charge: pending": a_charge(
            {"charge": Pending("P1"), "query": Pending("P1"), "cancel": NOT_OURS}
        ),
        "charge: to be confirmed": a_charge({"charge": PAGE, "query": PAGE, "cancel": NOT_OURS}),
        "announcement: no answer": a_charge({"prepare": NOT_OURS}, **NOTICED),
        "announcement: refused for our set-up": a_charge({"prepare": SETUP}, **NOTICED),
        "announcement: made, and the charge is refused for want of it": a_charge(
            {"prepare": ANEW, "charge": SETUP}, **NOTICED
        ),
        "credit: no answer": a_credit({"credit": NoAnswer("x"), "query": NoAnswer("x")}),
        "credit: never arrives": a_credit({"credit": NoAnswer("x"), "query": NoOrder()}),
        "credit: accepted": a_credit({"credit": Accepted("C1"), "query": Accepted("C1")}),
        "credit: rejected for now": a_credit({"credit": Rejected("BUSY")}),
        "credit: refused for our token": a_credit({"credit": NO_TOKEN}),
        "credit: we may not ask": a_credit({"credit": NoAnswer("x"), "query": NO_TOKEN}),
        "refund: refused": a_refund({"refund": Refused("SELLER_BALANCE_NOT_ENOUGH")}),
        "refund: no answer": a_refund({"refund": NOT_OURS, "query_refund": NOT_OURS}),
        "refund: pending": a_refund({"refund": Pending(), "query_refund": Pending()}),
        "refund: accepted and never heard of": a_refund(
            {"refund": Pending(), "query_refund": NotFound()}
        ),
        "refund: we may not ask": a_refund({"refund": Pending(), "query_refund": OURS}),
        "credit taken back: no answer": a_credit_taken_back({"reverse": NoAnswer("x")}),
        "credit taken back: refused for our token": a_credit_taken_back({"reverse": NO_TOKEN}),
        "agreement ended: refused": an_agreement(
            {"revoke": Refused("ISV", "no")}, monkeypatch,
            state=BindingState.ACTIVE, pause_reason="ending", paused_at=w.NOON,
        ),
        "agreement begun: nothing told": an_agreement(
            {"get": NOT_OURS}, monkeypatch, state=BindingState.PENDING
        ),
        "balance: no answer": balances(NoAnswer("x")),
        "balance: we may not ask": balances(NO_TOKEN),
    }  # fmt: skip
    seen = {name: alone(drive) for name, drive in loops.items()}
    assert seen == EXPECTED


def alone(drive: Callable[[WorstWorld], Seen]) -> object:
    """In a world of its own, of which nothing is left."""
    try:
        with transaction.atomic():
            try:
                result: object = drive(WorstWorld())
            except AssertionError as error:
                result = str(error)
            transaction.set_rollback(True)
    except Exception as error:
        return repr(error)
    return result


UNKNOWN_PAYMENT = ("payment_unknown", "payment_unknown")
UNKNOWN_CREDIT = ("delivery_unknown", "delivery_unknown")
EXPECTED: dict[str, Seen] = {
    "charge: refused by an unlisted code, and no order is left": (
        {"charge": 9, "query": 19}, ("missed", ""),
    ),
    "charge: accepted and never heard of": ({"charge": 9, "query": 11}, ("missed", "")),
    "charge: no answer": ({"charge": 1, "query": 11}, UNKNOWN_PAYMENT),
    "charge: we may not ask": ({"charge": 1, "query": 50}, UNKNOWN_PAYMENT),
    "charge: refused for our set-up": ({"charge": 35}, ("missed", "")),
    "charge: declined softly": ({"charge": 4}, ("failed", "")),
    "charge: pending": ({"charge": 1, "query": 83, "cancel": 54}, UNKNOWN_PAYMENT),
    "charge: to be confirmed": (
        {"charge": 1, "query": 145, "cancel": 1}, ("action_required", "action_expired"),
    ),
    "announcement: no answer": ({"prepare": 83}, ("missed", "")),
    "announcement: refused for our set-up": ({"prepare": 77}, ("missed", "")),
    "announcement: made, and the charge is refused for want of it": (
        {"prepare": 2, "charge": 2}, ("missed", ""),
    ),
    "credit: no answer": ({"credit": 1, "query": 11}, UNKNOWN_CREDIT),
    "credit: never arrives": ({"credit": 9, "query": 27}, UNKNOWN_CREDIT),
    "credit: accepted": ({"credit": 1, "query": 60}, UNKNOWN_CREDIT),
    "credit: rejected for now": ({"credit": 3}, ("refunded", "")),
    "credit: refused for our token": ({"credit": 50}, ("charged", "config")),
    "credit: we may not ask": ({"credit": 1, "query": 50}, UNKNOWN_CREDIT),
    "refund: refused": ({"refund": 6}, ("intended", "refund_refused")),
    "refund: no answer": ({"refund": 1, "query_refund": 11}, ("unknown", "refund_unknown")),
    "refund: pending": ({"refund": 1, "query_refund": 59}, ("unknown", "refund_unknown")),
    "refund: accepted and never heard of": (
        {"refund": 6, "query_refund": 6}, ("unknown", "refund_unknown"),
    ),
    "refund: we may not ask": ({"refund": 1, "query_refund": 49}, ("unknown", "config")),
    "credit taken back: no answer": (
        {"query": 12, "reverse": 12}, ("reversing", "refund_unknown"),
    ),
    "credit taken back: refused for our token": (
        {"query": 44, "reverse": 44}, ("reversing", "config"),
    ),
    "agreement ended: refused": ({"revoke": 16}, ("active", "ending")),
    "agreement begun: nothing told": ({"get": 107}, ("abandoned", "")),
    "balance: no answer": ({"balance": 145}, ("", "")),
    "balance: we may not ask": ({"balance": 13}, ("", "shown")),
}  # fmt: skip

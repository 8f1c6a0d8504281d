"""/v1: lets a call in, answers each idempotency key once, and misbehaves on order.

As Stripe has it (docs.stripe.com/api/idempotent_requests): the first status and body under a key
are saved as soon as anything was executed, failures included, for 24 hours; parameters that were
refused and calls that collided are not; the same key with other parameters is an error.
"""

import hashlib
import json
import time
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response, request

from billing.gateways.simulation.faults import Fault, Plan
from billing.gateways.stripe.simulator import forms, refusals, routes
from billing.gateways.stripe.simulator.books import Change, Object, Saved, new_id
from billing.gateways.stripe.simulator.calls import Call, shown
from billing.gateways.stripe.simulator.refusals import Refusal
from billing.gateways.stripe.simulator.state import Simulator

_DEFAULT_SLOW_S = 30
_DEFAULT_LATE_S = 2


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    status: int
    body: Object
    is_replayed: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that was let in, and what it is to suffer."""

    verb: str
    path: str
    params: dict[str, object]
    key: str
    operation: str
    handler: routes.Handler
    numbers: dict[str, object]
    plan: Plan

    @property
    def digest(self) -> str:
        told = json.dumps([self.verb, self.path, self.params], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def api(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /v1."""
    blueprint = Blueprint("api", __name__)

    @blueprint.route("/v1/<path:path>", methods=["GET", "POST", "DELETE"])
    def answer(path: str) -> Response:
        try:
            asked = _let_in(simulator, path)
            with _in_use(simulator, asked):
                return _performed(simulator, asked)
        except Refusal as refusal:
            return _answer(Said(refusal.status, shown(refusal.body())))

    return blueprint


def _let_in(simulator: Simulator, path: str) -> Asked:
    authorization = request.authorization
    if authorization is None or authorization.token != simulator.secret_key:
        raise refusals.fault("unauthorized")
    refusals.check_version(request.headers.get("Stripe-Version", ""))
    found = routes.found(request.method, path)
    if found is None:
        text = f"Unrecognized request URL ({request.method}: /v1/{path})."
        raise Refusal(404, text)
    operation, handler, numbers = found
    source = request.form if request.method == "POST" else request.args
    try:
        params = forms.parse(source.items(multi=True))
    except forms.Malformed as error:
        raise refusals.invalid(str(error)) from error
    key = request.headers.get("Idempotency-Key", "") if request.method == "POST" else ""
    plan = simulator.faults.plan(operation, _reference(simulator, params, numbers))
    return Asked(request.method, path, params, key, operation, handler, numbers, plan)


def _reference(simulator: Simulator, params: dict[str, object], numbers: dict[str, object]) -> str:
    """What a fault may be ordered for: our number of the refund or the charge, or the object."""
    metadata = params.get("metadata", {})
    names = (simulator.refund_key, simulator.reference_key)
    given = [metadata.get(name) for name in names] if isinstance(metadata, dict) else []
    return next((str(one) for one in [*given, numbers.get("number")] if one), "")


@contextmanager
def _in_use(simulator: Simulator, asked: Asked) -> Iterator[None]:
    """A key works for one call at a time; a collision saves nothing."""
    if not asked.key:
        yield
        return
    with simulator.books.lock:
        if asked.key in simulator.keys_in_use:
            raise refusals.fault("conflict")
        simulator.keys_in_use.add(asked.key)
    try:
        yield
    finally:
        simulator.keys_in_use.discard(asked.key)


def _performed(simulator: Simulator, asked: Asked) -> Response:
    fault = asked.plan.answer
    if fault is None or fault.kind == "decline":
        return _answer(executed(simulator, asked))
    match fault.kind:
        case "late":
            due = simulator.time.now() + timedelta(seconds=fault.seconds(_DEFAULT_LATE_S))
            simulator.agenda.at(due, lambda: executed(simulator, asked))
            return _broken_off()
        case "slow":
            time.sleep(fault.seconds(_DEFAULT_SLOW_S))
            return _answer(executed(simulator, asked))
        case "http_500" | "http_500_saved":
            return _answer(_five_hundred(simulator, asked, fault))
        case "lose_after" | "lose_before" | "garbage" | "half":
            return _unusable(simulator, asked, fault)
    if fault.is_committed:
        executed(simulator, asked)
    raise refusals.fault(fault.kind)


def _unusable(simulator: Simulator, asked: Asked, fault: Fault) -> Response:
    said = executed(simulator, asked) if fault.is_committed else Said(200, {})
    if fault.kind == "garbage":
        return Response("<html><body>Service temporarily away</body></html>", status=200)
    if fault.kind == "half":
        whole = json.dumps(said.body)
        return Response(whole[: len(whole) // 2], content_type="application/json")
    return _broken_off()


def _five_hundred(simulator: Simulator, asked: Asked, fault: Fault) -> Said:
    broken = Said(500, refusals.broken().body())
    if fault.is_committed:
        return executed(simulator, asked, instead=broken)
    if fault.kind == "http_500_saved":
        saved = Saved(asked.digest, broken.status, broken.body, simulator.time.now())
        simulator.books.record(Change(), key=asked.key, saved=saved)
    return broken


def executed(simulator: Simulator, asked: Asked, *, instead: Said | None = None) -> Said:
    """Do it, or repeat what its key has answered. `instead` is said and saved for the truth."""
    with simulator.books.lock:
        now = simulator.time.now()
        saved = simulator.books.saved(asked.key, now) if asked.key else None
        if saved is not None:
            if saved.digest != asked.digest:
                raise refusals.mismatch()
            return Said(saved.status, saved.body, is_replayed=True)
        call = Call(simulator, asked.params, now, asked.plan)
        truth = _handled(call, asked)
        said = instead or truth
        if asked.verb == "GET":
            return said
        keeps = Saved(asked.digest, said.status, said.body, now) if asked.key else None
        simulator.books.record(call.change, key=asked.key, saved=keeps)
    events = [(kind, shown(one)) for kind, one in call.change.events]
    simulator.notifier.send(events, asked.plan.notices)
    return said


def _handled(call: Call, asked: Asked) -> Said:
    """The answer. Raises Refusal where nothing was executed."""
    try:
        one = asked.handler(call, **asked.numbers)
        # What is expanded may have been made by this very call.
        known = ChainMap[str, Object](call.change.objects, call.simulator.books.objects)
        return Said(200, shown(one, asked.params.get("expand", ()), known))
    except Refusal as refusal:
        if not refusal.is_kept:
            raise
        return Said(refusal.status, shown(refusal.body()))


def _answer(said: Said) -> Response:
    response = Response(json.dumps(said.body), status=said.status, content_type="application/json")
    response.headers["Request-Id"] = new_id("req")
    if said.is_replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _broken_off() -> Response:
    """An answer that ends before it begins: the length is promised, nothing follows."""
    response = Response(iter(()), content_type="application/json")
    response.headers["Content-Length"] = "1024"
    return response

"""The protocol's face: TMF654 v4.0.0 over the books."""

import hmac
import json
from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request

from lines.carriers.tmf654.simulator import documents, shapes
from lines.carriers.tmf654.simulator.books import GONE, Asked, Books, Refused
from lines.carriers.tmf654.simulator.documents import Answer
from lines.carriers.tmf654.simulator.falsification import Falsification
from lines.carriers.tmf654.simulator.faults import FaultPlan, Work, perform, respond
from lines.carriers.tmf654.simulator.records import Line, Movement, Order

# Given by the operator alone: a client that sends them does not get them back as they were.
_NOT_OFFERED = {
    "/transferBalance": "GET POST",
    "/transferBalance/<_id>": "GET PATCH DELETE",
    "/reserveBalance": "GET POST",
    "/reserveBalance/<_id>": "GET PATCH DELETE",
    "/accumulatedBalance": "GET",
    "/accumulatedBalance/<_id>": "GET",
    "/listener/<_id>": "POST",  # where events arrive at a client, not at an operator
}
_BEGINNING, _END = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
_OPERATORS_OWN = {"id", "href", "status", "requestedDate", "confirmationDate", "amount", "bucket"}


def blueprint(operator: "Operator", *, token: str) -> Blueprint:
    """All of TMF654 that this operator serves."""
    tmf = Blueprint("tmf654", __name__, url_prefix=documents.BASE_PATH)
    tmf.before_request(authorised(token))
    routes: tuple[tuple[str, str, Callable[..., Response]], ...] = (
        ("GET", "/bucket", operator.buckets),
        ("GET", "/bucket/<bucket_id>", operator.one_bucket),
        ("POST", "/topupBalance", operator.topup),
        ("POST", "/adjustBalance", operator.adjust),
        ("GET", "/balanceActionHistory", operator.history),
        ("GET", "/balanceActionHistory/<order_id>", operator.one_movement),
        ("POST", "/hub", operator.subscribe),
        ("DELETE", "/hub/<subscription_id>", operator.unsubscribe),
    )
    for method, path, view in routes:
        tmf.add_url_rule(path, f"{method} {path}", view, methods=[method])
    for kind in ("topup", "adjust"):
        path = f"/{kind}Balance"
        for method, rest, each in (
            ("GET", "", operator.orders),
            ("GET", "/<order_id>", operator.one_order),
            ("PATCH", "/<order_id>", operator.cancel),
            ("DELETE", "/<order_id>", operator.delete),
        ):
            name = f"{method} {path}{rest}"
            tmf.add_url_rule(path + rest, name, each, methods=[method], defaults={"kind": kind})
    for path, methods in _NOT_OFFERED.items():
        tmf.add_url_rule(path, path, _not_offered, methods=methods.split())
    return tmf


class Operator:
    """One method for each operation, over the books, struck by the faults that are planned."""

    def __init__(self, *, books: Books, plan: FaultPlan, falsification: Falsification) -> None:
        self._books = books
        self._plan = plan
        self._falsification = falsification

    def buckets(self) -> Response:
        params = request.args.to_dict()
        # The operator knows a number in either form; a filter on the text would not.
        resource = params.pop("logicalResource.id", "")

        def work() -> Answer:
            lines = [self._here(resource)] if resource else self._all_here()
            now = self._books.now()
            return documents.listing(lines, lambda line: documents.bucket(line, now), params)

        return self._do("GET /bucket", work, resource)

    def one_bucket(self, bucket_id: str) -> Response:
        def work() -> Answer:
            if bucket_id not in self._books.lines:
                raise Refused("unknownBucket", "There is no such bucket.", 404)
            document = documents.bucket(self._here(bucket_id), self._books.now())
            return Answer(documents.projected(document, request.args))

        return self._do("GET /bucket/{id}", work, bucket_id)

    def topup(self) -> Response:
        body = _body()
        return self._do(
            "POST /topupBalance",
            lambda: _created(self._books.topup(_asked(body, shapes.TOPUP))),
            documents.dump(body),
        )

    def adjust(self) -> Response:
        body = _body()
        return self._do(
            "POST /adjustBalance",
            lambda: _created(self._books.adjust(_asked(body, shapes.ADJUSTMENT))),
            documents.dump(body),
        )

    def orders(self, kind: str) -> Response:
        def found(params: dict[str, str]) -> list[Order]:
            field = self._books.reference_field
            if params.get(field):  # through its index; what else is asked is filtered afterwards
                return self._books.orders_with(kind, field, params[field])
            return self._books.orders_with(kind)

        return self._listed(f"GET /{kind}Balance", found, documents.order)

    def one_order(self, order_id: str, kind: str) -> Response:
        def work() -> Answer:
            order = self._order(order_id, kind)
            return Answer(documents.projected(documents.order(order), request.args))

        known = self._books.orders.get(order_id)
        return self._do(f"GET /{kind}Balance/{{id}}", work, str(known.echo) if known else "")

    def cancel(self, order_id: str, kind: str) -> Response:
        """A PATCH of the status: the only change the operator takes, and only before the effect."""
        body = _body()

        def work() -> Answer:
            self._order(order_id, kind)
            if not shapes.STATUS(body) or body["status"] != "cancelled":
                raise Refused("invalidBody", "An order can only be cancelled.")
            return Answer(documents.order(self._books.cancel(order_id)))

        return self._do(f"PATCH /{kind}Balance/{{id}}", work, order_id)

    def delete(self, order_id: str, kind: str) -> Response:
        """As a cancellation; what has taken effect stays in the books."""

        def work() -> Answer:
            self._order(order_id, kind)
            self._books.cancel(order_id)
            return Answer(None, 204)

        return self._do(f"DELETE /{kind}Balance/{{id}}", work, order_id)

    def history(self) -> Response:
        def moved(params: dict[str, str]) -> list[Movement]:
            start = documents.instant(params.pop("confirmationDate.gte", _BEGINNING))
            end = documents.instant(params.pop("confirmationDate.lt", _END))
            movements = self._books.all_movements()  # in the order of their time
            low = bisect_left(movements, start, key=lambda movement: movement.at)
            high = bisect_left(movements, end, key=lambda movement: movement.at)
            return self._falsification.of(movements[low:high], start, end)

        return self._listed("GET /balanceActionHistory", moved, documents.movement)

    def one_movement(self, order_id: str) -> Response:
        def work() -> Answer:
            found = [each for each in self._books.all_movements() if each.order_id == order_id]
            if not found:
                raise Refused("unknownAction", "There is no such action.", 404)
            return Answer(documents.projected(documents.movement(found[-1]), request.args))

        return self._do("GET /balanceActionHistory/{id}", work, order_id)

    def subscribe(self) -> Response:
        body = _body()

        def work() -> Answer:
            if not shapes.SUBSCRIPTION(body):
                raise Refused("invalidBody", "A subscription needs a callback.")
            made = self._books.subscribe(callback=body["callback"], query=body.get("query", ""))
            document = {"id": made.id, "callback": made.callback, "query": made.query}
            return Answer(document, 201, {"Location": f"{documents.BASE_PATH}/hub/{made.id}"})

        return self._do("POST /hub", work)

    def unsubscribe(self, subscription_id: str) -> Response:
        def work() -> Answer:
            self._books.unsubscribe(subscription_id)
            return Answer(None, 204)

        return self._do("DELETE /hub/{id}", work)

    def _do(self, call: str, work: Work, about: str = "") -> Response:
        return perform(self._plan.take(call, about), lambda: _refusable(work))

    def _listed(
        self,
        call: str,
        records: Callable[[dict[str, str]], list[Any]],
        write: Callable[[Any], dict[str, Any]],
    ) -> Response:
        params = request.args.to_dict()
        fault = self._plan.take(call, " ".join(params.values()))
        if fault and fault.kind == "ignore_filter":
            params = {}

        def work() -> Answer:
            found = records(params)
            return documents.listing(found, write, params)

        return perform(fault, lambda: _refusable(work))

    def _order(self, order_id: str, kind: str) -> Order:
        order = self._books.orders.get(order_id)
        if order is None or order.kind != kind:
            raise Refused("unknownOrder", "There is no such order.", 404)
        return order

    def _here(self, resource: str) -> Line:
        line = self._books.line_of(resource)
        if line is None:
            raise Refused("unknownResource", "There is no such line.", 404)
        if line.status in GONE:
            raise Refused(GONE[line.status], "The line has left this operator.", 404)
        return line

    def _all_here(self) -> list[Line]:
        return [line for line in self._books.all_lines() if line.status not in GONE]


def authorised(token: str) -> Callable[[], Response | None]:
    """The check before every request of the protocol."""

    def check() -> Response | None:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if hmac.compare_digest(given, f"Bearer {token}".encode()):
            return None
        return respond(documents.error("unauthorised", "The bearer token is not valid.", 401))

    return check


def _not_offered(_id: str = "") -> Response:
    answer = documents.error("notAllowed", "This operator does not offer this.", 405)
    return respond(answer)


def _body() -> Any:
    """The request's JSON with exact figures; a text that is none of ours when it is no JSON."""
    try:
        return json.loads(request.get_data(), parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError):
        return "not JSON"


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _refusable(work: Work) -> Answer:
    try:
        return work()
    except Refused as refusal:
        return documents.error(refusal.code, refusal.reason, refusal.status)


def _asked(body: Any, shape: shapes.Check) -> Asked:
    """Raises Refused."""
    if not shape(body):
        raise Refused("invalidBody", "The body is not as the document has it.")
    if body["usageType"] != "monetary":
        raise Refused("notMonetary", "This operator keeps monetary buckets only.")
    currency = body["amount"].get("units", "")
    resources = body.get("logicalResource") or [{"id": ""}]
    return Asked(
        bucket_id=body["bucket"]["id"],
        resource=resources[0]["id"],
        amount_minor=documents.minor(body["amount"].get("amount"), currency),
        currency=currency,
        account_id=body.get("partyAccount", {}).get("id", ""),
        echo={name: value for name, value in body.items() if name not in _OPERATORS_OWN},
    )


def _created(order: Order) -> Answer:
    document = documents.order(order)
    return Answer(document, 201, {"Location": document["href"]})

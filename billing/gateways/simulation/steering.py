"""/_control: the routes that every rail's simulator has. JSON, from this machine only."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from ipaddress import ip_address
from typing import Protocol

from flask import Blueprint, Response, abort, jsonify, request

from billing.gateways.simulation.faults import Faults
from billing.gateways.simulation.journal import Entry


class Books(Protocol):
    """What a simulator keeps."""

    def entries(self, *, kind: str = "", since: int = 0) -> list[Entry]: ...


def blueprint(*, refusals: tuple[type[Exception], ...]) -> Blueprint:
    """Of /_control; `refusals` are told to whoever steers, as a 400."""
    made = Blueprint("control", __name__, url_prefix="/_control")
    made.before_request(_loopback_only)
    for refusal in refusals:
        made.register_error_handler(refusal, _unreadable)
    return made


def _loopback_only() -> None:
    if not request.remote_addr or not ip_address(request.remote_addr).is_loopback:
        abort(404)


def _unreadable(error: Exception) -> tuple[Response, int]:
    return jsonify(error=f"{type(error).__name__}: {error}"), 400


def body() -> dict[str, object]:
    """Raises ValueError."""
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        raise ValueError("a JSON object is wanted")
    return found


def only(asked: Mapping[str, object], known: AbstractSet[str]) -> None:
    """Raises ValueError for what nobody knows: a mistyped setting must not pass for set."""
    unknown = ", ".join(sorted(set(asked) - known))
    if unknown:
        raise ValueError(f"unknown: {unknown}")


def text(asked: Mapping[str, object], name: str, default: str | None = None) -> str:
    """A text of the body's. Raises ValueError."""
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value


def seconds(name: str, *, least: int, default: int | None = None) -> int:
    """A number of the body's. Raises ValueError."""
    value = body().get(name, default)
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more")
    return value


def add_journal(to: Blueprint, books: Books) -> None:
    @to.get("/journal")
    def journal() -> Response:
        since = int(request.args.get("since", "0"))
        return jsonify(entries=books.entries(kind=request.args.get("kind", ""), since=since))


def add_faults(to: Blueprint, faults: Faults) -> None:
    @to.get("/faults")
    def standing() -> Response:
        return jsonify(faults=faults.standing())

    @to.post("/faults")
    def order() -> Response:
        faults.order(body())
        return jsonify(faults=faults.standing())

    @to.delete("/faults")
    def clear() -> Response:
        faults.clear()
        return jsonify(faults=[])

"""One call as its handler sees it, and how objects are shown."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

from billing.gateways.simulation.faults import Plan
from billing.gateways.stripe.simulator.books import Change, Object
from billing.gateways.stripe.simulator.refusals import invalid, missing
from billing.gateways.stripe.simulator.state import Simulator

_DEEPEST = 4


@dataclass(slots=True)
class Call:
    """A request that was let in. What `change` collects is written down when it succeeds."""

    simulator: Simulator
    params: dict[str, object]
    now: datetime
    plan: Plan
    change: Change = field(default_factory=Change)

    def get(self, kind: str, number: str, *, param: str = "id") -> Object:
        """A copy to change and to `put`. Raises Refusal: no such object."""
        known = self.change.objects.get(number) or self.simulator.books.objects.get(number)
        if known is None or known["object"] != kind:
            raise missing(kind, number, param)
        return deepcopy(known)

    def text(self, name: str, default: str = "") -> str:
        value = self.params.get(name, default)
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {name}", param=name)
        return value

    def wanted(self, name: str) -> str:
        """Raises Refusal where it is missing or empty."""
        if not self.text(name):
            raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
        return self.text(name)

    def whole(self, name: str) -> int:
        """A positive whole number. Raises Refusal."""
        text = self.wanted(name)
        if not (text.isascii() and text.isdecimal() and 0 < int(text) < 100_000_000):
            raise invalid(f"Invalid integer: {text}", param=name, code="parameter_invalid_integer")
        return int(text)

    def flag(self, name: str) -> bool:
        return self.text(name) == "true"

    def metadata(self) -> dict[str, str]:
        given = self.params.get("metadata", {})
        if not isinstance(given, dict) or any(not isinstance(v, str) for v in given.values()):
            raise invalid("Invalid metadata", param="metadata")
        if any(len(name) > 40 or len(value) > 500 for name, value in given.items()):
            raise invalid("Metadata is too long", param="metadata")
        return dict(given)

    def only(self, *names: str) -> None:
        """Raises Refusal for a parameter that the address does not know, or that this version of
        the API has given up (changelog of 2026-09-30.endive)."""
        if "payment_method_types" in self.params:
            raise invalid(
                "payment_method_types is no longer supported. Use allowed_payment_method_types.",
                param="payment_method_types",
                code="payment_method_types_no_longer_supported",
            )
        unknown = sorted(set(self.params) - {*names, "expand"})
        if unknown:
            raise invalid(
                f"Received unknown parameter: {unknown[0]}",
                param=unknown[0],
                code="parameter_unknown",
            )


def shown(one: Object, expand: object = (), known: Mapping[str, Object] | None = None) -> Object:
    """An object as it is answered: what is the simulator's own left out, ids expanded from
    `known`."""
    copy: Object = {name: _public(item) for name, item in one.items() if not name.startswith("_")}
    paths = expand if isinstance(expand, list) else []
    for path in paths:
        _expand(known or {}, copy, str(path).split("."), str(path))
    return copy


def _public(value: object) -> object:
    if isinstance(value, dict):
        return {name: _public(item) for name, item in value.items() if not name.startswith("_")}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _expand(known: Mapping[str, Object], here: object, path: list[str], whole: str) -> None:
    if len(path) > _DEEPEST:
        raise invalid(f"You cannot expand more than {_DEEPEST} levels", param="expand")
    name, rest = path[0], path[1:]
    if not isinstance(here, dict):
        return
    if name not in here:
        raise invalid(f"This property cannot be expanded ({whole}).", param="expand")
    if name == "data" and isinstance(here[name], list):
        for one in here[name]:
            _expand(known, one, rest, whole)
        return
    if isinstance(here[name], str) and here[name] in known:
        here[name] = _public(known[here[name]])
    if rest:
        _expand(known, here[name], rest, whole)

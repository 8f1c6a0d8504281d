"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

Which kinds there are, and which of them take effect all the same, is each simulator's `Table`.
"""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

_FOREVER = -1
_ORDERS_OWN = ("kind", "method", "reference", "times")


class UnknownFault(ValueError):
    """The control request asks for something that is not in the table."""


@dataclass(frozen=True, slots=True)
class Table:
    """`commits`: the kinds of spoilt answers, and whether the call takes effect. `notices`: the
    kinds of spoilt notifications. `details`: what a chance may say of the faults it makes."""

    commits: Mapping[str, bool]
    notices: frozenset[str]
    details: tuple[str, ...]

    def known(self, kind: str) -> str:
        if kind not in self.commits and kind not in self.notices:
            raise UnknownFault(f"unknown kind of fault: {kind!r}")
        return kind


@dataclass(slots=True)
class Fault:
    """One order. `times` counts down; -1 is for ever."""

    kind: str
    commits: bool
    method: str = "*"
    reference: str = ""
    times: int = 1
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_committed(self) -> bool:
        return bool(self.detail.get("committed", self.commits))

    def fits(self, method: str, reference: str) -> bool:
        is_about_it = self.method in ("*", method) and self.reference in ("", reference)
        return is_about_it and self.times != 0

    def number(self, name: str, default: int) -> int:
        """A detail as a whole number. Raises UnknownFault."""
        value = self.detail.get(name, default)
        if not isinstance(value, int | float | str):
            raise UnknownFault(f"{name} must be a number")
        return int(value)

    def seconds(self, default: int) -> float:
        """How long it takes, parts of a second too. Raises UnknownFault."""
        value = self.detail.get("seconds", default)
        if not isinstance(value, int | float):
            raise UnknownFault("seconds must be a number")
        return value

    def text(self, name: str, default: str = "") -> str:
        return str(self.detail.get(name, default))


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call is to suffer: at most one fault of the answer, any of the notification."""

    answer: Fault | None
    notices: Mapping[str, Fault]


_NOTHING = Plan(None, {})


class Chance:
    """One call in 1/`rate` suffers one of `kinds`; the same seed, the same sequence."""

    def __init__(self, asked: Mapping[str, object], table: Table) -> None:
        seed, rate = asked.get("seed", 0), asked["rate"]
        if not isinstance(seed, int | str) or not isinstance(rate, int | float):
            raise UnknownFault("rate must be a number, seed a number or a text")
        self._random = random.Random(seed)
        self._table = table
        self._rate = rate
        self._kinds = [table.known(kind) for kind in _texts(asked, "kinds")]
        self._methods = frozenset(_texts(asked, "methods"))
        self._detail = {name: asked[name] for name in table.details if name in asked}

    def draw(self, method: str, *, of_notice: bool | None = None) -> Fault | None:
        """`of_notice`: only faults of notifications, or none of them; None: any."""
        kinds = [one for one in self._kinds if of_notice in (None, one in self._table.notices)]
        if not kinds or (self._methods and method not in self._methods):
            return None
        if self._random.random() >= self._rate:
            return None
        kind = self._random.choice(kinds)
        return Fault(kind, self._table.commits.get(kind, True), detail=self._detail)


def _ordered(asked: Mapping[str, object], table: Table) -> Fault:
    """Raises UnknownFault."""
    kind = table.known(_text(asked, "kind", ""))
    times = asked.get("times", 1)
    if not isinstance(times, int):
        raise UnknownFault("times must be a whole number")
    return Fault(
        kind,
        table.commits.get(kind, True),
        method=_text(asked, "method", "*"),
        reference=_text(asked, "reference", ""),
        times=times,
        detail={name: asked[name] for name in asked if name not in _ORDERS_OWN},
    )


def _text(asked: Mapping[str, object], name: str, default: str) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise UnknownFault(f"{name} must be a text")
    return value


def _texts(asked: Mapping[str, object], name: str) -> list[str]:
    values = asked.get(name, [])
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise UnknownFault(f"{name} must be texts")
    return list(values)


class Faults:
    """All orders that stand. Safe to share between threads."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._orders: list[Fault] = []
        self._chance: Chance | None = None

    def order(self, asked: Mapping[str, object]) -> None:
        """Add an order, or set the chance if it has a `rate`. Raises UnknownFault."""
        with self._lock:
            if "rate" in asked:
                self._chance = Chance(asked, self._table)
                return
            self._orders.append(_ordered(asked, self._table))

    def clear(self) -> None:
        with self._lock:
            self._orders, self._chance = [], None

    def standing(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {"kind": one.kind, "method": one.method, "times": one.times} for one in self._orders
            ]

    def plan(self, method: str, reference: str) -> Plan:
        """All that this call and its notifications are to suffer, where the call knows of both."""
        with self._lock:
            if not self._orders and self._chance is None:
                return _NOTHING
            answer = self._ordered_answer(method, reference)
            notices = self._ordered_notices(method, reference)
            drawn = self._chance.draw(method) if self._chance else None
        if drawn is None:
            return Plan(answer, notices)
        if drawn.kind in self._table.notices:
            return Plan(answer, {**notices, drawn.kind: drawn})
        return Plan(answer or drawn, notices)

    def of_answer(self, method: str, reference: str) -> Fault | None:
        """The one fault this call's answer is to suffer; its order is used up."""
        with self._lock:
            ordered = self._ordered_answer(method, reference)
            if ordered or self._chance is None:
                return ordered
            return self._chance.draw(method, of_notice=False)

    def of_notice(self, method: str, reference: str) -> dict[str, Fault]:
        """All faults a notification is to suffer, one of a kind; their orders are used up."""
        with self._lock:
            ordered = self._ordered_notices(method, reference)
            drawn = self._chance.draw(method, of_notice=True) if self._chance else None
            return ordered | ({drawn.kind: drawn} if drawn else {})

    def _ordered_answer(self, method: str, reference: str) -> Fault | None:
        for fault in self._orders:
            if fault.kind not in self._table.notices and fault.fits(method, reference):
                self._use_up(fault)
                return fault
        return None

    def _ordered_notices(self, method: str, reference: str) -> dict[str, Fault]:
        found: dict[str, Fault] = {}
        for fault in self._orders:
            if fault.kind in self._table.notices and fault.fits(method, reference):
                found.setdefault(fault.kind, fault)
        for fault in found.values():
            self._use_up(fault)
        return found

    def _use_up(self, fault: Fault) -> None:
        if fault.times != _FOREVER:
            fault.times -= 1
        if fault.times == 0:
            self._orders.remove(fault)

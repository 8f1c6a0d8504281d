"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds` | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| system_error | 40004 ACQ.SYSTEM_ERROR | no |
| gateway_error | `code` (20000) and `sub_code` (isp.unknow-error), signed | no |
| in_progress | 10003 | no |
| decline | 40004 with `sub_code` | no |
| bad_signature | an answer whose signature is wrong | yes |
| unsigned_error | an error_response without a signature | no |
| http_500, non_json | what they say | no |
| notify_duplicate | the notification `copies` more times | |
| notify_reordered | the notification `seconds` late, after those that follow | |
| notify_forged | a forged copy first | |
| notify_before_answer | the notification before the answer to the call | |
| notify_never | no notification | |

`"committed": true` or `false` overrides the last column, so that each unusable answer can come
with and without its effect.
"""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMMITS = {
    "lose_after": True,
    "lose_before": False,
    "slow": True,
    "late": False,
    "system_error": False,
    "gateway_error": False,
    "in_progress": False,
    "decline": False,
    "bad_signature": True,
    "unsigned_error": False,
    "http_500": False,
    "non_json": False,
}
NOTICE_KINDS = frozenset(
    {
        "notify_duplicate",
        "notify_reordered",
        "notify_forged",
        "notify_before_answer",
        "notify_never",
    }
)
_FOREVER = -1


class UnknownFault(ValueError):
    """The control request asks for something that is not in the table."""


@dataclass(slots=True)
class Fault:
    """One order. `times` counts down; -1 is for ever."""

    kind: str
    method: str = "*"
    reference: str = ""
    times: int = 1
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_committed(self) -> bool:
        return bool(self.detail.get("committed", COMMITS.get(self.kind, True)))

    def fits(self, method: str, reference: str) -> bool:
        return (
            self.times != 0 and self.method in ("*", method) and self.reference in ("", reference)
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call is to suffer: at most one fault of the answer, any of the notification."""

    answer: Fault | None
    notices: Mapping[str, Fault]


class Chance:
    """One call in `rate` suffers one of `kinds`; the same seed, the same sequence."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._random = random.Random(asked.get("seed", 0))
        self._rate = asked["rate"]
        self._kinds = [_known(kind) for kind in asked["kinds"]]
        self._methods = frozenset(asked.get("methods", ()))
        self._detail = {
            key: value for key, value in asked.items() if key in ("seconds", "sub_code", "copies")
        }

    def draw(self, method: str) -> Fault | None:
        if self._methods and method not in self._methods:
            return None
        if self._random.random() >= self._rate:
            return None
        return Fault(kind=self._random.choice(self._kinds), detail=self._detail)


class Faults:
    """All orders that stand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []
        self._chance: Chance | None = None

    def order(self, asked: Mapping[str, Any]) -> None:
        """Add an order, or set the chance if it has a `rate`. Raises UnknownFault."""
        with self._lock:
            if "rate" in asked:
                self._chance = Chance(asked)
                return
            detail = {
                key: value
                for key, value in asked.items()
                if key not in ("kind", "method", "reference", "times")
            }
            self._orders.append(
                Fault(
                    kind=_known(asked.get("kind", "")),
                    method=asked.get("method", "*"),
                    reference=asked.get("reference", ""),
                    times=asked.get("times", 1),
                    detail=detail,
                )
            )

    def clear(self) -> None:
        with self._lock:
            self._orders, self._chance = [], None

    def standing(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {"kind": fault.kind, "method": fault.method, "times": fault.times}
                for fault in self._orders
            ]

    def plan(self, method: str, reference: str) -> Plan:
        """Take what applies to this call; orders of N calls are used up."""
        with self._lock:
            if not self._orders and self._chance is None:
                return _NOTHING
            fitting = [fault for fault in self._orders if fault.fits(method, reference)]
            answer = next((f for f in fitting if f.kind not in NOTICE_KINDS), None)
            notices = {f.kind: f for f in fitting if f.kind in NOTICE_KINDS}
            self._use_up([*notices.values(), *([answer] if answer else [])])
            drawn = self._chance.draw(method) if self._chance else None
        if drawn is None:
            return Plan(answer, notices)
        if drawn.kind in NOTICE_KINDS:
            return Plan(answer, {**notices, drawn.kind: drawn})
        return Plan(answer or drawn, notices)

    def _use_up(self, used: list[Fault]) -> None:
        for fault in used:
            if fault.times != _FOREVER:
                fault.times -= 1
        self._orders = [fault for fault in self._orders if fault.times != 0]


_NOTHING = Plan(None, {})


def _known(kind: str) -> str:
    if kind not in COMMITS and kind not in NOTICE_KINDS:
        raise UnknownFault(f"unknown kind of fault: {kind!r}")
    return kind

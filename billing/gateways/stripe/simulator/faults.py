"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

Methods are named as the SDK's: payment_intents.create, refunds.create, checkout.sessions.list, …

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds`; the idempotency key is in use meanwhile | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| http_500 | 500, nothing begun, nothing saved under the key | no |
| http_500_saved | 500, and the key answers it for 24 hours | no |
| conflict | 409, the key is in use | no |
| rate_limit | 429 | no |
| unauthorized, forbidden | 401, 403 | no |
| garbage | HTML with status 200 | yes |
| half | half of the JSON | yes |
| decline | 402 with `decline_code`, `advice_code`, as the bank's answer | the decline |
| webhook_duplicate | each event of the call `copies` more times | |
| webhook_reordered | the events in the opposite order, `seconds` late | |
| webhook_forged | a forged copy first, under a wrong signature | |
| webhook_before_answer | the events before the answer to the call | |
| webhook_never | no events | |

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
    "http_500": False,
    "http_500_saved": False,
    "conflict": False,
    "rate_limit": False,
    "unauthorized": False,
    "forbidden": False,
    "garbage": True,
    "half": True,
    "decline": True,
}
NOTICE_KINDS = frozenset(
    {
        "webhook_duplicate",
        "webhook_reordered",
        "webhook_forged",
        "webhook_before_answer",
        "webhook_never",
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
            key: value
            for key, value in asked.items()
            if key in ("seconds", "decline_code", "advice_code", "copies")
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

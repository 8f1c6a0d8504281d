"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

A method is the last part of a path (`pappayapply`, `orderquery`, `refund`, …); the announcement's
is `announce`. Notifications are faulted under the method that led to them: `pappayapply`, `refund`,
`sign`, `deletecontract`.

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds` | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| system_error, system_error_after | SYSTEMERROR (v3: 500 SYSTEM_ERROR) | no, yes |
| return_fail | return_code FAIL, unsigned, with `message` | no |
| decline | `code`, signed. With `"final": true`: accepted, and fails with it later | no |
| bad_signature, unsigned | an answer with a wrong signature, or with none | yes |
| http_500, garbage | what they say | no |
| notify_duplicate | the notification `copies` more times | |
| notify_reordered | the notification `seconds` late, after those that follow | |
| notify_forged | a forged copy first | |
| notify_probe | a v3 probe first, whose signature must not verify | |
| notify_before_answer | the notification before the answer to the call | |
| notify_never | no notification | |

`"committed": true` or `false` overrides the last column.
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
    "system_error_after": True,
    "return_fail": False,
    "decline": False,
    "bad_signature": True,
    "unsigned": True,
    "http_500": False,
    "garbage": False,
}
NOTICE_KINDS = frozenset(
    {
        "notify_duplicate",
        "notify_reordered",
        "notify_forged",
        "notify_probe",
        "notify_before_answer",
        "notify_never",
    }
)
_FOREVER = -1
_ORDERS_OWN = ("kind", "method", "reference", "times")


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

    @property
    def is_of_notice(self) -> bool:
        return self.kind in NOTICE_KINDS

    def fits(self, method: str, reference: str) -> bool:
        return self.method in ("*", method) and self.reference in ("", reference)

    def number(self, name: str, default: int) -> int:
        return int(self.detail.get(name, default))


class Chance:
    """One call in 1/`rate` suffers one of `kinds`; the same seed, the same sequence."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._random = random.Random(asked.get("seed", 0))
        self._rate = asked["rate"]
        self._kinds = [_known(kind) for kind in asked["kinds"]]
        self._methods = frozenset(asked.get("methods", ()))
        self._detail = {
            name: asked[name] for name in ("seconds", "code", "copies", "final") if name in asked
        }

    def draw(self, method: str, *, of_notice: bool) -> Fault | None:
        kinds = [kind for kind in self._kinds if (kind in NOTICE_KINDS) == of_notice]
        if not kinds or (self._methods and method not in self._methods):
            return None
        if self._random.random() >= self._rate:
            return None
        return Fault(kind=self._random.choice(kinds), detail=self._detail)


class Faults:
    """All orders that stand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []
        self._chance: Chance | None = None

    def order(self, asked: Mapping[str, Any]) -> None:
        """Add an order, or set the chance if it has a `rate`. Raises ValueError."""
        with self._lock:
            if "rate" in asked:
                self._chance = Chance(asked)
                return
            own = {name: asked[name] for name in _ORDERS_OWN if name in asked}
            detail = {name: asked[name] for name in asked if name not in _ORDERS_OWN}
            _known(own.get("kind", ""))
            self._orders.append(Fault(**own, detail=detail))

    def clear(self) -> None:
        with self._lock:
            self._orders, self._chance = [], None

    def standing(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {"kind": one.kind, "method": one.method, "times": one.times} for one in self._orders
            ]

    def of_answer(self, method: str, reference: str) -> Fault | None:
        """The one fault this call's answer is to suffer; its order is used up."""
        with self._lock:
            for fault in self._orders:
                if not fault.is_of_notice and fault.fits(method, reference):
                    self._use_up(fault)
                    return fault
            return self._chance.draw(method, of_notice=False) if self._chance else None

    def of_notice(self, method: str, reference: str) -> dict[str, Fault]:
        """All faults a notification is to suffer, one of a kind."""
        with self._lock:
            found: dict[str, Fault] = {}
            for fault in list(self._orders):
                if fault.is_of_notice and fault.fits(method, reference):
                    found.setdefault(fault.kind, fault)
            for fault in found.values():
                self._use_up(fault)
            drawn = self._chance.draw(method, of_notice=True) if self._chance else None
            return found | ({drawn.kind: drawn} if drawn else {})

    def _use_up(self, fault: Fault) -> None:
        if fault.times != _FOREVER:
            fault.times -= 1
        if fault.times == 0:
            self._orders.remove(fault)


def _known(kind: str) -> str:
    if kind not in COMMITS and kind not in NOTICE_KINDS:
        raise ValueError(f"unknown kind of fault: {kind!r}")
    return kind

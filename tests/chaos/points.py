"""Named points in a worker's life at which it can be made to die, with no hook in production code.

A forked worker wraps the adapters it calls and the functions it passes through; the wrapping dies
with it. `strike(name)` is called at each point: it may send this very process SIGKILL.
"""

import os
import signal
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from billing.delivery import answers as credit_answers
from billing.delivery import crediting
from billing.engine import incoming
from billing.outside import Outside
from billing.payments import answers, charging
from billing.recharges import aftermath, intents, waking
from billing.refunds import refunding, settled
from billing.rules import openings

Strike = Callable[[str], None]

RAIL_CALLS = {
    "charge": "charge",
    "query": "query",
    "refund": "refund",
    "query_refund": "refund query",
}
CARRIER_CALLS = {"credit": "credit", "query": "delivery query", "reverse": "reverse"}
# Called inside the transaction that records what the name says.
_INSIDE = (
    (openings, "_write_standings", "opening"),
    (intents, "charges", "charge intent"),
    (aftermath, "paid", "payment"),
    (answers, "_mark", "setback"),
    (aftermath, "credited", "credit"),
    (credit_answers, "_mark", "delivery setback"),
    (settled, "leave", "refund"),
    (waking, "_wake", "message"),
)
# Return when the transaction is committed.
_COMMITTED = (
    (openings, "open_due", "opening"),
    (charging, "begin", "charge intent"),
    (charging, "record", "payment"),
    (crediting, "record", "credit"),
    (refunding, "record", "refund"),
    (incoming, "process", "message"),
)


def names() -> list[str]:
    """Every point there is, in the order of a recharge's life."""
    calls = [*RAIL_CALLS.values(), *CARRIER_CALLS.values()]
    return [
        *(f"{when} {call}" for call in calls for when in ("before", "after")),
        *(f"inside {name}" for _, _, name in _INSIDE),
        *(f"committed {name}" for _, _, name in _COMMITTED),
    ]


def install(strike: Strike) -> None:
    """Wrap the functions a worker passes through. For a process that will not outlive its use."""
    for module, function, name in _INSIDE:
        setattr(module, function, _then(getattr(module, function), f"inside {name}", strike))
    for module, function, name in _COMMITTED:
        # An idle worker passes here too, but nothing was committed then.
        wrapped = _then(getattr(module, function), f"committed {name}", strike, only_work=True)
        setattr(module, function, wrapped)


def guarded(outside: Outside, strike: Strike) -> Outside:
    """`outside` with a point before and after every call."""
    made: dict[int, Any] = {}

    def adapter_for(carrier: Any) -> Any:
        adapter = outside.adapter_for(carrier)
        if adapter is None:
            return None
        return made.setdefault(id(adapter), Guarded(adapter, CARRIER_CALLS, strike))

    gateways: dict[str, Any] = {
        rail: Guarded(gateway, RAIL_CALLS, strike) for rail, gateway in outside.gateways.items()
    }
    return Outside(gateways=gateways, adapter_for=adapter_for, notify_url=outside.notify_url)


class Guarded:
    """An adapter with a point before and after each of `calls`."""

    def __init__(self, adapter: Any, calls: Mapping[str, str], strike: Strike) -> None:
        self._adapter = adapter
        for method, name in calls.items():
            setattr(self, method, _around(getattr(adapter, method), name, strike))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


def _around(call: Callable[..., Any], name: str, strike: Strike) -> Callable[..., Any]:
    @wraps(call)
    def struck(*args: Any, **options: Any) -> Any:
        strike(f"before {name}")
        answer = call(*args, **options)
        strike(f"after {name}")
        return answer

    return struck


def _then(
    function: Callable[..., Any], name: str, strike: Strike, *, only_work: bool = False
) -> Callable[..., Any]:
    @wraps(function)
    def struck(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        had_work = result if result is not None else args and args[0]
        if had_work or not only_work:
            strike(name)
        return result

    return struck


class Bomb:
    """Dies at the `passing`-th time that `point` is reached; tells where before it does."""

    def __init__(self, point: str, *, passing: int = 1, tell: Callable[[str], None]) -> None:
        self._point = point
        self._passings = passing
        self._tell = tell

    def __call__(self, name: str) -> None:
        if name != self._point:
            return
        self._passings -= 1
        if self._passings == 0:
            self._tell(name)
            os.kill(os.getpid(), signal.SIGKILL)


def quiet(_name: str) -> None:
    """A strike that never strikes."""

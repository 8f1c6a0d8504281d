"""A limit of 200 calls a second that eight workers share: how much of it they get, and never more.

Each worker has a connection of its own and asks as the executor does, for a handful, as often as it
likes. What was granted is counted by the second it was granted in.
"""

import threading
import time
from collections import Counter
from typing import Any

from django.db import connection

from billing import rates
from billing.models import Rate
from tests import world as w
from tests.factories.billing import RateFactory

KEYS = ("rate_limit_kept",)
PER_S, BURST, WORKERS, HANDFUL = 200, 50, 8, 25


def measure(*, is_quick: bool) -> dict[str, Any]:
    seconds = 4 if is_quick else 10
    w.rail()
    RateFactory(calls_per_s=PER_S, burst=BURST)
    granted: list[tuple[float, int]] = []
    began = time.monotonic()
    workers = [
        threading.Thread(target=_ask, args=(granted, began + seconds)) for _ in range(WORKERS)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    took_s = max(at for at, _ in granted) - began
    total = sum(calls for _, calls in granted)
    most = _most_in_a_second(granted)
    assert most <= PER_S + BURST, f"{most} calls in one second"
    Rate.objects.all().delete()
    return {
        "calls granted": total,
        "most in any second": most,
        "rate_limit_kept": total / (PER_S * took_s),
        "one take, ms": _cost_ms(),
    }


def _ask(granted: list[tuple[float, int]], until: float) -> None:
    try:
        while time.monotonic() < until:
            calls = rates.take(side="rail", code="alipay", wanted=HANDFUL)
            granted.append((time.monotonic(), calls))
            time.sleep(0.02)
    finally:
        connection.close()


def _most_in_a_second(granted: list[tuple[float, int]]) -> int:
    """Of any second, wherever it begins: in tenths."""
    tenths: Counter[int] = Counter()
    for at, calls in granted:
        tenths[int(at * 10)] += calls
    first, last = min(tenths), max(tenths)
    return max(sum(tenths[begin + n] for n in range(9)) for begin in range(first, last + 1))


def _cost_ms() -> float:
    RateFactory(calls_per_s=PER_S, burst=BURST)
    began = time.perf_counter()
    for _ in range(500):
        rates.take(side="rail", code="alipay", wanted=1)
    took_s = time.perf_counter() - began
    Rate.objects.all().delete()
    return took_s / 500 * 1000

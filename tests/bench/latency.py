"""The executor at the speed of real rails: 0.3 s and 0.8 s a call on both legs, beside itself with
answers at once; and one of two rails that hangs, beside both well.

One process, the same database, the same run, in turn. The rail and the carrier sleep in memory and
keep books: at the end each reference was charged once and each order credited once.
"""

import resource
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from billing.engine import executor
from billing.gateways.base import Answer, Capabilities, ChargeRequest
from billing.ledger import verification
from billing.models import Recharge
from billing.outside import Outside
from lines.carriers.base import CreditAnswer, CreditRequest
from lines.secrets_at_rest import encrypt
from tests import world as w
from tests.bench import instant, population

OWNERS = 500
HANGS_S = 10.0
KEYS = (
    "latency_300ms_vs_zero",
    "latency_800ms_vs_zero",
    "hanging_rail_healthy_share",
    "rss_mib_in_flight",
)


class Books:
    """What was really sent. `list.append` is whole, whichever thread does it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def twice(self) -> list[str]:
        return [reference for reference, times in Counter(self.sent).items() if times > 1]


class SlowGateway(instant.InstantGateway):
    def __init__(self, books: Books, *, rail: str, latency_s: float) -> None:
        self.capabilities = Capabilities(rail=rail, currencies=frozenset({"CNY"}))
        self._books, self._latency_s = books, latency_s

    def charge(self, *, request: ChargeRequest) -> Answer:
        self._books.sent.append(request.reference)
        if self._latency_s:
            time.sleep(self._latency_s)
        return super().charge(request=request)


class SlowCarrier(instant.InstantCarrier):
    def __init__(self, books: Books, *, latency_s: float) -> None:
        self._books, self._latency_s = books, latency_s

    def credit(self, *, request: CreditRequest) -> CreditAnswer:
        self._books.sent.append(request.reference)
        if self._latency_s:
            time.sleep(self._latency_s)
        return super().credit(request=request)


class Town:
    """Rails, a carrier, people; and their books."""

    def __init__(self, *, rails: tuple[str, ...]) -> None:
        self.books = Books()
        self._rails = rails
        self._carrier = w.carrier(notice_before_deduction_h=0)
        for rail in rails:
            w.rail(rail)
        population.people(OWNERS, sealed=encrypt("agreement", keys=settings.ENCRYPTION_KEYS))
        _spread(rails)
        self._next = 1

    def fill(self, count: int) -> None:
        """So many more rules that are due."""
        first, self._next = self._next, self._next + count
        population.rules(
            carrier_id=self._carrier.pk,
            first=first,
            last=self._next - 1,
            owners=OWNERS,
            due=count,
        )
        population.analyze()

    def outside(self, *, latency_s: float, **of_rail: float) -> Outside:
        rails = of_rail or dict.fromkeys(self._rails, latency_s)
        gateways = {
            rail: SlowGateway(self.books, rail=rail, latency_s=seconds)
            for rail, seconds in rails.items()
        }
        carrier = SlowCarrier(self.books, latency_s=latency_s)
        return Outside(
            gateways=gateways,  # type: ignore[arg-type]
            adapter_for=lambda _carrier: carrier,  # type: ignore[arg-type,return-value]
            notify_url=lambda rail: f"http://127.0.0.1/hooks/{rail}/notify",
        )

    def audit(self) -> None:
        assert verification.verify().violations == {}, "the bench broke the books"
        assert self.books.twice() == [], "a reference was sent twice"


def _spread(rails: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for place, rail in enumerate(rails):
            cursor.execute(
                "UPDATE billing_binding SET rail = %s WHERE id %% %s = %s",
                [rail, len(rails), place],
            )


def measure(*, is_quick: bool) -> dict[str, Any]:
    town = Town(rails=("alipay", "wechat"))
    few, many = (2_000, 3_000) if is_quick else (6_000, 15_000)
    _rate(town, 400, latency_s=0)
    zero = _rate(town, few, latency_s=0)
    slow = _rate(town, many, latency_s=0.3)
    slower = _rate(town, many, latency_s=0.8)
    zero = (zero + _rate(town, few, latency_s=0)) / 2
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    window_s = 10.0 if is_quick else 20.0
    plenty = int(1.5 * zero * window_s)  # more is due than can be done
    well = _healthy(town, plenty, seconds=window_s, wechat_s=0.3)
    beside_one_that_hangs = _healthy(town, plenty, seconds=window_s, wechat_s=HANGS_S)
    town.audit()
    return {
        "zero latency, a second": zero,
        "0.3 s a call, a second": slow,
        "0.8 s a call, a second": slower,
        "latency_300ms_vs_zero": slow / zero,
        "latency_800ms_vs_zero": slower / zero,
        "one of two rails, both well, a second": well,
        "one of two rails, the other hangs 10 s, a second": beside_one_that_hangs,
        "hanging_rail_healthy_share": beside_one_that_hangs / well,
        "rss_mib_in_flight": rss_mib,
    }


def _rate(town: Town, count: int, *, latency_s: float) -> float:
    town.fill(count)
    before = _done()
    outside = town.outside(latency_s=latency_s)
    began = time.perf_counter()
    executor.run(clock=lambda: datetime.now(UTC), outside=outside, budget_s=600)
    seconds = time.perf_counter() - began
    assert _done() - before == count, "not all were recharged"
    return count / seconds


def _healthy(town: Town, due: int, *, seconds: float, wechat_s: float) -> float:
    """What alipay's are credited a second while more is due than can be done."""
    town.fill(due)
    outside = town.outside(latency_s=0.3, alipay=0.3, wechat=wechat_s)
    began = datetime.now(UTC) + timedelta(seconds=2)  # till then it fills
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    executor.run(clock=lambda: datetime.now(UTC), outside=outside, budget_s=seconds)
    done = Recharge.objects.filter(rail="alipay", completed_at__range=(began, ends)).count()
    left = town.outside(latency_s=0)
    executor.run(clock=lambda: datetime.now(UTC), outside=left, budget_s=600)
    return done / (ends - began).total_seconds()


def _done() -> int:
    return Recharge.objects.filter(state="completed").count()

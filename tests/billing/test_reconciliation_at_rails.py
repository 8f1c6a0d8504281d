"""WeChat Pay's bill and Stripe's ledger beside our books: honest ones agree, and each lie is found.

The rails are the real simulators over HTTP, in their own time; the carrier is in memory.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.engine import executor
from billing.models import (
    Difference,
    PaymentAttempt,
    Rail,
    Recharge,
    Refund,
    SourceKind,
    Statement,
    Transfer,
)
from billing.outside import Outside
from billing.reconciliation import days, statements
from billing.reference_data import load
from billing.refunds import approvals
from billing.rules import by_hand
from tests import world as w
from tests.fakes import FakeCarrier
from tests.rails import stripe_world, wechat_world
from tests.rails.stripe_simulator import start_stripe
from tests.rails.wechat_simulator import start_wechat

pytestmark = [pytest.mark.processes, pytest.mark.django_db]

DAY = timedelta(days=1)


@dataclass
class Shop:
    """One rail's simulator, our books, and a day in both."""

    code: str
    simulator: Any
    outside: Outside
    at: datetime

    @property
    def day(self) -> date:
        zone = self.outside.capabilities[self.code].statement_timezone
        return self.at.astimezone(ZoneInfo(zone)).date()

    def bind(self, reference: str) -> str:
        if self.code == "stripe":
            return str(self.simulator.bind(reference))
        signed: str = self.simulator.agree(reference)
        self.simulator.age(signed)
        return signed

    def recharge(self) -> Recharge:
        line = w.line(balance_observed_at=self.at)
        tool = w.binding(line.owner, rail=Rail.objects.get(code=self.code))
        tool.provider_ref = self.bind(tool.ref)
        tool.save()
        made = by_hand.recharge(
            line=line,
            binding=tool,
            face_minor=5000,
            owner=line.owner,
            idempotency_key=tool.ref,
            at=self.at,
        )
        self.work()
        return Recharge.objects.get(pk=made.pk)

    def work(self) -> None:
        """Now, and once more when a rail that only accepts has had the time to be asked."""
        for at in (self.at, self.at + timedelta(minutes=2), self.at + timedelta(minutes=15)):
            while executor.run_batch(at=at, outside=self.outside).total:
                pass

    def give_back(self, recharge: Recharge, amount_minor: int) -> Refund:
        asked = approvals.request(
            recharge=recharge,
            amount_minor=amount_minor,
            reason="asked",
            requested_by=w.person("oliver"),
            at=self.at,
        )
        approvals.approve(refund=asked, approved_by=w.person("cora"), at=self.at)
        self.work()
        return Refund.objects.get(pk=asked.pk)

    def lie(self, **asked: Any) -> None:
        path = "statement" if self.code == "stripe" else "bills"
        self.simulator.control("DELETE", path)
        if asked:
            self.simulator.control("POST", path, asked)

    def compare(self) -> list[tuple[str, str]]:
        """Fetch the day's statement anew; (kind, reference) of each open difference."""
        for row in Statement.objects.all():
            statements.ask_again(statement=row, at=self.at)
        source = days.source_named(kind=SourceKind.RAIL, code=self.code, outside=self.outside)
        done = days.run_one(source=source, day=self.day, clock=lambda: self.at + 6 * DAY)
        assert done is not None
        assert done.state == "done", Statement.objects.get().last_error
        still = Difference.objects.filter(state="open")
        return sorted(still.values_list("kind", "our_ref"))


def shop_of(code: str, simulator: Any, gateway: Any) -> Shop:
    load()
    w.carrier()
    carrier = FakeCarrier()
    outside = Outside(
        gateways={code: gateway},
        adapter_for=lambda _carrier: carrier,  # type: ignore[arg-type,return-value]
        notify_url=lambda _rail: "http://127.0.0.1:9/nobody",
    )
    return Shop(code, simulator, outside, simulator.now())


@pytest.fixture(params=["wechat", "stripe"])
def shop(request: Any, tmp_path: Any) -> Any:
    """Three recharges on one day, a part of the last given back; and the day after tomorrow."""
    if request.param == "wechat":
        with start_wechat(tmp_path, mode="none") as wechat:
            wechat.relax()
            hour = wechat.now().hour
            wechat.advance(((12 - hour) % 24) * 3600 + 1)  # open, and far from midnight
            gateway = wechat_world.gateway_of(wechat, WECHAT_NOTICE_MODE="none")
            yield shop_of("wechat", wechat, gateway)
    else:
        with start_stripe(tmp_path) as stripe:
            stripe.advance(((12 - stripe.now().hour) % 24) * 3600 + 1)
            yield shop_of("stripe", stripe, stripe_world.gateway_of(stripe))


def reference_of(recharge: Recharge) -> str:
    return str(PaymentAttempt.objects.get(recharge=recharge, state="succeeded").reference)


def test_an_honest_statement_agrees_and_each_lie_is_found(shop: Shop) -> None:
    done = [shop.recharge() for _ in range(3)]
    assert {one.state for one in done} == {"completed"}
    refund = shop.give_back(done[-1], 2000)
    assert refund.state == "succeeded"
    first, second, _third = (reference_of(one) for one in done)
    shop.simulator.advance(2 * 24 * 3600)

    assert shop.compare() == []
    assert Transfer.objects.filter(kind="fee").count() == 3

    shop.lie(kind="missing", reference=first)
    assert shop.compare() == [("missing_theirs", first)]
    shop.lie(kind="amount", reference=second, amount_minor=4999)
    assert ("amount", second) in shop.compare()
    stranger = {"reference": "SHOP7"} if shop.code == "stripe" else {"reference": second}
    shop.lie(kind="extra", amount_minor=700, extra_reference="SHOP7", **stranger)
    assert shop.compare() == [("missing_ours", "SHOP7")]
    shop.lie()
    assert shop.compare() == []
    w.assert_balanced()

"""A busy hour on all rails at once, a fifth of all answers bad: afterwards every book agrees.

Real adapters, the real executor and inbox, notifications through the real hook, three rails and a
carrier as processes with journals of their own. Time is virtual, a minute a step.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import cycle
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from billing import gateways, tasks
from billing.engine import sweeps
from billing.gateways.wechat.adapter import WechatGateway
from billing.models import Binding, Rail, Recharge, Refund
from billing.reference_data import load
from billing.refunds import approvals
from billing.rules import readings
from billing.rules.balances import Reading
from tests import world as w
from tests.chaos.scene import PLENTY_MINOR, Scene, open_scene
from tests.rails import simulators as alipay_
from tests.rails import wechat_simulator as wechat_
from tests.rails.stripe_simulator import StripeSimulator, start_stripe
from tests.rails.wechat_simulator import WechatSimulator, start_wechat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

MINUTE = timedelta(minutes=1)
LINES = 30
SEED = 20261122
# Over with, or honestly with its payer or a person.
AT_REST = {"completed", "failed", "canceled", "missed", "refunded", "action_required"}


@dataclass
class Hour:
    """Four simulators, thirty lines, and the present instant."""

    scene: Scene
    wechat: WechatSimulator
    stripe: StripeSimulator
    at: datetime
    lines: list[Any] = field(default_factory=list)

    def people(self) -> None:
        """Every rail has payers with money, without, and such as are refused for good."""
        payers = cycle(
            [
                ("alipay", alipay_.RICH),
                ("wechat", wechat_.RICH),
                ("stripe", "good"),
                ("alipay", alipay_.RICH),
                ("wechat", wechat_.RICH),
                ("stripe", "mastercard"),
                ("alipay", alipay_.POOR),
                ("wechat", wechat_.POOR),
                ("stripe", "poor"),
                ("alipay", alipay_.FROZEN),
                ("wechat", wechat_.FROZEN),
                ("stripe", "authenticate"),
            ]
        )
        for number in range(LINES):
            rail, payer = next(payers)
            owner = w.person(f"payer{number}")
            rule = self.scene.rule(
                owner,
                binding=self._bound(owner, rail, payer),
                balance_minor=5000,
                cooldown_s=60,
                max_per_day_count=9,
                max_per_month_minor=100_000,
            )
            self.lines.append(rule.line)

    def _bound(self, owner: Any, rail: str, payer: str) -> Binding:
        made = w.binding(owner, rail=Rail.objects.get(code=rail))
        if rail == "alipay":
            made.provider_ref = self.scene.alipay.agree(made.ref, payer=payer)
        elif rail == "wechat":
            made.provider_ref = self.wechat.agree(made.ref, payer=payer)
            self.wechat.age(made.provider_ref)
        else:
            made.provider_ref = self.stripe.bind(made.ref, card=payer)
        made.save(update_fields=["provider_ref"])
        return made

    # --- trouble ------------------------------------------------------------------------------

    def trouble(self) -> None:
        common = ["lose_after", "lose_before", "http_500"]
        self.scene.alipay.chance(
            rate=0.2,
            kinds=[*common, "bad_signature", "notify_duplicate", "notify_forged", "notify_never"],
            seed=SEED,
        )
        self.wechat.chance(
            rate=0.2,
            kinds=[*common, "system_error_after", "bad_signature", "notify_duplicate"],
            seed=SEED,
        )
        self.stripe.chance(
            rate=0.2,
            kinds=[*common, "conflict", "rate_limit", "webhook_duplicate", "webhook_forged"],
            seed=SEED,
        )
        self.scene.carrier.fault("lose_after", "POST /topupBalance", probability=0.08)
        self.scene.carrier.fault("reject", "POST /topupBalance", probability=0.05, code="lineBusy")

    def calm(self) -> None:
        self.scene.calm()
        self.wechat.calm()
        self.stripe.calm()

    # --- time ---------------------------------------------------------------------------------

    def step(self, by: timedelta) -> None:
        self.at += by
        sweeps.money(clock=lambda: self.at, outside=tasks.outside(), budget_s=60)

    def run_low(self, number: int, balance_minor: int) -> None:
        line = self.lines[number % LINES]
        readings.push(reading=Reading(line.pk, balance_minor, self.at), at=self.at)

    def busy_hour(self) -> None:
        """Each line runs low twice, half an hour apart, and is full in between."""
        for minute in range(60):
            self.run_low(minute, 900)
            if minute >= 20:
                self.run_low(minute - 15, 7000)
            self.step(MINUTE)

    def give_back(self) -> None:
        """Of each rail, a whole recharge and a part of another, asked for and approved."""
        asks, approves = w.person("support"), w.person("finance")
        for rail in ("alipay", "wechat", "stripe"):
            done = Recharge.objects.filter(rail=rail, state="completed").order_by("pk")[:2]
            for recharge, amount_minor in zip(done, (recharge_price(done[0]), 1000), strict=False):
                refund = approvals.request(
                    recharge=recharge,
                    amount_minor=amount_minor,
                    reason="asked",
                    requested_by=asks,
                    at=self.at,
                )
                approvals.approve(refund=refund, approved_by=approves, at=self.at)

    def settle(self) -> None:
        """What a bad answer left open is asked about, ever less often, for a day."""
        for span in (MINUTE,) * 10 + (10 * MINUTE,) * 12 + (60 * MINUTE,) * 6:
            self.step(span)


def recharge_price(recharge: Recharge) -> int:
    return int(recharge.price_minor)


def noon() -> datetime:
    """Of today in Beijing: within the hours of every rail, whenever this runs."""
    beijing = ZoneInfo("Asia/Shanghai")
    return datetime.combine(timezone.now().astimezone(beijing).date(), time(12), beijing)


@pytest.fixture
def hour(tmp_path: Any, settings: Any, live_server: Any) -> Iterator[Hour]:
    with ExitStack() as stack:
        scene = stack.enter_context(open_scene(tmp_path))
        wechat = stack.enter_context(start_wechat(tmp_path, mode="none"))
        stripe = stack.enter_context(start_stripe(tmp_path))
        hook = f"{live_server.url}/hooks"
        for name, value in scene.settings(public_url=live_server.url).items():
            setattr(settings, name, value)
        settings.RAILS = {
            "alipay": scene.alipay.settings(),
            "wechat": wechat.settings(WECHAT_NOTICE_MODE="none"),
            "stripe": stripe.settings(),
        }
        settings.SIMULATORS = {
            "alipay": scene.alipay.url,
            "wechat": wechat.url,
            "stripe": stripe.url,
            "carrier": scene.carrier.url,
        }
        wechat.relax()
        wechat.payer(wechat_.RICH, balance_minor=PLENTY_MINOR, daily_limit_minor=PLENTY_MINOR)
        wechat.set(
            contract_notify_url=f"{hook}/wechat/notify", refund_notify_url=f"{hook}/wechat/notify"
        )
        stripe.set(webhook_url=f"{hook}/stripe/notify")
        load()
        Rail.objects.update(retry_ladder_s=[120, 240, 480])
        made = Hour(scene, wechat, stripe, noon())
        # The one that names hours ("ask again at") must name them by the clock of this hour.
        in_time = WechatGateway.from_settings(
            settings.RAILS["wechat"], timeout_s=settings.CALL_TIMEOUT_S, clock=lambda: made.at
        )
        stack.enter_context(gateways.override("wechat", in_time))
        made.calm()
        yield made


def test_a_busy_hour_on_every_rail_leaves_books_that_agree(hour: Hour) -> None:
    hour.people()
    hour.trouble()
    hour.busy_hour()
    hour.give_back()
    hour.calm()
    hour.settle()

    report = hour.scene.report()
    assert report["violations"] == {}
    assert report["books"]["differences"] == {}
    states = Counter(Recharge.objects.values_list("rail", "state"))
    # A card that was refused too often waits for its next try, in its window: the simulator has one
    # of each kind, whoever holds it.
    settled = Recharge.objects.exclude(state="waiting", reason="tries_spent")
    assert set(settled.values_list("state", flat=True)) <= AT_REST
    for rail in ("alipay", "wechat", "stripe"):
        assert states[rail, "completed"] >= 5
        assert states[rail, "failed"] >= 1
        given = Refund.objects.filter(recharge__rail=rail, approved_by__isnull=False)
        assert list(given.values_list("state", flat=True)) == ["succeeded"] * 2
    assert states["stripe", "action_required"] >= 1

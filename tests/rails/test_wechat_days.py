"""Days at WeChat Pay, in virtual time: from a rule to a credited line, over real HTTP.

One clock for all: the executor's, the adapter's and the simulator's, moved together. Its rules are
the vendor's own (07:00-22:00 Beijing, a notice ahead, one deduction a contract a day), and what
really happened is what its journal says.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing import executor, intake, verification
from billing.executor import Outside
from billing.intake import Reading
from billing.models import Binding, Notice, Rail, Recharge, Rule
from billing.reference_data import load
from lines.models import Delivery, Line
from tests import world as w
from tests.fakes import FakeCarrier
from tests.rails.contract import new_ref
from tests.rails.wechat_simulator import POOR, RICH, WechatSimulator, start_wechat
from tests.rails.wechat_world import ANNOUNCE, APPLY, gateway_of

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

BEIJING = ZoneInfo("Asia/Shanghai")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Days:
    """A WeChat Pay, a carrier in memory, and the time in which both and we live."""

    wechat: WechatSimulator
    mode: str
    at: datetime = w.NOON
    carrier: FakeCarrier = field(default_factory=FakeCarrier)
    journal_began: int = 0

    def __post_init__(self) -> None:
        self.at = self.wechat.now()
        self.journal_began = len(self.wechat.journal())
        gateway = gateway_of(self.wechat, WECHAT_NOTICE_MODE=self.mode)
        self.outside = Outside(
            gateways={"wechat": gateway},
            adapter_for=lambda _carrier: self.carrier,  # type: ignore[arg-type,return-value]
            notify_url=lambda _rail: "http://127.0.0.1:9/nobody",
        )

    # --- people -------------------------------------------------------------------------------

    def binding(self, *, payer: str = RICH, is_fresh: bool = False) -> Binding:
        reference = new_ref("B")
        contract_id = self.wechat.agree(reference, payer=payer)
        if not is_fresh:
            self.wechat.age(contract_id, by_s=30 * 3600)
        return w.binding(
            rail=Rail.objects.get(code="wechat"),
            provider_ref=contract_id,
            signed_at=self.at if is_fresh else self.at - 30 * HOUR,
        )

    def line(self, balance_minor: int) -> Line:
        return w.line(balance_minor=balance_minor, balance_observed_at=self.at)

    def low(self, *, binding: Binding | None = None, **more: Any) -> Rule:
        """A line below its threshold, awake."""
        line = self.line(980)
        return w.rule(line, binding=binding or self.binding(), wake_at=self.at, **more)

    def scheduled(self, *, due_at: datetime, lead: timedelta) -> Rule:
        return w.rule(
            self.line(5000),
            binding=self.binding(),
            threshold_minor=None,
            cycle="monthly",
            anchor_date=due_at.astimezone(BEIJING).date(),
            charge_time=due_at.astimezone(BEIJING).time(),
            next_run_at=due_at,
            wake_at=due_at - lead,
            lead_s=int(lead.total_seconds()),
        )

    # --- time ---------------------------------------------------------------------------------

    def until_clock(self, hour: int, minute: int = 0) -> None:
        """To the next time it is that late in Beijing."""
        local = self.at.astimezone(BEIJING)
        then = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        self.pass_(then - local if then > local else then + DAY - local)

    def pass_(self, span: timedelta) -> None:
        """Nobody works meanwhile."""
        self.wechat.advance(int(span.total_seconds()))
        self.at += span

    def work(self) -> None:
        while executor.run_batch(at=self.at, outside=self.outside).total:
            pass

    def live(self, span: timedelta, *, step: timedelta = HOUR) -> None:
        """Work at every step of it."""
        for _ in range(span // step):
            self.work()
            self.pass_(step)
        self.work()

    # --- what really happened -----------------------------------------------------------------

    def journal(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.wechat.journal()[self.journal_began :] if one["kind"] == kind]

    def assert_kept(self) -> None:
        """What must be true of any days at all."""
        w.assert_balanced()
        theirs = [
            verification.Effect(one["kind"], one["reference"], one["amount_minor"])
            for kind in ("charge", "refund")
            for one in self.journal(kind)
        ]
        ours = [one for one in verification.ours() if one.kind in ("charge", "refund")]
        assert verification.compare(mine=ours, theirs=theirs) == {}
        for kind in ("announcement", "order"):
            hours = {self.hour(one) for one in self.journal(kind)}
            assert all(7 <= hour < 22 for hour in hours)
        prices = set(Recharge.objects.values_list("price_minor", flat=True))
        assert {one["amount_minor"] for one in self.journal("charge")} <= prices

    @staticmethod
    def hour(entry: dict[str, Any]) -> int:
        return datetime.fromisoformat(entry["at"]).astimezone(BEIJING).hour


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with start_wechat(tmp_path_factory.mktemp("days"), mode="24h") as simulator:
        yield simulator


def days_of(running: WechatSimulator, mode: str) -> Days:
    running.as_it_began()
    running.set(mode=mode, enforce_hours=True, max_day_minor=10**9)
    load()
    w.carrier()
    days = Days(running, mode)
    days.until_clock(12)
    return days


def only() -> Recharge:
    return Recharge.objects.get()


class TestNoticeAhead:
    """Mode B: announced by us, deducted two days later at the earliest."""

    @pytest.fixture
    def days(self, running: WechatSimulator) -> Days:
        return days_of(running, "notify")

    def test_a_low_balance_is_announced_then_charged_then_credited(self, days: Days) -> None:
        days.low()
        days.work()
        recharge = only()
        assert (recharge.state, recharge.reason) == ("waiting", "announced")
        assert recharge.earliest_charge_at.astimezone(BEIJING).hour == 7
        assert len(days.journal("announcement")) == 1
        assert days.journal("charge") == []

        days.live(DAY)
        assert days.journal("charge") == []
        days.live(2 * DAY)
        assert only().state == "completed"
        [charge] = days.journal("charge")
        assert (charge["amount_minor"], days.hour(charge)) == (5000, 7)
        assert len(days.journal("announcement")) == 1
        assert days.carrier.credits == {only_delivery(): [5000]}
        days.assert_kept()

    def test_a_scheduled_charge_is_made_on_its_day_and_hour(self, days: Days) -> None:
        due_at = days.at + 5 * DAY
        days.scheduled(due_at=due_at, lead=2 * DAY)
        days.live(6 * DAY, step=3 * HOUR)
        [charge] = days.journal("charge")
        when = datetime.fromisoformat(charge["at"])
        assert timedelta(0) <= when - due_at < timedelta(minutes=1)
        assert only().state == "completed"
        days.assert_kept()

    def test_at_night_nothing_is_announced_and_nothing_charged(self, days: Days) -> None:
        days.until_clock(22, 30)
        days.low()
        days.work()
        assert (only().reason, days.journal("announcement")) == ("outside_hours", [])
        days.live(9 * HOUR)
        assert (only().reason, len(days.journal("announcement"))) == ("announced", 1)
        days.live(3 * DAY)
        assert only().state == "completed"
        days.assert_kept()

    @pytest.mark.parametrize("kind", ["lose_before", "lose_after"])
    def test_a_lost_notice_is_sent_again_and_counts_once(self, days: Days, kind: str) -> None:
        days.wechat.fault(ANNOUNCE, kind)
        days.low()
        days.work()
        assert only().reason == "announcing"
        days.live(timedelta(minutes=3), step=timedelta(minutes=1))
        assert only().reason == "announced"
        assert len(days.journal("announcement")) == 1
        days.live(3 * DAY)
        assert only().state == "completed"
        days.assert_kept()

    def test_too_little_money_is_tried_again_in_the_window_with_a_new_number(
        self, days: Days
    ) -> None:
        Rail.objects.filter(code="wechat").update(retry_ladder_s=[6 * 3600, 24 * 3600])
        days.low(binding=days.binding(payer=POOR))
        days.live(3 * DAY)
        assert only().declines >= 1
        assert days.journal("charge") == []
        days.wechat.payer(POOR, balance_minor=100_00)
        days.live(2 * DAY)
        assert only().state == "completed"
        numbers = [one["reference"] for one in days.journal("order")]
        assert len(numbers) == len(set(numbers)) >= 2
        assert len(days.journal("announcement")) == 1
        days.assert_kept()

    def test_two_lines_on_one_contract_take_turns(self, days: Days) -> None:
        shared = days.binding()
        days.low(binding=shared)
        days.low(binding=shared)
        days.live(8 * DAY, step=3 * HOUR)
        assert list(Recharge.objects.values_list("state", flat=True)) == ["completed"] * 2
        first, second = (datetime.fromisoformat(one["at"]) for one in days.journal("charge"))
        assert second - first >= DAY
        assert len(days.journal("announcement")) == 2
        days.assert_kept()

    def test_a_payer_who_leaves_meanwhile_is_not_charged_and_is_told(self, days: Days) -> None:
        rule = days.low()
        days.work()
        days.wechat.revoke(rule.binding.provider_ref)
        days.live(3 * DAY)
        assert only().state in ("failed", "canceled")
        assert days.journal("charge") == []
        assert Notice.objects.filter(kind="not_recharged").count() == 1
        days.assert_kept()

    def test_a_line_that_will_run_out_is_announced_before_it_is_low(self, days: Days) -> None:
        line = w.line(balance_minor=None, balance_observed_at=None)
        w.rule(line, binding=days.binding(), lead_s=2 * 86_400)
        start = days.at - 5 * DAY
        for day in range(6):
            at = start + day * DAY
            intake.push(reading=Reading(line.pk, 5900 - 800 * day, at), at=at)
        days.work()
        assert (only().state, only().reason) == ("waiting", "announced")
        days.live(3 * DAY)
        assert only().state == "completed"
        days.assert_kept()


def only_delivery() -> str:
    return str(Delivery.objects.get().reference)


class TestADayLater:
    """Mode A: WeChat Pay tells the payer, and deducts 24 hours after it was asked."""

    @pytest.fixture
    def days(self, running: WechatSimulator) -> Days:
        return days_of(running, "24h")

    def test_a_low_balance_is_charged_a_day_later_and_credited(self, days: Days) -> None:
        days.low()
        days.work()
        assert (only().state, days.journal("charge")) == ("payment_pending", [])
        expected_at = only().earliest_charge_at
        assert timedelta(0) <= expected_at - (days.at + DAY) <= HOUR
        days.live(26 * HOUR)
        assert only().state == "completed"
        assert len(days.journal("order")) == 1
        days.assert_kept()

    def test_a_scheduled_charge_moves_money_on_its_day(self, days: Days) -> None:
        due_at = days.at + 3 * DAY
        days.scheduled(due_at=due_at, lead=DAY)
        days.live(4 * DAY)
        [charge] = days.journal("charge")
        assert timedelta(0) <= datetime.fromisoformat(charge["at"]) - due_at < timedelta(minutes=1)
        assert only().state == "completed"
        days.assert_kept()

    def test_a_fresh_contract_is_charged_at_once_and_not_asked_again(self, days: Days) -> None:
        days.low(binding=days.binding(is_fresh=True))
        days.live(timedelta(minutes=5), step=timedelta(minutes=1))
        assert only().state == "completed"
        assert len(days.journal("order")) == 1
        days.assert_kept()

    def test_an_answer_that_is_lost_orders_nothing_twice(self, days: Days) -> None:
        days.wechat.fault(APPLY, "lose_after")
        days.low()
        days.live(26 * HOUR)
        days.live(30 * HOUR)
        assert only().state == "completed"
        assert len(days.journal("charge")) == 1
        days.assert_kept()

    def test_we_may_be_away_when_the_money_moves(self, days: Days) -> None:
        days.low()
        days.work()
        days.pass_(3 * DAY)
        days.work()
        assert only().state == "completed"
        days.assert_kept()

    def test_a_payer_who_leaves_in_those_hours_is_not_charged(self, days: Days) -> None:
        rule = days.low()
        days.work()
        days.wechat.revoke(rule.binding.provider_ref)
        days.live(26 * HOUR)
        assert only().state == "failed"
        assert days.journal("charge") == []
        assert days.carrier.credits == {}
        days.assert_kept()

    def test_too_little_money_is_tried_again_with_a_new_number(self, days: Days) -> None:
        Rail.objects.filter(code="wechat").update(retry_ladder_s=[6 * 3600, 24 * 3600])
        days.low(binding=days.binding(payer=POOR))
        days.live(26 * HOUR)
        assert only().declines == 1
        days.wechat.payer(POOR, balance_minor=100_00)
        days.live(48 * HOUR)
        assert only().state == "completed"
        assert len({one["reference"] for one in days.journal("order")}) == 2
        days.assert_kept()


@pytest.mark.parametrize("mode", ["24h", "notify"])
def test_six_lines_through_four_days_of_lost_answers(running: WechatSimulator, mode: str) -> None:
    days = days_of(running, mode)
    days.wechat.set(max_charges_per_day=100)  # five of the lines are one person's
    for number in range(6):
        days.low(binding=days.binding(payer=POOR if number == 5 else RICH))
    days.wechat.chance(rate=0.25, kinds=["lose_before", "lose_after", "http_500"], seed=20261122)
    days.live(4 * DAY, step=2 * HOUR)
    days.wechat.calm()
    days.live(6 * DAY, step=3 * HOUR)
    states = list(Recharge.objects.order_by("rule").values_list("state", flat=True))
    assert states[:5] == ["completed"] * 5
    assert states[5] == "failed"
    announced = [one["reference"] for one in days.journal("announcement")]
    assert len(announced) == len(set(announced))
    days.assert_kept()

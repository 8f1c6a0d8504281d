"""Days at WeChat Pay, in virtual time: from a rule to a credited line, over real HTTP.

One clock for all: the executor's, the adapter's and the simulator's, moved together. Its rules are
the vendor's own (07:00-22:00 Beijing, a notice ahead, one deduction a contract a day), and what
really happened is what its journal says.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.engine import executor
from billing.ledger import verification
from billing.models import Binding, Notice, Rail, Recharge, Rule
from billing.outside import Outside
from billing.plans import contract
from billing.reference_data import load
from billing.rules import readings
from billing.rules.balances import Reading
from lines.models import Delivery, Line
from tests import world as w
from tests.fakes import FakeCarrier
from tests.rails.contract import new_ref
from tests.rails.wechat_simulator import FROZEN, POOR, RICH, WechatSimulator, start_wechat
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
            adapter_for=lambda _carrier: self.carrier,
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
        for contract_id in {one["contract_id"] for one in self.journal("order")}:
            self._assert_spaced(contract_id)
            if self.mode == "notify":
                self._assert_announced(contract_id)

    def charges_of(self, contract_id: str) -> list[dict[str, Any]]:
        orders = {one["reference"]: one["contract_id"] for one in self.journal("order")}
        return [one for one in self.journal("charge") if orders[one["reference"]] == contract_id]

    def _assert_spaced(self, contract_id: str) -> None:
        """One deduction at a time on a contract, and a day between two."""
        charged = [when(one) for one in self.charges_of(contract_id)]
        assert all(later - earlier >= DAY for earlier, later in pairwise(charged))

    def _assert_announced(self, contract_id: str) -> None:
        """Each deduction has an announcement to itself, in its days and up to its amount; and no
        announcement is made while another one stands."""
        charges = self.charges_of(contract_id)
        told = [one for one in self.journal("announcement") if one["contract_id"] == contract_id]
        ends: list[datetime] = []
        for one in told:
            opens_at, closes_at = moment(one["opens_at"]), moment(one["closes_at"])
            uses = [charge for charge in charges if opens_at <= when(charge) < closes_at]
            uses = [charge for charge in uses if not ends or when(charge) > ends[-1]][:1]
            assert all(charge["amount_minor"] <= one["amount_minor"] for charge in uses)
            charges = [charge for charge in charges if charge not in uses]
            ends.append(when(uses[0]) if uses else closes_at)
        assert charges == []
        assert all(end <= when(later) for end, later in zip(ends, told[1:], strict=False))

    @staticmethod
    def hour(entry: dict[str, Any]) -> int:
        return when(entry).astimezone(BEIJING).hour


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


def when(entry: dict[str, Any]) -> datetime:
    return moment(entry["at"])


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
        assert days.hour({"at": str(recharge.earliest_charge_at)}) == 7
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
        assert timedelta(0) <= when(charge) - due_at < timedelta(minutes=1)
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
        first, second = (when(one) for one in days.journal("charge"))
        assert second - first >= DAY
        assert len(days.journal("announcement")) == 2
        days.assert_kept()

    def test_a_payer_who_leaves_meanwhile_is_not_charged_and_is_told(self, days: Days) -> None:
        binding = days.binding()
        days.low(binding=binding)
        days.work()
        days.wechat.revoke(binding.provider_ref)
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
            readings.push(reading=Reading(line.pk, 5900 - 800 * day, at), at=at)
        days.work()
        assert (only().state, only().reason) == ("waiting", "announced")
        days.live(3 * DAY)
        assert only().state == "completed"
        days.assert_kept()

    def test_a_notice_that_arrives_a_day_late_counts_from_the_day_it_arrived(
        self, days: Days
    ) -> None:
        days.until_clock(21, 50)
        days.wechat.fault(ANNOUNCE, "lose_before", times=-1)
        days.low()
        days.work()
        days.live(10 * HOUR)
        days.wechat.calm()
        days.live(3 * DAY)
        [announced] = days.journal("announcement")
        assert only().earliest_charge_at == moment(announced["opens_at"])
        assert only().state == "completed"
        assert len(days.journal("order")) == 1
        days.assert_kept()


class TestANoticeThatNobodyUsed:
    """Its recharge was canceled; at WeChat Pay it stands for its nine days, and bars another."""

    @pytest.fixture
    def days(self, running: WechatSimulator) -> Days:
        return days_of(running, "notify")

    def announced_in_vain(self, days: Days) -> Binding:
        binding = days.binding()
        rule = days.low(binding=binding)
        days.work()
        contract.stop(rule=rule, because="owner", at=days.at)
        days.live(3 * DAY, step=3 * HOUR)
        assert only().state == "canceled"
        return binding

    @pytest.mark.parametrize(("after_days", "face_minor"), [(1, 5000), (1, 3000), (4, 5000)])
    def test_serves_the_next_recharge_that_fits_into_it(
        self, days: Days, after_days: int, face_minor: int
    ) -> None:
        binding = self.announced_in_vain(days)
        days.pass_(after_days * DAY)
        days.low(binding=binding, face_minor=face_minor)
        days.live(3 * HOUR)
        assert [one["amount_minor"] for one in days.journal("charge")] == [face_minor]
        assert Recharge.objects.latest("pk").state == "completed"
        assert len(days.journal("announcement")) == 1
        days.assert_kept()

    def test_makes_a_dearer_one_wait_until_it_is_over(self, days: Days) -> None:
        binding = self.announced_in_vain(days)
        days.low(binding=binding, face_minor=10_000)
        days.live(4 * DAY, step=3 * HOUR)
        waiting = Recharge.objects.latest("pk")
        assert (waiting.state, waiting.reason, waiting.attention) == ("waiting", "binding_busy", "")
        assert len(days.journal("announcement")) == 1
        days.live(7 * DAY, step=3 * HOUR)
        assert Recharge.objects.latest("pk").state == "completed"
        assert [one["amount_minor"] for one in days.journal("announcement")] == [5000, 10_000]
        assert [one["amount_minor"] for one in days.journal("charge")] == [10_000]
        days.assert_kept()

    def test_that_we_know_nothing_of_costs_an_announcement_and_no_recharge(
        self, days: Days
    ) -> None:
        binding = self.announced_in_vain(days)
        Recharge.objects.update(latest_charge_at=None)
        days.pass_(4 * DAY)  # what stands is over before a charge announced today may be made
        days.low(binding=binding)
        days.live(6 * DAY)
        assert Recharge.objects.latest("pk").state == "completed"
        assert len(days.journal("announcement")) == 2
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
        expected_at = moment(str(only().earliest_charge_at))
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
        assert timedelta(0) <= when(charge) - due_at < timedelta(minutes=1)
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
        binding = days.binding()
        days.low(binding=binding)
        days.work()
        days.wechat.revoke(binding.provider_ref)
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
def test_eight_lines_through_days_of_lost_answers(running: WechatSimulator, mode: str) -> None:
    days = days_of(running, mode)
    days.wechat.set(max_charges_per_day=100)  # most of the lines are one person's
    shared = days.binding()
    bindings = [days.binding() for _ in range(4)] + [shared, shared]
    bindings += [days.binding(payer=POOR), days.binding(payer=FROZEN)]
    for binding in bindings:
        days.low(binding=binding)
    days.wechat.chance(rate=0.25, kinds=["lose_before", "lose_after", "http_500"], seed=20261122)
    days.live(3 * DAY)
    days.wechat.calm()
    days.live(8 * DAY, step=3 * HOUR)
    states = list(Recharge.objects.order_by("rule").values_list("state", flat=True))
    assert states == ["completed"] * 6 + ["failed"] * 2
    days.assert_kept()

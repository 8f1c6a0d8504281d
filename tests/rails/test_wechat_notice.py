"""Announcing a charge days before (预扣费通知), and charging inside what was announced."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.gateways.base import Noticed, NotNeeded, Pending, Refused, Succeeded, Unknown
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.simulators import new_keys
from tests.rails.wechat_simulator import DAY_S
from tests.rails.wechat_world import (
    ANNOUNCE,
    charge_of,
    gateway_of,
    offline_settings,
    old_contract,
    wechat_in,
)

BEIJING = ZoneInfo("Asia/Shanghai")


def built(**changes):
    settings = offline_settings(WECHAT_NOTICE_MODE="notify") | changes
    return WechatGateway.from_settings(settings, timeout_s=10)


class TestWhatEachModeAllows:
    def test_announced_by_us_waits_two_days_and_then_has_seven(self):
        can = built().capabilities
        assert can.must_prepare
        assert (can.notice, can.delay) == (timedelta(days=2), timedelta(0))
        assert can.window == timedelta(days=6, hours=15)
        assert can.min_interval == timedelta(days=1)
        assert can.max_charges_per_day == 1

    def test_told_by_wechat_takes_a_day_to_settle_and_needs_no_notice_of_ours(self):
        can = built(WECHAT_NOTICE_MODE="24h").capabilities
        assert (can.delay, can.settles_within) == (timedelta(hours=24), timedelta(hours=25))
        assert not can.must_prepare
        assert (can.notice, can.window) == (timedelta(0), None)
        assert (can.min_interval, can.max_charges_per_day) == (timedelta(days=1), 1)

    def test_without_notice_settles_at_once_up_to_five_a_day(self):
        can = built(WECHAT_NOTICE_MODE="none").capabilities
        assert (can.delay, can.settles_within) == (timedelta(0), timedelta(minutes=10))
        assert not can.must_prepare
        assert (can.min_interval, can.max_charges_per_day) == (timedelta(0), 5)

    @pytest.mark.parametrize("mode", ["24h", "notify", "none"])
    def test_every_mode_keeps_the_hours_the_currency_and_the_most_for_one_charge(self, mode):
        can = built(WECHAT_NOTICE_MODE=mode).capabilities
        assert (can.hours.opens.hour, can.hours.closes.hour) == (7, 22)
        assert can.hours.timezone == "Asia/Shanghai"
        assert (can.currencies, can.max_amount_minor) == ({"CNY"}, 50_000)
        assert can.not_found_grace >= timedelta(minutes=5)
        assert not can.can_reuse_reference_after_decline

    def test_what_a_merchant_agreed_otherwise_is_configuration(self):
        can = built(
            WECHAT_NOTICE_WAIT_DAYS="3",
            WECHAT_NOTICE_WINDOW_DAYS="1",
            WECHAT_MAX_CHARGE_MINOR="10000",
            WECHAT_MAX_CHARGES_PER_DAY="2",
        ).capabilities
        assert (can.notice, can.window) == (timedelta(days=3), timedelta(hours=15))
        assert (can.max_amount_minor, can.max_charges_per_day) == (10_000, 2)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with wechat_in(tmp_path_factory.mktemp("wechat"), "notify") as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.calm_again()
    process.set(enforce_hours=False, signs_with_certificate=False)
    return process


@pytest.fixture
def gateway(wechat):
    return gateway_of(wechat, WECHAT_NOTICE_MODE="notify")


@pytest.fixture
def contract(wechat):
    return old_contract(wechat)


@pytest.mark.processes
class TestPreparingACharge:
    def announce(self, gateway, wechat, contract, **changes):
        request = charge_of(contract, **changes)
        return request, gateway.prepare_charge(request=request, due_at=wechat.now())

    def test_is_announced_with_whole_beijing_days_and_at_most_its_amount(
        self, wechat, gateway, contract
    ):
        today = wechat.now().date()
        request, prepared = self.announce(gateway, wechat, contract)
        first = datetime.combine(today + timedelta(days=2), datetime.min.time(), BEIJING)
        assert prepared.outcome == Noticed(
            earliest_charge_at=first + timedelta(hours=7),
            latest_charge_at=first + timedelta(days=6, hours=22),
            max_amount_minor=5000,
        )
        assert prepared.outcome.earliest_charge_at.tzinfo is UTC
        told = wechat.journal("announcement")[-1]
        assert (told["contract_id"], told["amount_minor"]) == (contract, 5000)
        assert datetime.fromisoformat(told["opens_at"]) == prepared.outcome.earliest_charge_at
        assert datetime.fromisoformat(told["closes_at"]) == prepared.outcome.latest_charge_at
        assert (prepared.exchanges[0].reference, prepared.exchanges[0].is_verified) == (
            request.reference,
            True,
        )

    def test_a_charge_inside_the_window_is_made_and_one_before_it_is_not(
        self, wechat, gateway, contract
    ):
        request, prepared = self.announce(gateway, wechat, contract)
        early = gateway.charge(request=request).outcome
        assert isinstance(early, Refused)
        assert early.code == "INVALID_REQUEST"
        wait = prepared.outcome.earliest_charge_at - wechat.now()
        wechat.advance(int(wait.total_seconds()) + 1)
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        assert wechat.charges()[request.reference] == 5000

    def test_a_charge_above_what_was_announced_is_refused(self, wechat, gateway, contract):
        self.announce(gateway, wechat, contract)
        wechat.advance(2 * DAY_S)
        outcome = gateway.charge(request=charge_of(contract, amount_minor=5001)).outcome
        assert isinstance(outcome, Refused)
        assert outcome.code == "INVALID_REQUEST"

    def test_the_same_notice_again_is_as_good_and_keeps_the_first_ones_window(
        self, wechat, gateway, contract
    ):
        sent_at = wechat.now()
        _, first = self.announce(gateway, wechat, contract, first_sent_at=sent_at)
        wechat.advance(DAY_S)
        _, again = self.announce(gateway, wechat, contract, first_sent_at=sent_at)
        assert again.outcome == first.outcome
        assert "RESOURCE_ALREADY_EXISTS" in again.exchanges[0].response
        announced = [
            one for one in wechat.journal("announcement") if one["contract_id"] == contract
        ]
        assert len(announced) == 1

    def test_another_notice_beside_the_one_that_stands_is_refused(self, wechat, gateway, contract):
        self.announce(gateway, wechat, contract)
        _, other = self.announce(gateway, wechat, contract, amount_minor=6000)
        assert isinstance(other.outcome, Refused)
        assert other.outcome.code == "INVALID_REQUEST"

    def test_a_window_of_another_length_is_asked_for_by_name(self, wechat, contract):
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="notify", WECHAT_NOTICE_WINDOW_DAYS="2")
        _, prepared = self.announce(gateway, wechat, contract)
        told = wechat.journal("announcement")[-1]
        assert told["terms"]["count"] == 2
        assert datetime.fromisoformat(told["closes_at"]) == prepared.outcome.latest_charge_at

    def test_outside_wechats_hours_it_is_refused(self, wechat, gateway, contract):
        wechat.set(enforce_hours=True)
        night = (23 - wechat.now().hour) % 24
        wechat.advance(night * 3600 + 1)
        _, prepared = self.announce(gateway, wechat, contract)
        assert isinstance(prepared.outcome, Refused)
        assert prepared.outcome.code == "INVALID_REQUEST"

    def test_for_a_contract_that_is_gone_it_is_refused(self, wechat, gateway, contract):
        wechat.revoke(contract)
        _, prepared = self.announce(gateway, wechat, contract)
        assert isinstance(prepared.outcome, Refused)
        assert prepared.outcome.code in ("CONTRACT_NOT_EXIST", "RESOURCE_NOT_EXISTS")

    @pytest.mark.parametrize("is_committed", [True, False])
    @pytest.mark.parametrize(
        "kind",
        ["lose_after", "lose_before", "system_error", "bad_signature", "unsigned", "http_500"],
    )
    def test_an_unusable_answer_is_unknown_and_a_repeat_makes_sure(
        self, wechat, gateway, contract, kind, is_committed
    ):
        wechat.fault(ANNOUNCE, kind, committed=is_committed)
        request, prepared = self.announce(gateway, wechat, contract)
        assert isinstance(prepared.outcome, Unknown)
        again = gateway.prepare_charge(request=request, due_at=wechat.now()).outcome
        assert isinstance(again, Noticed)
        announced = [
            one for one in wechat.journal("announcement") if one["contract_id"] == contract
        ]
        assert len(announced) == 1

    def test_an_answer_later_than_the_deadline_is_unknown(self, wechat, contract):
        gateway = gateway_of(wechat, timeout_s=3, WECHAT_NOTICE_MODE="notify")
        wechat.fault(ANNOUNCE, "slow", seconds=3)
        _, prepared = self.announce(gateway, wechat, contract)
        assert prepared.outcome == Unknown("no answer: ReadTimeout")

    def test_an_answer_under_another_key_than_ours_is_unknown(self, wechat, contract):
        gateway = gateway_of(
            wechat,
            WECHAT_NOTICE_MODE="notify",
            WECHAT_PLATFORM_PUBLIC_KEY=new_keys().public,
        )
        _, prepared = self.announce(gateway, wechat, contract)
        assert prepared.outcome == Unknown("the signature is wrong")

    def test_an_answer_under_a_serial_we_do_not_hold_is_unknown(self, wechat, gateway, contract):
        wechat.set(signs_with_certificate=True)
        _, prepared = self.announce(gateway, wechat, contract)
        assert prepared.outcome == Unknown("it is signed under another key's serial")

    def test_a_platform_certificate_serves_as_well_as_the_public_key(self, wechat, contract):
        wechat.set(signs_with_certificate=True)
        gateway = gateway_of(
            wechat,
            WECHAT_NOTICE_MODE="notify",
            WECHAT_PLATFORM_PUBLIC_KEY=wechat.key("platform_cert.pem").replace("\n", "\\n"),
            WECHAT_PLATFORM_SERIAL=wechat.serials["platform_serial"],
        )
        _, prepared = self.announce(gateway, wechat, contract)
        assert isinstance(prepared.outcome, Noticed)

    def test_a_merchant_key_that_wechat_does_not_know_is_unknown_and_evidence_says_why(
        self, wechat, contract
    ):
        """Whom it does not know, it does not sign for."""
        gateway = gateway_of(
            wechat,
            WECHAT_NOTICE_MODE="notify",
            WECHAT_MERCHANT_PRIVATE_KEY=new_keys().private,
        )
        _, prepared = self.announce(gateway, wechat, contract)
        assert prepared.outcome == Unknown("it is not signed")
        assert "SIGN_ERROR" in prepared.exchanges[0].response

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"currency": "USD"}, "CURRENCY_NOT_SUPPORT"),
            ({"amount_minor": 0}, "PARAM_ERROR"),
            ({"provider_binding_ref": ""}, "PARAM_ERROR"),
        ],
    )
    def test_what_cannot_be_a_charge_is_not_announced(
        self, wechat, gateway, contract, changes, code
    ):
        _, prepared = self.announce(gateway, wechat, contract, **changes)
        assert isinstance(prepared.outcome, Refused)
        assert (prepared.outcome.code, prepared.exchanges) == (code, ())

    def test_evidence_names_neither_contract_nor_signature(self, wechat, gateway, contract):
        _, prepared = self.announce(gateway, wechat, contract)
        kept = "".join(f"{one.kind}{one.request}{one.response}" for one in prepared.exchanges)
        assert "estimated_amount" in kept
        assert contract not in kept

    @pytest.mark.parametrize("mode", ["24h", "none"])
    def test_in_the_other_modes_nothing_is_sent(self, wechat, contract, mode):
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE=mode)
        before = len(wechat.journal("announcement"))
        _, prepared = self.announce(gateway, wechat, contract)
        assert (prepared.outcome, prepared.exchanges) == (NotNeeded(), ())
        assert len(wechat.journal("announcement")) == before

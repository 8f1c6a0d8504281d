"""周期扣款 with its dates, and asynchronous charges: what only some merchants have."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.gateways.base import (
    BindingFacts,
    Closed,
    Noticed,
    NotNeeded,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from tests.rails.alipay_world import CYCLE, charge_of, gateway_of, today_of, until
from tests.rails.contract import new_ref
from tests.rails.simulators import POOR, RICH

pytestmark = pytest.mark.processes

DAY_S = 24 * 3600
BEIJING = ZoneInfo("Asia/Shanghai")
PLAN = "alipay.user.agreement.executionplan.modify"


def signed_cycle(alipay, *, first_in_days=0, **rules):
    first = today_of(alipay) + timedelta(days=first_in_days)
    period = {
        "period_type": "DAY",
        "period": "7",
        "execute_time": first.isoformat(),
        "single_amount": "60.00",
    }
    return alipay.agree(
        new_ref("B"),
        product_code="CYCLE_PAY_AUTH",
        personal_product_code="CYCLE_PAY_AUTH_P",
        period_rule_params=period | rules,
    )


def noon(day):
    return datetime.combine(day, time(12), BEIJING).astimezone(UTC)


class TestCyclePay:
    @pytest.fixture
    def gateway(self, own_alipay):
        return gateway_of(own_alipay, **CYCLE | {"ALIPAY_PERIOD_TYPE": "DAY", "ALIPAY_PERIOD": "7"})

    def refused(self, gateway, request):
        outcome = gateway.charge(request=request).outcome
        assert isinstance(outcome, Refused)
        return outcome.code

    def test_one_deduction_a_period_and_the_next_from_three_days_before_its_date(
        self, own_alipay, gateway
    ):
        agreement = signed_cycle(own_alipay)
        assert isinstance(gateway.charge(request=charge_of(agreement)).outcome, Succeeded)
        second = charge_of(agreement)
        assert self.refused(gateway, second) == "CYCLE_PAY_DATE_NOT_MATCH"
        own_alipay.advance(4 * DAY_S)
        assert isinstance(gateway.charge(request=second).outcome, Succeeded)

    def test_a_missed_date_needs_the_plan_moved_and_prepare_charge_moves_it(
        self, own_alipay, gateway
    ):
        agreement = signed_cycle(own_alipay, first_in_days=1)
        own_alipay.advance(3 * DAY_S)
        request = charge_of(agreement)
        assert self.refused(gateway, request) == "CYCLE_PAY_DATE_NOT_MATCH"
        today = today_of(own_alipay)
        window = gateway.prepare_charge(request=request, due_at=noon(today)).outcome
        assert window == Noticed(
            earliest_charge_at=datetime.combine(today - timedelta(3), time(), BEIJING),
            latest_charge_at=datetime.combine(today, time(23, 59, 59), BEIJING),
            max_amount_minor=6000,
        )
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)

    def test_a_plan_that_is_already_there_is_not_moved_again(self, own_alipay, gateway):
        agreement = signed_cycle(own_alipay, first_in_days=2)
        due = noon(today_of(own_alipay) + timedelta(days=5))
        for _ in range(2):
            window = gateway.prepare_charge(request=charge_of(agreement), due_at=due).outcome
            assert isinstance(window, Noticed)
        assert len(own_alipay.journal("agreement_changed")) == 1

    def test_a_due_day_before_the_plan_keeps_the_plan_and_tells_its_limit(
        self, own_alipay, gateway
    ):
        agreement = signed_cycle(own_alipay, first_in_days=2)
        window = gateway.prepare_charge(
            request=charge_of(agreement), due_at=noon(today_of(own_alipay))
        ).outcome
        assert isinstance(window, Noticed)
        assert window.max_amount_minor == 6000
        assert own_alipay.journal("agreement_changed") == []

    def test_preparing_is_refused_or_unknown_as_alipay_answers(self, own_alipay, gateway):
        agreement = signed_cycle(own_alipay)
        due = noon(today_of(own_alipay) + timedelta(days=5))
        own_alipay.fault(PLAN, "decline", sub_code="AGREEMENT_STATUS_NOT_NORMAL")
        refused = gateway.prepare_charge(request=charge_of(agreement), due_at=due).outcome
        assert isinstance(refused, Refused)
        own_alipay.fault(PLAN, "lose_before")
        unknown = gateway.prepare_charge(request=charge_of(agreement), due_at=due).outcome
        assert isinstance(unknown, Unknown)
        gone = gateway.prepare_charge(request=charge_of("nosuchagreement"), due_at=due).outcome
        assert isinstance(gone, Refused)
        assert gone.code == "AGREEMENT_NOT_EXIST"

    def test_what_the_payer_agreed_to_is_the_limit_to_the_fen(self, own_alipay, gateway):
        agreement = signed_cycle(own_alipay, total_amount="100.00", total_payments="2")
        above = charge_of(agreement, amount_minor=6001)
        assert self.refused(gateway, above) == "CYCLE_PAY_SINGLE_FEE_EXCEED"
        exactly = charge_of(agreement, amount_minor=6000)
        assert isinstance(gateway.charge(request=exactly).outcome, Succeeded)
        own_alipay.advance(7 * DAY_S)
        over_total = charge_of(agreement, amount_minor=4001)
        assert self.refused(gateway, over_total) == "CYCLE_PAY_TOTAL_FEE_EXCEED"
        last = charge_of(agreement, amount_minor=3999)
        assert isinstance(gateway.charge(request=last).outcome, Succeeded)
        own_alipay.advance(7 * DAY_S)
        third = charge_of(agreement, amount_minor=1)
        assert self.refused(gateway, third) == "CYCLE_PAY_TOTAL_TIMES_EXCEED"

    def test_its_capabilities_say_what_the_calendar_must_know(self, own_alipay):
        monthly = gateway_of(own_alipay, **CYCLE).capabilities
        assert monthly.last_day_of_month == 28
        assert monthly.max_charges_per_day == 1
        assert monthly.max_amount_minor == 10_000
        assert monthly.min_interval == timedelta(days=25)
        plain = gateway_of(own_alipay).capabilities
        assert plain.last_day_of_month == 31
        assert plain.max_charges_per_day is None
        assert plain.max_amount_minor is None
        assert plain.min_interval == timedelta(0)

    def test_the_other_product_needs_no_preparing(self, own_alipay):
        agreement = own_alipay.agree(new_ref("B"))
        prepared = (
            gateway_of(own_alipay)
            .prepare_charge(request=charge_of(agreement), due_at=datetime.now(UTC))
            .outcome
        )
        assert prepared == NotNeeded()

    def test_a_plan_or_a_limit_can_be_read_back_after_it_was_changed(self, own_alipay, gateway):
        agreement = signed_cycle(own_alipay)
        facts = gateway.get_binding(binding_ref="", provider_ref=agreement).outcome
        assert isinstance(facts, BindingFacts)
        assert own_alipay.agreement(agreement)["single_quota"] == "60.00"


class TestAsynchronousCharges:
    @pytest.fixture
    def gateway(self, own_alipay):
        return gateway_of(own_alipay, ALIPAY_ASYNC_TYPE="NORMAL_ASYNC")

    def test_is_pending_until_alipay_took_it_and_then_succeeded(self, own_alipay, gateway, inbox):
        own_alipay.set(async_delay_s=60)
        request = charge_of(own_alipay.agree(new_ref("B")), notify_url=inbox.url)
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        assert isinstance(gateway.query(reference=request.reference).outcome, Pending)
        assert own_alipay.charges() == {}
        own_alipay.advance(61)
        assert b"trade_status=TRADE_SUCCESS" in inbox.wait_for(1)[0]
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Succeeded)
        assert own_alipay.charges() == {request.reference: 5000}
        assert gateway.capabilities.settles_within == timedelta(days=1)

    def test_sent_again_while_pending_is_pending_and_taken_once(self, own_alipay, gateway):
        own_alipay.set(async_delay_s=60)
        request = charge_of(own_alipay.agree(new_ref("B")))
        outcomes = [gateway.charge(request=request).outcome for _ in range(3)]
        assert [type(outcome) for outcome in outcomes] == [Pending] * 3
        own_alipay.advance(61)
        until(lambda: bool(own_alipay.charges()))
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)
        assert own_alipay.charges() == {request.reference: 5000}

    def test_one_that_cannot_be_paid_is_closed_and_its_number_spent(
        self, own_alipay, gateway, inbox
    ):
        own_alipay.set(async_delay_s=60)
        request = charge_of(own_alipay.agree(new_ref("B"), payer=POOR), notify_url=inbox.url)
        gateway.charge(request=request)
        own_alipay.advance(61)
        assert b"trade_status=TRADE_CLOSED" in inbox.wait_for(1)[0]
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.code == "TRADE_CLOSED"
        assert isinstance(gateway.charge(request=request).outcome, Closed)
        assert own_alipay.charges() == {}

    def test_one_that_may_be_retried_succeeds_when_money_comes(self, own_alipay):
        gateway = gateway_of(
            own_alipay, ALIPAY_ASYNC_TYPE="NORMAL_ASYNC", ALIPAY_ASYNC_RETRY="RETY"
        )
        own_alipay.set(async_delay_s=60)
        own_alipay.payer(RICH, balance_minor=0)
        request = charge_of(own_alipay.agree(new_ref("B")))
        gateway.charge(request=request)
        own_alipay.advance(61)
        own_alipay.payer(RICH, balance_minor=5000)

        def is_taken():
            own_alipay.advance(61)
            return bool(own_alipay.charges())

        until(is_taken)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)

    def test_an_unpaid_one_is_closed_when_its_time_is_over(self, own_alipay):
        gateway = gateway_of(
            own_alipay, ALIPAY_ASYNC_TYPE="NORMAL_ASYNC", ALIPAY_ASYNC_RETRY="NONE"
        )
        own_alipay.set(async_delay_s=60)
        request = charge_of(own_alipay.agree(new_ref("B"), payer=POOR))
        gateway.charge(request=request)
        own_alipay.advance(23 * 3600)
        assert isinstance(gateway.query(reference=request.reference).outcome, Pending)
        own_alipay.advance(3600)
        assert isinstance(gateway.query(reference=request.reference).outcome, Closed)

    def test_an_accepted_charge_survives_a_killed_alipay_and_is_taken_once(
        self, own_alipay, gateway
    ):
        request = charge_of(own_alipay.agree(new_ref("B")))
        own_alipay.set(async_delay_s=600)
        gateway.charge(request=request)
        own_alipay.stop()
        own_alipay.start()
        own_alipay.advance(3600)
        until(lambda: bool(own_alipay.charges()))
        assert own_alipay.charges() == {request.reference: 5000}

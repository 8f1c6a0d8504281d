"""Alipay's adapter against Alipay's simulator, over HTTP: the contract, every fault, every code."""

import threading

import pytest

from billing.gateways.alipay.codes import ASK_THE_TRADE, DECLINE_CODES, MERCHANTS_LIMITS
from billing.gateways.base import Closed, NotFound, Pending, Refused, Succeeded, Unknown
from tests.rails.alipay_world import (
    CLOSE,
    PAY,
    QUERY,
    charge_of,
    gateway_of,
    rail_of,
    until,
)
from tests.rails.contract import RailContract, new_ref
from tests.rails.simulators import FROZEN, POOR, RICH

pytestmark = pytest.mark.processes

GATEWAY_CODES = {"20001", "40001", "40002", "40006"}
UNANSWERED = ("20000", "10003")
NEVER_A_REFUSAL = {code for code, meaning in DECLINE_CODES.items() if meaning == "unknown"}
REFUSALS = sorted(set(DECLINE_CODES) - NEVER_A_REFUSAL - GATEWAY_CODES - ASK_THE_TRADE)


@pytest.fixture
def gateway(alipay):
    return gateway_of(alipay)


@pytest.fixture
def agreement(alipay):
    return alipay.agree(new_ref("B"))


class TestAlipayKeepsTheContract(RailContract):
    @pytest.fixture
    def rail(self, alipay, inbox):
        return rail_of(alipay, inbox)


class TestEveryRefusalOfACharge:
    @pytest.mark.parametrize("code", REFUSALS)
    def test_a_listed_code_is_refused_by_its_bare_name_and_takes_nothing(
        self, alipay, gateway, agreement, code
    ):
        alipay.fault(PAY, "decline", sub_code=code)
        request = charge_of(agreement)
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == code
        assert answer.outcome.is_merchants is (code in MERCHANTS_LIMITS)
        assert answer.exchanges[0].is_verified
        assert request.reference not in alipay.charges()

    @pytest.mark.parametrize("code", sorted(GATEWAY_CODES))
    def test_the_gateways_own_refusals_carry_its_code_and_say_why(
        self, alipay, gateway, agreement, code
    ):
        alipay.fault(PAY, "gateway_error", code=code, sub_code="isv.some-reason")
        answer = gateway.charge(request=charge_of(agreement))
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == code
        assert "isv.some-reason" in answer.outcome.message

    @pytest.mark.parametrize("code", UNANSWERED)
    def test_the_gateways_codes_that_say_nothing_are_unknown(
        self, alipay, gateway, agreement, code
    ):
        alipay.fault(PAY, "gateway_error", code=code)
        assert isinstance(gateway.charge(request=charge_of(agreement)).outcome, Unknown)

    @pytest.mark.parametrize("code", ["ACQ.SYSTEM_ERROR", "aop.ACQ.SYSTEM_ERROR"])
    def test_a_system_error_is_unknown_however_it_is_spelt(self, alipay, gateway, agreement, code):
        alipay.fault(PAY, "decline", sub_code=code)
        assert isinstance(gateway.charge(request=charge_of(agreement)).outcome, Unknown)

    def test_a_code_nobody_listed_is_handed_on_for_the_operators_table(
        self, alipay, gateway, agreement
    ):
        alipay.fault(PAY, "decline", sub_code="ACQ.BRAND_NEW_REASON")
        answer = gateway.charge(request=charge_of(agreement))
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "BRAND_NEW_REASON"
        assert "BRAND_NEW_REASON" not in DECLINE_CODES

    @pytest.mark.parametrize("code", sorted(ASK_THE_TRADE))
    def test_a_code_about_an_existing_trade_is_settled_by_asking_not_by_the_code(
        self, alipay, gateway, agreement, code
    ):
        request = charge_of(agreement)
        gateway.charge(request=request)
        alipay.fault(PAY, "decline", sub_code=code)
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == 5000
        assert [exchange.kind for exchange in answer.exchanges] == [PAY, QUERY]

    def test_such_a_code_without_a_trade_to_be_found_is_unknown(self, alipay, gateway, agreement):
        alipay.fault(PAY, "decline", sub_code="TRADE_HAS_SUCCESS")
        assert isinstance(gateway.charge(request=charge_of(agreement)).outcome, Unknown)


class TestEveryFault:
    @pytest.mark.parametrize("is_committed", [True, False])
    @pytest.mark.parametrize(
        "kind",
        [
            "lose_after",
            "lose_before",
            "system_error",
            "gateway_error",
            "in_progress",
            "bad_signature",
            "unsigned_error",
            "http_500",
            "non_json",
        ],
    )
    def test_an_unusable_answer_is_unknown_and_asking_tells_the_truth(
        self, alipay, gateway, agreement, kind, is_committed
    ):
        alipay.fault(PAY, kind, committed=is_committed)
        request = charge_of(agreement)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Succeeded if is_committed else NotFound)
        again = gateway.charge(request=request).outcome
        assert isinstance(again, Succeeded)
        assert alipay.charges()[request.reference] == 5000

    def test_an_answer_later_than_the_deadline_is_unknown(self, alipay, agreement):
        gateway = gateway_of(alipay, timeout_s=3)
        alipay.fault(PAY, "slow", seconds=3)
        request = charge_of(agreement)
        answer = gateway.charge(request=request)
        assert answer.outcome == Unknown("no answer: ReadTimeout")
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)

    def test_an_effect_that_comes_late_happens_once_although_it_was_sent_again(self, own_alipay):
        gateway, agreement = gateway_of(own_alipay), own_alipay.agree(new_ref("B"))
        own_alipay.fault(PAY, "late", seconds=60)
        request = charge_of(agreement)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        assert gateway.query(reference=request.reference).outcome == NotFound()
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)
        own_alipay.advance(120)
        own_alipay.fault(PAY, "late", seconds=1)  # the agenda works in order: this one is last
        last = charge_of(agreement)
        gateway.charge(request=last)
        own_alipay.advance(5)
        until(lambda: last.reference in own_alipay.charges())
        assert own_alipay.charges() == {request.reference: 5000, last.reference: 5000}

    def test_a_system_error_is_followed_by_success_on_the_same_reference(
        self, alipay, gateway, agreement
    ):
        alipay.fault(PAY, "system_error", times=2)
        request = charge_of(agreement)
        outcomes = [gateway.charge(request=request).outcome for _ in range(3)]
        assert [type(outcome) for outcome in outcomes] == [Unknown, Unknown, Succeeded]

    def test_a_peer_that_is_not_there_is_unknown_and_nothing_of_the_request_is_in_the_reason(
        self, alipay, agreement
    ):
        gateway = gateway_of(alipay, ALIPAY_GATEWAY_URL="http://127.0.0.1:9/gateway.do")
        answer = gateway.charge(request=charge_of(agreement))
        assert answer.outcome == Unknown("no answer: ConnectionError")
        assert answer.exchanges[0].response == ""

    def test_a_refusal_while_asking_says_nothing_about_the_charge(self, alipay, gateway, agreement):
        request = charge_of(agreement)
        gateway.charge(request=request)
        for code in ("40006", "20000"):
            alipay.fault(QUERY, "gateway_error", code=code)
            assert isinstance(gateway.query(reference=request.reference).outcome, Unknown)
        alipay.fault(QUERY, "decline", sub_code="INVALID_PARAMETER")
        assert isinstance(gateway.query(reference=request.reference).outcome, Unknown)

    def test_thirty_two_senders_of_one_reference_take_the_money_once(
        self, alipay, gateway, agreement
    ):
        request, outcomes = charge_of(agreement), []
        start = threading.Barrier(32)

        def send() -> None:
            start.wait()
            outcomes.append(gateway.charge(request=request).outcome)

        threads = [threading.Thread(target=send) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [type(outcome) for outcome in outcomes] == [Succeeded] * 32
        assert alipay.charges()[request.reference] == 5000  # fails by itself if charged twice


class TestTheRailsOwnRules:
    def test_one_number_with_two_meanings_yields_the_truth_of_the_first(
        self, alipay, gateway, agreement
    ):
        request = charge_of(agreement)
        gateway.charge(request=request)
        other = charge_of(agreement, reference=request.reference, amount_minor=9900)
        answer = gateway.charge(request=other)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == 5000  # the caller compares, and sees
        assert "CONTEXT_INCONSISTENT" in answer.exchanges[0].response
        assert alipay.charges()[request.reference] == 5000

    @pytest.mark.parametrize(
        ("payer", "code"),
        [(POOR, "BUYER_BALANCE_NOT_ENOUGH"), (FROZEN, "BUYER_ENABLE_STATUS_FORBID")],
    )
    def test_a_payer_who_cannot_pay_is_refused(self, alipay, gateway, payer, code):
        request = charge_of(alipay.agree(new_ref("B"), payer=payer))
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == code
        assert request.reference not in alipay.charges()

    def test_the_payers_daily_limit_holds_to_the_fen(self, own_alipay):
        gateway, agreement = gateway_of(own_alipay), own_alipay.agree(new_ref("B"))
        own_alipay.payer(RICH, daily_limit_minor=9999)
        first, second = charge_of(agreement), charge_of(agreement)
        assert isinstance(gateway.charge(request=first).outcome, Succeeded)
        answer = gateway.charge(request=second)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR"
        own_alipay.payer(RICH, daily_limit_minor=10_000)
        assert isinstance(gateway.charge(request=second).outcome, Succeeded)

    def test_a_description_with_forbidden_marks_is_sent_without_them(
        self, alipay, gateway, agreement
    ):
        request = charge_of(agreement, description="a/b=c&d" * 60)
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)

    @pytest.mark.parametrize(
        "changes", [{"amount_minor": 0}, {"amount_minor": -1}, {"reference": "no-dashes"}]
    )
    def test_what_cannot_be_a_charge_is_refused_before_anything_is_sent(
        self, gateway, agreement, changes
    ):
        answer = gateway.charge(request=charge_of(agreement, **changes))
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "INVALID_PARAMETER"
        assert answer.exchanges == ()

    def test_a_charge_that_was_canceled_has_spent_its_number(self, alipay, gateway, agreement):
        alipay.set(async_delay_s=3600)
        slow = gateway_of(alipay, ALIPAY_ASYNC_TYPE="NORMAL_ASYNC")
        request = charge_of(agreement)
        assert isinstance(slow.charge(request=request).outcome, Pending)
        canceled = gateway.cancel(reference=request.reference).outcome
        assert isinstance(canceled, Closed)
        assert canceled.code == "CANCELED"
        assert isinstance(gateway.charge(request=request).outcome, Closed)
        assert request.reference not in alipay.charges()


class TestADeclineThatLeavesItsTradeOpen:
    """A new number follows a decline, so the old one must not be paid any more."""

    @pytest.fixture
    def request_(self, alipay):
        alipay.set(declines_leave_open=True)
        return charge_of(alipay.agree(new_ref("B"), payer=POOR))

    def test_is_a_decline_once_the_trade_is_closed(self, alipay, gateway, request_):
        answer = gateway.charge(request=request_)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "BUYER_BALANCE_NOT_ENOUGH"
        assert [exchange.kind for exchange in answer.exchanges] == [PAY, CLOSE]
        asked = gateway.query(reference=request_.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.code == "TRADE_CLOSED"

    @pytest.mark.parametrize("kind", ["lose_before", "system_error", "gateway_error", "http_500"])
    def test_is_unknown_while_it_may_still_be_paid(self, alipay, gateway, request_, kind):
        alipay.fault(CLOSE, kind)
        assert isinstance(gateway.charge(request=request_).outcome, Unknown)
        assert isinstance(gateway.query(reference=request_.reference).outcome, Pending)

    def test_and_was_paid_meanwhile_is_paid(self, alipay, gateway, agreement):
        request = charge_of(agreement)
        gateway.charge(request=request)
        alipay.fault(PAY, "decline", sub_code="BUYER_BALANCE_NOT_ENOUGH")
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Succeeded)
        assert [exchange.kind for exchange in answer.exchanges] == [PAY, CLOSE, QUERY]

    @pytest.mark.parametrize("code", ["INVALID_PARAMETER", "BRAND_NEW_REASON"])
    def test_of_which_the_payer_knows_nothing_keeps_its_number(
        self, alipay, gateway, agreement, code
    ):
        alipay.fault(PAY, "decline", sub_code=code)
        request = charge_of(agreement)
        answer = gateway.charge(request=request)
        assert [exchange.kind for exchange in answer.exchanges] == [PAY]
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)

"""Giving money back, and ending what is unsettled, over HTTP."""

import pytest

from billing.gateways.base import Closed, NotFound, Refused, Succeeded, Unknown
from tests.rails.alipay_world import CANCEL, REFUND, REFUND_QUERY, charge_of, gateway_of, refund_of
from tests.rails.contract import new_ref

pytestmark = pytest.mark.processes


@pytest.fixture
def gateway(alipay):
    return gateway_of(alipay)


@pytest.fixture
def agreement(alipay):
    return alipay.agree(new_ref("B"))


class TestCancel:
    def test_canceling_a_paid_charge_gives_the_money_back(self, alipay, gateway, agreement):
        request = charge_of(agreement)
        gateway.charge(request=request)
        canceled = gateway.cancel(reference=request.reference).outcome
        assert isinstance(canceled, Closed)
        assert canceled.is_given_back
        assert alipay.refunds()[f"cancel_{request.reference}"] == 5000

    def test_a_charge_that_was_paid_and_given_back_is_closed_but_not_never_charged(
        self, alipay, gateway, agreement
    ):
        request = charge_of(agreement)
        gateway.charge(request=request)
        gateway.refund(request=refund_of(request, 5000))
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.is_given_back

    def test_a_charge_given_back_in_part_is_still_succeeded_with_its_whole_amount(
        self, gateway, agreement
    ):
        request = charge_of(agreement)
        gateway.charge(request=request)
        gateway.refund(request=refund_of(request, 4999))
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Succeeded)
        assert asked.amount_minor == 5000

    def test_canceling_what_alipay_never_heard_of_is_not_found(self, gateway):
        assert gateway.cancel(reference=new_ref()).outcome == NotFound()

    @pytest.mark.parametrize("kind", ["lose_after", "system_error", "gateway_error"])
    def test_an_unusable_answer_to_a_cancel_is_unknown(self, alipay, gateway, agreement, kind):
        request = charge_of(agreement)
        gateway.charge(request=request)
        alipay.fault(CANCEL, kind)
        assert isinstance(gateway.cancel(reference=request.reference).outcome, Unknown)


class TestRefund:
    def test_a_repeat_moves_nothing_and_is_made_sure_of_by_asking(self, alipay, gateway, agreement):
        charge = charge_of(agreement)
        gateway.charge(request=charge)
        request = refund_of(charge, 2000)
        first, repeat = gateway.refund(request=request), gateway.refund(request=request)
        assert [exchange.kind for exchange in first.exchanges] == [REFUND]
        assert [exchange.kind for exchange in repeat.exchanges] == [REFUND, REFUND_QUERY]
        assert isinstance(repeat.outcome, Succeeded)
        assert repeat.outcome.amount_minor == 2000
        assert alipay.refunds()[request.refund_ref] == 2000

    def test_the_second_refunds_amount_is_its_own_not_the_sum(self, gateway, agreement):
        charge = charge_of(agreement)
        gateway.charge(request=charge)
        outcomes = [
            gateway.refund(request=refund_of(charge, amount)).outcome for amount in (1000, 700)
        ]
        assert [outcome.amount_minor for outcome in outcomes] == [1000, 700]

    @pytest.mark.parametrize("kind", ["lose_after", "system_error", "gateway_error", "http_500"])
    def test_an_unusable_answer_to_a_refund_is_unknown(self, alipay, gateway, agreement, kind):
        charge = charge_of(agreement)
        gateway.charge(request=charge)
        alipay.fault(REFUND, kind)
        assert isinstance(gateway.refund(request=refund_of(charge, 100)).outcome, Unknown)

    def test_a_definite_refusal_names_its_code(self, alipay, gateway, agreement):
        charge = charge_of(agreement)
        gateway.charge(request=charge)
        alipay.fault(REFUND, "decline", sub_code="SELLER_BALANCE_NOT_ENOUGH")
        request = refund_of(charge, 100)
        answer = gateway.refund(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "SELLER_BALANCE_NOT_ENOUGH"
        assert request.refund_ref not in alipay.refunds()

    def test_a_refusal_while_asking_says_nothing_about_the_refund(self, alipay, gateway, agreement):
        charge = charge_of(agreement)
        gateway.charge(request=charge)
        alipay.fault(REFUND_QUERY, "gateway_error", code="40006")
        answer = gateway.query_refund(refund_ref=new_ref("F"), charge_ref=charge.reference)
        assert isinstance(answer.outcome, Unknown)

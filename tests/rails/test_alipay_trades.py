"""What Alipay's genuine answers mean, one by one: no process, no socket."""

from typing import Any

import pytest

from billing.gateways.alipay import agreements, trades
from billing.gateways.alipay.client import Reply
from billing.gateways.base import (
    BindingFacts,
    BindingStatus,
    Closed,
    Exchange,
    NotFound,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from tests import world as w

BEIJING = "2026-11-22 12:00:00"  # w.NOON, as Alipay writes it
ANOTHER_TRADE = Unknown("the answer is about another trade")
UNREADABLE = Unknown("the answer's amount cannot be read")


def reply(**fields: Any) -> Reply:
    """A verified one; success unless it says otherwise."""
    return Reply(Exchange("", "R1", "", "", True), {"code": "10000", **fields})


def refusal(sub_code: str, code: str = "40004") -> Reply:
    return reply(code=code, sub_code=sub_code)


def trade(status: str, **fields: Any) -> Reply:
    about = {"out_trade_no": "R1", "trade_no": "T1", "total_amount": "50.00"}
    return reply(trade_status=status, **(about | fields))


class TestAskingForACharge:
    @pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_FINISHED"])
    def test_paid_is_the_amount_to_the_fen_and_the_time(self, status: str) -> None:
        found = trades.found(trade(status, send_pay_date=BEIJING), reference="R1")
        assert found == Succeeded("T1", 5000, "CNY", w.NOON)

    @pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_FINISHED", "WAIT_BUYER_PAY"])
    def test_paid_by_the_payer_and_not_received_by_us_is_unknown(self, status: str) -> None:
        told = trade(status, send_pay_date=BEIJING, additional_status="SELLER_NOT_RECEIVED")
        found = trades.found(told, reference="R1")
        assert found == Unknown("the payer has paid, and it has not reached us")

    @pytest.mark.parametrize(("code", "is_ours"), [("40006", True), ("20000", False)])
    def test_a_question_refused_for_our_key_or_contract_says_so(
        self, code: str, is_ours: bool
    ) -> None:
        refused = refusal("isv.insufficient-isv-permissions", code)
        for said in (
            trades.found(refused, reference="R1"),
            trades.refund_found(refused, refund_ref="F1"),
            agreements.facts(refused, binding_ref="B1", at=w.NOON),
        ):
            assert isinstance(said, Unknown)
            assert said.is_ours is is_ours

    def test_open_is_pending(self) -> None:
        assert trades.found(trade("WAIT_BUYER_PAY"), reference="R1") == Pending("T1")

    def test_closed_is_closed_and_a_paid_one_was_given_back(self) -> None:
        assert trades.found(trade("TRADE_CLOSED"), reference="R1") == Closed("T1", "TRADE_CLOSED")
        given_back = trade("TRADE_CLOSED", send_pay_date=BEIJING)
        assert trades.found(given_back, reference="R1") == Closed("T1", is_given_back=True)

    @pytest.mark.parametrize(
        "status", ["TRADE_SUCCESS", "TRADE_FINISHED", "WAIT_BUYER_PAY", "TRADE_CLOSED"]
    )
    @pytest.mark.parametrize("out_trade_no", ["R2", "", None, 1])
    def test_of_another_trade_nothing_is_believed(self, status: str, out_trade_no: Any) -> None:
        found = trades.found(trade(status, out_trade_no=out_trade_no), reference="R1")
        assert found == ANOTHER_TRADE

    @pytest.mark.parametrize("amount", ["", "50.001", "5e1", "五十", 50, None])
    def test_paid_without_an_amount_that_can_be_read_is_unknown(self, amount: Any) -> None:
        found = trades.found(trade("TRADE_SUCCESS", total_amount=amount), reference="R1")
        assert found == UNREADABLE

    @pytest.mark.parametrize("status", ["", "TRADE_PENDING", "FROZEN"])
    def test_a_state_nobody_listed_is_unknown(self, status: str) -> None:
        assert isinstance(trades.found(trade(status), reference="R1"), Unknown)

    @pytest.mark.parametrize(
        "sub_code", ["AGREEMENT_NOT_EXIST", "BUYER_BALANCE_NOT_ENOUGH", "INVALID_PARAMETER", ""]
    )
    @pytest.mark.parametrize("code", ["40004", "40006", "20000", "10003", ""])
    def test_a_refusal_to_tell_is_never_a_decline(self, sub_code: str, code: str) -> None:
        assert isinstance(trades.found(refusal(sub_code, code), reference="R1"), Unknown)

    def test_only_no_such_trade_is_not_found(self) -> None:
        assert trades.found(refusal("ACQ.TRADE_NOT_EXIST"), reference="R1") == NotFound()
        assert isinstance(
            trades.found(refusal("TRADE_NOT_EXIST", "20000"), reference="R1"), Unknown
        )


class TestTheAnswerToACharge:
    def paid(self, **fields: Any) -> Reply:
        about = {"out_trade_no": "R1", "trade_no": "T1", "total_amount": "50.00"}
        return reply(**(about | {"gmt_payment": BEIJING} | fields))

    def test_is_paid_with_its_time(self) -> None:
        expected = Succeeded("T1", 5000, "CNY", w.NOON)
        assert trades.paid(self.paid(), reference="R1") == expected

    def test_accepted_to_be_paid_later_is_pending(self) -> None:
        accepted = self.paid(async_pay_apply_status="S", gmt_payment="")
        assert trades.paid(accepted, reference="R1") == Pending("T1")

    @pytest.mark.parametrize(
        "fields", [{"gmt_payment": ""}, {"async_pay_apply_status": "F"}, {"out_trade_no": "R2"}]
    )
    def test_that_does_not_say_paid_is_unknown(self, fields: dict[str, str]) -> None:
        assert isinstance(trades.paid(self.paid(**fields), reference="R1"), Unknown)


class TestRefunds:
    @pytest.mark.parametrize("fund_change", ["N", "", None])
    def test_that_moved_nothing_in_this_call_are_not_made_yet(self, fund_change: Any) -> None:
        answer = reply(trade_no="T1", fund_change=fund_change, refund_fee="50.00")
        assert trades.refunded(answer, amount_minor=2000) == Pending("T1")

    def test_are_of_their_own_amount_never_of_the_trades_sum(self) -> None:
        answer = reply(trade_no="T1", fund_change="Y", refund_fee="50.00", gmt_refund_pay=BEIJING)
        assert trades.refunded(answer, amount_minor=2000) == Succeeded("T1", 2000, "CNY", w.NOON)

    @pytest.mark.parametrize("status", ["REFUND_SUCCESS", "REFUND_PROCESSING", "REFUND_FAIL"])
    def test_of_another_number_say_nothing(self, status: str) -> None:
        answer = reply(out_request_no="F2", refund_status=status, refund_amount="20.00")
        found = trades.refund_found(answer, refund_ref="F1")
        assert found == Unknown("the answer is about another refund")

    def test_are_what_alipay_calls_them(self) -> None:
        def found(status: str) -> object:
            answer = reply(trade_no="T1", out_request_no="F1", refund_status=status,
                           refund_amount="20.00")  # fmt: skip
            return trades.refund_found(answer, refund_ref="F1")

        assert found("REFUND_SUCCESS") == Succeeded("T1", 2000, "CNY")
        assert found("REFUND_PROCESSING") == Pending("T1")
        assert found("REFUND_FAIL") == Refused("REFUND_FAIL")
        assert isinstance(found("NEW_STATE"), Unknown)
        assert found("") == NotFound()

    @pytest.mark.parametrize("sub_code", ["SELLER_BALANCE_NOT_ENOUGH", "ACCESS_FORBIDDEN"])
    def test_that_are_asked_for_in_vain_are_unknown(self, sub_code: str) -> None:
        assert isinstance(trades.refund_found(refusal(sub_code), refund_ref="F1"), Unknown)


class TestAnAgreement:
    def facts(self, **fields: Any) -> object:
        about = {"agreement_no": "A1", "external_agreement_no": "B1", "status": "NORMAL"}
        return agreements.facts(reply(**(about | fields)), binding_ref="B1", at=w.NOON)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("TEMP", BindingStatus.PENDING),
            ("NORMAL", BindingStatus.ACTIVE),
            ("STOP", BindingStatus.REVOKED),
            ("UNSIGN", BindingStatus.REVOKED),
        ],
    )
    def test_is_in_the_state_that_alipay_names(self, status: str, expected: BindingStatus) -> None:
        facts = self.facts(status=status)
        assert isinstance(facts, BindingFacts)
        assert facts.status is expected

    def test_that_is_another_one_says_nothing_of_ours(self) -> None:
        facts = self.facts(external_agreement_no="B2")
        assert facts == Unknown("the answer is about another agreement")

    @pytest.mark.parametrize("status", ["", "FROZEN"])
    def test_in_no_state_we_know_is_unknown(self, status: str) -> None:
        assert isinstance(self.facts(status=status), Unknown)

    def test_past_its_end_is_expired_whatever_alipay_calls_it(self) -> None:
        facts = self.facts(invalid_time=BEIJING)
        assert isinstance(facts, BindingFacts)
        assert facts.status is BindingStatus.EXPIRED
        assert facts.expires_at == w.NOON

"""The simulator's own promises: books that survive a kill, the virtual clock, faults by seed."""

from pathlib import Path

import pytest
import requests

from billing.gateways.base import Refused, Succeeded
from tests.forks import ROOT
from tests.rails.alipay_world import (
    PAY,
    QUERY,
    charge_of,
    gateway_of,
    now_of,
    refund_of,
    today_of,
    until,
)
from tests.rails.contract import new_ref
from tests.rails.simulators import RICH, start_alipay

SIMULATOR = ROOT / "billing/gateways/alipay/simulator"
ADAPTER = ROOT / "billing/gateways/alipay"


@pytest.mark.processes
class TestItsBooks:
    def test_a_killed_alipay_remembers_charges_refunds_agreements_payers_and_its_hour(
        self, own_alipay
    ):
        gateway, number = gateway_of(own_alipay), own_alipay.agree(new_ref("B"))
        request = charge_of(number)
        gateway.charge(request=request)
        gateway.refund(request=refund_of(request, 1234))
        own_alipay.advance(3 * 24 * 3600)
        own_alipay.payer(RICH, is_frozen=True)
        day = today_of(own_alipay)
        own_alipay.stop()
        own_alipay.start()
        assert today_of(own_alipay) >= day
        assert (
            gateway.charge(request=request).outcome
            == gateway.query(reference=request.reference).outcome
        )
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        refused = gateway.charge(request=charge_of(number)).outcome
        assert isinstance(refused, Refused)
        assert refused.code == "BUYER_ENABLE_STATUS_FORBID"
        assert own_alipay.charges() == {request.reference: 5000}
        (payer,) = [
            payer
            for payer in own_alipay.control("GET", "payers")["payers"]
            if payer["payer_id"] == RICH
        ]
        assert payer["balance_minor"] == 500_000_00 - 5000 + 1234

    def test_half_a_line_left_by_a_kill_is_cut_off_and_nothing_else(self, own_alipay):
        own_alipay.agree(new_ref("B"))
        before = own_alipay.journal()
        own_alipay.stop()
        with own_alipay.journal_file.open("a") as journal:
            journal.write('{"seq": 2, "kind": "cha')
        own_alipay.start()
        assert own_alipay.control("GET", "journal")["entries"] == before
        own_alipay.agree(new_ref("B"))
        assert [entry["seq"] for entry in own_alipay.journal()] == [1, 2]

    def test_the_journal_can_be_read_by_kind_and_from_where_one_left_off(self, own_alipay):
        number = own_alipay.agree(new_ref("B"))
        gateway = gateway_of(own_alipay)
        requests_made = [charge_of(number) for _ in range(2)]
        for request in requests_made:
            gateway.charge(request=request)
        later = own_alipay.control("GET", "journal?kind=charge&since=2")["entries"]
        assert [entry["reference"] for entry in later] == [requests_made[1].reference]
        assert later[0]["amount_minor"] == 5000
        assert later[0]["at"]

    def test_what_is_not_from_this_machine_or_no_order_is_refused(self, alipay):
        url = f"{alipay.url}/_control"
        wrong = [
            ("POST", "faults", {"kind": "nonsense"}),
            ("POST", "clock", {"advance_s": -5}),
            ("POST", "clock", ["x"]),
            ("POST", "settings", {"nonsense": 1}),
            ("POST", f"payers/{RICH}", {"nonsense": 1}),
            ("POST", "bills", {"kind": "nonsense"}),
            ("POST", "bills", {"kind": "amount", "amount_minor": "5"}),
            ("POST", "faults", {"kind": "slow", "times": "often"}),
            ("POST", "faults", {"kind": ["slow"]}),
            ("POST", "faults", {"rate": "often", "kinds": ["slow"]}),
            ("POST", "faults", {"rate": 1, "kinds": 5}),
            ("POST", "agreements", {"payer": 5}),
        ]
        for verb, path, body in wrong:
            assert requests.request(verb, f"{url}/{path}", json=body, timeout=10).status_code == 400


@pytest.mark.processes
class TestItsNotifications:
    def test_are_repeated_on_the_virtual_clock_until_somebody_says_success(self, own_alipay, inbox):
        inbox.answer = "failure"
        own_alipay.agree(new_ref("B"), notify_url=inbox.url)
        for count, wait_s in enumerate((240, 600, 600, 3600, 7200, 21_600, 54_000), start=1):
            self.wait_for_waits(own_alipay, count)
            own_alipay.advance(wait_s + 1)
        inbox.wait_for(8)
        assert len(set(inbox.received)) == 1  # each repeat byte for byte the same
        own_alipay.advance(10 * 24 * 3600)
        assert own_alipay.notifications()[0]["tries"] == 8

    def wait_for_waits(self, own_alipay, count):
        until(lambda: own_alipay.notifications()[0]["waits"] == count)

    def test_are_not_repeated_once_somebody_said_so(self, own_alipay, inbox):
        own_alipay.agree(new_ref("B"), notify_url=inbox.url)
        inbox.wait_for(1)
        until(lambda: own_alipay.notifications()[0]["is_accepted"])
        own_alipay.advance(24 * 3600)
        assert own_alipay.notifications()[0]["tries"] == 1

    def test_never_come_if_so_ordered(self, alipay, inbox):
        gateway, number = gateway_of(alipay), alipay.agree(new_ref("B"))
        alipay.fault(PAY, "notify_never")
        silent = charge_of(number, notify_url=inbox.url)
        told = charge_of(number, notify_url=inbox.url)
        gateway.charge(request=silent)
        gateway.charge(request=told)
        assert told.reference.encode() in inbox.wait_for(1)[0]
        sent = [one["fields"].get("out_trade_no") for one in alipay.notifications()]
        assert silent.reference not in sent

    def test_come_in_another_order_if_so_ordered(self, own_alipay, inbox):
        gateway, number = gateway_of(own_alipay), own_alipay.agree(new_ref("B"))
        own_alipay.fault(PAY, "notify_reordered", seconds=600)
        first, second = (charge_of(number, notify_url=inbox.url) for _ in range(2))
        for request in (first, second):
            gateway.charge(request=request)
        inbox.wait_for(1)
        own_alipay.advance(601)
        bodies = inbox.wait_for(2)
        assert second.reference.encode() in bodies[0]
        assert first.reference.encode() in bodies[1]


@pytest.mark.processes
class TestItsFaults:
    def test_by_chance_they_are_the_same_for_the_same_seed(self, tmp_path):
        told = []
        for run in ("one", "two"):
            directory = tmp_path / run
            directory.mkdir()
            with start_alipay(directory) as alipay:
                gateway, number = gateway_of(alipay), alipay.agree("B1")
                kinds = ["lose_after", "lose_before", "system_error", "http_500"]
                alipay.chance(rate=0.4, kinds=kinds, seed=7, methods=[PAY])
                answers = [
                    gateway.charge(request=charge_of(number, reference=f"R{count}"))
                    for count in range(40)
                ]
                told.append([type(answer.outcome).__name__ for answer in answers])
                taken = set(alipay.charges())
        assert told[0] == told[1]
        assert 5 < told[0].count("Unknown") < 30
        assert len(taken) > told[0].count("Succeeded")  # some answers were lost after the charge

    def test_can_be_ordered_for_one_reference_and_spare_the_others(self, alipay):
        gateway, number = gateway_of(alipay), alipay.agree(new_ref("B"))
        marked, spared = charge_of(number), charge_of(number)
        alipay.fault(PAY, "decline", reference=marked.reference, sub_code="PAYMENT_FAIL", times=-1)
        outcomes = [gateway.charge(request=request).outcome for request in (spared, marked, marked)]
        assert [type(outcome) for outcome in outcomes] == [Succeeded, Refused, Refused]

    def test_of_one_method_leave_the_others_alone(self, alipay):
        gateway, number = gateway_of(alipay), alipay.agree(new_ref("B"))
        alipay.fault(QUERY, "http_500", times=-1)
        assert isinstance(gateway.charge(request=charge_of(number)).outcome, Succeeded)

    def test_of_a_user_ending_it_reach_the_notification(self, alipay, inbox):
        number = alipay.agree(new_ref("B"))
        alipay.fault("alipay.user.agreement.unsign", "notify_duplicate", copies=2)
        alipay.revoke(number)
        assert len(inbox.wait_for(3)) == 3


@pytest.mark.processes
class TestItsRules:
    def post(self, alipay, method, content):
        """A call as another client would make it: all in the form, none in the query."""
        gateway = gateway_of(alipay)
        params = gateway._client._signed(method=method, content=content, notify_url="")
        answer = requests.post(f"{alipay.url}/gateway.do", data=params, timeout=10)
        return answer.json()[method.replace(".", "_") + "_response"]

    def test_everything_may_come_in_the_form(self, alipay):
        answer = self.post(alipay, QUERY, {"out_trade_no": "nothing"})
        assert answer["sub_code"] == "ACQ.TRADE_NOT_EXIST"

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"total_amount": "50.001"}, "ACQ.INVALID_PARAMETER"),
            ({"total_amount": "0"}, "ACQ.INVALID_PARAMETER"),
            ({"subject": "a/b"}, "ACQ.INVALID_PARAMETER"),
            ({"out_trade_no": "a-b"}, "ACQ.INVALID_PARAMETER"),
            ({"total_amount": "50000.01"}, "ACQ.TOTAL_FEE_EXCEED"),
            ({"product_code": "CYCLE_PAY_AUTH"}, "ACQ.AGREEMENT_ERROR"),
            ({"agreement_params": {"agreement_no": "1"}}, "ACQ.AGREEMENT_NOT_EXIST"),
        ],
    )
    def test_what_alipay_would_not_take_is_refused(self, alipay, changes, code):
        content = {
            "out_trade_no": new_ref(),
            "total_amount": "50.00",
            "subject": "话费",
            "product_code": "GENERAL_WITHHOLDING",
            "agreement_params": {"agreement_no": alipay.agree(new_ref("B"))},
        }
        assert self.post(alipay, PAY, content | changes)["sub_code"] == code

    def test_an_unpaid_trade_can_be_closed_and_a_paid_one_cannot(self, alipay):
        alipay.set(async_delay_s=3600)
        gateway = gateway_of(alipay, ALIPAY_ASYNC_TYPE="NORMAL_ASYNC")
        number = alipay.agree(new_ref("B"))
        waiting, paid = charge_of(number), charge_of(number)
        gateway.charge(request=waiting)
        gateway_of(alipay).charge(request=paid)
        closing = "alipay.trade.close"
        closed = self.post(alipay, closing, {"out_trade_no": waiting.reference})
        refused = self.post(alipay, closing, {"out_trade_no": paid.reference})
        assert closed["code"] == "10000"
        assert refused["sub_code"] == "ACQ.TRADE_STATUS_ERROR"

    def test_a_refund_is_bound_by_its_number_and_by_what_is_left(self, alipay):
        request = charge_of(alipay.agree(new_ref("B")))
        gateway_of(alipay).charge(request=request)
        ours = {"out_trade_no": request.reference}

        def give_back(amount, number=""):
            content = ours | {"refund_amount": amount}
            content |= {"out_request_no": number} if number else {}
            return self.post(alipay, "alipay.trade.refund", content)

        assert give_back("20.00", "F1")["fund_change"] == "Y"
        assert give_back("20.00", "F1")["fund_change"] == "N"
        assert give_back("21.00", "F1")["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
        assert give_back("30.01", "F2")["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
        assert give_back("30.00")["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
        assert give_back("30.00", "F2")["refund_fee"] == "50.00"
        assert give_back("0.01", "F3")["sub_code"] == "ACQ.TRADE_HAS_CLOSE"

    def test_a_year_later_a_trade_is_finished_and_cannot_be_given_back(self, own_alipay):
        request = charge_of(own_alipay.agree(new_ref("B")))
        gateway = gateway_of(own_alipay)
        gateway.charge(request=request)
        own_alipay.advance(25 * 3600)
        late = self.post(own_alipay, "alipay.trade.cancel", {"out_trade_no": request.reference})
        assert late["sub_code"] == "ACQ.TRADE_CANCEL_TIME_OUT"
        own_alipay.advance(366 * 24 * 3600)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        refused = gateway.refund(request=refund_of(request, 1)).outcome
        assert isinstance(refused, Refused)
        assert refused.code == "TRADE_HAS_FINISHED"

    def test_the_limits_of_a_cycle_agreement_can_be_changed(self, own_alipay):
        number = own_alipay.agree(
            new_ref("B"),
            product_code="CYCLE_PAY_AUTH",
            personal_product_code="CYCLE_PAY_AUTH_P",
            period_rule_params={
                "period_type": "DAY",
                "period": "7",
                "execute_time": now_of(own_alipay).date().isoformat(),
                "single_amount": "60.00",
            },
        )
        content = {"agreement_no": number, "single_amount": "80.00", "total_payments": "3"}
        method = "alipay.user.agreement.cyclepayauthplans.modify"
        assert self.post(own_alipay, method, content)["code"] == "10000"
        assert own_alipay.agreement(number)["single_quota"] == "80.00"

    @pytest.mark.parametrize(
        "rules",
        [
            {"period": "6"},
            {"period_type": "WEEK"},
            {"single_amount": "100.01"},
            {"single_amount": "0"},
            {"execute_time": "2020-01-01"},
            {"period_type": "MONTH", "period": "1", "execute_time": "2031-01-29"},
        ],
    )
    def test_a_rhythm_alipay_does_not_know_cannot_be_signed(self, alipay, rules):
        period = {
            "period_type": "DAY",
            "period": "7",
            "execute_time": "2031-01-01",
            "single_amount": "60.00",
        }
        with pytest.raises(AssertionError, match="400"):
            alipay.agree(
                new_ref("B"), product_code="CYCLE_PAY_AUTH", period_rule_params=period | rules
            )

    def test_a_stranger_is_answered_without_a_signature(self, alipay):
        answer = requests.get(f"{alipay.url}/gateway.do?app_id=1&method={PAY}", timeout=10).json()
        assert answer["error_response"]["code"] == "40001"
        assert "sign" not in answer

    def test_it_writes_where_it_was_told(self, own_alipay):
        own_alipay.agree(new_ref("B"))
        assert Path(own_alipay.journal_file).read_text().count("\n") == 1

"""The simulator's rules of deductions: three modes, hours, limits, failures, repeats."""

from datetime import timedelta

import pytest

from tests.rails.contract import new_ref
from tests.rails.wechat_merchant import Merchant, move_to, old
from tests.rails.wechat_simulator import DAY_S, FROZEN, LIMITED, POOR, start_wechat

pytestmark = pytest.mark.processes
HOUR_S = 3600


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with start_wechat(tmp_path_factory.mktemp("wechat")) as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.as_it_began()
    return process


@pytest.fixture
def merchant(wechat):
    return Merchant(wechat)


class TestADayAfterThePayerWasTold:
    def test_an_accepted_deduction_waits_twenty_four_hours_and_is_then_taken(
        self, wechat, merchant
    ):
        order = merchant.order(old(wechat))
        accepted_at = wechat.now()
        assert merchant.code("/pay/pappayapply", order) == "SUCCESS"
        assert merchant.state(order["out_trade_no"]) == "ACCEPT"
        wechat.advance(23 * HOUR_S)
        assert merchant.state(order["out_trade_no"]) == "ACCEPT"
        assert order["out_trade_no"] not in wechat.charges()
        wechat.advance(10 * HOUR_S)
        answer = merchant.call("/pay/orderquery", {"out_trade_no": order["out_trade_no"]})
        assert answer["trade_state"] == "SUCCESS"
        assert answer["total_fee"] == "5000"
        due = accepted_at + timedelta(days=1)
        assert answer["time_end"][:12] in {
            f"{at:%Y%m%d%H%M}" for at in (due, due + timedelta(seconds=3))
        }
        assert wechat.charges()[order["out_trade_no"]] == 5000

    def test_within_twelve_hours_of_signing_it_is_taken_at_once(self, wechat, merchant):
        contract_id = wechat.agree(new_ref("B"))
        wechat.age(contract_id, by_s=11 * HOUR_S)
        assert merchant.paid(contract_id)

    def test_the_query_may_know_no_order_while_it_waits(self, wechat, merchant):
        wechat.set(hides_waiting_orders=True)
        order = merchant.order(old(wechat))
        merchant.code("/pay/pappayapply", order)
        assert merchant.state(order["out_trade_no"]) == "ORDERNOTEXIST"
        assert merchant.code("/pay/pappayapply", order) == "ORDER_ACCEPTED"
        wechat.advance(DAY_S)
        assert merchant.state(order["out_trade_no"]) == "SUCCESS"

    def test_a_second_number_is_refused_while_one_is_under_way(self, wechat, merchant):
        contract_id = old(wechat)
        assert merchant.apply(contract_id) == "SUCCESS"
        other = merchant.order(contract_id)
        assert merchant.code("/pay/pappayapply", other) == "ORDER_ACCEPTED"
        assert merchant.state(other["out_trade_no"]) == "ORDERNOTEXIST"
        wechat.advance(2 * DAY_S)
        assert merchant.code("/pay/pappayapply", other) == "SUCCESS"

    def test_closing_calls_it_off_and_spends_the_number(self, wechat, merchant):
        order = merchant.order(old(wechat))
        number = {"out_trade_no": order["out_trade_no"]}
        merchant.code("/pay/pappayapply", order)
        assert merchant.code("/pay/closeorder", number) == "SUCCESS"
        wechat.advance(2 * DAY_S)
        assert merchant.state(order["out_trade_no"]) == "CLOSED"
        assert merchant.code("/pay/pappayapply", order) == "ORDERCLOSED"
        assert merchant.code("/pay/closeorder", number) == "ORDERCLOSED"
        assert order["out_trade_no"] not in wechat.charges()

    def test_a_contract_that_ends_meanwhile_ends_it_too(self, wechat, merchant):
        contract_id = old(wechat)
        order = merchant.order(contract_id)
        merchant.code("/pay/pappayapply", order)
        wechat.revoke(contract_id)
        wechat.advance(DAY_S)
        answer = merchant.call("/pay/orderquery", {"out_trade_no": order["out_trade_no"]})
        assert (answer["trade_state"], answer["err_code"]) == ("CLOSED", "CONTRACT_NOT_EXIST")


class TestWithoutNotice:
    def test_it_is_taken_at_once_and_five_times_a_day(self, wechat, merchant):
        wechat.set(mode="none")
        contract_id = old(wechat)
        for _ in range(5):
            merchant.paid(contract_id, total_fee="100")
        assert merchant.apply(contract_id) == "RULELIMIT"


class TestAfterAnAnnouncement:
    @pytest.fixture
    def contract_id(self, wechat):
        wechat.set(mode="notify")
        move_to(wechat, 12)
        return old(wechat)

    def test_nothing_is_taken_that_was_not_announced(self, wechat, merchant, contract_id):
        order = merchant.order(contract_id)
        answer = merchant.call("/pay/pappayapply", order)
        assert answer["err_code"] == "INVALID_REQUEST"
        assert "扣费前通知" in answer["err_code_des"]
        assert order["out_trade_no"] not in wechat.charges()

    def test_two_days_wait_then_seven_are_open(self, wechat, merchant, contract_id):
        assert merchant.announce(contract_id) == (204, "")
        told = []
        for _day in range(11):
            order = merchant.order(contract_id, total_fee="5001")  # never enough, so never taken
            answer = merchant.call("/pay/pappayapply", order)
            told.append(answer["err_code_des"])
            wechat.advance(DAY_S)
        waiting, open_, over = (
            "扣费等待期内不能发起扣费",
            "扣费金额不能高于预计扣费金额",
            "需要先下发扣费前通知才能发起扣费",
        )
        assert told == [waiting] * 2 + [open_] * 7 + [over] * 2

    def test_the_first_open_day_begins_at_seven_and_the_last_ends_at_twenty_two(
        self, wechat, merchant, contract_id
    ):
        merchant.announce(contract_id, deduct_duration={"count": 1, "unit": "DAY"})
        announced = wechat.journal("announcement")[-1]
        day = (wechat.now() + timedelta(days=2)).date()
        assert announced["opens_at"] == f"{day}T07:00:00+08:00"
        assert announced["closes_at"] == f"{day}T22:00:00+08:00"

    def test_one_success_uses_it_up(self, wechat, merchant, contract_id):
        merchant.announce(contract_id)
        wechat.advance(2 * DAY_S)
        assert merchant.paid(contract_id, total_fee="4999")
        wechat.advance(DAY_S)
        assert merchant.apply(contract_id) == "INVALID_REQUEST"
        assert merchant.announce(contract_id) == (204, "")

    def test_a_failure_does_not_and_another_number_may_follow(self, wechat, merchant, contract_id):
        merchant.announce(contract_id)
        wechat.advance(2 * DAY_S)
        wechat.fault("pappayapply", "decline", code="BANKERROR", final=True)
        order = merchant.order(contract_id)
        assert merchant.code("/pay/pappayapply", order) == "SUCCESS"
        assert merchant.state(order["out_trade_no"]) == "CLOSED"
        assert merchant.paid(contract_id)

    def test_within_twelve_hours_of_signing_none_is_needed(self, wechat, merchant, contract_id):
        assert merchant.paid(wechat.agree(new_ref("B")))


class TestItsHours:
    @pytest.mark.parametrize(
        ("hour", "minute", "code"),
        [
            (6, 59, "INVALID_REQUEST"),
            (7, 0, "SUCCESS"),
            (21, 58, "SUCCESS"),
            (22, 0, "INVALID_REQUEST"),
        ],
    )
    def test_are_seven_to_twenty_two_in_beijing(self, wechat, merchant, hour, minute, code):
        wechat.set(enforce_hours=True, mode="none")
        move_to(wechat, hour, minute)
        order = merchant.order(old(wechat))
        assert merchant.code("/pay/pappayapply", order) == code
        assert (order["out_trade_no"] in wechat.charges()) is (code == "SUCCESS")

    def test_hold_for_announcements_too(self, wechat, merchant):
        wechat.set(enforce_hours=True, mode="notify")
        contract_id = old(wechat)
        move_to(wechat, 22)
        assert merchant.announce(contract_id) == (400, "INVALID_REQUEST")
        move_to(wechat, 7)
        assert merchant.announce(contract_id) == (204, "")


class TestItsLimits:
    def test_five_hundred_a_deduction(self, wechat, merchant):
        contract_id = wechat.agree(new_ref("B"))
        assert merchant.apply(contract_id, total_fee="50001") == "RULELIMIT"
        assert merchant.apply(contract_id, total_fee="50000") == "SUCCESS"

    def test_two_thousand_five_hundred_a_day_and_payer(self, wechat, merchant):
        for _ in range(5):
            merchant.paid(wechat.agree(new_ref("B")), total_fee="50000")
        assert merchant.apply(wechat.agree(new_ref("B")), total_fee="1") == "RULELIMIT"
        assert merchant.apply(wechat.agree(new_ref("B"), payer=LIMITED), total_fee="1") == "SUCCESS"

    def test_one_success_a_day_and_contract(self, wechat, merchant):
        move_to(wechat, 1)
        contract_id = wechat.agree(new_ref("B"))
        merchant.paid(contract_id)
        assert merchant.apply(contract_id) == "RULELIMIT"

    def test_so_many_attempts_a_day(self, wechat, merchant):
        wechat.set(max_attempts_per_day=2)
        move_to(wechat, 1)
        contract_id = old(wechat)
        codes = [merchant.apply(contract_id, total_fee="50001") for _ in range(3)]
        assert codes == ["RULELIMIT", "RULELIMIT", "FREQUENCY_LIMITED"]


class TestAFailedDeduction:
    @pytest.mark.parametrize(
        ("payer", "amount", "code"),
        [
            (POOR, "1201", "NOTENOUGH"),
            (FROZEN, "100", "USER_ACCOUNT_ABNORMAL"),
            (LIMITED, "20001", "RULELIMIT"),
        ],
    )
    def test_is_accepted_first_and_closed_for_its_reason(
        self, wechat, merchant, payer, amount, code
    ):
        order = merchant.order(wechat.agree(new_ref("B"), payer=payer), total_fee=amount)
        assert merchant.code("/pay/pappayapply", order) == "SUCCESS"
        answer = merchant.call("/pay/orderquery", {"out_trade_no": order["out_trade_no"]})
        assert (answer["trade_state"], answer["err_code"]) == ("CLOSED", code)
        assert order["out_trade_no"] not in wechat.charges()

    def test_needs_a_new_number(self, wechat, merchant):
        contract_id = wechat.agree(new_ref("B"), payer=POOR)
        order = merchant.order(contract_id)
        merchant.code("/pay/pappayapply", order)
        wechat.payer(POOR, balance_minor=100_00)
        assert merchant.code("/pay/pappayapply", order) == "ORDERCLOSED"
        assert merchant.paid(contract_id)

    def test_may_keep_its_reason_to_itself(self, wechat, merchant):
        wechat.set(tells_why=False)
        order = merchant.order(wechat.agree(new_ref("B"), payer=POOR))
        merchant.code("/pay/pappayapply", order)
        answer = merchant.call("/pay/orderquery", {"out_trade_no": order["out_trade_no"]})
        assert answer["trade_state"] == "CLOSED"
        assert "err_code" not in answer

    def test_is_not_seen_by_the_deductions_own_query(self, wechat, merchant):
        order = merchant.order(wechat.agree(new_ref("B"), payer=POOR))
        merchant.code("/pay/pappayapply", order)
        number = {"out_trade_no": order["out_trade_no"]}
        assert merchant.code("/pay/paporderquery", number) == "ORDERNOTEXIST"
        paid = merchant.paid(wechat.agree(new_ref("B")))
        answer = merchant.call("/pay/paporderquery", {"out_trade_no": paid})
        assert answer["trade_state"] == "SUCCESS"


class TestARepeatedNumber:
    def test_of_a_paid_order_takes_nothing_more(self, wechat, merchant):
        order = merchant.order(wechat.agree(new_ref("B")))
        codes = [merchant.code("/pay/pappayapply", order) for _ in range(2)]
        assert codes == ["SUCCESS", "ORDERPAID"]
        assert wechat.charges()[order["out_trade_no"]] == 5000  # fails itself on a second one

    def test_with_another_amount_is_refused(self, wechat, merchant):
        order = merchant.order(wechat.agree(new_ref("B")))
        merchant.code("/pay/pappayapply", order)
        changed = order | {"total_fee": "5001"}
        assert merchant.code("/pay/pappayapply", changed) == "INVALID_REQUEST"

"""The simulator's rules of money: deductions in three modes, refunds, bills."""

import gzip
import ssl
from datetime import timedelta

import pytest
import requests

from billing.gateways.wechat.simulator.keys import open_keys
from tests.rails.contract import new_ref
from tests.rails.wechat_merchant import Merchant, message
from tests.rails.wechat_simulator import (
    DAY_S,
    FROZEN,
    LIMITED,
    POOR,
    RICH,
    WechatSimulator,
    start_wechat,
)

pytestmark = pytest.mark.processes
HOUR_S = 3600


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with start_wechat(tmp_path_factory.mktemp("wechat")) as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    """With the vendor's own rules, its payers as rich or poor as they began."""
    process.calm()
    process.set(
        mode="24h",
        enforce_hours=False,
        refund_delay_s=1,
        max_day_minor=2_500_00,
        max_charges_per_day=0,
        max_attempts_per_day=300,
        one_in_flight=True,
        hides_waiting_orders=False,
        tells_why=True,
        merchant_balance_minor=-1,
    )
    process.payer(RICH, balance_minor=10**9, daily_limit_minor=10**9, is_frozen=False)
    process.payer(POOR, balance_minor=12_00)
    process.advance(DAY_S)  # what other tests took today counts no longer
    return process


@pytest.fixture
def merchant(wechat):
    return Merchant(wechat)


def old(wechat: WechatSimulator, **content: object) -> str:
    """A contract past its first twelve hours."""
    contract_id = wechat.agree(new_ref("B"), **content)
    wechat.age(contract_id)
    return contract_id


def move_to(wechat: WechatSimulator, hour: int, minute: int = 0) -> None:
    """The next time it is that late in Beijing."""
    now = wechat.now()
    then = now.replace(hour=hour, minute=minute, second=0)
    wait = int((then - now).total_seconds()) % DAY_S
    wechat.advance(wait + 1)


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


class TestRefunds:
    @pytest.fixture
    def paid(self, wechat, merchant):
        wechat.set(refund_delay_s=0)
        return merchant.paid(wechat.agree(new_ref("B")))

    def give(self, merchant, out_trade_no, amount, **changes):
        answer = merchant.refund(
            **{"out_trade_no": out_trade_no, "total_fee": "5000", "refund_fee": amount, **changes}
        )
        assert answer["sign"] == merchant.signature(answer)
        return answer.get("err_code", answer["result_code"])

    def test_are_accepted_settled_a_moment_later_and_shown_as_refunded(
        self, wechat, merchant, paid
    ):
        wechat.set(refund_delay_s=3600)
        assert self.give(merchant, paid, "2000", out_refund_no="F1") == "SUCCESS"
        answer = merchant.call("/pay/refundquery", {"out_refund_no": "F1"})
        assert (answer["refund_status_0"], answer["refund_fee_0"]) == ("PROCESSING", "2000")
        assert merchant.state(paid) == "REFUND"
        assert "F1" not in wechat.refunds()
        wechat.advance(3601)
        answer = merchant.call("/pay/refundquery", {"out_refund_no": "F1"})
        assert answer["refund_status_0"] == "SUCCESS"
        assert wechat.refunds()["F1"] == 2000

    def test_of_one_number_happen_once_and_keep_their_amount(self, wechat, merchant, paid):
        number = new_ref("F")
        for _ in range(2):
            assert self.give(merchant, paid, "2000", out_refund_no=number) == "SUCCESS"
        code = self.give(merchant, paid, "2001", out_refund_no=number)
        assert code == "REFUND_FEE_MISMATCH"
        assert wechat.refunds()[number] == 2000

    def test_never_add_up_to_more_than_was_paid(self, wechat, merchant, paid):
        assert self.give(merchant, paid, "3000") == "SUCCESS"
        assert self.give(merchant, paid, "2001") == "INVALID_REQUEST"
        assert self.give(merchant, paid, "2000") == "SUCCESS"
        assert self.give(merchant, paid, "1") == "INVALID_REQUEST"
        assert self.give(merchant, paid, "1", total_fee="6000") == "REFUND_FEE_MISMATCH"

    def test_come_in_fifty_parts_at_most_and_are_told_ten_at_a_time(self, merchant, paid):
        codes = [self.give(merchant, paid, "1") for _ in range(51)]
        assert codes == ["SUCCESS"] * 50 + ["INVALID_REQUEST"]
        first = merchant.call("/pay/refundquery", {"out_trade_no": paid})
        last = merchant.call("/pay/refundquery", {"out_trade_no": paid, "offset": "45"})
        assert (first["refund_count"], first["total_refund_count"]) == ("10", "50")
        assert last["refund_count"] == "5"

    def test_end_after_a_year(self, wechat, merchant, paid):
        wechat.advance(366 * DAY_S)
        assert self.give(merchant, paid, "1") == "TRADE_OVERDUE"

    def test_need_the_merchants_own_money(self, wechat, merchant, paid):
        wechat.set(merchant_balance_minor=1999)
        assert self.give(merchant, paid, "2000") == "NOTENOUGH"
        assert self.give(merchant, paid, "1999") == "SUCCESS"

    @pytest.mark.parametrize(("ends", "left"), [("REFUNDCLOSE", "SUCCESS"), ("CHANGE", None)])
    def test_may_fail_after_they_were_accepted(self, wechat, merchant, paid, ends, left):
        number = new_ref("F")
        wechat.fault("refund", "decline", code=ends)
        assert self.give(merchant, paid, "5000", out_refund_no=number) == "SUCCESS"
        answer = merchant.call("/pay/refundquery", {"out_refund_no": number})
        assert answer["refund_status_0"] == ends
        assert number not in wechat.refunds()
        if left:  # a closed one leaves its money to be given back again
            assert self.give(merchant, paid, "5000") == left

    def test_of_what_was_never_paid_are_refused(self, wechat, merchant):
        assert self.give(merchant, new_ref(), "1") == "ORDERNOTEXIST"
        assert self.give(merchant, "", "1", transaction_id="42") == "INVALID_TRANSACTIONID"
        waiting = merchant.order(old(wechat))
        merchant.code("/pay/pappayapply", waiting)
        assert self.give(merchant, waiting["out_trade_no"], "1") == "INVALID_REQUEST"
        nothing = merchant.code("/pay/refundquery", {"out_refund_no": new_ref("F")})
        assert nothing == "REFUNDNOTEXIST"


class TestTheClientCertificate:
    def post(self, wechat, merchant, cert, url=None):
        fields = {"out_trade_no": "R1", "out_refund_no": "F", "total_fee": "1", "refund_fee": "1"}
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                f"{url or wechat.secure_url}/secapi/pay/refund",
                data=message(merchant.signed(fields)),
                cert=cert,
                verify=str(wechat.keys / "ca.pem"),
                timeout=10,
            )

    def test_is_demanded_on_either_port(self, wechat, merchant):
        for url in (wechat.url, wechat.secure_url):
            answer = self.post(wechat, merchant, None, url)
            assert answer.status_code == 400
            assert "No required SSL certificate" in answer.text

    def test_must_be_this_merchants(self, wechat, merchant, tmp_path):
        keys = tmp_path / "keys"
        keys.mkdir()
        for name in ("ca_key.pem", "ca.pem"):  # the same authority, another merchant
            (keys / name).write_text(wechat.key(name))
        open_keys(keys, mch_id="1230000999")
        cert = str(keys / "apiclient_cert.pem"), str(keys / "apiclient_key.pem")
        assert "CERT_ERROR" in self.post(wechat, merchant, cert).text

    def test_must_be_signed_by_wechat_pay(self, wechat, merchant, tmp_path):
        open_keys(tmp_path / "keys", mch_id=wechat.mch_id)
        cert = tuple(str(tmp_path / "keys" / f"apiclient_{one}.pem") for one in ("cert", "key"))
        with pytest.raises((requests.ConnectionError, ssl.SSLError)):
            self.post(wechat, merchant, cert)


class TestBills:
    @pytest.fixture
    def day(self, wechat, merchant):
        """A day with one payment of ¥50 and a refund of ¥20."""
        wechat.set(refund_delay_s=0)
        move_to(wechat, 9)
        self.paid = merchant.paid(wechat.agree(new_ref("B")), attach="附言")
        merchant.refund(out_trade_no=self.paid, total_fee="5000", refund_fee="2000")
        return f"{wechat.now():%Y%m%d}"

    def ask(self, wechat, merchant, day, **changes):
        body = message(merchant.signed({"bill_date": day, "bill_type": "ALL", **changes}))
        return requests.post(f"{wechat.url}/pay/downloadbill", data=body, timeout=10).content

    def rows(self, wechat, merchant, day, **changes):
        text = self.ask(wechat, merchant, day, **changes).decode("utf-8-sig")
        return [line.split(",") for line in text.splitlines()]

    def test_are_there_from_ten_the_next_morning(self, wechat, merchant, day):
        assert "No Bill Exist" in self.ask(wechat, merchant, day).decode()
        move_to(wechat, 9, 30)  # half past nine the next morning is too early
        wechat.advance(DAY_S)
        move_to(wechat, 10)
        assert self.paid in self.ask(wechat, merchant, day).decode()

    def test_are_being_made_before_that(self, wechat, merchant, day):
        move_to(wechat, 8)
        answer = self.ask(wechat, merchant, day).decode()
        assert "Bill Creating" in answer
        assert "20002" in answer

    def test_have_backticks_yuan_columns_of_refunds_and_two_lines_of_totals(
        self, wechat, merchant, day
    ):
        wechat.advance(2 * DAY_S)
        head, *rows, totals_head, totals = self.rows(wechat, merchant, day)
        assert len(head) == 24
        assert all(cell.startswith("`") for row in [*rows, totals] for cell in row)
        ours = [
            dict(zip(head, (cell[1:] for cell in row), strict=True))
            for row in rows
            if f"`{self.paid}" in row
        ]
        told = [(row["交易状态"], row["总金额"], row["退款金额"], row["手续费"]) for row in ours]
        assert told == [
            ("SUCCESS", "50.00", "0.00", "0.30000"),
            ("REFUND", "0.00", "20.00", "-0.12000"),
        ]
        assert ours[0]["商户数据包"] == "附言"
        assert totals_head[0] == "总交易单数"
        assert totals[0] == f"`{len(rows)}"

    def test_can_be_of_one_kind_and_zipped(self, wechat, merchant, day):
        wechat.advance(2 * DAY_S)
        (head, *paid) = self.rows(wechat, merchant, day, bill_type="SUCCESS")[:-2]
        assert len(head) == 18
        assert {row[9] for row in paid} == {"`SUCCESS"}
        zipped = self.ask(wechat, merchant, day, bill_type="REFUND", tar_type="GZIP")
        text = gzip.decompress(zipped).decode("utf-8-sig")
        assert len(text.splitlines()[0].split(",")) == 26
        assert "`REFUND" in text
        assert "`SUCCESS,`CFT" not in text

    def test_end_after_three_months(self, wechat, merchant, day):
        wechat.advance(95 * DAY_S)
        assert "No Bill Exist" in self.ask(wechat, merchant, day).decode()

    @pytest.mark.parametrize(
        ("kind", "payments"),
        [
            ("missing", []),
            ("extra", ["50.00", "0.01"]),
            ("amount", ["0.01"]),
            ("duplicate", ["50.00", "50.00"]),
        ],
    )
    def test_lie_if_so_ordered(self, wechat, merchant, day, kind, payments):
        wechat.advance(2 * DAY_S)
        honest = self.ask(wechat, merchant, day, bill_type="SUCCESS")
        wechat.control("POST", "bills", {"kind": kind, "reference": self.paid})
        rows = self.rows(wechat, merchant, day, bill_type="SUCCESS")[1:-2]
        told = [row[12][1:] for row in rows if row[6][1:] in (self.paid, "STRANGER1")]
        assert told == payments
        wechat.calm()
        assert self.ask(wechat, merchant, day, bill_type="SUCCESS") == honest

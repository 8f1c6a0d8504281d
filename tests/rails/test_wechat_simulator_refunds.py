"""What the simulator gives back, to whom, and what its bills say about it."""

import gzip
import ssl

import pytest
import requests

from billing.gateways.wechat.simulator.keys import open_keys
from tests.rails.contract import new_ref
from tests.rails.wechat_merchant import Merchant, message, move_to, old
from tests.rails.wechat_simulator import DAY_S, start_wechat

pytestmark = pytest.mark.processes


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

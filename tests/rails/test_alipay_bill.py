"""Alipay's bills: fetched within their 30 seconds, read in either spelling, false rows and all."""

import io
import zipfile
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from billing.gateways.alipay import bill, statement
from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from tests.rails.alipay_world import BILL, charge_of, gateway_of, refund_of, today_of
from tests.rails.contract import new_ref

TWO_DAYS_S = 2 * 24 * 3600

HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,"
    "券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,"
    "分润（元）,备注"
)
# Shape of a published sample, names and numbers made up.
PAYMENT = (
    "2017083121001004720299453898\t,cd6ece976b514130977cb06048359684\t,交易\t,支付宝APP支付,"
    "2017-08-31 00:06:14,2017-08-31 00:06:15,\t,\t,\t,\t,*杨(137****2600)\t,20.00,20.00,0.00,0.00,"
    "0.00,0.00,0.00,,0.00\t,0.00,\t,-0.12,0.00,备注 有 空格"
)
REFUND = (
    "2017083121001004720299453898\t,cd6ece976b514130977cb06048359684\t,退款\t,支付宝APP支付,"
    "2017-08-31 00:06:14,2017-08-31 09:30:00,\t,\t,\t,\t,*杨(137****2600)\t,-5.00,-5.00,0.00,0.00,"
    "0.00,0.00,0.00,,0.00\t,0.00,R001\t,0.03,0.00,"
)
END = (
    "#-----------------------------------------业务明细列表结束------------------------------------"
)


def bill_file(
    *lines, header=HEADER, end=END, name="20881_20170831_业务明细.csv", head=True, totals=None
):
    totals = f"#交易合计：{len(lines)}笔" if totals is None else totals
    text = ["#支付宝业务明细查询", "#账号：[20881]"] if head else []
    body = "\r\n".join([*text, header, *lines, end, totals]).encode("gbk")
    return zipped({"20881_20170831_业务明细(汇总).csv": b"#\r\n", name: body})


class GbkName(zipfile.ZipInfo):
    """Python writes such names in UTF-8, with a flag that says so; Alipay in GBK, without."""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(GbkName(name), content, zipfile.ZIP_DEFLATED)
    out.seek(0)
    return out


def rows_of(file) -> list[Any]:
    return list(bill.rows(file))


class TestReadingABill:
    def test_a_payment_and_its_refund_are_positive_fen_with_their_own_numbers(self):
        payment, refund = rows_of(bill_file(PAYMENT, REFUND))
        assert payment.kind is StatementKind.PAYMENT
        assert payment.our_ref == "cd6ece976b514130977cb06048359684"
        assert payment.provider_ref == "2017083121001004720299453898"
        assert (payment.amount_minor, payment.fee_minor, payment.refund_ref) == (2000, 12, "")
        assert payment.line_number == 4
        assert payment.at.isoformat() == "2017-08-30T16:06:15+00:00"
        assert refund.kind is StatementKind.REFUND
        assert (refund.amount_minor, refund.fee_minor, refund.refund_ref) == (500, -3, "R001")

    def test_half_width_brackets_and_the_short_name_are_the_same_columns(self):
        header = HEADER.replace("（", "(").replace("）", ")").replace("支付宝交易号", "交易号")
        (row,) = rows_of(bill_file(PAYMENT, header=header))
        assert row.amount_minor == 2000

    def test_columns_are_found_by_name_wherever_they_stand(self):
        order = HEADER.split(",")[::-1]
        cells = PAYMENT.split(",")[::-1]
        (row,) = rows_of(bill_file(",".join(cells), header=",".join(order)))
        assert (row.amount_minor, row.our_ref) == (2000, "cd6ece976b514130977cb06048359684")

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            (",20.00,20.00,", ",20.005,20.00,", "订单金额(元) is no amount"),
            (",20.00,20.00,", ",2e1,20.00,", "订单金额(元) is no amount"),
            (",20.00,20.00,", ",-20.00,20.00,", "wrong sign"),
            (",20.00,20.00,", ",0.00,20.00,", "wrong sign"),
            ("交易\t", "冻结\t", "业务类型"),
            ("cd6ece976b514130977cb06048359684\t", "\t", "numbers cannot be read"),
            (",支付宝APP支付", "", "24 cells instead of 25"),
        ],
    )
    def test_a_bad_row_is_handed_on_with_its_reason_and_the_rest_is_read(self, old, new, reason):
        bad, good = rows_of(bill_file(PAYMENT.replace(old, new, 1), REFUND))
        assert isinstance(bad, UnreadableRow)
        assert reason in bad.reason
        assert bad.line_number == 4
        assert isinstance(good, StatementRow)

    def test_another_currency_is_called_that(self):
        (row,) = rows_of(bill_file(PAYMENT + ",HKD", header=HEADER + ",币种"))
        assert (row.currency, row.amount_minor) == ("HKD", 2000)

    def test_a_fee_keeps_its_sign_whatever_the_row_is(self):
        given, taken = PAYMENT.replace("-0.12", "0.12"), REFUND.replace(",0.03,", ",-0.03,")
        _, _, payment, refund = rows_of(bill_file(PAYMENT, PAYMENT, given, taken))
        assert (payment.fee_minor, refund.fee_minor) == (-12, 3)

    def test_fees_are_read_on_the_side_that_its_own_payments_have_them(self):
        """No document says which: taken is below zero, as money that left, or above, as a fee."""
        above = PAYMENT.replace("-0.12", "0.12"), REFUND.replace(",0.03,", ",-0.03,")
        free = PAYMENT.replace("-0.12", "0.00")
        bills = {
            (PAYMENT, REFUND): [12, -3],
            above: [12, -3],
            (REFUND, PAYMENT): [-3, 12],
            above[::-1]: [-3, 12],
            (above[0], above[0], PAYMENT): [12, 12, -12],  # the odd one stays odd
            (free, REFUND): [0, -3],  # nothing tells: money that came is a fee returned
            (REFUND,): [-3],
            (above[0], PAYMENT, REFUND): [-12, 12, -3],
        }
        for lines, fees in bills.items():
            assert [row.fee_minor for row in rows_of(bill_file(*lines))] == fees, lines

    def test_none_is_written_as_0(self):
        bad, refund = rows_of(
            bill_file(
                PAYMENT.replace("cd6ece976b514130977cb06048359684", "0"),
                REFUND.replace("R001", "0"),
            )
        )
        assert (bad.reason, bad.our_ref) == ("its numbers cannot be read", "")
        assert refund.refund_ref == ""

    def test_an_unreadable_row_says_whose_it_is(self):
        ours, back = "01KAPM5ZZKBKACTAV9WEVGEMMV", "01KAPM5ZZKBKACTAV9WEVGEMMX"
        torn = REFUND.replace("cd6ece976b514130977cb06048359684", ours).replace("R001", back)
        bad, row = rows_of(
            bill_file(PAYMENT.replace(",20.00,", ",2e1,", 1), torn.replace(",支付宝APP支付", ""))
        )
        assert (bad.our_ref, bad.refund_ref) == ("cd6ece976b514130977cb06048359684", "")
        assert (row.our_ref, row.refund_ref) == (ours, back)

    @pytest.mark.parametrize(
        ("totals", "reason"),
        [
            ("#交易合计：2笔", ""),
            ("#交易合计：1笔", ""),  # of the payments alone, as some write it
            ("#交易合计：2笔，商家实收共15.00元，商家优惠共0.00元", ""),
            ("#交易合计：1笔，商家实收共20.00元，商家优惠共0.00元\r\n"
             "#退款合计：1笔，商家实收退款共-5.00元，商家优惠退款共0.00元", ""),
            ("", ""),
            ("#交易合计：3笔", "say 3 rows, and 2 were read"),
            ("#交易合计：2笔，商家实收共16.00元", "say 16.00, and 15.00 were read"),
            ("#交易合计：1笔，商家实收共20.00元\r\n#退款合计：2笔，商家实收退款共-5.00元",
             "say 3 rows, and 2 were read"),
            ("#交易合计：1笔，商家实收共20.00元\r\n#退款合计：1笔，商家实收退款共-6.00元",
             "say -6.00, and -5.00 were read"),
        ],
    )  # fmt: skip
    def test_its_own_totals_are_compared_with_what_was_read(self, totals, reason):
        rows = rows_of(bill_file(PAYMENT, REFUND, totals=totals))
        assert [type(row) for row in rows[:2]] == [StatementRow, StatementRow]
        assert [reason in row.reason for row in rows[2:]] == [True] * bool(reason)

    def test_bytes_that_are_no_gbk_spoil_a_name_but_not_the_row(self):
        raw = bill_file(PAYMENT).getvalue()
        with zipfile.ZipFile(io.BytesIO(raw), metadata_encoding="gbk") as archive:
            text = archive.read("20881_20170831_业务明细.csv")
        spoilt = text.replace("支付宝APP支付".encode("gbk"), b"\xff\xff", 1)
        (row,) = rows_of(zipped({"x业务明细.csv": spoilt}))
        assert row.amount_minor == 2000

    def test_a_bill_cut_off_is_not_ready_however_many_rows_it_has(self):
        rows = bill.rows(bill_file(PAYMENT, end="#"))
        assert next(rows).amount_minor == 2000
        with pytest.raises(StatementNotReady, match="ends before its closing line"):
            next(rows)

    @pytest.mark.parametrize(
        "file",
        [
            io.BytesIO(b"<html>system busy</html>"),
            io.BytesIO(b""),
            zipped({"something.csv": b"#"}),
            bill_file(PAYMENT, header=HEADER.replace("订单金额（元）", "金额")),
        ],
    )
    def test_what_is_no_bill_of_this_layout_is_not_ready_at_once(self, file):
        with pytest.raises(StatementNotReady):
            bill.rows(file)

    @pytest.mark.parametrize("brackets", ["（元）", "(元)", ""])
    def test_one_that_a_bank_relays_is_refused_by_name_though_it_has_all_we_read(self, brackets):
        columns = [name for name in HEADER.split(",") if name not in ("分润（元）", "备注")]
        columns += [f"实收净额{brackets}", "商户识别号", "交易方式", "备注"]
        assert len(columns) == 27
        with pytest.raises(StatementNotReady, match=r"an acquiring bank's .* 商户识别号"):
            bill.rows(bill_file(PAYMENT + ",,", header=",".join(columns)))

    def test_a_damaged_file_is_not_ready_however_much_of_it_is_whole(self):
        many = [PAYMENT.replace("cd6e", f"{number:04d}") for number in range(5000)]
        raw = bytearray(bill_file(*many).getvalue())
        raw[len(raw) // 2] ^= 0xFF
        with pytest.raises(StatementNotReady, match="damaged from line"):
            list(bill.rows(io.BytesIO(bytes(raw))))


@pytest.mark.processes
class TestFetchingABill:
    @pytest.fixture
    def gateway(self, own_alipay):
        return gateway_of(own_alipay)

    @pytest.fixture
    def charged(self, own_alipay, gateway):
        request = charge_of(own_alipay.agree(new_ref("B")))
        gateway.charge(request=request)
        return request

    def rows_of(self, own_alipay, gateway, **fault) -> list[Any]:
        day = today_of(own_alipay)
        own_alipay.advance(TWO_DAYS_S)
        if fault:
            own_alipay.control("POST", "bills", fault)
        return list(gateway.statement(day=day))

    def test_is_not_ready_on_the_day_itself_nor_for_a_day_without_trades(
        self, own_alipay, gateway, charged
    ):
        with pytest.raises(StatementNotReady, match="BILL_NOT_EXIST"):
            gateway.statement(day=today_of(own_alipay))
        with pytest.raises(StatementNotReady, match="NO_BILL_DATA"):
            gateway.statement(day=today_of(own_alipay) - timedelta(days=9))

    def test_tells_every_charge_and_refund_with_the_fee(self, own_alipay, gateway, charged):
        refund = refund_of(charged, 1000)
        gateway.refund(request=refund)
        own_alipay.control("POST", "bills", {"half_width": True})
        payment, given_back = self.rows_of(own_alipay, gateway)
        assert (payment.our_ref, payment.amount_minor, payment.fee_minor) == (
            charged.reference,
            5000,
            30,
        )
        assert (given_back.refund_ref, given_back.amount_minor) == (refund.refund_ref, 1000)

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ({"kind": "missing"}, []),
            ({"kind": "extra", "amount_minor": 100}, [5000, 100]),
            ({"kind": "amount", "amount_minor": 4999}, [4999]),
            ({"kind": "duplicate"}, [5000, 5000]),
            ({"kind": "status"}, [None]),
            ({"kind": "malformed"}, [None]),
        ],
    )
    def test_false_bills_are_told_as_they_are(self, own_alipay, gateway, charged, fault, told):
        rows = self.rows_of(own_alipay, gateway, **fault)
        assert [getattr(row, "amount_minor", None) for row in rows] == told

    def test_a_bill_that_is_cut_off_is_not_ready(self, own_alipay, gateway, charged):
        with pytest.raises(StatementNotReady, match="ends before its closing line"):
            self.rows_of(own_alipay, gateway, kind="truncated")

    def test_a_fee_that_differs_is_told(self, own_alipay, gateway, charged):
        (row,) = self.rows_of(own_alipay, gateway, kind="fee", amount_minor=99)
        assert row.fee_minor == 99

    def test_a_url_older_than_thirty_seconds_is_dead(self, own_alipay, gateway, charged):
        own_alipay.advance(TWO_DAYS_S)
        day = today_of(own_alipay) - timedelta(days=2)
        url = statement.url_of(gateway._client, day)
        assert parse_qs(urlsplit(url).query)["t"]
        assert requests.get(url, timeout=10).status_code == 200
        own_alipay.advance(30)
        assert requests.get(url, timeout=10).status_code == 403

    @pytest.mark.parametrize("kind", ["lose_before", "gateway_error", "bad_signature"])
    def test_an_unusable_answer_is_not_ready(self, own_alipay, gateway, charged, kind):
        own_alipay.advance(TWO_DAYS_S)
        own_alipay.fault(BILL, kind)
        with pytest.raises(StatementNotReady):
            gateway.statement(day=date(2026, 11, 22))

    def test_a_download_that_fails_once_is_fetched_again(
        self, own_alipay, gateway, charged, monkeypatch
    ):
        urls = [f"{own_alipay.url}/downloadBillFile.resource?t=dead"]
        real = statement.url_of
        monkeypatch.setattr(statement, "url_of", lambda *of: urls.pop() if urls else real(*of))
        (row,) = self.rows_of(own_alipay, gateway)
        assert row.our_ref == charged.reference

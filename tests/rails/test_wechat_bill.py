"""WeChat Pay's bills: gzipped or plain, in either layout, false rows and all, streamed."""

import gzip
import io
import resource
from typing import Any

import pytest

from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from billing.gateways.wechat import bill
from tests.rails.contract import new_ref
from tests.rails.wechat_simulator import DAY_S, start_wechat
from tests.rails.wechat_world import BILL, charge_of, gateway_of, refund_of

HEADER = (
    "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,总金额,代金券或立减优惠金额,微信退款单号,商户退款单号,退款金额,"
    "代金券或立减优惠退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率"
)
# Shape of the vendor's sample, names and numbers made up.
PAYMENT = (
    "`2026-11-22 16:33:45,`wx2421b1c4370ec43b,`10000100,`0,`,`1001690740201411100005734289,"
    "`1415640626,`oUpF8uMEb4qRXf22hE3X68TekukE,`PAP,`SUCCESS,`CFT,`CNY,`50.00,`0.0,`0,`0,`0,`0,"
    "`,`,`话费充值 ¥50, 一次,`,`0.30000,`0.60%"
)
REFUND = (
    "`2026-11-22 17:00:00,`wx2421b1c4370ec43b,`10000100,`0,`,`1001690740201411100005734289,"
    "`1415640626,`oUpF8uMEb4qRXf22hE3X68TekukE,`PAP,`REFUND,`CFT,`CNY,`0.00,`0.0,"
    "`2008450740201411110000174436,`F001,`12.50,`0.0,`ORIGINAL,`PROCESSING,`话费充值,`,`-0.07500,"
    "`0.60%"
)
TOTALS = (
    "总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额\r\n"
    "`2,`50.00,`12.50,`0.0,`0.22500"
)


def bill_text(*lines, header=HEADER, end=None):
    """With a foot that counts these lines, and sums nothing."""
    if end is None:
        end = f"{TOTALS.splitlines()[0]}\r\n`{len(lines)}"
    return "\r\n".join([header, *lines, *([end] if end else [])]) + "\r\n"


def rows_of(text, *, bom=False, zipped=True) -> list[Any]:
    raw = text.encode("utf-8-sig" if bom else "utf-8") if isinstance(text, str) else text
    return list(bill.rows(io.BytesIO(gzip.compress(raw) if zipped else raw)))


class TestReadingABill:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("bom", [True, False])
    def test_a_payment_and_its_refund_are_positive_fen_with_their_own_numbers(self, zipped, bom):
        payment, refund = rows_of(bill_text(PAYMENT, REFUND), zipped=zipped, bom=bom)
        assert payment.kind is StatementKind.PAYMENT
        assert payment.our_ref == "1415640626"
        assert payment.provider_ref == "1001690740201411100005734289"
        assert (payment.amount_minor, payment.fee_minor, payment.refund_ref) == (5000, 30, "")
        assert payment.line_number == 2
        assert payment.at.isoformat() == "2026-11-22T08:33:45+00:00"
        assert refund.kind is StatementKind.REFUND
        assert (refund.amount_minor, refund.fee_minor, refund.refund_ref) == (1250, -8, "F001")
        assert {payment.currency, refund.currency} == {"CNY"}

    def test_columns_are_found_by_name_wherever_they_stand_and_whatever_is_added(self):
        header = ",".join([*HEADER.split(",")[::-1], "费率备注"])
        cells = PAYMENT[1:].split(",`")[::-1]
        (row,) = rows_of(bill_text("`" + ",`".join([*cells, "x"]), header=header))
        assert (row.amount_minor, row.our_ref) == (5000, "1415640626")

    def test_the_newer_layouts_order_amount_is_what_the_payer_paid(self):
        header = HEADER.replace("总金额", "应结订单金额") + ",订单金额,申请退款金额"
        payment, refund = rows_of(
            bill_text(
                PAYMENT.replace("`50.00", "`47.00") + ",`50.00,`0.00",
                REFUND.replace("`12.50", "`11.75") + ",`0.00,`12.50",
                header=header,
            )
        )
        assert (payment.amount_minor, refund.amount_minor) == (5000, 1250)

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("`50.00", "`50.005", "总金额 is no amount"),
            ("`50.00", "`5e1", "总金额 is no amount"),
            ("`50.00", "`-50.00", "not above zero"),
            ("`50.00", "`0.00", "not above zero"),
            ("`SUCCESS", "`NOTPAY", "交易状态"),
            ("`1415640626", "`", "numbers cannot be read"),
            ("`0.30000", "`0.3x", "手续费 is no amount"),
            ("`0.30000", "`NaN", "手续费 is no amount"),
            ("`0.30000", "`1e999999", "手续费 is no amount"),
            ("`0.30000", "`0.3000001", "手续费 is no amount"),
            (",`CFT", "", "23 cells instead of 24"),
        ],
    )
    def test_a_bad_row_is_handed_on_with_its_line_and_reason_and_the_rest_is_read(
        self, old, new, reason
    ):
        bad, good = rows_of(bill_text(PAYMENT.replace(old, new, 1), REFUND))
        assert isinstance(bad, UnreadableRow)
        assert reason in bad.reason
        assert bad.line_number == 2
        assert isinstance(good, StatementRow)
        assert good.line_number == 3

    def test_another_currency_is_called_that(self):
        (row,) = rows_of(bill_text(PAYMENT.replace("`CNY", "`HKD")))
        assert (row.currency, row.amount_minor, row.our_ref) == ("HKD", 5000, "1415640626")

    def test_a_refunds_own_status_says_whether_it_was_made(self):
        kinds = {
            "SUCCESS": StatementKind.REFUND,
            "PROCESSING": StatementKind.REFUND,
            "": StatementKind.REFUND,
            "FAIL": StatementKind.REFUND_FAILED,
            "CHANGE": StatementKind.REFUND_FAILED,
            "REFUNDCLOSE": StatementKind.REFUND_FAILED,
        }
        read = {
            status: rows_of(bill_text(REFUND.replace("`PROCESSING", f"`{status}")))
            for status in kinds
        }
        assert {status: row.kind for status, (row,) in read.items()} == kinds
        assert {row.refund_ref for (row,) in read.values()} == {"F001"}
        (odd,) = rows_of(bill_text(REFUND.replace("`PROCESSING", "`LATER")))
        assert (odd.reason, odd.our_ref) == ("its 退款状态 is 'LATER'", "1415640626")

    def test_a_fee_keeps_its_sign_whatever_the_row_is(self):
        given = PAYMENT.replace("`0.30000", "`-0.30000")
        taken = REFUND.replace("`-0.07500", "`0.07500").replace("`12.50", "`-12.50")
        payment, refund = rows_of(bill_text(given, taken))
        assert (payment.fee_minor, refund.fee_minor, refund.amount_minor) == (-30, 8, 1250)

    def test_none_is_written_as_0(self):
        bad, refund = rows_of(
            bill_text(PAYMENT.replace("`1415640626", "`0"), REFUND.replace("`F001", "`0"))
        )
        assert (bad.reason, bad.our_ref, bad.refund_ref) == ("its numbers cannot be read", "", "")
        assert (refund.our_ref, refund.refund_ref) == ("1415640626", "")

    def test_a_damaged_row_is_known_by_a_reference_of_ours_in_it(self):
        ours, back = "01KAPM5ZZKBKACTAV9WEVGEMMV", "01KAPM5ZZKBKACTAV9WEVGEMMX"
        torn = REFUND.replace("1415640626", ours).replace("F001", back).replace(",`CFT", "")
        (row,) = rows_of(bill_text(torn))
        assert (row.reason, row.our_ref, row.refund_ref) == (
            "23 cells instead of 24", ours, back
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("`2,", "`3,", "own totals say 3 rows, and 2 were read"),
            ("`50.00,", "`60.00,", "own totals say 60.00 of 总金额, and 50.00 were read"),
            ("`12.50,", "`0.00,", "own totals say 0.00 of 退款金额, and 12.50 were read"),
        ],
    )
    def test_its_own_totals_are_compared_with_what_was_read(self, old, new, reason):
        assert len(rows_of(bill_text(PAYMENT, REFUND, end=TOTALS))) == 2
        *rows, last = rows_of(bill_text(PAYMENT, REFUND, end=TOTALS.replace(old, new)))
        assert [type(row) for row in rows] == [StatementRow, StatementRow]
        assert isinstance(last, UnreadableRow)
        assert reason in last.reason
        assert (last.our_ref, last.refund_ref) == ("", "")

    def test_totals_of_an_unreadable_row_are_its_count_alone(self):
        (bad, _refund) = rows_of(bill_text(PAYMENT.replace("`50.00", "`5e1"), REFUND, end=TOTALS))
        assert (bad.our_ref, bad.reason) == ("1415640626", "its 总金额 is no amount")

    def test_bytes_that_are_no_utf8_spoil_a_name_but_not_the_row_and_a_number_they_do(self):
        text = bill_text(PAYMENT)
        (row,) = rows_of(text.encode().replace("话费".encode(), b"\xff\xfe", 1))
        assert row.amount_minor == 5000
        (bad,) = rows_of(text.encode().replace(b"1415640626", b"141564\xff626", 1))
        assert bad.reason == "its numbers cannot be read"

    def test_a_bill_without_its_totals_is_not_ready_however_many_rows_it_has(self):
        with pytest.raises(StatementNotReady, match="ends before its totals"):
            rows_of(bill_text(PAYMENT, end=""))

    def test_what_follows_the_totals_is_no_row(self):
        assert len(rows_of(bill_text(PAYMENT) + "`3,`1,`1,`1,`1\r\n")) == 1

    @pytest.mark.parametrize("cut", [0.3, 0.7, 0.95])
    def test_a_damaged_file_is_not_ready_however_much_of_it_is_whole(self, cut):
        many = [
            PAYMENT.replace("1415640626", f"R{number:07d}x{number**3}") for number in range(20_000)
        ]
        raw = gzip.compress(bill_text(*many).encode())
        found = []
        with pytest.raises(StatementNotReady, match="damaged from line"):
            found.extend(bill.rows(io.BytesIO(raw[: int(len(raw) * cut)])))
        assert 1000 < len(found) < 20_000

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"<html>busy</html>",
            b"\x1f\x8b",
            b"\x1f\x8b\x08\x00broken",
            bill_text(PAYMENT, header=HEADER.replace("总金额", "金额")).encode(),
            bill_text(PAYMENT, header=HEADER.replace("商户订单号", "订单")).encode(),
        ],
    )
    def test_what_is_no_bill_of_this_layout_is_not_ready_at_once(self, raw):
        with pytest.raises(StatementNotReady):
            bill.rows(io.BytesIO(raw))

    @pytest.mark.parametrize("words", ["No Bill Exist", "Bill Creating"])
    def test_an_error_in_place_of_a_bill_is_not_ready_in_wechats_words(self, words):
        body = (
            f"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[{words}]]>"
            "</return_msg><error_code><![CDATA[20002]]></error_code></xml>"
        )
        with pytest.raises(StatementNotReady, match=f"20002 {words}"):
            rows_of(body, zipped=False)

    def test_an_error_that_is_no_document_is_not_ready_and_nothing_of_it_is_quoted(self):
        body = '<xml><!DOCTYPE x [<!ENTITY a "secret">]><return_msg>&a;</return_msg></xml>'
        with pytest.raises(StatementNotReady) as refusal:
            rows_of(body, zipped=False)
        assert "secret" not in str(refusal.value)

    def test_a_hundred_thousand_rows_pass_through_a_few_megabytes(self, tmp_path):
        path = tmp_path / "bill.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            file.write(HEADER + "\r\n")
            for number in range(100_000):
                file.write(PAYMENT.replace("1415640626", f"R{number:06d}") + "\r\n")
            file.write(TOTALS.splitlines()[0] + "\r\n`100000,`5000000.00,`0.00")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = path.stat().st_size
        with path.open("rb") as file:
            total = 0
            for count, row in enumerate(bill.rows(file), start=1):
                assert isinstance(row, StatementRow)
                total += row.amount_minor
                if count in (1, 50_000):  # no further in the file than it had to be
                    assert file.tell() < size * (0.6 if count > 1 else 0.1) + 65_536
        assert (count, total) == (100_000, 500_000_000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # kilobytes


@pytest.mark.processes
class TestFetchingABill:
    """On one WeChat Pay that made a charge and a refund the day before yesterday."""

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory):
        with start_wechat(tmp_path_factory.mktemp("wechat"), mode="none") as wechat:
            gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
            if wechat.now().hour == 23:  # both are to be of one day
                wechat.advance(3600)
            charge = charge_of(wechat.agree(new_ref("B")))
            gateway.charge(request=charge)
            refund = refund_of(charge, 1000)
            gateway.refund(request=refund)
            day = wechat.now().date()
            wechat.advance(2 * DAY_S)
            yield wechat, gateway, day, charge, refund

    @pytest.fixture(autouse=True)
    def calm(self, made):
        made[0].calm()

    def test_tells_every_charge_and_refund_with_the_fee(self, made):
        _, gateway, day, charge, refund = made
        payment, given_back = list(gateway.statement(day=day))
        assert (payment.our_ref, payment.amount_minor) == (charge.reference, 5000)
        assert payment.fee_minor > 0
        assert (given_back.refund_ref, given_back.amount_minor) == (refund.refund_ref, 1000)
        assert given_back.our_ref == charge.reference

    def test_is_not_ready_for_today_nor_for_a_day_without_trades(self, made):
        wechat, gateway, day, *_ = made
        for other in (wechat.now().date(), day.replace(year=day.year - 1)):
            with pytest.raises(StatementNotReady):
                gateway.statement(day=other)

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ({"kind": "missing"}, [1000]),
            ({"kind": "amount", "amount_minor": 4999}, [4999, 1000]),
            ({"kind": "duplicate"}, [5000, 5000, 1000]),
            ({"kind": "status"}, [None, 1000]),
            ({"kind": "malformed"}, [None, 1000]),
            ({"kind": "extra", "amount_minor": 100}, [5000, 100, 1000]),
        ],
    )
    def test_false_bills_are_told_as_they_are(self, made, fault, told):
        wechat, gateway, day, *_ = made
        wechat.control("POST", "bills", fault)
        rows = list(gateway.statement(day=day))
        assert [getattr(row, "amount_minor", None) for row in rows] == told

    def test_a_bill_that_is_cut_off_is_not_ready(self, made):
        wechat, gateway, day, *_ = made
        wechat.control("POST", "bills", {"kind": "truncated"})
        with pytest.raises(StatementNotReady, match="ends before its totals"):
            list(gateway.statement(day=day))

    @pytest.mark.parametrize("kind", ["lose_before", "http_500", "return_fail", "garbage"])
    def test_an_unusable_answer_is_not_ready(self, made, kind):
        wechat, gateway, day, *_ = made
        wechat.fault(BILL, kind)
        with pytest.raises(StatementNotReady):
            gateway.statement(day=day)
        assert len(list(gateway.statement(day=day))) == 2

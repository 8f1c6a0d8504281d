"""Bills: made from the books when asked for, falsified on order.

A day's bill is there from 10:00 of the next. Amounts are positive yuan, refunds have columns of
their own, each cell begins with a backtick, and two lines of totals end it.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from billing.gateways.wechat.simulator import instants
from billing.gateways.wechat.simulator.books import Books
from billing.gateways.wechat.simulator.money import fee_text, yuan
from billing.gateways.wechat.simulator.records import Order, Refund
from billing.gateways.wechat.simulator.refusals import Refusal

_READY_AT = time(10)
_KEPT_FOR = timedelta(days=92)
_NO_BILL = "20002"
_HEAD = "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,"
_HEAD += "交易状态,付款银行,货币种类,总金额,代金券或立减优惠金额"
_REFUND_TIMES = ",退款申请时间,退款成功时间"
_REFUND = ",微信退款单号,商户退款单号,退款金额,代金券或立减优惠退款金额,退款类型,退款状态"
_FOOT = ",商品名称,商户数据包,手续费,费率"
_COLUMNS = {
    "ALL": _HEAD + _REFUND + _FOOT,
    "SUCCESS": _HEAD + _FOOT,
    "REFUND": _HEAD + _REFUND_TIMES + _REFUND + _FOOT,
}
_TOTALS = "总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额"
FAULTS = frozenset(
    {"missing", "extra", "amount", "status", "duplicate", "fee", "malformed", "truncated"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a payment, or a refund if `refund` is set."""

    order: Order
    bank_type: str
    at: datetime
    amount_minor: int
    fee_minor: int
    refund: Refund | None = None
    state: str = ""

    def cells(self, app_id: str, mch_id: str, bill_type: str) -> list[str]:
        order, paid = self.order, self.refund is None
        cells = [
            instants.dashed(self.at), app_id, mch_id, "0", "", order.transaction_id,
            order.out_trade_no, order.openid, "PAP",
            self.state or ("SUCCESS" if paid else "REFUND"), self.bank_type, "CNY",
            yuan(self.amount_minor) if paid else "0.00", "0.00",
        ]  # fmt: skip
        if bill_type != "SUCCESS":
            cells += self._refund_cells(with_times=bill_type == "REFUND")
        return [
            *cells,
            order.body.replace(",", " "),
            order.attach,
            fee_text(self.fee_minor),
            "0.60%",
        ]

    def _refund_cells(self, *, with_times: bool) -> list[str]:
        given = self.refund
        if given is None:
            return ["0", "0", "0.00", "0.00", "", ""]
        done_at = instants.dashed(given.done_at) if given.done_at else ""
        times = [instants.dashed(given.accepted_at), done_at] if with_times else []
        return [
            *times, given.refund_id, given.out_refund_no, yuan(self.amount_minor), "0.00",
            "ORIGINAL", given.status,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lie:
    """One order, as `falsify` takes it."""

    kind: str
    reference: str
    amount_minor: int
    extra_reference: str


class Bills:
    """Makes bills; `falsify` orders lies."""

    def __init__(self, books: Books, *, app_id: str, mch_id: str) -> None:
        self._books = books
        self._app_id, self._mch_id = app_id, mch_id
        self._faults: list[Lie] = []

    def falsify(self, fault: Mapping[str, object]) -> None:
        """{"kind": one of FAULTS, "reference": out_trade_no, "amount_minor": …}."""
        kind, amount_minor = fault.get("kind"), fault.get("amount_minor", 1)
        if not isinstance(kind, str) or kind not in FAULTS:
            raise ValueError(f"unknown kind of bill fault: {kind!r}")
        if not isinstance(amount_minor, int):
            raise ValueError("amount_minor must be a whole number")
        stranger = str(fault.get("extra_reference", "STRANGER1"))
        self._faults.append(Lie(kind, str(fault.get("reference", "")), amount_minor, stranger))

    def be_honest(self) -> None:
        self._faults.clear()

    def file(self, fields: Mapping[str, str], *, now: datetime) -> bytes:
        """The bill, zipped if asked. Raises Refusal while there is none."""
        bill_type = fields.get("bill_type") or "ALL"
        on = _date(fields["bill_date"])
        if bill_type not in _COLUMNS:
            raise Refusal("20001", "invalid bill_type")
        ready_at = datetime.combine(on + timedelta(days=1), _READY_AT, instants.BEIJING)
        if now < ready_at:
            raise Refusal(_NO_BILL, "Bill Creating" if on < instants.day(now) else "No Bill Exist")
        rows = list(self._rows(on, bill_type)) if now - ready_at < _KEPT_FOR else []
        if not rows:
            raise Refusal(_NO_BILL, "No Bill Exist")
        text = self._text(list(self._falsified(rows)), bill_type)
        raw = text.encode("utf-8-sig" if self._books.settings.bill_has_bom else "utf-8")
        return gzip.compress(raw) if fields.get("tar_type") == "GZIP" else raw

    def _text(self, rows: list[Row], bill_type: str) -> str:
        kinds = {fault.kind for fault in self._faults}
        lines = [_line(row.cells(self._app_id, self._mch_id, bill_type)) for row in rows]
        if "malformed" in kinds and lines:
            lines[0] = lines[0].replace("`CNY,", "")
        paid = [row for row in rows if row.refund is None]
        given = [row for row in rows if row.refund is not None]
        totals = [
            str(len(rows)), yuan(sum(row.amount_minor for row in paid)),
            yuan(sum(row.amount_minor for row in given)), "0.00",
            fee_text(sum(row.fee_minor for row in rows)),
        ]  # fmt: skip
        foot = [] if "truncated" in kinds else [_TOTALS, _line(totals)]
        return "\r\n".join([_COLUMNS[bill_type], *lines, *foot, ""])

    def _rows(self, on: date, bill_type: str) -> Iterator[Row]:
        with self._books.lock:
            orders = list(self._books.orders.values())
        for order in orders:
            if order.paid_at is None:
                continue
            bank = self._books.payers[order.openid].bank_type
            if instants.day(order.paid_at) == on and bill_type != "REFUND":
                yield Row(order, bank, order.paid_at, order.amount_minor, _fee(order.amount_minor))
            for refund in self._books.refunds_of(order.out_trade_no):
                at = refund.done_at
                if at and instants.day(at) == on and bill_type != "SUCCESS":
                    fee = -_fee(refund.amount_minor)
                    yield Row(order, bank, at, refund.amount_minor, fee, refund)

    def _falsified(self, rows: list[Row]) -> Iterator[Row]:
        """Each order changes the rows of its reference, or the first row if it names none."""
        for number, row in enumerate(rows):
            told = [row]
            for fault in self._faults:
                wanted = fault.reference
                if row.order.out_trade_no == wanted or (not wanted and number == 0):
                    told = [lie for one in told for lie in _lies(one, fault)]
            yield from told


def _lies(row: Row, fault: Lie) -> list[Row]:
    match fault.kind:
        case "missing":
            return []
        case "extra":
            stranger = replace(
                row.order, out_trade_no=fault.extra_reference, transaction_id="9" * 28
            )
            return [row, replace(row, order=stranger, amount_minor=fault.amount_minor, refund=None)]
        case "amount":
            return [replace(row, amount_minor=fault.amount_minor)]
        case "status":
            return [replace(row, state="REVOKED")]
        case "duplicate":
            return [row, row]
        case "fee":
            return [replace(row, fee_minor=fault.amount_minor)]
        case _:
            return [row]


def _fee(amount_minor: int) -> int:
    """0.6 %, rounded half up; given back with a refund."""
    return (amount_minor * 6 + 500) // 1000


def _line(cells: list[str]) -> str:
    return ",".join(f"`{cell}" for cell in cells)


def _date(written: str) -> date:
    try:
        return datetime.strptime(written, "%Y%m%d").date()  # noqa: DTZ007
    except ValueError as error:
        raise Refusal("20001", "invalid bill_date") from error

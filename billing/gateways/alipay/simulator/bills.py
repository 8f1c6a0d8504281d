"""Bills: made from the books when asked for, falsified on order, handed out for 30 seconds."""

import io
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billing.gateways.alipay.simulator import instants
from billing.gateways.alipay.simulator.books import Books, Trade
from billing.gateways.alipay.simulator.money import yuan
from billing.gateways.alipay.simulator.refusals import Refusal
from billing.gateways.simulation.agenda import VirtualClock

LIVES_FOR = timedelta(seconds=30)
_READY_AT = timedelta(hours=9)
_FORMATS = {10: "%Y-%m-%d", 7: "%Y-%m"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")
_RULE = "-" * 41
_COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,"
    "对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,"
    "券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,"
    "分润（元）,备注"
)
FAULTS = frozenset(
    {"missing", "extra", "amount", "status", "duplicate", "fee", "malformed", "truncated"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the bill. Amounts as on it: refunds below zero, the fee on the other side."""

    trade_no: str
    out_trade_no: str
    kind: str
    subject: str
    created_at: datetime
    at: datetime
    account: str
    amount_minor: int
    fee_minor: int
    refund_number: str = ""

    def line(self) -> str:
        """Numbers and empty fields end with a tab, so that spreadsheets leave them alone."""
        cells = [
            f"{self.trade_no}\t", f"{self.out_trade_no}\t", self.kind, self.subject,
            instants.text(self.created_at), instants.text(self.at), "\t", "\t", "\t", "\t",
            f"{self.account}\t", yuan(self.amount_minor), yuan(self.amount_minor),
            "0.00", "0.00", "0.00", "0.00", "0.00", "", "0.00", "0.00",
            f"{self.refund_number}\t", yuan(self.fee_minor), "0.00", "",
        ]  # fmt: skip
        return ",".join(cells)


@dataclass(frozen=True, slots=True)
class Lie:
    """One order, as `falsify` takes it."""

    kind: str
    reference: str
    amount_minor: int
    extra_reference: str


class Bills:
    """Makes bills and remembers who may fetch which, and for how long."""

    def __init__(self, books: Books, time: VirtualClock, seller_id: str) -> None:
        self._books = books
        self._time = time
        self._seller_id = seller_id
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._faults: list[Lie] = []
        self.has_half_width_header = False

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

    def token(self, *, bill_type: str, bill_date: str, now: datetime) -> str:
        """Permission to fetch one bill. Raises Refusal while there is none."""
        if bill_type not in ("trade", "signcustomer") or not _DATE.fullmatch(bill_date):
            raise Refusal("INVALID_PARAMETER")
        if now < _ready_at(bill_date):
            raise Refusal("BILL_NOT_EXIST")
        if not any(True for _ in self._rows(bill_date)):
            raise Refusal("NO_BILL_DATA")
        token = secrets.token_urlsafe(16)
        self._tokens[token] = (bill_date, now + LIVES_FOR)
        return token

    def file(self, token: str) -> bytes | None:
        """The zip, or None for a token that is unknown or too old."""
        bill_date, until = self._tokens.get(token, ("", self._time.now()))
        if not bill_date or self._time.now() >= until:
            return None
        return _zipped(self._seller_id, bill_date, self._text(bill_date))

    def _text(self, bill_date: str) -> str:
        rows = list(self._falsified(self._rows(bill_date)))
        kinds = {fault.kind for fault in self._faults}
        columns = _COLUMNS
        if self.has_half_width_header:
            columns = columns.replace("（", "(").replace("）", ")").removeprefix("支付宝")
        lines = [row.line() for row in rows]
        if "malformed" in kinds and lines:
            lines[0] = lines[0].split(",订")[0].rsplit(",", 9)[0]
        taken = sum(row.amount_minor for row in rows)
        end = f"#{_RULE}业务明细列表结束{'-' * 36}"
        total = f"#交易合计：{len(rows)}笔，商家实收共{yuan(taken)}元，商家优惠共0.00元"
        foot = [] if "truncated" in kinds else [end, total]
        head = [
            "#支付宝业务明细查询",
            f"#账号：[{self._seller_id}0156]",
            f"#起始日期：[{bill_date} 00:00:00]   终止日期：[{bill_date} 24:00:00]",
            f"#{_RULE}业务明细列表{'-' * 40}",
            columns,
        ]
        return "\r\n".join([*head, *lines, *foot, ""])

    def _rows(self, bill_date: str) -> Iterator[Row]:
        """Payments and refunds whose Beijing day begins with `bill_date` (a day or a month)."""
        with self._books.lock:
            trades = list(self._books.trades.values())
        for trade in trades:
            if trade.paid_at is None:
                continue
            account = self._books.payers[trade.payer_id].logon_id
            if _is_in(trade.paid_at, bill_date):
                yield _row(trade, account, "交易", trade.paid_at, trade.amount_minor, "")
            for refund in trade.refunds.values():
                if _is_in(refund.at, bill_date):
                    yield _row(
                        trade, account, "退款", refund.at, -refund.amount_minor, refund.reference
                    )

    def _falsified(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Each order changes the rows of its reference, or the first row if it names none."""
        for number, row in enumerate(rows):
            changed: list[Row] = [row]
            for fault in self._faults:
                wanted = fault.reference
                if row.out_trade_no == wanted or (not wanted and number == 0):
                    changed = [other for one in changed for other in _lie(one, fault)]
            yield from changed


def _lie(row: Row, fault: Lie) -> list[Row]:
    match fault.kind:
        case "missing":
            return []
        case "extra":
            stranger = replace(row, out_trade_no=fault.extra_reference)
            return [row, replace(stranger, trade_no="9" * 28, amount_minor=fault.amount_minor)]
        case "amount":
            return [replace(row, amount_minor=fault.amount_minor)]
        case "status":
            return [replace(row, kind="交易冻结")]
        case "duplicate":
            return [row, row]
        case "fee":
            return [replace(row, fee_minor=-fault.amount_minor)]
        case _:
            return [row]


def _row(
    trade: Trade, account: str, kind: str, at: datetime, amount_minor: int, number: str
) -> Row:
    # 0.6 %, taken from a payment, given back with a refund; rounded half up.
    fee_minor = (abs(amount_minor) * 6 + 500) // 1000
    return Row(
        trade_no=trade.trade_no,
        out_trade_no=trade.out_trade_no,
        kind=kind,
        subject=trade.subject.replace(",", "，"),
        created_at=trade.created_at,
        at=at,
        account=account,
        amount_minor=amount_minor,
        fee_minor=-fee_minor if amount_minor > 0 else fee_minor,
        refund_number=number,
    )


def _is_in(at: datetime, bill_date: str) -> bool:
    return instants.day(at).isoformat().startswith(bill_date)


def _ready_at(bill_date: str) -> datetime:
    """The morning after the day, or after the month's last day."""
    first = datetime.strptime(bill_date, _FORMATS[len(bill_date)]).date()  # noqa: DTZ007
    following = first + timedelta(days=1)
    if len(bill_date) == 7:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    midnight = datetime(following.year, following.month, following.day, tzinfo=instants.BEIJING)
    return midnight + _READY_AT


def _zipped(seller_id: str, bill_date: str, detail: str) -> bytes:
    """Entry names in GBK and without the flag that says otherwise, as Alipay's are."""
    day = bill_date.replace("-", "")
    summary = "#支付宝业务汇总查询\r\n门店编号,门店名称,交易订单总笔数\r\n合计\t,\t,1\r\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for title, text in (("业务明细(汇总)", summary), ("业务明细", detail)):
            entry = _GbkEntry(f"{seller_id}0156_{day}_{title}.csv")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode("gb18030"))
    return out.getvalue()


class _GbkEntry(zipfile.ZipInfo):
    """zipfile writes names that are not ASCII in UTF-8 only; Alipay does not."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("gbk"), self.flag_bits & ~0x800

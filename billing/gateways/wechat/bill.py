"""WeChat Pay's bill of one day: CSV whose cells each begin with a backtick, gzipped or plain.

Columns are found by name, for their order and number vary: a newer layout says 应结订单金额 for
总金额 and adds 订单金额 and 申请退款金额. A row that cannot be read is handed on as such, and the
rest goes on.
"""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from billing.gateways import references
from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from billing.gateways.tallies import Tally, differing
from billing.gateways.wechat import instants
from billing.gateways.wechat.documents import UnreadableDocument, from_xml
from billing.gateways.wechat.orders import CURRENCY
from billing.money import InvalidAmount, from_decimal_text, minor_digits, share, to_decimal_text

_KINDS = {
    "SUCCESS": StatementKind.PAYMENT,
    "REFUND": StatementKind.REFUND,
    "REVOKED": StatementKind.REFUND,
}
_NEEDED = ("交易时间", "微信订单号", "商户订单号", "交易状态", "手续费")
# What the payer paid, and what was asked back: the first of these that the layout has.
_AMOUNTS = {
    StatementKind.PAYMENT: ("订单金额", "总金额", "应结订单金额"),
    StatementKind.REFUND: ("申请退款金额", "退款金额"),
}
_SUMS = {
    "订单金额": ("订单总金额",),
    "总金额": ("总交易额",),
    "应结订单金额": ("应结订单总金额",),
    "申请退款金额": ("申请退款总金额",),
    "退款金额": ("退款总金额", "总退款金额"),
}
# Under way the money has left us already; failed, or to be paid out some other way, it is back.
_REFUND_STATES = {
    **dict.fromkeys(("", "SUCCESS", "PROCESSING"), StatementKind.REFUND),
    **dict.fromkeys(
        ("FAIL", "CHANGE", "REFUNDCLOSE", "CLOSED", "ABNORMAL"), StatementKind.REFUND_FAILED
    ),
}
_FEE = re.compile(r"-?(?P<whole>[0-9]{1,10})(\.(?P<part>[0-9]{1,5}))?")
_FEE_DIGITS = 5
_TOTALS = "总交易单数"
_GZIP = b"\x1f\x8b"
_XML = b"<xml>"
_LONGEST_LINE = 8192
_LONGEST_ERROR = 4096
_UNDECODABLE = "\ufffd"
_DAMAGED = (EOFError, OSError, zlib.error)


class _BadRow(ValueError):
    """One row's reason for being unreadable."""


def rows(file: IO[bytes]) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of a downloaded bill, streamed from `file`, which must stay open.

    Raises StatementNotReady at once for an error in place of a bill, or another layout.
    """
    start = file.read(len(_XML))
    file.seek(0)
    if start == _XML:
        raise StatementNotReady(_said(file.read(_LONGEST_ERROR)))
    raw: IO[bytes] = gzip.GzipFile(fileobj=file, mode="rb") if start.startswith(_GZIP) else file  # type: ignore[assignment]
    # A stray byte spoils its own cell, not the file. The bill may begin with a mark of its order.
    text = io.TextIOWrapper(raw, "utf-8-sig", errors="replace", newline="")
    lines = enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1)
    try:
        columns = _columns(lines)
    except _DAMAGED as error:
        raise StatementNotReady("The bill that came is not a whole gzip file.") from error
    return _rows(lines, columns)


def _said(body: bytes) -> str:
    """WeChat Pay's own words for having no bill: "No Bill Exist", "Bill Creating", …"""
    try:
        fields = from_xml(body)
    except UnreadableDocument as error:
        return f"WeChat Pay sent no bill, and {error}."
    code = fields.get("error_code") or fields.get("err_code", "")
    words = f"{code} {fields.get('return_msg', '')}".strip()
    return f"WeChat Pay has no bill (yet): {words[:200]}."


def _rows(
    lines: Iterator[tuple[int, str]], columns: Mapping[str, int]
) -> Iterator[StatementRow | UnreadableRow]:
    line_number, tally, totals = 0, Tally(), list[Sequence[str]]()
    try:
        for line_number, line in lines:
            if line.startswith(_TOTALS) or (totals and line.strip()):
                totals.append(_cells(line))
            elif line.strip():
                row = _row(_cells(line), columns, line_number, line)
                tally.add(row)
                yield row
    except _DAMAGED as error:
        raise StatementNotReady(f"The bill is damaged from line {line_number + 1} on.") from error
    if not totals:
        # Half a bill is none: what it lacks would look as if the rail had never heard of it.
        raise StatementNotReady("The bill ends before its totals.")
    if wrong := _contradicted(totals, columns, tally):
        yield UnreadableRow(line_number, ",".join(totals[-1])[:200], wrong)


def _contradicted(totals: Sequence[Sequence[str]], columns: Mapping[str, int], tally: Tally) -> str:
    """What the bill says of itself and its rows are not; "" where both agree, or it says nothing
    that can be read.
    """
    said = dict(zip(totals[0], totals[1], strict=False)) if len(totals) > 1 else {}
    count = said.get(_TOTALS, "")
    if count.isdecimal() and int(count) != tally.rows:
        return differing(f"{int(count)} rows", f"{tally.rows}")
    for kind, names in _AMOUNTS.items() if tally.has_sums else ():
        name = next(name for name in names if name in columns)
        told = next((said[total] for total in _SUMS[name] if total in said), "")
        with contextlib.suppress(InvalidAmount):
            if abs(from_decimal_text(told, CURRENCY)) != tally.minor[kind]:
                read = to_decimal_text(tally.minor[kind], CURRENCY)
                return differing(f"{told} of {name}", read)
    return ""


def _cells(line: str) -> Sequence[str]:
    """A comma inside a cell is none between cells: those have a backtick behind."""
    bare = line.strip()
    marked = bare.startswith("`")
    cells = bare[1:].split(",`") if marked else bare.split(",")
    return [cell.strip() for cell in cells]


def _columns(lines: Iterator[tuple[int, str]]) -> Mapping[str, int]:
    """Name → place. Raises StatementNotReady for a file of another layout."""
    header = next((line for _, line in lines if line.strip()), "")
    columns = {name: place for place, name in enumerate(_cells(header))}
    needed = [*_NEEDED, *(names[-1] for names in _AMOUNTS.values() if not _any(names, columns))]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise StatementNotReady(f"The bill lacks the columns {', '.join(missing)}.")
    return columns


def _any(names: Sequence[str], columns: Mapping[str, object]) -> bool:
    return any(name in columns for name in names)


def _row(
    cells: Sequence[str], columns: Mapping[str, int], line_number: int, line: str
) -> StatementRow | UnreadableRow:
    try:
        if len(cells) != len(columns):
            raise _BadRow(f"{len(cells)} cells instead of {len(columns)}")
        return _readable({name: cells[place] for name, place in columns.items()}, line_number)
    except _BadRow as error:
        ours, refund_ref = _whose(cells, columns, line)
        return UnreadableRow(
            line_number, line.strip()[:200], str(error), our_ref=ours, refund_ref=refund_ref
        )


def _whose(cells: Sequence[str], columns: Mapping[str, int], line: str) -> tuple[str, str]:
    """Our references in a row that cannot be read: in their columns, else what looks like them."""
    if len(cells) != len(columns):
        return references.ours_in(line, is_refund="REFUND" in line)
    back = cells[columns["商户退款单号"]] if "商户退款单号" in columns else ""
    return references.told(cells[columns["商户订单号"]]), references.told(back)


def _readable(cells: Mapping[str, str], line_number: int) -> StatementRow:
    kind = _KINDS.get(cells["交易状态"])
    our_ref = references.told(cells["商户订单号"])
    refund_ref = references.told(cells.get("商户退款单号", ""))
    if kind is None:
        raise _BadRow(f"its 交易状态 is {cells['交易状态']!r}")
    if not our_ref or _UNDECODABLE in cells.get("商户退款单号", "") + cells["微信订单号"]:
        raise _BadRow("its numbers cannot be read")
    currency = cells.get("货币种类") or CURRENCY
    name = next(name for name in _AMOUNTS[kind] if name in cells)
    amount_minor = _minor(cells, name, currency)
    is_refund = kind is StatementKind.REFUND
    if is_refund:  # older bills write it below zero
        amount_minor = abs(amount_minor)
    if amount_minor <= 0:
        raise _BadRow(f"its {name} is not above zero")
    return StatementRow(
        line_number=line_number,
        kind=_refunds_kind(cells) if is_refund else kind,
        our_ref=our_ref,
        provider_ref=cells["微信订单号"],
        amount_minor=amount_minor,
        fee_minor=_fee_minor(cells["手续费"]),
        currency=currency,
        at=instants.from_text(cells["交易时间"]),
        refund_ref=refund_ref if is_refund else "",
    )


def _refunds_kind(cells: Mapping[str, str]) -> StatementKind:
    """A refund that is there is not made by that: its own column says what became of it."""
    status = cells.get("退款状态", "")
    if status not in _REFUND_STATES:
        raise _BadRow(f"its 退款状态 is {status!r}")
    return _REFUND_STATES[status]


def _minor(cells: Mapping[str, str], name: str, currency: str) -> int:
    try:
        return from_decimal_text(cells[name], currency)
    except InvalidAmount as error:
        raise _BadRow(f"its {name} is no amount") from error


def _fee_minor(text: str) -> int:
    """Fees are written to a thousandth of a fen, such as 0.30000: the one thing here rounded.

    Above zero it was taken, below zero given back, whatever the row is about.
    """
    match = _FEE.fullmatch(text)
    if match is None:
        raise _BadRow("its 手续费 is no amount")
    thousandths = int(match["whole"] + (match["part"] or "").ljust(_FEE_DIGITS, "0"))
    minor = share(thousandths, 1, 10 ** (_FEE_DIGITS - minor_digits(CURRENCY)))
    return -minor if text.startswith("-") else minor

"""Alipay's bill of one day (业务明细): a zip of GBK files, read row by row.

Columns are found by name, because one variant writes half-width brackets, and 交易号 for
支付宝交易号. A row that cannot be read is handed on as such, and the rest goes on.
"""

import csv
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from billing.gateways.alipay import instants
from billing.gateways.alipay.trades import CURRENCY
from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from billing.money import InvalidAmount, from_decimal_text

_KINDS = {"交易": StatementKind.PAYMENT, "退款": StatementKind.REFUND}
_OTHER_NAMES = {"交易号": "支付宝交易号"}
_NEEDED = ("支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额(元)", "服务费(元)")
# Relayed by an acquiring bank, a bill has 27 columns, and its amounts and fees are the bank's.
_OF_A_BANK = ("实收净额", "商户识别号", "交易方式")
_REFUND_NUMBER = "退款批次号/请求号"
_END = "业务明细列表结束"
_LONGEST_LINE = 8192
_UNDECODABLE = "\ufffd"
_DAMAGED = (BadZipFile, EOFError, zlib.error)


class _BadRow(ValueError):
    """One row's reason for being unreadable."""


def rows(file: IO[bytes]) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of a downloaded bill, streamed from `file`, which must stay open.

    Raises StatementNotReady at once if it is no bill of this layout.
    """
    try:
        archive = ZipFile(file, metadata_encoding="gbk")
        # A stray byte spoils its own cell, not the file.
        text = io.TextIOWrapper(
            archive.open(_detail_entry(archive)), "gb18030", errors="replace", newline=""
        )
        lines = enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1)
        columns = _columns(lines)
    except _DAMAGED as error:
        raise StatementNotReady("The bill that came is not a whole zip file.") from error
    return _rows(lines, columns)


def _detail_entry(archive: ZipFile) -> ZipInfo:
    for entry in archive.infolist():
        if "业务明细" in entry.filename and "汇总" not in entry.filename:
            return entry
    raise StatementNotReady("The bill has no 业务明细 file in it.")


def _rows(
    lines: Iterator[tuple[int, str]], columns: Mapping[str, int]
) -> Iterator[StatementRow | UnreadableRow]:
    line_number, is_ended = 0, False
    try:
        for line_number, line in lines:
            if line.startswith("#"):
                is_ended = is_ended or _END in line
            elif line.strip():
                yield _row(_cells(line), columns, line_number, line)
    except _DAMAGED as error:
        raise StatementNotReady(f"The bill is damaged from line {line_number + 1} on.") from error
    if not is_ended:
        # Half a bill is none: what it lacks would look as if the rail had never heard of it.
        raise StatementNotReady("The bill ends before its closing line.")


def _cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")]), [])]


def _columns(lines: Iterator[tuple[int, str]]) -> Mapping[str, int]:
    """Name → place, in one spelling. Raises StatementNotReady for a file of another layout."""
    header = next((line for _, line in lines if line.strip() and not line.startswith("#")), "")
    names = [cell.replace("（", "(").replace("）", ")") for cell in _cells(header)]
    columns = {_OTHER_NAMES.get(name, name): place for place, name in enumerate(names)}
    foreign = [name for name in columns if name.startswith(_OF_A_BANK)]
    if foreign:
        raise StatementNotReady(
            f"The bill is an acquiring bank's and not Alipay's own: it has {', '.join(foreign)}."
        )
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise StatementNotReady(f"The bill lacks the columns {', '.join(missing)}.")
    return columns


def _row(
    cells: Sequence[str], columns: Mapping[str, int], line_number: int, line: str
) -> StatementRow | UnreadableRow:
    try:
        if len(cells) != len(columns):
            raise _BadRow(f"{len(cells)} cells instead of {len(columns)}")
        return _readable({name: cells[place] for name, place in columns.items()}, line_number)
    except _BadRow as error:
        return UnreadableRow(line_number, line[:200], str(error))


def _readable(cells: Mapping[str, str], line_number: int) -> StatementRow:
    kind = _KINDS.get(cells["业务类型"])
    our_ref, refund_ref = cells["商户订单号"], cells.get(_REFUND_NUMBER, "")
    if kind is None:
        raise _BadRow(f"its 业务类型 is {cells['业务类型']!r}")
    if not our_ref or _UNDECODABLE in our_ref + refund_ref + cells["支付宝交易号"]:
        raise _BadRow("its numbers cannot be read")
    amount_minor = _minor(cells, "订单金额(元)")
    is_refund = kind is StatementKind.REFUND
    if amount_minor == 0 or (amount_minor < 0) is not is_refund:
        raise _BadRow("its amount has the wrong sign for its kind")
    return StatementRow(
        line_number=line_number,
        kind=kind,
        our_ref=our_ref,
        provider_ref=cells["支付宝交易号"],
        amount_minor=abs(amount_minor),
        # Taken from a payment, given back with a refund: the kind tells the side.
        fee_minor=abs(_minor(cells, "服务费(元)")),
        currency=CURRENCY,
        at=instants.from_text(cells["完成时间"]),
        refund_ref=refund_ref if is_refund else "",
    )


def _minor(cells: Mapping[str, str], name: str) -> int:
    try:
        return from_decimal_text(cells[name], CURRENCY)
    except InvalidAmount as error:
        raise _BadRow(f"its {name} is no amount") from error

"""Alipay's bill of one day (业务明细): a zip of GBK files, read row by row.

Columns are found by name, because one variant writes half-width brackets, and 交易号 for
支付宝交易号. A row that cannot be read is handed on as such, and the rest goes on.
"""

import contextlib
import csv
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from billing.gateways import references
from billing.gateways.alipay import instants
from billing.gateways.alipay.trades import CURRENCY
from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from billing.gateways.tallies import Tally, differing
from billing.money import InvalidAmount, from_decimal_text, to_decimal_text

_PAID, _GIVEN = StatementKind.PAYMENT, StatementKind.REFUND
_KINDS = {"交易": _PAID, "退款": _GIVEN}
_OTHER_NAMES = {"交易号": "支付宝交易号"}
_NEEDED = ("支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额(元)", "服务费(元)")
# Relayed by an acquiring bank, a bill has 27 columns, and its amounts and fees are the bank's.
_OF_A_BANK = ("实收净额", "商户识别号", "交易方式")
_REFUND_NUMBER = "退款批次号/请求号"
_END = "业务明细列表结束"
_TOTAL = re.compile(
    r"(?P<what>交易|退款)合计[：:](?P<count>\d{1,9})笔(?:[，,]\D*共(?P<sum>-?[\d.]+)元)?"
)
_LONGEST_LINE = 8192
_UNDECODABLE = "\ufffd"
_DAMAGED = (BadZipFile, EOFError, zlib.error)

Lines = Iterator[tuple[int, str]]


class _BadRow(ValueError):
    """One row's reason for being unreadable."""


def rows(file: IO[bytes]) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of a downloaded bill, streamed from `file`, which must stay open.

    Raises StatementNotReady at once if it is no bill of this layout.
    """
    try:
        archive = ZipFile(file, metadata_encoding="gbk")
        entry = _detail_entry(archive)
        fee_side = _fee_side(_lines(archive, entry))
        lines = _lines(archive, entry)
        columns = _columns(lines)
    except _DAMAGED as error:
        raise StatementNotReady("The bill that came is not a whole zip file.") from error
    return _rows(lines, columns, fee_side)


def _lines(archive: ZipFile, entry: ZipInfo) -> Lines:
    # A stray byte spoils its own cell, not the file.
    text = io.TextIOWrapper(archive.open(entry), "gb18030", errors="replace", newline="")
    return enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1)


def _fee_side(lines: Lines) -> int:
    """1 where this bill writes a fee that was taken above zero, -1 where below: as most of its own
    payments have it, for no document says so. With none that tells, below, as money that left."""
    columns, above = _columns(lines), 0
    kind, fee = columns["业务类型"], columns["服务费(元)"]
    # Of a damaged file what can be read tells; the rows say where it broke.
    with contextlib.suppress(*_DAMAGED):
        for _, line in lines:
            cells = _cells(line)
            if len(cells) == len(columns) and _KINDS.get(cells[kind]) is _PAID:
                minor = _yuan(cells[fee]) or 0
                above += (minor > 0) - (minor < 0)
    return 1 if above > 0 else -1


def _detail_entry(archive: ZipFile) -> ZipInfo:
    for entry in archive.infolist():
        if "业务明细" in entry.filename and "汇总" not in entry.filename:
            return entry
    raise StatementNotReady("The bill has no 业务明细 file in it.")


def _rows(
    lines: Lines, columns: Mapping[str, int], fee_side: int
) -> Iterator[StatementRow | UnreadableRow]:
    line_number, tally, is_ended, totals = 0, Tally(), False, ""
    try:
        for line_number, line in lines:
            if line.startswith("#"):
                is_ended = is_ended or _END in line
                totals += line if "合计" in line else ""
            elif line.strip():
                cells = _cells(line)
                row = _row(cells, columns, line_number, line)
                if isinstance(row, StatementRow):
                    row = replace(row, fee_minor=fee_side * row.fee_minor)
                tally.add(row, _received_minor(cells, columns))
                yield row
    except _DAMAGED as error:
        raise StatementNotReady(f"The bill is damaged from line {line_number + 1} on.") from error
    if not is_ended:
        # Half a bill is none: what it lacks would look as if the rail had never heard of it.
        raise StatementNotReady("The bill ends before its closing line.")
    if wrong := _contradicted(totals, tally):
        yield UnreadableRow(line_number, totals[:200], wrong)


def _contradicted(totals: str, tally: Tally) -> str:
    """What the bill says of itself and its rows are not; "" where both agree, or it says nothing.

    Where a line of its own counts the refunds, the first counts the payments alone.
    """
    paid, given = tally.counts[_PAID], tally.counts[_GIVEN]
    sums = tally.minor[_PAID], tally.minor[_GIVEN]
    said = {match["what"]: match for match in _TOTAL.finditer(totals)}
    if "交易" not in said:
        return ""
    if "退款" in said:
        counts = int(said["交易"]["count"]) + int(said["退款"]["count"]), tally.rows
        told = _yuan(said["交易"]["sum"]), _yuan(said["退款"]["sum"])
    else:
        only = int(said["交易"]["count"]) == paid and not tally.unread
        counts = int(said["交易"]["count"]), paid if only else tally.rows
        told, sums = (_yuan(said["交易"]["sum"]), None), (sums[0] if only else sum(sums), given)
    if counts[0] != counts[1]:
        return differing(f"{counts[0]} rows", f"{counts[1]}")
    for one, read in zip(told, sums, strict=True) if tally.has_sums else ():
        if one is not None and one != read:
            return differing(to_decimal_text(one, CURRENCY), to_decimal_text(read, CURRENCY))
    return ""


def _yuan(text: str | None) -> int | None:
    try:
        return from_decimal_text(text or "", CURRENCY)
    except InvalidAmount:
        return None


def _received_minor(cells: Sequence[str], columns: Mapping[str, int]) -> int | None:
    """What the bill's sums count of a row: what the merchant got, signed."""
    place = columns.get("商家实收(元)", columns["订单金额(元)"])
    return _yuan(cells[place]) if place < len(cells) else None


def _cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")]), [])]


def _columns(lines: Lines) -> Mapping[str, int]:
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
        ours, refund_ref = _whose(cells, columns, line)
        return UnreadableRow(
            line_number, line[:200], str(error), our_ref=ours, refund_ref=refund_ref
        )


def _whose(cells: Sequence[str], columns: Mapping[str, int], line: str) -> tuple[str, str]:
    """Our references in a row that cannot be read: in their columns, else what looks like them."""
    if len(cells) != len(columns):
        return references.ours_in(line, is_refund="退款" in line)
    back = cells[columns[_REFUND_NUMBER]] if _REFUND_NUMBER in columns else ""
    return references.told(cells[columns["商户订单号"]]), references.told(back)


def _readable(cells: Mapping[str, str], line_number: int) -> StatementRow:
    kind = _KINDS.get(cells["业务类型"])
    our_ref = references.told(cells["商户订单号"])
    refund_ref = references.told(cells.get(_REFUND_NUMBER, ""))
    currency = cells.get("币种") or CURRENCY
    if kind is None:
        raise _BadRow(f"its 业务类型 is {cells['业务类型']!r}")
    if not our_ref or _UNDECODABLE in cells.get(_REFUND_NUMBER, "") + cells["支付宝交易号"]:
        raise _BadRow("its numbers cannot be read")
    amount_minor = _minor(cells, "订单金额(元)", currency)
    is_refund = kind is StatementKind.REFUND
    if amount_minor == 0 or (amount_minor < 0) is not is_refund:
        raise _BadRow("its amount has the wrong sign for its kind")
    return StatementRow(
        line_number=line_number,
        kind=kind,
        our_ref=our_ref,
        provider_ref=cells["支付宝交易号"],
        amount_minor=abs(amount_minor),
        fee_minor=_minor(cells, "服务费(元)", currency),  # as written: `_fee_side` says of whom
        currency=currency,
        at=instants.from_text(cells["完成时间"]),
        refund_ref=refund_ref if is_refund else "",
    )


def _minor(cells: Mapping[str, str], name: str, currency: str) -> int:
    try:
        return from_decimal_text(cells[name], currency)
    except InvalidAmount as error:
        raise _BadRow(f"its {name} is no amount") from error

"""Whose a carrier's row is: what it names is compared with the line that its reference is about, as
each answer about a line is.

Done while the rows are read, so that no number of anybody's is kept with them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from billing import rowsets
from billing.reconciliation.sources import Row, StagedRow
from lines.carriers import naming
from lines.carriers.base import CarrierStatementRow, LineAddress

_LINES = """
SELECT d.reference, d.carrier_ref, n.msisdn, n.iccid FROM lines_delivery d
JOIN lines_line n ON n.id = d.line_id JOIN lines_carrier c ON c.id = n.carrier_id
WHERE c.code = %s AND (d.reference = ANY(%b) OR d.carrier_ref = ANY(%b))
UNION ALL
SELECT f.reversal_ref, '', n.msisdn, n.iccid FROM billing_refund f
JOIN billing_recharge g ON g.id = f.recharge_id JOIN lines_line n ON n.id = g.line_id
JOIN lines_carrier c ON c.id = n.carrier_id WHERE c.code = %s AND f.reversal_ref = ANY(%b)"""


class Read(NamedTuple):
    """A row as it is kept, and what it names while it is read."""

    row: StagedRow
    names: tuple[str, ...]


class Known(NamedTuple):
    """One row of `_LINES`: an order of ours, and whose line it was for."""

    reference: str
    carrier_ref: str
    msisdn: str
    iccid: str


def names(row: Row) -> tuple[str, ...]:
    """The numbers and cards that a row says it is of; a rail's names none."""
    return tuple(filter(None, row.names)) if isinstance(row, CarrierStatementRow) else ()


def looked_up(read: Sequence[Read], *, code: str) -> list[StagedRow]:
    """The rows as they are kept; those of carrier `code` that are another line's, marked."""
    addresses = _addresses([one.row for one in read if one.names], code=code)
    return [one.row._replace(is_anothers=_is_anothers(one, addresses)) for one in read]


def _addresses(rows: Sequence[StagedRow], *, code: str) -> dict[str, LineAddress]:
    """By our reference, and by the carrier's number for rows that do not tell ours."""
    if not rows:
        return {}
    ours = [row.reference for row in rows if row.reference]
    theirs = [row.their_ref for row in rows if row.their_ref and not row.reference]
    found = rowsets.read(_LINES, [code, ours, theirs, code, ours], into=Known)
    return {key: LineAddress(one.msisdn, one.iccid) for one in found for key in _keys(one)}


def _keys(one: Known) -> Iterator[str]:
    yield one.reference
    if one.carrier_ref:
        yield one.carrier_ref


def _is_anothers(one: Read, addresses: dict[str, LineAddress]) -> bool:
    address = addresses.get(one.row.reference or one.row.their_ref)
    return address is not None and bool(one.names) and not naming.is_named(address, one.names)

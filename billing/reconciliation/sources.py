"""Whose books ours are compared with: every rail and carrier that can be asked, and their days.

A source hands over its rows one at a time, in one shape, already harmless: what would not fit a
column, or names nothing, is an unreadable row like those the adapter could not read.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from billing.gateways import references
from billing.gateways.base import StatementKind, StatementNotReady, StatementRow
from billing.gateways.base import UnreadableRow as UnreadableOfRail
from billing.models import SourceKind
from billing.money import MAX_AMOUNT_MINOR
from billing.outside import Outside
from lines import zones
from lines.carriers.base import CarrierStatementRow, StatementUnavailable
from lines.carriers.base import UnreadableRow as UnreadableOfCarrier
from lines.models import Carrier

# Carriers keep live books; a late answer to a call before midnight has arrived by then.
_CARRIER_READY: Final = time(1)
# Raised by adapters, also midway: the rows so far are true, but not all.
NOT_READY: Final = (StatementNotReady, StatementUnavailable)

UNREADABLE: Final = "unreadable"
_LONGEST_REFERENCE = 64
_OF_REFUNDS = (StatementKind.REFUND, StatementKind.REFUND_FAILED, StatementKind.REFUND_BACK)
_LONGEST_TEXT = 200
_CURRENCY = re.compile(r"[A-Z]{3}")
# Seven figures or more, however spaced: a phone number, an account, a card; and mail addresses.
_DIGITS = re.compile(r"\d(?:[ -]?\d){6,}")
_ADDRESS = re.compile(r"[^\s,;@]+@")

Row = StatementRow | UnreadableOfRail | CarrierStatementRow | UnreadableOfCarrier


class StagedRow(NamedTuple):
    """One row as it is kept: the columns of `StatementLine` in their order, less the statement."""

    line_number: int
    kind: str
    reference: str
    payment_ref: str
    their_ref: str
    dispute_ref: str
    amount_minor: int
    fee_minor: int
    currency: str
    at: datetime | None
    text: str
    reason: str
    is_anothers: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A rail or carrier whose statement of a day can be asked for."""

    kind: SourceKind
    code: str
    zone: ZoneInfo
    ready: time  # of the day after
    open: Callable[[date], Iterable[Row]]

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """The instants [start, end) of a day of its books."""
        start = datetime.combine(day, time.min, self.zone)
        return start, datetime.combine(day + timedelta(days=1), time.min, self.zone)

    def ready_at(self, day: date) -> datetime:
        return datetime.combine(day + timedelta(days=1), self.ready, self.zone)

    def yesterday(self, at: datetime) -> date:
        return at.astimezone(self.zone).date() - timedelta(days=1)


def all_of(outside: Outside) -> list[Source]:
    """Every source of this installation: a rail that is switched off has statements still."""
    return [*_rails(outside), *_carriers(outside)]


def _rails(outside: Outside) -> Iterator[Source]:
    for code, gateway in sorted(outside.gateways.items()):
        allowed = gateway.capabilities
        yield Source(
            SourceKind.RAIL,
            code,
            zones.zone_of(allowed.statement_timezone),
            allowed.statement_ready,
            lambda day, gateway=gateway: gateway.statement(day=day),  # type: ignore[misc]
        )


def _carriers(outside: Outside) -> Iterator[Source]:
    for carrier in Carrier.objects.filter(is_enabled=True).order_by("code"):
        adapter = outside.adapter_for(carrier)
        if adapter is not None:
            yield Source(
                SourceKind.CARRIER,
                carrier.code,
                zones.zone_of(carrier.timezone),
                _CARRIER_READY,
                lambda day, adapter=adapter: adapter.statement(day=day),  # type: ignore[misc]
            )


def staged(row: Row) -> StagedRow:
    """A row as it is kept. Never raises: what cannot be kept is an unreadable row."""
    if isinstance(row, UnreadableOfRail):
        return _of_rail(row)
    if isinstance(row, UnreadableOfCarrier):
        return _unreadable(row.line_number, row.reason, "", row.our_ref, row.carrier_ref)
    problem = _problem(row)
    return _without_figures(_readable(row), problem) if problem else _readable(row)


def _readable(row: StatementRow | CarrierStatementRow) -> StagedRow:
    if isinstance(row, CarrierStatementRow):
        kind, reference, their_ref = row.kind, row.our_ref, row.carrier_ref
        payment_ref, dispute_ref, fee_minor = "", "", 0
    else:
        is_refund = row.kind in _OF_REFUNDS
        kind, reference = row.kind.value, row.refund_ref if is_refund else row.our_ref
        payment_ref, their_ref, fee_minor = row.our_ref, row.provider_ref, row.fee_minor
        dispute_ref = row.dispute_ref
    return StagedRow(
        row.line_number,
        kind[:12],
        known(reference),
        known(payment_ref),
        known(their_ref),
        known(dispute_ref),
        row.amount_minor,
        fee_minor,
        row.currency,
        row.at,
        "",
        "",
    )


def _problem(row: StatementRow | CarrierStatementRow) -> str:
    """Why a row that the adapter could read cannot be believed; "" for one that can."""
    fee_minor = row.fee_minor if isinstance(row, StatementRow) else 0
    least = -MAX_AMOUNT_MINOR if row.kind is StatementKind.FEE else 0
    if not least <= row.amount_minor <= MAX_AMOUNT_MINOR or abs(fee_minor) > MAX_AMOUNT_MINOR:
        return "its amount is out of all bounds"
    if not _CURRENCY.fullmatch(row.currency):
        return "its currency is no ISO 4217 code"
    return ""


def _of_rail(row: UnreadableOfRail) -> StagedRow:
    reference = row.refund_ref or row.our_ref
    kept = _unreadable(row.line_number, row.reason, row.text, reference, row.provider_ref)
    return kept._replace(payment_ref=known(row.our_ref))


def _unreadable(
    line_number: int, reason: str, text: str = "", reference: str = "", their_ref: str = ""
) -> StagedRow:
    whose = known(reference), "", known(their_ref), ""
    return StagedRow(line_number, UNREADABLE, *whose, 0, 0, "", None, masked(text), masked(reason))


def _without_figures(row: StagedRow, problem: str) -> StagedRow:
    return row._replace(
        kind=UNREADABLE, amount_minor=0, fee_minor=0, currency="", reason=masked(problem)
    )


def masked(text: str) -> str:
    """A row's text as it may be kept and shown: long numbers by their last four, no address."""
    clean = text[:2000].replace("\x00", "\ufffd").strip()
    hidden = _DIGITS.sub(lambda found: "…" + re.sub(r"\D", "", found[0])[-4:], clean)
    return _ADDRESS.sub("…@", hidden)[:_LONGEST_TEXT]


def known(reference: str) -> str:
    """A reference as it is kept; "" for what only says that there is none ("0", "-", "null").

    Never cut to one of ours: those have 26 characters.
    """
    return references.told(reference.replace("\x00", "?"))[:_LONGEST_REFERENCE]

"""A carrier's own books for a day: `GET /balanceActionHistory`, page by page.

The filter is TMF630's (`confirmationDate.gte`, `.lt`); a carrier that ignores it sends more, and
the rows of other days are dropped here.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from lines.carriers.base import (
    CarrierStatementRow,
    StatementUnavailable,
    Unknown,
    UnreadableRow,
)
from lines.carriers.tmf654.outcomes import TO_US
from lines.carriers.tmf654.reading import Order, Unreadable, text, total_count
from lines.carriers.tmf654.wire import Refusal, Reply, Wire

_PAGE: Final = 500
_MAX_PAGES: Final = 20_000  # ten million rows a day; past it a carrier pages in circles


def rows(
    *,
    wire: Wire,
    path: str,
    start: datetime,
    end: datetime,
    read: Callable[[Any], Order],
    reference_field: str,
) -> Iterator[CarrierStatementRow | UnreadableRow]:
    """What moved in [start, end), streamed. Raises StatementUnavailable, possibly midway.

    In whatever currency it is told: another one than the line's is for the comparison to say.
    """
    for line_number, document in enumerate(_documents(wire, path, start, end), start=1):
        try:
            order = read(document)
            if order.status != "completed":
                continue  # no money moved
            if not order.amount_minor:
                raise Unreadable("a movement without its amount")
        except Unreadable as error:
            known = text(document, reference_field), text(document, "id")
            yield UnreadableRow(line_number, str(error), *known)
            continue
        if order.confirmed.is_within(start, end):
            yield _row(line_number, order, order.amount_minor)


def _row(line_number: int, order: Order, amount_minor: int) -> CarrierStatementRow:
    """Amounts are positive, `kind` gives the side: a debit is how a credit is taken back."""
    return CarrierStatementRow(
        line_number=line_number,
        kind="credit" if amount_minor > 0 else "reversal",
        our_ref=order.reference,
        carrier_ref=order.carrier_ref,
        amount_minor=abs(amount_minor),
        currency=order.currency,
        at=order.confirmed.at,
        names=tuple(resource.number for resource in order.resources),
    )


def _is_about_us(result: Reply | Refusal | Unknown) -> bool:
    return isinstance(result, Refusal) and result.status in TO_US


def _documents(wire: Wire, path: str, start: datetime, end: datetime) -> Iterator[Any]:
    period = {
        "confirmationDate.gte": start.astimezone(UTC).isoformat(),
        "confirmationDate.lt": end.astimezone(UTC).isoformat(),
    }
    offset, last_page = 0, ""
    for _ in range(_MAX_PAGES):
        page = {**period, "offset": str(offset), "limit": str(_PAGE)}
        result, exchange = wire.call("GET", path, params=page)
        if not isinstance(result, Reply) or not isinstance(result.body, list):
            reason = exchange.error or "the answer is not a list"
            raise StatementUnavailable(reason, is_ours=_is_about_us(result))
        total = total_count(result.headers)
        if not result.body:
            if offset < (total or 0):
                raise StatementUnavailable(f"the carrier counts {total} rows and sent {offset}")
            return
        if str(result.body) == last_page:
            raise StatementUnavailable("the carrier sends the same page again")
        yield from result.body
        offset, last_page = offset + len(result.body), str(result.body)
        if total is not None and offset >= total:
            return
    raise StatementUnavailable("the statement has no end")

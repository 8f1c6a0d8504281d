"""Raw evidence of what was asked and answered, written with the outcome it led to."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from billing import rowsets
from billing.gateways.base import Exchange
from billing.rowsets import Column
from lines.deliveries import record_calls

__all__ = ["record_calls", "record_rail_calls"]

_COLUMNS = (
    Column("rail", "text"),
    Column("kind", "text"),
    Column("reference", "text"),
    Column("request", "text"),
    Column("response", "text"),
    Column("is_verified", "boolean"),
    Column("error", "text"),
    Column("at", "timestamptz"),
)
_LONGEST = 20_000  # characters of one body kept; a rail's answers are a tenth of that


class _Answer(Protocol):
    @property
    def exchanges(self) -> tuple[Exchange, ...]: ...


def record_rail_calls(answers: Iterable[tuple[str, _Answer]], *, at: datetime) -> None:
    """Write every exchange of (rail, answer) pairs. Append only, in the caller's transaction."""
    rowsets.insert(
        "billing_railcall",
        _COLUMNS,
        [
            (
                rail,
                one.kind[:60],
                one.reference[:40],
                _clean(one.request),
                _clean(one.response),
                one.is_verified,
                _clean(one.error)[:200],
                at,
            )
            for rail, answer in answers
            for one in answer.exchanges
        ],
    )


def _clean(text: str) -> str:
    """PostgreSQL texts hold no NUL; a hostile answer may."""
    return text.replace("\x00", "\ufffd")[:_LONGEST]

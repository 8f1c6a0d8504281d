"""Balances as carriers report them: every reading is kept, only a newer one is applied."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from lines.models import BalanceReading, Line


class NotOfThisLine(Exception):
    """The reading's currency is not the line's: nothing was kept."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a reading."""

    line: Line
    is_applied: bool


def apply(
    *,
    line_id: int,
    balance_minor: int,
    reserved_minor: int,
    observed_at: datetime,
    sequence: int | None,
    valid_until: datetime | None,
    source: str,
    at: datetime,
) -> Applied:
    """Keep a reading, and make it the line's balance unless a newer one already is.

    Amounts in the line's minor units; `balance_minor` may be negative. Safe to call twice: the
    repeat is as old as the first, so it is kept and not applied.
    """
    with transaction.atomic():
        line = Line.objects.select_for_update(no_key=True).get(pk=line_id)
        is_newer = _is_newer(line, observed_at=observed_at, sequence=sequence)
        BalanceReading.objects.create(
            line=line,
            balance_minor=balance_minor,
            reserved_minor=reserved_minor,
            observed_at=observed_at,
            sequence=sequence,
            valid_until=valid_until,
            received_at=at,
            source=source,
            is_applied=is_newer,
        )
        if is_newer:
            line.balance_minor = balance_minor
            line.balance_reserved_minor = reserved_minor
            line.balance_observed_at = observed_at
            line.balance_sequence = sequence
            line.valid_until = valid_until or line.valid_until
            line.save(
                update_fields=[
                    "balance_minor",
                    "balance_reserved_minor",
                    "balance_observed_at",
                    "balance_sequence",
                    "valid_until",
                ]
            )
    return Applied(line=line, is_applied=is_newer)


def _is_newer(line: Line, *, observed_at: datetime, sequence: int | None) -> bool:
    """A carrier's own sequence decides where it gives one; else its time of observation."""
    if sequence is not None and line.balance_sequence is not None:
        return sequence > line.balance_sequence
    return line.balance_observed_at is None or observed_at > line.balance_observed_at

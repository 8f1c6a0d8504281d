"""Balances as carriers report them: every reading is kept, only a newer one is applied."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from lines import validity
from lines.models import BalanceReading, Line
from lines.validity import Unsaid, Validity

# A number that goes back while time goes on this far is no late message: the count began anew.
_RESTARTED_AFTER = timedelta(hours=1)


class NotOfThisLine(Exception):
    """The reading's currency is not the line's: nothing was kept."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a reading. `is_asked`: it was kept back though it may well be the truth, so
    its carrier is asked."""

    line: Line
    is_applied: bool
    has_moved_validity: bool = False
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A balance as it was told. Amounts in the line's minor units; it may be negative."""

    balance_minor: int
    reserved_minor: int
    observed_at: datetime
    sequence: int | None
    valid_until: Validity
    source: str


def apply(*, line_id: int, told: Told, at: datetime) -> Applied:
    """Keep a reading, and make it the line's balance unless a newer one already is.

    Safe to call twice: the repeat is as old as the first, so it is kept and not applied.
    """
    with transaction.atomic():
        line = Line.objects.select_for_update(no_key=True).get(pk=line_id)
        is_newer = _is_newer(line, told)
        valid_until = validity.settled(told.valid_until, known=line.valid_until, at=at)
        has_moved = is_newer and valid_until != line.valid_until
        _keep(line, told, is_newer=is_newer, at=at)
        if not is_newer:
            return Applied(line, False, is_asked=_ask(line, told, at=at))
        line.balance_minor = told.balance_minor
        line.balance_reserved_minor = told.reserved_minor
        line.balance_observed_at = told.observed_at
        line.balance_sequence = told.sequence
        line.valid_until = valid_until
        line.save(
            update_fields=[
                "balance_minor",
                "balance_reserved_minor",
                "balance_observed_at",
                "balance_sequence",
                "valid_until",
            ]
        )
    return Applied(line, True, has_moved_validity=has_moved)


def _keep(line: Line, told: Told, *, is_newer: bool, at: datetime) -> None:
    said = told.valid_until
    BalanceReading.objects.create(
        line=line,
        balance_minor=told.balance_minor,
        reserved_minor=told.reserved_minor,
        observed_at=told.observed_at,
        sequence=told.sequence,
        valid_until=None if isinstance(said, Unsaid) else said,
        received_at=at,
        source=told.source,
        is_applied=is_newer,
    )


def _is_newer(line: Line, told: Told) -> bool:
    """A carrier's own sequence decides where it gives one; else its time of observation.

    Of two figures for one instant, an answer that was asked for is the later one.
    """
    known_at = line.balance_observed_at
    if told.sequence is not None and line.balance_sequence is not None:
        is_next = told.sequence > line.balance_sequence
        return is_next or _began_anew(line, told)
    if known_at is None or told.observed_at > known_at:
        return True
    is_asked_for = told.source == BalanceReading.Source.POLLED
    return is_asked_for and told.observed_at == known_at and _differs(line, told)


def _began_anew(line: Line, told: Told) -> bool:
    """Its numbers start again. A number seen twice is one message twice, whatever its time."""
    known_at = line.balance_observed_at
    is_back = told.sequence != line.balance_sequence
    return is_back and known_at is not None and told.observed_at - known_at > _RESTARTED_AFTER


def _ask(line: Line, told: Told, *, at: datetime) -> bool:
    """Have the carrier asked about a reading kept back that may be the truth: a number that went
    back, a second figure for one instant, or one after a clock that ran ahead (rule 10).

    An answer is not asked about again, but once such a clock is overtaken.
    """
    known_at = line.balance_observed_at
    if known_at is None or not line.is_live or not _differs(line, told):
        return False
    is_ahead = known_at > at
    is_asked_for = told.source == BalanceReading.Source.POLLED
    if not is_ahead and (is_asked_for or told.observed_at < known_at):
        return False
    asked_at = max(at, known_at)
    if line.poll_at is None or line.poll_at > asked_at:
        line.poll_at = asked_at
        line.save(update_fields=["poll_at"])
    return True


def _differs(line: Line, told: Told) -> bool:
    known = (line.balance_minor, line.balance_reserved_minor)
    return (told.balance_minor, told.reserved_minor) != known

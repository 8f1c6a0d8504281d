"""Balances come in, by whatever way: kept, applied, and a low one wakes its rule in the same
transaction. There is no other way in.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from django.db import connection, transaction

from billing import nudges, rowsets
from billing.rules import balances, deciding, latch
from billing.rules.balances import Noted, Reading

log = logging.getLogger(__name__)

# Of one transaction: enough that a row costs little more than itself, few enough that nobody waits
# long for a line.
BATCH = 500

_Numbered = tuple[int, Reading]


class Became(StrEnum):
    """What became of a reading."""

    APPLIED = "applied"
    KEPT = "kept"  # no newer than the balance known, which stays; or the same one again
    # Its clock is wrong, and no later reading would count: not kept.
    FROM_THE_FUTURE = "from_the_future"
    UNKNOWN_LINE = "unknown_line"
    NOT_TAKEN = "not_taken"  # it could not be written, and nothing of it was

    @property
    def is_applied(self) -> bool:
        return self is Became.APPLIED


def take_in(*, readings: Sequence[Reading], at: datetime) -> list[Became]:
    """Keep readings; where one makes a rule due, wake it and nudge the executor. In the order
    given, what became of each: a bad one keeps no other out.

    The state afterwards is that of one after the other. Safe to repeat: a reading that is there
    changes nothing. A transaction for each batch: when the database goes, what came before stands.
    """
    became = [Became.FROM_THE_FUTURE] * len(readings)
    latest = at + deciding.CLOCK_SKEW
    taken = [one for one in enumerate(readings) if one[1].observed_at <= latest]
    for start in range(0, len(taken), BATCH):
        for n, result in _batch(taken[start : start + BATCH], at=at).items():
            became[n] = result
    return became


def push(*, reading: Reading, at: datetime) -> Became:
    """One alone, as `take_in`; what keeps it from being written is raised."""
    if reading.observed_at > at + deciding.CLOCK_SKEW:
        return Became.FROM_THE_FUTURE
    return _taken([(0, reading)], at=at)[0]


def _batch(rows: Sequence[_Numbered], *, at: datetime) -> dict[int, Became]:
    """Together; where that fails, each by itself."""
    try:
        return _taken(rows, at=at)
    except rowsets.POISON:
        if connection.connection is None or connection.connection.closed:
            raise  # no row's fault
        log.exception("a batch of readings failed; trying them one by one")
    became: dict[int, Became] = {}
    for row in rows:
        try:
            became |= _taken([row], at=at)
        except rowsets.POISON:
            log.exception("a reading of line %s cannot be taken in", row[1].line_id)
            became[row[0]] = Became.NOT_TAKEN
    return became


def _taken(rows: Sequence[_Numbered], *, at: datetime) -> dict[int, Became]:
    """The lines that are free together, then each that somebody held by itself: never one while
    holding another, so that nobody waits in a circle."""
    became, left = _together(rows, is_waiting=len(rows) == 1, at=at)
    by_line: dict[int, list[_Numbered]] = defaultdict(list)
    for row in left:
        by_line[row[1].line_id].append(row)
    for held in by_line.values():
        waited, missing = _together(held, is_waiting=True, at=at)
        became |= waited | dict.fromkeys((n for n, _ in missing), Became.UNKNOWN_LINE)
    return became


def _together(
    rows: Sequence[_Numbered], *, is_waiting: bool, at: datetime
) -> tuple[dict[int, Became], list[_Numbered]]:
    """In one transaction: what became of each, and those whose lines could not be had."""
    became: dict[int, Became] = {}
    lost: set[int] = set()
    is_due = is_asked = False
    with transaction.atomic():
        for each in _rounds(rows):
            mine = {reading.line_id: n for n, reading in each if reading.line_id not in lost}
            given = [reading for _, reading in each if reading.line_id not in lost]
            noted = balances.apply(given, is_waiting=is_waiting, at=at)
            lost |= {one.line_id for one in noted if not one.is_held}
            older = {one.line_id for one in noted if one.is_held and not one.is_applied}
            became |= dict.fromkeys((mine[one.line_id] for one in given), Became.APPLIED)
            became |= dict.fromkeys((mine[line_id] for line_id in older), Became.KEPT)
            back = [reading for reading in given if reading.line_id in older]
            is_asked |= balances.keep_back(back, at=at)
            is_due |= _look(noted, at=at)
        if is_due:
            nudges.money()
        if is_asked:
            nudges.slow()
    left = [row for row in rows if row[1].line_id in lost]
    return became, left


def _look(noted: Sequence[Noted], *, at: datetime) -> bool:
    watched = [one.line_id for one in noted if one.is_watched]
    moved = [one.line_id for one in noted if one.has_moved_validity]
    return bool(watched) and latch.look(line_ids=watched, moved_ids=moved, at=at)


def _rounds(rows: Sequence[_Numbered]) -> list[list[_Numbered]]:
    """The first reading of each line, then the second of each that has one: what came first is
    applied first, and no line stands twice in one statement."""
    rounds: list[list[_Numbered]] = []
    seen: dict[int, int] = defaultdict(int)
    for row in rows:
        line_id = row[1].line_id
        if seen[line_id] == len(rounds):
            rounds.append([])
        rounds[seen[line_id]].append(row)
        seen[line_id] += 1
    return rounds

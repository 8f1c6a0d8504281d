"""A statement's way in: planned, claimed, read row by row, and tried again until it comes.

Reading is streaming and restartable. Rows are copied in chunks, each in a transaction that also
proves that the claim still stands; the network is used between them, never inside. Whoever claims
a statement after a crash begins its day again, over what the dead one left, so nothing is doubled.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from billing import rowsets
from billing.models import Statement, StatementState
from billing.reconciliation import whose
from billing.reconciliation.sources import NOT_READY, UNREADABLE, Source, StagedRow, staged
from billing.reconciliation.whose import Read

log = logging.getLogger(__name__)

CHUNK: Final = 5000
# From one chunk to the next: far longer than a page of any rail takes.
LEASE_S: Final = 600
# Waits between tries, then the last one again and again until it is given up.
BACK_OFF: Final = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60, 120, 240))
# After the end of the day it is about. A rail that has said nothing by then needs a person.
GIVE_UP_AFTER: Final = timedelta(days=3)
# A pause of the whole system is made good, so far back; further is for a person to ask for.
CATCH_UP_DAYS: Final = 7
# As long as a row may still be compared with a late neighbour, or be looked up by a person.
LINES_KEPT: Final = timedelta(days=35)
_PRUNED_AT_ONCE: Final = 20_000
# Tries that ended without a word before it is taken for poison.
MOST_BROKEN_OFF: Final = 12

S = StatementState


class LostClaim(Exception):
    """Another worker has this statement now: stop, and write nothing more."""


class NotYet(Exception):
    """The other side has no whole statement to give; it is tried again by itself.

    `is_ours`: it refused us, so that somebody has something to mend.
    """

    def __init__(self, reason: str, *, is_ours: bool = False) -> None:
        super().__init__(reason)
        self.is_ours = is_ours


class Claim(NamedTuple):
    """One worker's hold on one statement. `run` is its fence; `was` the state it was found in."""

    statement_id: int
    run: int
    was: str

    @property
    def must_fetch(self) -> bool:
        return self.was not in (S.MATCHING.value, S.DONE.value)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far reading has come."""

    rows_read: int
    elapsed_s: float

    @property
    def rows_per_s(self) -> float:
        return self.rows_read / self.elapsed_s if self.elapsed_s else 0.0


Watcher = Callable[[Progress], None]


def plan(*, sources: Iterable[Source], at: datetime) -> int:
    """A row for each source's days up to yesterday that has none yet; how many. Repeatable."""
    return sum(_plan_one(source, at=at) for source in sources)


def _plan_one(source: Source, *, at: datetime) -> int:
    last = source.yesterday(at)
    known = (
        Statement.objects.filter(source_kind=source.kind, code=source.code, day__lte=last)
        .order_by("-day")
        .values_list("day", flat=True)
        .first()
    )
    if known is None:  # a new source begins today: what it did before, we were not there
        days = [last + timedelta(days=1)]
    else:
        missing = min((last - known).days, CATCH_UP_DAYS)
        days = [last - timedelta(days=back) for back in range(missing)]
    return sum(ensure(source=source, day=day)[1] for day in days)


def ensure(*, source: Source, day: date) -> tuple[Statement, bool]:
    """The row of one day, made if need be: (row, is new). May be called twice, or at once."""
    return Statement.objects.get_or_create(
        source_kind=source.kind,
        code=source.code,
        day=day,
        defaults={"next_try_at": source.ready_at(day)},
    )


_FREE = "(lease_until IS NULL OR lease_until < clock_timestamp())"
_CLAIM = f"""
WITH picked AS (
  SELECT id, state FROM billing_statement
  WHERE {{wanted}} AND {_FREE}
  ORDER BY next_try_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_statement s
SET run = s.run + 1, lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    attempts = s.attempts + CASE WHEN picked.state = 'done' THEN 0 ELSE 1 END,
    started_at = %(at)s, next_try_at = %(again)s
FROM picked WHERE s.id = picked.id RETURNING s.id AS statement_id, s.run,
  picked.state AS was"""  # noqa: S608 # nosec B608


def claim_due(*, source: Source, at: datetime) -> Claim | None:
    """Take one statement of `source` that is due, if there is one."""
    wanted = "next_try_at <= %(at)s AND source_kind = %(kind)s AND code = %(code)s"
    return _claim(wanted, {"kind": source.kind.value, "code": source.code}, at=at)


def claim(*, statement: Statement, at: datetime) -> Claim | None:
    """Take this statement whenever it was due. None: another worker has it."""
    return _claim("id = %(id)s", {"id": statement.pk}, at=at)


def _claim(wanted: str, names: dict[str, object], *, at: datetime) -> Claim | None:
    # `again`: a worker that dies without a word leaves it due once its lease has run out.
    facts: dict[str, object] = {
        "at": at,
        "again": at + timedelta(seconds=LEASE_S),
        "lease_s": LEASE_S,
    }
    with transaction.atomic():
        claims = rowsets.read(_CLAIM.format(wanted=wanted), facts | names, into=Claim)
    return claims[0] if claims else None


def held(claimed: Claim) -> Statement:
    """The row, locked, while the claim stands. In the caller's transaction. Raises LostClaim."""
    row = (
        Statement.objects.select_for_update(no_key=True)
        .filter(pk=claimed.statement_id, run=claimed.run)
        .first()
    )
    if row is None:
        raise LostClaim(str(claimed.statement_id))
    return row


def fetch(
    *, claimed: Claim, source: Source, day: date, at: datetime, watch: Watcher | None = None
) -> None:
    """Read the whole statement into its lines. Raises NotYet or LostClaim; may be called again."""
    _begin(claimed)
    started, read = time.monotonic(), 0
    with closing(_rows(source, day)) as rows:
        while chunk := list(islice(rows, CHUNK)):
            read += len(chunk)
            _keep(claimed, whose.looked_up(chunk, code=source.code), at=at)
            if watch is not None:
                watch(Progress(read, time.monotonic() - started))
    _fetched(claimed, at=at)


def _rows(source: Source, day: date) -> Generator[Read, None, None]:
    """A generator whatever the adapter gave, so that it can be closed: a file may hang on it.

    Raises NotYet, also where the reader itself broke over what came: that is this statement's
    trouble, and no other's.
    """
    try:
        for row in source.open(day):
            yield Read(staged(row), whose.names(row))
    except NOT_READY as error:
        raise NotYet(str(error), is_ours=getattr(error, "is_ours", False)) from error
    except Exception as error:
        log.exception("the reader of %s's statement of %s broke", source.code, day)
        raise NotYet(f"Its reader broke over it: {type(error).__name__}.") from error


def _begin(claimed: Claim) -> None:
    """Over what a dead worker left: its rows go, and the day begins again.

    What was fetched and compared before stays beside it until the new one is whole.
    """
    with transaction.atomic():
        row = held(claimed)
        _forget(_staging(row))
        Statement.objects.filter(pk=row.pk).update(state=S.FETCHING, last_error="")
        if row.fetched_at is None:
            Statement.objects.filter(pk=row.pk).update(rows_read=0, unreadable_rows=0, totals=[])


def _staging(row: Statement) -> int:
    """Where new rows are kept: a statement fetched anew has the good one under its own number."""
    return row.pk if row.fetched_at is None else -row.pk


def _forget(statement_id: int) -> None:
    rowsets.run("DELETE FROM billing_statementline WHERE statement_id = %s", [statement_id])


def _keep(claimed: Claim, chunk: Sequence[StagedRow], *, at: datetime) -> None:
    with transaction.atomic():
        row = held(claimed)
        _copy(_staging(row), chunk)
        is_first = row.fetched_at is None
        unreadable = sum(one.kind == UNREADABLE for one in chunk)
        rowsets.run(
            "UPDATE billing_statement SET rows_read = rows_read + %s, progress_at = %s, "
            "unreadable_rows = unreadable_rows + %s, "
            "lease_until = clock_timestamp() + make_interval(secs => %s) WHERE id = %s",
            [len(chunk) * is_first, at, unreadable * is_first, LEASE_S, row.pk],
        )


def _copy(statement_id: int, chunk: Sequence[StagedRow]) -> None:
    columns = ", ".join(("statement_id", *StagedRow._fields))
    sql = f"COPY billing_statementline ({columns}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for row in chunk:
            copy.write_row((statement_id, *row))


def _fetched(claimed: Claim, *, at: datetime) -> None:
    with transaction.atomic():
        row = held(claimed)
        if row.fetched_at is not None:
            _take_the_place(row.pk)
        Statement.objects.filter(pk=row.pk).update(state=S.MATCHING, fetched_at=at)
    # A day's rows came at once; without this they are planned for as if there were none.
    rowsets.run("ANALYZE billing_statementline", [])


def _take_the_place(statement_id: int) -> None:
    """The new rows for the old ones, at once."""
    _forget(statement_id)
    rowsets.run(
        "UPDATE billing_statementline SET statement_id = %s WHERE statement_id = %s",
        [statement_id, -statement_id],
    )
    rowsets.run(
        "UPDATE billing_statement SET (rows_read, unreadable_rows) = (SELECT count(*), "
        "count(*) FILTER (WHERE kind = %s) FROM billing_statementline WHERE statement_id = %s) "
        "WHERE id = %s",
        [UNREADABLE, statement_id, statement_id],
    )


def is_kept(*, claimed: Claim, why: str) -> bool:
    """Whether a day that did not come anew has its good statement still, which then stands as it
    was; `why` is said beside it. Raises LostClaim.
    """
    with transaction.atomic():
        row = held(claimed)
        if row.fetched_at is None:
            return False
        _forget(_staging(row))
        row.state, row.lease_until, row.next_try_at = S.DONE, None, None
        row.last_error, row.attempts = why[:300], 0
        row.save(update_fields=["state", "lease_until", "next_try_at", "last_error", "attempts"])
    return True


def try_later(
    *, claimed: Claim, source: Source, is_quiet: bool, why: str, at: datetime
) -> StatementState:
    """It did not come: wait longer each time, then leave it to a person. Raises LostClaim.

    `is_quiet`: nothing of ours happened that day. A rail gives no statement for such a day, and
    says the same as for one that is not ready; when the time is over it counts as empty.
    """
    with transaction.atomic():
        row = held(claimed)
        is_over = at >= source.bounds(row.day)[1] + GIVE_UP_AFTER
        row.state = S.WAITING if not is_over else S.MATCHING if is_quiet else S.FAILED
        wait = BACK_OFF[min(row.attempts, len(BACK_OFF)) - 1]
        row.next_try_at = None if row.state == S.FAILED else at if is_over else at + wait
        row.last_error, row.lease_until = why[:300], None
        row.rows_read = row.unreadable_rows = 0  # half a statement is none
        row.save(
            update_fields=["state", "next_try_at", "last_error", "lease_until", "rows_read",
                           "unreadable_rows"]
        )  # fmt: skip
        _forget(row.pk)
    return StatementState(row.state)


def quarantine(*, at: datetime) -> int:
    """Leave to a person what workers die over again and again; how many. Repeatable."""
    return Statement.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()),
        state__in=[S.FETCHING, S.MATCHING],
        attempts__gte=MOST_BROKEN_OFF,
        next_try_at__lte=at,
    ).update(state=S.FAILED, next_try_at=None, last_error="It broke off again and again.")


def ask_again(*, statement: Statement, at: datetime) -> None:
    """Have it fetched anew, and compared, within minutes: for a person. May be called twice."""
    free = Statement.objects.filter(pk=statement.pk)
    free.update(state=S.WAITING, next_try_at=at, lease_until=None, attempts=0)


def prune(*, at: datetime) -> int:
    """Forget rows that are past comparing, a bounded part of them; how many went."""
    return rowsets.run(
        "DELETE FROM billing_statementline WHERE id IN (SELECT l.id FROM billing_statementline"
        " l JOIN billing_statement s ON s.id = l.statement_id WHERE s.day < %s LIMIT %s)",
        [(at - LINES_KEPT).date(), _PRUNED_AT_ONCE],
    )

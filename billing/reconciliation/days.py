"""Three-way reconciliation: our ledger against each rail's statement and each carrier's.

A day is fetched (`statements`), compared (`matching`), its fees are booked, and what the other side
has proved is asked about: money never moves because a file says so. Anybody may run any of it at
any time; a claim lets one worker have one statement, and every step can be repeated.

docs/decisions/0010-reconciliation.md says why it is as it is.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import transaction

from billing import rowsets
from billing.ledger import transfers
from billing.models import (
    Difference,
    DifferenceKind,
    DifferenceState,
    Rail,
    SourceKind,
    Statement,
    StatementLine,
    StatementState,
)
from billing.outside import Outside
from billing.recharges import waking
from billing.reconciliation import matching, sources, statements
from billing.reconciliation.matching import Found
from billing.reconciliation.sources import Source
from billing.reconciliation.statements import Claim, LostClaim, NotYet, Watcher
from billing.refunds import afterwards, approvals, disputes
from lines import refusals
from lines.models import Carrier
from lines.people import Person

log = logging.getLogger(__name__)

# While something is open or waits for a neighbour, the kept rows are compared again: what was in
# doubt is settled by then, and closes by itself.
COMPARED_AGAIN_AFTER: Final = timedelta(hours=6)
COMPARED_SOON_AFTER: Final = timedelta(minutes=15)  # when somebody was woken to ask the rail
COMPARED_FOR: Final = timedelta(days=10)
# Further back than any charge is under way.
_LOOK_BACK_DAYS: Final = 9
_WOKEN_AT_ONCE: Final = 1000

S = StatementState


class NotOpen(Exception):
    """The difference is closed already: somebody was first, or both sides agree by now."""


class NoSuchSource(Exception):
    """No rail or carrier of this code is set up here. The text says which there are."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one statement. `open` and `rows` count those of this statement; `is_old`: it
    was asked for anew and did not come, so that the one that was here stands.
    """

    statement_id: int
    state: str
    rows: int
    open: int
    is_old: bool = False


def run_due(
    *, clock: Callable[[], datetime], outside: Outside, may_go_on: Callable[[], bool]
) -> list[Result]:
    """Plan yesterday, then do what is due until it is done or `may_go_on` says no. Repeatable.

    One source's trouble is its own: it is logged, tried again later, and the others go on.
    """
    parties = sources.all_of(outside)
    statements.plan(sources=parties, at=clock())
    statements.quarantine(at=clock())
    statements.prune(at=clock())
    done: list[Result] = []
    for source in parties:
        while may_go_on():
            claimed = statements.claim_due(source=source, at=clock())
            if claimed is None:
                break
            result = _guarded(claimed, source, clock)
            done += [result] if result else []
    return done


def _guarded(claimed: Claim, source: Source, clock: Callable[[], datetime]) -> Result | None:
    try:
        return reconcile(claimed=claimed, source=source, clock=clock)
    except LostClaim:
        log.info("statement %s was taken over by another worker", claimed.statement_id)
    except rowsets.POISON as error:
        # One statement that cannot be compared: due again when its lease is over, till quarantine.
        log.exception("statement %s cannot be compared", claimed.statement_id)
        why = f"It could not be compared: {type(error).__name__}."
        Statement.objects.filter(pk=claimed.statement_id).update(last_error=why)
    return None


def run_one(
    *,
    source: Source,
    day: date,
    clock: Callable[[], datetime],
    watch: Watcher | None = None,
    is_anew: bool = False,
) -> Result | None:
    """Fetch and compare one day now, whether it was due or not; None: another worker is at it.

    `is_anew`: also one that is here already; if it does not come, the one that is here stands.
    """
    statement, _is_new = statements.ensure(source=source, day=day)
    claimed = statements.claim(statement=statement, at=clock())
    if claimed is None:
        return None
    if is_anew:
        claimed = claimed._replace(was=S.WAITING.value)
    return reconcile(claimed=claimed, source=source, clock=clock, watch=watch)


def source_named(*, kind: SourceKind, code: str, outside: Outside) -> Source:
    """Raises NoSuchSource."""
    parties = [one for one in sources.all_of(outside) if one.kind == kind]
    for one in parties:
        if one.code == code:
            return one
    known = ", ".join(one.code for one in parties) or "none"
    raise NoSuchSource(f"No {kind.label} “{code}” is set up here; there are: {known}.")


def reconcile(
    *,
    claimed: Claim,
    source: Source,
    clock: Callable[[], datetime],
    watch: Watcher | None = None,
) -> Result:
    """Fetch if need be, compare, book fees, wake what is contradicted. Raises LostClaim."""
    statement = Statement.objects.get(pk=claimed.statement_id)
    is_fetched = claimed.must_fetch or _is_pruned(statement, at=clock())
    if is_fetched:
        try:
            statements.fetch(
                claimed=claimed, source=source, day=statement.day, at=clock(), watch=watch
            )
        except NotYet as error:
            _note_refusal(source, error, at=clock())
            return _not_yet(claimed, source, statement, str(error), at=clock())
    return _compare(claimed, source, is_fetched=is_fetched, at=clock())


def _note_refusal(source: Source, error: NotYet, *, at: datetime) -> None:
    """A carrier that refuses us its books: shown at once, not when they are given up."""
    carrier = Carrier.objects.filter(code=source.code) if error.is_ours else Carrier.objects.none()
    if source.kind == SourceKind.CARRIER and (found := carrier.first()):
        refusals.refused(carrier_id=found.pk, at=at)


def _is_pruned(statement: Statement, *, at: datetime) -> bool:
    """Its rows may be gone: compared without them, all of ours would be missing."""
    return statement.day <= (at - statements.LINES_KEPT).date()


def _not_yet(
    claimed: Claim, source: Source, statement: Statement, why: str, *, at: datetime
) -> Result:
    if statements.is_kept(claimed=claimed, why=why):
        log.warning("%s did not come anew: %s", statement, why)
        still_open = _open_of(statement.pk)
        return Result(statement.pk, S.DONE.value, statement.rows_read, still_open, is_old=True)
    start, end = source.bounds(statement.day)
    # A carrier's books are empty on a quiet day; a rail has no statement at all.
    is_quiet = source.kind == SourceKind.RAIL and matching.is_quiet(
        rail_code=source.code, start=start, end=end
    )
    state = statements.try_later(claimed=claimed, source=source, is_quiet=is_quiet, why=why, at=at)
    if state == S.FAILED:
        log.error("the statement of %s never came: %s", statement, why)
    return Result(statement.pk, state.value, 0, 0)


def _compare(claimed: Claim, source: Source, *, is_fetched: bool, at: datetime) -> Result:
    if is_fetched:
        matching.prepare()
    with transaction.atomic():
        statement = statements.held(claimed)
        found = matching.match(_day(statement, source, at=at), at=at)
        if source.kind == SourceKind.RAIL:
            transfers.post_fees(statement_id=statement.pk, rail_code=source.code, at=at)
        _finish(statement, found, at=at)
    if is_fetched:  # not while this row is held: two days at once would wait for each other
        _neighbours_again(statement, at=at)
    if _wake(statement.pk, at=at) and is_fetched:
        soon = Statement.objects.filter(pk=statement.pk, next_try_at__isnull=False)
        soon.update(next_try_at=at + COMPARED_SOON_AFTER)
    return Result(statement.pk, S.DONE.value, statement.rows_read, found.open)


def _day(statement: Statement, source: Source, *, at: datetime) -> matching.Day:
    start, end = source.bounds(statement.day)
    rate = Rail.objects.filter(code=source.code).values_list("fee_rate_ppm", flat=True).first()
    return matching.Day(
        statement_id=statement.pk,
        run=statement.run,
        source_kind=source.kind.value,
        code=source.code,
        day=statement.day,
        start=start,
        end=end,
        uncovered=_uncovered(statement, source, at=at),
        fee_rate_ppm=rate if source.kind == SourceKind.RAIL else None,
    )


def _uncovered(
    statement: Statement, source: Source, *, at: datetime
) -> list[tuple[datetime, datetime]]:
    """Days around this one whose statements are not read yet and are not given up."""
    near = [statement.day + timedelta(days=by) for by in range(-_LOOK_BACK_DAYS, 2) if by != 0]
    done = set(
        Statement.objects.filter(
            source_kind=source.kind, code=source.code, day__in=near, state=S.DONE
        ).values_list("day", flat=True)
    )
    spans = [source.bounds(day) for day in near if day not in done]
    return [(begins, ends) for begins, ends in spans if at < ends + statements.GIVE_UP_AFTER]


def _finish(statement: Statement, found: Found, *, at: datetime) -> None:
    is_worth_it = (found.open or found.awaiting) and (statement.day > (at - COMPARED_FOR).date())
    statement.state, statement.lease_until, statement.finished_at = S.DONE, None, at
    statement.awaiting, statement.totals, statement.attempts = found.awaiting, found.totals, 0
    statement.next_try_at = at + COMPARED_AGAIN_AFTER if is_worth_it else None
    statement.save(
        update_fields=[
            "state",
            "lease_until",
            "finished_at",
            "awaiting",
            "totals",
            "attempts",
            "next_try_at",
        ]
    )


def _neighbours_again(statement: Statement, *, at: datetime) -> None:
    """What waited for this day is looked at now; and a day after may hold this one's rows twice.

    Only after a fetch: two days would else wake each other for ever.
    """
    Statement.objects.filter(
        source_kind=statement.source_kind,
        code=statement.code,
        day__in=[statement.day + timedelta(days=by) for by in (-1, 1)],
        state=S.DONE,
    ).update(next_try_at=at)


def _wake(statement_id: int, *, at: datetime) -> int:
    """Have the rail or carrier asked about all that it settled otherwise than we; how many.

    What they answer decides. One that a worker holds is woken with the next comparison.
    """
    _hear_of_disputes(statement_id, at=at)
    rows = Difference.objects.filter(
        statement=statement_id, state=DifferenceState.OPEN, kind=DifferenceKind.STATUS
    )
    named = list(rows.order_by("pk").values_list("line_kind", "our_ref")[:_WOKEN_AT_ONCE])
    for line_kind, reference in named:
        if line_kind == "payment":
            waking.wake(reference=reference, at=at)
        elif line_kind in ("refund", "refund_back"):
            approvals.wake(reference=reference, at=at)
        else:
            waking.wake_delivery(reference=reference, carrier_ref="", at=at)
            afterwards.taken_back(reference=reference, at=at)
    return len(named)


def _hear_of_disputes(statement_id: int, *, at: datetime) -> None:
    """Of what no message has told, the statement does: nothing more is charged, credited or given
    back there, and a person is called who can book the loss by the dispute's number."""
    rows = Difference.objects.filter(
        statement=statement_id,
        state=DifferenceState.OPEN,
        kind=DifferenceKind.DISPUTE,
        recharge__isnull=False,
    )
    for one in rows.exclude(our_state="booked").select_related("statement").order_by("pk"):
        line = StatementLine.objects.filter(
            statement=statement_id, line_number=one.line_number or 0, kind=one.line_kind
        ).first()
        if line is not None:
            disputes.read_in_statement(one.statement.code, line, at=at)


def _open_of(statement_id: int) -> int:
    return Difference.objects.filter(statement=statement_id, state=DifferenceState.OPEN).count()


def explain(*, difference: Difference, actor: Person, reason: str, at: datetime) -> None:
    """Close a difference with a person's reason. Raises NotOpen, so a second one is refused."""
    open_ones = Difference.objects.filter(pk=difference.pk, state=DifferenceState.OPEN)
    explained = open_ones.update(
        state=DifferenceState.EXPLAINED, closed_by_id=actor.pk, closed_at=at, reason=reason
    )
    if explained != 1:
        raise NotOpen(difference.ref)


def open_differences() -> int:
    """How many wait for a person."""
    return Difference.objects.filter(state=DifferenceState.OPEN).count()

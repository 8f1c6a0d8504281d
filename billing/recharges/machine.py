"""Recharges: opened, moved, woken, canceled. `states.MOVES` is the machine, `move` its only gear.

Every move is a compare-and-set on the row (its state, and its fence where a worker holds it) with
a history row in the same transaction. What did not come back from the database did not move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypedDict

from django.db import connection, transaction

from billing import rowsets
from billing.casebook import Heard
from billing.models import PaymentAttempt, Recharge, RechargeMove
from billing.recharges import aftermath, cases
from billing.recharges.cases import Step
from billing.rowsets import Column
from billing.states import (
    CANCELABLE_STATES,
    MOVES,
    UNPAID_END_STATES,
    AttemptState,
    RechargeState,
)
from lines.people import Person

ENDED_ATTEMPTS = (AttemptState.DECLINED, AttemptState.CLOSED)
DISPUTED = "disputed"  # the attention code of what its payer disputes

# Forgotten, so that it is announced before it is charged.
NOT_ANNOUNCED: Mapping[str, None] = dict.fromkeys(
    ("notice_sent_at", "earliest_charge_at", "latest_charge_at", "announced_minor")
)


class IllegalMove(Exception):
    """Code asked for a move that `states.MOVES` does not have: a bug, and nothing was written."""


class LostRace(Exception):
    """The recharge is no longer where the caller saw it: look again."""


class TooLate(Exception):
    """Money is moving or has moved: a refund is the way back, not a cancellation."""


class OpenRecharge(Exception):
    """The line has a recharge under way; another may start when that one has ended."""


@dataclass(frozen=True, slots=True)
class Move:
    """One move and what it sets. None leaves a field alone, but `act_at` is always set."""

    recharge_id: int
    source: str
    target: str
    because: str
    act_at: datetime | None
    fence: int | None = None  # the claim that is being settled; None: nobody's
    keeps_lease: bool = False
    keeps_crashes: bool = False  # nothing has come of it yet: workers that died before still count
    charged_at: datetime | None = None
    completed_at: datetime | None = None
    credited_minor: int | None = None
    new_attempts: int = 0
    new_deliveries: int = 0
    new_declines: int = 0
    note: str = ""
    actor_id: int | None = None
    attention: str = ""  # the case that it opens
    heard: Heard = Heard.ANSWER  # what it settles of what waits for a person goes by that


class Also(TypedDict, total=False):
    """What a worker's move may set besides: the fields of `Move` of these names."""

    keeps_lease: bool
    keeps_crashes: bool
    charged_at: datetime
    completed_at: datetime
    credited_minor: int
    new_attempts: int
    new_deliveries: int
    new_declines: int
    attention: str
    heard: Heard


_MOVE_COLUMNS = (
    Column("id", "bigint"),
    Column("source", "text"),
    Column("target", "text"),
    Column("because", "text"),
    Column("act_at", "timestamptz"),
    Column("fence", "bigint"),
    Column("keeps_lease", "boolean"),
    Column("keeps_crashes", "boolean"),
    Column("charged_at", "timestamptz"),
    Column("completed_at", "timestamptz"),
    Column("credited_minor", "bigint"),
    Column("new_attempts", "smallint"),
    Column("new_deliveries", "smallint"),
    Column("new_declines", "smallint"),
    Column("note", "text"),
    Column("actor_id", "bigint"),
    Column("at", "timestamptz"),
)
_MOVE_ASSIGN = """
    state = v.target, reason = v.because, act_at = v.act_at,
    lease_until = CASE WHEN v.keeps_lease THEN t.lease_until END,
    crash_count = GREATEST(0, CASE WHEN v.keeps_crashes THEN t.crash_count ELSE 1 END
                              - CASE WHEN v.keeps_lease THEN 0 ELSE 1 END),
    queries = 0,
    unknown_since = CASE WHEN v.target IN ('payment_unknown', 'delivery_unknown') THEN v.at END,
    charged_at = COALESCE(v.charged_at, t.charged_at),
    completed_at = COALESCE(v.completed_at, t.completed_at),
    credited_minor = COALESCE(v.credited_minor, t.credited_minor),
    attempt_count = t.attempt_count + v.new_attempts,
    delivery_count = t.delivery_count + v.new_deliveries,
    declines = t.declines + v.new_declines"""
# The history row in the statement that moves the row: neither can be without the other.
_TOLD = """, told AS (
  INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, actor_id, at)
  SELECT id, source, target, because, note, actor_id, at FROM changed)
SELECT id, attention FROM changed"""


class Changed(NamedTuple):
    """One row that was changed, and what it shows of what waits for a person."""

    id: int
    attention: str


class Stayed(NamedTuple):
    """Likewise, of one that was not moved."""

    id: int
    attention: str
    state: str


_HISTORY_COLUMNS = (
    Column("recharge_id", "bigint"),
    Column("source", "text"),
    Column("target", "text"),
    Column("because", "text"),
    Column("note", "text"),
    Column("actor_id", "bigint"),
    Column("at", "timestamptz"),
)


def move(moves: Sequence[Move], *, at: datetime) -> set[int]:
    """Make `moves`, in the caller's transaction; the ids that moved. The others lost their race.

    Raises IllegalMove before anything is written. Called twice, the second finds nothing to move.
    """
    _refuse_illegal(moves)
    rows = [
        (
            m.recharge_id,
            str(m.source),
            str(m.target),
            m.because,
            m.act_at,
            m.fence,
            m.keeps_lease,
            m.keeps_crashes,
            m.charged_at,
            m.completed_at,
            m.credited_minor,
            m.new_attempts,
            m.new_deliveries,
            m.new_declines,
            m.note,
            m.actor_id,
            at,
        )
        for m in moves
    ]
    changed = rowsets.update_then(
        "billing_recharge",
        _MOVE_COLUMNS,
        rows,
        assign=_MOVE_ASSIGN,
        where="t.id = v.id AND t.state = v.source AND (v.fence IS NULL OR t.fence = v.fence)",
        returning="t.id, t.attention, v.source, v.target, v.because, v.note, v.actor_id, v.at",
        then=_TOLD,
        into=Changed,
    )
    moved = {one.id: one.attention for one in changed}
    _follow([m for m in moves if m.recharge_id in moved], shown=moved, at=at)
    return set(moved)


def _follow(moves: Sequence[Move], *, shown: Mapping[int, str], at: datetime) -> None:
    """What the moves settle of what waits for a person, and what they call one for."""
    steps = [
        Step(
            m.recharge_id,
            str(m.target),
            m.because,
            m.heard,
            opens=m.attention,
            actor_id=m.actor_id,
        )
        for m in moves
        if m.attention or shown[m.recharge_id]
    ]
    if steps:
        cases.follow(steps, at=at)


def _refuse_illegal(moves: Sequence[Move]) -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("a recharge moves only inside a transaction")
    for one in moves:
        if RechargeState(one.target) not in MOVES[RechargeState(one.source)]:
            raise IllegalMove(f"{one.source} -> {one.target}")


def write_history(moves: Sequence[Move], *, at: datetime) -> None:
    """History rows for moves already made, in the same transaction."""
    rowsets.insert(
        "billing_rechargemove",
        _HISTORY_COLUMNS,
        [
            (m.recharge_id, str(m.source), str(m.target), m.because, m.note, m.actor_id, at)
            for m in moves
        ],
    )


def move_one(one: Move, *, at: datetime) -> None:
    """As `move`, for one row. Raises LostRace where it had moved already."""
    if one.recharge_id not in move([one], at=at):
        raise LostRace(f"recharge {one.recharge_id} is no longer {one.source}")


_STAY_COLUMNS = (
    Column("id", "bigint"),
    Column("fence", "bigint"),
    Column("act_at", "timestamptz"),
)
_STAY_ASSIGN = """
    act_at = v.act_at, lease_until = NULL, crash_count = 0, queries = t.queries + 1"""
_WAIT = """
UPDATE billing_recharge SET act_at = %s, lease_until = NULL, crash_count = 0, queries = queries + 1
WHERE id = %s AND fence = %s"""
_HEARD_AS = {Heard.NOTHING: "waited", Heard.SILENCE: "asked_again", Heard.ANSWER: "answered"}


def stay(
    *,
    recharge_id: int,
    fence: int,
    act_at: datetime | None,
    at: datetime,
    attention: str = "",
    heard: Heard = Heard.SILENCE,
) -> None:
    """Settle a claim without a move: nothing new is known, ask again at `act_at`. Fenced.

    `attention`: the case that it opens. `heard`: what it settles goes by that.
    """
    with transaction.atomic(savepoint=False):
        for one in rowsets.update_then(
            "billing_recharge",
            _STAY_COLUMNS,
            [(recharge_id, fence, act_at)],
            assign=_STAY_ASSIGN,
            where="t.id = v.id AND t.fence = v.fence",
            returning="t.id, t.attention, t.state",
            then=" SELECT id, attention, state FROM changed",
            into=Stayed,
        ):
            if attention or one.attention:
                step = Step(one.id, one.state, _HEARD_AS[heard], heard, opens=attention)
                cases.follow([step], at=at)


def wait(*, recharge_id: int, fence: int, act_at: datetime | None) -> None:
    """As `stay`, where nobody was asked: nothing is settled, and nobody called."""
    rowsets.run(_WAIT, [act_at, recharge_id, fence])


def cancel(
    *, recharge: Recharge, actor: Person | None, because: str, at: datetime, note: str = ""
) -> None:
    """End a recharge before any reference of it is at a rail. Raises TooLate, or LostRace.

    May be called twice: a canceled one is left as it is. `note` is an operator's own words.
    """
    with transaction.atomic():
        locked = Recharge.objects.select_for_update(no_key=True).get(pk=recharge.pk)
        if locked.state == RechargeState.CANCELED:
            recharge.refresh_from_db()
            return
        # Sent once already, and not closed without effect: the rail may yet take it.
        is_sent = has_live_attempt(recharge_id=locked.pk)
        if locked.state not in CANCELABLE_STATES or is_sent:
            raise TooLate(locked.ref)
        end_unpaid(
            recharge=locked,
            target=RechargeState.CANCELED,
            because=because,
            actor_id=actor.pk if actor else None,
            note=note,
            at=at,
        )
    recharge.refresh_from_db()


def has_live_attempt(*, recharge_id: int) -> bool:
    """Whether a reference of it may have been sent and has not been closed without effect."""
    attempts = PaymentAttempt.objects.filter(recharge=recharge_id)
    return attempts.exclude(state__in=ENDED_ATTEMPTS, doubted_at=None).exists()


def end_unpaid(
    *,
    recharge: Recharge,
    target: RechargeState,
    because: str,
    at: datetime,
    fence: int | None = None,
    actor_id: int | None = None,
    note: str = "",
    attention: str = "",
) -> None:
    """End without money: the promotion's reserve is released and the rule may fire again.

    In the caller's transaction. Raises LostRace.
    """
    if target not in UNPAID_END_STATES:
        raise IllegalMove(f"{target} is not an end without money")
    one = Move(
        recharge.pk,
        recharge.state,
        target,
        because,
        None,
        fence=fence,
        actor_id=actor_id,
        note=note,
        attention=attention,
    )
    move_one(one, at=at)
    aftermath.unpaid(recharge_ids=[recharge.pk], at=at)


_ROUNDS = """
SELECT count(*) FROM billing_rechargemove m
WHERE m.recharge_id = %s AND m.because = %s AND m.id > COALESCE((
  SELECT max(p.id) FROM billing_rechargemove p
  WHERE p.recharge_id = m.recharge_id AND p.actor_id IS NOT NULL), 0)"""


def rounds(*, recharge_id: int, because: str) -> int:
    """How often it came back to where it began for this reason: its history is the counter, which
    no step can forget. A person who sends it on begins anew."""
    [count] = rowsets.column(_ROUNDS, [recharge_id, because], of=int)
    return count


def history(recharge: Recharge) -> list[RechargeMove]:
    """Its moves, oldest first."""
    return list(recharge.moves.order_by("pk").select_related("actor"))

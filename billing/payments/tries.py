"""The card schemes' budget of tries (data per rail, `Capabilities.tries`): how often one instrument
may be refused in a day and in thirty, counted over all lines and all bindings of it.

Beyond it each further try costs a fee, helps nobody, and makes the issuer distrust the next good
one. A try counts from the reference on, unless it was paid or closed without effect.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from billing import gateways, rowsets
from billing.casebook import Heard
from billing.gateways.base import Capabilities
from billing.gateways.limits import TryLimit
from billing.models import Binding, BindingState
from billing.payments import answers, fallbacks, retries
from billing.payments.recounting import Full
from billing.payments.retries import ASKED_TO_WAIT
from billing.recharges import claims
from billing.recharges.claims import Work
from billing.recharges.machine import LostRace, Move
from billing.states import UNPAID_END_STATES, RechargeState

S = RechargeState
SPENT = "tries_spent"

# The same instrument however often it was bound, and whoever bound it.
_INSTRUMENTS = """
SELECT b.id AS binding_id,
       COALESCE(NULLIF(b.fingerprint, ''), 'binding ' || b.id) AS instrument
FROM billing_binding b WHERE b.id = ANY(%b)"""
_TRIED = """
SELECT m.id AS binding_id, a.created_at AS tried_at, a.code,
       COALESCE(a.settled_at, a.created_at) AS ended_at
FROM billing_binding m
JOIN billing_binding s ON s.id = m.id OR (m.fingerprint <> '' AND s.fingerprint = m.fingerprint)
JOIN billing_paymentattempt a ON a.binding_id = s.id
WHERE m.id = ANY(%b) AND a.created_at > %s AND a.state NOT IN ('succeeded', 'closed')
ORDER BY a.created_at"""
# Two workers that count the same instrument would each find the last try: one waits for the other.
_ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended(i.instrument, 0)) IS NULL
FROM (SELECT unnest(%b::text[]) AS instrument ORDER BY 1) i"""


class Instrument(NamedTuple):
    """One row of `_INSTRUMENTS`: what the schemes count a binding as."""

    binding_id: int
    instrument: str


class Tried(NamedTuple):
    """One row of `_TRIED`: one try of a binding's instrument."""

    binding_id: int
    tried_at: datetime
    code: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of one limit, for its owner to see."""

    limit_count: int
    left_count: int
    within_days: int


def shown(binding: Binding, *, at: datetime) -> list[Left]:
    """What the card schemes allow yet, where the method is in use and its rail counts them."""
    if binding.state != BindingState.ACTIVE or binding.rail_id not in gateways.available():
        return []
    return left(binding, rail=gateways.capabilities(binding.rail_id), at=at)


def left(binding: Binding, *, rail: Capabilities, at: datetime) -> list[Left]:
    """What is left of each limit of the binding's rail; empty where it knows none."""
    tried = _tried([binding.pk], rails=[rail], at=at)[binding.pk] if rail.tries else []
    return [
        Left(one.count, max(one.count - len(_within(tried, one, at=at)), 0), one.within.days)
        for one in rail.tries
    ]


def with_tries_left(
    rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]
) -> tuple[list[Work], list[Full]]:
    """The rows whose instrument may be tried once more, and the others. In the transaction that
    commits the references. What is sent again under its own reference has had its try."""
    limited = [row for row in rows if rails[row.rail].tries and not claims.is_live_attempt(row)]
    if not limited:
        return list(rows), []
    instruments = _locked([row.binding_id for row in limited])
    found = _tried(list(instruments), rails=[rails[row.rail] for row in limited], at=at)
    tried = {instruments[pk]: found[pk] for pk in instruments}
    spent = []
    for row in limited:
        mine = tried[instruments[row.binding_id]]
        full = _full(row, mine, rail=rails[row.rail], at=at)
        if full is None:
            mine.append(Tried(row.binding_id, at, "", at))
        else:
            spent.append(full)
    ids = {one.row.id for one in spent}
    return [row for row in rows if row.id not in ids], spent


def set_aside(spent: Sequence[Full], *, at: datetime, rails: Mapping[str, Capabilities]) -> None:
    """The second method's turn, which has tries of its own. Without one it waits for the next try,
    or ends and says why; its rule rests until there is one."""
    alone = [one for one in spent if not _is_passed_over(one.row, at=at, rails=rails)]
    answers.set_aside(alone, at=at)
    for one in alone:
        if one.move.target in UNPAID_END_STATES and one.room_at is not None:
            retries.rest(one.row, until=one.room_at)


def _is_passed_over(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> bool:
    try:
        with transaction.atomic():
            return fallbacks.pass_over(row, at=at, rails=rails)
    except LostRace:
        return True  # whoever won it knows more


def _locked(binding_ids: Sequence[int]) -> dict[int, str]:
    rows = rowsets.read(_INSTRUMENTS, [sorted(set(binding_ids))], into=Instrument)
    named = {one.binding_id: one.instrument for one in rows}
    rowsets.column(_ONE_AT_A_TIME, [sorted(set(named.values()))], of=bool)
    return named


def _tried(
    binding_ids: Sequence[int], *, rails: Sequence[Capabilities], at: datetime
) -> dict[int, list[Tried]]:
    longest = max(limit.within for rail in rails for limit in rail.tries)
    rows = rowsets.read(_TRIED, [list(binding_ids), at - longest], into=Tried)
    tried: dict[int, list[Tried]] = defaultdict(list)
    for one in rows:
        tried[one.binding_id].append(one)
    return tried


def _within(tried: Sequence[Tried], limit: TryLimit, *, at: datetime) -> list[datetime]:
    return [one.tried_at for one in tried if one.tried_at > at - limit.within]


def _full(row: Work, tried: Sequence[Tried], *, rail: Capabilities, at: datetime) -> Full | None:
    """What becomes of a row whose instrument is to be left alone; None: it may be tried now."""
    free_at, limit = _room(tried, rail.tries, at=at)
    asked_until = max([at, *_asked(row, tried, rail=rail)])
    if asked_until > free_at:
        facts = {"until": asked_until.isoformat()}
        return Full(row, _put_off(row, ASKED_TO_WAIT, asked_until), facts, asked_until)
    if limit is None:
        return None
    figures = {"days": limit.within // timedelta(days=1)}
    return Full(row, _put_off(row, SPENT, free_at), figures, free_at)


def _asked(row: Work, tried: Sequence[Tried], *, rail: Capabilities) -> list[datetime]:
    """Until when its issuer wants no other try, by each refusal that named a wait. It binds the
    robot, whichever line it tries for; an owner's own hand may know that the cause is gone."""
    if row.rule_id is None:
        return []
    return [one.ended_at + rail.waits[one.code] for one in tried if one.code in rail.waits]


def _room(
    tried: Sequence[Tried], limits: Sequence[TryLimit], *, at: datetime
) -> tuple[datetime, TryLimit | None]:
    """When the instrument has a try again, and the limit that has it wait; None: now."""
    room_at: datetime = at
    reached = None
    for limit in limits:
        within = _within(tried, limit, at=at)
        if len(within) >= limit.count:
            frees_at = within[len(within) - limit.count] + limit.within
            room_at, reached = max((room_at, reached), (frees_at, limit), key=lambda one: one[0])
    return room_at, reached


def _put_off(row: Work, because: str, room_at: datetime) -> Move:
    is_in_time = room_at <= row.charge_until and row.latest_charge_at is None
    return row.move(
        S.WAITING if is_in_time else S.CANCELED,
        because,
        room_at if is_in_time else None,
        heard=Heard.NOTHING,
    )

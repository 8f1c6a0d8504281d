"""Charges a rail wants announced first (rule 13): one at a time, kept to, and never told twice.

Between opening and charging a recharge on such a rail waits, announced: no earlier than
`earliest_charge_at`, no later than `latest_charge_at`, and for no more than `announced_minor`.
`begin` commits that an announcement is under way before the rail hears of it, so that whoever
repeats a lost one announces the same window. No call inside a transaction.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from billing import rowsets
from billing.bindings import breaker
from billing.casebook import Heard
from billing.gateways.base import (
    Capabilities,
    ChargeRequest,
    Gateway,
    Noticed,
    NotNeeded,
    Preparation,
    Refused,
    Unknown,
)
from billing.models import Binding, NoticeKind, Recharge
from billing.notices import telling
from billing.payments import answers, declines, recounting
from billing.recharges import evidence, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import LostRace
from billing.rules import gathering
from billing.states import OPEN_STATES, UNPAID_END_STATES, DeclineClass, RechargeState, Trigger

log = logging.getLogger(__name__)

S = RechargeState
# After no answer the same announcement is made again: soon at first, then ever less often.
AGAIN_SOON, AGAIN_LATER = timedelta(minutes=1), timedelta(hours=1)
BUSY_RECHECK = timedelta(minutes=30)
TURN_GRACE = timedelta(days=1)
WORTH_TELLING = timedelta(hours=1)
# Less of a window than this is not taken over: the charge might come after its end.
ROOM = timedelta(hours=1)
# One that waits for a standing announcement looks sooner than its end: another may have used it.
STANDING_RECHECK = timedelta(days=1)

# A charge of another recharge on the same agreement that is announced, under way, or just made.
_BUSY = """
SELECT b.id AS binding_id, GREATEST(
         (SELECT max(a.created_at) + %s FROM billing_paymentattempt a
           WHERE a.binding_id = b.id AND a.recharge_id <> ALL(%b::bigint[])
             AND a.state NOT IN ('declined', 'closed') AND a.created_at > %s),
         (SELECT %s::timestamptz FROM billing_recharge g
           WHERE g.binding_id = b.id AND g.id <> ALL(%b::bigint[]) AND g.state = ANY(%b)
             AND (g.notice_sent_at IS NOT NULL OR g.state = ANY(%b)) LIMIT 1)) AS until
FROM billing_binding b WHERE b.id = ANY(%b)"""


class Busy(NamedTuple):
    """One row of `_BUSY`: an agreement, and until when others' charges keep it, if any do."""

    binding_id: int
    until: datetime | None


_OPEN = [state.value for state in OPEN_STATES]
_SENT = [S.CHARGING.value, S.PAYMENT_PENDING.value, S.PAYMENT_UNKNOWN.value]

# Announced, and ended without a charge since: it stands where the rail lets it stand, until it
# refuses a charge for want of it.
_STANDING = """
SELECT DISTINCT ON (g.binding_id) g.binding_id, g.notice_sent_at, g.earliest_charge_at,
       g.latest_charge_at, g.announced_minor
FROM billing_recharge g
WHERE g.binding_id = ANY(%b) AND g.latest_charge_at > %s AND g.announced_minor IS NOT NULL
  AND g.state = ANY(%b) AND NOT EXISTS (
    SELECT FROM billing_recharge h
    WHERE h.binding_id = g.binding_id AND h.charged_at >= g.notice_sent_at)
  AND NOT EXISTS (
    SELECT FROM billing_paymentattempt a
    WHERE a.binding_id = g.binding_id AND a.created_at >= g.notice_sent_at
      AND a.code = ANY(%b::text[]))
ORDER BY g.binding_id, g.latest_charge_at DESC"""


class Standing(NamedTuple):
    """One row of `_STANDING`: what an agreement's payer was told, and nothing was taken under."""

    binding_id: int
    notice_sent_at: datetime
    earliest_charge_at: datetime
    latest_charge_at: datetime
    announced_minor: int


_BEGIN = """
UPDATE billing_recharge g SET notice_sent_at = COALESCE(g.notice_sent_at, %s)
FROM unnest(%b::bigint[], %b::bigint[]) v(id, fence)
WHERE g.id = v.id AND g.fence = v.fence AND g.state = 'due' RETURNING g.id"""
_UNPAID = [state.value for state in UNPAID_END_STATES]


@dataclass(frozen=True, slots=True)
class Asked:
    """One announcement that was made: what was claimed, and what came back."""

    row: Work
    preparation: Preparation


def is_needed(row: Work, *, rail: Capabilities) -> bool:
    """Whether `row` must be announced before it may be charged: to its rail, or to its payer."""
    if row.notice_h and row.notice_sent_at is None:
        return True
    return rail.must_prepare and row.earliest_charge_at is None


def only_one_each(
    rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]
) -> list[Work]:
    """Those that may be announced or charged now on rails that take one charge an agreement at a
    time. The others wait for their turn; the agreements are locked while it is found out.

    In the caller's transaction.
    """
    spaced = [row for row in rows if rails[row.rail].min_interval]
    if not spaced:
        return list(rows)
    free_at = _free_at(spaced, at=at, rails=rails)
    taken: set[int] = set()
    going = []
    for row in rows:
        if row.binding_id not in free_at:
            going.append(row)
        elif free_at[row.binding_id] is None and row.binding_id not in taken:
            taken.add(row.binding_id)
            going.append(row)
        else:
            until = free_at[row.binding_id] or at + BUSY_RECHECK
            _wait_for_turn(row, until=until, lead=_as_used(row, rails).lead, at=at)
    return going


def _free_at(
    rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]
) -> dict[int, datetime | None]:
    """When each agreement takes its next charge; None: now."""
    ids = sorted({row.binding_id for row in rows})
    list(Binding.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
    interval = max(rails[row.rail].min_interval for row in rows)
    mine = [row.id for row in rows if row.notice_sent_at is not None]
    theirs = [at - interval, at + BUSY_RECHECK, mine, _OPEN, _SENT, ids]
    busy = rowsets.read(_BUSY, [interval, [row.id for row in rows], *theirs], into=Busy)
    return {one.binding_id: one.until if one.until and one.until > at else None for one in busy}


def _as_used(row: Work, rails: Mapping[str, Capabilities]) -> Capabilities:
    return gathering.told_first(rails[row.rail], notice_h=row.notice_h)


def _wait_for_turn(row: Work, *, until: datetime, lead: timedelta, at: datetime) -> None:
    """A low balance does not get better by waiting, so its grace goes on; a date does pass."""
    if machine.move([row.move(S.WAITING, "binding_busy", until, heard=Heard.NOTHING)], at=at):
        _keep_grace(row, until=until + lead + TURN_GRACE)


def _keep_grace(row: Work, *, until: datetime) -> None:
    """In the caller's transaction, of a row that is still its own."""
    if row.trigger != Trigger.SCHEDULE:
        Recharge.objects.filter(pk=row.id, expires_at__lt=until).update(expires_at=until)


# --- before the call ----------------------------------------------------------------------------


def begin(rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]) -> list[Work]:
    """Commit that each due row is being announced; the rows that are ours to announce."""
    if not rows:
        return []
    with transaction.atomic():
        going, full = recounting.with_room(
            rows, at=at, rails=rails, when=lambda row: _moves_at(row, at=at, rails=rails)
        )
        next_ones = only_one_each(going, at=at, rails=rails)
        mine = _without_standing(next_ones, at=at, rails=rails)
        facts = [at, [row.id for row in mine], [row.fence for row in mine]]
        ids = rowsets.column(_BEGIN, facts, of=int)
    answers.set_aside(full, at=at)
    return [row._replace(notice_sent_at=row.notice_sent_at or at) for row in mine if row.id in ids]


def _moves_at(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> datetime:
    """The day that is about to be announced."""
    return gathering.moves_at(
        _as_used(row, rails), at=at, due_at=row.due_at, signed_at=row.binding_signed_at
    )


def _without_standing(
    rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]
) -> list[Work]:
    """Those to announce. Where one that was never used stands, the rail takes no other: who fits
    into it takes it over, untold a second time by the rail; who does not waits until it is over.
    """
    where = {row.binding_id: rails[row.rail] for row in rows if rails[row.rail].announcement_stands}
    codes = sorted({rail.not_announced_code for rail in where.values()} - {""})
    found = (
        rowsets.read(_STANDING, [list(where), at, _UNPAID, codes], into=Standing) if where else []
    )
    standing = {one.binding_id: one for one in found}
    left = []
    for row in rows:
        told = standing.get(row.binding_id)
        if told is None:
            left.append(row)
        elif _fits(row, told, at=at):
            _take_over(row, told, at=at)
        else:
            until = min(told.latest_charge_at, at + STANDING_RECHECK)
            _wait_for_turn(row, until=until, lead=_as_used(row, rails).lead, at=at)
    return left


def _fits(row: Work, told: Standing, *, at: datetime) -> bool:
    is_in_time = max(at, row.due_at) + ROOM <= told.latest_charge_at
    return is_in_time and row.price_minor <= told.announced_minor


def _take_over(row: Work, told: Standing, *, at: datetime) -> None:
    """In the caller's transaction; one that another worker has now is left to it."""
    held = Recharge.objects.filter(pk=row.id, fence=row.fence, state=S.DUE)
    if held.update(notice_sent_at=told.notice_sent_at):
        window = Noticed(told.earliest_charge_at, told.latest_charge_at, told.announced_minor)
        _announced(row, window, at=at, latest_at=window.latest_charge_at)
        _tell_day(row, window, at=at)


def prepare(row: Work, *, gateway: Gateway, provider_binding_ref: str) -> Preparation:
    """Announce it. No transaction is open; may be repeated with the same row."""
    request = ChargeRequest(
        reference=row.ref,
        provider_binding_ref=provider_binding_ref,
        amount_minor=row.price_minor,
        currency=row.currency,
        description=f"Keepline {row.ref}",
        notify_url="",
        first_sent_at=row.notice_sent_at,
    )
    begun_at = row.notice_sent_at or row.due_at
    return gateway.prepare_charge(request=request, due_at=max(row.due_at, begun_at))


def unusable(error: Exception) -> Preparation:
    """A call that broke in our own code: whether the rail was told is not known."""
    return Preparation(Unknown(f"{type(error).__name__} in the adapter"))


# --- after the call -----------------------------------------------------------------------------


def record(asked: Sequence[Asked], *, at: datetime, context: answers.Context) -> None:
    """Commit what came back, a row at a time: announcements are few. Fenced."""
    for one in asked:
        try:
            with transaction.atomic():
                evidence.record_rail_calls([(one.row.rail, one.preparation)], at=at)
                _HANDLERS[type(one.preparation.outcome)](
                    one.row, one.preparation.outcome, at, context
                )
        except LostRace:
            log.info("recharge %s was settled by another worker", one.row.id)
        except rowsets.POISON:
            log.exception("announcement of recharge %s cannot be recorded", one.row.id)


def _not_needed(row: Work, outcome: NotNeeded, at: datetime, context: answers.Context) -> None:
    """The rail asks for nothing; where the law does, its payer alone is told."""
    del outcome, context
    told = Noticed(at, row.expires_at, row.price_minor)
    _announced(row, told, at=at, latest_at=None if row.notice_h else row.expires_at)
    if row.notice_h:
        _tell_day(row, told, at=at)


def _noticed(row: Work, outcome: Noticed, at: datetime, context: answers.Context) -> None:
    if outcome.max_amount_minor < row.price_minor:
        # What may be taken is less than what was agreed: taking less would leave the line short.
        _refused(row, Refused("ANNOUNCED_AMOUNT_TOO_SMALL"), at, context)
        return
    _announced(row, outcome, at=at, latest_at=outcome.latest_charge_at)
    _tell_day(row, outcome, at=at)


def _tell_day(row: Work, told: Noticed, *, at: datetime) -> None:
    """Once a day that is told, unless it is charged so soon that its result says all. Announced
    anew, or on the second binding, a recharge has another day, which must be told too."""
    earliest_at = _earliest(row, told, at=at)
    due_at = max(earliest_at, row.due_at)
    if not row.notice_h and due_at - at < WORTH_TELLING:
        return  # the result is told within the hour anyway
    key = f"{row.ref}:announced:{due_at.date()}"
    telling.tell(
        owner_id=row.owner_id,
        kind=NoticeKind.UPCOMING_CHARGE,
        occurrence_key=f"{key}:{row.binding_id}:{row.price_minor}" if row.notice_h else key,
        line_id=row.line_id,
        recharge_id=row.id,
        facts={
            "face_minor": row.face_minor,
            "price_minor": row.price_minor,
            "currency": row.currency,
            "rail": row.rail,
            "at": due_at.isoformat(),
            **({"cancel_until": due_at.isoformat()} if row.notice_h else {}),
        },
        channels=row.channels,
        at=at,
    )


def _earliest(row: Work, told: Noticed, *, at: datetime) -> datetime:
    """As the rail has it, and no sooner after its payer is told than the law has it."""
    return max(told.earliest_charge_at, at + timedelta(hours=row.notice_h))


def _announced(row: Work, told: Noticed, *, at: datetime, latest_at: datetime | None) -> None:
    """It waits for its hour: the one that was planned, where the rail's window has it. What its
    payer alone is told of has no last hour (`latest_at`) but its own."""
    earliest_at = _earliest(row, told, at=at)
    Recharge.objects.filter(pk=row.id, fence=row.fence).update(
        earliest_charge_at=earliest_at,
        latest_charge_at=latest_at,
        announced_minor=told.max_amount_minor,
    )
    wait_until = max(earliest_at, min(row.due_at, told.latest_charge_at))
    machine.move_one(row.move(S.WAITING, "announced", wait_until), at=at)
    if row.notice_h:
        _keep_grace(row, until=wait_until + TURN_GRACE)


def _refused(row: Work, outcome: Refused, at: datetime, context: answers.Context) -> None:
    """A definite no before anything was taken: what its code means is data here too."""
    meaning = declines.classify(context.codes, rail=row.rail, code=outcome.code)
    if meaning not in (DeclineClass.HARD, DeclineClass.AUTH):
        rail = context.capabilities[row.rail]
        if rail.announcement_stands and outcome.code == rail.not_announced_code:
            _barred(row, rail=rail, at=at)
        else:
            _again(row, _later(row, ladders.CONFIG_RETRY, at=at), attention="config", at=at)
        return
    breaker.record_decline(binding_id=row.binding_id, decline_class=meaning, at=at)
    answers.ended(row, row.move(S.FAILED, "hard_decline", None), at=at)


def _barred(row: Work, *, rail: Capabilities, at: datetime) -> None:
    """Most likely by an announcement that we have lost sight of, which is over after its own days:
    so long the grace goes on, and no longer."""
    _again(row, at + AGAIN_LATER, attention="config", at=at)
    over_at = (row.notice_sent_at or at) + rail.notice + (rail.window or timedelta(0))
    _keep_grace(row, until=over_at + rail.lead + TURN_GRACE)


def _unknown(row: Work, outcome: Unknown, at: datetime, context: answers.Context) -> None:
    del outcome, context
    again_at = _later(row, AGAIN_SOON, at=at)
    _again(row, again_at, attention="", heard=Heard.SILENCE, at=at)


def _later(row: Work, soonest: timedelta, *, at: datetime) -> datetime:
    """Ever less often while it lasts; its window ends it."""
    waited = (at - (row.notice_sent_at or at)) / 2
    return at + min(max(waited, soonest), AGAIN_LATER)


def _again(
    row: Work,
    act_at: datetime,
    *,
    attention: str,
    at: datetime,
    heard: Heard = Heard.ANSWER,
) -> None:
    again = row.move(S.WAITING, "announcing", act_at, attention=attention, heard=heard)
    machine.move_one(again, at=at)


_HANDLERS: Mapping[type, Callable[..., None]] = {
    NotNeeded: _not_needed,
    Noticed: _noticed,
    Refused: _refused,
    Unknown: _unknown,
}

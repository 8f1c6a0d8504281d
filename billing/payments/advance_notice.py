"""Notice before every deduction, where the law of the carrier's market asks for it (rule 26).

Before a reference is committed: a notice of this very recharge is on record, names no lower amount
and the same rail, has got out, and so long ago as its market wants. Else nothing is charged: it
waits for the notice while that is on its way, and is missed where it came to nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.casebook import Heard
from billing.models import Notice, NoticeDelivery, NoticeKind, Recharge
from billing.notices import reminders
from billing.payments.recounting import Full
from billing.recharges import machine
from billing.recharges.claims import Work
from billing.states import RechargeState

S = RechargeState
# Why a recharge waits for its notice, and why it ends where that could not be delivered.
UNDELIVERED, NOT_SENT = "notice_not_out", "notice_not_sent"
RECHECK = timedelta(minutes=15)


def told(rows: Sequence[Work], *, at: datetime) -> tuple[list[Work], list[Full]]:
    """Those that may be charged now, and the others with what becomes of them.

    In the caller's transaction, which holds their rules.
    """
    bound = [row for row in rows if row.notice_h]
    notices = _of(bound)
    moves = {row.id: _move(row, notices.get(row.id, []), at=at) for row in bound}
    going = [row for row in rows if moves.get(row.id) is None]
    untold = [Full(row, move, {}) for row in bound if (move := moves[row.id]) is not None]
    return going, untold


def end_of(row: Work) -> str:
    """Why the window of one that waits for its notice is over without a charge; "": it does not."""
    return NOT_SENT if row.notice_h and row.reason == UNDELIVERED else ""


def _of(rows: Sequence[Work]) -> dict[int, list[Notice]]:
    """What was announced of each, by recharge."""
    found: dict[int, list[Notice]] = {}
    told_of = Notice.objects.filter(
        recharge__in=[row.id for row in rows], kind=NoticeKind.UPCOMING_CHARGE
    )
    for one in told_of.prefetch_related("deliveries") if rows else ():
        found.setdefault(one.recharge_id or 0, []).append(one)
    return found


def _move(row: Work, notices: Sequence[Notice], *, at: datetime) -> machine.Move | None:
    """What keeps `row` from being charged, as a move; None: its payer has been told in time."""
    fitting = [one for one in notices if _announces(one, row)]
    if not fitting:
        _forget(row)
        return _wait(row, "announcing", at)
    out = [instant for one in fitting if (instant := reminders.got_out_at(one)) is not None]
    if out:
        free_at = min(out) + timedelta(hours=row.notice_h)
        return _wait(row, "announced", free_at) if free_at > at else None
    if any(_is_on_its_way(one) for one in fitting):
        return _wait(row, UNDELIVERED, at + RECHECK)
    return row.move(S.MISSED, NOT_SENT, None)


def _wait(row: Work, because: str, until: datetime) -> machine.Move:
    """Nobody outside was asked: what waits for a person goes on waiting."""
    return row.move(S.WAITING, because, until, heard=Heard.NOTHING)


def _announces(notice: Notice, row: Work) -> bool:
    facts = notice.facts
    return bool(facts["price_minor"] >= row.price_minor and facts["rail"] == row.rail)


def _is_on_its_way(notice: Notice) -> bool:
    return any(one.state == NoticeDelivery.State.WAITING for one in notice.deliveries.all())


def _forget(row: Work) -> None:
    """Announced, but not as it would be charged now: so it is announced anew."""
    held = Recharge.objects.filter(pk=row.id, fence=row.fence)
    held.update(**machine.NOT_ANNOUNCED)

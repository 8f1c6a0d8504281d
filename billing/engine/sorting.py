"""What was claimed, by its next step. What cannot go on now is moved out of the way at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import transaction

from billing.casebook import Heard
from billing.engine.outgoing import Adapters
from billing.outside import Outside
from billing.payments import announcements, answers, charging
from billing.recharges import claims, disputed, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import Move
from billing.refunds import claims as refund_claims
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from billing.states import DELIVERING_STATES, UNPAID_END_STATES, RechargeState

log = logging.getLogger(__name__)

S = RechargeState


@dataclass(slots=True)
class Piles:
    """By what is asked next, and of whom."""

    announce: list[Work] = field(default_factory=list)
    charge: list[Work] = field(default_factory=list)
    query: list[Work] = field(default_factory=list)
    deliver: list[Work] = field(default_factory=list)
    query_delivery: list[Work] = field(default_factory=list)


def sort(rows: Sequence[Work], *, at: datetime, outside: Outside, adapters: Adapters) -> Piles:
    """Those that can go on now. The others wait, and an operator is told why."""
    piles = Piles()
    give_back([row for row in rows if row.carrier_id not in adapters], at=at, attention="config")
    for row in rows:
        if row.carrier_id in adapters:
            _put(row, piles, at=at, outside=outside)
    away = [row for row in piles.query if row.rail not in outside.gateways]
    give_back(away, at=at, attention="config")
    piles.query = [row for row in piles.query if row.rail in outside.gateways]
    return piles


def _put(row: Work, piles: Piles, *, at: datetime, outside: Outside) -> None:
    if claims.is_doubted(row) and row.crash_count <= claims.MAX_CRASHES:
        piles.query.append(row)
    elif row.state in (S.WAITING.value, S.DUE.value, S.DECLINED.value):
        if _may_charge(row, at=at, outside=outside):
            rail = outside.gateways[row.rail].capabilities
            is_needed = announcements.is_needed(row, rail=rail)
            (piles.announce if is_needed else piles.charge).append(row)
    elif row.crash_count > claims.MAX_CRASHES:
        _quarantine(row, at=at)
    elif row.state == S.CHARGED.value:
        piles.deliver.append(row)
    elif row.state in DELIVERING_STATES or row.state == S.COMPLETED.value:
        piles.query_delivery.append(row)
    elif row.attempt_id is not None:
        piles.query.append(row)
    else:
        machine.wait(recharge_id=row.id, fence=row.fence, act_at=None)


def _may_charge(row: Work, *, at: datetime, outside: Outside) -> bool:
    """Whether to charge now. Waiting and declined rows become due first, and are looked at next."""
    obstacle = charging.obstacle(row, gateway=outside.gateways.get(row.rail), at=at)
    if obstacle is None and row.state == S.DUE.value:
        return True
    if obstacle is not None and obstacle.target in UNPAID_END_STATES:
        answers.ended(row, obstacle, at=at)
    elif obstacle is None or row.state == S.DECLINED.value:
        make([row.move(S.DUE, row.reason, at)], at=at)
    elif obstacle.target == row.state:
        machine.wait(recharge_id=row.id, fence=row.fence, act_at=obstacle.act_at)
    else:
        make([obstacle], at=at)
    return False


def _quarantine(row: Work, *, at: datetime) -> None:
    """Three workers died over it: it stays where it is, and a person is called."""
    log.error("recharge %s is quarantined after %s crashes", row.id, row.crash_count)
    claims.stay(row, act_at=None, attention=claims.CRASHED, heard=Heard.NOTHING, at=at)


def refundable(
    rows: Sequence[RefundWork], *, at: datetime, outside: Outside, adapters: Adapters
) -> list[RefundWork]:
    """Those whose next call can be made at all."""
    return [row for row in rows if _may_refund(row, at=at, outside=outside, adapters=adapters)]


def _may_refund(row: RefundWork, *, at: datetime, outside: Outside, adapters: Adapters) -> bool:
    """If not, it waits, and an operator is told why."""
    if row.crash_count > claims.MAX_CRASHES:
        log.error("refund %s is quarantined after %s crashes", row.id, row.crash_count)
        refunding.set_aside(row, attention="crashed", at=at)
        return False
    if refunding.is_unsent(row) and disputed.is_unsettled(recharge_id=row.recharge_id):
        refunding.set_aside(row, attention=machine.DISPUTED, at=at)
        return False
    of_carrier = refunding.is_about_credit(row)
    if row.carrier_id in adapters if of_carrier else row.rail in outside.gateways:
        return True
    give_refunds_back([row], at=at, attention="config")
    return False


# --- what was not begun -------------------------------------------------------------------------


def give_back(rows: Sequence[Work], *, at: datetime, attention: str = "") -> None:
    """Nothing was asked, and nobody died: the claim must not count as a crash. Without `attention`
    nobody came to it, for want of time."""
    again_at = at + _looked_at_after(attention)
    claims.release_all(rows, act_at=again_at, attention=attention, at=at)


def give_refunds_back(rows: Sequence[RefundWork], *, at: datetime, attention: str = "") -> None:
    """As `give_back`."""
    again_at = at + _looked_at_after(attention)
    refund_claims.release_all(rows, act_at=again_at, attention=attention, at=at)


def _looked_at_after(attention: str) -> timedelta:
    return ladders.DEFERRED_RECHECK if attention else ladders.NOT_BEGUN_RECHECK


def make(moves: Sequence[Move], *, at: datetime) -> None:
    """In a transaction of their own, nobody having been asked; what has lost its race is left as
    it is."""
    if moves:
        with transaction.atomic():
            machine.move([replace(move, heard=Heard.NOTHING) for move in moves], at=at)

"""The executor's calls: each leg asks for its rows side by side, outside any transaction.

A call that was never begun has sent nothing, and its row is given back as it was. One that broke in
our own code may have: it counts as no answer.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from django.db import transaction

from billing import calls
from billing.calls import Results
from billing.casebook import Heard
from billing.delivery import crediting
from billing.gateways.base import Answer, Preparation
from billing.outside import Outside
from billing.payments import announcements, charging, overdue
from billing.recharges import claims, disputed, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import Move
from billing.refunds import claims as refund_claims
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from billing.states import RechargeState
from lines.carriers.base import CarrierAdapter, CreditAnswer
from lines.models import Carrier

log = logging.getLogger(__name__)

S = RechargeState
THREADS = 16
Row = TypeVar("Row")
Given = TypeVar("Given")


def announce(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[announcements.Asked]:
    """Announce each where its rail demands it; one that was not begun is due again in a minute."""
    secrets = charging.agreements(rows)

    def call(row: Work) -> Preparation:
        return announcements.prepare(
            row, gateway=outside.gateways[row.rail], provider_binding_ref=secrets[row.binding_id]
        )

    results = _all(call, rows, until=until)
    for row in results.not_begun:
        give_back(row, at=at)
    answers = _answers(results, unusable=announcements.unusable)
    return [announcements.Asked(row, preparation) for row, preparation in answers]


def charge(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[charging.Asked]:
    """Charge each; one that was never begun goes back to due, its reference unsent."""
    secrets = charging.agreements(rows)

    def call(row: Work) -> Answer:
        return charging.charge(
            row,
            gateway=outside.gateways[row.rail],
            notify_url=outside.notify_url(row.rail),
            return_url=outside.return_url(row.ref),
            provider_binding_ref=secrets[row.binding_id],
        )

    results = _all(call, rows, until=until)
    for row in results.not_begun:
        make(row.move(S.DUE, "not_sent", at), at=at)
    answers = _answers(results, unusable=charging.unusable)
    return [charging.Asked(row, answer) for row, answer in answers]


def query(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[charging.Asked]:
    """Ask the rail, and call off what is overdue. One that is switched off, or was not come to, is
    asked a minute later."""
    reachable = [row for row in rows if row.rail in outside.gateways]
    secrets = charging.agreements(reachable)

    def call(row: Work) -> Answer:
        gateway = outside.gateways[row.rail]
        answer = charging.query(row, gateway=gateway, provider_binding_ref=secrets[row.binding_id])
        return overdue.ended(row, answer, gateway=gateway, at=at)

    results = _all(call, reachable, until=until)
    for row in results.not_begun:
        give_back(row, at=at)
    for row in rows:
        if row.rail not in outside.gateways:
            give_back(row, at=at, attention="config")
    answers = _answers(results, unusable=charging.unusable)
    return [charging.Asked(row, answer) for row, answer in answers]


def credit(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[crediting.Asked]:
    """Credit each; one that was never begun goes back to paid, its order unsent."""
    adapters = adapters_of(rows, outside=outside)

    def call(row: Work) -> CreditAnswer:
        return crediting.credit(row, adapter=adapters[row.carrier_id])

    results = _all(call, rows, until=until)
    for row in results.not_begun:
        make(row.move(S.CHARGED, "paid", at), at=at)
    answers = _answers(results, unusable=crediting.unusable)
    return [crediting.Asked(row, answer) for row, answer in answers]


def query_credit(
    rows: Sequence[Work], *, at: datetime, outside: Outside, until: float
) -> list[crediting.Asked]:
    """Ask the carrier; one that was not come to is asked a minute later."""
    adapters = adapters_of(rows, outside=outside)

    def call(row: Work) -> CreditAnswer:
        return crediting.query(row, adapter=adapters[row.carrier_id])

    results = _all(call, rows, until=until)
    for row in results.not_begun:
        give_back(row, at=at)
    answers = _answers(results, unusable=crediting.unusable)
    return [crediting.Asked(row, answer, is_question=True) for row, answer in answers]


def refund(
    rows: Sequence[RefundWork], *, at: datetime, outside: Outside, until: float
) -> list[refunding.Asked]:
    """One call each: the carrier takes the credit back, or the rail gives the money back."""
    adapters = adapters_of(rows, outside=outside)

    def call(row: RefundWork) -> refunding.Said:
        if refunding.is_about_credit(row):
            return refunding.take_back(row, adapter=adapters[row.carrier_id])
        return refunding.ask(row, gateway=outside.gateways[row.rail])

    ready = [row for row in rows if _may_refund(row, at=at, outside=outside, adapters=adapters)]
    results = _all(call, ready, until=until)
    for row in results.not_begun:
        refund_claims.release(row, act_at=at + ladders.DEFERRED_RECHECK, at=at)
    answers = _answers(results, unusable=charging.unusable)
    return [refunding.Asked(row, answer) for row, answer in answers]


def _may_refund(
    row: RefundWork, *, at: datetime, outside: Outside, adapters: Mapping[int, CarrierAdapter]
) -> bool:
    """Whether its next call can be made at all; if not, it waits, and an operator is told why."""
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
    refund_claims.release(row, act_at=at + ladders.DEFERRED_RECHECK, attention="config", at=at)
    return False


# --- what the legs share ------------------------------------------------------------------------


def give_back(row: Work, *, at: datetime, attention: str = "") -> None:
    """Nothing was asked, and nobody died: the claim must not count as a crash."""
    claims.release(row, act_at=at + ladders.DEFERRED_RECHECK, attention=attention, at=at)


def make(move: Move, *, at: datetime) -> None:
    """Make one move in a transaction of its own, nobody having been asked; one that has lost its
    race is left as it is."""
    with transaction.atomic():
        machine.move([replace(move, heard=Heard.NOTHING)], at=at)


def adapters_of(
    rows: Sequence[Work] | Sequence[RefundWork], *, outside: Outside
) -> dict[int, CarrierAdapter]:
    """An adapter for each carrier that has one, made before the threads that use it."""
    ids = {row.carrier_id for row in rows}
    found = Carrier.objects.in_bulk(ids) if ids else {}
    made = {pk: outside.adapter_for(carrier) for pk, carrier in found.items()}
    return {pk: adapter for pk, adapter in made.items() if adapter is not None}


def _all(call: Callable[[Row], Given], rows: Sequence[Row], *, until: float) -> Results[Row, Given]:
    left_s = until - time.monotonic()
    return calls.concurrently(call, rows, threads=THREADS, deadline_s=left_s)


def _answers(
    results: Results[Row, Given], *, unusable: Callable[[Exception], Given]
) -> list[tuple[Row, Given]]:
    """What came back, and what broke as no answer. Of an error the type alone is logged: a message
    might hold what must not be."""
    for _, error in results.broken:
        log.error("an adapter raised %s", type(error).__name__)
    return results.came_back + [(row, unusable(error)) for row, error in results.broken]

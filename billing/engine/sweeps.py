"""Sweeps: whatever is due is found by looking, whether or not the queue remembered.

Each is bounded, may run anywhere and any number of times at once, and survives a row it cannot
read. The queue, the schedule, cron and the supervisor all call the same two functions.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing import calls, nudges, outages, rowsets
from billing.bindings import lifecycle as binding_lifecycle
from billing.engine import executor, incoming, outgoing
from billing.models import OutageSide, Rule
from billing.notices import reminders, sending
from billing.operators import attestations
from billing.outages import Heard
from billing.outside import Outside
from billing.recharges import evidence
from billing.refunds import approvals
from billing.rules import readings
from billing.rules.readings import Reading
from lines import lifecycle, refusals
from lines.carriers.base import (
    Balance,
    BalanceAnswer,
    CarrierAdapter,
    LineAddress,
    NotAllowed,
    NotFound,
    Unknown,
)
from lines.models import Line, LineStatus

log = logging.getLogger(__name__)

LIMIT = 200
POLL_EVERY = timedelta(hours=6)
POLL_RETRY = timedelta(minutes=10)
_Asked = tuple[Line, CarrierAdapter]
_STATUSES = {
    "active": LineStatus.ACTIVE,
    "suspended": LineStatus.SUSPENDED,
    "expired": LineStatus.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Found:
    """How much there was to do."""

    money: int = 0
    messages: int = 0
    balances: int = 0
    bindings: int = 0
    notices: int = 0
    requests: int = 0


def money(*, clock: Callable[[], datetime], outside: Outside, budget_s: float) -> Found:
    """Notifications first, since they say where to look; then everything that is due."""
    messages = incoming.process(at=clock(), limit=LIMIT)
    progress = executor.run(clock=clock, outside=outside, budget_s=budget_s)
    return Found(money=progress.total, messages=messages)


def slow(*, at: datetime, outside: Outside) -> Found:
    """Balances, agreements and notices: everything that must never delay money."""
    return Found(
        balances=poll_balances(at=at, outside=outside),
        bindings=binding_lifecycle.poll_due(at=at, limit=LIMIT),
        notices=reminders.upcoming_sweep(at=at, limit=LIMIT)
        + sending.send_due(at=at, limit=LIMIT, page_of=outside.notice_url),
        requests=attestations.expire(at=at, limit=LIMIT) + approvals.expire(at=at, limit=LIMIT),
    )


_CLAIM_LINES = """
WITH picked AS (
  SELECT id FROM lines_line WHERE poll_at <= %s
  ORDER BY poll_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE lines_line l SET poll_at = %s FROM picked WHERE l.id = picked.id RETURNING l.id"""


def poll_balances(*, at: datetime, outside: Outside, limit: int = LIMIT) -> int:
    """Ask carriers for balances that are due to be asked for. A carrier that does not answer is
    asked again in ten minutes: the claim itself has moved the time on."""
    with transaction.atomic():
        ids = rowsets.column(_CLAIM_LINES, [at, limit, at + POLL_RETRY], of=int)
    found = Line.objects.filter(pk__in=ids).select_related("carrier")
    adapters = [(line, outside.adapter_for(line.carrier)) for line in found]
    asked = [(line, adapter) for line, adapter in adapters if adapter is not None]
    results = calls.concurrently(
        lambda one: one[1].balance(address=LineAddress(msisdn=one[0].msisdn, iccid=one[0].iccid)),
        asked,
        threads=outgoing.THREADS,
        deadline_s=executor.BATCH_DEADLINE_S,
    )
    for (line, _), answer in results.came_back:
        _apply(line, answer, at=at)  # no answer leaves the time that the claim has set
    _note(results.came_back, at=at)
    return len(asked)


def _note(answered: Sequence[tuple[_Asked, BalanceAnswer]], *, at: datetime) -> None:
    """What the answers say of the carriers themselves: one line without an answer says little."""
    failing = outages.failing(OutageSide.CARRIER) if answered else set()
    said: dict[str, list[bool]] = {}
    why: dict[str, str] = {}
    for (line, _adapter), answer in answered:
        is_answer = not isinstance(answer.outcome, Unknown)
        said.setdefault(line.carrier.code, []).append(is_answer)
        if isinstance(answer.outcome, Unknown):
            why[line.carrier.code] = answer.outcome.reason
    heard = [
        Heard(
            OutageSide.CARRIER,
            code,
            any(each) or (False if len(each) > 1 else None),
            code in failing,
            why.get(code, ""),
        )
        for code, each in said.items()
    ]
    outages.note(heard, at=at)


def _apply(line: Line, answer: BalanceAnswer, *, at: datetime) -> None:
    """One line's answer; a poisoned one is logged and stops only itself."""
    try:
        with transaction.atomic():
            evidence.record_calls(answer.exchanges, at=at)
            _note_refusal(line, answer, at=at)
            if isinstance(answer.outcome, Balance):
                _apply_balance(line, answer.outcome, at=at)
            elif isinstance(answer.outcome, NotFound):
                _is_not_there(line, at=at)
    except rowsets.POISON:
        log.exception("balance of line %s cannot be applied", line.public_id)


def _note_refusal(line: Line, answer: BalanceAnswer, *, at: datetime) -> None:
    """That it refuses us is an operator's to see now, not when its lines have run dry."""
    carrier = line.carrier
    if isinstance(answer.outcome, NotAllowed):
        refusals.refused(carrier_id=carrier.pk, at=at)
        claimed = Line.objects.filter(pk=line.pk, poll_at=at + POLL_RETRY)  # not a newer wish
        claimed.update(poll_at=refusals.next_look(carrier, at=at))
    elif isinstance(answer.outcome, Balance | NotFound) and carrier.refuses_us_since is not None:
        refusals.answered(carrier_id=carrier.pk)


def _is_not_there(line: Line, *, at: datetime) -> None:
    """Its carrier no longer knows it: gone elsewhere, or ended. Stop, and ask its owner (rule 23).

    Suspended, not ended: should the carrier know it again, it comes back by the next answer.
    """
    wished_at = _wished_at(line, at=at)
    if line.status in (LineStatus.ACTIVE, LineStatus.EXPIRED):
        lifecycle.mark(line=line, status=LineStatus.SUSPENDED, at=at)
    rule = Rule.objects.select_for_update(no_key=True).filter(line=line, is_on=True).first()
    if rule is not None and rule.paused_at is None:
        Rule.objects.filter(pk=rule.pk).update(wake_at=at)
        nudges.money()
    Line.objects.filter(pk=line.pk).update(poll_at=wished_at)


def _wished_at(line: Line, *, at: datetime) -> datetime | None:
    """When to ask next; locks the line. A wish made while this answer was under way stays: what it
    is about may be younger than the answer."""
    locked = Line.objects.select_for_update(no_key=True).get(pk=line.pk)
    is_as_claimed = locked.poll_at == at + POLL_RETRY
    return at + POLL_EVERY if is_as_claimed else locked.poll_at


def _apply_balance(line: Line, balance: Balance, *, at: datetime) -> None:
    if balance.currency != line.currency:
        log.error("line %s is reported in another currency; not applied", line.public_id)
        return
    wished_at = _wished_at(line, at=at)
    status = _STATUSES.get(balance.status)
    if status is not None and line.is_live and status != line.status:
        lifecycle.mark(line=line, status=status, at=at)
    Line.objects.filter(pk=line.pk).update(poll_at=wished_at)
    readings.push(
        reading=Reading(
            line_id=line.pk,
            balance_minor=balance.balance_minor,
            reserved_minor=balance.reserved_minor,
            observed_at=balance.observed_at,
            valid_until=balance.valid_until,
            source="polled",
        ),
        at=at,
    )

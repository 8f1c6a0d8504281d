"""Balances that are asked for: of lines whose time has come, side by side, taken in together."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from billing import calls, nudges, outages, rowsets
from billing.calls import Results
from billing.models import OutageSide, Rule
from billing.outages import Heard
from billing.outside import Outside
from billing.recharges import evidence
from billing.rules import readings
from billing.rules.balances import Reading
from billing.rules.readings import Became
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
from lines.models import BalanceReading, Line, LineStatus

log = logging.getLogger(__name__)

_THREADS, _DEADLINE_S = 16, 20.0
POLL_EVERY = timedelta(hours=6)
POLL_RETRY = timedelta(minutes=10)
_Asked = tuple[Line, CarrierAdapter]
_Told = tuple[Line, BalanceAnswer]
_STATUSES = {
    "active": LineStatus.ACTIVE,
    "suspended": LineStatus.SUSPENDED,
    "expired": LineStatus.EXPIRED,
}
_ANSWERS = (Balance, NotFound)
_BELIEVED = (Became.APPLIED, Became.KEPT)
_CLAIM = """
WITH picked AS (
  SELECT id FROM lines_line WHERE poll_at <= %s
  ORDER BY poll_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE lines_line l SET poll_at = %s FROM picked WHERE l.id = picked.id RETURNING l.id"""
# A wish made while the answer was under way stays: what it is about may be younger than that.
_ANSWERED = "UPDATE lines_line SET poll_at = %s WHERE id = ANY(%b) AND poll_at = %s"


def poll_balances(*, at: datetime, outside: Outside, limit: int) -> int:
    """Ask carriers for balances that are due to be asked for. A carrier that does not answer is
    asked again in ten minutes: the claim itself has moved the time on."""
    with transaction.atomic():
        ids = rowsets.column(_CLAIM, [at, limit, at + POLL_RETRY], of=int)
    found = Line.objects.filter(pk__in=ids).select_related("carrier")
    adapters = [(line, outside.adapter_for(line.carrier)) for line in found]
    asked = [(line, adapter) for line, adapter in adapters if adapter is not None]
    told = _ask_each(asked)
    _take_in(told, at=at)  # no answer leaves the time that the claim has set
    _note(told, at=at)
    return len(asked)


def _ask_each(asked: Sequence[_Asked]) -> list[_Told]:
    """Each carrier by threads of its own: one that hangs takes nothing from the others."""
    groups: dict[int, list[_Asked]] = {}
    for one in asked:
        groups.setdefault(one[0].carrier_id, []).append(one)
    results = calls.concurrently(
        _ask_one_carrier,
        list(groups.values()),
        threads=len(groups),
        deadline_s=_DEADLINE_S,
    )
    return [
        (line, answer)
        for _, of_carrier in results.came_back
        for (line, _adapter), answer in of_carrier.came_back
    ]


def _ask_one_carrier(asked: Sequence[_Asked]) -> Results[_Asked, BalanceAnswer]:
    return calls.concurrently(
        lambda one: one[1].balance(address=LineAddress(msisdn=one[0].msisdn, iccid=one[0].iccid)),
        asked,
        threads=_THREADS,
        deadline_s=_DEADLINE_S,
    )


def _note(told: Sequence[_Told], *, at: datetime) -> None:
    """What the answers say of the carriers themselves: one line without an answer says little."""
    failing = outages.failing(OutageSide.CARRIER) if told else set()
    said: dict[str, list[bool]] = {}
    why: dict[str, str] = {}
    for line, answer in told:
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


def _take_in(told: Sequence[_Told], *, at: datetime) -> None:
    """What the answers say, set-wise where that is a balance, as it nearly always is."""
    _keep_evidence(told, at=at)
    _note_refusals(told, at=at)
    answered = _balances(told, at=at)
    rowsets.run(_ANSWERED, [at + POLL_EVERY, answered, at + POLL_RETRY])
    believed = set(answered)
    for line, answer in told:
        if line.pk in believed or isinstance(answer.outcome, NotFound):
            _apply(line, answer, at=at)


def _keep_evidence(told: Sequence[_Told], *, at: datetime) -> None:
    exchanges = [exchange for _, answer in told for exchange in answer.exchanges]
    try:
        with transaction.atomic():
            evidence.record_calls(exchanges, at=at)
    except rowsets.POISON:
        log.exception("the evidence of %s polled balances cannot be kept", len(told))


def _balances(told: Sequence[_Told], *, at: datetime) -> list[int]:
    """Take them in; the lines of those that were believed."""
    given = [(line, answer.outcome) for line, answer in told if isinstance(answer.outcome, Balance)]
    alike = [(line, balance) for line, balance in given if balance.currency == line.currency]
    for line, balance in given:
        if balance.currency != line.currency:
            log.error("line %s is reported in another currency; not applied", line.public_id)
    became = readings.take_in(readings=[_reading(*one) for one in alike], at=at)
    for (line, _), one in zip(alike, became, strict=True):
        if one not in _BELIEVED:
            log.error("the balance of line %s was not taken in: %s", line.public_id, one)
    return [line.pk for (line, _), one in zip(alike, became, strict=True) if one in _BELIEVED]


def _reading(line: Line, balance: Balance) -> Reading:
    return Reading(
        line_id=line.pk,
        balance_minor=balance.balance_minor,
        reserved_minor=balance.reserved_minor,
        observed_at=balance.observed_at,
        valid_until=balance.valid_until,
        source=BalanceReading.Source.POLLED.value,
    )


def _note_refusals(told: Sequence[_Told], *, at: datetime) -> None:
    """That it refuses us is an operator's to see now, not when its lines have run dry."""
    refused = [line for line, answer in told if isinstance(answer.outcome, NotAllowed)]
    for carrier in {line.carrier for line in refused}:
        refusals.refused(carrier_id=carrier.pk, at=at)
        lines = [line.pk for line in refused if line.carrier_id == carrier.pk]
        again_at = refusals.next_look(carrier, at=at)
        rowsets.run(_ANSWERED, [again_at, lines, at + POLL_RETRY])
    heard = {line.carrier for line, answer in told if isinstance(answer.outcome, _ANSWERS)}
    for carrier in heard:
        if carrier.refuses_us_since is not None:
            refusals.answered(carrier_id=carrier.pk)


def _apply(line: Line, answer: BalanceAnswer, *, at: datetime) -> None:
    """What an answer says of the line itself; a poisoned one is logged and stops only itself."""
    try:
        with transaction.atomic():
            if isinstance(answer.outcome, Balance):
                _note_status(line, answer.outcome, at=at)
            elif isinstance(answer.outcome, NotFound):
                _is_not_there(line, at=at)
    except rowsets.POISON:
        log.exception("what is said of line %s cannot be applied", line.public_id)


def _note_status(line: Line, balance: Balance, *, at: datetime) -> None:
    status = _STATUSES.get(balance.status)
    if status is None or not line.is_live or status == line.status:
        return
    wished_at = _wished_at(line, at=at)
    lifecycle.mark(line=line, status=status, at=at)
    Line.objects.filter(pk=line.pk).update(poll_at=wished_at)


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
    """When to ask next; locks the line. A wish made meanwhile stays."""
    locked = Line.objects.select_for_update(no_key=True).get(pk=line.pk)
    is_as_claimed = locked.poll_at == at + POLL_RETRY
    return at + POLL_EVERY if is_as_claimed else locked.poll_at

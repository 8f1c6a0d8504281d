"""Readings taken in one at a time, with the ORM, as it is told: what any batch must come to.

Slow, plain, and used by nothing but the tests of `billing.rules.readings`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from billing.models import NoticeKind, Rule
from billing.notices import telling
from billing.rules import deciding, gathering, notices, wakes
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines import validity
from lines.models import BalanceReading, Line
from lines.validity import Unsaid


def take_in(*, readings: Sequence[Reading], at: datetime) -> list[Became]:
    return [_one(reading, at=at) for reading in readings]


def _one(reading: Reading, *, at: datetime) -> Became:
    if reading.observed_at > at + deciding.CLOCK_SKEW:
        return Became.FROM_THE_FUTURE
    with transaction.atomic():
        line = Line.objects.select_for_update(no_key=True).filter(pk=reading.line_id).first()
        if line is None:
            return Became.UNKNOWN_LINE
        is_newer = _is_newer(line, reading)
        if is_newer or not _is_repeat(line, reading):
            _keep(line, reading, is_newer=is_newer, at=at)
        if not is_newer:
            _ask(line, reading, at=at)
            return Became.KEPT
        has_moved = _apply(line, reading, at=at)
        _consider(line, has_moved=has_moved, at=at)
    return Became.APPLIED


# --- the balance ----------------------------------------------------------------------------------


def _is_newer(line: Line, told: Reading) -> bool:
    known_at = line.balance_observed_at
    if told.sequence is not None and line.balance_sequence is not None:
        is_back = told.sequence != line.balance_sequence
        is_late = known_at is not None and told.observed_at - known_at > timedelta(hours=1)
        return told.sequence > line.balance_sequence or (is_back and is_late)
    if known_at is None or told.observed_at > known_at:
        return True
    return told.source == "polled" and told.observed_at == known_at and _differs(line, told)


def _differs(line: Line, told: Reading) -> bool:
    known = (line.balance_minor, line.balance_reserved_minor)
    return (told.balance_minor, told.reserved_minor) != known


def _is_repeat(line: Line, told: Reading) -> bool:
    is_last = told.sequence is not None and told.sequence == line.balance_sequence
    if is_last and not _differs(line, told):
        return True
    alike = BalanceReading.objects.filter(
        line=line,
        observed_at=told.observed_at,
        source=told.source,
        balance_minor=told.balance_minor,
        reserved_minor=told.reserved_minor,
    )
    return any((one.sequence, one.valid_until) == (told.sequence, _said(told)) for one in alike)


def _said(told: Reading) -> datetime | None:
    return None if isinstance(told.valid_until, Unsaid) else told.valid_until


def _keep(line: Line, told: Reading, *, is_newer: bool, at: datetime) -> None:
    BalanceReading.objects.create(
        line=line,
        balance_minor=told.balance_minor,
        reserved_minor=told.reserved_minor,
        observed_at=told.observed_at,
        sequence=told.sequence,
        valid_until=_said(told),
        received_at=at,
        source=told.source,
        is_applied=is_newer,
    )


def _ask(line: Line, told: Reading, *, at: datetime) -> None:
    known_at = line.balance_observed_at
    if known_at is None or not line.is_live or not _differs(line, told):
        return
    if known_at <= at and (told.source == "polled" or told.observed_at < known_at):
        return
    asked_at = max(at, known_at)
    if line.poll_at is None or line.poll_at > asked_at:
        line.poll_at = asked_at
        line.save()


def _apply(line: Line, told: Reading, *, at: datetime) -> bool:
    believed = validity.believed(told.valid_until, at=at)
    until = line.valid_until if isinstance(believed, Unsaid) else believed
    has_moved = until != line.valid_until
    line.balance_minor, line.balance_reserved_minor = told.balance_minor, told.reserved_minor
    line.balance_observed_at, line.balance_sequence = told.observed_at, told.sequence
    line.valid_until = until
    line.save()
    return has_moved


# --- its rule -------------------------------------------------------------------------------------


def _consider(line: Line, *, has_moved: bool, at: datetime) -> None:
    rule = Rule.objects.select_for_update(no_key=True).filter(line=line).first()
    if rule is None:
        return
    if has_moved or (rule.wake_at is None and rule.paused_at is None):
        _wake_for_expiry(rule, line, at=at)
    if rule.threshold_minor is None or line.balance_minor is None:
        return
    if rule.rearms_at is not None and rule.rearms_at <= at:
        _open_latch(rule)
    reported = line.balance_minor - line.balance_reserved_minor
    is_spent = not rule.is_armed or rule.low_episode == rule.episode
    if reported >= rule.threshold_minor + rule.hysteresis_minor and is_spent:
        _open_latch(rule)
    elif reported + gathering.in_flight_of(line.pk).minor < rule.threshold_minor:
        _is_low(rule, line, at=at)
    elif rule.lead_s:
        _wake(rule, at=at)


def _open_latch(rule: Rule) -> None:
    rule.is_armed, rule.episode, rule.rearms_at = True, rule.episode + 1, None
    rule.save()


def _is_low(rule: Rule, line: Line, *, at: datetime) -> None:
    rule.low_episode = rule.episode
    rule.save()
    if rule.remind_low_balance:
        telling.tell(
            owner_id=line.owner_id,
            kind=NoticeKind.LOW_BALANCE,
            occurrence_key=notices.low_key(rule_id=rule.pk, episode=rule.episode),
            line_id=line.pk,
            facts={
                "balance_minor": line.balance_minor,
                "threshold_minor": rule.threshold_minor,
                "currency": rule.currency,
                "is_on": rule.is_on and rule.paused_at is None,
            },
            channels=rule.channels,
            at=at,
        )
    _wake(rule, at=at)


def _wake(rule: Rule, *, at: datetime) -> None:
    if rule.is_on and (rule.is_armed or rule.rearms_at):
        _wake_by(rule, at if rule.is_armed else max(at, rule.rearms_at or at))


def _wake_for_expiry(rule: Rule, line: Line, *, at: datetime) -> None:
    expiry_at = wakes.expiry_wake(
        valid_until=line.valid_until,
        expiry_days_before=rule.expiry_days_before,
        expiry_fired_for=rule.expiry_fired_for,
        expiry_tried_on=rule.expiry_tried_on,
        timezone=line.timezone,
        lead=timedelta(seconds=rule.lead_s),
    )
    if rule.is_on and expiry_at is not None:
        _wake_by(rule, max(expiry_at, rule.paused_until or at, at))


def _wake_by(rule: Rule, wake_at: datetime) -> None:
    if rule.wake_at is None or rule.wake_at > wake_at:
        rule.wake_at = wake_at
        rule.save()

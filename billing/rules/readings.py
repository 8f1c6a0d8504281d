"""Balances come in: kept, applied, and a low one wakes its rule in the same transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from billing import nudges
from billing.models import NoticeKind, Rule
from billing.notices import telling
from billing.rules import deciding, gathering, notices, wakes
from lines import balances
from lines.balances import Applied, Told
from lines.models import Line
from lines.validity import UNSAID, Validity


@dataclass(frozen=True, slots=True)
class Reading:
    """One balance as it arrives. Amounts in the line's minor units."""

    line_id: int
    balance_minor: int
    observed_at: datetime
    reserved_minor: int = 0
    sequence: int | None = None
    valid_until: Validity = UNSAID  # None: it has no end
    source: str = "pushed"


class FromTheFuture(ValueError):
    """`observed_at` is later than now: a clock is wrong, and no later reading would count."""


def push(*, reading: Reading, at: datetime) -> Applied:
    """Keep one reading; where it makes a rule due, wake it and nudge the executor, or none of it.

    Safe to repeat: a reading no newer than the last applied changes nothing. Raises FromTheFuture.
    """
    if reading.observed_at > at + deciding.CLOCK_SKEW:
        raise FromTheFuture(_("The balance is dated in the future. Check the sender's clock."))
    told = Told(
        balance_minor=reading.balance_minor,
        reserved_minor=reading.reserved_minor,
        observed_at=reading.observed_at,
        sequence=reading.sequence,
        valid_until=reading.valid_until,
        source=reading.source,
    )
    with transaction.atomic():
        applied = balances.apply(line_id=reading.line_id, told=told, at=at)
        if applied.is_applied:
            _consider(applied, at=at)
        if applied.is_asked:
            nudges.slow()
    return applied


def push_many(*, readings: Iterable[Reading], at: datetime) -> list[Applied | FromTheFuture]:
    """Each on its own: one bad reading does not keep the others out. In the order given."""
    results: list[Applied | FromTheFuture] = []
    for reading in readings:
        try:
            results.append(push(reading=reading, at=at))
        except FromTheFuture as refusal:
            results.append(refusal)
    return results


def _consider(applied: Applied, *, at: datetime) -> None:
    """Level with a latch (rule 7): re-arm well above the threshold, wake below it."""
    line = applied.line
    rule = Rule.objects.select_for_update(no_key=True).filter(line=line).first()
    if rule is None:
        return
    if applied.has_moved_validity or (rule.wake_at is None and rule.paused_at is None):
        _wake_for_expiry(rule, line, at=at)
    if rule.threshold_minor is None or line.balance_minor is None:
        return
    if rule.rearms_at is not None and rule.rearms_at <= at:
        _open_latch(rule)
    reported = line.balance_minor - line.balance_reserved_minor
    # What is only on its way opens nothing: once it is there, its credit does.
    if reported >= rule.threshold_minor + rule.hysteresis_minor and _is_news(rule):
        _open_latch(rule)
    elif reported + gathering.in_flight_of(line.pk).minor < rule.threshold_minor:
        _is_low(rule, line, at=at)
    elif rule.lead_s:
        # Its rail is slow: whether to begin before it is low is for the forecast to say (rule 13).
        _wake(rule, at=at)


def _is_news(rule: Rule) -> bool:
    """Whether it had fired, or was low: the next low balance is a new one, rule on or off."""
    return not rule.is_armed or rule.low_episode == rule.episode


def _open_latch(rule: Rule) -> None:
    rule.is_armed, rule.episode, rule.rearms_at = True, rule.episode + 1, None
    rule.save(update_fields=["is_armed", "episode", "rearms_at"])


def _is_low(rule: Rule, line: Line, *, at: datetime) -> None:
    """Warn once an episode, auto-recharge or not (rule 26); wake the rule if it may act."""
    if rule.low_episode != rule.episode:
        rule.low_episode = rule.episode
        rule.save(update_fields=["low_episode"])
    if rule.remind_low_balance:
        telling.tell(
            owner_id=line.owner_id,
            kind=NoticeKind.LOW_BALANCE,
            occurrence_key=notices.low_key(rule_id=rule.pk, episode=rule.episode),
            line_id=line.pk,
            recharge_id=None,
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
    """Now; where a credit will open the latch, then."""
    if not rule.is_on or not (rule.is_armed or rule.rearms_at):
        return
    wake_at = at if rule.is_armed else max(at, rule.rearms_at or at)
    # Only the reading that makes it due nudges: a storm of pushes is one piece of work.
    due = Rule.objects.filter(pk=rule.pk).filter(Q(wake_at=None) | Q(wake_at__gt=wake_at))
    cooling = rule.cooldown_until is not None and rule.cooldown_until > at
    if due.update(wake_at=wake_at) and not cooling and wake_at <= at:
        nudges.money()


def _wake_for_expiry(rule: Rule, line: Line, *, at: datetime) -> None:
    """A validity that the carrier moved moves the rule's wake with it, but not into a pause."""
    expiry_at = wakes.expiry_wake(
        valid_until=line.valid_until,
        expiry_days_before=rule.expiry_days_before,
        expiry_fired_for=rule.expiry_fired_for,
        expiry_tried_on=rule.expiry_tried_on,
        timezone=line.timezone,
        lead=timedelta(seconds=rule.lead_s),
    )
    if not rule.is_on or expiry_at is None:
        return
    wake_at = max(expiry_at, rule.paused_until or at, at)
    later = Q(wake_at=None) | Q(wake_at__gt=wake_at)
    Rule.objects.filter(pk=rule.pk).filter(later).update(wake_at=wake_at)

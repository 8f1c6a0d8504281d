"""Reminders before a scheduled charge: which is due, when the next will be, and telling them.

A rule's `notify_at` is stored, so that a sweep costs what is due, not how many rules there are. All
but the sweep and `mandatory_notice_sent` is pure, from a rule with its line, its payment method and
that one's rail at hand.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.db import transaction

from billing import calendar, promotions, rowsets
from billing.calendar import Cycle, Schedule
from billing.models import Binding, Notice, NoticeDelivery, NoticeKind, Rule
from billing.notices import telling
from billing.notices.telling import Telling
from billing.promotions import Quote
from billing.rowsets import Column
from billing.states import Trigger
from lines import zones

log = logging.getLogger(__name__)

_NEXT = (Column("id", "bigint"), Column("notify_at", "timestamptz"))
_REMIND = "notify_at = v.notify_at"

# Nobody is woken by a reminder. One that falls outside moves back, so it is never too late.
_MORNING = time(8)
_EVENING = time(20)
# No reminder is sent earlier than this before its charge.
_NOTICES_SINCE = timedelta(days=40)


@dataclass(frozen=True, slots=True)
class Reminder:
    """A charge to remind of. `days` is the setting that called for it, `days_left` the truth."""

    days: int
    days_left: int
    period_key: str
    due_at: datetime


def days_before(rule: Rule) -> list[int]:
    """The owner's choice, and the days the rail demands where it demands a notice."""
    mandatory = rule.binding.rail.mandatory_notice_days if rule.binding else 0
    return sorted({*rule.remind_days_before, mandatory} - {0})


def due(rule: Rule, *, at: datetime) -> Reminder | None:
    """The reminder that has come; None where none has, or where nothing will be charged."""
    run_at = rule.next_run_at
    if run_at is None or not _will_charge(rule, run_at):
        return None
    days = due_notice(
        next_run_at=run_at,
        remind_days_before=days_before(rule),
        at=at,
        timezone=rule.line.timezone,
    )
    if days is None:
        return None
    zone = zones.zone_of(rule.line.timezone)
    left = run_at.astimezone(zone).date() - at.astimezone(zone).date()
    return Reminder(days, left.days, period_key(rule), run_at)


def period_key(rule: Rule) -> str:
    """The identity of the next scheduled occurrence; the rail's hours have no part in it."""
    return calendar.occurrence(_schedule(rule), rule.next_index).period_key


def next_at(rule: Rule, *, at: datetime) -> datetime | None:
    """When to look at `rule` again for a reminder: for the next charge, or one of those after it.

    So the row need not be touched when a charge has run.
    """
    if not rule.is_on or rule.next_run_at is None:
        return None
    for run_at in _runs(rule):
        instant = next_notice(
            next_run_at=run_at,
            remind_days_before=days_before(rule),
            at=at,
            timezone=rule.line.timezone,
        )
        if instant is not None:
            return instant
    return None


def _will_charge(rule: Rule, run_at: datetime) -> bool:
    is_running = rule.is_on and not rule.is_held and not _is_paused_at(rule, run_at)
    is_payable = rule.binding is not None and _can_pay(rule.binding, run_at)
    return is_running and is_payable and rule.skip_index != rule.next_index


def _can_pay(binding: Binding, run_at: datetime) -> bool:
    """Whether it lives to see that charge: of its own end its owner is told apart (rule 19)."""
    return binding.is_usable and (binding.expires_at is None or binding.expires_at > run_at)


def _is_paused_at(rule: Rule, run_at: datetime) -> bool:
    return rule.paused_until is not None and run_at < rule.paused_until


def _runs(rule: Rule) -> Iterator[datetime]:
    """The next charges that are neither skipped nor paused: enough to find a reminder ahead."""
    schedule, first = _schedule(rule), rule.next_index
    if rule.paused_until is not None:
        first = max(first, calendar.index_after(schedule, after=rule.paused_until))
    for index in range(first, first + 3):
        if index == rule.skip_index:
            continue
        # The row's instant is inside the rail's hours; the calendar's is near enough to remind by.
        stored = rule.next_run_at if index == rule.next_index else None
        yield stored or calendar.occurrence(schedule, index).due_at


def _schedule(rule: Rule) -> Schedule:
    """Raises ValueError for a rule without a schedule, which has no `next_run_at` either."""
    if rule.anchor_date is None:
        raise ValueError(f"rule {rule.pk} has no schedule")
    return Schedule(
        anchor=rule.anchor_date,
        cycle=Cycle(rule.cycle),
        charge_time=rule.charge_time,
        timezone=rule.line.timezone,
    )


# --- when -----------------------------------------------------------------------------------------


def reminder_at(*, run_at: datetime, days: int, timezone: str) -> datetime:
    """When to remind of a charge at `run_at`: at that time of day, `days` local days before.

    A time between 20:00 and 08:00 moves back to 20:00, so the notice is never shorter.
    """
    local = run_at.astimezone(zones.zone_of(timezone))
    day, at_time = local.date() - timedelta(days=days), local.time()
    if at_time < _MORNING:
        day, at_time = day - timedelta(days=1), _EVENING
    return calendar.local_instant(day=day, at_time=min(at_time, _EVENING), timezone=timezone)


def next_notice(
    *,
    next_run_at: datetime | None,
    remind_days_before: Sequence[int],
    at: datetime,
    timezone: str,
) -> datetime | None:
    """The first instant after `at` at which to remind of the charge at `next_run_at`; or None."""
    if next_run_at is None:
        return None
    instants = [
        reminder_at(run_at=next_run_at, days=days, timezone=timezone) for days in remind_days_before
    ]
    return min((instant for instant in instants if instant > at), default=None)


def due_notice(
    *,
    next_run_at: datetime | None,
    remind_days_before: Sequence[int],
    at: datetime,
    timezone: str,
) -> int | None:
    """Of the reminders that have come, the last one, by its days; None: none, or the charge has.

    Several that were slept through are one reminder.
    """
    if next_run_at is None or next_run_at <= at:
        return None
    come = [
        days
        for days in remind_days_before
        if reminder_at(run_at=next_run_at, days=days, timezone=timezone) <= at
    ]
    return min(come, default=None)


# --- telling --------------------------------------------------------------------------------------


def upcoming_sweep(*, at: datetime, limit: int) -> int:
    """Remind of up to `limit` charges that draw near, and set each rule's next reminder.

    How many rules were looked at. May run anywhere, any number at once. A rule that cannot be read
    is logged and left for a day, and stops only itself.
    """
    with transaction.atomic():
        rules = list(
            Rule.objects.filter(notify_at__lte=at)
            .order_by("notify_at")
            .select_for_update(skip_locked=True, no_key=True, of=("self",))
            .select_related("line__carrier", "binding__rail")[:limit]
        )
        book = promotions.Book.load(at=at, is_locked=False) if rules else None
        tellings = [_look(rule, book=book, at=at) for rule in rules]
        telling.tell_many([one for one in tellings if one is not None])
        rows = [(rule.pk, rule.notify_at) for rule in rules]
        rowsets.update("billing_rule", _NEXT, rows, assign=_REMIND, where="t.id = v.id")
    return len(rules)


def _look(rule: Rule, *, book: promotions.Book | None, at: datetime) -> Telling | None:
    """The reminder of one rule, if one is due; sets `notify_at` on the instance."""
    try:
        reminder = due(rule, at=at)
        rule.notify_at = next_at(rule, at=at)
        return _reminder(rule, reminder, book=book, at=at) if reminder else None
    except rowsets.POISON:
        log.exception("rule %s cannot be reminded of", rule.pk)
        rule.notify_at = at + timedelta(days=1)
        return None


def _reminder(
    rule: Rule, reminder: Reminder, *, book: promotions.Book | None, at: datetime
) -> Telling:
    """What is announced is the most that will be taken; an offer may have ended by then."""
    rail = rule.binding.rail_id if rule.binding else ""
    given = Quote.none()
    if book is not None:
        given = book.quote(
            line_id=rule.line_id,
            rail=rail,
            carrier=rule.line.carrier.code,
            trigger=Trigger.SCHEDULE,
            face_minor=rule.face_minor,
            currency=rule.currency,
            min_price_minor=1,
            at=reminder.due_at,
        )
    facts = {
        "face_minor": rule.face_minor,
        "discount_minor": given.discount_minor,
        "bonus_minor": given.bonus_minor,
        "currency": rule.currency,
        "rail": rail,
        "at": reminder.due_at.isoformat(),
    }
    if reminder.days_left > 0:
        facts["days"] = reminder.days_left
    key = f"{rule.pk}:{reminder.period_key}:{reminder.days}:{rule.face_minor}"
    return Telling(
        rule.line.owner_id,
        NoticeKind.UPCOMING_CHARGE,
        key,
        rule.line_id,
        None,
        facts,
        rule.channels,
        at,
    )


def mandatory_notice_sent(*, rule: Rule, due_at: datetime, days: int) -> bool:
    """Whether the charge at `due_at` was announced `days` local days before, at no lower amount.

    Announced is what got out: by the inbox where the rule names nothing else, else by one of its
    other channels. Changes nothing.
    """
    zone = zones.zone_of(rule.line.timezone)
    no_later_than = due_at.astimezone(zone).date() - timedelta(days=days)
    told = Notice.objects.filter(
        line=rule.line_id,
        kind=NoticeKind.UPCOMING_CHARGE,
        occurrence_key__startswith=f"{rule.pk}:",
        created_at__gte=due_at - _NOTICES_SINCE,
    ).prefetch_related("deliveries")
    return any(
        one.created_at.astimezone(zone).date() <= no_later_than
        and _announces(one, due_at=due_at, face_minor=rule.face_minor)
        and got_out_at(one) is not None
        for one in told
    )


def _announces(notice: Notice, *, due_at: datetime, face_minor: int) -> bool:
    is_same = datetime.fromisoformat(notice.facts["at"]) == due_at
    return is_same and notice.facts["face_minor"] >= face_minor


def got_out_at(notice: Notice) -> datetime | None:
    """When the first of its channels had it: the inbox, where none was named; None: none yet."""
    deliveries = notice.deliveries.all()
    if not deliveries:
        return notice.created_at
    out = [one for one in deliveries if one.state == NoticeDelivery.State.SENT]
    return min((one.sent_at or notice.created_at for one in out), default=None)

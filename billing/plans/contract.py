"""The contract of a line, as its owner makes it: drafted, reviewed, confirmed, paused, stopped.

`confirm` is the only thing that turns a rule on (rule 30). Every act locks the rule's row, so the
executor decides either before it or after it, never by half of it.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from billing import calendar, nudges
from billing.gateways.base import Capabilities
from billing.models import NoticeKind, Rule
from billing.notices import reminders, telling
from billing.plans import consents, drafts
from billing.plans import underway as underways
from billing.plans.consents import ConsentText, consent_text, sentences
from billing.plans.drafts import Draft
from billing.plans.drafts import of as draft_of
from billing.plans.previews import AtOnce, Preview, UpcomingCharge, preview, upcoming
from billing.plans.problems import InvalidDraft, check
from billing.rules import wakes
from lines.models import Line
from lines.people import Person

__all__ = [
    "AtOnce",
    "ConsentText",
    "Draft",
    "InvalidDraft",
    "InvalidPause",
    "NothingToSkip",
    "Preview",
    "RuleIsOff",
    "RuleIsOn",
    "StalePlan",
    "UpcomingCharge",
    "check",
    "confirm",
    "consent_text",
    "draft_of",
    "pause",
    "preview",
    "reschedule",
    "resume",
    "save_draft",
    "sentences",
    "skip_next",
    "stop",
    "unskip",
    "upcoming",
]

LONGEST_PAUSE = timedelta(days=366)
# Pauses that are not the owner's to lift: a person has to look first.
_HELD = frozenset({"crashed", "operator"})


class StalePlan(Exception):
    """The plan is not the one that was shown: show it again, then ask again."""


class RuleIsOn(Exception):
    """A running plan is not overwritten by a draft: hand the draft to `confirm`."""


class RuleIsOff(Exception):
    """There is nothing running to pause, resume or skip."""


class NothingToSkip(Exception):
    """The rule has no scheduled charge ahead."""


class InvalidPause(Exception):
    """Show `sentence` at the date; nothing was written."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


# --- drafting and confirming --------------------------------------------------------------------


def save_draft(*, draft: Draft, capabilities: Capabilities | None, at: datetime) -> Rule:
    """Keep what was entered for a line whose rule is off; it stays off. May be called again.

    The payment method may yet be missing. Raises InvalidDraft, and RuleIsOn where a plan runs: it
    goes on as agreed until `confirm` is called with the draft.
    """
    check(draft=draft, capabilities=capabilities, at=at, needs_binding=False)
    with transaction.atomic():
        # The line's lock stands in for the rule's, which may not exist yet.
        line = Line.objects.select_for_update(no_key=True).get(pk=draft.line.pk)
        rule = Rule.objects.select_for_update(no_key=True).filter(line=line).first()
        if rule is None:
            rule = Rule(line=line, created_at=at, version=0)
        if rule.is_on:
            raise RuleIsOn(line.public_id)
        _write_terms(rule, draft)
        rule.version += 1
        rule.save()
    return rule


def confirm(
    *,
    rule: Rule,
    owner: Person,
    seen_version: int,
    capabilities: Capabilities,
    language: str,
    ip: str | None,
    user_agent: str,
    at: datetime,
    draft: Draft | None = None,
) -> Rule:
    """Turn on the plan its owner has read, and keep what was agreed to. Nudges the executor.

    `draft`: the new terms of a plan that already runs (or is off); without it, the row's own.
    `seen_version` is the `rule.version` of the page that was read. Raises StalePlan where the row
    has changed since (so a second press changes nothing), InvalidDraft where the plan is no longer
    possible, Rule.DoesNotExist where it is not the owner's. Nothing is half written.
    """
    with transaction.atomic():
        locked = _lock(rule, owner=owner)
        if locked.version != seen_version:
            raise StalePlan(locked.public_id)
        agreed = draft or drafts.of(locked)
        if agreed.line.pk != locked.line_id:
            raise ValueError("the draft is for another line")
        _refuse_held(locked)
        check(draft=agreed, capabilities=capabilities, at=at)
        shown = preview(draft=agreed, capabilities=capabilities, at=at)
        keeps = _keeps_calendar(locked, agreed)
        underways.hasten(agreed, at=at)
        _write_terms(locked, agreed)
        _turn_on(locked, shown, keeps_calendar=keeps, at=at)
        locked.consent = consents.record(
            draft=agreed,
            preview=shown,
            rule_version=locked.version,
            language=language,
            ip=ip,
            user_agent=user_agent,
            at=at,
        )
        locked.save()
        _tell_on(locked, shown, at=at)
        nudges.money()
    return locked


def _lock(rule: Rule, *, owner: Person | None = None) -> Rule:
    """The row as it is now, nobody else's to change until the transaction ends."""
    # NO KEY: rows that only refer to the rule may still be written meanwhile.
    locked = Rule.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "line__carrier", "line__owner", "binding__rail", "fallback_binding__rail", "consent"
    )
    if owner is not None:
        locked = locked.filter(line__owner_id=owner.pk)
    return locked.get(pk=rule.pk)


def _refuse_held(rule: Rule) -> None:
    if rule.paused_at is not None and rule.pause_reason in _HELD:
        sentence = _("This plan is held until our staff have looked at it. Please try again later.")
        raise InvalidDraft({"line": sentence})


def _keeps_calendar(rule: Rule, draft: Draft) -> bool:
    schedule = drafts.schedule_of(draft, capabilities=None)
    return schedule is not None and drafts.keeps_calendar(schedule, rule=rule)


def _write_terms(rule: Rule, draft: Draft) -> None:
    """What the owner chose; never whether it is on."""
    rule.binding = draft.binding
    rule.fallback_binding = draft.fallback_binding
    rule.sim_generation = draft.line.sim_generation
    rule.face_minor = draft.face_minor
    rule.currency = draft.line.currency
    rule.cycle = draft.cycle
    rule.anchor_date = draft.anchor_date
    rule.charge_time = draft.charge_time
    rule.threshold_minor = draft.threshold_minor
    rule.topup_mode = draft.topup_mode
    rule.target_minor = draft.target_minor if draft.topup_mode == "to" else None
    rule.expiry_days_before = draft.expiry_days_before
    rule.max_per_charge_minor = draft.max_per_charge_minor
    rule.max_per_day_count = draft.max_per_day_count
    rule.max_per_month_minor = draft.max_per_month_minor
    rule.remind_low_balance = draft.remind_low_balance
    rule.remind_days_before = sorted(set(draft.remind_days_before), reverse=True)
    rule.remind_result = draft.remind_result
    rule.channels = list(dict.fromkeys(draft.channels))


def _turn_on(rule: Rule, shown: Preview, *, keeps_calendar: bool, at: datetime) -> None:
    """On, armed, and looked at straight away."""
    if not rule.is_on:
        rule.paused_until = None
    rule.is_on = True
    # Whatever the system had paused it for, the owner has just seen and agreed anew.
    rule.paused_at, rule.pause_reason = None, ""
    rule.version += 1
    if not keeps_calendar:
        rule.skip_index = None
    first = shown.charges[0] if shown.charges else None
    rule.next_index = first.index if first else 0
    rule.next_run_at = first.due_at if first else None
    _arm(rule)
    reschedule(rule, at=at)


def _arm(rule: Rule) -> None:
    """Ready to fire on a low balance. One recharge an episode: a spent one is not used again."""
    if not rule.is_armed:
        rule.is_armed = True
        rule.episode += 1


def reschedule(rule: Rule, *, at: datetime) -> None:
    """Set, on the instance, when the rule is looked at (now) and when its owner is reminded.

    For whoever lifts a pause, with the row locked and its line and payment method at hand; the
    caller saves `wake_at` and `notify_at`.
    """
    rule.wake_at = at if rule.is_on else None
    rule.notify_at = reminders.next_at(rule, at=at)


def _tell_on(rule: Rule, shown: Preview, *, at: datetime) -> None:
    facts = {
        "face_minor": rule.face_minor,
        "cap_minor": shown.plan_max_minor,
        "currency": rule.currency,
        "rail": rule.binding.rail_id if rule.binding else "",
    }
    if rule.next_run_at is not None:
        facts["at"] = rule.next_run_at.isoformat()
    _tell(rule, NoticeKind.RULE_ON, facts, at=at)


def _tell(rule: Rule, kind: NoticeKind, facts: dict[str, object], *, at: datetime) -> None:
    telling.tell(
        owner_id=rule.line.owner_id,
        kind=kind,
        occurrence_key=f"{rule.pk}:{rule.version}",
        line_id=rule.line_id,
        facts=facts,
        channels=rule.channels,
        at=at,
    )


# --- afterwards ---------------------------------------------------------------------------------


def pause(*, rule: Rule, until: datetime, at: datetime) -> Rule:
    """Charge nothing before `until`. May be called again, with another date.

    Raises InvalidPause for a date that has passed or is over a year away; RuleIsOff.
    """
    if not at < until <= at + LONGEST_PAUSE:
        raise InvalidPause(_("Choose a day after today, and within a year."))
    with transaction.atomic():
        locked = _lock_running(rule)
        locked.paused_until = until
        locked.wake_at = _next_wake(locked, at=at)
        locked.notify_at = reminders.next_at(locked, at=at)
        locked.save(update_fields=["paused_until", "wake_at", "notify_at"])
    return locked


def resume(*, rule: Rule, at: datetime) -> Rule:
    """End the owner's own pause; the system's stays. A line that is low is charged at once.

    What fell due meanwhile is not made up for. May be called again. Raises RuleIsOff.
    """
    with transaction.atomic():
        locked = _lock_running(rule)
        if locked.paused_until is None:
            return locked
        locked.paused_until = None
        _pass_over(locked, at=at)
        _arm(locked)
        reschedule(locked, at=at)
        locked.save(
            update_fields=[
                "paused_until",
                "next_index",
                "next_run_at",
                "is_armed",
                "episode",
                "wake_at",
                "notify_at",
            ]
        )
        nudges.money()
    return locked


def _pass_over(rule: Rule, *, at: datetime) -> None:
    """Leave out the charges that fell into the pause."""
    schedule = drafts.schedule_of(drafts.of(rule), capabilities=None)
    if schedule is None or rule.next_run_at is None or rule.next_run_at > at:
        return
    rule.next_index = max(rule.next_index, calendar.index_after(schedule, after=at))
    rule.next_run_at = calendar.occurrence(schedule, rule.next_index).due_at


def skip_next(*, rule: Rule, at: datetime, seen_index: int | None = None) -> Rule:
    """Leave out the next scheduled charge, and only that. May be called again.

    `seen_index`: the charge its owner saw as the next; StalePlan where it no longer is, so that
    the one after it is not skipped instead. Raises RuleIsOff, NothingToSkip.
    """
    with transaction.atomic():
        locked = _lock_running(rule)
        if locked.next_run_at is None:
            raise NothingToSkip(locked.public_id)
        if seen_index is not None and seen_index != locked.next_index:
            raise StalePlan(locked.public_id)
        locked.skip_index = locked.next_index
        locked.notify_at = reminders.next_at(locked, at=at)
        locked.save(update_fields=["skip_index", "notify_at"])
    return locked


def unskip(*, rule: Rule, at: datetime) -> Rule:
    """Take the next charge back in. May be called again. Raises RuleIsOff."""
    with transaction.atomic():
        locked = _lock_running(rule)
        locked.skip_index = None
        locked.notify_at = reminders.next_at(locked, at=at)
        locked.save(update_fields=["skip_index", "notify_at"])
    return locked


def stop(*, rule: Rule, because: str, at: datetime, is_told: bool = True) -> Rule:
    """Off, at once, and told. Nothing but `confirm` turns it on again. May be called again.

    `because` is a code: "owner", or one that `reasons` explains. Off `is_told`, whoever calls tells
    it in a graver notice. A recharge that waits is ended by the executor, which looks at the rule
    before it charges.
    """
    with transaction.atomic():
        locked = _lock(rule)
        if not locked.is_on:
            return locked
        locked.is_on = False
        locked.version += 1
        locked.paused_until = locked.skip_index = locked.wake_at = locked.notify_at = None
        locked.save()
        if is_told:
            _tell(locked, NoticeKind.RULE_OFF, {"code": because}, at=at)
    return locked


def _lock_running(rule: Rule) -> Rule:
    locked = _lock(rule)
    if not locked.is_on:
        raise RuleIsOff(locked.public_id)
    return locked


def _next_wake(rule: Rule, *, at: datetime) -> datetime | None:
    return wakes.next_wake(
        next_run_at=rule.next_run_at,
        valid_until=rule.line.valid_until,
        expiry_days_before=rule.expiry_days_before,
        expiry_fired_for=rule.expiry_fired_for,
        expiry_tried_on=rule.expiry_tried_on,
        timezone=rule.line.timezone,
        paused_until=rule.paused_until,
        at=at,
        lead=timedelta(seconds=rule.lead_s),
    )

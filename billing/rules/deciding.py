"""Is this rule due, and why or why not: pure, from facts gathered elsewhere.

`decide` looks at all three triggers at once, because together they make one recharge, and answers
with what to open, every reason worth keeping, and how the rule stands afterwards. The rule behind
each step is named by its number: docs/rules.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing import calendar
from billing.calendar import Occurrence
from billing.rules import obstacles, wakes
from billing.rules.verdicts import Facts, Opening, Reason, Standing, Verdict
from billing.states import Trigger

# An open recharge wakes its rule when it closes; this is for the wake that was lost.
RECHECK = timedelta(hours=1)
# A slow rail may have to wait for its hours as well before it can even be told.
EARLY_MARGIN = timedelta(hours=12)
# How far a carrier's clock may run ahead of ours before its readings are refused.
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Due:
    """One trigger that fired. `tells_as`: what a refusal of it is kept under, so that it is told
    once however often it is tried; "" where that is its period."""

    trigger: Trigger
    period_key: str
    due_at: datetime
    tells_as: str = ""


def decide(facts: Facts) -> Verdict:
    """One recharge or none, with every reason. Pure: the same facts give the same verdict."""
    if facts.line_problem:
        return _stop(facts, facts.line_problem)
    facts = replace(facts, standing=_latch(facts))
    scheduled, missed, standing = _schedule_due(facts)
    facts = replace(facts, standing=standing)
    reasons = list(missed)
    if scheduled and standing.skip_index is not None:
        skipped = _index_of(scheduled.period_key) == standing.skip_index
        if skipped:
            reasons.append(_reason(facts, scheduled, "skipped_by_owner"))
            facts = replace(facts, standing=replace(standing, skip_index=None))
            scheduled = None
    low, wants_reading, low_reason = _low_due(facts)
    if low and facts.is_low:
        facts = replace(facts, standing=replace(facts.standing, low_episode=standing.episode))
    reasons += low_reason
    expiring, too_late, standing = _expiry_due(facts)
    facts = replace(facts, standing=standing)
    reasons += too_late
    due = [one for one in (scheduled, low, expiring) if one]
    if not due:
        return _rest(facts, reasons, wants_reading=wants_reading)
    return _weigh(facts, due, reasons, wants_reading=wants_reading)


# --- which triggers are due ---------------------------------------------------------------------


def _latch(facts: Facts) -> Standing:
    """What must have lifted the line well above its threshold opens the latch once cool, though no
    reading ever showed it (rule 7). Once a credit: opening it uses the mark up, and so does firing.
    """
    standing = facts.standing
    if standing.is_armed or standing.rearms_at is None or standing.rearms_at > facts.at:
        return standing
    return replace(standing, is_armed=True, episode=standing.episode + 1, rearms_at=None)


def _index_of(period_key: str) -> int:
    return int(period_key.split(":", 1)[0])


def _schedule_due(facts: Facts) -> tuple[_Due | None, list[Reason], Standing]:
    """The scheduled occurrence that may run now; the ones slept through are missed (rule 4).

    On a rail with a lead, "now" is when money could move at the earliest if it were set to work.
    """
    standing, moves_at = facts.standing, facts.at + facts.lead
    if facts.schedule is None or standing.next_run_at is None or standing.next_run_at > moves_at:
        return None, [], standing
    found = calendar.due_and_next(
        facts.schedule, index=standing.next_index, at=moves_at, grace=facts.grace
    )
    following = calendar.occurrence(facts.schedule, found.next_index)
    moved = replace(standing, next_index=found.next_index, next_run_at=following.due_at)
    missed = [_missed(facts, one) for one in found.missed if one.index != standing.skip_index]
    if found.run is None:
        return None, missed, moved
    run = _Due(Trigger.SCHEDULE, found.run.period_key, found.run.due_at)
    return run, missed, moved


def _missed(facts: Facts, one: Occurrence) -> Reason:
    due = _Due(Trigger.SCHEDULE, one.period_key, one.due_at)
    if obstacles.is_resting(facts, one.due_at):
        return _reason(facts, due, "paused_by_owner")
    return _reason(facts, due, "missed", at=one.due_at.isoformat())


def _low_due(facts: Facts) -> tuple[_Due | None, bool, list[Reason]]:
    """Level with a latch (rule 7), on a figure young enough to trust (rule 10)."""
    effective = facts.effective_minor
    if facts.threshold_minor is None or not facts.standing.is_armed:
        return None, False, []
    low = _Due(Trigger.LOW_BALANCE, f"e{facts.standing.episode}", facts.at)
    if effective is None:
        return None, True, []
    if effective >= facts.threshold_minor and not _runs_out_too_soon(facts):
        return None, False, []
    assert facts.observed_at is not None  # noqa: S101 - a balance always comes with its time
    if facts.at - facts.observed_at > facts.max_reading_age:
        return None, True, [_reason(facts, low, "reading_stale")]
    return low, False, []


def early_at(facts: Facts) -> datetime | None:
    """When a slow rail must be set to work, so that its money is there before the line runs out
    (rule 13). None: the rail is quick, or there is no forecast to go by."""
    return _early_before(facts.runs_out_at, facts.lead)


def _runs_out_too_soon(facts: Facts) -> bool:
    return is_running_out(runs_out_at=facts.runs_out_at, lead=facts.lead, at=facts.at)


def is_running_out(*, runs_out_at: datetime | None, lead: timedelta, at: datetime) -> bool:
    """Whether a rail that needs `lead` must be set to work by `at`."""
    early = _early_before(runs_out_at, lead)
    return early is not None and early <= at


def _early_before(runs_out_at: datetime | None, lead: timedelta) -> datetime | None:
    return runs_out_at - lead - EARLY_MARGIN if lead and runs_out_at is not None else None


def _expiry_due(facts: Facts) -> tuple[_Due | None, list[Reason], Standing]:
    """`expiry_days_before` days ahead of a validity's end, until a charge or that end (rule 12a).

    A further try, on another day, has an occurrence of its own; what is said of it does not.
    """
    standing, fires_at = facts.standing, _expiry_wake(facts, facts.standing)
    if facts.valid_until is None or fires_at is None or facts.at < fires_at:
        return None, [], standing
    ends_on = wakes.expiry_date(facts.valid_until, facts.timezone)
    today = calendar.day_key(facts.at, facts.timezone)
    key = wakes.expiry_key(ends_on, again_on=today if standing.expiry_tried_on else None)
    due = _Due(Trigger.EXPIRY, key, fires_at, tells_as=str(ends_on))
    if facts.at < facts.valid_until:
        return due, [], standing
    is_news = facts.at <= facts.valid_until + facts.grace
    told = [_reason(facts, due, "missed", at=fires_at.isoformat())] if is_news else []
    return None, told, replace(standing, expiry_fired_for=ends_on)


def _expiry_wake(facts: Facts, standing: Standing) -> datetime | None:
    return wakes.expiry_wake(
        valid_until=facts.valid_until,
        expiry_days_before=facts.expiry_days_before,
        expiry_fired_for=standing.expiry_fired_for,
        expiry_tried_on=standing.expiry_tried_on,
        timezone=facts.timezone,
        lead=facts.lead,
    )


# --- what stands in the way ---------------------------------------------------------------------


def _weigh(facts: Facts, due: list[_Due], reasons: list[Reason], *, wants_reading: bool) -> Verdict:
    """Defer, refuse or charge what is due."""
    if facts.has_open_recharge:
        return _defer(facts, due, reasons, "open_recharge", until=facts.at + RECHECK)
    if facts.pause_reason:  # whoever lifts it has the rule looked at
        return _refuse(facts, due, reasons, "paused_by_system", low_wakes=facts.paused_until)
    if due[0].trigger is Trigger.SCHEDULE and obstacles.is_resting(facts, due[0].due_at):
        reasons = [*reasons, _reason(facts, due[0], "paused_by_owner")]
        due = due[1:]
        if not due:
            return _rest(facts, reasons, wants_reading=wants_reading)
    # A pause is about when money moves, and a slow rail is set to work before that.
    if obstacles.is_resting(facts, max(facts.at, due[0].due_at)):
        wakes_at = facts.paused_until
        return _refuse(
            facts, due, reasons, "paused_by_owner", low_wakes=wakes_at, expiry_wakes=wakes_at
        )
    if facts.binding_problem == "rail_disabled":
        # An operator's switch or a setting, not the owner's doing: kept while its grace lasts.
        return _defer(facts, due, reasons, facts.binding_problem, until=facts.at + RECHECK)
    if facts.binding_problem:
        wakes_at = obstacles.next_day(facts)
        return _refuse(
            facts, due, reasons, facts.binding_problem, low_wakes=None, expiry_wakes=wakes_at
        )
    if facts.cooldown_until and facts.cooldown_until > facts.at:
        return _defer(facts, due, reasons, "cooling_down", until=facts.cooldown_until)
    if facts.is_notice_missing and due[0].trigger is Trigger.SCHEDULE:
        reasons = [*reasons, _reason(facts, due[0], "notice_not_sent")]
        due = due[1:]
        if not due:
            return _rest(facts, reasons, wants_reading=wants_reading)
    return _charge(facts, due, reasons)


def _charge(facts: Facts, due: list[_Due], reasons: list[Reason]) -> Verdict:
    amount_minor, falls_short = _amount(facts, due)
    blocked = obstacles.cap_in_the_way(facts, amount_minor)
    if blocked:
        code, low_wakes, figures = blocked
        wakes_at = obstacles.next_day(facts)
        return _refuse(
            facts, due, reasons, code, low_wakes=low_wakes, expiry_wakes=wakes_at, **figures
        )
    first = due[0]
    opening = Opening(
        trigger=first.trigger.value,
        period_key=first.period_key,
        face_minor=amount_minor,
        due_at=first.due_at,
        expires_at=max(first.due_at, facts.at + facts.lead) + facts.grace,
        falls_short=falls_short,
    )
    spent = [replace(one, tells_as="") for one in due]
    told = [_reason(facts, spent[0], "charge", face_minor=amount_minor, **_early(facts, first))]
    told += [_reason(facts, one, "merged", other_trigger=first.trigger.value) for one in spent[1:]]
    return Verdict(opening, (*reasons, *told), _charged(facts, due))


def _early(facts: Facts, due: _Due) -> dict[str, object]:
    """That the balance is not low yet: it would be, by the time this rail's money is there."""
    effective = facts.effective_minor
    is_low = effective is None or effective < (facts.threshold_minor or effective)
    if due.trigger is not Trigger.LOW_BALANCE or is_low or facts.runs_out_at is None:
        return {}
    return {"runs_out_at": facts.runs_out_at.isoformat()}


def _amount(facts: Facts, due: list[_Due]) -> tuple[int, bool]:
    """One recharge closes the gap (rule 9). Second: even the largest allowed falls short.

    A scheduled amount is the one agreed, exactly; only a gap may make it larger.
    """
    effective = facts.effective_minor
    is_low = any(one.trigger is Trigger.LOW_BALANCE for one in due)
    if not is_low or facts.threshold_minor is None or effective is None:
        return facts.face_minor, False
    effective -= facts.used_in_lead_minor  # what will be left when a slow rail's money arrives
    above_minor = facts.threshold_minor - effective + 1
    wanted = max(_asked_for(facts, due, effective), above_minor)
    most = _most(facts, effective)
    sold = _sold(facts, wanted)
    fitting = [amount for amount in sold if wanted <= amount <= most]
    if fitting:
        return fitting[0], False
    below = [amount for amount in _sold(facts, most) if amount <= most]
    largest = below[-1] if below else facts.face_minor
    return largest, largest < above_minor


def _asked_for(facts: Facts, due: list[_Due], effective: int) -> int:
    """The amount agreed, or the gap to the target; a schedule due as well is not made smaller."""
    if not facts.is_to_target or facts.target_minor is None:
        return facts.face_minor
    gap_minor = facts.target_minor - effective
    is_low_alone = due[0].trigger is Trigger.LOW_BALANCE
    return gap_minor if is_low_alone else max(facts.face_minor, gap_minor)


def _most(facts: Facts, effective: int) -> int:
    """The largest single amount one charge and the carrier's largest balance leave room for.

    Monthly caps are not room to shrink into: they block, and say so.
    """
    if facts.max_balance_minor is None:
        return facts.caps.charge_minor
    return min(facts.caps.charge_minor, facts.max_balance_minor - effective)


def _sold(facts: Facts, wanted: int) -> tuple[int, ...]:
    """Amounts the carrier sells; where it sells any, the one wanted, inside its bounds."""
    if facts.sells:
        return facts.sells
    return (min(max(wanted, facts.min_amount_minor), facts.max_amount_minor),)


# --- how the rule stands afterwards -------------------------------------------------------------


def _charged(facts: Facts, due: Iterable[_Due]) -> Standing:
    """Each trigger that a recharge deals with is dealt with once, whatever comes of it later."""
    standing = facts.standing
    for one in due:
        if one.trigger is Trigger.EXPIRY:
            standing = replace(
                standing,
                expiry_fired_for=wakes.expiry_of(one.period_key),
                expiry_tried_on=calendar.day_key(facts.at, facts.timezone),
            )
        if one.trigger is Trigger.LOW_BALANCE:
            standing = replace(standing, is_armed=False, rearms_at=None)
    return replace(standing, wake_at=_wake(facts, standing))


def _wake(
    facts: Facts, standing: Standing, *, refused: Iterable[datetime | None] = ()
) -> datetime | None:
    """The next instant at which this rule could have something to do by itself.

    What has come was decided on just now. Where it was refused and stands, it is tried again when
    `refused` says, and not at once for ever.
    """
    early = early_at(facts) if facts.threshold_minor is not None and standing.is_armed else None
    expiry_at = _expiry_wake(facts, standing)
    is_ahead = expiry_at is not None and expiry_at > facts.at
    ahead = [early, None if standing.is_armed else standing.rearms_at]
    return wakes.next_wake(
        next_run_at=standing.next_run_at,
        valid_until=facts.valid_until,
        expiry_days_before=facts.expiry_days_before if is_ahead else None,
        expiry_fired_for=standing.expiry_fired_for,
        expiry_tried_on=standing.expiry_tried_on,
        timezone=facts.timezone,
        paused_until=facts.paused_until,
        at=facts.at,
        lead=facts.lead,
        also=(*refused, *(one for one in ahead if one is not None and one > facts.at)),
    )


def _rest(facts: Facts, reasons: list[Reason], *, wants_reading: bool) -> Verdict:
    standing = replace(facts.standing, wake_at=_wake(facts, facts.standing))
    return Verdict(None, tuple(reasons), standing, wants_reading=wants_reading)


def _stop(facts: Facts, code: str) -> Verdict:
    """The line is not what was agreed on: stop, and ask its owner (rule 23)."""
    key = calendar.day_key(facts.at, facts.timezone).isoformat()
    reason = _reason(facts, _Due(Trigger.SCHEDULE, key, facts.at), code)
    return Verdict(None, (reason,), replace(facts.standing, wake_at=None), pause=code)


def _defer(
    facts: Facts, due: list[_Due], reasons: list[Reason], code: str, *, until: datetime
) -> Verdict:
    """Not now, but kept: the stored wake-up is when (rule 11). A schedule stays due."""
    told = [_reason(facts, one, code, until=until.isoformat()) for one in due]
    standing = facts.standing
    for one in due:
        if one.trigger is Trigger.SCHEDULE:
            standing = replace(
                standing, next_index=_index_of(one.period_key), next_run_at=one.due_at
            )
    return Verdict(None, (*reasons, *told), replace(standing, wake_at=until))


def _refuse(
    facts: Facts,
    due: list[_Due],
    reasons: list[Reason],
    code: str,
    *,
    low_wakes: datetime | None,
    expiry_wakes: datetime | None = None,
    **figures: object,
) -> Verdict:
    """A schedule is spent, and told; a low balance stays armed, and a validity is tried again, for
    a better day (rule 12a)."""
    told = [_reason(facts, one, code, **figures) for one in due]
    better = {Trigger.LOW_BALANCE: low_wakes, Trigger.EXPIRY: expiry_wakes}
    wake_at = _wake(facts, facts.standing, refused=[better.get(one.trigger) for one in due])
    return Verdict(None, (*reasons, *told), replace(facts.standing, wake_at=wake_at))


def _reason(facts: Facts, due: _Due, code: str, **more: object) -> Reason:
    """The figures a reader needs to follow the decision, frozen with it."""
    figures: dict[str, object] = {
        "balance_minor": facts.balance_minor,
        "effective_minor": facts.effective_minor,
        "threshold_minor": facts.threshold_minor,
        "face_minor": facts.face_minor,
        "observed_at": facts.observed_at.isoformat() if facts.observed_at else None,
    }
    kept = {key: value for key, value in (figures | more).items() if value is not None}
    return Reason(due.trigger.value, due.tells_as or due.period_key, code, kept)

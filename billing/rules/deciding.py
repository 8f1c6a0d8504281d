"""Is this rule due, and why or why not: pure, from facts gathered elsewhere.

`decide` looks at all three triggers at once, because together they make one recharge, and answers
with what to open, every reason worth keeping, and how the rule stands afterwards. The rule behind
each step is named by its number: docs/rules.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billing import calendar
from billing.calendar import Occurrence
from billing.rules import wakes
from billing.rules.verdicts import Facts, Opening, Reason, Spent, Standing, Verdict
from billing.states import Trigger

# An open recharge wakes its rule when it closes; this is for the wake that was lost.
RECHECK = timedelta(hours=1)
# A slow rail may have to wait for its hours as well before it can even be told.
EARLY_MARGIN = timedelta(hours=12)
# How far a carrier's clock may run ahead of ours before its readings are refused.
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Due:
    """One trigger that fired."""

    trigger: Trigger
    period_key: str
    due_at: datetime


def effective_minor(facts: Facts) -> int | None:
    """Reported, less reserved, plus credit in flight (rule 8). None: never reported."""
    if facts.balance_minor is None:
        return None
    return facts.balance_minor - facts.reserved_minor + facts.in_flight_minor


def decide(facts: Facts) -> Verdict:
    """One recharge or none, with every reason. Pure: the same facts give the same verdict."""
    if facts.line_problem:
        return _stop(facts, facts.line_problem)
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
    reasons += low_reason
    due = [one for one in (scheduled, low, _expiry_due(facts)) if one]
    if not due:
        return _rest(facts, reasons, wants_reading=wants_reading)
    return _weigh(facts, due, reasons, wants_reading=wants_reading)


# --- which triggers are due ---------------------------------------------------------------------


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
    return _reason(facts, due, "missed", at=one.due_at.isoformat())


def _low_due(facts: Facts) -> tuple[_Due | None, bool, list[Reason]]:
    """Level with a latch (rule 7), on a figure young enough to trust (rule 10)."""
    effective = effective_minor(facts)
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


def _expiry_due(facts: Facts) -> _Due | None:
    """Once for each validity, `expiry_days_before` days ahead of its end."""
    fires_at = wakes.expiry_wake(
        valid_until=facts.valid_until,
        expiry_days_before=facts.expiry_days_before,
        expiry_fired_for=facts.standing.expiry_fired_for,
        timezone=facts.timezone,
        lead=facts.lead,
    )
    if facts.valid_until is None or fires_at is None or facts.at < fires_at:
        return None
    ends_on = wakes.expiry_date(facts.valid_until, facts.timezone)
    return _Due(Trigger.EXPIRY, ends_on.isoformat(), fires_at)


# --- what stands in the way ---------------------------------------------------------------------


def _weigh(facts: Facts, due: list[_Due], reasons: list[Reason], *, wants_reading: bool) -> Verdict:
    """Defer, refuse or charge what is due."""
    if facts.has_open_recharge:
        return _defer(facts, due, reasons, "open_recharge", until=facts.at + RECHECK)
    # A pause is about when money moves, and a slow rail is set to work before that.
    moves_at = max(facts.at, due[0].due_at)
    if facts.pause_reason or (facts.paused_until and facts.paused_until > moves_at):
        code = "paused_by_system" if facts.pause_reason else "paused_by_owner"
        return _refuse(facts, due, reasons, code, low_wakes=facts.paused_until)
    if facts.binding_problem == "rail_disabled":
        # An operator's switch or a setting, not the owner's doing: kept while its grace lasts.
        return _defer(facts, due, reasons, facts.binding_problem, until=facts.at + RECHECK)
    if facts.binding_problem:
        return _refuse(facts, due, reasons, facts.binding_problem, low_wakes=None)
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
    blocked = _cap(facts, amount_minor)
    if blocked:
        code, low_wakes, figures = blocked
        return _refuse(facts, due, reasons, code, low_wakes=low_wakes, **figures)
    first = due[0]
    opening = Opening(
        trigger=first.trigger.value,
        period_key=first.period_key,
        face_minor=amount_minor,
        due_at=first.due_at,
        expires_at=max(first.due_at, facts.at + facts.lead) + facts.grace,
        falls_short=falls_short,
    )
    told = [_reason(facts, first, "charge", face_minor=amount_minor, **_early(facts, first))]
    told += [_reason(facts, one, "merged", other_trigger=first.trigger.value) for one in due[1:]]
    return Verdict(opening, (*reasons, *told), _consumed(facts, due, with_low=True))


def _early(facts: Facts, due: _Due) -> dict[str, object]:
    """That the balance is not low yet: it would be, by the time this rail's money is there."""
    effective = effective_minor(facts)
    is_low = effective is None or effective < (facts.threshold_minor or effective)
    if due.trigger is not Trigger.LOW_BALANCE or is_low or facts.runs_out_at is None:
        return {}
    return {"runs_out_at": facts.runs_out_at.isoformat()}


def _amount(facts: Facts, due: list[_Due]) -> tuple[int, bool]:
    """One recharge closes the gap (rule 9). Second: even the largest allowed falls short.

    A scheduled amount is the one agreed, exactly; only a gap may make it larger.
    """
    effective = effective_minor(facts)
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


def _cap(facts: Facts, amount_minor: int) -> tuple[str, datetime | None, dict[str, int]] | None:
    """The first cap this amount would break, when a low balance may try again, and figures."""
    caps = facts.caps
    if amount_minor > caps.charge_minor:
        return "cap_charge", None, {"cap_minor": caps.charge_minor, "face_minor": amount_minor}
    reached = cap_reached(
        amount_minor=amount_minor,
        spent=facts.spent,
        day_count=caps.day_count,
        line_month_minor=caps.line_month_minor,
        binding_month_minor=caps.binding_month_minor,
        owner_month_minor=caps.owner_month_minor,
    )
    if reached:
        code, figures = reached
        return code, _next_day(facts) if code == "cap_day" else _next_month(facts), figures
    effective = effective_minor(facts)
    most = facts.max_balance_minor
    if most is not None and effective is not None and effective + amount_minor > most:
        return "max_balance", _next_day(facts), {"cap_minor": most}
    return None


def cap_reached(
    *,
    amount_minor: int,
    spent: Spent,
    day_count: int | None,
    line_month_minor: int | None,
    binding_month_minor: int | None,
    owner_month_minor: int | None,
) -> tuple[str, dict[str, int]] | None:
    """The first cap of a day or month that one more charge would break, with its figures; None as
    a cap: there is none. For the owner's hand as for the robot (rule 25)."""
    if day_count is not None and spent.day_count + 1 > day_count:
        return "cap_day", {"cap_count": day_count, "spent_count": spent.day_count}
    months = (
        ("cap_month", line_month_minor, spent.line_month_minor),
        ("cap_binding_month", binding_month_minor, spent.binding_month_minor),
        ("cap_owner_month", owner_month_minor, spent.owner_month_minor),
    )
    for code, cap_minor, spent_minor in months:
        if cap_minor is not None and spent_minor + amount_minor > cap_minor:
            figures = {"cap_minor": cap_minor, "spent_minor": spent_minor}
            return code, figures | {"face_minor": amount_minor}
    return None


def _next_day(facts: Facts) -> datetime:
    day = calendar.day_key(facts.at, facts.timezone) + timedelta(days=1)
    return calendar.local_instant(day=day, at_time=datetime.min.time(), timezone=facts.timezone)


def _next_month(facts: Facts) -> datetime:
    month = calendar.month_key(facts.at, facts.timezone)
    following = (month + timedelta(days=32)).replace(day=1)
    return calendar.local_instant(
        day=following, at_time=datetime.min.time(), timezone=facts.timezone
    )


# --- how the rule stands afterwards -------------------------------------------------------------


def _consumed(facts: Facts, due: Iterable[_Due], *, with_low: bool) -> Standing:
    """Each trigger that was dealt with is dealt with once: an occurrence runs at most once."""
    standing = facts.standing
    for one in due:
        if one.trigger is Trigger.EXPIRY:
            ended = date.fromisoformat(one.period_key)
            standing = replace(standing, expiry_fired_for=ended)
        if one.trigger is Trigger.LOW_BALANCE and with_low:
            standing = replace(standing, is_armed=False)
    return replace(standing, wake_at=_wake(facts, standing))


def _wake(
    facts: Facts, standing: Standing, *, low_wakes: datetime | None = None
) -> datetime | None:
    """The next instant at which this rule could have something to do by itself."""
    early = early_at(facts) if facts.threshold_minor is not None and standing.is_armed else None
    is_ahead = early is not None and early > facts.at  # one that has come was decided on just now
    return wakes.next_wake(
        next_run_at=standing.next_run_at,
        valid_until=facts.valid_until,
        expiry_days_before=facts.expiry_days_before,
        expiry_fired_for=standing.expiry_fired_for,
        timezone=facts.timezone,
        paused_until=facts.paused_until,
        at=facts.at,
        lead=facts.lead,
        also=(low_wakes, early if is_ahead else None),
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
    **figures: object,
) -> Verdict:
    """Schedules and expiries are spent, and told; a low balance stays armed for a better day."""
    told = [_reason(facts, one, code, **figures) for one in due]
    standing = _consumed(facts, due, with_low=False)
    is_low = any(one.trigger is Trigger.LOW_BALANCE for one in due)
    wake_at = _wake(facts, standing, low_wakes=low_wakes if is_low else None)
    return Verdict(None, (*reasons, *told), replace(standing, wake_at=wake_at))


def _reason(facts: Facts, due: _Due, code: str, **more: object) -> Reason:
    """The figures a reader needs to follow the decision, frozen with it."""
    figures: dict[str, object] = {
        "balance_minor": facts.balance_minor,
        "effective_minor": effective_minor(facts),
        "threshold_minor": facts.threshold_minor,
        "face_minor": facts.face_minor,
        "observed_at": facts.observed_at.isoformat() if facts.observed_at else None,
    }
    kept = {key: value for key, value in (figures | more).items() if value is not None}
    return Reason(due.trigger.value, due.period_key, code, kept)

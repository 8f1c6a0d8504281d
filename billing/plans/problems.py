"""What is wrong with a draft: every problem a sentence at its field that says what to do."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from billing import calendar, gateways, money
from billing.calendar import Cycle
from billing.gateways.base import Capabilities
from billing.models import Binding, BindingState, Rule, TopUpMode
from billing.notices import channels, reminders
from billing.plans import drafts
from billing.plans.drafts import Draft, first_index, keeps_calendar, schedule_of, standing_rule
from billing.words.figures import day_text, days_text, rail_name
from lines import zones
from lines.models import LineStatus

MAX_CHARGES_A_DAY = 10
MAX_EXPIRY_DAYS = 90
MAX_REMINDERS = 5
# Shorter than the shortest cycle by far, so that a reminder is always about the next charge.
MAX_REMINDER_DAYS = 14
_FARTHEST_START = timedelta(days=2 * 366)

Problems = Iterator[tuple[str, str]]


class InvalidDraft(Exception):
    """Show each of `errors` (field -> sentence) at its field; nothing was written.

    `alternatives` are dates to offer where the rail cannot do the day.
    """

    def __init__(self, errors: dict[str, str], alternatives: tuple[date, ...] = ()) -> None:
        super().__init__(", ".join(sorted(errors)))
        self.errors = errors
        self.alternatives = alternatives


def check(
    *,
    draft: Draft,
    capabilities: Capabilities | None,
    at: datetime,
    needs_binding: bool = True,
) -> None:
    """Raises InvalidDraft with a sentence for every field that must change before this can run.

    `capabilities` are those of the draft's rail; None where no payment method is chosen, which is
    itself a problem unless `needs_binding` is off (a draft that is only kept). May be called again.
    """
    if capabilities and draft.binding and capabilities.rail != draft.binding.rail_id:
        raise ValueError(f"capabilities of {capabilities.rail} for {draft.binding.rail_id}")
    errors: dict[str, str] = {}
    found = [
        *_line_problems(draft),
        *_amount_problems(draft, capabilities),
        *_cycle_problems(draft, capabilities, at),
        *_low_balance_problems(draft),
        *_expiry_problems(draft),
        *_cap_problems(draft),
        *_reminder_problems(draft),
    ]
    if needs_binding or draft.binding is not None:
        found += [*_binding_problems(draft, capabilities, at), *_fallback_problems(draft, at)]
    for field, sentence in found:
        errors.setdefault(field, sentence)
    if errors:
        raise InvalidDraft(errors, _days_to_offer(draft, capabilities, at))


def money_text(draft: Draft, amount_minor: int) -> str:
    """In the active language."""
    return money.format_short(amount_minor, draft.line.currency, get_language() or "en")


# --- line and payment ---------------------------------------------------------------------------


def _line_problems(draft: Draft) -> Problems:
    status = draft.line.status
    if status == LineStatus.UNVERIFIED:
        yield "line", _("Prove first that this line is yours, with the code sent to it.")
    elif status == LineStatus.SUSPENDED:
        yield "line", _("The carrier has suspended this line. Try again when it is active.")
    elif not draft.line.is_live:
        yield "line", _("This line is gone. Choose another one.")
    elif not zones.is_zone(draft.line.timezone):
        yield "line", _("This line's time zone is not known. Our staff must put it right first.")


def _binding_problems(draft: Draft, capabilities: Capabilities | None, at: datetime) -> Problems:
    if sentence := _binding_sentence(draft, draft.binding, at):
        yield "binding", sentence
    elif capabilities and draft.line.currency not in capabilities.currencies:
        yield "binding", _currency_sentence(draft)


def _currency_sentence(draft: Draft) -> str:
    sentence = _("This payment method cannot pay in {currency}. Choose another.")
    return sentence.format(currency=draft.line.currency)


def _fallback_problems(draft: Draft, at: datetime) -> Problems:
    if draft.fallback_binding is None:
        return
    if draft.binding is not None and draft.fallback_binding.pk == draft.binding.pk:
        yield "fallback_binding", _("Choose another payment method than the first one.")
        return
    second = draft.fallback_binding
    if sentence := _binding_sentence(draft, second, at) or _second_sentence(draft, second, at):
        yield "fallback_binding", sentence


def _second_sentence(draft: Draft, second: Binding, at: datetime) -> str:
    """What the first method is checked for, of the second: it may be charged any of these."""
    try:
        rail = gateways.capabilities(second.rail_id)
    except gateways.RailNotConfigured:
        return _("This way of paying is switched off at the moment. Choose another.")
    if draft.line.currency not in rail.currencies:
        return _currency_sentence(draft)
    offers = _days_to_offer(draft, rail, at)
    late = _day_sentence(draft, second, rail, offers, at) if offers else ""
    return _payable_sentence(draft, second, rail) or late


def _binding_sentence(draft: Draft, binding: Binding | None, at: datetime) -> str:
    if binding is None:
        return _("Choose a payment method.")
    if binding.owner_id != draft.line.owner_id:
        return _("Choose one of your own payment methods.")
    if binding.state == BindingState.PENDING:
        return _("This payment method is not agreed yet. Finish the agreement first.")
    if binding.state == BindingState.SUSPENDED:
        return _("This agreement is suspended at the moment. Choose another payment method.")
    has_ended = binding.expires_at is not None and binding.expires_at <= at
    if binding.state != BindingState.ACTIVE or has_ended:
        return _("This agreement has ended. Bind it again, or choose another payment method.")
    if binding.paused_at is not None:
        return _("This payment method rests after declined payments. Resume it or choose another.")
    if not binding.rail.is_enabled:
        return _("This way of paying is switched off at the moment. Choose another.")
    return ""


# --- amount and caps ----------------------------------------------------------------------------


def _amount_problems(draft: Draft, capabilities: Capabilities | None) -> Problems:
    carrier = draft.line.carrier
    if not carrier.sells(draft.face_minor):
        yield "face_minor", _what_is_sold(draft)
        return
    if sentence := _payable_sentence(draft, draft.binding, capabilities):
        yield "face_minor", sentence


def _payable_sentence(draft: Draft, binding: Binding | None, rail: Capabilities | None) -> str:
    """What one charge of it is too much, or too little, for; "": for nothing."""
    cap_minor = binding.max_per_month_minor if binding else None
    if cap_minor is not None and draft.face_minor > cap_minor:
        sentence = _("This payment method has a limit of {cap} a month. Choose a smaller amount.")
        return sentence.format(cap=money_text(draft, cap_minor))
    if rail is None:
        return ""
    if rail.max_amount_minor is not None and draft.face_minor > rail.max_amount_minor:
        sentence = _("This payment method pays at most {most} at once. Choose a smaller amount.")
        return sentence.format(most=money_text(draft, rail.max_amount_minor))
    if draft.face_minor < rail.min_amount_minor:
        sentence = _("This payment method pays at least {least} at once. Choose a larger amount.")
        return sentence.format(least=money_text(draft, rail.min_amount_minor))
    return ""


def _what_is_sold(draft: Draft) -> str:
    carrier = draft.line.carrier
    is_english = (get_language() or "").startswith("en")
    name = carrier.name_en if is_english else carrier.name
    if carrier.denominations_minor:
        amounts = " / ".join(money_text(draft, one) for one in sorted(carrier.denominations_minor))
        return _("{carrier} sells {amounts}. Choose one of these.").format(
            carrier=name, amounts=amounts
        )
    return _("{carrier} sells amounts from {least} to {most}. Choose one of these.").format(
        carrier=name,
        least=money_text(draft, carrier.min_amount_minor),
        most=money_text(draft, carrier.max_amount_minor),
    )


def _cap_problems(draft: Draft) -> Problems:
    if draft.max_per_charge_minor < draft.face_minor:
        sentence = _("This is less than one recharge of {face}. Allow at least that much.")
        yield "max_per_charge_minor", sentence.format(face=money_text(draft, draft.face_minor))
    if draft.max_per_month_minor < draft.face_minor:
        sentence = _("This is less than one recharge of {face}. Allow at least that much.")
        yield "max_per_month_minor", sentence.format(face=money_text(draft, draft.face_minor))
    for field in ("max_per_charge_minor", "max_per_month_minor"):
        if getattr(draft, field) > money.MAX_AMOUNT_MINOR:
            yield field, _("This limit is too large to limit anything. Enter a smaller one.")
    if not 1 <= draft.max_per_day_count <= MAX_CHARGES_A_DAY:
        sentence = _("Allow between 1 and {most} recharges a day.")
        yield "max_per_day_count", sentence.format(most=MAX_CHARGES_A_DAY)


# --- triggers -----------------------------------------------------------------------------------


def _cycle_problems(draft: Draft, capabilities: Capabilities | None, at: datetime) -> Problems:
    if draft.cycle not in list(Cycle):
        yield "cycle", _("Choose monthly, quarterly, yearly or no schedule.")
    elif draft.cycle != Cycle.NONE:
        yield from _calendar_problems(draft, capabilities, at)
    elif draft.is_schedule_only:
        yield "cycle", _("Choose a schedule, a low balance or the days before expiry.")


def _calendar_problems(draft: Draft, capabilities: Capabilities | None, at: datetime) -> Problems:
    if draft.anchor_date is None:
        yield "anchor_date", _("Choose the day of the first charge.")
        return
    today = calendar.day_key(at, draft.line.timezone)
    if draft.anchor_date > today + _FARTHEST_START:
        yield "anchor_date", _("Choose a day within the next two years.")
        return
    if draft.anchor_date.year < today.year - 50:
        yield "anchor_date", _("Choose today or a later day.")
        return
    if offers := _days_to_offer(draft, capabilities, at):
        yield "anchor_date", _day_sentence(draft, draft.binding, capabilities, offers, at)
        return
    yield from _start_problems(draft, capabilities, at)


def _start_problems(draft: Draft, capabilities: Capabilities | None, at: datetime) -> Problems:
    """A first charge that has passed, or is too near for the notice its rail demands."""
    schedule = schedule_of(draft, capabilities=capabilities)
    if schedule is None:
        return
    rule = standing_rule(draft.line)
    is_known = rule is not None and keeps_calendar(schedule, rule=rule)
    index = first_index(schedule, rule=rule, at=at) if is_known else 0
    run_at = calendar.occurrence(schedule, index).due_at
    lead = drafts.lead_of(draft, capabilities) if capabilities else None
    if not is_known and schedule.anchor < calendar.day_key(at, draft.line.timezone):
        yield "anchor_date", _("Choose today or a later day.")
    elif run_at <= at and (rule is None or run_at != rule.next_run_at):
        yield "charge_time", _("This time has passed today. Choose a later time or another day.")
    elif capabilities and lead and not is_known and run_at < at + lead:
        yield "anchor_date", _lead_sentence(draft, capabilities, at)
    else:
        yield from _notice_problems(draft, rule=rule, run_at=run_at, is_known=is_known, at=at)


def _lead_sentence(draft: Draft, capabilities: Capabilities, at: datetime) -> str:
    """What must be told days ahead, to a rail or to the payer, cannot be taken sooner than that."""
    lead = drafts.lead_of(draft, capabilities)
    days = -(-lead // timedelta(days=1))
    earliest = calendar.day_key(at, draft.line.timezone) + timedelta(days=days + 1)
    sentence = _("This payment method must be told {days} ahead. Choose {day} or later.")
    if lead > capabilities.lead:
        sentence = _("Each charge must be announced {days} ahead. Choose {day} or later.")
    return sentence.format(days=days_text(days), day=day_text(earliest, at=at))


def _notice_problems(
    draft: Draft, *, rule: Rule | None, run_at: datetime, is_known: bool, at: datetime
) -> Problems:
    """A rail that demands a notice cannot charge more, or sooner, than a notice can say."""
    methods = (draft.binding, draft.fallback_binding)
    days = max((one.rail.mandatory_notice_days for one in methods if one), default=0)
    is_told = is_known and rule is not None and rule.is_on and draft.face_minor <= rule.face_minor
    zone = draft.line.timezone
    if not days or is_told or reminders.reminder_at(run_at=run_at, days=days, timezone=zone) > at:
        return
    if is_known:
        sentence = _(
            "A larger amount must be announced {days} ahead, and the next charge is nearer. Skip"
            " that one, or change the amount after it."
        )
        yield "face_minor", sentence.format(days=days_text(days))
    else:
        sentence = _("Each charge must be announced {days} ahead. Choose {day} or later.")
        earliest = calendar.day_key(at, zone) + timedelta(days=days + 2)
        yield "anchor_date", sentence.format(days=days_text(days), day=day_text(earliest, at=at))


def _days_to_offer(
    draft: Draft, capabilities: Capabilities | None, at: datetime
) -> tuple[date, ...]:
    """The dates to offer instead of one the rail cannot do; empty where it can (rule 5)."""
    if capabilities is None or draft.anchor_date is None or draft.cycle not in list(Cycle):
        return ()
    is_impossible = calendar.unsupported_day(
        anchor=draft.anchor_date,
        cycle=Cycle(draft.cycle),
        last_day_of_month=capabilities.last_day_of_month,
    )
    if not is_impossible or draft.anchor_date.year >= date.max.year:
        return ()
    today = calendar.day_key(at, draft.line.timezone)
    return tuple(day for day in calendar.alternatives(draft.anchor_date) if day > today)


def _day_sentence(
    draft: Draft,
    binding: Binding | None,
    capabilities: Capabilities | None,
    offers: tuple[date, ...],
    at: datetime,
) -> str:
    last_day = capabilities.last_day_of_month if capabilities else 31
    rail = binding.rail if binding else None
    name = rail_name(rail.code, name=rail.name, name_en=rail.name_en) if rail else ""
    days = _(" or ").join(day_text(day, at=at) for day in offers)
    sentence = _("Days after the {last}th are not possible with {rail}. Choose {days}.")
    return sentence.format(last=last_day, rail=name, days=days)


def _low_balance_problems(draft: Draft) -> Problems:
    threshold_minor = draft.threshold_minor
    if threshold_minor is None:
        if draft.topup_mode == TopUpMode.TO:
            yield "threshold_minor", _("Enter the balance below which to top up.")
        return
    if not 0 <= threshold_minor <= money.MAX_AMOUNT_MINOR:
        yield "threshold_minor", _("Enter a balance of zero or more.")
        return
    if draft.topup_mode == TopUpMode.TO:
        yield from _target_problems(draft, threshold_minor)
    elif draft.topup_mode == TopUpMode.BY:
        yield from _room_problems(draft, threshold_minor)
    else:
        yield "topup_mode", _("Choose to top up by an amount, or up to a balance.")


def _room_problems(draft: Draft, threshold_minor: int) -> Problems:
    most_minor = draft.line.carrier.max_balance_minor
    if most_minor is not None and threshold_minor + draft.face_minor > most_minor:
        sentence = _("The line may hold {most} at most. Lower this, or choose a smaller amount.")
        yield "threshold_minor", sentence.format(most=money_text(draft, most_minor))


def _target_problems(draft: Draft, threshold_minor: int) -> Problems:
    if draft.target_minor is None or draft.target_minor <= threshold_minor:
        sentence = _("Enter a balance above {threshold}, below which the top-up starts.")
        yield "target_minor", sentence.format(threshold=money_text(draft, threshold_minor))
        return
    most_minor = draft.line.carrier.max_balance_minor
    if most_minor is not None and draft.target_minor > most_minor:
        sentence = _("The line may hold {most} at most. Enter a lower balance.")
        yield "target_minor", sentence.format(most=money_text(draft, most_minor))
        return
    least_minor = draft.line.carrier.least_sold(draft.target_minor - threshold_minor)
    if least_minor is None:
        yield "target_minor", _("No single amount reaches this balance. Enter a lower one.")
    elif least_minor > draft.max_per_charge_minor:
        sentence = _("Reaching {target} takes at least {amount} at once. Allow at least that much.")
        yield (
            "max_per_charge_minor",
            sentence.format(
                target=money_text(draft, draft.target_minor),
                amount=money_text(draft, least_minor),
            ),
        )


def _expiry_problems(draft: Draft) -> Problems:
    days = draft.expiry_days_before
    if days is not None and not 1 <= days <= MAX_EXPIRY_DAYS:
        yield (
            "expiry_days_before",
            _("Choose between 1 and {most} days.").format(most=MAX_EXPIRY_DAYS),
        )


# --- reminders ----------------------------------------------------------------------------------


def _reminder_problems(draft: Draft) -> Problems:
    days = draft.remind_days_before
    if len(set(days)) > MAX_REMINDERS:
        sentence = ngettext(
            "Choose at most {most} reminder.", "Choose at most {most} reminders.", MAX_REMINDERS
        )
        yield "remind_days_before", sentence.format(most=MAX_REMINDERS)
    elif any(not 1 <= one <= MAX_REMINDER_DAYS for one in days):
        sentence = _("Remind between 1 and {most} days before a charge.")
        yield "remind_days_before", sentence.format(most=MAX_REMINDER_DAYS)
    if not draft.channels or not all(channels.is_known(one) for one in draft.channels):
        yield "channels", _("Choose where notices go.")
    elif "email" in draft.channels and not draft.line.owner.email:
        yield "channels", _("Add an e-mail address to your account first, or use the inbox only.")

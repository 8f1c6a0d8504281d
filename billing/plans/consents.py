"""The words a person agrees to: one sentence that says what, how much at most, through whom, and
how to stop; and the sentences that go with the preview.

`VERSION` names the wording; change it with any word of the sentence, so that a consent on record
always says which one was read.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.calendar import Cycle
from billing.gateways.base import Capabilities
from billing.models import Binding, Consent, TopUpMode
from billing.plans.drafts import Draft
from billing.plans.previews import Preview
from billing.plans.problems import money_text
from billing.states import Trigger
from billing.words.figures import closed_up, day_text, days_text, instant_text, rail_name
from lines import zones

VERSION = "2026-11-28"


@dataclass(frozen=True, slots=True)
class ConsentText:
    """What is agreed to, word for word, and the version of its wording."""

    text: str
    version: str


def consent_text(*, draft: Draft, preview: Preview, language: str) -> ConsentText:
    """The sentence to agree to, in `language`. The same arguments give the same words."""
    with translation.override(language):
        text = _(
            "I agree that Keepline recharges {line} {occasions}, taking the money from {tool}, at"
            " most {most} in a month, until I skip, pause or stop it in Keepline, which I may do at"
            " any time and which takes effect at once."
        ).format(
            line=str(draft.line),
            occasions=_listed(_occasions(draft)),
            tool=_tools(draft),
            most=money_text(draft, preview.plan_max_minor),
        )
    return ConsentText(text=closed_up(text), version=VERSION)


def _occasions(draft: Draft) -> list[str]:
    found = []
    if draft.has_schedule:
        found.append(_scheduled(draft))
    if draft.threshold_minor is not None:
        found.append(_low(draft))
    if draft.expiry_days_before is not None:
        text = _("with {face} {days} before its validity ends")
        days = days_text(draft.expiry_days_before)
        found.append(text.format(face=money_text(draft, draft.face_minor), days=days))
    return found


def _scheduled(draft: Draft) -> str:
    assert draft.anchor_date is not None  # noqa: S101 - has_schedule
    cycle = Cycle(draft.cycle)
    texts = {
        Cycle.MONTHLY: _("with {face} each month on day {day}"),
        Cycle.QUARTERLY: _("with {face} every three months on day {day}, first on {date}"),
        Cycle.YEARLY: _("with {face} each year, first on {date}"),
    }
    text = texts[cycle].format(
        face=money_text(draft, draft.face_minor),
        day=draft.anchor_date.day,
        date=day_text(draft.anchor_date),
    )
    if _meets_shorter_months(draft.anchor_date, cycle):
        text += _(" (on the last day of a shorter month)")
    return text


def _meets_shorter_months(anchor: date, cycle: Cycle) -> bool:
    """A yearly date is missing in February alone."""
    return anchor.day > 28 and (cycle is not Cycle.YEARLY or anchor.month == 2)


def _low(draft: Draft) -> str:
    if draft.topup_mode == TopUpMode.TO:
        text = _("up to {target} whenever its balance is below {threshold}, {most} at once at most")
    elif draft.max_per_charge_minor > draft.face_minor:
        text = _(
            "with {face} whenever its balance is below {threshold}, and up to {most} at once where"
            " that is not enough"
        )
    else:
        text = _("with {face} whenever its balance is below {threshold}")
    return text.format(
        face=money_text(draft, draft.face_minor),
        target=money_text(draft, draft.target_minor or 0),
        threshold=money_text(draft, draft.threshold_minor or 0),
        most=money_text(draft, draft.max_per_charge_minor),
    )


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    joint = _(", ")
    return _("{first} and {last}").format(first=joint.join(parts[:-1]), last=parts[-1])


def _tools(draft: Draft) -> str:
    if draft.fallback_binding is None:
        return tool_name(draft.binding)
    return _("{tool} (and, only where that one declines, from {fallback})").format(
        tool=tool_name(draft.binding), fallback=tool_name(draft.fallback_binding)
    )


def tool_name(binding: Binding | None) -> str:
    """ "Alipay li***@163.com", in the active language; empty for none."""
    if binding is None:
        return ""
    rail = binding.rail
    name = rail_name(rail.code, name=rail.name, name_en=rail.name_en)
    return f"{name} {binding.label}".strip()


def record(
    *,
    draft: Draft,
    preview: Preview,
    rule_version: int,
    language: str,
    ip: str | None,
    user_agent: str,
    at: datetime,
) -> Consent:
    """Keep what was agreed to, in the transaction that turns the rule on. Never changed later.

    Raises ValueError for a draft without a payment method.
    """
    if draft.binding is None:
        raise ValueError("nobody agrees to a plan without a payment method")
    words = consent_text(draft=draft, preview=preview, language=language)
    return Consent.objects.create(
        line=draft.line,
        owner=draft.line.owner,
        binding=draft.binding,
        text=words.text,
        text_version=words.version,
        language=language,
        plan=_plan(draft, preview, rule_version=rule_version),
        at=at,
        ip=ip,
        user_agent=user_agent[:200],
    )


def _plan(draft: Draft, shown: Preview, *, rule_version: int) -> dict[str, object]:
    """The plan on record. Minor units, ISO 4217, ISO 8601."""
    tool, fallback = draft.binding, draft.fallback_binding
    return {
        "rule_version": rule_version,
        "currency": shown.currency,
        "timezone": draft.line.timezone,
        "binding": tool.ref if tool else None,
        "rail": tool.rail_id if tool else None,
        "fallback_binding": fallback.ref if fallback else None,
        "face_minor": draft.face_minor,
        "price_minor": shown.price_minor,
        "month_max_minor": shown.month_max_minor,
        "plan_max_minor": shown.plan_max_minor,
        "cycle": str(draft.cycle),
        "anchor_date": draft.anchor_date.isoformat() if draft.anchor_date else None,
        "charge_time": draft.charge_time.isoformat("minutes"),
        "threshold_minor": draft.threshold_minor,
        "topup_mode": str(draft.topup_mode),
        "target_minor": draft.target_minor,
        "expiry_days_before": draft.expiry_days_before,
        "max_per_charge_minor": draft.max_per_charge_minor,
        "max_per_day_count": draft.max_per_day_count,
        "max_per_month_minor": draft.max_per_month_minor,
        "fires_at_once": shown.fires_at_once,
        "charges": [
            {
                "date": charge.local_date.isoformat(),
                "due_at": charge.due_at.isoformat(),
                "price_minor": charge.price_minor,
            }
            for charge in shown.charges
        ],
    }


# --- beside the preview -------------------------------------------------------------------------


def sentences(
    *, draft: Draft, preview: Preview, capabilities: Capabilities, language: str, at: datetime
) -> list[str]:
    """What a person should know beside the dates, in `language`, the most pressing first."""
    with translation.override(language):
        found = [
            _at_once(draft, preview, at=at),
            _unknown_balance(preview),
            _shorter_months(draft, preview),
            _hours(draft, preview, capabilities),
            _notice(preview),
            _lead(draft, preview),
            _delay(preview),
            _offer(draft, preview),
            _ending(draft, preview, at=at),
            _most(draft, preview),
        ]
    return [sentence for sentence in found if sentence]


def _most(draft: Draft, preview: Preview) -> str:
    text = _("A month costs {most} at most, never more.")
    if preview.plan_max_minor < preview.month_max_minor:
        text = _(
            "This plan takes {plan} in a month at most; with what you recharge by hand, a month"
            " costs {most} at most, never more."
        )
    return text.format(
        plan=money_text(draft, preview.plan_max_minor),
        most=money_text(draft, preview.month_max_minor),
    )


def _at_once(draft: Draft, preview: Preview, *, at: datetime) -> str:
    if preview.at_once is None:
        return ""
    price = money_text(draft, preview.at_once.price_minor)
    line = draft.line
    expected_on = preview.at_once.expected_at.astimezone(zones.zone_of(line.timezone)).date()
    if preview.at_once.trigger == Trigger.EXPIRY and line.valid_until is not None:
        day = line.valid_until.astimezone(zones.zone_of(line.timezone)).date()
        text = _("The validity ends on {day}, so {price} is charged as soon as you confirm.")
        if preview.notice:
            text = _(
                "The validity ends on {day}. You are told first, and {price} is taken on {on}."
            )
        on = day_text(expected_on, at=at)
        return text.format(day=day_text(day, at=at), price=price, on=on)
    text = _(
        "The balance of {balance} is already below {threshold}, so {price} is charged as soon as"
        " you confirm."
    )
    if preview.at_once.is_later:
        text = _(
            "The balance of {balance} will not last until the payment method can be charged, so"
            " {price} is taken on {day}."
        )
    is_low = (line.balance_minor or 0) < (draft.threshold_minor or 0)
    if preview.notice and is_low:
        text = _(
            "The balance of {balance} is already below {threshold}. You are told first, and {price}"
            " is taken on {day}; until then you can cancel it."
        )
    return text.format(
        day=day_text(expected_on, at=at),
        balance=money_text(draft, line.balance_minor or 0),
        threshold=money_text(draft, draft.threshold_minor or 0),
        price=price,
    )


def _unknown_balance(preview: Preview) -> str:
    if preview.is_balance_known:
        return ""
    return _(
        "The balance is not known yet. The carrier is asked as soon as you confirm, and if it is"
        " low, the first recharge follows at once."
    )


def _shorter_months(draft: Draft, preview: Preview) -> str:
    if draft.anchor_date is None or draft.anchor_date.day < 29:
        return ""
    if not any(charge.adjusted == "month_end" for charge in preview.charges):
        return ""
    text = _("A month without a day {day} is charged on its last day.")
    return text.format(day=draft.anchor_date.day)


def _hours(draft: Draft, preview: Preview, capabilities: Capabilities) -> str:
    if not any(charge.adjusted == "hours" for charge in preview.charges):
        return ""
    hours = capabilities.hours
    if hours is None:
        return _("Charges are not made in the last half hour of a day, so the time is moved.")
    text = _(
        "{tool} takes charges from {opens} to {closes} ({timezone}) only, so the time is moved"
        " within the day."
    )
    return text.format(
        tool=tool_name(draft.binding),
        opens=f"{hours.opens:%H:%M}",
        closes=f"{hours.closes:%H:%M}",
        timezone=hours.timezone,
    )


def _notice(preview: Preview) -> str:
    return notice_text(hours=preview.notice // timedelta(hours=1))


def notice_text(*, hours: int) -> str:
    """What is told before each charge, where the law of the market has it; "" where it has not."""
    if not hours:
        return ""
    text = ngettext(
        "We tell you {count} hour before each automatic charge when and how much will be taken, and"
        " how to cancel it. A low balance is therefore recharged that much later, or begun as much"
        " sooner where the forecast knows.",
        "We tell you {count} hours before each automatic charge when and how much will be taken,"
        " and how to cancel it. A low balance is therefore recharged that much later, or begun as"
        " much sooner where the forecast knows.",
        hours,
    )
    return text.format(count=hours)


def _lead(draft: Draft, preview: Preview) -> str:
    """A rail that must be told first: a date is kept all the same, a low balance is not instant."""
    hours = -(-preview.rail_lead // timedelta(hours=1))  # rounded up
    if not hours:
        return ""
    if draft.threshold_minor is None:
        text = ngettext(
            "This payment method is told {count} hour ahead, so that the money moves on the day"
            " shown.",
            "This payment method is told {count} hours ahead, so that the money moves on the day"
            " shown.",
            hours,
        )
    else:
        text = ngettext(
            "This payment method takes the money {count} hour after it is told. So we begin as soon"
            " as the forecast says the balance will run out by then, and tell you the day.",
            "This payment method takes the money {count} hours after it is told. So we begin as"
            " soon as the forecast says the balance will run out by then, and tell you the day.",
            hours,
        )
    return text.format(count=hours)


def _delay(preview: Preview) -> str:
    hours = -(-preview.latest_delay // timedelta(hours=1))  # rounded up
    if not hours:
        return ""
    text = ngettext(
        "This payment method may take up to {count} hour from the time shown.",
        "This payment method may take up to {count} hours from the time shown.",
        hours,
    )
    return text.format(count=hours)


def _offer(draft: Draft, preview: Preview) -> str:
    if preview.saves_minor:
        text = _("With today's offers the next recharge of {face} costs {price}.")
        face, price = draft.face_minor, preview.price_minor
        return text.format(face=money_text(draft, face), price=money_text(draft, price))
    if preview.bonus_minor:
        text = _("With today's offers the next recharge brings {bonus} on top.")
        return text.format(bonus=money_text(draft, preview.bonus_minor))
    return ""


def _ending(draft: Draft, preview: Preview, *, at: datetime) -> str:
    """Charges shown after the agreement's end are true only if it is renewed."""
    ends_at = draft.binding.expires_at if draft.binding else None
    if ends_at is None or (preview.charges and preview.charges[-1].due_at < ends_at):
        return ""
    text = _("The payment agreement ends on {end}. Later charges need it to be renewed.")
    return text.format(end=instant_text(ends_at, zone=zones.zone_of(draft.line.timezone), at=at))

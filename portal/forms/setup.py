"""The steps of setting up auto-recharge. Each step is one form; `problems.check` joins them.

What was typed in a step is kept as it was typed, so that going back, an error or another step
loses nothing. A plan may have been made elsewhere, on terms that these pages do not offer (09:30,
14 days before): they are offered where they stand, so that saving never rewrites them.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, time, timedelta
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from billing import money
from billing.models import Binding, Rule, TopUpMode
from billing.models.rules import CYCLE_CHOICES
from billing.plans import problems
from lines.models import Line
from portal import wording
from portal.forms.fields import MoneyField
from portal.forms.lines import amount_field, binding_field
from portal.forms.rules import DateField

_HOURS = [(f"{hour:02d}:00", f"{hour:02d}:00") for hour in range(24)]
_HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DAYS_BEFORE = (1, 2, 3, 5, 7)
_CHARGES_A_MONTH = 3  # offered as the most a month: so many charges
_LOW = "10"  # offered as the low balance

# What was typed into one step, by field: texts, ticks and lists of texts.
Typed = dict[str, Any]
AllTyped = dict[str, Typed]  # by step


class StepForm(forms.Form):
    """One step for one line. `bindings`: the payment methods that can be charged now."""

    def __init__(self, *args: Any, line: Line, bindings: list[Binding], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.build(line, bindings)

    def build(self, line: Line, bindings: list[Binding]) -> None:
        """Add the fields, which depend on what the carrier sells and on what can be charged."""
        raise NotImplementedError

    @staticmethod
    def from_rule(rule: Rule) -> Typed:
        """What would have been typed into this step for `rule`."""
        raise NotImplementedError

    def keep(self, name: str, *, can_be: Callable[[str], bool], say: Callable[[str], str]) -> None:
        """Among the choices of `name`, what stands there as well, if it `can_be` at all."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - the steps call it for those
        stands = self[name].value()
        values = map(str, stands if isinstance(stands, list) else [stands])
        choices = cast("Iterable[tuple[Any, Any]]", field.choices)
        offered = [(str(value), words) for value, words in choices]
        known = dict(offered)
        more = [(one, say(one)) for one in values if one not in known and can_be(one)]
        if more:  # "09:30" between two hours, "14" after "7", nothing at all first
            field.choices = sorted([*offered, *more], key=lambda one: (len(one[0]), one[0]))


class ToolForm(StepForm):
    """Step 1: what pays, and what pays when that is declined."""

    def build(self, line: Line, bindings: list[Binding]) -> None:
        self.fields["binding"] = binding_field(bindings)
        seconds = _with_standing(bindings, line)
        if len(seconds) > 1:
            self.fields["fallback"] = binding_field(
                seconds,
                nothing=_("Nothing"),
                label=_("If it is declined, charge instead"),
                required=False,
                widget=forms.Select,
                help_text=_("Only after a definite no, and inside the same limits."),
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned.setdefault("fallback", None)
        if cleaned["fallback"] and cleaned["fallback"] == cleaned.get("binding"):
            self.add_error("fallback", _("Choose a different one, or nothing."))
        return cleaned

    @staticmethod
    def from_rule(rule: Rule) -> Typed:
        return {
            "binding": rule.binding.ref if rule.binding else None,
            "fallback": rule.fallback_binding.ref if rule.fallback_binding else "",
        }


class AmountForm(StepForm):
    """Step 2: how much, and on which days if any."""

    def build(self, line: Line, bindings: list[Binding]) -> None:
        self.fields["face"] = amount_field(line)
        self.fields["cycle"] = forms.ChoiceField(
            label=_("On a schedule"),
            choices=CYCLE_CHOICES,
            widget=forms.RadioSelect,
            error_messages={"required": _("Choose a schedule, or none.")},
        )
        self.fields["anchor_date"] = DateField(
            label=_("First charge on"),
            required=False,
            help_text=_("It repeats on this day; where a month is too short, on its last day."),
        )
        self.fields["charge_time"] = forms.ChoiceField(
            label=_("At"),
            choices=_HOURS,
            help_text=_("The line's own time: %(zone)s.") % {"zone": line.timezone},
        )
        self.keep("charge_time", can_be=lambda hour: bool(_HOUR.fullmatch(hour)), say=str)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("cycle", "none") == "none":
            cleaned["anchor_date"] = None
        elif not cleaned.get("anchor_date") and "anchor_date" not in self.errors:
            self.add_error("anchor_date", _("Choose the day of the first charge."))
        if "charge_time" in cleaned:
            cleaned["charge_time"] = time.fromisoformat(cleaned["charge_time"])
        return cleaned

    @staticmethod
    def from_rule(rule: Rule) -> Typed:
        return {
            "face": _face_text(rule.line, rule.face_minor),
            "cycle": rule.cycle,
            "anchor_date": rule.anchor_date.isoformat() if rule.anchor_date else "",
            "charge_time": rule.charge_time.strftime("%H:%M"),
        }


class LowForm(StepForm):
    """Step 3: when the balance runs low, and before the validity ends."""

    def build(self, line: Line, bindings: list[Binding]) -> None:
        self.fields["threshold"] = MoneyField(
            label=_("Recharge when the balance falls below"),
            currency=line.currency,
            required=False,
            help_text=_("Leave it empty to recharge on the schedule only."),
        )
        self.fields["topup_mode"] = forms.ChoiceField(
            label=_("Then top up"), choices=TopUpMode.choices, widget=forms.RadioSelect
        )
        self.fields["target"] = MoneyField(
            label=_("Up to a balance of"),
            currency=line.currency,
            required=False,
            help_text=_("Only for “up to a balance”: rounded up to what the carrier sells."),
        )
        self.fields["expiry_days_before"] = forms.TypedChoiceField(
            label=_("Before the validity ends"),
            choices=[("", _("Do not recharge for that")), *_day_choices()],
            coerce=int,
            empty_value=None,
            required=False,
        )
        self.keep("expiry_days_before", can_be=_days_up_to(problems.MAX_EXPIRY_DAYS), say=_days)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        is_to = cleaned.get("topup_mode") == TopUpMode.TO
        if is_to and cleaned.get("target") is None and "target" not in self.errors:
            self.add_error("target", _("Enter the balance to top up to."))
        if not is_to:
            cleaned["target"] = None
        return cleaned

    @staticmethod
    def from_rule(rule: Rule) -> Typed:
        return {
            "threshold": typed(rule.threshold_minor, rule.currency),
            "topup_mode": rule.topup_mode,
            "target": typed(rule.target_minor, rule.currency),
            "expiry_days_before": str(rule.expiry_days_before or ""),
        }


class LimitsForm(StepForm):
    """Step 4: the most it may take, and what is told."""

    def build(self, line: Line, bindings: list[Binding]) -> None:
        self.fields["max_per_charge"] = MoneyField(
            label=_("At most for one charge"),
            currency=line.currency,
            error_messages={"required": _("Enter the most for one charge.")},
        )
        self.fields["max_per_day"] = forms.IntegerField(
            label=_("At most so many charges a day"),
            min_value=1,
            max_value=problems.MAX_CHARGES_A_DAY,
            widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
            error_messages={
                "required": _("Enter how many charges a day."),
                "invalid": _("Write a whole number, such as 1."),
            },
        )
        self.fields["max_per_month"] = MoneyField(
            label=_("At most in a month"),
            currency=line.currency,
            error_messages={"required": _("Enter the most for a month.")},
        )
        self.fields["remind_low_balance"] = forms.BooleanField(
            label=_("Tell me when the balance is low"), required=False
        )
        self.fields["remind_days"] = forms.TypedMultipleChoiceField(
            label=_("Remind me before a scheduled charge"),
            choices=_day_choices(),
            coerce=int,
            widget=forms.CheckboxSelectMultiple,
            required=False,
        )
        self.keep("remind_days", can_be=_days_up_to(problems.MAX_REMINDER_DAYS), say=_days)
        self.fields["remind_result"] = forms.BooleanField(
            label=_("Tell me the result of every charge"), required=False
        )
        self.fields["by_email"] = forms.BooleanField(
            label=_("By e-mail too"),
            required=False,
            help_text=_("Everything is always in your Keepline inbox."),
        )

    @staticmethod
    def from_rule(rule: Rule) -> Typed:
        return {
            "max_per_charge": typed(rule.max_per_charge_minor, rule.currency),
            "max_per_day": str(rule.max_per_day_count),
            "max_per_month": typed(rule.max_per_month_minor, rule.currency),
            "remind_low_balance": rule.remind_low_balance,
            "remind_days": [str(days) for days in rule.remind_days_before],
            "remind_result": rule.remind_result,
            "by_email": "email" in rule.channels,
        }


FORMS: dict[str, type[StepForm]] = {
    "tool": ToolForm,
    "amount": AmountForm,
    "low": LowForm,
    "limits": LimitsForm,
}


def starting_values(line: Line, bindings: list[Binding], today: date) -> dict[str, Typed]:
    """What a new plan offers, by step: a middling amount, low balance only, three a month."""
    sold = line.carrier.denominations_minor
    face = sold[len(sold) // 2 - (len(sold) > 1)] if sold else line.carrier.min_amount_minor
    return {
        "tool": {"binding": bindings[0].ref if bindings else "", "fallback": ""},
        "amount": {
            "face": _face_text(line, face),
            "cycle": "none",
            "anchor_date": (today + timedelta(days=1)).isoformat(),
            "charge_time": "09:00",
        },
        "low": {
            "threshold": _LOW,
            "topup_mode": TopUpMode.BY.value,
            "target": "",
            "expiry_days_before": "",
        },
        "limits": usual_limits(line, face),
    }


def usual_limits(line: Line, face_minor: int) -> Typed:
    """What is offered for a plan of that amount, until somebody types something else."""
    return {
        "max_per_charge": typed(face_minor, line.currency),
        "max_per_day": "1",
        "max_per_month": typed(face_minor * _CHARGES_A_MONTH, line.currency),
        "remind_low_balance": True,
        "remind_days": ["5", "2"],
        "remind_result": True,
        "by_email": bool(line.owner.email),
    }


def values_of(rule: Rule) -> dict[str, Typed]:
    """A rule as its owner would type it, by step."""
    return {step: form.from_rule(rule) for step, form in FORMS.items()}


def raw(form: forms.Form) -> Typed:
    """What was typed into `form`, right or wrong, as it can be kept in a session."""
    return {
        name: field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
        for name, field in form.fields.items()
    }


def typed(amount_minor: int | None, currency: str) -> str:
    """An amount as a person would type it: (5000, "CNY") -> "50"; None -> ""."""
    if amount_minor is None:
        return ""
    text = money.to_decimal_text(amount_minor, currency)
    whole, _point, part = text.partition(".")
    return text if part.strip("0") else whole


def _face_text(line: Line, face_minor: int) -> str:
    return str(face_minor) if line.carrier.denominations_minor else typed(face_minor, line.currency)


def channels_of(rule: Rule | None, *, by_email: bool) -> tuple[str, ...]:
    """Where notices go: what stands, but for mail, the one of them that these pages know."""
    stands = tuple(rule.channels) if rule is not None else ("inbox",)
    if by_email == ("email" in stands):
        return stands
    if by_email:
        return (*stands, "email")
    return tuple(one for one in stands if one != "email") or ("inbox",)


def _with_standing(bindings: list[Binding], line: Line) -> list[Binding]:
    """And the second method as it stands: one that rests is said to, not dropped in silence."""
    rule: Rule | None = getattr(line, "rule", None)
    second = rule.fallback_binding if rule is not None else None
    return bindings if second is None or second in bindings else [*bindings, second]


def _day_choices() -> list[tuple[int, str]]:
    return [(days, wording.days(days)) for days in _DAYS_BEFORE]


def _days_up_to(most: int) -> Callable[[str], bool]:
    possible = {str(days) for days in range(1, most + 1)}
    return possible.__contains__


def _days(text: str) -> str:
    return wording.days(int(text))

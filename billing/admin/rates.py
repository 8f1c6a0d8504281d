from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing import rates
from billing.admin import words
from billing.models import OutageSide, Rail, Rate
from lines.admin.base import SettingAdmin, in_language, label
from lines.models import Carrier


class RateForm(forms.ModelForm):
    """Of somebody there is: a limit under another name would limit nobody."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        side, code = self.cleaned_data.get("side"), self.cleaned_data.get("code")
        if side and code:
            known = Rail.objects if side == OutageSide.RAIL else Carrier.objects
            if not known.filter(code=code).exists():
                self.add_error("code", _("There is none of that name."))
        return cleaned


@admin.register(Rate)
class RateAdmin(SettingAdmin):
    """How fast each rail and carrier may be called, and how fast it is called now."""

    form = RateForm
    list_display = ("whom", "calls_per_s", "burst", "in_flight", "now", "slowed_at")
    ordering = ("-side", "code")
    fields = ("side", "code", "calls_per_s", "burst", "in_flight", "slowed_at")
    readonly_fields = ("slowed_at",)

    def get_readonly_fields(self, request: HttpRequest, obj: Rate | None = None) -> Any:
        named = ("side", "code") if obj is not None else ()
        return (*named, *super().get_readonly_fields(request, obj))

    @display(description=_("rail or carrier"), ordering="code")
    def whom(self, rate: Rate) -> str:
        if rate.side == OutageSide.RAIL:
            return words.rail(rate.code)
        carrier = Carrier.objects.filter(code=rate.code).first()
        return in_language(carrier.name, carrier.name_en) if carrier else rate.code

    @display(description=_("calls a second now"))
    def now(self, rate: Rate) -> Any:
        pace = rates.pace(side=rate.side, code=rate.code)
        if pace is None:
            return "-"
        is_slowed = rate.calls_per_s is None or pace < rate.calls_per_s
        return label(f"{pace:.0f}", "warn" if is_slowed else "good")

"""The account's own form."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User

LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]


class ProfileForm(forms.ModelForm):
    """Name, language and time zone."""

    class Meta:
        model = User
        fields = ["name", "language", "timezone"]
        labels = {"name": _("Name"), "language": _("Language"), "timezone": _("Time zone")}

    # Each in itself, for whoever cannot read this page.
    language = forms.ChoiceField(label=_("Language"), choices=LANGUAGES)
    timezone = forms.CharField(
        label=_("Time zone"),
        max_length=64,
        help_text=_("For the times on these pages. Charges follow each line's own zone."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "name"

    def clean_timezone(self) -> str:
        zone: str = self.cleaned_data["timezone"].strip()
        if zone not in available_timezones():
            raise forms.ValidationError(_("Write a zone such as Asia/Shanghai or Europe/Berlin."))
        return zone

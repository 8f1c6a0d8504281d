"""The account's own form."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from lines import zones
from portal.accounts.models import User

LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]


class ProfileForm(forms.ModelForm):
    """Name, language and time zone; the model knows which zones there are."""

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
        if not zones.is_zone(self.instance.timezone):
            self.fields["timezone"].help_text = _(
                "This zone is not known here, so times are shown in %(zone)s. Write another one."
            ) % {"zone": zones.DEFAULT}

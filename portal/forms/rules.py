"""Forms about a running rule."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

LONGEST_PAUSE = timedelta(days=366)


class DateField(forms.DateField):
    """A date by the browser's own picker, which sends ISO 8601 whatever it shows."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("error_messages", {"invalid": _("Choose a date from the calendar.")})
        widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        super().__init__(widget=widget, input_formats=["%Y-%m-%d"], **kwargs)


class PauseForm(forms.Form):
    """Until when nothing is charged; that day it goes on."""

    until = DateField(label=_("Goes on again on"))

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        if until <= self.today:
            raise forms.ValidationError(_("Choose a day after today."))
        if until - self.today > LONGEST_PAUSE:
            raise forms.ValidationError(_("Choose a day within a year, or stop it instead."))
        return until

"""Form fields of the entrance: what a person types, read by the same parsers as everywhere."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from lines import identifiers


class PhoneField(forms.CharField):
    """A mobile number as people write it; cleans to E.164, or to "" where it may be left out."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Mobile number"))
        kwargs.setdefault("error_messages", {"required": _("Enter the mobile number.")})
        super().__init__(**kwargs)
        self.widget.input_type = "tel"
        self.widget.attrs |= {"autocomplete": "tel", "inputmode": "tel"}

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        try:
            return identifiers.parse_msisdn(text)
        except identifiers.InvalidIdentifier as refusal:
            raise forms.ValidationError(str(refusal.sentence), code="invalid") from refusal

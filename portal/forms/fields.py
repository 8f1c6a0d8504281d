"""Form fields in the domain's own terms: amounts in minor units, identifiers in canonical form."""

from collections.abc import Callable
from typing import Any

from django import forms

from billing import money
from lines.identifiers import InvalidIdentifier


class MoneyField(forms.CharField):
    """An amount as people type it; cleans to minor units, or to None where it is left out."""

    def __init__(self, *, currency: str, **kwargs: Any) -> None:
        self.currency = currency
        super().__init__(max_length=30, **kwargs)
        self.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            return money.parse_amount(text, self.currency)
        except money.InvalidAmount as refusal:
            raise forms.ValidationError(str(refusal.sentence), code="invalid") from refusal


class IdentifierField(forms.CharField):
    """A number, card, chip or code; `parse` raises InvalidIdentifier with a sentence."""

    def __init__(self, *, parse: Callable[[str], Any], **kwargs: Any) -> None:
        self.parse = parse
        super().__init__(**kwargs)
        self.widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        if not text:
            return ""
        try:
            self.parse(text)
        except InvalidIdentifier as refusal:
            raise forms.ValidationError(str(refusal.sentence), code="invalid") from refusal
        return text

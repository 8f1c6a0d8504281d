"""Forms about payment methods."""

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.models import Binding, Rule
from portal import wording


class RemoveForm(forms.Form):
    """What becomes of the rules that charge a payment method when it is removed."""

    def __init__(self, *args: Any, rules: list[Rule], others: list[Binding], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("pause", gettext("Pause them; I choose another payment method later"))]
        for other in others:
            method = f"{wording.rail(other.rail)} {other.label}".strip()
            choices.append((f"move_to:{other.ref}", gettext("Go on with %(m)s") % {"m": method}))
        if rules:
            self.fields["what_of_rules"] = forms.ChoiceField(
                label=_("What happens to these plans?"),
                choices=choices,
                widget=forms.RadioSelect,
                error_messages={"required": _("Choose what happens to these plans.")},
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned.setdefault("what_of_rules", "")
        return cleaned

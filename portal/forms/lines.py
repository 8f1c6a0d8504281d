"""Forms about a line: adding, proving, naming it, and recharging it by hand."""

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.models import Binding
from lines import identifiers
from lines.models import Carrier, Line
from portal import wording
from portal.forms.fields import IdentifierField, MoneyField


class CarrierField(forms.ModelChoiceField):
    """One of the carriers that can be recharged, by its name in the reader's language."""

    def __init__(self, **kwargs: Any) -> None:
        carriers = Carrier.objects.filter(is_enabled=True).order_by("name")
        kwargs.setdefault("label", _("Carrier"))
        kwargs.setdefault("error_messages", {"required": _("Choose the carrier of this line.")})
        super().__init__(carriers, empty_label=_("Choose"), to_field_name="code", **kwargs)

    def label_from_instance(self, obj: Carrier) -> str:
        return wording.carrier(obj)


class _LineForm(forms.Form):
    label = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=40,
        help_text=_("Such as “Mum's phone”: how you will recognise it. May be left out."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    carrier = CarrierField()


class CardForm(_LineForm):
    """A physical card, the FM card."""

    msisdn = IdentifierField(
        label=_("Mobile number"),
        parse=identifiers.parse_msisdn,
        max_length=40,
        widget=forms.TextInput(attrs={"type": "tel", "inputmode": "tel"}),
        error_messages={"required": _("Enter the mobile number.")},
    )
    iccid = IdentifierField(
        label=_("ICCID"),
        parse=identifiers.parse_iccid,
        max_length=60,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text=_("The long number printed on the card; it starts with 89."),
        error_messages={"required": _("Enter the ICCID printed on the card.")},
    )


class EsimForm(_LineForm):
    """An eSIM: its activation code pasted whole, or its parts."""

    activation_code = IdentifierField(
        label=_("Activation code"),
        parse=identifiers.parse_activation_code,
        required=False,
        max_length=600,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Paste it whole. It looks like LPA:1$server$code."),
    )
    smdp_address = IdentifierField(
        label=_("SM-DP+ address"),
        parse=identifiers.parse_smdp_address,
        required=False,
        max_length=255,
    )
    matching_id = IdentifierField(
        label=_("Matching ID"),
        parse=identifiers.parse_matching_id,
        required=False,
        max_length=255,
    )
    eid = IdentifierField(
        label=_("EID"),
        parse=identifiers.parse_eid,
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text=_("32 digits, in the phone's settings. May be left out."),
    )
    iccid = IdentifierField(
        label=_("ICCID"),
        parse=identifiers.parse_iccid,
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text=_("Needed where the eSIM has no phone number."),
    )
    msisdn = IdentifierField(
        label=_("Mobile number"),
        parse=identifiers.parse_msisdn,
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"type": "tel", "inputmode": "tel"}),
        help_text=_("An eSIM without a number: leave it empty, and fill in its ICCID below."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self._has_neither("activation_code", "smdp_address"):
            self.add_error(
                "activation_code",
                _("Paste the activation code, or fill in the SM-DP+ address below."),
            )
        if self._has_neither("msisdn", "iccid"):
            self.add_error("msisdn", _("Enter the mobile number or the ICCID of this eSIM."))
        return cleaned

    def _has_neither(self, first: str, second: str) -> bool:
        """Both were left empty; one that was typed wrong says so itself."""
        return not any(
            self.cleaned_data.get(name) or name in self.errors for name in (first, second)
        )


class ProofForm(forms.Form):
    """The code that was sent to the number."""

    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
        error_messages={"required": _("Enter the code from the text message.")},
    )


class RenameForm(forms.Form):
    """What the owner calls it."""

    label = forms.CharField(
        label=_("Name"),
        max_length=40,
        error_messages={"required": _("Give the line a name.")},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class ByHandForm(forms.Form):
    """One recharge now. `once` makes a second press of the button the same recharge."""

    once = forms.CharField(max_length=26, widget=forms.HiddenInput)

    def __init__(self, *args: Any, line: Line, bindings: list[Binding], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["face"] = amount_field(line)
        self.fields["binding"] = binding_field(bindings)
        self.order_fields(["face", "binding", "once"])


def amount_field(line: Line) -> forms.Field:
    """What the carrier sells: a choice among denominations, or an amount within its bounds."""
    sold, currency = line.carrier.denominations_minor, line.currency
    required = {"required": _("Choose an amount.")}
    if sold:
        return forms.TypedChoiceField(
            label=_("Amount"),
            choices=[(minor, wording.short_money(minor, currency)) for minor in sold],
            coerce=int,
            widget=forms.RadioSelect,
            error_messages=required | {"invalid_choice": _("The carrier does not sell that.")},
        )
    least = wording.short_money(line.carrier.min_amount_minor, currency)
    most = wording.short_money(line.carrier.max_amount_minor, currency)
    return MoneyField(
        label=_("Amount"),
        currency=currency,
        help_text=_("From %(least)s to %(most)s.") % {"least": least, "most": most},
        error_messages=required,
    )


def binding_field(
    bindings: list[Binding], *, nothing: str | Promise = "", **kwargs: Any
) -> forms.TypedChoiceField:
    """A choice among the person's own payment methods, by their references; or `nothing`."""
    by_ref = {binding.ref: binding for binding in bindings}
    choices = [("", nothing)] if nothing else []
    choices += [(ref, _binding_words(binding)) for ref, binding in by_ref.items()]
    kwargs.setdefault("label", _("Payment method"))
    return forms.TypedChoiceField(
        choices=choices,
        coerce=by_ref.get,
        empty_value=None,
        widget=kwargs.pop("widget", forms.RadioSelect),
        error_messages={
            "required": _("Choose a payment method."),
            "invalid_choice": _("Choose one of your payment methods."),
        },
        **kwargs,
    )


def _binding_words(binding: Binding) -> str:
    return f"{wording.rail(binding.rail)} {binding.label}".strip()

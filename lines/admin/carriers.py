from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines import markets, operations
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import SettingAdmin, in_language, label
from lines.models import Carrier

_NOTICE = "notice_before_deduction_h"
DEFER = Act(
    verb="defer-carrier",
    label=_("Hold credits back"),
    explanation=_(
        "Credits at this carrier wait from now on, and charges for its lines with them. Nothing is"
        " dropped: they drain once you release them."
    ),
    permission="lines.defer_carrier",
    is_legal=lambda carrier: carrier.deferred_since is None,
    run=lambda carrier, *, actor, reason, at: operations.defer_carrier(carrier=carrier, at=at),
    refusals={operations.AlreadyDeferred: _("The credits are held back already.")},
    is_grave=True,
)
RESUME = Act(
    verb="resume-carrier",
    label=_("Release credits"),
    explanation=_("What waits for this carrier goes on within a minute."),
    permission="lines.defer_carrier",
    is_legal=lambda carrier: carrier.deferred_since is not None,
    run=lambda carrier, *, actor, reason, at: operations.resume_carrier(carrier=carrier),
    refusals={operations.NotDeferred: _("The credits are not held back.")},
)


class CarrierForm(forms.ModelForm):
    """Amounts sold are kept ascending, each once; the token is sent nowhere unsafe; a new one keeps
    to the law of its market, unless it is said otherwise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        notice = self.fields.get(_NOTICE)
        if notice is not None and self.instance.pk is None:
            self.initial.pop(_NOTICE, None)
            notice.initial, notice.required = None, False
            notice.help_text = _("%(what)s Left empty: what the law of its market asks for.") % {
                "what": notice.help_text
            }

    def clean_base_url(self) -> str:
        url: str = self.cleaned_data["base_url"]
        if not _may_have_the_token(url):
            raise forms.ValidationError(
                _("Write https://host/path: the carrier's token is sent there with every call.")
            )
        return url

    def clean_denominations_minor(self) -> list[int]:
        sold: list[int] = self.cleaned_data["denominations_minor"] or []
        if 0 in sold:
            raise forms.ValidationError(_("An amount sold is more than nothing."))
        return sorted(set(sold))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        smallest, largest = cleaned.get("min_amount_minor"), cleaned.get("max_amount_minor")
        if smallest is not None and largest is not None and smallest > largest:
            self.add_error("max_amount_minor", _("Below the smallest amount: raise it."))
        if _NOTICE in cleaned and cleaned[_NOTICE] is None:
            cleaned[_NOTICE] = markets.notice_h(currency=cleaned.get("currency", ""))
        return cleaned


def _may_have_the_token(url: str) -> bool:
    """Over TLS, or to this very machine; never where a cloud keeps its machines' credentials."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        is_here, is_secret = host == "localhost", host == "metadata.google.internal"
    else:
        address = getattr(address, "ipv4_mapped", None) or address
        is_here = address.is_loopback
        is_secret = address.is_link_local or address.is_unspecified or address.is_multicast
    if is_secret or parts.username is not None or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_here)


@admin.register(Carrier)
class CarrierAdmin(ActsMixin, SettingAdmin):
    """Carriers: what they sell and how they are reached; and the incident switch."""

    form = CarrierForm
    acts = (DEFER, RESUME)
    list_display = ("names", "code", "currency", "standing", "deferred_since")
    list_filter = ("is_enabled", "currency")
    ordering = ("code",)
    readonly_fields = ("deferred_since",)
    fieldsets = (
        (None, {"fields": ("code", "name", "name_en", "is_enabled", "deferred_since")}),
        (
            _("What it sells"),
            {
                "fields": ("currency", "denominations_minor", "min_amount_minor",
                           "max_amount_minor", "max_balance_minor"),
                "description": _("Amounts in minor units: 5000 is ¥50.00."),
            },
        ),
        (_("What its market's law asks for"), {"fields": ("notice_before_deduction_h",)}),
        (
            _("How it is reached"),
            {"fields": ("adapter", "base_url", "reference_field", "can_query_by_reference",
                        "permanent_codes", "timezone")},
        ),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Carrier | None = None) -> Any:
        # Ledger accounts, tokens and lines go by the code; lines' balances by the currency.
        return (*self.readonly_fields, "code", "currency") if obj else self.readonly_fields

    @display(description=_("carrier"), ordering="name")
    def names(self, carrier: Carrier) -> str:
        return in_language(carrier.name, carrier.name_en)

    @display(description=_("state"))
    def standing(self, carrier: Carrier) -> Any:
        if not carrier.is_enabled:
            return label(_("off"), "bad")
        if carrier.deferred_since:
            return label(_("held back"), "warn")
        return label(_("running"), "good")

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from billing.admin import words
from billing.models import Promotion, PromotionUse, Rail
from billing.states import Trigger
from lines.admin.base import (
    RecordAdmin,
    SettingAdmin,
    in_language,
    label,
    link,
    money,
    plain,
    state,
)
from lines.admin.searching import SearchMixin, lines
from lines.models import Carrier


class PromotionForm(forms.ModelForm):
    """One measure, a window that ends after it begins, a budget that holds what is promised."""

    rails = forms.MultipleChoiceField(
        label=capfirst(_("payment rails")),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    carriers = forms.MultipleChoiceField(
        label=capfirst(_("carriers")),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    triggers = forms.MultipleChoiceField(
        label=capfirst(_("trigger")), required=False, choices=Trigger.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("rails", Rail.objects.order_by("sort_order", "code"))
        self._offer("carriers", Carrier.objects.order_by("code"))
        for name, words_ in (("starts_at", _("begins at")), ("ends_at", _("ends at"))):
            if name in self.fields:
                self.fields[name].label = capfirst(words_)

    def _offer(self, name: str, rows: Iterable[Rail | Carrier]) -> None:
        """What exists to be ticked: a misspelt code would quietly reach nobody."""
        field: Any = self.fields.get(name)
        if field is not None:
            field.choices = [(one.code, in_language(one.name, one.name_en)) for one in rows]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self._one_measure(cleaned)
        self._window(cleaned)
        self._budget(cleaned)
        return cleaned

    def _one_measure(self, cleaned: dict[str, Any]) -> None:
        share, fixed = cleaned.get("basis_points"), cleaned.get("fixed_minor")
        if (share is None) == (fixed is None):
            self.add_error("fixed_minor", _("Give either a share or a fixed amount, not both."))
        elif share is not None and not 0 < share <= 10_000:
            self.add_error("basis_points", _("A share is between 1 and 10000 (100 %)."))
        elif fixed == 0:
            self.add_error("fixed_minor", _("A benefit is more than nothing."))

    def _window(self, cleaned: dict[str, Any]) -> None:
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("It must end after it begins."))

    def _budget(self, cleaned: dict[str, Any]) -> None:
        """Against the row as it is this moment, locked until the change is saved."""
        budget_minor = cleaned.get("budget_minor")
        if budget_minor is None or not self.instance.pk:
            return
        locked = Promotion.objects.select_for_update(no_key=True).get(pk=self.instance.pk)
        promised_minor = locked.reserved_minor + locked.consumed_minor
        if budget_minor < promised_minor:
            words_ = gettext("%(amount)s is reserved or consumed already: no less than %(n)s.")
            amount = words.amount(promised_minor, locked.currency)
            self.add_error("budget_minor", words_ % {"amount": amount, "n": promised_minor})


@admin.register(Promotion)
class PromotionAdmin(SettingAdmin):
    """Promotions. What a recharge was quoted stays as it was, whatever is changed here."""

    form = PromotionForm
    list_display = ("names", "code", "standing", "kind", "measure", "begins", "ends",
                    "budget", "reserved", "consumed")  # fmt: skip
    list_filter = ("is_enabled", "kind", "stacking")
    search_fields = ("code", "name", "name_en")
    search_help_text = _("Code or name")
    ordering = ("-pk",)
    readonly_fields = ("reserved", "consumed")
    fieldsets = (
        (None, {"fields": ("code", "name", "name_en", "is_enabled")}),
        (
            _("What it gives"),
            {
                "fields": ("kind", "basis_points", "fixed_minor", "max_benefit_minor", "currency",
                           "stacking"),
                "description": _(
                    "A share in basis points (150 is 1.5 %) or a fixed amount in minor units (500"
                    " is ¥5.00)."
                ),
            },
        ),
        (
            _("When and to whom"),
            {
                "fields": ("starts_at", "ends_at", "rails", "carriers", "triggers",
                           "min_face_minor", "max_uses_per_line"),
                "description": _("Nothing ticked means everyone."),
            },
        ),
        (_("Budget"), {"fields": ("budget_minor", "reserved", "consumed")}),
    )  # fmt: skip

    begins = plain("starts_at", _("begins at"))
    ends = plain("ends_at", _("ends at"))
    budget = money("budget_minor", description=_("budget"))
    reserved = money("reserved_minor", description=_("reserved"))
    consumed = money("consumed_minor", description=_("consumed"))

    def get_readonly_fields(self, request: HttpRequest, obj: Promotion | None = None) -> Any:
        return (*self.readonly_fields, "code", "currency") if obj else self.readonly_fields

    @display(description=_("promotion"), ordering="name")
    def names(self, promotion: Promotion) -> str:
        return in_language(promotion.name, promotion.name_en)

    @display(description=_("benefit"))
    def measure(self, promotion: Promotion) -> str:
        if promotion.basis_points is not None:
            whole, part = divmod(promotion.basis_points, 100)
            return f"{whole}.{part:02d} %"
        return words.amount(promotion.fixed_minor or 0, promotion.currency)

    @display(description=_("state"))
    def standing(self, promotion: Promotion) -> Any:
        at = now()
        if not promotion.is_enabled:
            return label(_("off"))
        if at < promotion.starts_at:
            return label(_("to come"))
        if at >= promotion.ends_at:
            return label(_("over"))
        used_minor = promotion.reserved_minor + promotion.consumed_minor
        if promotion.budget_minor is not None and used_minor >= promotion.budget_minor:
            return label(_("budget spent"), "warn")
        return label(_("running"), "good")


@admin.register(PromotionUse)
class PromotionUseAdmin(SearchMixin, RecordAdmin):
    """What promotions gave to recharges."""

    list_display = ("promotion", "recharge_link", "line_link", "amount", "state_label")
    list_filter = ("state", "promotion")
    list_select_related = ("promotion", "recharge", "line")
    ordering = ("-pk",)
    fields = ("promotion", "recharge_link", "line_link", "amount", "state_label")

    recharge_link = link("recharge", description=_("recharge"))
    line_link = link("line", description=_("line"), text="masked")
    amount = money("amount_minor", currency="recharge.currency", description=_("amount"))
    state_label = state({"consumed": "good"})

    def found(self, term: str) -> Q:
        return Q(recharge__ref=term.upper()) | Q(line__in=lines(term))

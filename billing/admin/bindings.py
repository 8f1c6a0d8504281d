from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from billing.admin import columns, tones, words
from billing.bindings import breaker
from billing.models import Binding, DeclineCode, Rail, SpendingCap
from billing.operators import operations
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import (
    RecordAdmin,
    SettingAdmin,
    in_language,
    label,
    link,
    money,
    plain,
    related,
    said,
    state,
    switched,
)
from lines.admin.searching import SearchMixin, people

UNPAUSE = Act(
    verb="unpause-binding",
    label=_("Let it be charged again"),
    explanation=_(
        "Closes the breaker: the payment method may be charged again, and the count of failures"
        " starts anew."
    ),
    permission="billing.unpause_binding",
    is_legal=lambda binding: binding.paused_at is not None,
    run=lambda binding, *, actor, reason, at: operations.unpause_binding(
        binding=binding, actor=actor, at=at
    ),
    refusals={
        operations.NotPaused: _("It is not paused any more."),
        breaker.BindingNotUsable: _("The agreement has ended: its owner binds another one."),
    },
)
DEFER = Act(
    verb="defer-rail",
    label=_("Hold charges back"),
    explanation=_(
        "Charges through this rail wait from now on. Nothing is dropped: they drain, inside their"
        " time windows, once you release them."
    ),
    permission="billing.defer_rail",
    is_legal=lambda rail: rail.deferred_since is None,
    run=lambda rail, *, actor, reason, at: operations.defer_rail(rail=rail, at=at),
    refusals={operations.AlreadyDeferred: _("The charges are held back already.")},
    is_grave=True,
)
RESUME = Act(
    verb="resume-rail",
    label=_("Release charges"),
    explanation=_("What waits for this rail goes on within a minute."),
    permission="billing.defer_rail",
    is_legal=lambda rail: rail.deferred_since is not None,
    run=lambda rail, *, actor, reason, at: operations.resume_rail(rail=rail),
    refusals={operations.NotDeferred: _("The charges are not held back.")},
)


class RailForm(forms.ModelForm):
    """A ladder climbs: each wait is longer than the one before."""

    def clean_retry_ladder_s(self) -> list[int]:
        ladder: list[int] = self.cleaned_data["retry_ladder_s"] or []
        if ladder != sorted(set(ladder)) or 0 in ladder:
            raise forms.ValidationError(
                _("Each wait is longer than the one before, such as 21600, 86400, 259200.")
            )
        return ladder


@admin.register(Rail)
class RailAdmin(ActsMixin, SettingAdmin):
    """Payment rails: names, duties, ladders; and the incident switch."""

    acts = (DEFER, RESUME)
    form = RailForm
    list_display = ("names", "code", "standing", "deferred_since", "mandatory_notice_days")
    ordering = ("sort_order", "code")
    readonly_fields = ("code", "deferred_since")
    fields = ("code", "name", "name_en", "is_enabled", "deferred_since", "mandatory_notice_days",
              "retry_ladder_s", "fee_rate_ppm")  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        # A rail is code: it appears with the release that speaks it.
        return False

    @display(description=_("payment rail"), ordering="name")
    def names(self, rail: Rail) -> str:
        return in_language(rail.name, rail.name_en)

    @display(description=_("state"))
    def standing(self, rail: Rail) -> Any:
        if not rail.is_enabled:
            return label(_("off"), "bad")
        if rail.deferred_since:
            return label(_("held back"), "warn")
        return label(_("running"), "good")


@admin.register(Binding)
class BindingAdmin(ActsMixin, SearchMixin, RecordAdmin):
    """Payment methods as their rails report them. The agreement's number is never shown."""

    acts = (UNPAUSE,)
    list_display = ("ref", "by", "label", "owner_link", "state_label", "breaker", "expires_at",
                    "created_at")  # fmt: skip
    list_filter = ("state", switched("paused_at", _("paused by the system")),
                   columns.by_rail("rail"))  # fmt: skip
    list_select_related = ("owner", "rail")
    ordering = ("-pk",)
    fields = ("ref", "by", "label", "owner_link", "state_label", "is_default", "breaker",
              "pause", "failures", "most_month", "created_at", "signed_at",
              "expires_at", "ended_at", "checked_at", "asked_next", "more")  # fmt: skip

    by = columns.rail("rail_id")
    owner_link = link("owner", description=_("owner"))
    state_label = state(tones.BINDING)
    failures = plain("failures_in_a_row", _("failures in a row"))
    asked_next = plain("check_at", _("next asked for at"))

    @display(description=_("breaker"), ordering="paused_at")
    def breaker(self, binding: Binding) -> Any:
        return label(_("paused by the system"), "bad") if binding.paused_at else label(_("closed"))

    @display(description=_("why it is paused"))
    def pause(self, binding: Binding) -> str:
        if binding.paused_at is None:
            return "-"
        why = words.reason(binding.pause_reason, {}, timezone="", at=binding.paused_at)
        return said(why.title, why.sentence)

    @display(description=_("most a month"))
    def most_month(self, binding: Binding) -> str:
        # One person pays in one currency today; the lines' caps say which.
        minor = binding.max_per_month_minor
        return "-" if minor is None else words.amount(minor, "CNY")

    @display(description=_("more of this payment method"))
    def more(self, binding: Binding) -> Any:
        lists = (
            ("billing_rule", "binding__id__exact", _("auto-recharge rules")),
            ("billing_recharge", "binding__id__exact", _("recharges")),
        )
        return related(lists, binding.pk)

    def facts(self, subject: Binding) -> list[tuple[Any, Any]]:
        return [
            (_("payment method"), words.method(subject)),
            (_("owner"), subject.owner),
            (_("why it is paused"), self.pause(subject)),
        ]

    def found(self, term: str) -> Q:
        return Q(ref=term.upper()) | Q(owner__in=people(term))


@admin.register(SpendingCap)
class SpendingCapAdmin(SearchMixin, SettingAdmin):
    """The most one person's lines may take together in a month."""

    list_display = ("owner_link", "most_month", "money_of")
    list_select_related = ("owner",)
    ordering = ("-pk",)
    fields = ("owner", "max_per_month_minor", "currency")
    raw_id_fields = ("owner",)

    owner_link = link("owner", description=_("owner"))
    most_month = money("max_per_month_minor", description=_("most a month"))
    money_of = plain("currency", _("currency"))

    def get_readonly_fields(self, request: HttpRequest, obj: SpendingCap | None = None) -> Any:
        return ("owner", "currency") if obj else ()

    def found(self, term: str) -> Q:
        return Q(owner__in=people(term))


class DeclineCodeForm(forms.ModelForm):
    """A code of a rail there is: under any other name it would quietly mean nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "rail" in self.fields:  # of a new one alone
            self.fields["rail"] = forms.ChoiceField(
                label=capfirst(_("payment rail")),
                choices=columns.rails(),
                widget=UnfoldAdminSelectWidget,
            )


@admin.register(DeclineCode)
class DeclineCodeAdmin(SettingAdmin):
    """What rails' codes mean. A code that is not listed means: ask, never assume."""

    form = DeclineCodeForm
    list_display = ("code", "by", "decline_class", "note")
    list_filter = (columns.by_rail(), "decline_class")
    ordering = ("rail", "code")
    search_fields = ("code", "note")
    search_help_text = _("Code or note")
    list_before_template = "admin/billing/declinecode/unlisted.html"
    fieldsets = (
        (
            None,
            {
                "fields": ("rail", "code", "decline_class", "note"),
                "description": _(
                    "Counts for answers from now on. What has been decided stays; every change is"
                    " kept under History, old value and new."
                ),
            },
        ),
    )

    by = columns.rail()

    def get_readonly_fields(self, request: HttpRequest, obj: DeclineCode | None = None) -> Any:
        return ("rail", "code") if obj else ()

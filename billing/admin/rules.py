from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing.admin import columns, words
from billing.models import Consent, Decision, Rule
from billing.operators import operations
from billing.words.decisions import DECISIONS
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import (
    RecordAdmin,
    among,
    label,
    link,
    money,
    period,
    plain,
    related,
    said,
    switched,
)
from lines.admin.searching import SearchMixin, lines, of_owner_or_line

RESUME = Act(
    verb="resume-rule",
    label=_("Let it go on"),
    explanation=_(
        "Takes the system's pause off. The rule is looked at at once and may charge within seconds;"
        " its owner's own switch and pause stay as they are."
    ),
    permission="billing.resume_rule",
    is_legal=lambda rule: rule.is_on and rule.paused_at is not None,
    run=lambda rule, *, actor, reason, at: operations.resume_rule(rule=rule, at=at),
    refusals={
        operations.RuleNotPaused: _("The system has not paused it, or its owner has stopped it."),
        operations.NeedsOwner: _(
            "The line is gone or has another SIM: only its owner can confirm the rule again."
        ),
        operations.MethodNotUsable: _(
            "Its payment method is paused or has ended: mend that first."
        ),
    },
)


def standing(rule: Rule) -> SafeString:
    """What the rule is doing. "On" is never said of a pause."""
    if not rule.is_on:
        return label(_("off"))
    if rule.paused_at is not None:
        return label(_("paused by the system"), "bad")
    if rule.paused_until is not None and rule.paused_until > now():
        return label(_("paused by the owner"), "warn")
    return label(_("on"), "good")


@admin.register(Rule)
class RuleAdmin(ActsMixin, SearchMixin, RecordAdmin):
    """Rules as their owners confirmed them. Nobody but the owner turns one on or edits it."""

    acts = (RESUME,)
    list_display = ("line_link", "owner_link", "standing", "face", "cycle", "threshold",
                    "next_run_at", "binding_link")  # fmt: skip
    list_filter = ("is_on", switched("paused_at", _("paused by the system")), "cycle",
                   "line__carrier")  # fmt: skip
    list_select_related = ("line__owner", "binding__rail")
    ordering = ("-pk",)
    fieldsets = (
        (
            _("How it stands"),
            {"fields": ("standing", "pause", "line_link", "owner_link", "binding_link",
                        "fallback_link", "public_name", "edits", "consent_link", "more")},
        ),
        (
            _("What was agreed"),
            {"fields": ("face", "cycle", "anchor_date", "charge_time", "threshold", "topup_mode",
                        "target", "expiry_days_before", "most_charge", "max_per_day_count",
                        "most_month", "remind_low_balance", "remind_days_before",
                        "remind_result", "channels")},
        ),
        (
            _("What comes next"),
            {"fields": ("next_run_at", "looked_at_next", "told_next", "is_armed",
                        "cooldown_until", "paused_until")},
        ),
        (_("Why, why not"), {"fields": ("decisions",)}),
    )  # fmt: skip

    line_link = link("line", description=_("line"), text="masked")
    owner_link = link("line.owner", description=_("owner"), ordering="line__owner")
    binding_link = columns.method()
    fallback_link = columns.method("fallback_binding", description=_("second payment method"))
    consent_link = link("consent", description=_("consent"))
    public_name = plain("public_id", _("public ID"))
    edits = plain("version", _("version"))
    looked_at_next = plain("wake_at", _("next looked at"))
    told_next = plain("notify_at", _("next reminder"))
    face = money("face_minor", description=_("amount"))
    threshold = money("threshold_minor", description=_("low balance below"))
    target = money("target_minor", description=_("top up to"))
    most_charge = money("max_per_charge_minor", description=_("most a charge"))
    most_month = money("max_per_month_minor", description=_("most a month"))

    @display(description=_("state"), ordering="is_on")
    def standing(self, rule: Rule) -> SafeString:
        return standing(rule)

    @display(description=_("why it is paused"))
    def pause(self, rule: Rule) -> str:
        if rule.paused_at is None:
            return "-"
        why = words.reason(rule.pause_reason, {}, timezone=rule.line.timezone, at=rule.paused_at)
        return said(why.title, why.sentence)

    @display(description=_("the last decisions"))
    def decisions(self, rule: Rule) -> SafeString:
        """The last twenty, in the words the subscriber reads."""
        found = rule.decisions.select_related("rule__line").order_by("-at")[:20]
        rows = []
        for one in found:
            why = words.decision(one)
            when = date_format(localtime(one.at), "SHORT_DATETIME_FORMAT")
            rows.append((when, why.title, why.sentence, one.code))
        if not rows:
            return format_html("{}", gettext("No decision yet."))
        items = format_html_join(
            "",
            '<li><time>{}</time> <b>{}</b><br>{} <code class="k-code">{}</code></li>',
            rows,
        )
        return format_html('<ol class="k-plain-list">{}</ol>', items)

    @display(description=_("more of this rule"))
    def more(self, rule: Rule) -> SafeString:
        lists = (
            ("billing_recharge", "rule__id__exact", _("recharges")),
            ("billing_decision", "rule__id__exact", _("decisions")),
        )
        return related(lists, rule.pk)

    def facts(self, subject: Rule) -> list[tuple[Any, Any]]:
        return [(_("line"), subject.line), (_("why it is paused"), self.pause(subject))]

    def found(self, term: str) -> Q:
        return Q(public_id=term.upper()) | of_owner_or_line(term, owner="line__owner_id")


@admin.register(Consent)
class ConsentAdmin(SearchMixin, RecordAdmin):
    """What people agreed to, word for word."""

    list_display = ("at", "owner_link", "line_link", "text_version", "spoken")
    list_filter = (period("at"),)
    list_select_related = ("owner", "line")
    ordering = ("-pk",)
    fields = ("at", "owner_link", "line_link", "binding_link", "text", "text_version", "spoken",
              "on_record", "ip", "browser")  # fmt: skip

    owner_link = link("owner", description=_("owner"))
    line_link = link("line", description=_("line"), text="masked")
    binding_link = columns.method()
    spoken = plain("language", _("language"))
    browser = plain("user_agent", _("browser"))
    on_record = display(description=_("plan on record"))(
        lambda self, consent: words.figures(consent.plan)
    )

    def found(self, term: str) -> Q:
        return of_owner_or_line(term)


def _reasons() -> list[tuple[str, str]]:
    """Every reason a decision can have, by its title."""
    titles = {code: words.title(code) for code in DECISIONS}
    return sorted(titles.items(), key=lambda one: one[1])


@admin.register(Decision)
class DecisionAdmin(SearchMixin, RecordAdmin):
    """Why rules did or did not charge."""

    list_display = ("at", "line_link", "title", "trigger", "is_charge", "recharge_link")
    list_filter = ("is_charge", among("code", _("reason"), _reasons), "trigger", period("at"))
    list_select_related = ("rule__line", "recharge")
    ordering = ("-pk",)
    fields = ("at", "line_link", "rule_link", "trigger", "occasion", "title", "sentence", "code",
              "is_charge", "figures", "recharge_link")  # fmt: skip

    line_link = link("rule.line", description=_("line"), text="rule.line.masked")
    rule_link = link("rule", description=_("rule"))
    occasion = plain("period_key", _("occasion"))
    figures = display(description=_("the figures behind it"))(
        lambda self, one: words.figures(one.facts)
    )
    recharge_link = link("recharge", description=_("recharge"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("rule__line")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup == "rule__line__id__exact" or super().lookup_allowed(lookup, value, request)

    @display(description=_("reason"), ordering="code")
    def title(self, one: Decision) -> str:
        return words.decision(one).title

    @display(description=_("what the subscriber reads"))
    def sentence(self, one: Decision) -> str:
        return words.decision(one).sentence

    def found(self, term: str) -> Q:
        return Q(rule__line__in=lines(term)) | Q(rule__public_id=term.upper())

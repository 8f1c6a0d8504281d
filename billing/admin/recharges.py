from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing.admin import advice, columns, timeline, tones, waits, words
from billing.admin.recharge_acts import ACTS
from billing.models import Consent, PaymentAttempt, Recharge, RechargeMove, Refund
from billing.states import RefundState, SettlementState
from lines.admin.acts import ActsMixin, Button
from lines.admin.base import RecordAdmin, StoryMixin, label, link, money, page_url, period, state
from lines.admin.searching import SearchMixin, of_owner_or_line
from lines.models import Delivery

_ASKED = SettlementState.REQUESTED


class Attention(admin.SimpleListFilter):
    """What waits for a person, as the front page counts it."""

    title = _("needs a person")
    parameter_name = "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.exclude(attention="") if self.value() else queryset


@admin.register(Recharge)
class RechargeAdmin(StoryMixin, ActsMixin, SearchMixin, RecordAdmin):
    """Recharges; the page of one is its whole story and what may be done now."""

    acts = ACTS
    page_template = "admin/billing/recharge/page.html"
    list_display = ("ref", "created_at", "standing", "line_link", "owner_link", "price", "by",
                    "trigger")  # fmt: skip
    list_filter = (Attention, "state", "trigger", columns.by_rail(), period("created_at"))
    list_select_related = ("line", "owner")
    ordering = ("-pk",)
    search_help_text = _(
        "Reference of a recharge, payment, order or refund; the rail's own number; e-mail address;"
        " or the last 4 figures of a number"
    )

    line_link = link("line", description=_("line"), text="masked")
    owner_link = link("owner", description=_("owner"))
    price = money("price_minor", description=_("charged"))
    by = columns.rail()

    @display(description=_("state"), ordering="state")
    def standing(self, recharge: Recharge) -> SafeString:
        """Its state, and beneath it what waits for a person."""
        shown = label(words.state(recharge.state), tones.RECHARGE.get(recharge.state, ""))
        if not recharge.attention:
            return shown
        return format_html("{}<br>{}", shown, label(words.title(recharge.attention), "bad"))

    def facts(self, subject: Recharge) -> list[tuple[Any, Any]]:
        return [
            (_("charged"), words.amount(subject.price_minor, subject.currency)),
            (_("line"), subject.line),
            (_("payment method"), words.method(subject.binding)),
            (_("state"), words.state(subject.state)),
        ]

    def found(self, term: str) -> Q:
        return Q(pk__in=_by_reference(term)) | of_owner_or_line(term)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        related = ("line__carrier", "owner", "rule", "binding__rail")
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*related)

    def page_context(self, request: HttpRequest, recharge: Recharge) -> dict[str, Any]:
        """The story, the money, and the legal operations."""
        events = timeline.of(recharge)
        buttons = [
            *self.buttons(request, recharge),
            *self._buttons_of(request, _refunds_under_way(recharge)),
            *self._buttons_of(request, recharge.settlements.filter(state=_ASKED)),
        ]
        waiting = waits.of(recharge, buttons=buttons)
        return {
            "title": recharge.ref,
            "recharge": recharge,
            "buttons": buttons,
            "cases": waiting,
            "other_buttons": [one for one in buttons if not _is_shown(one, waiting)],
            "advice": advice.of(recharge),
            "method": words.method(recharge.binding),
            "consent": _consent(recharge),
            "state": label(
                words.state(recharge.state),
                tones.RECHARGE.get(recharge.state, ""),
            ),
            "figures": _figures(recharge),
            "why": timeline.why(events),
            "events": [(event, _page_of(event.url_of)) for event in events],
        }

    def _buttons_of(self, request: HttpRequest, others: QuerySet[Any]) -> list[Button]:
        """What may be done to what is under way for it, from the page that tells why."""
        their_admin: Any = self.admin_site.get_model_admin(others.model)
        return [button for one in others for button in their_admin.buttons(request, one)]


def _is_shown(button: Button, waiting: Sequence[waits.Waiting]) -> bool:
    return any(button in one.buttons for one in waiting)


def _refunds_under_way(recharge: Recharge) -> QuerySet[Refund]:
    return recharge.refunds.exclude(state__in=[RefundState.SUCCEEDED, RefundState.REFUSED])


def _by_reference(term: str) -> list[int]:
    """Recharges that this reference, ours or the rail's, belongs to."""
    ref = term.upper()
    found = [
        Recharge.objects.filter(ref=ref).values_list("pk", flat=True),
        PaymentAttempt.objects.filter(reference=ref).values_list("recharge_id", flat=True),
        PaymentAttempt.objects.filter(provider_ref=term)
        .exclude(provider_ref="")
        .values_list("recharge_id", flat=True),
        Refund.objects.filter(reference=ref).values_list("recharge_id", flat=True),
        Recharge.objects.filter(
            ref__in=list(Delivery.objects.filter(reference=ref).values_list("order_ref", flat=True))
        ).values_list("pk", flat=True),
    ]
    return [pk for ids in found for pk in ids[:20]]


def _figures(recharge: Recharge) -> list[tuple[Any, str]]:
    """The money of one recharge, from what was agreed to what happened."""
    currency = recharge.currency
    rows: list[tuple[Any, int | None]] = [
        (_("face value"), recharge.face_minor),
        (_("discount"), recharge.discount_minor or None),
        (_("bonus"), recharge.bonus_minor or None),
        (_("price"), recharge.price_minor),
        (_("owed to the line"), recharge.credit_minor),
        (_("announced, at most"), recharge.announced_minor),
        (_("credited, by the carrier's figure"), recharge.credited_minor),
        (_("refunded or being refunded"), recharge.refund_committed_minor or None),
    ]
    instants = (
        (_("charged no earlier than"), recharge.earliest_charge_at),
        (_("charged no later than"), recharge.latest_charge_at),
    )
    return [
        (name, words.amount(amount_minor, currency))
        for name, amount_minor in rows
        if amount_minor is not None
    ] + [
        (name, date_format(timezone.localtime(at), "DATETIME_FORMAT"))
        for name, at in instants
        if at is not None
    ]


def _consent(recharge: Recharge) -> Consent | None:
    """What its owner had agreed to when it began; nothing of one that was asked for by hand."""
    if recharge.rule_id is None:
        return None
    agreed = Consent.objects.filter(line=recharge.line_id, at__lte=recharge.created_at)
    return agreed.order_by("-at").first()


def _page_of(other: Any) -> str:
    return page_url(other) if other is not None else ""


@admin.register(RechargeMove)
class RechargeMoveAdmin(SearchMixin, RecordAdmin):
    """Every move of every recharge."""

    list_display = ("at", "recharge_link", "came_from", "target", "why", "actor", "note")
    list_filter = ("target", period("at"))
    list_select_related = ("recharge", "actor")
    ordering = ("-pk",)
    fields = ("at", "recharge_link", "came_from", "target", "why", "because", "note", "actor")

    recharge_link = link("recharge", description=_("recharge"))

    @display(description=_("from"), ordering="source")
    def came_from(self, move: RechargeMove) -> str:
        return words.state(move.source) if move.source else "-"

    @display(description=_("reason"), ordering="because")
    def why(self, move: RechargeMove) -> str:
        return words.title(move.because)

    def found(self, term: str) -> Q:
        return Q(recharge__in=_by_reference(term))


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(SearchMixin, RecordAdmin):
    """Every reference sent to a rail."""

    list_display = ("reference", "created_at", "recharge_link", "by", "amount", "state_label",
                    "code", "settled_at")  # fmt: skip
    list_filter = ("state", columns.by_rail(), "decline_class", period("created_at"))
    list_select_related = ("recharge",)
    ordering = ("-pk",)
    fields = ("reference", "recharge_link", "number", "by", "binding_link", "amount",
              "state_label", "provider_ref", "code", "decline_class", "created_at",
              "settled_at")  # fmt: skip

    recharge_link = link("recharge", description=_("recharge"))
    by = columns.rail()
    binding_link = columns.method()
    amount = money("amount_minor", description=_("amount"))
    state_label = state(tones.ATTEMPT)

    def found(self, term: str) -> Q:
        return Q(recharge__in=_by_reference(term))

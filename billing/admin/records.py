from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing.admin import columns, tones, words
from billing.ledger import transfers
from billing.models import InboundNotification, Notice, NoticeDelivery, Rail, RailCall, Transfer
from billing.notices import telling
from lines.admin.base import (
    RecordAdmin,
    among,
    in_language,
    label,
    link,
    money,
    period,
    plain,
    said,
    state,
)
from lines.admin.searching import SearchMixin, of_owner_or_line
from lines.models import Carrier


def _sources() -> list[tuple[str, str]]:
    """Who may tell us something: each rail and each carrier."""
    rails = Rail.objects.order_by("sort_order", "code").values_list("code", flat=True)
    carriers = Carrier.objects.order_by("code")
    return [
        *((transfers.rail(code), words.rail(code)) for code in rails),
        *((transfers.carrier(one.code), in_language(one.name, one.name_en)) for one in carriers),
    ]


def _accounts() -> list[tuple[str, str]]:
    """The accounts of the books, by the names they have there."""
    ours = (transfers.UNDELIVERED, transfers.PROMOTION, transfers.FEES)
    return [(account, account) for account in (*(code for code, _name in _sources()), *ours)]


@admin.register(Transfer)
class TransferAdmin(SearchMixin, RecordAdmin):
    """The books: single-row transfers, append only."""

    list_display = ("at", "kind", "amount", "source", "destination", "recharge_link", "reference")
    list_filter = (
        "kind",
        among("source", _("from account"), _accounts),
        among("destination", _("to account"), _accounts),
        period("at"),
    )
    list_select_related = ("recharge",)
    ordering = ("-pk",)
    fields = ("at", "kind", "amount", "source", "destination", "recharge_link", "reference")

    recharge_link = link("recharge", description=_("recharge"))
    amount = money("amount_minor", description=_("amount"))
    search_help_text = _("Reference of a recharge, payment, order or refund")

    def found(self, term: str) -> Q:
        return Q(reference=term.upper()) | Q(recharge__ref=term.upper())


@admin.register(RailCall)
class RailCallAdmin(SearchMixin, RecordAdmin):
    """Raw evidence of what was asked of rails and what they answered, masked."""

    list_display = ("at", "by", "kind", "reference", "verified", "error")
    list_filter = (columns.by_rail(), "is_verified", period("at"))
    ordering = ("-pk",)
    fields = ("at", "by", "kind", "reference", "is_verified", "error", "request", "response")
    search_help_text = _("Reference")

    by = columns.rail()

    @display(description=_("signature"))
    def verified(self, call: RailCall) -> Any:
        return label(_("good"), "good") if call.is_verified else label(_("not verified"), "warn")

    def found(self, term: str) -> Q:
        return Q(reference=term)


@admin.register(InboundNotification)
class InboundNotificationAdmin(SearchMixin, RecordAdmin):
    """What rails and carriers told us of their own accord; each was a reason to ask them."""

    list_display = ("received_at", "source", "kind", "our_ref", "claims", "repeats", "done_at",
                    "outcome")  # fmt: skip
    list_filter = (among("source", _("from"), _sources), period("received_at"))
    ordering = ("-pk",)
    fields = ("received_at", "source", "kind", "our_ref", "provider_ref", "refund_ref", "claims",
              "repeats", "done_at", "outcome", "body_masked")  # fmt: skip
    search_help_text = _("Reference")

    def found(self, term: str) -> Q:
        return Q(our_ref=term)


@admin.register(Notice)
class NoticeAdmin(SearchMixin, RecordAdmin):
    """What people were told."""

    list_display = ("created_at", "owner_link", "kind", "title", "recharge_link", "read_at")
    list_filter = ("kind", period("created_at"))
    list_select_related = ("owner", "line", "recharge")
    ordering = ("-pk",)
    fields = ("created_at", "owner_link", "kind", "title", "body", "sent", "recharge_link",
              "read_at", "occasion", "figures")  # fmt: skip

    owner_link = link("owner", description=_("owner"))
    recharge_link = link("recharge", description=_("recharge"))
    occasion = plain("occurrence_key", _("occasion"))
    figures = display(description=_("the figures behind it"))(
        lambda self, one: words.figures(one.facts)
    )

    @display(description=_("title"))
    def title(self, notice: Notice) -> str:
        return telling.words(notice=notice, language=get_language() or "en").title

    @display(description=_("the words"))
    def body(self, notice: Notice) -> str:
        return telling.words(notice=notice, language=get_language() or "en").body

    @display(description=_("by which ways"))
    def sent(self, notice: Notice) -> str:
        ways = [
            said(one.get_channel_display(), one.get_state_display())
            for one in notice.deliveries.order_by("pk")
        ]
        return " · ".join([str(_("inbox")), *ways])

    def found(self, term: str) -> Q:
        return of_owner_or_line(term) | Q(recharge__ref=term.upper())


@admin.register(NoticeDelivery)
class NoticeDeliveryAdmin(SearchMixin, RecordAdmin):
    """Notices by ways that can fail."""

    list_display = ("told_at", "owner_link", "kind", "channel", "state_label", "tries", "sent_at",
                    "error")  # fmt: skip
    list_filter = ("state", "channel")
    list_select_related = ("notice__owner",)
    ordering = ("-pk",)
    fields = (
        "told_at",
        "owner_link",
        "kind",
        "channel",
        "state_label",
        "tries",
        "tried_next",
        "sent_at",
        "error",
    )

    owner_link = link("notice.owner", description=_("owner"), ordering="notice__owner")
    state_label = state(tones.NOTICE_DELIVERY)
    told_at = plain("notice.created_at", _("at"))
    tried_next = plain("act_at", _("next try"))

    @display(description=_("kind"))
    def kind(self, delivery: NoticeDelivery) -> str:
        return delivery.notice.get_kind_display()

    def found(self, term: str) -> Q:
        return of_owner_or_line(term, owner="notice__owner_id", line="notice__line_id")

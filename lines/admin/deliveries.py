from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines.admin import searching
from lines.admin.acts import verb_words
from lines.admin.base import RecordAdmin, link, money, period, plain, state
from lines.admin.searching import SearchMixin
from lines.models import BalanceReading, CarrierCall, Delivery, DeliveryState, Operation

KINDS = ("recharge", "refund", "rule", "binding", "rail", "carrier")  # that operations are on
TONES: dict[str, str] = {
    DeliveryState.CREDITED: "good",
    DeliveryState.UNKNOWN: "warn",
    DeliveryState.REJECTED: "bad",
    DeliveryState.REVERSED: "bad",
}


@admin.register(Delivery)
class DeliveryAdmin(SearchMixin, RecordAdmin):
    """Credits of lines, by our reference, the carrier's, or the order's."""

    list_display = ("reference", "line_link", "amount", "state_label", "carrier_ref", "code",
                    "created_at", "settled_at")  # fmt: skip
    list_filter = ("state", "line__carrier", period("created_at"))
    list_select_related = ("line",)
    ordering = ("-pk",)
    fields = ("reference", "order_ref", "number", "line_link", "amount", "credited",
              "state_label", "carrier_ref", "code", "created_at", "settled_at")  # fmt: skip

    line_link = link("line", description=_("line"), text="masked")
    amount = money("amount_minor", description=_("amount"))
    credited = money("credited_minor", description=_("credited"))
    state_label = state(TONES)

    def found(self, term: str) -> Q:
        return (
            Q(reference=term.upper())
            | Q(order_ref=term.upper())
            | Q(line__in=searching.lines(term))
        )


@admin.register(CarrierCall)
class CarrierCallAdmin(SearchMixin, RecordAdmin):
    """Raw evidence of what was asked of carriers and what they answered, masked."""

    list_display = ("at", "kind", "reference", "error")
    list_filter = (period("at"),)
    ordering = ("-pk",)
    fields = ("at", "kind", "reference", "error", "request", "response")
    search_help_text = _("Reference")

    def found(self, term: str) -> Q:
        return Q(reference=term)


@admin.register(BalanceReading)
class BalanceReadingAdmin(SearchMixin, RecordAdmin):
    """Every balance reported, applied or not."""

    list_display = ("observed_at", "line_link", "balance", "source", "is_applied", "received_at")
    list_filter = ("source", "is_applied", period("received_at"))
    list_select_related = ("line",)
    ordering = ("-pk",)
    fields = ("line_link", "balance", "reserved", "observed_at", "counter", "valid_until",
              "received_at", "source", "is_applied")  # fmt: skip

    line_link = link("line", description=_("line"), text="masked")
    balance = money("balance_minor", currency="line.currency", description=_("balance"))
    counter = plain("sequence", _("sequence"))
    reserved = money("reserved_minor", currency="line.currency", description=_("of it reserved"))

    def found(self, term: str) -> Q:
        return Q(line__in=searching.lines(term))


@admin.register(Operation)
class OperationAdmin(SearchMixin, RecordAdmin):
    """What operators did, to what, and why."""

    words = display(description=_("operation"))(lambda self, one: verb_words(one.verb))

    list_display = ("at", "words", "target", "actor", "reason")
    list_filter = (period("at"),)
    list_select_related = ("actor",)
    ordering = ("-pk",)
    fields = ("at", "words", "target", "actor", "reason")

    def found(self, term: str) -> Q:
        named = [f"{kind}:{name}" for kind in KINDS for name in (term, term.upper())]
        return Q(actor__in=searching.people(term)) | Q(target__in=named)

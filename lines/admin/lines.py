from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines.admin import searching
from lines.admin.base import RecordAdmin, in_language, link, money, plain, related, state
from lines.admin.searching import SearchMixin
from lines.identifiers import mask_eid, mask_iccid
from lines.models import EsimProfile, Line, LineStatus

FULL_NUMBER = "lines.view_full_number"
TONES: dict[str, str] = {
    LineStatus.UNVERIFIED: "warn",
    LineStatus.ACTIVE: "good",
    LineStatus.SUSPENDED: "warn",
    LineStatus.EXPIRED: "warn",
    LineStatus.PORTED_OUT: "bad",
    LineStatus.TERMINATED: "bad",
}


@admin.register(Line)
class LineAdmin(SearchMixin, RecordAdmin):
    """Lines, their numbers masked; in full only on the page of one, for who may see it."""

    list_display = ("masked_number", "label", "owner_link", "carrier_name", "kind", "status_label",
                    "balance", "balance_observed_at")  # fmt: skip
    list_filter = ("status", "kind", "carrier")
    list_select_related = ("owner", "carrier")
    ordering = ("-pk",)

    masked_number = display(description=_("number"))(lambda self, line: line.masked)
    owner_link = link("owner", description=_("owner"))
    status_label = state(TONES, field="status", description=_("status"))
    balance = money("balance_minor", description=_("balance"))
    public_name = plain("public_id", _("public ID"))
    sims = plain("sim_generation", _("SIM cards so far"))
    asked_next = plain("poll_at", _("next asked for at"))
    reserved = money("balance_reserved_minor", description=_("of it reserved"))

    def found(self, term: str) -> Q:
        return Q(owner__in=searching.people(term)) | Q(pk__in=searching.lines(term))

    def get_fieldsets(self, request: HttpRequest, obj: Line | None = None) -> Any:
        number = "full_number" if request.user.has_perm(FULL_NUMBER) else "masked_number"
        return (
            (
                _("Line"),
                {"fields": (number, "card", "label", "owner_link", "carrier_name", "kind",
                            "status_label", "public_name", "timezone", "sims",
                            "created_at", "verified_at")},
            ),
            (
                _("Balance"),
                {"fields": ("balance", "reserved", "balance_observed_at", "valid_until",
                            "asked_next")},
            ),
            (_("Profile of an eSIM"), {"fields": ("profile",)}),
            (_("More"), {"fields": ("more",)}),
        )  # fmt: skip

    @display(description=_("number, in full"))
    def full_number(self, line: Line) -> str:
        return line.msisdn or "-"

    @display(description="ICCID")
    def card(self, line: Line) -> str:
        return mask_iccid(line.iccid) if line.iccid else "-"

    @display(description=_("profile"))
    def profile(self, line: Line) -> Any:
        """State and address; never the code, which is the line to whoever installs it."""
        found = EsimProfile.objects.filter(line=line).first()
        if found is None:
            return "-"
        words = [found.get_state_display(), found.smdp_address]
        return " · ".join([*words, mask_eid(found.eid)] if found.eid else words)

    @display(description=_("carrier"), ordering="carrier")
    def carrier_name(self, line: Line) -> str:
        return in_language(line.carrier.name, line.carrier.name_en)

    @display(description=_("more of this line"))
    def more(self, line: Line) -> SafeString:
        lists = (
            ("billing_recharge", "line__id__exact", _("recharges")),
            ("billing_rule", "line__id__exact", _("auto-recharge rule")),
            ("billing_decision", "rule__line__id__exact", _("why, why not")),
            ("lines_delivery", "line__id__exact", _("deliveries")),
            ("lines_balancereading", "line__id__exact", _("balance readings")),
        )
        return related(lists, line.pk)

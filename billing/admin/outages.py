"""Rails and carriers that gave no answer, as the workers noticed it: to be read, nothing else."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing import outages
from billing.admin import words
from billing.models import Outage, OutageSide
from lines.admin.base import RecordAdmin, in_language, label, plain
from lines.models import Carrier


def who(one: Outage) -> str:
    """The rail or carrier, as people call it; the code of one that is no longer there."""
    if one.side == OutageSide.RAIL:
        return words.rail(one.code)
    carrier = Carrier.objects.filter(code=one.code).first()
    return in_language(carrier.name, carrier.name_en) if carrier else one.code


@admin.register(Outage)
class OutageAdmin(RecordAdmin):
    """The last time that each gave no answer. One begins and ends by itself."""

    list_display = ("who", "side", "standing", "since", "in_doubt", "asked_at", "reason")
    list_filter = ("is_failing", "side")
    ordering = ("-is_failing", "since")
    fields = ("who", "side", "standing", "since", "in_doubt", "asked_at", "reason", "woken_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Outage]:
        return outages.all_of_them()

    @display(description=_("rail or carrier"), ordering="code")
    def who(self, one: Outage) -> str:
        return who(one)

    @display(description=_("state"), ordering="is_failing")
    def standing(self, one: Outage) -> Any:
        if one.is_failing:
            return label(_("gives no answer"), "bad")
        return label(_("answers"), "good")

    in_doubt = plain("in_doubt", _("in doubt there"))

    @display(description=_("asked last"))
    def asked_at(self, one: Outage) -> str:
        at = outages.asked_at(one)
        # Django writes a page's read-only values without the reader's zone.
        return date_format(timezone.localtime(at), "DATETIME_FORMAT") if at else "-"

"""The front page's part on payment methods: those that end soon."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from billing.admin import words
from billing.models import Binding, BindingState
from lines.admin.base import page_url
from portal import wording
from portal.desk.parts import Item, Section, section

LAPSES_WITHIN = timedelta(days=30)


def lapsing(at: datetime) -> Section | None:
    rows = Binding.objects.filter(
        state=BindingState.ACTIVE, expires_at__gt=at, expires_at__lte=at + LAPSES_WITHIN
    )

    def describe(one: Binding) -> Item:
        day = wording.full_day(timezone.localtime(one.expires_at).date())
        title = f"{one.owner} · {words.method(one)}"
        return Item(title, _("ends on %(day)s") % {"day": day}, "", page_url(one))

    return section(
        rows.select_related("owner", "rail").order_by("expires_at"),
        describe,
        name=_("Payment methods that end within 30 days"),
        advice=_("Their owners are told 30, 7 and 2 days before. Nothing to do, unless one calls."),
        tone="warn",
    )

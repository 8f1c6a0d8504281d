"""The front page's part on payment methods: those that end soon, and those that do not end."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from billing.admin import words
from billing.bindings.breaker import ENDING
from billing.models import Binding, BindingState
from lines.admin.base import page_url
from portal import wording
from portal.desk.parts import Item, Section, age, section

LAPSES_WITHIN = timedelta(days=30)
UNENDED_FOR = timedelta(days=1)


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


def unended(at: datetime) -> Section | None:
    """Told again ever less often, and a person's after a day."""
    rows = Binding.objects.filter(pause_reason=ENDING, paused_at__lt=at - UNENDED_FOR)

    def describe(one: Binding) -> Item:
        return Item(f"{one.owner} · {words.method(one)}", "", age(one.paused_at, at), page_url(one))

    return section(
        rows.select_related("owner", "rail").order_by("paused_at"),
        describe,
        name=_("Agreements that their rail will not end"),
        advice=_(
            "Nothing is charged by them. End each on the rail's own pages; it is seen here by"
            " itself."
        ),
        tone="warn",
    )

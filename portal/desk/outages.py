"""The front page's part on rails and carriers that give no answer now."""

from datetime import datetime

from django.utils.translation import gettext as _

from billing import outages
from billing.admin.outages import who
from billing.models import Outage
from lines.admin.base import page_url
from portal.desk.parts import Item, Section, age, list_url, section


def silent(at: datetime) -> Section | None:
    rows = outages.all_of_them().filter(is_failing=True)

    def describe(one: Outage) -> Item:
        return Item(who(one), _detail(one, at), age(one.since, at), page_url(one))

    return section(
        rows.order_by("since"),
        describe,
        name=_("Give no answer"),
        advice=_(
            "Each is asked every 15 seconds, and once it answers about all that is in doubt there."
            " Nothing to do here; ask them whether they are down."
        ),
        tone="bad",
        url=list_url(Outage, "is_failing__exact=1"),
    )


def _detail(one: Outage, at: datetime) -> str:
    told = [_("%(n)s in doubt there") % {"n": outages.in_doubt(one)}]
    asked_at = outages.asked_at(one)
    if asked_at is not None:
        told.append(_("asked last %(age)s") % {"age": age(asked_at, at)})
    return " · ".join([*told, *([one.reason] if one.reason else [])])

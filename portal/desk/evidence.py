"""The front page's part on evidence: answers that are not genuine, or that we cannot tell to be."""

from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from billing.admin import words
from billing.models import RailCall
from lines.admin.base import page_url
from portal.desk.parts import Item, Section, age, list_url, section

SHOWN_FOR = timedelta(days=3)


def not_genuine(at: datetime) -> Section | None:
    """What a rail seemed to answer and did not sign: a wrong key, or somebody in between."""
    rows = RailCall.objects.filter(is_verified=False, at__gt=at - SHOWN_FOR).exclude(response="")

    def describe(one: RailCall) -> Item:
        title = f"{words.rail(one.rail)} · {one.kind}"
        return Item(title, one.reference, age(one.at, at), page_url(one))

    return section(
        rows.order_by("at"), describe, name=_("Answers that could not be verified"), tone="bad",
        url=list_url(RailCall, "is_verified__exact=0"),
        advice=_(
            "None of it was believed. Compare the rail's public key with the one on its pages; if"
            " it is right, somebody is in between: hold charges back."
        ),
    )  # fmt: skip

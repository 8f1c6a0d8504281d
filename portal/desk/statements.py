"""The front page's part on reconciliation: what does not match, and what never came."""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from billing.admin import words
from billing.models import Difference, DifferenceState, Statement, StatementState
from lines.admin.base import page_url
from portal import wording
from portal.desk.parts import Item, Section, age, list_url, section


def differing(at: datetime) -> Section | None:
    """Differences that nobody has explained and that have not gone by themselves."""
    rows = Difference.objects.filter(state=DifferenceState.OPEN).select_related("statement")

    def describe(one: Difference) -> Item:
        about = one.our_ref or one.their_ref
        title = f"{one.get_kind_display()} · {words.rail(one.statement.code)}"
        return Item(title, about, age(one.found_at, at), page_url(one))

    return section(
        rows.order_by("found_at"), describe, name=_("Statement rows that do not match"),
        tone="bad", url=list_url(Difference, f"state__exact={DifferenceState.OPEN}"),
        advice=_("Compare the two sides, settle what is wrong, then explain it."),
    )  # fmt: skip


def absent(at: datetime) -> Section | None:
    """Statements that were given up: that day is compared with nobody."""
    del at
    rows = Statement.objects.filter(state=StatementState.FAILED)

    def describe(one: Statement) -> Item:
        title = f"{words.rail(one.code)} · {wording.full_day(one.day)}"
        return Item(title, one.last_error, "", page_url(one))

    return section(
        rows.order_by("day"), describe, name=_("Statements that never came"), tone="bad",
        url=list_url(Statement, f"state__exact={StatementState.FAILED}"),
        advice=_("That day is compared with nobody: fetch it again once it is there."),
    )  # fmt: skip

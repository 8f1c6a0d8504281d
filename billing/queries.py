"""Where every page and endpoint begins: what is this person's, and nobody else's.

Strangers' objects are not in these sets, so an edge that starts here answers 404 for them.
"""

from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet, Sum

from billing.calendar import month_key
from billing.models import Binding, Decision, Notice, Recharge, Rule
from billing.states import UNPAID_END_STATES
from lines.models import Line, LineStatus


def lines(actor: Any) -> QuerySet[Line]:
    """The person's lines, removed ones left out."""
    mine = Line.objects.filter(owner=actor).exclude(status=LineStatus.REMOVED)
    return mine.select_related("carrier", "rule", "esim")


def rules(actor: Any) -> QuerySet[Rule]:
    """The person's rules, on or off."""
    mine = Rule.objects.filter(line__owner=actor).exclude(line__status=LineStatus.REMOVED)
    return mine.select_related(
        "line__carrier", "line__owner", "binding__rail", "fallback_binding__rail", "consent"
    )


def bindings(actor: Any) -> QuerySet[Binding]:
    """The person's payment methods, ended ones too: a page chooses."""
    return Binding.objects.filter(owner=actor).select_related("rail")


def recharges(actor: Any) -> QuerySet[Recharge]:
    """Every recharge of the person's lines, also of lines removed since."""
    mine = Recharge.objects.filter(owner=actor)
    return mine.select_related("line__carrier", "binding__rail", "rule")


def notices(actor: Any) -> QuerySet[Notice]:
    return Notice.objects.filter(owner=actor).select_related("line", "recharge")


def decisions(actor: Any) -> QuerySet[Decision]:
    mine = Decision.objects.filter(rule__line__owner=actor)
    return mine.select_related("rule__line__carrier", "recharge")


def spending_by_month(
    *, at: datetime, months: int, actor: Any = None, line: Line | None = None
) -> list[tuple[date, int]]:
    """What was charged in each of the last `months` local months, oldest first, in minor units.

    Of one line, or of all of `actor`'s. Months without a charge are there, with 0.
    """
    of = {"line": line} if line is not None else {"owner": actor}
    timezone = line.timezone if line is not None else actor.timezone
    wanted = _months_back(month_key(at, timezone), months)
    paid = Recharge.objects.filter(**of, charged_at__isnull=False, cap_month__gte=wanted[0])
    sums = paid.exclude(state__in=UNPAID_END_STATES).values("cap_month")
    totals = {row["cap_month"]: row["minor"] for row in sums.annotate(minor=Sum("price_minor"))}
    return [(month, int(totals.get(month, 0))) for month in wanted]


def _months_back(last: date, count: int) -> list[date]:
    number = last.year * 12 + last.month - 1
    return [date(n // 12, n % 12 + 1, 1) for n in range(number - count + 1, number + 1)]

"""The first page: what needs the person, and every line with its balance and its rule."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing import queries
from billing.states import OPEN_STATES
from lines.models import LineStatus
from portal import cards, charts, needs


def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "portal/welcome.html")
    at = timezone.now()
    lines = list(
        queries.lines(request.user)
        .exclude(status=LineStatus.REMOVED)
        .select_related("carrier", "rule", "rule__binding", "rule__binding__rail")
        .order_by("pk")
    )
    rules = [rule for line in lines if (rule := cards.rule_of(line))]
    waiting = needs.of(
        lines=lines,
        rules=rules,
        bindings=queries.bindings(request.user).select_related("rail"),
        recharges=queries.recharges(request.user)
        .filter(state__in=OPEN_STATES)
        .select_related("line"),
        language=get_language() or "en",
        at=at,
    )
    coming = [rule for rule in rules if rule.is_on and not rule.paused_at and rule.next_run_at]
    context = {
        "section": "lines",
        "cards": cards.for_lines(lines, at=at, size=charts.MINI),
        "needs": waiting,
        "greeting": _greeting(at),
        "next": min(coming, key=lambda rule: rule.next_run_at, default=None),
    }
    return render(request, "portal/home.html", context)


def _greeting(at: datetime) -> str:
    hour = timezone.localtime(at).hour
    if 5 <= hour < 12:
        return _("Good morning")
    return _("Good afternoon") if 12 <= hour < 18 else _("Good evening")

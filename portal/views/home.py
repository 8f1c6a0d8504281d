"""The first page: what needs the person, and every line with its balance and its rule."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing import queries
from portal import cards, needs


def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "portal/welcome.html")
    at = timezone.now()
    shown = cards.for_owner(request.user, at=at)
    rules = [card.rule for card in shown if card.rule]
    waiting = needs.of(
        lines=[card.line for card in shown],
        rules=rules,
        bindings=queries.bindings(request.user),
        recharges=[card.under_way for card in shown if card.under_way],
        language=get_language() or "en",
        at=at,
    )
    coming = [
        (rule.next_run_at, rule.pk, rule)
        for rule in rules
        if rule.is_on and not rule.paused_at and rule.next_run_at
    ]
    context = {
        "section": "lines",
        "cards": shown,
        "needs": waiting,
        "greeting": _greeting(at),
        "next": min(coming)[-1] if coming else None,
    }
    return render(request, "portal/home.html", context)


def _greeting(at: datetime) -> str:
    hour = timezone.localtime(at).hour
    if 5 <= hour < 12:
        return _("Good morning")
    return _("Good afternoon") if 12 <= hour < 18 else _("Good evening")

"""The first page: what needs the person, and every line with its balance and its rule."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing import queries
from lines.models import Line, LineStatus
from portal import cards, needs


def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "portal/welcome.html")
    at = timezone.now()
    shown = cards.for_owner(request.user, at=at)
    waiting = needs.of(
        cards=shown,
        bindings=queries.bindings(request.user),
        language=get_language() or "en",
        at=at,
    )
    rules = [card.rule for card in shown if card.rule]
    running = [card for card in shown if card.standing.tone == "good"]
    coming = cards.next_charge(rules, at=at)
    context = {
        "section": "lines",
        "cards": shown,
        "needs": waiting,
        "greeting": _greeting(at),
        "are_connected": all(_is_connected(card.line) for card in shown),
        "next_rule": coming[0] if coming else None,
        "next_charge": coming[1] if coming else None,
        "only_when_low": bool(running) and coming is None,
    }
    return render(request, "portal/home.html", context)


def _is_connected(line: Line) -> bool:
    """Whether nothing that is known speaks against it; said to people, so never too readily."""
    return line.status == LineStatus.ACTIVE and (
        line.balance_minor is None or line.balance_minor > 0
    )


def _greeting(at: datetime) -> str:
    hour = timezone.localtime(at).hour
    if 5 <= hour < 12:
        return _("Good morning")
    return _("Good afternoon") if 12 <= hour < 18 else _("Good evening")

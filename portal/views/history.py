"""What was charged and credited: by line, by month, one by one, and to take away."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from billing import queries
from billing.models import Recharge
from billing.recharges import machine
from billing.states import CANCELABLE_STATES
from lines.models import Line, LineStatus
from portal import cards, charts, exports, owned, stories

_PAGE = 20


@login_required
def index(request: HttpRequest) -> HttpResponse:
    line = _line_asked(request)
    at = timezone.now()
    found = _recharges(request, line)
    page = Paginator(found, _PAGE).get_page(request.GET.get("page"))
    context = {
        "lines": queries.lines(request.user).exclude(status=LineStatus.REMOVED).order_by("pk"),
        "line": line,
        "page": page,
        "entries": [(recharge, stories.of_recharge(recharge)) for recharge in page],
        "section": "history",
    } | _spending(request, line, at)
    return render(request, "portal/history/index.html", context)


def _line_asked(request: HttpRequest) -> Line | None:
    asked = request.GET.get("line", "")
    return owned.line(request, asked) if asked else None


def _recharges(request: HttpRequest, line: Line | None) -> QuerySet[Recharge]:
    found = queries.recharges(request.user).select_related("line__carrier", "binding__rail")
    found = found.prefetch_related("decisions", "attempts").order_by("-created_at", "-pk")
    return found.filter(line=line) if line else found


def _spending(request: HttpRequest, line: Line | None, at: datetime) -> dict[str, Any]:
    """The months' chart and its sums; amounts of one currency only ever meet their own."""
    currency = _currency(request, line)
    actor = None if line else owned.person(request)
    months = queries.spending_by_month(actor=actor, line=line, at=at, months=12, currency=currency)
    paid = queries.recharges(request.user).filter(
        charged_at__isnull=False, currency=currency, cap_month__gte=months[0][0]
    )
    saved = (paid.filter(line=line) if line else paid).aggregate(minor=Sum("discount_minor"))
    return {
        "months": months,
        "currency": currency,
        "chart": charts.months(months, currency=currency),
        "total_minor": sum(minor for _month, minor in months),
        "saved_minor": saved["minor"] or 0,
    }


def _currency(request: HttpRequest, line: Line | None) -> str:
    """A line's own, or that of the person's first line: sums of two currencies are never one."""
    first = line or queries.lines(request.user).order_by("pk").first()
    return first.currency if first else "CNY"


@login_required
def show(request: HttpRequest, ref: str) -> HttpResponse:
    recharge = owned.recharge(request, ref)
    return render(request, "portal/history/show.html", _story(recharge))


@login_required
def receipt(request: HttpRequest, ref: str) -> HttpResponse:
    """A page to print. Only what was paid has one."""
    recharge = owned.recharge(request, ref)
    if recharge.charged_at is None:
        raise Http404
    return render(request, "portal/history/receipt.html", _story(recharge))


def _story(recharge: Recharge) -> dict[str, Any]:
    return {
        "recharge": recharge,
        "line": recharge.line,
        "title": stories.title(recharge),
        "tone": stories.tone(recharge.state),
        "now": stories.of_recharge(recharge),
        "entries": stories.moves_of(recharge, machine.history(recharge)),
        "refunds": recharge.refunds.order_by("pk"),
        "can_cancel": recharge.state in CANCELABLE_STATES,
        "section": "history",
    }


@login_required
@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    recharge = owned.recharge(request, ref)
    try:
        machine.cancel(
            recharge=recharge,
            actor=owned.person(request),
            because="canceled_by_owner",
            at=timezone.now(),
        )
    except (machine.TooLate, machine.LostRace):
        messages.error(request, _("Too late to cancel: the payment is under way."))
    else:
        messages.success(request, _("Canceled. Nothing was charged."))
    return redirect("portal:recharge", ref)


@login_required
def csv(request: HttpRequest) -> HttpResponse:
    line = _line_asked(request)
    rows = _recharges(request, line)[: exports.MOST_ROWS]
    return _download(exports.csv(rows), "text/csv; charset=utf-8", "keepline-history.csv")


@login_required
def calendar(request: HttpRequest) -> HttpResponse:
    at = timezone.now()
    running = queries.rules(request.user).filter(is_on=True, paused_at__isnull=True)
    running = running.select_related("line__carrier", "binding__rail")
    coming = [
        (rule, charge) for rule in running for charge in cards.upcoming(rule, at=at, count=12)
    ]
    text = exports.icalendar(coming, at=at)
    return _download(text, "text/calendar; charset=utf-8", "keepline-charges.ics")


def _download(text: str, content_type: str, name: str) -> HttpResponse:
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(
        text, content_type=content_type, headers={"Content-Disposition": disposition}
    )

"""Auto-recharge as its owner runs it: all of it at a glance, pause, skip, stop, go on."""

from datetime import datetime, time, timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from billing import queries
from billing.plans import contract, drafts
from lines import zones
from lines.models import Line, LineStatus
from portal import cards, owned, wording
from portal.forms.rules import PauseForm

_COMING = 3


@login_required
def hub(request: HttpRequest) -> HttpResponse:
    at = timezone.now()
    lines = _lines(request)
    plans_shown = [
        {
            "line": line,
            "rule": rule,
            "occasions": cards.occasions(drafts.of(rule)),
            "amount": cards.amount_words(drafts.of(rule)),
            "standing": cards.standing(line, rule, at=at),
            "pause": cards.pause_words(rule, request.LANGUAGE_CODE) if rule.is_held else "",
            "upcoming": cards.upcoming(rule, at=at, count=_COMING),
        }
        for line in lines
        if (rule := cards.rule_of(line)) is not None and rule.consent_id is not None
    ]
    without = [line for line in lines if _can_have_one(line)]
    context = {"plans": plans_shown, "without": without, "section": "rules"}
    return render(request, "portal/rules/hub.html", context)


def _lines(request: HttpRequest) -> list[Line]:
    return list(
        queries.lines(request.user)
        .exclude(status=LineStatus.REMOVED)
        .select_related("carrier", "rule", "rule__binding__rail", "rule__line__carrier")
        .order_by("pk")
    )


def _can_have_one(line: Line) -> bool:
    rule = cards.rule_of(line)
    return line.status == LineStatus.ACTIVE and (rule is None or rule.consent_id is None)


@login_required
def choose_line(request: HttpRequest) -> HttpResponse:
    """The first thing to set up: for which line. One that can have no plan says why."""
    at = timezone.now()
    choices = [
        {"line": line, "standing": cards.standing(line, cards.rule_of(line), at=at)}
        for line in _lines(request)
    ]
    return render(request, "portal/rules/choose.html", {"choices": choices, "section": "rules"})


@login_required
def pause(request: HttpRequest, public_id: str) -> HttpResponse:
    rule = owned.rule(request, public_id)
    zone = zones.zone_of(rule.line.timezone)
    today = timezone.now().astimezone(zone).date()
    form = PauseForm(owned.posted(request), today=today, initial={"until": today + timedelta(7)})
    if request.method == "POST" and form.is_valid():
        until = datetime.combine(form.cleaned_data["until"], time(0), tzinfo=zone)
        try:
            contract.pause(rule=rule, until=until, at=timezone.now())
        except contract.InvalidPause as refusal:
            form.add_error("until", refusal.sentence)
        except contract.RuleIsOff:
            return _is_off(request, public_id)
        else:
            day = wording.day(form.cleaned_data["until"])
            messages.success(request, _("Paused until %(day)s.") % {"day": day})
            return redirect("portal:line", public_id)
    context = {"rule": rule, "line": rule.line, "form": form, "section": "rules"}
    return render(request, "portal/rules/pause.html", context)


def _is_off(request: HttpRequest, public_id: str) -> HttpResponse:
    messages.info(request, _("Auto-recharge of this line is off, so there is nothing to change."))
    return redirect("portal:line", public_id)


@login_required
@require_POST
def resume(request: HttpRequest, public_id: str) -> HttpResponse:
    try:
        contract.resume(rule=owned.rule(request, public_id), at=timezone.now())
    except contract.RuleIsOff:
        return _is_off(request, public_id)
    messages.success(request, _("Auto-recharge goes on."))
    return redirect("portal:line", public_id)


@login_required
@require_POST
def skip(request: HttpRequest, public_id: str) -> HttpResponse:
    """Skip the charge that was seen as the next; the one after it is never skipped instead."""
    rule = owned.rule(request, public_id)
    seen = request.POST.get("seen", "")
    index = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 9 else None
    try:
        contract.skip_next(rule=rule, seen_index=index, at=timezone.now())
    except contract.RuleIsOff:
        return _is_off(request, public_id)
    except contract.NothingToSkip:
        messages.info(request, _("No charge is scheduled, so there is nothing to skip."))
    except contract.StalePlan:
        messages.warning(request, _("The next charge is another one by now. Look again."))
    else:
        messages.success(request, _("The next scheduled charge is skipped."))
    return redirect("portal:line", public_id)


@login_required
@require_POST
def unskip(request: HttpRequest, public_id: str) -> HttpResponse:
    try:
        contract.unskip(rule=owned.rule(request, public_id), at=timezone.now())
    except contract.RuleIsOff:
        return _is_off(request, public_id)
    messages.success(request, _("The next scheduled charge will be made."))
    return redirect("portal:line", public_id)


@login_required
def stop(request: HttpRequest, public_id: str) -> HttpResponse:
    rule = owned.rule(request, public_id)
    if request.method == "POST":
        contract.stop(rule=rule, at=timezone.now(), because="owner")
        messages.success(request, _("Auto-recharge is off. Nothing more is charged by it."))
        return redirect("portal:line", public_id)
    context = {
        "rule": rule,
        "line": rule.line,
        "words": cards.rule_words(drafts.of(rule)),
        "upcoming": cards.upcoming(rule, at=timezone.now(), count=_COMING),
        "section": "rules",
    }
    return render(request, "portal/rules/stop.html", context)

"""A line's own pages: add, prove, look at, rename, recharge by hand, install, remove."""

from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from billing import gateways, queries
from billing.models import Binding
from billing.plans import consents, contract, handovers
from billing.recharges import machine
from billing.rules import by_hand
from billing.rules.caps import CapReached
from billing.words import figures
from lines import carriers, identifiers, lifecycle, qr, zones
from lines.models import Line, LineKind, LineStatus
from lines.references import new_reference
from portal import cards, charts, owned, stories, wording
from portal.forms import lines as forms

_FORMS = {LineKind.FM: forms.CardForm, LineKind.ESIM: forms.EsimForm}
_ENTRIES = 8
_ALL_ENTRIES = 100
_COMING = 3


@login_required
def add(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/lines/add.html", {"section": "lines"})


@login_required
def add_kind(request: HttpRequest, kind: str) -> HttpResponse:
    if kind not in _FORMS:
        raise Http404
    form = _FORMS[LineKind(kind)](owned.posted(request))
    if request.method == "POST" and form.is_valid():
        line = _add(request, kind, form)
        if line is not None:
            _warn_of_doubts(request, line)
            return _to_proof(request, line)
    context = {"form": form, "kind": kind, "section": "lines"}
    return render(request, "portal/lines/add_kind.html", context)


def _add(request: HttpRequest, kind: str, form: django_forms.Form) -> Line | None:
    values = dict(form.cleaned_data)
    carrier = values.pop("carrier")
    put_in = lifecycle.add_fm if kind == LineKind.FM else lifecycle.add_esim
    try:
        return put_in(
            owner=request.user,
            carrier=carrier,
            timezone=carrier.timezone,
            at=timezone.now(),
            **values,
        )
    except lifecycle.NumberTaken as refusal:
        field = refusal.field if refusal.field in form.fields else None
        form.add_error(field, str(refusal.sentence))
    except identifiers.InvalidIdentifier as refusal:
        field = getattr(refusal, "field", "")
        form.add_error(field if field in form.fields else None, str(refusal.sentence))
    return None


def _warn_of_doubts(request: HttpRequest, line: Line) -> None:
    """A card may lack its check digit, and a number be of a new kind, so neither is an error when
    it may be a slip; but it is said."""
    doubts = [identifiers.msisdn_warning(line.msisdn)] if line.msisdn else []
    doubts += [identifiers.parse_iccid(line.iccid).warning] if line.iccid else []
    if told := [doubt for doubt in doubts if doubt]:
        again = _("If it differs, remove this line and add it again.")
        messages.warning(request, figures.joined([*told, again]))


def _to_proof(request: HttpRequest, line: Line) -> HttpResponse:
    """On to the code; a data-only eSIM needs none, its carrier has been asked."""
    _send_code(request, line)
    line.refresh_from_db(fields=["status"])
    return redirect("portal:line" if line.is_live else "portal:prove", line.public_id)


def _send_code(request: HttpRequest, line: Line) -> None:
    try:
        is_sent = lifecycle.send_proof(line=line, carriers=carriers, at=timezone.now())
    except lifecycle.TooManyCodes:
        messages.warning(request, _("Enough codes were sent. Use the last one, or wait an hour."))
    except lifecycle.NumberTaken as refusal:
        messages.error(request, str(refusal.sentence))
    except lifecycle.NotProvable:
        messages.info(request, _("There is nothing to verify for this line."))
    except carriers.CarrierNotConfigured:
        messages.error(request, _("This carrier cannot be reached now. Try again later."))
    else:
        if not is_sent:
            messages.error(request, _("The carrier did not take it. Try again in a minute."))


@login_required
def prove(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    if line.status != LineStatus.UNVERIFIED:
        return redirect("portal:line", public_id)
    form = forms.ProofForm(owned.posted(request))
    if request.method == "POST" and form.is_valid() and _is_proven(line, form):
        messages.success(request, _("The line is verified."))
        return redirect("portal:line", public_id)
    context = {"line": line, "form": form, "section": "lines"}
    return render(request, "portal/lines/prove.html", context)


def _is_proven(line: Line, form: django_forms.Form) -> bool:
    try:
        handovers.prove(line=line, code=form.cleaned_data["code"], at=timezone.now())
    except lifecycle.WrongCode as refusal:
        sentence = _("This code is not right. Tries left: %(n)s.") % {"n": refusal.tries_left}
        form.add_error("code", sentence)
    except lifecycle.CodeExpired:
        form.add_error("code", _("This code is too old. Ask for another one."))
    except lifecycle.NumberTaken as refusal:
        form.add_error("code", str(refusal.sentence))
    except lifecycle.NotProvable:
        form.add_error("code", _("There is nothing to verify for this line."))
    else:
        return True
    return False


@login_required
@require_POST
def send_code(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    if line.status == LineStatus.UNVERIFIED:
        _send_code(request, line)
    return redirect("portal:prove", public_id)


@login_required
def show(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    at = timezone.now()
    [card] = cards.for_lines([line], at=at, size=charts.LARGE)
    upcoming = cards.upcoming(card.rule, at=at, count=_COMING) if card.rule else []
    context = {
        "card": card,
        "line": line,
        "rule": card.rule,
        "entries": _entries(request, line, _ENTRIES),
        "upcoming": upcoming,
        "pause_sentence": _pause_sentence(request, card),
        "notice_sentence": consents.notice_text(hours=line.carrier.notice_before_deduction_h),
        "section": "lines",
    }
    return render(request, "portal/lines/show.html", context)


def _pause_sentence(request: HttpRequest, card: cards.Card) -> str:
    rule = card.rule
    if rule is None or not rule.is_on or not rule.is_held:
        return ""
    return cards.pause_words(rule, request.LANGUAGE_CODE)


def _entries(request: HttpRequest, line: Line, limit: int) -> list[stories.Entry]:
    made = (
        queries.recharges(request.user)
        .filter(line=line)
        .select_related("line__carrier")
        .prefetch_related("decisions", "attempts")
        .order_by("-created_at")
    )
    not_made = (
        queries.decisions(request.user)
        .filter(rule__line=line, is_charge=False)
        .select_related("rule__line")
        .order_by("-at")
    )
    return stories.of_line(recharges=made[:limit], decisions=not_made[:limit], limit=limit)


@login_required
def story(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    context = {
        "line": line,
        "card": cards.for_lines([line], at=timezone.now(), size=charts.MINI)[0],
        "entries": _entries(request, line, _ALL_ENTRIES),
        "section": "history",
    }
    return render(request, "portal/lines/story.html", context)


@login_required
@never_cache
def install(request: HttpRequest, public_id: str) -> HttpResponse:
    """The activation code and its QR: a secret, shown to its owner on asking, kept by no cache."""
    line = owned.line(request, public_id)
    try:
        code = lifecycle.activation_code(line=line, actor=request.user)
    except (lifecycle.NoActivationCode, lifecycle.NotYours) as refusal:
        raise Http404 from refusal
    svg = qr.activation_qr_svg(code.qr_text)
    context = {"line": line, "code": code, "svg": svg, "section": "lines"}
    return render(request, "portal/lines/install.html", context)


@login_required
def rename(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    form = forms.RenameForm(owned.posted(request), initial={"label": line.label})
    if request.method == "POST" and form.is_valid():
        try:
            lifecycle.rename(line=line, label=form.cleaned_data["label"], at=timezone.now())
        except lifecycle.WrongField as refusal:
            form.add_error("label", str(refusal.sentence))
        else:
            return redirect("portal:line", public_id)
    context = {"line": line, "form": form, "section": "lines"}
    return render(request, "portal/lines/rename.html", context)


@login_required
def remove(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    if request.method == "POST":
        if rule := cards.rule_of(line):
            contract.stop(rule=rule, because="line_gone", at=timezone.now())
        lifecycle.remove(line=line, at=timezone.now())
        messages.success(request, _("%(line)s is removed.") % {"line": line})
        return redirect("portal:home")
    context = {"line": line, "rule": cards.rule_of(line), "section": "lines"}
    return render(request, "portal/lines/remove.html", context)


@login_required
def recharge(request: HttpRequest, public_id: str) -> HttpResponse:
    line = owned.line(request, public_id)
    bindings = usable_bindings(request)
    form = forms.ByHandForm(
        owned.posted(request),
        line=line,
        bindings=bindings,
        initial={"once": new_reference(), "binding": bindings[0].ref if bindings else None},
    )
    if request.method == "POST" and form.is_valid():
        response = _recharge(request, line, form)
        if response is not None:
            return response
    context = {
        "line": line,
        "form": form,
        "bindings": bindings,
        "slow": _slow_rails(bindings, line),
        "section": "lines",
    }
    return render(request, "portal/lines/recharge.html", context)


def _slow_rails(bindings: list[Binding], line: Line) -> list[dict[str, Any]]:
    """Those among the rails that take money days after they are told, with the day."""
    leads = {
        binding.rail: gateways.capabilities(binding.rail_id).lead
        for binding in bindings
        if binding.rail_id in gateways.available()
    }
    now, zone = timezone.now(), zones.zone_of(line.timezone)
    return [
        {"rail": rail, "on": (now + lead).astimezone(zone).date()}
        for rail, lead in leads.items()
        if lead
    ]


def _recharge(request: HttpRequest, line: Line, form: django_forms.Form) -> HttpResponse | None:
    values: dict[str, Any] = form.cleaned_data
    try:
        opened = by_hand.recharge(
            line=line,
            binding=values["binding"],
            face_minor=values["face"],
            owner=owned.person(request),
            idempotency_key=values["once"],
            capabilities=gateways.capabilities(values["binding"].rail_id),
            at=timezone.now(),
        )
    except gateways.RailNotConfigured:
        form.add_error("binding", _("This payment method cannot be used now. Choose another."))
    except machine.OpenRecharge:
        form.add_error(None, _("A recharge of this line is under way. Wait until it has ended."))
    except by_hand.NotSold:
        form.add_error("face", _("The carrier does not sell that."))
    except by_hand.NotPayable as refusal:
        form.add_error("binding" if refusal.field == "binding" else "face", refusal.sentence)
    except by_hand.LineNotLive:
        form.add_error(None, _("This line is not active, so it cannot be recharged."))
    except by_hand.BindingNotUsable:
        form.add_error("binding", _("This payment method cannot be used now. Choose another."))
    except CapReached as reached:
        form.add_error(None if reached.code == "cap_day" else "face", _beyond(reached))
    else:
        return redirect("portal:recharge", opened.ref)
    return None


def _beyond(reached: CapReached) -> str:
    """Which limit it would break, with its figures, and what can be done about it."""
    ways = {
        "cap_day": _("Recharge again tomorrow, or change the limit in its auto-recharge."),
        "cap_month": _("Choose a smaller amount, or change the limit in its auto-recharge."),
    }
    return figures.joined([wording.cap(reached), *filter(None, [ways.get(reached.code)])])


def usable_bindings(request: HttpRequest) -> list[Binding]:
    """The person's payment methods that can be charged now, the default one first."""
    found = queries.bindings(request.user).select_related("rail").order_by("-is_default", "pk")
    return [binding for binding in found if binding.is_usable]

"""Payment methods: bound on the rail's own page, seen as the rail sees them, removed."""

import logging
from datetime import datetime, timedelta

from allauth.account.adapter import get_adapter
from csp.decorators import csp_replace
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from billing import gateways, queries
from billing.bindings import lifecycle
from billing.models import Binding, BindingState, Rail, Rule
from billing.payments import tries
from billing.words import reasons as reasons
from portal import owned, wording
from portal.forms.payment import RemoveForm

log = logging.getLogger(__name__)

# How long the page waits by itself for the rail to say that it is signed.
PATIENCE = timedelta(minutes=10)
# The rail is not asked more often, however often the page is loaded.
_ASK_EVERY = timedelta(seconds=3)
# A browser holds a form to `form-action` through every redirect, and the rails' are not ours to
# list: docs/decisions/0013-where-forms-go.md.
_leads_to_signing = csp_replace({"form-action": None})


@_leads_to_signing
@login_required
def index(request: HttpRequest) -> HttpResponse:
    if waiting := _back_from_signing(request):
        return redirect("portal:binding", waiting.ref)
    shown = (
        queries.bindings(request.user)
        .exclude(state=BindingState.ABANDONED)
        .select_related("rail")
        .order_by("-is_default", "-pk")
    )
    rules = list(queries.rules(request.user).filter(is_on=True).select_related("line"))
    rows = [
        {
            "binding": binding,
            "names": [
                rule.line.label or rule.line.masked
                for rule in rules
                if rule.binding_id == binding.pk
            ],
        }
        for binding in shown
    ]
    context = {"rows": rows, "rails": _rails(), "section": "payment"}
    return render(request, "portal/payment/index.html", context)


def _back_from_signing(request: HttpRequest) -> Binding | None:
    """WeChat Pay sends the payer back to the page it was entered from, marked so; what was being
    signed has a page of its own, which asks the rail."""
    if "from_wxpay" not in request.GET:
        return None
    waiting = queries.bindings(request.user).filter(rail__code="wechat")
    return waiting.filter(state=BindingState.PENDING).order_by("-pk").first()


def _rails() -> list[Rail]:
    """The rails that are configured and switched on, in the operator's order."""
    return list(
        Rail.objects.filter(is_enabled=True, code__in=gateways.available()).order_by("sort_order")
    )


@login_required
@require_POST
def bind(request: HttpRequest) -> HttpResponse:
    """Begin an agreement and go to the rail's own page to sign it; no card number comes here."""
    offered = Rail.objects.filter(is_enabled=True, code__in=gateways.available())
    rail = get_object_or_404(offered, code=request.POST.get("rail", ""))
    try:
        started = lifecycle.start(
            owner=owned.person(request),
            rail=rail,
            return_url=_return_url(),
            notify_url=_notify_url(rail),
            gateway=gateways.get(rail.code),
            at=timezone.now(),
            payer_ip=get_adapter().get_client_ip(request),
            language=request.LANGUAGE_CODE,
        )
    except lifecycle.RailNotAnswering:
        name = wording.rail(rail)
        text = _("%(rail)s does not answer. Nothing was bound; try again in a minute.")
        messages.error(request, text % {"rail": name})
        return redirect("portal:payment")
    except lifecycle.RailNotOffered:
        messages.error(request, _("This way of paying takes nothing new right now."))
        return redirect("portal:payment")
    return _to_signing_page(started.url)


class _SigningRedirect(HttpResponseRedirect):
    """Also into the wallet itself, where that is where it is signed."""

    allowed_schemes = [*HttpResponseRedirect.allowed_schemes, "weixin", "alipays"]


def _to_signing_page(url: str) -> HttpResponse:
    """With the page it comes from: WeChat Pay sends the payer back to that."""
    return _SigningRedirect(url, headers={"Referrer-Policy": "no-referrer-when-downgrade"})


def _return_url() -> str:
    """Back to the binding's own page, which asks the rail; "{ref}" is filled in by `start`."""
    return settings.PUBLIC_URL + reverse("portal:binding", args=["REF"]).replace("REF", "{ref}")


def _notify_url(rail: Rail) -> str:
    return settings.PUBLIC_URL + reverse("incoming-rail", args=[rail.code])


@_leads_to_signing  # type: ignore[arg-type]  # the library's type knows no view with a name
@login_required
@never_cache
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """One payment method. While it waits for the agreement, the rail is asked on every look."""
    binding = owned.binding(request, ref)
    if request.GET:
        # What a rail adds on the way back is long, signed and not needed, since the rail is asked:
        # off the address bar, so that it is in no history and no reader copies it.
        return redirect("portal:binding", ref)
    at = timezone.now()
    if binding.state == BindingState.PENDING and _may_ask(binding, at):
        binding = _refreshed(binding, at)
    waits_until = binding.created_at + PATIENCE
    context = {
        "binding": binding,
        "is_waiting": binding.state == BindingState.PENDING and at < waits_until,
        "waits_until": waits_until,
        "rules": _rules_by(request, binding),
        "pause": reasons.reason(
            code=binding.pause_reason,
            facts={"rail": binding.rail_id},
            language=request.LANGUAGE_CODE,
        ),
        "next_url": _line_to_set_up(request),
        "tries": tries.shown(binding, at=at),
        "section": "payment",
    }
    return render(request, "portal/payment/show.html", context)


def _may_ask(binding: Binding, at: datetime) -> bool:
    return binding.checked_at is None or at - binding.checked_at >= _ASK_EVERY


def _refreshed(binding: Binding, at: datetime) -> Binding:
    try:
        return lifecycle.refresh(binding=binding, gateway=gateways.get(binding.rail_id), at=at)
    except gateways.RailNotConfigured:
        log.exception("A binding waits for a rail that is not configured.")
        return binding


def _line_to_set_up(request: HttpRequest) -> str:
    """Back to the plan that was being set up when a payment method was missing."""
    public_id = request.session.get("setting_up", "")
    return reverse("portal:setup-tool", args=[public_id]) if public_id else ""


def _rules_by(request: HttpRequest, binding: Binding) -> list[Rule]:
    return list(
        queries.rules(request.user).filter(binding=binding, is_on=True).select_related("line")
    )


@login_required
@require_POST
def make_default(request: HttpRequest, ref: str) -> HttpResponse:
    try:
        lifecycle.make_default(binding=owned.binding(request, ref), at=timezone.now())
    except lifecycle.BindingNotUsable:
        messages.error(request, _("This payment method cannot be used now. Choose another."))
    else:
        messages.success(request, _("This is now the one used first."))
    return redirect("portal:payment")


@login_required
@require_POST
def resume(request: HttpRequest, ref: str) -> HttpResponse:
    binding = owned.binding(request, ref)
    try:
        lifecycle.resume(binding=binding, actor=owned.person(request), at=timezone.now())
    except lifecycle.BindingNotUsable:
        messages.error(request, _("This payment method cannot be used now. Choose another."))
    else:
        messages.success(request, _("This payment method is used again."))
    return redirect("portal:binding", ref)


@login_required
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    binding = owned.binding(request, ref)
    rules = _rules_by(request, binding)
    others = [
        other
        for other in queries.bindings(request.user).select_related("rail").exclude(pk=binding.pk)
        if other.is_usable
    ]
    form = RemoveForm(owned.posted(request), rules=rules, others=others)
    if request.method == "POST" and form.is_valid():
        try:
            lifecycle.end(
                binding=binding,
                gateway=gateways.get(binding.rail_id),
                what_of_rules=form.cleaned_data["what_of_rules"] or lifecycle.PAUSE,
                at=timezone.now(),
            )
        except lifecycle.BindingNotUsable:
            form.add_error("what_of_rules", _("This payment method cannot be used now."))
        else:
            sentence = _("The payment method is removed. Nothing more is charged to it.")
            messages.success(request, sentence)
            return redirect("portal:payment")
    context = {"binding": binding, "rules": rules, "form": form, "section": "payment"}
    return render(request, "portal/payment/remove.html", context)

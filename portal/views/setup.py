"""Setting up auto-recharge, step by step, to the page that is agreed to.

What is typed stays in the session until it is confirmed; nothing is charged before, and nothing
else turns a rule on. The page agreed to carries a mark of what it showed: a plan, an offer or a
limit that changed since is shown again instead of being agreed to unseen.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import gateways
from billing.gateways.base import Capabilities
from billing.models import Binding, Rule, TopUpMode
from billing.plans import consents, contract, drafts
from billing.plans.drafts import Draft
from billing.plans.problems import InvalidDraft
from billing.plans.underway import ENDS, FINISHED, GOES_ON, Underway, underway
from lines import zones
from lines.models import Line, LineStatus
from portal import cards, owned, wording
from portal.forms import setup as forms
from portal.views.lines import usable_bindings

STEPS = tuple(forms.FORMS)
_KEY = "plans_being_typed"
_MOST_KEPT = 5  # plans half typed at once, so that a session stays small

# Where each field of a draft was typed.
_TYPED_AT = {
    "line": ("tool", None),
    "binding": ("tool", "binding"),
    "fallback_binding": ("tool", "fallback"),
    "face_minor": ("amount", "face"),
    "cycle": ("amount", "cycle"),
    "anchor_date": ("amount", "anchor_date"),
    "charge_time": ("amount", "charge_time"),
    "threshold_minor": ("low", "threshold"),
    "topup_mode": ("low", "topup_mode"),
    "target_minor": ("low", "target"),
    "expiry_days_before": ("low", "expiry_days_before"),
    "max_per_charge_minor": ("limits", "max_per_charge"),
    "max_per_day_count": ("limits", "max_per_day"),
    "max_per_month_minor": ("limits", "max_per_month"),
    "remind_days_before": ("limits", "remind_days"),
    "channels": ("limits", "by_email"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend before a plan can be agreed to, and where."""

    sentence: str
    step: str


@login_required
def begin(request: HttpRequest, public_id: str) -> HttpResponse:
    """Start from the rule as it is, or from what is usual; or from what was typed before."""
    line = owned.line(request, public_id)
    if line.status != LineStatus.ACTIVE:
        messages.warning(request, _("Verify this line first; then set up its auto-recharge."))
        return redirect("portal:line", public_id)
    rule = cards.rule_of(line)
    if rule is not None and rule.is_on and rule.binding is not None and rule.binding.is_usable:
        return redirect("portal:setup-review", public_id)  # all of it; each part can be changed
    return redirect("portal:setup-tool", public_id)


@login_required
def step(request: HttpRequest, public_id: str, name: str) -> HttpResponse:
    line = owned.line(request, public_id)
    if line.status != LineStatus.ACTIVE:
        return redirect("portal:setup", public_id)
    bindings = usable_bindings(request)
    typed = _typed(request, line, bindings)
    form = forms.FORMS[name](
        owned.posted(request), line=line, bindings=bindings, initial=typed[name]
    )
    if request.method == "POST":
        if name == "amount" and form.is_valid():
            typed = _follow(line, bindings, typed, face_minor=form.cleaned_data["face"])
        typed = typed | {name: forms.raw(form)}
        _keep(request, line, typed)
        if form.is_valid() and _fits(form, name, line, bindings, typed):
            return redirect(_after(name, request), public_id)
    else:
        request.session["setting_up"] = line.public_id
    context = {
        "line": line,
        "form": form,
        "bindings": bindings,
        "number": STEPS.index(name) + 1,
        "steps": range(1, len(STEPS) + 2),
        "returns": _returns(request),
        "back": "portal:setup-review" if _returns(request) else _before(name),
        "name": name,
        "section": "rules",
    }
    return render(request, f"portal/setup/{name}.html", context)


def _follow(
    line: Line, bindings: list[Binding], typed: forms.AllTyped, *, face_minor: int
) -> forms.AllTyped:
    """Limits that nobody has touched follow the amount: offered ones must not refuse it."""
    before = forms.FORMS["amount"](typed["amount"], line=line, bindings=bindings)
    if not before.is_valid():
        return typed
    if typed["limits"] != forms.usual_limits(line, before.cleaned_data["face"]):
        return typed
    return typed | {"limits": forms.usual_limits(line, face_minor)}


def _fits(
    form: forms.StepForm,
    name: str,
    line: Line,
    bindings: list[Binding],
    typed: forms.AllTyped,
) -> bool:
    """Whether this step holds together with the others; what does not is said at its field.

    Steps not come to yet are not held against it.
    """
    draft = _draft(line, _bound(line, bindings, typed))
    if draft is None:
        return True
    for field, sentence in _errors(draft, timezone.now()).items():
        at_step, at_field = _TYPED_AT.get(field, ("limits", None))
        if at_step == name:
            form.add_error(at_field, sentence)
    return form.is_valid()


def _capabilities(draft: Draft) -> Capabilities:
    if draft.binding is None:
        raise Binding.DoesNotExist("a plan that is read has a payment method")
    return gateways.capabilities(draft.binding.rail_id)


def _errors(draft: Draft, at: datetime) -> dict[str, str]:
    capabilities = _capabilities(draft) if draft.binding else None
    try:
        contract.check(draft=draft, capabilities=capabilities, at=at)
    except InvalidDraft as refusal:
        return refusal.errors
    return {}


@login_required
def review(request: HttpRequest, public_id: str) -> HttpResponse:
    """Everything at once, and the words agreed to. Posting it is the only way to turn a rule on."""
    line = owned.line(request, public_id)
    if request.method == "POST" and not _is_typed(request, line):
        return redirect("portal:setup-done", public_id)  # pressed twice: it is on by now
    bindings = usable_bindings(request)
    bound = _bound(line, bindings, _typed(request, line, bindings))
    draft = _draft(line, bound)
    if draft is None:
        wrong = next(name for name in STEPS if not bound[name].is_valid())
        messages.warning(request, _("Something is still missing here."))
        return redirect(f"portal:setup-{wrong}", public_id)
    if not _is_typed(request, line):  # straight from the rule as it is: what is read is kept
        _keep(request, line, {name: dict(form.data) for name, form in bound.items()})
    return _agree(request, draft)


def _agree(request: HttpRequest, draft: Draft) -> HttpResponse:
    at = timezone.now()
    errors = _errors(draft, at)
    context: dict[str, object] = {
        "line": draft.line,
        "draft": draft,
        "problems": [_problem(field, sentence) for field, sentence in errors.items()],
        "is_change": (rule := cards.rule_of(draft.line)) is not None and rule.is_on,
        "section": "rules",
    }
    if not errors:
        context |= _shown(request, draft, at)
    if request.method == "POST" and not errors:
        if request.POST.get("seen") == context["seen"] and _is_confirmed(request, draft, at):
            return redirect("portal:setup-done", draft.line.public_id)
        messages.warning(request, _("Something changed meanwhile. Please read it once more."))
        return redirect("portal:setup-review", draft.line.public_id)
    return render(request, "portal/setup/review.html", context)


def _problem(field: str, sentence: str) -> Problem:
    return Problem(sentence, _TYPED_AT.get(field, ("limits", None))[0])


def _shown(request: HttpRequest, draft: Draft, at: datetime) -> dict[str, object]:
    language = request.LANGUAGE_CODE
    capabilities = _capabilities(draft)
    preview = contract.preview(draft=draft, capabilities=capabilities, at=at)
    consent = contract.consent_text(draft=draft, preview=preview, language=language)
    dates = [f"{charge.due_at.isoformat()} {charge.price_minor}" for charge in preview.charges]
    version = rule.version if (rule := cards.rule_of(draft.line)) else 0
    under_way = underway(draft)
    seen = "\n".join([repr(draft), str(version), consent.text, repr(under_way), *dates])
    return {
        "preview": preview,
        "consent": consent,
        "sentences": consents.sentences(
            draft=draft, preview=preview, capabilities=capabilities, language=language, at=at
        ),
        "tool": consents.tool_name(draft.binding),
        "occasions": cards.occasions(draft),
        "amount": cards.amount_words(draft),
        "underway": _underway_words(under_way),
        "seen": hashlib.sha256(seen.encode()).hexdigest(),
    }


def _underway_words(found: Underway | None) -> str:
    """What is under way, and what these terms make of it; "": nothing is."""
    if found is None:
        return ""
    sentences = {
        ENDS: _(
            "A charge of {price} is under way and not made yet. With this plan it ends, and nothing"
            " is taken for it; what is due then is charged as agreed here."
        ),
        GOES_ON: _("A charge of {price} is under way. It fits this plan, and goes on."),
        FINISHED: _(
            "A charge of {price} has been sent already. It is finished as it was agreed; this plan"
            " holds for every charge after it."
        ),
    }
    price = wording.short_money(found.price_minor, found.currency)
    return sentences[found.becomes].format(price=price)


def _is_confirmed(request: HttpRequest, draft: Draft, at: datetime) -> bool:
    """Turn it on, as read. False: somebody or something else was faster, so read again."""
    capabilities = _capabilities(draft)
    rule = cards.rule_of(draft.line)
    try:
        if rule is None or not rule.is_on:
            rule = contract.save_draft(draft=draft, capabilities=capabilities, at=at)
        contract.confirm(
            rule=rule,
            owner=owned.person(request),
            seen_version=rule.version,
            capabilities=capabilities,
            language=request.LANGUAGE_CODE,
            ip=get_adapter().get_client_ip(request),
            user_agent=request.headers.get("User-Agent", "")[:200],
            draft=draft,
            at=at,
        )
    except (contract.StalePlan, contract.RuleIsOn, contract.InvalidDraft):
        return False
    _forget(request, draft.line)
    return True


@login_required
def done(request: HttpRequest, public_id: str) -> HttpResponse:
    """The plan on record, as it was agreed to."""
    rule = owned.rule(request, public_id)
    if rule.consent is None:
        return redirect("portal:setup", public_id)
    at = timezone.now()
    context = {
        "rule": rule,
        "line": rule.line,
        "consent": rule.consent,
        "standing": cards.standing(rule.line, rule, at=at),
        "occasions": cards.occasions(drafts.of(rule)),
        "amount": cards.amount_words(drafts.of(rule)),
        "section": "rules",
    }
    return render(request, "portal/setup/done.html", context)


def _typed(request: HttpRequest, line: Line, bindings: list[Binding]) -> forms.AllTyped:
    """What was typed so far; else the rule as it stands; else what is usual."""
    rule = cards.rule_of(line)
    if _is_typed(request, line):
        kept = request.session[_KEY][line.public_id]
        stands = forms.values_of(rule) if rule is not None else {}
        return _brought_up_to(stands, base=kept["base"], typed=kept["typed"])
    today = timezone.now().astimezone(zones.zone_of(line.timezone)).date()
    starting = forms.starting_values(line, bindings, today)
    if rule is None:
        return starting
    values = forms.values_of(rule)
    if not rule.anchor_date:
        values["amount"]["anchor_date"] = starting["amount"]["anchor_date"]
    return values


def _brought_up_to(
    stands: forms.AllTyped, *, base: forms.AllTyped, typed: forms.AllTyped
) -> forms.AllTyped:
    """What was typed over `base`, over the plan as it stands by now: what nobody touched here
    follows a change that was made elsewhere meanwhile, instead of undoing it."""
    return {
        step: values
        | {
            name: now
            for name, now in stands.get(step, {}).items()
            if name in values and name in base.get(step, {}) and values[name] == base[step][name]
        }
        for step, values in typed.items()
    }


def _is_typed(request: HttpRequest, line: Line) -> bool:
    return line.public_id in request.session.get(_KEY, {})


def _keep(request: HttpRequest, line: Line, typed: forms.AllTyped) -> None:
    kept = dict(request.session.get(_KEY, {}))
    kept.pop(line.public_id, None)
    latest = list(kept.items())[-(_MOST_KEPT - 1) :]
    rule = cards.rule_of(line)
    base = forms.values_of(rule) if rule is not None else {}
    request.session[_KEY] = dict([*latest, (line.public_id, {"typed": typed, "base": base})])


def _forget(request: HttpRequest, line: Line) -> None:
    kept = request.session.get(_KEY, {})
    kept.pop(line.public_id, None)
    request.session[_KEY] = kept
    request.session.pop("setting_up", None)


def _bound(line: Line, bindings: list[Binding], typed: forms.AllTyped) -> dict[str, forms.StepForm]:
    return {
        name: form(typed[name], line=line, bindings=bindings) for name, form in forms.FORMS.items()
    }


def _draft(line: Line, bound: dict[str, forms.StepForm]) -> Draft | None:
    """All steps as one plan; None while one of them does not read."""
    if not all(form.is_valid() for form in bound.values()):
        return None
    tool, amount, low, limits = (bound[name].cleaned_data for name in STEPS)
    is_low = low["threshold"] is not None
    rule = cards.rule_of(line)
    return Draft(
        line=line,
        binding=tool["binding"],
        fallback_binding=tool["fallback"],
        face_minor=amount["face"],
        cycle=amount["cycle"],
        anchor_date=amount["anchor_date"] or _idle_anchor(rule, cycle=amount["cycle"]),
        charge_time=amount["charge_time"],
        threshold_minor=low["threshold"],
        topup_mode=low["topup_mode"] if is_low else TopUpMode.BY.value,
        target_minor=low["target"] if is_low else None,
        expiry_days_before=low["expiry_days_before"],
        max_per_charge_minor=limits["max_per_charge"],
        max_per_day_count=limits["max_per_day"],
        max_per_month_minor=limits["max_per_month"],
        remind_low_balance=limits["remind_low_balance"],
        remind_days_before=tuple(limits["remind_days"]),
        remind_result=limits["remind_result"],
        channels=forms.channels_of(rule, by_email=limits["by_email"]),
    )


def _idle_anchor(rule: Rule | None, *, cycle: str) -> date | None:
    """The day that a plan without a schedule holds all the same; these pages do not show it."""
    return rule.anchor_date if rule is not None and rule.cycle == cycle == "none" else None


def _returns(request: HttpRequest) -> bool:
    """Whether one part is being changed from the whole plan, to which it then goes back."""
    return "review" in request.GET


def _after(name: str, request: HttpRequest) -> str:
    if "review" in request.POST or _returns(request):
        return "portal:setup-review"
    index = STEPS.index(name) + 1
    return f"portal:setup-{STEPS[index]}" if index < len(STEPS) else "portal:setup-review"


def _before(name: str) -> str:
    index = STEPS.index(name)
    return f"portal:setup-{STEPS[index - 1]}" if index else "portal:line"

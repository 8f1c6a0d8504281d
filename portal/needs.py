"""What waits for the subscriber, the most pressing first: a sentence and one thing to press."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import consents
from billing.models import Binding, BindingState, Recharge, Rule
from billing.states import RechargeState
from lines.models import Line, LineStatus
from portal import cards, wording

_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to do. `url` is where; it is a link, so nothing happens by looking."""

    title: str
    sentence: str
    action: str
    url: str
    tone: str = "warn"


def of(
    *,
    lines: Iterable[Line],
    rules: Iterable[Rule],
    bindings: Iterable[Binding],
    recharges: Iterable[Recharge],
    language: str,
    at: datetime,
) -> list[Need]:
    """All of them; `rules` with line and binding selected, `recharges` those still open."""
    rules = list(rules)
    return [
        *(_confirm(recharge) for recharge in recharges if _wants_payer(recharge)),
        *(_paused(rule, language) for rule in rules if rule.is_on and rule.paused_at),
        *(_unpayable(rule) for rule in rules if _lost_its_method(rule)),
        *(_expiring(one, rules) for one in bindings if _ends_soon(one, at)),
        *(_prove(line) for line in lines if line.status == LineStatus.UNVERIFIED),
    ]


def _wants_payer(recharge: Recharge) -> bool:
    return recharge.state == RechargeState.ACTION_REQUIRED


def _lost_its_method(rule: Rule) -> bool:
    return rule.is_on and not rule.paused_at and (not rule.binding or not rule.binding.is_usable)


def _ends_soon(binding: Binding, at: datetime) -> bool:
    ends = binding.expires_at
    return binding.state == BindingState.ACTIVE and ends is not None and ends - at < _SOON


def _confirm(recharge: Recharge) -> Need:
    return Need(
        title=_("Confirm a payment for %(line)s") % {"line": recharge.line},
        sentence=_("Your payment method asks you to confirm. Nothing is charged before you do."),
        action=_("See it"),
        url=reverse("portal:recharge", args=[recharge.ref]),
    )


def _paused(rule: Rule, language: str) -> Need:
    return Need(
        title=_("Auto-recharge of %(line)s is paused") % {"line": rule.line},
        sentence=cards.pause_words(rule, language),
        action=_("See why and go on"),
        url=reverse("portal:line", args=[rule.line.public_id]),
        tone="bad",
    )


def _unpayable(rule: Rule) -> Need:
    return Need(
        title=_("%(line)s has no working payment method") % {"line": rule.line},
        sentence=_("It is not recharged until you choose another one."),
        action=_("Choose a payment method"),
        url=reverse("portal:setup-tool", args=[rule.line.public_id]),
        tone="bad",
    )


def _expiring(binding: Binding, rules: Iterable[Rule]) -> Need:
    count = sum(1 for rule in rules if rule.is_on and rule.binding_id == binding.pk)
    ends = timezone.localtime(binding.expires_at).date()
    return Need(
        title=_("%(method)s ends on %(day)s")
        % {
            "method": consents.tool_name(binding),
            "day": wording.day(ends),
        },
        sentence=ngettext(
            "After that %(n)s line is no longer recharged by itself.",
            "After that %(n)s lines are no longer recharged by themselves.",
            count,
        )
        % {"n": count},
        action=_("Bind another"),
        url=reverse("portal:payment"),
    )


def _prove(line: Line) -> Need:
    return Need(
        title=_("Verify %(line)s") % {"line": line},
        sentence=_("Enter the code sent to the number, to show that the line is yours."),
        action=_("Enter the code"),
        url=reverse("portal:prove", args=[line.public_id]),
    )

"""What waits for the subscriber, the most pressing first: a sentence and one thing to press."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.models import Binding, BindingState, Recharge, Rule
from billing.plans import consents
from billing.states import RechargeState
from lines.models import Line, LineStatus
from portal import cards as card_words
from portal import stories, wording
from portal.cards import Card

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
    cards: Sequence[Card],
    bindings: Iterable[Binding],
    language: str,
    at: datetime,
) -> list[Need]:
    """All of them, for the lines on `cards` and the payment methods."""
    lines = [card.line for card in cards]
    rules = [card.rule for card in cards if card.rule]
    open_recharges = [card.under_way for card in cards if card.under_way]
    return [
        *(_confirm(recharge) for recharge in open_recharges if _wants_payer(recharge)),
        *(_declined(recharge) for recharge in open_recharges if _is_declined(recharge)),
        *(_paused(rule, language) for rule in rules if rule.is_on and rule.paused_at),
        *(_unpayable(rule) for rule in rules if _lost_its_method(rule)),
        *(_capped(card) for card in cards if card.is_capped and not card.under_way),
        *(_expiring(one, rules) for one in bindings if _ends_soon(one, at)),
        *(_prove(line) for line in lines if line.status == LineStatus.UNVERIFIED),
    ]


def _wants_payer(recharge: Recharge) -> bool:
    return recharge.state == RechargeState.ACTION_REQUIRED


def _is_declined(recharge: Recharge) -> bool:
    return recharge.state == RechargeState.DECLINED


def _lost_its_method(rule: Rule) -> bool:
    return rule.is_on and not rule.paused_at and (not rule.binding or not rule.binding.is_usable)


def _ends_soon(binding: Binding, at: datetime) -> bool:
    ends = binding.expires_at
    return binding.state == BindingState.ACTIVE and ends is not None and ends - at < _SOON


def _confirm(recharge: Recharge) -> Need:
    return Need(
        title=_("Confirm a payment for %(line)s") % {"line": _name(recharge.line)},
        sentence=_("Your payment method asks you to confirm. Nothing is charged before you do."),
        action=_("See it"),
        url=reverse("portal:recharge", args=[recharge.ref]),
    )


def _declined(recharge: Recharge) -> Need:
    return Need(
        title=_("Payment for %(line)s declined") % {"line": _name(recharge.line)},
        sentence=stories.how_it_stands(recharge),
        action=_("See it"),
        url=reverse("portal:recharge", args=[recharge.ref]),
    )


def _capped(card: Card) -> Need:
    line, rule = card.line, card.rule
    most_minor = rule.max_per_month_minor if rule else 0
    return Need(
        title=_("%(line)s is low, and its limit is used up") % {"line": _name(line)},
        sentence=_("%(spent)s of this month's %(cap)s is used, so nothing more is charged for it.")
        % {
            "spent": wording.short_money(card.spent_minor, line.currency),
            "cap": wording.short_money(most_minor, line.currency),
        },
        action=_("Change the limit"),
        url=reverse("portal:setup-limits", args=[line.public_id]),
    )


def _name(line: Line) -> str:
    """As its owner calls it; the number stands on its card just below."""
    return line.label or line.masked


def _paused(rule: Rule, language: str) -> Need:
    return Need(
        title=_("Auto-recharge of %(line)s is paused") % {"line": _name(rule.line)},
        sentence=card_words.pause_words(rule, language),
        action=_("See why and go on"),
        url=reverse("portal:line", args=[rule.line.public_id]),
        tone="bad",
    )


def _unpayable(rule: Rule) -> Need:
    return Need(
        title=_("%(line)s has no working payment method") % {"line": _name(rule.line)},
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
        title=_("Verify %(line)s") % {"line": _name(line)},
        sentence=_("Enter the code sent to the number, to show that the line is yours."),
        action=_("Enter the code"),
        url=reverse("portal:prove", args=[line.public_id]),
    )

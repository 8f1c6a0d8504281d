"""Stored codes and figures, in words for an operator."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from billing import money
from billing.models import Binding, Case, Decision, Recharge
from billing.reference_data import RAILS
from billing.states import RechargeState as S
from billing.words import reasons
from billing.words.reasons import Reason
from lines.admin.base import in_language
from lines.models import Carrier

# The subscriber reads "you canceled"; whoever reads for another needs to know who "you" was.
_FOR_OPERATORS: dict[str, tuple[Promise, Promise]] = {
    "canceled_by_owner": (
        _("Canceled by the owner"),
        _("The owner canceled it before it was charged; nothing was taken."),
    ),
    "canceled_by_operator": (
        _("Canceled by an operator"),
        _("An operator canceled it before it was charged; nothing was taken."),
    ),
    "approved": (
        _("Approved"),
        _("An operator checked it and let it be charged."),
    ),
    "refund_requested": (
        _("Refund requested"),
        _("An operator asked for a refund; a second person approves it."),
    ),
    "not_sent": (
        _("Put back"),
        _("The batch ran out of time before this was sent; it is sent with the next."),
    ),
    # What settled a case, where no move says so.
    "answered": (
        _("Answered"),
        _("The rail or the carrier has answered, so that it goes on."),
    ),
    "asked_again": (
        _("Could be asked again"),
        _("The rail or the carrier could be asked about it again."),
    ),
    "dispute_over": (
        _("The dispute is over"),
        _("The money stays ours, or what was lost is in the books."),
    ),
    "settled_lost": (
        _("Booked as a loss"),
        _("Two people have said what the bank keeps, and it is in the books."),
    ),
    "settled_returned": (
        _("Booked as given us again"),
        _("Two people have said what the bank gave us again, and it is in the books."),
    ),
    "settled_by_two": (
        _("Found out"),
        _("Two people have said what the rail or the carrier did, and it is in the books."),
    ),
    "settled_elsewhere": (
        _("Settled elsewhere"),
        _("An operator put it right at the rail or the carrier."),
    ),
}


_RAILS = {code: (name, name_en) for code, name, name_en in RAILS}
# As `incoming` and `disputes` keep it.
_ACTED: dict[str, Promise] = {
    "woken": _("they were asked at once"),
    "again later": _("waits for its turn"),
    "failed": _("could not be acted on"),
    "not ours": _("names nothing of ours"),
    "nothing to do": _("nothing to do"),
    "paused": _("the payment method was paused"),
    "won": _("the dispute was won"),
}


def amount(amount_minor: int, currency: str) -> str:
    """An amount with its sign, in the reader's language."""
    return money.format_minor(amount_minor, currency, get_language() or "en")


def state(code: str) -> str:
    """A recharge's state; the subscriber's "needs you to confirm" would mean the operator."""
    if code == S.ACTION_REQUIRED:
        return gettext("the payer must confirm")
    return str(S(code).label)


def rail(code: str) -> str:
    """A rail by its code; a carrier's or an unknown one's code as it is."""
    return in_language(*_RAILS.get(code, (code, code)))


def method(binding: Binding) -> str:
    """A payment method: its rail as people call it, and the account as it is shown, masked."""
    return f"{rail(binding.rail_id)} {binding.label}".strip()


def source(name: str, carrier: Carrier) -> str:
    """Who sent a message: "rail:alipay", or the carrier of the line."""
    kind, _colon, code = name.partition(":")
    if kind == "rail":
        return rail(code)
    return in_language(carrier.name, carrier.name_en) if code == carrier.code else code


def acted(outcome: str) -> str:
    """What a message led to; as it is kept, where there are no words for it."""
    return str(_ACTED.get(outcome, outcome))


def reason(code: str, facts: Mapping[str, Any], *, timezone: str, at: datetime) -> Reason:
    """A reason's title and sentence; the subscriber's own words, except where they say "you"."""
    if code in _FOR_OPERATORS:
        title, sentence = _FOR_OPERATORS[code]
        return Reason(str(title), str(sentence))
    language = get_language() or "en"
    return reasons.reason(code=code, facts=facts, language=language, timezone=timezone, at=at)


def title(code: str) -> str:
    """A reason's title alone, for a list or a filter: without figures it names none."""
    if code in _FOR_OPERATORS:
        return str(_FOR_OPERATORS[code][0])
    return reasons.reason(code=code, facts={}, language=get_language() or "en").title


def decision(one: Decision) -> Reason:
    """Why a rule did or did not charge. With its rule's line selected."""
    line = one.rule.line
    facts = {"currency": line.currency} | one.facts
    return reason(one.code, facts, timezone=line.timezone, at=one.at)


def facts_of(recharge: Recharge) -> dict[str, Any]:
    """The figures a reason's sentence may name."""
    carrier = recharge.line.carrier
    return {
        "face_minor": recharge.face_minor,
        "price_minor": recharge.price_minor,
        "discount_minor": recharge.discount_minor,
        "bonus_minor": recharge.bonus_minor,
        "credited_minor": recharge.credited_minor,
        "currency": recharge.currency,
        "rail": recharge.rail,
        "carrier_name": carrier.name,
        "carrier_name_en": carrier.name_en,
    }


def figures(facts: Mapping[str, Any]) -> SafeString:
    """Stored facts as they are, for whoever must know exactly."""
    return format_html(
        '<pre class="k-code">{}</pre>', json.dumps(facts, ensure_ascii=False, indent=2)
    )


def case(one: Case) -> Reason:
    """What a person must settle. With its recharge's line, and its refund, selected."""
    facts = facts_of(one.recharge)
    if one.refund is not None:
        facts |= {"amount_minor": one.refund.amount_minor}
    return reason(one.code, facts, timezone=one.recharge.line.timezone, at=one.since)

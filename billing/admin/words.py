"""Stored codes and figures, in words for an operator."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from billing import money, wording
from billing.models import Decision, Recharge
from billing.wording import Reason

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
}


def amount(amount_minor: int, currency: str) -> str:
    """An amount with its sign, in the reader's language."""
    return money.format_minor(amount_minor, currency, get_language() or "en")


def reason(code: str, facts: Mapping[str, Any], *, timezone: str, at: datetime) -> Reason:
    """A reason's title and sentence; the subscriber's own words, except where they say "you"."""
    if code in _FOR_OPERATORS:
        title, sentence = _FOR_OPERATORS[code]
        return Reason(str(title), str(sentence))
    language = get_language() or "en"
    return wording.reason(code=code, facts=facts, language=language, timezone=timezone, at=at)


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


def attention(recharge: Recharge) -> Reason:
    """What a person must settle."""
    at = recharge.attention_since or recharge.created_at
    zone = recharge.line.timezone
    return reason(recharge.attention, facts_of(recharge), timezone=zone, at=at)

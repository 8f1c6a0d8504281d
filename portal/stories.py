"""Why a line was, or was not, recharged: decisions, recharges and their moves, told in order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from billing.models import Decision, Recharge, RechargeMove
from billing.states import RechargeState as S
from billing.states import Trigger
from billing.words import figures
from billing.words import reasons as reasons
from lines import zones
from portal import wording

# What each state means to the payer; `%(amount)s` is what the line gets.
_WORDS: dict[str, Promise] = {
    S.WAITING: _("%(amount)s planned"),
    S.REVIEW: _("%(amount)s held for a check"),
    S.DUE: _("%(amount)s about to be charged"),
    S.CHARGING: _("%(amount)s being charged"),
    S.PAYMENT_PENDING: _("%(amount)s waiting for the payment"),
    S.PAYMENT_UNKNOWN: _("%(amount)s: confirming, not charged twice"),
    S.ACTION_REQUIRED: _("%(amount)s needs you to confirm"),
    S.DECLINED: _("%(amount)s declined, will be tried again"),
    S.FAILED: _("%(amount)s not recharged, nothing charged"),
    S.CHARGED: _("%(amount)s paid, being credited"),
    S.DELIVERING: _("%(amount)s paid, being credited"),
    S.DELIVERY_PENDING: _("%(amount)s paid, being credited"),
    S.DELIVERY_UNKNOWN: _("%(amount)s paid, confirming the credit"),
    S.UNDELIVERABLE: _("%(amount)s paid, could not be credited"),
    S.COMPLETED: _("%(amount)s credited"),
    S.REVERSED: _("%(amount)s taken back by the carrier"),
    S.REFUNDING: _("%(amount)s: the money is on its way back"),
    S.REFUNDED: _("%(amount)s refunded"),
    S.CANCELED: _("%(amount)s canceled, nothing charged"),
    S.MISSED: _("%(amount)s missed, nothing charged"),
}
# Why it was begun, the first whose figures are known.
_CAUSES: dict[str, tuple[Promise, ...]] = {
    Trigger.LOW_BALANCE: (
        _("At the usual pace the balance would have run out on {runs_out_at}."),
        _("The balance of {low_balance} was below {low_threshold}."),
        _("The balance was low."),
    ),
    Trigger.SCHEDULE: (_("Its planned day had come."),),
    Trigger.EXPIRY: (_("The validity was about to end."),),
    Trigger.MANUAL: (_("You asked for it by hand."),),
}
_DECLINED = frozenset({"soft_decline", "hard_decline", "retries_exhausted", "fallback"})
_TONES = {
    S.COMPLETED: "good",
    S.PAYMENT_UNKNOWN: "warn",
    S.DELIVERY_UNKNOWN: "warn",
    S.ACTION_REQUIRED: "warn",
    S.REVIEW: "warn",
    S.DECLINED: "warn",
    S.FAILED: "bad",
    S.UNDELIVERABLE: "bad",
    S.REVERSED: "bad",
    S.MISSED: "bad",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, or did not, and why. `code` is for support, in a details element."""

    at: datetime
    title: str
    sentence: str
    tone: str = ""
    url: str = ""
    code: str = ""


def title(recharge: Recharge) -> str:
    """ "¥50 credited"."""
    amount = wording.short_money(recharge.credit_minor, recharge.currency)
    expected_at = expected(recharge)
    if expected_at is not None and recharge.state in (S.WAITING, S.PAYMENT_PENDING):
        on = timezone.localtime(expected_at, zones.zone_of(recharge.line.timezone)).date()
        text = _("%(amount)s will be charged on %(day)s")
        return str(text) % {"amount": amount, "day": wording.day(on)}
    return str(_WORDS[S(recharge.state)]) % {"amount": amount}


def tone(state: str) -> str:
    return _TONES.get(S(state), "")


def of_line(
    *, recharges: Iterable[Recharge], decisions: Iterable[Decision], limit: int
) -> list[Entry]:
    """Recharges and decisions *not* to make one, each newest first, told together.

    `recharges` with their line selected and decisions and attempts prefetched; `decisions` with
    line.
    """
    entries = [of_recharge(recharge) for recharge in recharges]
    entries += [_of_decision(decision) for decision in decisions]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:limit]


def of_recharge(recharge: Recharge) -> Entry:
    """One recharge in one entry: the cause, then how it stands."""
    at = recharge.completed_at or recharge.charged_at or recharge.created_at
    return Entry(
        at=at,
        title=title(recharge),
        sentence=figures.joined([_cause(recharge, at=at), how_it_stands(recharge)]),
        tone=tone(recharge.state),
        url=reverse("portal:recharge", args=[recharge.ref]),
        code=recharge.reason,
    )


def how_it_stands(recharge: Recharge) -> str:
    """What has become of it, as a sentence: what was paid, why it was declined, what follows."""
    at = recharge.completed_at or recharge.charged_at or recharge.created_at
    facts = facts_of(recharge)
    if recharge.reason in _DECLINED:
        facts |= {"decline_code": _decline_code(recharge)}
    return _reason(recharge.reason, facts, recharge.line.timezone, at).sentence


def _cause(recharge: Recharge, *, at: datetime) -> str:
    facts = facts_of(recharge)
    for decision in list(recharge.decisions.all())[:1]:
        facts |= decision.facts
    known = figures.written(facts, timezone=recharge.line.timezone, at=at)
    return figures.first_written(_CAUSES[recharge.trigger], known)


def _decline_code(recharge: Recharge, *, at: datetime | None = None) -> str:
    """Why the payment was declined: the last time, or at `at`, when attempt and move were one."""
    declined = [one for one in recharge.attempts.all() if one.code and at in (None, one.settled_at)]
    return max(declined, key=lambda one: one.number).code if declined else ""


def moves_of(recharge: Recharge, moves: Iterable[RechargeMove]) -> list[Entry]:
    """The whole story of one recharge, newest first, each move in words."""
    facts = facts_of(recharge)
    for decision in recharge.decisions.all()[:1]:
        facts = decision.facts | facts
    entries = [_of_move(move, facts | _facts_of_move(recharge, move), recharge) for move in moves]
    return entries[::-1]


def _facts_of_move(recharge: Recharge, move: RechargeMove) -> dict[str, Any]:
    if move.because not in _DECLINED:
        return {}
    return {"decline_code": _decline_code(recharge, at=move.at)}


def facts_of(recharge: Recharge) -> dict[str, Any]:
    """The figures a reason's sentence may name; minor units and ISO 4217."""
    return {
        "face_minor": recharge.face_minor,
        "price_minor": recharge.price_minor,
        "discount_minor": recharge.discount_minor,
        "bonus_minor": recharge.bonus_minor,
        "credited_minor": recharge.credited_minor,
        "currency": recharge.currency,
        "rail": recharge.rail,
        **_expected(recharge),
        **_took(recharge),
        "carrier_name": recharge.line.carrier.name,
        "carrier_name_en": recharge.line.carrier.name_en,
    }


def expected(recharge: Recharge) -> datetime | None:
    """When the money is to move, on a rail that says so beforehand; None: as soon as may be."""
    if recharge.earliest_charge_at is None:
        return None
    if recharge.latest_charge_at is None:
        return recharge.earliest_charge_at
    return max(recharge.earliest_charge_at, min(recharge.due_at, recharge.latest_charge_at))


def _took(recharge: Recharge) -> dict[str, int]:
    """Whole seconds from the payment to the credit, at least one: "within" is said of them."""
    if recharge.charged_at is None or recharge.completed_at is None:
        return {}
    passed = recharge.completed_at - recharge.charged_at
    return {"took_s": max(1, -(-passed // timedelta(seconds=1)))}


def _expected(recharge: Recharge) -> dict[str, str]:
    if recharge.state == S.DECLINED and recharge.act_at is not None:
        return {"until": recharge.act_at.isoformat()}  # the next try
    instant = expected(recharge)
    return {} if instant is None else {"at": instant.isoformat(), "until": instant.isoformat()}


def _of_decision(decision: Decision) -> Entry:
    line = decision.rule.line
    facts = {"currency": line.currency} | decision.facts
    reason = _reason(decision.code, facts, line.timezone, decision.at)
    return Entry(at=decision.at, title=reason.title, sentence=reason.sentence, code=decision.code)


def _of_move(move: RechargeMove, facts: dict[str, Any], recharge: Recharge) -> Entry:
    reason = _reason(move.because, facts, recharge.line.timezone, move.at)
    return Entry(
        at=move.at,
        title=reason.title,
        sentence=reason.sentence,
        tone=tone(move.target),
        code=f"{move.because} · {move.target}",
    )


def _reason(code: str, facts: dict[str, Any], timezone: str, at: datetime) -> reasons.Reason:
    language = get_language() or "en"
    return reasons.reason(code=code, facts=facts, language=language, timezone=timezone, at=at)

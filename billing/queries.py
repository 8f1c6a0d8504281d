"""What one person may see. Every page and every API view of a subscriber starts here.

A stranger's row is not in these, so it is a 404 like one that does not exist (invariant 6). Staff
see others' rows in the admin, never through these. `actor` is an accounts.User; nobody signed in
owns nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, QuerySet, Sum

from billing.calendar import month_key
from billing.models import Binding, Decision, Notice, Recharge, Rule
from billing.states import OPEN_STATES, RechargeState
from lines.models import Line, LineStatus
from lines.people import Person

Visitor = Person | AnonymousUser


def lines(actor: Visitor) -> QuerySet[Line]:
    """Their lines, those removed too, with carrier."""
    return Line.objects.filter(owner_id=actor.pk).select_related("carrier")


def rules(actor: Visitor) -> QuerySet[Rule]:
    """The rules of their lines, with line, carrier and binding."""
    mine = Rule.objects.filter(line__owner_id=actor.pk)
    return mine.select_related("line__carrier", "binding__rail")


def bindings(actor: Visitor) -> QuerySet[Binding]:
    """Their payment methods, ended and abandoned ones too, with rail."""
    return Binding.objects.filter(owner_id=actor.pk).select_related("rail")


def recharges(actor: Visitor) -> QuerySet[Recharge]:
    """What was opened for them, with line and binding."""
    mine = Recharge.objects.filter(owner_id=actor.pk)
    return mine.select_related("line__carrier", "binding__rail")


def notices(actor: Visitor) -> QuerySet[Notice]:
    """What they were told, with line and recharge."""
    return Notice.objects.filter(owner_id=actor.pk).select_related("line", "recharge")


def decisions(actor: Visitor) -> QuerySet[Decision]:
    """Why their rules did and did not charge, with rule, line and recharge."""
    mine = Decision.objects.filter(rule__line__owner_id=actor.pk)
    return mine.select_related("rule__line", "recharge")


def spending_by_month(
    *,
    actor: Person | None = None,
    line: Line | None = None,
    at: datetime,
    months: int = 12,
    currency: str = "CNY",
) -> list[tuple[date, int]]:
    """What was taken in each of the last `months` months, oldest first, the present one included.

    Of one `line` in its own currency, or of all that `actor` owns in `currency`: minor units, less
    refunds (those under way too). A month is the line's own, as its cap counts it.
    """
    if line is not None:
        taken, zone = Recharge.objects.filter(line=line, currency=line.currency), line.timezone
    elif actor is not None:
        taken, zone = recharges(actor).filter(currency=currency), actor.timezone
    else:
        raise ValueError("of a line, or of a person")
    wanted = _months_until(month_key(at, zone), count=months)
    sums = dict(
        taken.filter(charged_at__isnull=False, cap_month__gte=wanted[0])
        .order_by()
        .values_list("cap_month")
        .annotate(minor=Sum(F("price_minor") - F("refund_committed_minor")))
    )
    return [(month, int(sums.get(month, 0))) for month in wanted]


def _months_until(last: date, *, count: int) -> list[date]:
    """The firsts of `count` months up to `last`, oldest first."""
    number = last.year * 12 + last.month - 1
    return [date(n // 12, n % 12 + 1, 1) for n in range(number - count + 1, number + 1)]


class Standing(StrEnum):
    """What a line's auto-recharge is doing. ON is never said while it is paused."""

    NOT_PROVEN = "not_proven"
    LINE_NOT_ACTIVE = "line_not_active"
    NOT_SET_UP = "not_set_up"
    OFF = "off"
    PAUSED_BY_SYSTEM = "paused_by_system"
    PAUSED_BY_OWNER = "paused_by_owner"
    NO_PAYMENT_METHOD = "no_payment_method"
    ON = "on"


@dataclass(frozen=True, slots=True)
class LineSummary:
    """One line at a glance: what it does, what is under way, what happened last and why."""

    line: Line
    rule: Rule | None
    standing: Standing
    open_recharge: Recharge | None
    last_recharge: Recharge | None  # the last one that was credited
    last_decision: Decision | None


def line_summaries(actor: Visitor, at: datetime) -> list[LineSummary]:
    """Every line they have not removed, oldest first. Five queries, however many lines.

    What is under way is told in words from its own line, carrier and attempts, so they come along.
    """
    mine = list(
        lines(actor)
        .exclude(status=LineStatus.REMOVED)
        .select_related("rule__binding__rail", "esim")
        .order_by("pk")
    )
    given = [rule for line in mine if (rule := _rule_of(line))]
    open_by_line = _open(mine)
    last_by_line = _last_credited(mine)
    why_by_rule = _last_decisions(given)
    return [
        LineSummary(
            line=line,
            rule=rule,
            standing=standing(line, rule, at=at),
            open_recharge=open_by_line.get(line.pk),
            last_recharge=last_by_line.get(line.pk),
            last_decision=why_by_rule.get(rule.pk) if rule else None,
        )
        for line in mine
        for rule in (_rule_of(line),)
    ]


def standing(line: Line, rule: Rule | None, *, at: datetime) -> Standing:
    """The one word for a line's auto-recharge, the worst first. `rule` with its binding."""
    if line.status == LineStatus.UNVERIFIED:
        return Standing.NOT_PROVEN
    if line.status != LineStatus.ACTIVE:
        return Standing.LINE_NOT_ACTIVE
    if rule is None:
        return Standing.NOT_SET_UP
    if not rule.is_on:
        return Standing.OFF if rule.consent_id else Standing.NOT_SET_UP
    if rule.is_held:
        return Standing.PAUSED_BY_SYSTEM
    if rule.paused_until is not None and rule.paused_until > at:
        return Standing.PAUSED_BY_OWNER
    if rule.binding is None or not rule.binding.is_usable:
        return Standing.NO_PAYMENT_METHOD
    return Standing.ON


def _rule_of(line: Line) -> Rule | None:
    return getattr(line, "rule", None)


def _open(of: Sequence[Line]) -> dict[int, Recharge]:
    found = Recharge.objects.filter(line__in=of, state__in=OPEN_STATES)
    told = found.select_related("line__carrier").prefetch_related("attempts")
    return {recharge.line_id: recharge for recharge in told}


def _last_credited(of: Sequence[Line]) -> dict[int, Recharge]:
    found = Recharge.objects.filter(line__in=of, state=RechargeState.COMPLETED)
    last = found.order_by("line", "-completed_at").distinct("line")
    return {recharge.line_id: recharge for recharge in last}


def _last_decisions(of: Iterable[Rule]) -> dict[int, Decision]:
    found = Decision.objects.filter(rule__in=of).order_by("rule", "-at", "-pk").distinct("rule")
    return {decision.rule_id: decision for decision in found}

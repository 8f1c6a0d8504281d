"""What a subscriber sees of one line: its balance and how old that is, where it leads, its rule."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import gateways, queries
from billing.calendar import month_key
from billing.models import Recharge, Rule, TopUpMode
from billing.plans import contract, drafts
from billing.plans.drafts import Draft
from billing.plans.previews import UpcomingCharge
from billing.rules import caps, forecast
from billing.rules.forecast import Confidence, Forecast, Reading
from billing.words import reasons as reasons
from lines import zones
from lines.models import BalanceReading, Line
from portal import charts, stories, wording
from portal.accounts.models import User

_WEEKS = timedelta(weeks=4)
_AHEAD = timedelta(days=14)
# Past it a balance is shown as old, not as now.
_OLD = timedelta(hours=24)
_MOST_LOOKED_AT = 24  # of the coming charges of a rule that is paused for as long as can be


_WORDS: dict[queries.Standing, tuple[Promise, str]] = {
    queries.Standing.NOT_PROVEN: (gettext_lazy("Not verified"), "warn"),
    queries.Standing.NOT_SET_UP: (gettext_lazy("Not set up"), ""),
    queries.Standing.OFF: (gettext_lazy("Auto-recharge off"), ""),
    queries.Standing.PAUSED_BY_SYSTEM: (gettext_lazy("Paused: needs you"), "bad"),
    queries.Standing.NO_PAYMENT_METHOD: (gettext_lazy("Waiting for a payment method"), "bad"),
    queries.Standing.ON: (gettext_lazy("Auto-recharge on"), "good"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the line's auto-recharge is doing, in a word or two. "On" is never said of a pause."""

    words: str
    tone: str = ""  # "good", "warn", "bad" or ""
    is_set_up: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One line as the home page and its own page show it."""

    line: Line
    rule: Rule | None
    standing: Standing
    outlook: Forecast
    chart: SafeString
    spent_minor: int  # this month, as its cap counts it: what is reserved too
    month: date
    lasts: str  # "about 9 days", or ""
    valid_days: int | None
    is_old: bool
    under_way: Recharge | None = None

    @property
    def under_way_words(self) -> str:
        return stories.title(self.under_way) if self.under_way else ""

    @property
    def under_way_tone(self) -> str:
        return stories.tone(self.under_way.state) if self.under_way else ""

    @property
    def reserved_minor(self) -> int:
        """What of this month's is under way and not taken: one recharge of a line, if any."""
        found = self.under_way
        is_reserved = found and found.charged_at is None and found.cap_month == self.month
        return found.price_minor if found and is_reserved else 0

    @property
    def taken_minor(self) -> int:
        return self.spent_minor - self.reserved_minor

    @property
    def is_capped(self) -> bool:
        """Whether it is low, and this month's limit leaves no room for one more recharge."""
        rule, balance_minor = self.rule, self.line.balance_minor
        if rule is None or not rule.is_on or rule.threshold_minor is None or balance_minor is None:
            return False
        room_minor = rule.max_per_month_minor - self.spent_minor
        return balance_minor < rule.threshold_minor and room_minor < rule.face_minor

    @property
    def occasions(self) -> list[str]:
        return occasions(drafts.of(self.rule)) if self.rule else []

    @property
    def amount_words(self) -> str:
        return amount_words(drafts.of(self.rule)) if self.rule else ""

    @property
    def rule_words(self) -> str:
        return rule_words(drafts.of(self.rule)) if self.rule else ""


def for_owner(owner: User, *, at: datetime) -> list[Card]:
    """Cards of all the lines a person has not removed, with what is under way on each."""
    summaries = queries.line_summaries(owner, at)
    cards = for_lines([summary.line for summary in summaries], at=at, size=charts.MINI)
    return [
        replace(card, under_way=summary.open_recharge)
        for card, summary in zip(cards, summaries, strict=True)
    ]


def for_lines(lines: Sequence[Line], *, at: datetime, size: charts.Size) -> list[Card]:
    """Cards of `lines` (with carrier and rule selected), in their order; two queries in all."""
    readings, spent = _readings(lines, at=at), _spent(lines, at=at)
    return [
        _card(line, readings[line.pk], spent_minor=spent[line.pk], at=at, size=size)
        for line in lines
    ]


def rule_of(line: Line) -> Rule | None:
    """The line's rule, where it has one."""
    return getattr(line, "rule", None)


def standing(line: Line, rule: Rule | None, *, at: datetime) -> Standing:
    """The one word for a line's auto-recharge, and the colour it wears."""
    found = queries.standing(line, rule, at=at)
    is_set_up = rule is not None and rule.consent_id is not None
    if found is queries.Standing.LINE_NOT_ACTIVE:
        return Standing(line.get_status_display(), "bad", is_set_up)
    if found is queries.Standing.PAUSED_BY_OWNER and rule and rule.paused_until:
        until = timezone.localtime(rule.paused_until, zones.zone_of(line.timezone)).date()
        return Standing(_("Paused until %(day)s") % {"day": wording.day(until)}, "warn", is_set_up)
    words, tone = _WORDS[found]
    return Standing(str(words), tone, is_set_up)


def occasions(draft: Draft) -> list[str]:
    """When it recharges: "when below ¥10", "every month on day 1", "3 days before it expires"."""
    found = []
    if draft.has_schedule and draft.anchor_date is not None:
        found.append(_cycle_words(draft.cycle, draft.anchor_date))
    if draft.threshold_minor is not None:
        found.append(_low_words(draft, draft.threshold_minor))
    if draft.expiry_days_before is not None:
        days = draft.expiry_days_before
        text = ngettext("%(n)s day before it expires", "%(n)s days before it expires", days)
        found.append(text % {"n": days})
    return found


def rule_words(draft: Draft) -> str:
    """When and how much: "¥50 every month on day 1, or when below ¥10"; "" where never."""
    when = _(", or ").join(occasions(draft))
    if not when or _is_only_up_to(draft):  # up to a balance: no one amount can be named
        return when
    amount = wording.short_money(draft.face_minor, draft.line.currency)
    return _("%(amount)s %(when)s") % {"amount": amount, "when": when}


def amount_words(draft: Draft) -> str:
    """What one recharge is: "¥50", or what it fills up to and the most it may take for that."""
    currency = draft.line.currency
    if not _is_only_up_to(draft):
        return wording.short_money(draft.face_minor, currency)
    most = wording.short_money(draft.max_per_charge_minor, currency)
    return _("as needed, %(most)s at most") % {"most": most}


def _is_only_up_to(draft: Draft) -> bool:
    is_up_to = draft.threshold_minor is not None and draft.topup_mode == TopUpMode.TO
    return is_up_to and not draft.has_schedule and draft.expiry_days_before is None


def upcoming(rule: Rule, *, at: datetime, count: int) -> list[UpcomingCharge]:
    """The next scheduled charges of a running rule; none where it is off, paused or unpayable."""
    if not rule.is_on or rule.paused_at is not None or rule.binding is None:
        return []
    try:
        capabilities = gateways.capabilities(rule.binding.rail_id)
    except gateways.RailNotConfigured:
        return []
    return contract.upcoming(rule=rule, capabilities=capabilities, at=at, count=count)


def next_charge(rules: Iterable[Rule], *, at: datetime) -> tuple[Rule, UpcomingCharge] | None:
    """The scheduled charge that really comes first: skipped ones and pauses are passed over."""
    found: tuple[Rule, UpcomingCharge] | None = None
    scheduled = [(rule.next_run_at, rule) for rule in rules if rule.next_run_at is not None]
    for next_run_at, rule in sorted(scheduled, key=lambda pair: pair[0]):
        if found and found[1].due_at <= next_run_at:
            break
        coming = upcoming(rule, at=at, count=_MOST_LOOKED_AT)
        first = next((charge for charge in coming if not charge.withheld), None)
        if first and (found is None or first.due_at < found[1].due_at):
            found = rule, first
    return found


def pause_words(rule: Rule, language: str) -> str:
    """Why the system paused it, as a sentence."""
    return reasons.reason(code=rule.held_for, facts={}, language=language).sentence


def _low_words(draft: Draft, threshold_minor: int) -> str:
    currency = draft.line.currency
    below = wording.short_money(threshold_minor, currency)
    if draft.topup_mode == TopUpMode.TO and draft.target_minor is not None:
        to = wording.short_money(draft.target_minor, currency)
        return _("when below %(below)s, up to %(to)s") % {"below": below, "to": to}
    return _("when below %(below)s") % {"below": below}


def _cycle_words(cycle: str, anchor: date) -> str:
    if cycle == "yearly":
        return _("every year on %(day)s") % {"day": wording.day(anchor)}
    if cycle == "quarterly":
        return _("every three months on day %(n)s") % {"n": anchor.day}
    return _("every month on day %(n)s") % {"n": anchor.day}


def _card(
    line: Line, readings: Sequence[Reading], *, spent_minor: int, at: datetime, size: charts.Size
) -> Card:
    rule = rule_of(line)
    threshold_minor = rule.threshold_minor if rule else None
    outlook = forecast.forecast(readings, at=at)
    observed_at = line.balance_observed_at
    return Card(
        line=line,
        rule=rule,
        standing=standing(line, rule, at=at),
        outlook=outlook,
        chart=charts.balance(
            forecast.points(readings, at=at, ahead=_AHEAD),
            threshold_minor=threshold_minor,
            currency=line.currency,
            size=size,
        ),
        spent_minor=spent_minor,
        month=month_key(at, line.timezone),
        lasts=_lasts(outlook, at=at),
        valid_days=(line.valid_until - at).days if line.valid_until else None,
        is_old=observed_at is not None and at - observed_at > _OLD,
    )


def _lasts(outlook: Forecast, *, at: datetime) -> str:
    if outlook.confidence is Confidence.NONE or outlook.runs_out_at is None:
        return ""
    days = (outlook.runs_out_at - at).days
    if days < 1:
        return _("less than a day")
    if days > 60:
        return _("more than 60 days")
    return ngettext("about %(n)s day", "about %(n)s days", days) % {"n": days}


def _spent(lines: Sequence[Line], *, at: datetime) -> dict[int, int]:
    """What each line took this month of its own, as its cap counts it: what is reserved too."""
    months = {line.pk: month_key(at, line.timezone) for line in lines}
    sums = caps.tally(
        line_ids=list(months),
        capped_binding_ids=[],
        capped_owner_ids=[],
        months=sorted(set(months.values())),
    )
    return {line_id: sums.line[line_id, month] for line_id, month in months.items()}


def _readings(lines: Sequence[Line], *, at: datetime) -> dict[int, list[Reading]]:
    rows = (
        BalanceReading.objects.filter(
            line__in=lines, is_applied=True, observed_at__gt=at - _WEEKS, observed_at__lte=at
        )
        .order_by("observed_at")
        .values_list("line_id", "observed_at", "balance_minor")
    )
    by_line: dict[int, list[Reading]] = defaultdict(list)
    for line_id, observed_at, balance_minor in rows[:20_000]:
        by_line[line_id].append(Reading(observed_at, balance_minor))
    return by_line

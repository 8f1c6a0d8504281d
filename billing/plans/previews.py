"""What a plan will do, shown before anyone agrees to it: the next charges, and the most they cost.

Nothing here promises more than the rail allows, or less than the caps permit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billing import calendar, promotions
from billing.calendar import Cycle, Occurrence, Schedule
from billing.gateways.base import Capabilities
from billing.models import Rule
from billing.plans import drafts
from billing.plans.drafts import Draft
from billing.promotions import Quote
from billing.rules import caps, deciding, gathering
from billing.rules.verdicts import Caps, Facts, Opening, Spent, Standing
from billing.states import Trigger

COUNT = 12
_LONGEST_MONTH = 31


@dataclass(frozen=True, slots=True)
class UpcomingCharge:
    """One scheduled charge. Amounts are minor units; the price is what is taken at most.

    `adjusted`: why it is not simply the day and time chosen ("month_end", "hours" or ""). It is
    due at `due_at`, and its rail takes it no earlier than `earliest_at`: later only where the rail
    has to be told sooner than that is. `withheld` says why it will not be made: "skipped",
    "paused", or "" where it will.
    """

    index: int
    local_date: date
    due_at: datetime
    earliest_at: datetime
    adjusted: str
    face_minor: int
    price_minor: int
    discount_minor: int
    bonus_minor: int
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What is charged as soon as the plan is confirmed, and why: "low_balance" or "expiry"."""

    trigger: str
    face_minor: int
    price_minor: int
    expected_at: datetime  # when the money moves: later than now on a rail that must be told first
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """The plan before consent. Amounts are minor units of `currency`."""

    currency: str
    charges: tuple[UpcomingCharge, ...]  # the next 12; none without a schedule
    price_minor: int  # of the next recharge of the chosen amount, after promotions
    saves_minor: int
    bonus_minor: int
    month_max_minor: int  # the most a calendar month can cost, whatever happens, by hand too
    plan_max_minor: int  # and of that, what the plan itself takes at most
    at_once: AtOnce | None
    is_balance_known: bool
    lead: timedelta  # how long before money moves a charge must be begun
    rail_lead: timedelta  # what of it is the rail's own
    notice: timedelta  # so long before each charge its payer is told: the law of the market
    latest_delay: timedelta  # from a charge's due time until its rail has normally taken it

    @property
    def fires_at_once(self) -> bool:
        return self.at_once is not None


def preview(*, draft: Draft, capabilities: Capabilities, at: datetime) -> Preview:
    """What `draft`, which `check` has passed, would do from `at` on. Reads only."""
    rule, rail_lead = drafts.standing_rule(draft.line), capabilities.lead
    capabilities = drafts.rail_as_used(draft, capabilities)
    schedule = drafts.schedule_of(draft, capabilities=capabilities)
    pricing = _Pricing(draft, capabilities, at=at)
    at_once = _at_once(draft, rule=rule, capabilities=capabilities, pricing=pricing, at=at)
    occurrences: list[Occurrence] = []
    if schedule is not None:
        first = drafts.first_index(schedule, rule=rule, at=at)
        occurrences = list(_occurrences(schedule, first=first, count=COUNT))
    charges = tuple(_charge(one, draft, pricing, capabilities, at=at) for one in occurrences)
    typical = _typical(draft, charges, pricing, at=at)
    return Preview(
        currency=draft.line.currency,
        charges=charges,
        price_minor=draft.face_minor - typical.discount_minor,
        saves_minor=typical.discount_minor,
        bonus_minor=typical.bonus_minor,
        month_max_minor=_month_max(draft),
        plan_max_minor=_plan_max(draft),
        at_once=at_once,
        is_balance_known=draft.threshold_minor is None or draft.line.balance_minor is not None,
        lead=capabilities.lead,
        rail_lead=rail_lead,
        notice=timedelta(hours=draft.line.carrier.notice_before_deduction_h),
        latest_delay=max(capabilities.settles_within - capabilities.delay, timedelta(0)),
    )


def upcoming(
    *, rule: Rule, capabilities: Capabilities, at: datetime, count: int
) -> list[UpcomingCharge]:
    """The next `count` scheduled charges of a rule, the withheld among them; none while off."""
    draft = drafts.of(rule)
    capabilities = drafts.rail_as_used(draft, capabilities)
    schedule = drafts.schedule_of(draft, capabilities=capabilities)
    if schedule is None or not rule.is_on or rule.next_run_at is None:
        return []
    pricing = _Pricing(draft, capabilities, at=at)
    return [
        _charge(one, draft, pricing, capabilities, withheld=_withheld(rule, one), at=at)
        for one in _occurrences(schedule, first=rule.next_index, count=count)
    ]


def _occurrences(schedule: Schedule, *, first: int, count: int) -> Iterator[Occurrence]:
    return (calendar.occurrence(schedule, first + number) for number in range(count))


def _withheld(rule: Rule, one: Occurrence) -> str:
    if one.index == rule.skip_index:
        return "skipped"
    is_paused = rule.paused_until is not None and one.due_at < rule.paused_until
    return "paused" if is_paused or rule.is_held else ""


def _charge(
    one: Occurrence,
    draft: Draft,
    pricing: "_Pricing",
    capabilities: Capabilities,
    *,
    withheld: str = "",
    at: datetime,
) -> UpcomingCharge:
    given = Quote.none() if withheld else pricing.quote(at=one.due_at, trigger=Trigger.SCHEDULE)
    return UpcomingCharge(
        index=one.index,
        local_date=one.local_date,
        due_at=one.due_at,
        earliest_at=gathering.moves_at(capabilities, at=at, due_at=one.due_at),
        adjusted=one.adjusted,
        face_minor=draft.face_minor,
        price_minor=draft.face_minor - given.discount_minor,
        discount_minor=given.discount_minor,
        bonus_minor=given.bonus_minor,
        withheld=withheld,
    )


# --- prices -------------------------------------------------------------------------------------


class _Pricing:
    """Quotes for one draft, each knowing what those before it have used up of the promotions."""

    def __init__(self, draft: Draft, capabilities: Capabilities, *, at: datetime) -> None:
        self._draft = draft
        self._capabilities = capabilities
        self._book = promotions.Book.load(at=at, line_ids=[draft.line.pk], is_locked=False)

    def quote(self, *, at: datetime, trigger: str, face_minor: int | None = None) -> Quote:
        line = self._draft.line
        return self._book.quote(
            line_id=line.pk,
            rail=self._capabilities.rail,
            carrier=line.carrier.code,
            trigger=trigger,
            face_minor=face_minor if face_minor is not None else self._draft.face_minor,
            currency=line.currency,
            min_price_minor=self._capabilities.min_amount_minor,
            at=at,
        )


def _typical(
    draft: Draft, charges: tuple[UpcomingCharge, ...], pricing: _Pricing, *, at: datetime
) -> Quote:
    """What the next recharge of the chosen amount gets."""
    if charges:
        return Quote(charges[0].discount_minor, charges[0].bonus_minor, ())
    is_low = draft.threshold_minor is not None
    return pricing.quote(at=at, trigger=Trigger.LOW_BALANCE if is_low else Trigger.EXPIRY)


# --- the most a month can cost ------------------------------------------------------------------


def _month_max(draft: Draft) -> int:
    """The line's cap or the owner's: these alone hold for whatever is charged for the line, by hand
    and by any payment method too."""
    owner_minor = caps.owner_cap_minor(owner_id=draft.line.owner_id, currency=draft.line.currency)
    line_minor = draft.max_per_month_minor
    return line_minor if owner_minor is None else min(line_minor, owner_minor)


def _plan_max(draft: Draft) -> int:
    """The most that the plan itself takes: less than that, where its triggers or its one method
    bound it.

    A schedule alone falls due once a calendar month, and the charge of the last days of the month
    before may slip into it.
    """
    a_day_minor = draft.max_per_day_count * draft.max_per_charge_minor
    most = [_month_max(draft), _LONGEST_MONTH * a_day_minor]
    tool = draft.binding
    if tool is not None and tool.max_per_month_minor is not None and not draft.fallback_binding:
        most.append(tool.max_per_month_minor)
    if draft.is_schedule_only:
        most.append((2 if draft.cycle == Cycle.MONTHLY else 1) * draft.face_minor)
    return min(most)


def _caps(draft: Draft, capabilities: Capabilities) -> Caps:
    owner_id, currency = draft.line.owner_id, draft.line.currency
    return gathering.caps_of(
        draft,
        binding_minor=draft.binding.max_per_month_minor if draft.binding else None,
        owner_minor=caps.owner_cap_minor(owner_id=owner_id, currency=currency),
        rail=capabilities,
    )


# --- what happens at once -----------------------------------------------------------------------


def _at_once(
    draft: Draft,
    *,
    rule: Rule | None,
    capabilities: Capabilities,
    pricing: _Pricing,
    at: datetime,
) -> AtOnce | None:
    """What the executor would decide this minute: a line already low is charged at once (rule 11).

    By the very rules it goes by, so that what is said is what happens.
    """
    if draft.is_schedule_only:
        return None
    found = _facts(draft, rule=rule, capabilities=capabilities, at=at)
    opening: Opening | None = deciding.decide(found).opening
    if opening is None:
        return None
    given = pricing.quote(at=at, trigger=opening.trigger, face_minor=opening.face_minor)
    price_minor = opening.face_minor - given.discount_minor
    signed_at = draft.binding.signed_at if draft.binding else None
    expected_at = gathering.moves_at(capabilities, at=at, signed_at=signed_at)
    is_later = expected_at > at
    return AtOnce(opening.trigger, opening.face_minor, price_minor, expected_at, is_later)


def _facts(draft: Draft, *, rule: Rule | None, capabilities: Capabilities, at: datetime) -> Facts:
    """As if the draft were confirmed: armed, unpaused, and its schedule not due."""
    line, lead = draft.line, capabilities.lead
    outlook = gathering.outlooks([line.pk], at=at).get(line.pk) if lead else None
    armed = Standing(0, None, None, True, 1, rule.expiry_fired_for if rule else None, None)
    return gathering.facts_of(
        plan=draft,
        line=line,
        carrier=line.carrier,
        standing=replace(armed, expiry_tried_on=rule.expiry_tried_on if rule else None),
        schedule=None,
        grace=timedelta(days=1),
        caps=_caps(draft, capabilities),
        spent=_spent(draft, capabilities, at=at),
        coming=gathering.in_flight_of(line.pk),
        outlook=outlook,
        lead=lead,
        at=at,
        # An old figure is asked for anew first; that it is low is worth saying now.
        max_reading_age=timedelta.max,
        cooldown_until=rule.cooldown_until if rule else None,
    )


def _spent(draft: Draft, capabilities: Capabilities, *, at: datetime) -> Spent:
    signed_at = draft.binding.signed_at if draft.binding else None
    counted = caps.Counted.on(
        gathering.moves_at(capabilities, at=at, signed_at=signed_at),
        line_id=draft.line.pk,
        binding_id=draft.binding.pk if draft.binding else None,
        owner_id=draft.line.owner_id,
        currency=draft.line.currency,
        timezone=draft.line.timezone,
    )
    return caps.spent_by(counted)

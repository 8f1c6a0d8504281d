"""What a decision depends on, gathered: what any plan, draft or rule, comes to on its line.

The executor's rules and the preview of a draft go through here, so that what is said before
anybody agrees is what is done afterwards.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol, TypedDict, Unpack

from billing import calendar, rowsets
from billing.calendar import Cycle, Schedule
from billing.gateways.base import Capabilities
from billing.models import TopUpMode
from billing.rules import forecast
from billing.rules.forecast import Confidence, Forecast, Reading
from billing.rules.verdicts import Caps, Facts, Spent, Standing
from billing.states import OPEN_STATES
from lines.models import BalanceReading


class Plan(Protocol):
    """What an owner chooses: of a draft, a rule or a due row. Minor units."""

    @property
    def face_minor(self) -> int: ...
    @property
    def cycle(self) -> str: ...
    @property
    def anchor_date(self) -> date | None: ...
    @property
    def charge_time(self) -> time: ...
    @property
    def threshold_minor(self) -> int | None: ...
    @property
    def topup_mode(self) -> str: ...
    @property
    def target_minor(self) -> int | None: ...
    @property
    def expiry_days_before(self) -> int | None: ...
    @property
    def max_per_charge_minor(self) -> int: ...
    @property
    def max_per_day_count(self) -> int: ...
    @property
    def max_per_month_minor(self) -> int: ...


class LastKnown(Protocol):
    """A line as its carrier last told of it."""

    @property
    def timezone(self) -> str: ...
    @property
    def balance_minor(self) -> int | None: ...
    @property
    def balance_reserved_minor(self) -> int: ...
    @property
    def balance_observed_at(self) -> datetime | None: ...
    @property
    def valid_until(self) -> datetime | None: ...


class Sells(Protocol):
    """What a carrier sells."""

    @property
    def denominations_minor(self) -> list[int]: ...
    @property
    def min_amount_minor(self) -> int: ...
    @property
    def max_amount_minor(self) -> int: ...
    @property
    def max_balance_minor(self) -> int | None: ...


class OnItsWay(NamedTuple):
    """Whether a recharge of a line is open, and the credit its last reading cannot know of."""

    is_open: bool = False
    minor: int = 0


# Under way, unknown included, or landed since the reading was made (rule 8).
_IN_FLIGHT = """
SELECT g.line_id, bool_or(g.state = ANY(%b)) AS is_open,
       sum(g.face_minor + g.bonus_minor) AS minor
FROM billing_recharge g JOIN lines_line l ON l.id = g.line_id
WHERE g.line_id = ANY(%b) AND (g.state = ANY(%b)
      OR (g.state = 'completed' AND g.completed_at > l.balance_observed_at))
GROUP BY g.line_id"""


class InFlight(NamedTuple):
    """One row of `_IN_FLIGHT`."""

    line_id: int
    is_open: bool
    minor: Decimal


_OPEN = [state.value for state in OPEN_STATES]


def in_flight(line_ids: Sequence[int]) -> dict[int, OnItsWay]:
    """What is on its way to each line that has any."""
    rows = rowsets.read(_IN_FLIGHT, [_OPEN, line_ids, _OPEN], into=InFlight)
    return {one.line_id: OnItsWay(one.is_open, int(one.minor)) for one in rows}


def in_flight_of(line_id: int) -> OnItsWay:
    return in_flight([line_id]).get(line_id, OnItsWay())


def outlooks(line_ids: Sequence[int], *, at: datetime) -> dict[int, Forecast]:
    """The forecasts good enough to act on, by line."""
    if not line_ids:
        return {}
    readings: dict[int, list[Reading]] = {}
    applied = BalanceReading.objects.filter(
        line__in=line_ids, is_applied=True, observed_at__gt=at - forecast.LOOKS_BACK
    )
    for line_id, observed_at, minor in applied.values_list(
        "line_id", "observed_at", "balance_minor"
    ):
        readings.setdefault(line_id, []).append(Reading(observed_at, minor))
    made = {line_id: forecast.forecast(known, at=at) for line_id, known in readings.items()}
    return {pk: one for pk, one in made.items() if one.confidence is Confidence.GOOD}


class InTheWay(TypedDict, total=False):
    """What only a rule that stands has, named as in `Facts`; a draft has little of it."""

    max_reading_age: timedelta
    cooldown_until: datetime | None
    paused_until: datetime | None
    pause_reason: str
    line_problem: str
    binding_problem: str
    is_notice_missing: bool


def facts_of(
    *,
    plan: Plan,
    line: LastKnown,
    carrier: Sells,
    standing: Standing,
    schedule: Schedule | None,
    grace: timedelta,
    caps: Caps,
    spent: Spent,
    coming: OnItsWay,
    outlook: Forecast | None,
    lead: timedelta,
    at: datetime,
    **in_the_way: Unpack[InTheWay],
) -> Facts:
    """All that `deciding.decide` looks at: what `plan` comes to on its line, and what is in its
    way."""
    return Facts(
        at=at,
        timezone=line.timezone,
        standing=standing,
        schedule=schedule,
        grace=grace,
        face_minor=plan.face_minor,
        caps=caps,
        spent=spent,
        sells=tuple(sorted(carrier.denominations_minor)),
        min_amount_minor=carrier.min_amount_minor,
        max_amount_minor=carrier.max_amount_minor,
        max_balance_minor=carrier.max_balance_minor,
        threshold_minor=plan.threshold_minor,
        target_minor=plan.target_minor,
        is_to_target=plan.topup_mode == TopUpMode.TO,
        balance_minor=line.balance_minor,
        reserved_minor=line.balance_reserved_minor,
        observed_at=line.balance_observed_at,
        in_flight_minor=coming.minor,
        valid_until=line.valid_until,
        expiry_days_before=plan.expiry_days_before,
        lead=lead,
        runs_out_at=outlook.runs_out_at if outlook else None,
        used_in_lead_minor=outlook.used_in_minor(lead) if outlook else 0,
        has_open_recharge=coming.is_open,
        **in_the_way,
    )


def told_first(rail: Capabilities, *, notice_h: int) -> Capabilities:
    """The rail as it is used where the payer is told `notice_h` hours before anything is sent: all
    three triggers begin as much sooner, as on a rail that must be told itself."""
    notice = timedelta(hours=notice_h)
    return rail if notice <= rail.notice else replace(rail, notice=notice)


def moves_at(
    rail: Capabilities | None,
    *,
    at: datetime,
    due_at: datetime | None = None,
    signed_at: datetime | None = None,
) -> datetime:
    """When the money of what is set to work at `at` moves at the earliest: told in the rail's hours
    and taken in them, after its notice and its delay, and never before it is due (rule 25).

    The one reckoning, for the caps, for what is opened and for what is shown. `signed_at`: of the
    agreement, in whose first hours some rails know no delay.
    """
    if rail is None:
        return at if due_at is None else max(at, due_at)
    told_at = calendar.next_open(hours=rail.hours, at=at)
    sent_at = calendar.next_open(hours=rail.hours, at=told_at + rail.notice)
    taken_at = taken(rail, sent_at=sent_at, signed_at=signed_at)
    return taken_at if due_at is None else max(taken_at, due_at)


def taken(rail: Capabilities, *, sent_at: datetime, signed_at: datetime | None) -> datetime:
    """When a charge that is sent moves its money."""
    is_fresh = signed_at is not None and sent_at < signed_at + rail.no_delay_for
    return sent_at if is_fresh else sent_at + rail.delay


def caps_of(
    plan: Plan, *, binding_minor: int | None, owner_minor: int | None, rail: Capabilities | None
) -> Caps:
    """The owner's caps, and the rail's own as a further one (rule 25)."""
    charge_minor = plan.max_per_charge_minor
    if rail and rail.max_amount_minor is not None:
        charge_minor = min(charge_minor, rail.max_amount_minor)
    return Caps(
        charge_minor=charge_minor,
        day_count=plan.max_per_day_count,
        line_month_minor=plan.max_per_month_minor,
        binding_month_minor=binding_minor,
        owner_month_minor=owner_minor,
    )


def schedule_of(plan: Plan, *, timezone: str, rail: Capabilities | None) -> Schedule | None:
    """Its pure calendar inside the hours its rail charges in; None where it has none."""
    if plan.cycle == Cycle.NONE or plan.anchor_date is None:
        return None
    return Schedule(
        anchor=plan.anchor_date,
        cycle=Cycle(plan.cycle),
        charge_time=plan.charge_time,
        timezone=timezone,
        hours=rail.hours if rail else None,
    )

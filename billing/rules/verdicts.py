"""What a decision about a rule is made of, and what it says: plain values, no behaviour.

`deciding.decide` turns `Facts` into a `Verdict`. Amounts are minor units; instants are aware.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from billing.calendar import Schedule


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts against the caps already: in flight and unknown included. Minor units."""

    day_count: int = 0
    line_month_minor: int = 0
    binding_month_minor: int = 0
    owner_month_minor: int = 0


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be taken; None: no such cap."""

    charge_minor: int
    day_count: int
    line_month_minor: int
    binding_month_minor: int | None = None
    owner_month_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The parts of a rule that a decision changes."""

    next_index: int
    next_run_at: datetime | None
    skip_index: int | None
    is_armed: bool
    episode: int
    expiry_fired_for: date | None
    wake_at: datetime | None
    rearms_at: datetime | None = None  # a credit opens the latch then, whatever readings show
    low_episode: int = 0  # the last one in which it was low
    expiry_tried_on: date | None = None  # the line's day of the last recharge for a validity


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision depends on. Instants are aware; amounts are minor units."""

    at: datetime
    timezone: str
    standing: Standing
    schedule: Schedule | None
    grace: timedelta
    face_minor: int
    caps: Caps
    spent: Spent
    sells: tuple[int, ...]  # denominations, ascending; empty: any amount within the bounds
    min_amount_minor: int
    max_amount_minor: int
    max_balance_minor: int | None = None
    threshold_minor: int | None = None
    target_minor: int | None = None
    is_to_target: bool = False
    balance_minor: int | None = None
    reserved_minor: int = 0
    observed_at: datetime | None = None
    max_reading_age: timedelta = timedelta(days=1)
    in_flight_minor: int = 0  # credit on its way or landed since the reading, unknown included
    valid_until: datetime | None = None
    expiry_days_before: int | None = None
    cooldown_until: datetime | None = None
    # On a rail that is slow by its own rules: how slow, and what the forecast says meanwhile.
    lead: timedelta = timedelta(0)
    runs_out_at: datetime | None = None  # None: no forecast good enough to act on
    used_in_lead_minor: int = 0
    has_open_recharge: bool = False
    paused_until: datetime | None = None
    pause_reason: str = ""  # the system's pause; empty: none
    line_problem: str = ""  # "line_not_active", "sim_changed", "zone_unknown"
    binding_problem: str = ""  # "binding_missing", "binding_not_active", "binding_paused", …
    is_notice_missing: bool = False

    @property
    def effective_minor(self) -> int | None:
        """Reported, less reserved, plus credit in flight (rule 8). None: never reported."""
        if self.balance_minor is None:
            return None
        return self.balance_minor - self.reserved_minor + self.in_flight_minor

    @property
    def is_low(self) -> bool:
        """By what is known, however old."""
        if self.threshold_minor is None or self.effective_minor is None:
            return False
        return self.effective_minor < self.threshold_minor


@dataclass(frozen=True, slots=True)
class Reason:
    """One entry of "why, why not": once per occurrence and code."""

    trigger: str
    period_key: str
    code: str
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """A recharge to open."""

    trigger: str
    period_key: str
    face_minor: int
    due_at: datetime
    expires_at: datetime
    falls_short: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from the facts."""

    opening: Opening | None
    reasons: tuple[Reason, ...]
    standing: Standing
    pause: str = ""  # stop the rule and ask its owner
    wants_reading: bool = False

"""What a new balance does to the rules of its lines: level with a latch (rule 7).

Re-armed well above the threshold, woken below it, looked at again where a validity has moved. Set-
wise: one statement finds and locks those that a batch could change, one writes those that it does;
what becomes of each is reckoned in between, by a pure function.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from billing import rowsets
from billing.models import NoticeKind
from billing.notices import telling
from billing.notices.telling import Telling
from billing.rowsets import Column
from billing.rules import gathering, notices, wakes
from billing.rules.gathering import OnItsWay

# Nothing more of a rule than what may follow from its line's balance and validity.
_WATCHED = """
SELECT r.id, r.line_id, l.owner_id, l.timezone, l.valid_until, l.balance_minor,
       l.balance_minor - l.balance_reserved_minor AS left_minor, r.threshold_minor,
       r.hysteresis_minor, r.is_armed, r.episode, r.low_episode, r.rearms_at, r.cooldown_until,
       r.lead_s, r.expiry_days_before, r.expiry_fired_for, r.expiry_tried_on, r.remind_low_balance,
       r.currency, r.channels, r.is_on, r.paused_at, r.paused_until, r.wake_at,
       l.id = ANY(%b) OR (r.wake_at IS NULL AND r.paused_at IS NULL) AS is_expiry_new,
       r.low_episode = r.episode AND EXISTS (
         SELECT 1 FROM billing_notice n WHERE n.owner_id = l.owner_id AND n.kind = %b
           AND n.occurrence_key = r.id || ':e' || r.episode) AS is_told
FROM lines_line l JOIN billing_rule r ON r.line_id = l.id
WHERE l.id = ANY(%b) ORDER BY r.id FOR NO KEY UPDATE OF r"""
_COLUMNS = (
    Column("id", "bigint"),
    Column("is_armed", "boolean"),
    Column("episode", "integer"),
    Column("rearms_at", "timestamptz"),
    Column("low_episode", "integer"),
    Column("wake_at", "timestamptz"),
)
_ASSIGN = """is_armed = v.is_armed, episode = v.episode, rearms_at = v.rearms_at,
    low_episode = v.low_episode, wake_at = v.wake_at"""


class Watched(NamedTuple):
    """One row of `_WATCHED`: a rule and its line as the last balance left it. Minor units."""

    id: int
    line_id: int
    owner_id: int
    timezone: str
    valid_until: datetime | None
    balance_minor: int
    left_minor: int  # but for what the carrier has reserved
    threshold_minor: int | None
    hysteresis_minor: int
    is_armed: bool
    episode: int
    low_episode: int
    rearms_at: datetime | None
    cooldown_until: datetime | None
    lead_s: int
    expiry_days_before: int | None
    expiry_fired_for: date | None
    expiry_tried_on: date | None
    remind_low_balance: bool
    currency: str
    channels: list[str]
    is_on: bool
    paused_at: datetime | None
    paused_until: datetime | None
    wake_at: datetime | None
    is_expiry_new: bool
    is_told: bool


class Latch(NamedTuple):
    """Where a rule stands as to its line's balance, and when it is next looked at."""

    is_armed: bool
    episode: int
    rearms_at: datetime | None
    low_episode: int
    wake_at: datetime | None

    @property
    def is_spent(self) -> bool:
        """It has fired, or was low: the next low balance is a new one, rule on or off."""
        return not self.is_armed or self.low_episode == self.episode

    def opened(self) -> "Latch":
        return self._replace(is_armed=True, episode=self.episode + 1, rearms_at=None)


class Looked(NamedTuple):
    """What became of a rule that was looked at."""

    row: Watched
    latch: Latch
    is_low: bool

    @property
    def has_changed(self) -> bool:
        return self.latch != _latch_of(self.row)

    @property
    def is_news(self) -> bool:
        """To be told once an episode, auto-recharge or not (rule 26)."""
        is_told = self.row.is_told and self.latch.episode == self.row.episode
        return self.is_low and self.row.remind_low_balance and not is_told

    def is_due_now(self, at: datetime) -> bool:
        """By this balance alone: a storm of pushes is one piece of work."""
        was_at, wake_at = self.row.wake_at, self.latch.wake_at
        is_due = wake_at is not None and wake_at <= at
        cools = self.row.cooldown_until is not None and self.row.cooldown_until > at
        return is_due and not cools and (was_at is None or was_at > at)


def look(*, line_ids: Sequence[int], moved_ids: Sequence[int], at: datetime) -> bool:
    """Look at the rules of lines that have a new balance, locked by the caller; whether one of
    them is due by it that was not. `moved_ids`: those whose validity has moved too."""
    params = [list(moved_ids), NoticeKind.LOW_BALANCE.value, list(line_ids)]
    watched = rowsets.read(_WATCHED, params, into=Watched)
    low = [row.line_id for row in watched if _is_below(row, coming_minor=0)]
    coming = gathering.in_flight(low) if low else {}
    looked = [
        looked_at(row, coming_minor=coming.get(row.line_id, OnItsWay()).minor, at=at)
        for row in watched
    ]
    changed = [(one.row.id, *one.latch) for one in looked if one.has_changed]
    rowsets.update("billing_rule", _COLUMNS, changed, assign=_ASSIGN, where="t.id = v.id")
    telling.tell_many([_telling(one, at=at) for one in looked if one.is_news])
    return any(one.is_due_now(at) for one in looked)


# --- one rule. Pure -------------------------------------------------------------------------------


def looked_at(row: Watched, *, coming_minor: int, at: datetime) -> Looked:
    """`coming_minor`: the credit that its line's balance cannot know of (rule 8)."""
    latch = _before_expiry(row, _latch_of(row), at=at)
    if row.threshold_minor is None:
        return Looked(row, latch, False)
    if latch.rearms_at is not None and latch.rearms_at <= at:
        latch = latch.opened()
    # What is only on its way opens nothing: once it is there, its credit does.
    if row.left_minor >= row.threshold_minor + row.hysteresis_minor and latch.is_spent:
        return Looked(row, latch.opened(), False)
    if _is_below(row, coming_minor=coming_minor):
        low = latch._replace(low_episode=latch.episode)
        return Looked(row, _woken(row, low, at=at), True)
    # Its rail is slow: whether to begin before it is low is for the forecast to say (rule 13).
    return Looked(row, _woken(row, latch, at=at) if row.lead_s else latch, False)


def _latch_of(row: Watched) -> Latch:
    return Latch(row.is_armed, row.episode, row.rearms_at, row.low_episode, row.wake_at)


def _is_below(row: Watched, *, coming_minor: int) -> bool:
    return row.threshold_minor is not None and row.left_minor + coming_minor < row.threshold_minor


def _woken(row: Watched, latch: Latch, *, at: datetime) -> Latch:
    """Now; where a credit will open the latch, then. Not while it is off, or shut."""
    if not row.is_on or not (latch.is_armed or latch.rearms_at):
        return latch
    return _no_later(latch, at if latch.is_armed else max(at, latch.rearms_at or at))


def _before_expiry(row: Watched, latch: Latch, *, at: datetime) -> Latch:
    """A validity that the carrier moved moves the rule's wake with it, but not into a pause."""
    if not (row.is_on and row.is_expiry_new):
        return latch
    expiry_at = wakes.expiry_wake(
        valid_until=row.valid_until,
        expiry_days_before=row.expiry_days_before,
        expiry_fired_for=row.expiry_fired_for,
        expiry_tried_on=row.expiry_tried_on,
        timezone=row.timezone,
        lead=timedelta(seconds=row.lead_s),
    )
    if expiry_at is None:
        return latch
    return _no_later(latch, max(expiry_at, row.paused_until or at, at))


def _no_later(latch: Latch, wake_at: datetime) -> Latch:
    is_later = latch.wake_at is None or latch.wake_at > wake_at
    return latch._replace(wake_at=wake_at) if is_later else latch


def _telling(one: Looked, *, at: datetime) -> Telling:
    row = one.row
    facts = {
        "balance_minor": row.balance_minor,
        "threshold_minor": row.threshold_minor,
        "currency": row.currency,
        "is_on": row.is_on and row.paused_at is None,
    }
    key = notices.low_key(rule_id=row.id, episode=one.latch.episode)
    kind = NoticeKind.LOW_BALANCE.value
    return Telling(row.owner_id, kind, key, row.line_id, None, facts, row.channels, at)

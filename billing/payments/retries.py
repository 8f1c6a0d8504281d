"""When a refused charge is tried again, and for how long that makes sense."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from billing.models import Recharge, Rule
from billing.recharges import ladders, machine
from billing.recharges.claims import Work
from billing.states import DeclineClass

# Whoever refused it wants to be left alone for longer than it may be tried.
ASKED_TO_WAIT = "asked_to_wait"
_WHY_ENDED: Mapping[str, str] = {
    DeclineClass.SOFT: "retries_exhausted",
    DeclineClass.HARD: "hard_decline",
    DeclineClass.AUTH: "not_confirmed",
}
# So long after its time the try that follows a late answer may still be made.
RETRY_GRACE = timedelta(hours=1)


class Until(TypedDict, total=False):
    """Till when no other try is wanted, as a fact of a notice; empty where nobody said so."""

    until: str


def mended_by(row: Work, *, at: datetime) -> datetime | None:
    """When a charge that is refused for our set-up is sent again; None: it is a person's now."""
    rounds = machine.rounds(recharge_id=row.id, because="config")
    return ladders.next_config_at(rounds=rounds, at=at)


def next_at(row: Work, *, asked_wait: timedelta, at: datetime) -> datetime | None:
    """The next step of the frozen ladder, or as much later as whoever refused it asks for. None at
    its end, outside what was announced, and where such a wait outlasts the window."""
    left_s = row.ladder_s[row.declines :]
    if not left_s or row.is_long_over(at=at):
        return None
    retry_at = at + max(timedelta(seconds=left_s[0]), asked_wait)
    if row.latest_charge_at is not None and retry_at > row.latest_charge_at:
        return None
    is_asked = asked_wait > timedelta(seconds=left_s[0])
    return None if is_asked and retry_at > _window_ends_at(row) else retry_at


def _window_ends_at(row: Work) -> datetime:
    """When the last try could be made, if the whole ladder were climbed."""
    return row.expires_at + timedelta(seconds=sum(row.ladder_s))


def ending(
    row: Work, meaning: DeclineClass, *, asked_wait: timedelta, at: datetime
) -> tuple[str, Until]:
    """Why no other try follows a decline, and the figures of it."""
    left_s = row.ladder_s[row.declines :]
    is_soft = meaning == DeclineClass.SOFT and not row.is_long_over(at=at)
    if is_soft and left_s and asked_wait > timedelta(seconds=left_s[0]):
        return ASKED_TO_WAIT, {"until": (at + asked_wait).isoformat()}
    return _WHY_ENDED[meaning], {}


def rest(row: Work, *, until: datetime) -> None:
    """Its rule opens no other round before, for a low balance, of what would be refused."""
    if row.rule_id is not None:
        Rule.objects.filter(pk=row.rule_id, is_on=True).update(cooldown_until=until)


def allow_for(row: Work, *, retry_at: datetime) -> None:
    """Where the decline came late: its next try still has its time to be made."""
    if retry_at <= row._replace(declines=row.declines + 1).charge_until:
        return
    climbed_s = sum(row.ladder_s[: row.declines + 1])
    expires_at = retry_at + RETRY_GRACE - timedelta(seconds=climbed_s)
    Recharge.objects.filter(pk=row.id).update(expires_at=expires_at)

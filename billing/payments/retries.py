"""When a refused charge is tried again, and for how long that makes sense."""

from datetime import datetime, timedelta

from billing.models import Recharge
from billing.recharges import ladders, machine
from billing.recharges.claims import Work

# So long after its time the try that follows a late answer may still be made.
RETRY_GRACE = timedelta(hours=1)


def mended_by(row: Work, *, at: datetime) -> datetime | None:
    """When a charge that is refused for our set-up is sent again; None: it is a person's now."""
    rounds = machine.rounds(recharge_id=row.id, because="config")
    return ladders.next_config_at(rounds=rounds, at=at)


def next_at(row: Work, *, asked_wait: timedelta, at: datetime) -> datetime | None:
    """The next step of the frozen ladder, or as much later as its issuer asks for. None at its end,
    outside what was announced, and where that is longer than all that is left to climb."""
    left_s = row.ladder_s[row.declines :]
    if not left_s or asked_wait > timedelta(seconds=sum(left_s)):
        return None
    retry_at = at + max(timedelta(seconds=left_s[0]), asked_wait)
    is_late = row.latest_charge_at is not None and retry_at > row.latest_charge_at
    return None if is_late or row.is_long_over(at=at) else retry_at


def allow_for(row: Work, *, retry_at: datetime) -> None:
    """Where the decline came late: its next try still has its time to be made."""
    if retry_at <= row._replace(declines=row.declines + 1).charge_until:
        return
    climbed_s = sum(row.ladder_s[: row.declines + 1])
    expires_at = retry_at + RETRY_GRACE - timedelta(seconds=climbed_s)
    Recharge.objects.filter(pk=row.id).update(expires_at=expires_at)

"""What the rail's word makes of an agreement, and when to ask again. Reads and writes no row.

A rail's answer is a truth only about now: what it leaves unsaid stays as it was, except that an
agreement runs out by the date the rail itself gave.
"""

from datetime import datetime, timedelta

from billing.bindings.breaker import ENDING
from billing.gateways.base import BindingFacts, BindingStatus, NotFound
from billing.models import Binding, BindingState

AGREED_STATES = (BindingState.ACTIVE, BindingState.SUSPENDED)
DAILY = timedelta(days=1)
ABANDONED_AFTER = timedelta(hours=24)
WELL_OVER = timedelta(days=2)
UNTOLD_FOR = timedelta(days=45)  # of one that its rail tells nothing about
WARN_DAYS = (30, 7, 2)
# While somebody may be on the rail's page, and later, when they have probably left it.
ASK_SOON, ASK_LATER = timedelta(minutes=2), timedelta(hours=1)
END_RETRY = timedelta(minutes=5)


def state_after(binding: Binding, said: object, *, at: datetime) -> BindingState:
    """What the binding is after an answer; the same where that tells nothing new."""
    is_ending = binding.pause_reason == ENDING
    is_agreed = binding.state in AGREED_STATES
    status = said.status if isinstance(said, BindingFacts) else None
    if isinstance(said, NotFound) and (is_ending or is_agreed):
        status = BindingStatus.REVOKED  # there was one, or its owner wants none
    if status in (BindingStatus.REVOKED, BindingStatus.EXPIRED):
        is_unsigned = is_ending and not is_agreed
        return BindingState.ABANDONED if is_unsigned else BindingState(status)
    if status is BindingStatus.ACTIVE and not is_ending:
        return BindingState.ACTIVE
    # It has run out by the date the rail itself gave; it sends nothing, and may not answer.
    if is_agreed and binding.expires_at is not None and binding.expires_at <= at:
        return BindingState.EXPIRED
    if status is BindingStatus.SUSPENDED and is_agreed:
        return BindingState.SUSPENDED
    is_unagreed = status is BindingStatus.PENDING or isinstance(said, NotFound)
    patience = ABANDONED_AFTER if is_unagreed else UNTOLD_FOR
    is_untold = status is None and not is_ending
    if not is_agreed and (is_unagreed or is_untold) and at - binding.created_at >= patience:
        return BindingState.ABANDONED
    return BindingState(binding.state)


def next_look(binding: Binding, said: object, *, at: datetime) -> datetime | None:
    """Daily, at each warning's time and at the end; sooner while something is awaited, and then
    ever less often: an end that the rail refuses to hear of is told again after twice the time."""
    if binding.pause_reason == ENDING:
        return at + max(END_RETRY, at - (binding.paused_at or at))
    if binding.state == BindingState.PENDING:
        age = at - binding.created_at
        return at + (ASK_SOON if age < ASK_LATER else max(ASK_LATER, (age - WELL_OVER) / 4))
    if binding.state not in AGREED_STATES:
        return None
    looks = [at + (DAILY if isinstance(said, BindingFacts) else ASK_LATER)]
    if ends_at := binding.expires_at:
        looks += [ends_at - timedelta(days=days) for days in (*WARN_DAYS, 0)]
    return min(look for look in looks if look > at)

"""How long to wait before asking again (rules 14 and 21). Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

_DAY = 24 * 3600
# 10 s, 1 min, 5 min, 1 h, then daily for a week; then a person.
QUERY_WAITS_S = (10, 60, 300, 3600, _DAY, _DAY, _DAY, _DAY, _DAY, _DAY, _DAY)
_RUNGS = [timedelta(seconds=after_s) for after_s in accumulate(QUERY_WAITS_S)]
# What a rail or carrier calls normal is asked about gently and without end.
PENDING_WAITS_S = (5, 15, 60, 300, 900, 3600)
# A carrier's definite but passing "no" is tried again; then the money goes back.
DELIVERY_WAITS_S = (60, 600)
# An incident switch, a rail or carrier that is not set up: look again.
DEFERRED_RECHECK = timedelta(minutes=1)
# A question nobody came to, since those before it took so long: as often as who is silent is tried.
NOT_BEGUN_RECHECK = timedelta(seconds=15)
# A rail or carrier says that our own set-up is wrong: an operator is told at once, and it is tried
# again; soon, for it may be mended, then ever less often, and after two weeks by a person alone.
CONFIG_RETRY = timedelta(minutes=10)
CONFIG_WAITS_S = (*(600,) * 12, *(3600,) * 24, *(_DAY,) * 13)
# What was sent and never arrived is sent again under its own reference. That it is not there is no
# progress: each round waits longer, and the last one is a person's.
RESEND_WAITS_S = (0, 0, 60, 300, 900, 3600, 3 * 3600, 6 * 3600)
# Taken on and not heard of since: hourly for a day, daily for a month; then a person.
SLOW_WAITS_S = (*PENDING_WAITS_S, *(3600,) * 24, *(_DAY,) * 29)
SLOW_AFTER = timedelta(days=1)  # from here on it is more than slow


def next_query_at(*, queries: int, at: datetime, since: datetime | None = None) -> datetime | None:
    """When to ask again after `queries` fruitless questions; None: only a person can help now.

    `since`: when the doubt began, where it is known. A question that was asked besides, because
    its rail answered others, climbs no rung: the week is over when it is over.
    """
    if since is not None:
        passed = sum(since + rung <= at for rung in _RUNGS)
        if passed < min(queries, len(_RUNGS)):
            return since + _RUNGS[passed]
    return _after(QUERY_WAITS_S, rounds=queries, at=at)


def next_pending_at(*, queries: int, at: datetime) -> datetime:
    """When to look again at something that is merely slow."""
    return at + timedelta(seconds=PENDING_WAITS_S[min(queries, len(PENDING_WAITS_S) - 1)])


def next_slow_at(*, queries: int, at: datetime) -> datetime | None:
    """When to look again at what should long be over; None: only a person can help now."""
    return _after(SLOW_WAITS_S, rounds=queries, at=at)


def next_config_at(*, rounds: int, at: datetime) -> datetime | None:
    """When to try again after `rounds` refusals of *us*; None: only a person can help now."""
    return _after(CONFIG_WAITS_S, rounds=rounds, at=at)


def next_resend_at(*, rounds: int, at: datetime) -> datetime | None:
    """When to send again what was never heard of `rounds` times before; None: a person's."""
    return _after(RESEND_WAITS_S, rounds=rounds, at=at)


def _after(waits_s: Sequence[int], *, rounds: int, at: datetime) -> datetime | None:
    return at + timedelta(seconds=waits_s[rounds]) if rounds < len(waits_s) else None


def next_delivery_at(*, deliveries: int, at: datetime) -> datetime | None:
    """When to deliver again after `deliveries` rejections; None: refund."""
    if deliveries > len(DELIVERY_WAITS_S):
        return None
    return at + timedelta(seconds=DELIVERY_WAITS_S[deliveries - 1])

"""How long to wait before asking again (rules 14 and 21). Pure."""

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
# An incident switch, a rail or carrier that is not set up, a question nobody came to: look again.
DEFERRED_RECHECK = timedelta(minutes=1)
# A rail or carrier says that our own set-up is wrong: an operator is told, and it is tried again.
CONFIG_RETRY = timedelta(minutes=10)


def next_query_at(*, queries: int, at: datetime, since: datetime | None = None) -> datetime | None:
    """When to ask again after `queries` fruitless questions; None: only a person can help now.

    `since`: when the doubt began, where it is known. A question that was asked besides, because
    its rail answered others, climbs no rung: the week is over when it is over.
    """
    if since is not None:
        passed = sum(since + rung <= at for rung in _RUNGS)
        if passed < min(queries, len(_RUNGS)):
            return since + _RUNGS[passed]
    if queries >= len(QUERY_WAITS_S):
        return None
    return at + timedelta(seconds=QUERY_WAITS_S[queries])


def next_pending_at(*, queries: int, at: datetime) -> datetime:
    """When to look again at something that is merely slow."""
    return at + timedelta(seconds=PENDING_WAITS_S[min(queries, len(PENDING_WAITS_S) - 1)])


def next_delivery_at(*, deliveries: int, at: datetime) -> datetime | None:
    """When to deliver again after `deliveries` rejections; None: refund."""
    if deliveries > len(DELIVERY_WAITS_S):
        return None
    return at + timedelta(seconds=DELIVERY_WAITS_S[deliveries - 1])

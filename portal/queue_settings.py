"""django-q2, set as ../shared/design/reliability.md §2 found it must be.

`portal.checks` refuses combinations that would run a task twice or wedge a cluster.
"""

import math
from typing import Any

from environs import FileAwareEnv

MONEY, SLOW = "money", "slow"
CLOCK_SKEW_S = 5


def smallest_retry_s(*, timeout_s: int, queue_limit: int, workers: int) -> int:
    """The lock starts when the pusher takes the row, so time spent queued in memory counts."""
    return (timeout_s + 3) * (math.ceil(queue_limit / workers) + 1) + CLOCK_SKEW_S + 10


def clusters(env: FileAwareEnv) -> tuple[dict[str, Any], tuple[str, str]]:
    """Q_CLUSTER, with a second cluster for slow work (notices), so that it cannot delay money."""
    workers = env.int("KEEPLINE_WORKERS", 2)
    timeout_s = env.int("KEEPLINE_TASK_TIMEOUT_S", 60)
    shared: dict[str, Any] = {
        "orm": "default",
        "ack_failures": True,  # retry policy lives in the domain
        "max_attempts": 1,
        "catch_up": False,
        "save_limit": -1,
        "guard_cycle": 0.5,  # 0.3 never reaches exactly 0, and the guard's kill never fires
        "poll": 0.2,
        "timeout": timeout_s,
        "queue_limit": workers,
        "workers": workers,
        "retry": smallest_retry_s(timeout_s=timeout_s, queue_limit=workers, workers=workers),
        "label": "Queue",
    }
    return shared | {
        "name": MONEY,
        "ALT_CLUSTERS": {SLOW: {"workers": 1, "queue_limit": 1}},
    }, (MONEY, SLOW)

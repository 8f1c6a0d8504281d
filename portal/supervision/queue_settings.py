"""django-q2, set as its source and its failures say it must be (docs/operations.md tells why).

`portal.checks` refuses combinations that would run a task twice or wedge a cluster.
"""

import math
from collections.abc import Mapping
from typing import Any

from portal.environment import Environment, at_least_one

MONEY, SLOW = "money", "slow"
CLOCK_SKEW_S = 5


def smallest_retry_s(*, timeout_s: int, queue_limit: int, workers: int) -> int:
    """The shortest lock that outlives a task, however long it waits before it is run.

    The lock starts when the pusher takes the row, and the pusher takes one more than fits the
    queue: that row waits for the tasks under way and for the whole queue, and then runs itself.
    """
    rounds = math.ceil((queue_limit + 1) / workers) + 1
    return (timeout_s + 3) * rounds + CLOCK_SKEW_S + 10


def cluster_settings(q_cluster: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the cluster called `name` runs with: the shared settings and its own on top."""
    shared = {key: value for key, value in q_cluster.items() if key != "ALT_CLUSTERS"}
    own: dict[str, Any] = q_cluster.get("ALT_CLUSTERS", {}).get(name, {})
    return shared | own


def clusters(env: Environment) -> tuple[dict[str, Any], tuple[str, str]]:
    """Q_CLUSTER, with a second cluster for slow work (notices), so that it cannot delay money."""
    workers = env.int("KEEPLINE_WORKERS", 2, validate=at_least_one)
    timeout_s = env.int("KEEPLINE_TASK_TIMEOUT_S", 60, validate=at_least_one)
    shared: dict[str, Any] = {
        "orm": "default",
        "ack_failures": True,  # retry policy lives in the domain
        "max_attempts": 1,
        "catch_up": False,
        "save_limit": -1,
        "guard_cycle": 0.5,  # 0.3 never reaches exactly 0, and the guard's kill never fires
        "poll": 0.2,
        "recycle": 0,  # never: a recycled worker and a killed one look the same to the supervisor
        "timeout": timeout_s,
        "queue_limit": workers,
        "workers": workers,
        "retry": smallest_retry_s(timeout_s=timeout_s, queue_limit=workers, workers=workers),
        # INFO writes three lines for every task, the supervisor's canaries too.
        "log_level": env.level("KEEPLINE_QUEUE_LOG_LEVEL", "WARNING"),
        "cache": "queue",
        "label": "Queue",
    }
    slow = {
        "workers": 1,
        "queue_limit": 1,
        "retry": smallest_retry_s(timeout_s=timeout_s, queue_limit=1, workers=1),
    }
    return shared | {"name": MONEY, "ALT_CLUSTERS": {SLOW: slow}}, (MONEY, SLOW)

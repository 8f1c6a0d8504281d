"""Nudges: rows say what is due; the queue only says "look now", and may lose it.

django-q2's ORM broker is a table in this database, so a nudge belongs to the caller's transaction.
"""

from django_q.tasks import async_task

MONEY = "money"
SLOW = "slow"


def money() -> None:
    """Have the executor look for due work now."""
    async_task("billing.tasks.tick", cluster=MONEY)


def slow() -> None:
    """Have notices sent and other slow work done now."""
    async_task("billing.tasks.slow_tick", cluster=SLOW)

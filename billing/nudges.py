"""Nudges: rows say what is due; the queue only says "look now", and may lose it.

django-q2's ORM broker is a table in this database, so a nudge belongs to the caller's transaction.
"""

from django_q.brokers import get_broker
from django_q.tasks import async_task

MONEY = "money"
SLOW = "slow"


def money() -> None:
    """Have the executor look for due work now."""
    async_task("billing.tasks.tick", cluster=MONEY)


def one_more() -> None:
    """As `money`, unless one waits already that no cluster has taken."""
    if not get_broker(MONEY).queue_size():
        money()


def slow() -> None:
    """Have notices sent and other slow work done now."""
    async_task("billing.tasks.slow_tick", cluster=SLOW)

"""The canary: a task that a cluster must answer, or it stands still however alive it looks.

A cluster that works through a backlog, or through tasks that take long, is not standing still: the
rows it has taken change. One that has taken none has no excuse.
"""

from datetime import datetime

from django.utils import timezone
from django_q.models import OrmQ

from portal import heartbeats

ASK_EVERY_S = 10.0
IDLE_PATIENCE_S = 10.0
BUSY_MARGIN_S = 15.0  # beyond a task's timeout: the guard's own slack, and a loaded machine


class Canary:
    """Asks one cluster, again and again. All `now` are monotonic seconds."""

    def __init__(self, *, cluster: str, task_timeout_s: int) -> None:
        self.is_answered = False
        self._cluster = cluster
        self._busy_patience_s = task_timeout_s + BUSY_MARGIN_S
        self._asked_at: datetime | None = None
        self._asked = self._moved = 0.0
        self._taken: frozenset[int] = frozenset()

    def look(self, now: float) -> str | None:
        """Ask when it is time, and return what is wrong, if something is."""
        if self._asked_at is None or (self.is_answered and now - self._asked >= ASK_EVERY_S):
            self._asked_at = heartbeats.ask(cluster=self._cluster)
            self._asked, self.is_answered = now, False
            return None
        if not self.is_answered:
            self.is_answered = heartbeats.is_answered(
                cluster=self._cluster, asked_at=self._asked_at
            )
        return None if self.is_answered else self._judge(now)

    def _judge(self, now: float) -> str | None:
        taken = taken_tasks(cluster=self._cluster)
        if taken != self._taken:
            self._taken, self._moved = taken, now
        waited_s = now - max(self._asked, self._moved)
        patience_s = self._busy_patience_s if taken else IDLE_PATIENCE_S
        if waited_s <= patience_s:
            return None
        return f"canary unanswered, nothing moved for {waited_s:.0f} s"


def taken_tasks(*, cluster: str) -> frozenset[int]:
    """The queue rows that some cluster of this name holds at the moment, canaries left out."""
    # django-q2 locks by the application host's clock, so this must read the same one.
    held = OrmQ.objects.filter(key=cluster, lock__gt=timezone.now())
    return frozenset(row.pk for row in held if row.func() != heartbeats.CANARY)

"""Signs of life: of each cluster (a canary task it must answer) and of the money sweep.

All times are the database's, so that supervisors on several machines agree.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import Q
from django.db.models.functions import Now
from django.dispatch import receiver
from django_q.signals import post_execute_in_worker
from django_q.tasks import async_task
from django_q.utils import get_func_repr

from portal.models import Heartbeat

log = logging.getLogger(__name__)

SWEEP = "sweep"
CANARY = "portal.heartbeats.answer"


def ask(*, cluster: str) -> datetime:
    """Put a canary into the queue of `cluster`; returns when, for `is_answered`."""
    name = f"cluster:{cluster}"
    Heartbeat.objects.update_or_create(name=name, defaults={"asked_at": Now()})
    async_task(CANARY, name, q_options={"cluster": cluster})
    asked_at = Heartbeat.objects.values_list("asked_at", flat=True).get(name=name)
    if asked_at is None:  # narrows the type: the row was written above
        raise Heartbeat.DoesNotExist
    return asked_at


def answer(name: str, **_later: object) -> None:
    """Queue entry point: the canary. Once or twice makes no difference."""
    mark(name)


def is_answered(*, cluster: str, asked_at: datetime) -> bool:
    """Whether some worker of `cluster`, on any machine, has answered since `asked_at`."""
    return Heartbeat.objects.filter(name=f"cluster:{cluster}", answered_at__gte=asked_at).exists()


def mark(name: str) -> None:
    """Record that `name` is alive now. May be called any number of times."""
    Heartbeat.objects.update_or_create(name=name, defaults={"answered_at": Now()})


def claim_late_sweep(*, late_s: int) -> bool:
    """Whether the last sweep is older than `late_s` and this caller is the one to start the next.

    A claim whose sweep never ends by itself expires after `late_s`.
    """
    Heartbeat.objects.get_or_create(name=SWEEP)
    late = Now() - timedelta(seconds=late_s)
    return (
        Heartbeat.objects.filter(name=SWEEP)
        .filter(Q(answered_at=None) | Q(answered_at__lt=late))
        .filter(Q(asked_at=None) | Q(asked_at__lt=late))
        .update(asked_at=Now())
        == 1
    )


@receiver(post_execute_in_worker)
def note_sweep(task: dict[str, object], **_kwargs: object) -> None:
    """A sweep that a worker has done is a sign of life, too."""
    if get_func_repr(task["func"]) != settings.SWEEP_TASK or not task["success"]:
        return
    try:
        mark(SWEEP)
    except DatabaseError:
        # Raised here it would kill the worker while it holds a lock of the cluster's.
        log.warning("the sweep was done, but could not be recorded")

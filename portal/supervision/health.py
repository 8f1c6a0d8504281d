"""Whether the machinery behind the pages is alive, from what it left in the database."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django_q.models import Schedule

from portal.heartbeats import SWEEP
from portal.models import Heartbeat

CLUSTER_SILENT_S = 60  # a canary is asked every 10 s
SWEEP_SILENT_S = 180  # a schedule sweeps every 60 s, the supervisor after 90 s without
SCHEDULE_LATE_S = 90  # a cluster looks every 30 s; one malformed row stops them all


def ailments() -> list[str]:
    """What is not as it should be, by name: "cluster:money", "sweep", "schedule:NAME". Sorted.

    Empty means healthy. Reads two small tables, so a load balancer may ask every second.
    """
    ages_s = dict.fromkeys(
        (f"cluster:{name}" for name in settings.Q_CLUSTER_NAMES), CLUSTER_SILENT_S
    )
    ages_s[SWEEP] = SWEEP_SILENT_S
    alive = Q()
    for name, age_s in ages_s.items():
        alive |= Q(name=name, answered_at__gt=Now() - timedelta(seconds=age_s))
    heard = set(Heartbeat.objects.filter(alive).values_list("name", flat=True))
    late = Schedule.objects.exclude(repeats=0).filter(
        next_run__lt=Now() - timedelta(seconds=SCHEDULE_LATE_S)
    )
    schedules = {f"schedule:{name}" for name in late.values_list("name", flat=True)}
    return sorted((ages_s.keys() - heard) | schedules)

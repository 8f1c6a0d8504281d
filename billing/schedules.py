"""One schedule per kind of job, made and verified by code; never one per rule.

django-q2 stops all schedules at one malformed row, so `ensure` is also how they are mended.
"""

from django_q.models import Schedule

from billing.nudges import MONEY, SLOW

JOBS = (
    ("keepline money", "billing.tasks.tick", MONEY, 1),
    ("keepline slow", "billing.tasks.slow_tick", SLOW, 1),
    ("keepline statements", "billing.tasks.statements", SLOW, 5),
)


def ensure() -> int:
    """Make each job's schedule as it must be; how many were wrong or missing. Repeatable."""
    mended = 0
    for name, func, cluster, minutes in JOBS:
        wanted = {
            "func": func,
            "cluster": cluster,
            "schedule_type": Schedule.MINUTES,
            "minutes": minutes,
            "repeats": -1,
        }
        if not Schedule.objects.filter(name=name, **wanted).exists():
            Schedule.objects.update_or_create(name=name, defaults=wanted)
            mended += 1
    return mended

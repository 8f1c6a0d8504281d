"""What the edge forgets, so that its tables do not grow for ever: old answers, old counts."""

from django.utils import timezone
from django_q.models import Schedule

from portal.api import idempotency, throttles
from portal.supervision.queue_settings import SLOW

NAME = "keepline housekeeping"
# Each purge is bounded; a busy hour's leavings are still gone within the next.
_BATCHES = 50


def tidy(**_later: object) -> int:
    """Queue entry point: forget what is past its time; how many rows. May run at any time."""
    at, forgotten = timezone.now(), 0
    for _ in range(_BATCHES):
        batch = idempotency.purge(at=at)
        forgotten += batch
        if not batch:
            break
    return forgotten + throttles.purge(at=at)


def ensure(**_signal: object) -> None:
    """Its one schedule, made or mended after every migration. Repeatable."""
    wanted = {
        "func": "portal.housekeeping.tidy",
        "cluster": SLOW,
        "schedule_type": Schedule.HOURLY,
        "repeats": -1,
    }
    Schedule.objects.update_or_create(name=NAME, defaults=wanted)

"""Who lives through it: owners with lines, rules of every trigger, methods, promotions."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from tests import world as w
from tests.chaos.scene import load_reference_data
from tests.chaos.workers import Stage
from tests.factories.billing import PromotionFactory

OWNERS, LINES_EACH, METHODS_EACH = 20, 20, 4
_MANY = 10**9


def populate(stage: Stage) -> None:
    """Fill the database and both simulators. Once a run, before the first fork."""
    load_reference_data()
    scene = stage.scene
    scene.apply(public_url=stage.public_url)
    scene.calm()
    _promotions(stage)
    for number in range(OWNERS):
        owner = w.person(f"owner{number}")
        *methods, second = [scene.binding(owner) for _ in range(METHODS_EACH)]
        for line in range(LINES_EACH):
            scene.rule(
                owner,
                binding=methods[line % len(methods)],
                fallback_binding=second if line % 5 == 0 else None,
                cooldown_s=60,
                max_per_day_count=1000,
                max_per_month_minor=_MANY,
                **(_schedule(stage, minutes=line) if line % 4 == 0 else {}),
            )
    for name in ("ops", "finance"):
        w.person(name)
    # Made once here, and inherited by every fork.
    scene.outside().adapter_for(w.carrier())
    with connection.cursor() as cursor:
        # To look at every file after a power cut takes longer than all the rest of a restart.
        cursor.execute("ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'")


def _schedule(stage: Stage, *, minutes: int) -> dict[str, Any]:
    """A first charge some minutes from now, besides the low balance."""
    due_at = (stage.clock.now() + timedelta(minutes=2 + minutes)).replace(second=0, microsecond=0)
    local = due_at.astimezone(ZoneInfo("Asia/Shanghai"))
    return {
        "cycle": "monthly",
        "anchor_date": local.date(),
        "charge_time": local.time(),
        "next_run_at": due_at,
        "wake_at": due_at,
    }


def _promotions(stage: Stage) -> None:
    """Over by now; people begin them again for a while (`People.announce`)."""
    at = stage.clock.now()
    shared = {"starts_at": at - 2 * w.DAY, "ends_at": at - w.DAY, "budget_minor": 100_000}
    for kind in ("discount", "bonus"):
        PromotionFactory.create(code=kind, kind=kind, **shared)

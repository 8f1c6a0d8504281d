"""Finding due work among a million rules, beside ten thousand with as many due."""

import statistics
import time
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from billing.models import Binding, Rule
from billing.rules import due_rules
from tests import world as w
from tests.bench import population

DUE = 200
TIMES = 40


def measure(*, is_quick: bool) -> dict[str, Any]:
    few, many = (10_000, 100_000) if is_quick else (10_000, 1_000_000)
    carrier = w.carrier()
    w.rail()
    owners = Binding.objects.count()
    if not owners:
        owners = 500
        population.people(owners, sealed="")
    _nothing_due()
    population.rules(
        carrier_id=carrier.pk, first=500_000_000, last=500_000_000 + few, owners=owners, due=DUE
    )
    population.analyze()
    small = _find()
    _nothing_due()
    population.rules(
        carrier_id=carrier.pk, first=600_000_000, last=600_000_000 + many, owners=owners, due=DUE
    )
    _vacuum()
    population.analyze()
    large = _find()
    return {
        f"among {few:,} rules, ms (median)": small * 1000,
        f"among {many:,} rules, ms (median)": large * 1000,
        "ratio (aim at most 1.5)": large / small,
    }


def _find() -> float:
    """The executor's own query, locks and all, rolled back each time."""
    seconds = []
    for _ in range(TIMES):
        with transaction.atomic():
            started = time.perf_counter()
            found = due_rules.claim(at=timezone.now(), limit=DUE)
            seconds.append(time.perf_counter() - started)
            transaction.set_rollback(True)
        assert len(found) == DUE
    return statistics.median(seconds)


def _nothing_due() -> None:
    Rule.objects.update(wake_at=None)


def _vacuum() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM billing_rule")

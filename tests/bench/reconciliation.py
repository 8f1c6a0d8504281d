"""Rows of a statement a minute: read from a generator, copied, compared both ways, fees booked.

The network is left out: what a rail needs to make and send its file is its own.
"""

import resource
import time
from typing import Any

from django.db import transaction

from billing.models import Difference, Rail, Statement
from billing.reconciliation import days
from tests import world as w
from tests.billing import statement_day as day_of


def measure(*, is_quick: bool) -> dict[str, Any]:
    rows = 10_000 if is_quick else 100_000
    w.rail()
    scene = day_of.Scene()
    with transaction.atomic():
        day_of.book(rows)
    Rail.objects.filter(code="alipay").update(fee_rate_ppm=6000)
    scene.rail.days[day_of.DAY] = lambda: (day_of.payment(n) for n in range(1, rows + 1))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    days.run_one(source=scene.source(), day=day_of.DAY, clock=lambda: scene.at)
    took_s = time.perf_counter() - started
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert Statement.objects.get(day=day_of.DAY).rows_read == rows
    assert not Difference.objects.exists(), "an honest statement differs"
    return {
        "reconciliation rows a minute (aim at least 100,000)": rows / took_s * 60,
        "memory grown meanwhile, MiB": grown_kib / 1024,
    }

"""The executor: claim, commit the reference, call, commit the outcome, all the while.

Rows say what is due. `run` may be called by the queue, by a sweep or by hand, on any number of
machines at once, as often as anyone likes: a duplicate finds nothing to claim. No transaction is
open while a rail or carrier is asked.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from billing import rates
from billing.engine import bulkheads
from billing.engine.feeding import BATCH, Feeder, Progress
from billing.engine.pipeline import Pipeline
from billing.outside import Outside
from billing.recharges.claims import Work
from billing.refunds.claims import RefundWork


def run(
    *,
    clock: Callable[[], datetime],
    outside: Outside,
    budget_s: float,
    batch: int = BATCH,
) -> Progress:
    """Work until nothing is due or `budget_s` is spent, then until nothing is under way. Bounded,
    and safe to repeat."""
    ends_at = time.monotonic() + budget_s
    with rates.at_work(), _pipeline(clock=clock, outside=outside) as pipeline:
        feeder = Feeder(pipeline, outside=outside, batch=batch)
        while pipeline.under_way or not feeder.is_dry:
            feeder.feed(at=clock())
            pipeline.turn()
            if time.monotonic() > ends_at:
                break
        pipeline.drain()
    return feeder.done


def run_batch(*, at: datetime, outside: Outside, batch: int = BATCH) -> Progress:
    """One batch of each kind of work that is due at `at`, until nothing of it is under way."""
    with _pipeline(clock=lambda: at, outside=outside) as pipeline:
        feeder = Feeder(pipeline, outside=outside, batch=batch)
        feeder.look_around(at=at)
        found = feeder.once(at=at, is_drained=True)
        if found < batch:  # else there is more, which tells as much as a probe
            feeder.probe()
            pipeline.drain()
    return feeder.done


def work(rows: Sequence[Work], *, at: datetime, outside: Outside, began: float) -> int:
    """Do the next step of each claimed recharge; how many there were.

    `began`: `time.monotonic()` before the claim. Whoever stalls after it begins no call.
    """
    with _pipeline(clock=lambda: at, outside=outside) as pipeline:
        pipeline.take(rows, began=began)
        pipeline.drain()
    return len(rows)


def refund(rows: Sequence[RefundWork], *, at: datetime, outside: Outside, began: float) -> int:
    """Do the next step of each claimed refund; how many there were. `began`: as for `work`."""
    with _pipeline(clock=lambda: at, outside=outside) as pipeline:
        pipeline.take_refunds(rows, began=began)
        pipeline.drain()
    return len(rows)


def _pipeline(*, clock: Callable[[], datetime], outside: Outside) -> Pipeline:
    return Pipeline(outside=outside, clock=clock, bulkheads=bulkheads.ours())

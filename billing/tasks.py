"""Queue entry points: no arguments, one call. A task delivered twice finds nothing left to do."""

import logging
import time
from functools import partial

from django.conf import settings
from django.utils import timezone

from billing import gateways, nudges
from billing.engine import sweeps, waking
from billing.notices import pages
from billing.outside import Outside
from billing.reconciliation import days
from lines import carriers
from lines.carriers.base import CarrierAdapter
from lines.models import Carrier

log = logging.getLogger(__name__)

# Well below the queue's timeout, which kills a task where it stands.
MONEY_BUDGET_S = 20.0
SLOW_BUDGET_S = 15.0  # no step is begun after it, and one that calls takes as long at the worst
# No statement is begun after it. One of 100,000 rows takes half a minute at the worst; one that
# takes longer than the queue lets a task run is for `manage.py reconcile`.
STATEMENTS_BUDGET_S = 15.0


def outside() -> Outside:
    """How this installation reaches its rails and carriers."""
    return Outside(
        gateways={rail: gateways.get(rail) for rail in gateways.available()},
        adapter_for=adapter_for,
        notify_url=partial(notify_url, public_url=settings.PUBLIC_URL),
        return_url=partial(pages.of_recharge, public_url=settings.PUBLIC_URL),
        notice_url=partial(pages.of_notice, public_url=settings.PUBLIC_URL),
    )


def adapter_for(carrier: Carrier) -> CarrierAdapter | None:
    """The carrier's adapter, or None where its settings do not make one: the others go on."""
    try:
        return carriers.adapter_for(carrier)
    except carriers.CarrierNotConfigured as error:
        log.error("%s", error)
        return None


def notify_url(rail: str, *, public_url: str) -> str:
    """Where a rail reports what became of a charge or an agreement."""
    return f"{public_url}/hooks/{rail}/notify"


def tick(**_later: object) -> None:
    """Do what is due with money. `_later` lets a newer release add arguments."""
    began = time.monotonic()
    work = partial(sweeps.money, clock=timezone.now, outside=outside())
    work(budget_s=MONEY_BUDGET_S)
    left_s = MONEY_BUDGET_S - (time.monotonic() - began)
    waking.watch(clock=timezone.now, step=partial(work, budget_s=0), budget_s=left_s)


def slow_tick(**_later: object) -> None:
    """Do what is due with balances, agreements and notices; what is left, in another task, so that
    no task outlives the queue's timeout."""
    if sweeps.drain(clock=timezone.now, outside=outside(), budget_s=SLOW_BUDGET_S).is_more:
        nudges.slow()


def statements(**_later: object) -> None:
    """Fetch and compare the statements that are due."""
    until = time.monotonic() + STATEMENTS_BUDGET_S
    days.run_due(clock=timezone.now, outside=outside(), may_go_on=lambda: time.monotonic() < until)

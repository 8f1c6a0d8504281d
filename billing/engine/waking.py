"""Once a rail or carrier answers again, all that is in doubt there is asked about, within its rate
(rule 14): not at each row's own next rung, which may be a day away.

While it fails and nothing of it falls due soon, it is probed. Both cost one statement where nothing
fails.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from billing import nudges, outages, rowsets
from billing.engine import doubts
from billing.engine.doubts import Whose

# One rail or carrier is asked so often a second, and for so long at a time: should it fail again,
# the others of 100,000 have not been sent its way.
ASKS_PER_S = 20
STRIDE = timedelta(seconds=10)
_MOST = ASKS_PER_S * (STRIDE // timedelta(seconds=1))
LOOK_EVERY_S = 2.0

_IS_ANY = "SELECT id FROM billing_outage WHERE probe_at <= %s OR wake_at <= %s LIMIT 1"
_ARE_ON = "SELECT id FROM billing_outage WHERE is_failing OR wake_at IS NOT NULL LIMIT 1"
_PROBE = """
UPDATE billing_outage SET probe_at = %s WHERE is_failing AND probe_at <= %s
RETURNING side, code, since"""
_WAKE = """
UPDATE billing_outage SET wake_at = %s, woken_at = %s WHERE NOT is_failing AND wake_at <= %s
RETURNING side, code, since"""
_DONE = "UPDATE billing_outage SET wake_at = NULL WHERE side = %s AND code = %s AND wake_at = %s"
_WATCH = """
UPDATE billing_outage SET watched_until = %s
WHERE NOT EXISTS (SELECT FROM billing_outage o WHERE o.watched_until > %s)
  AND (is_failing OR wake_at IS NOT NULL)"""
_LEAVE = "UPDATE billing_outage SET watched_until = NULL WHERE watched_until = %s"


def wake(*, at: datetime) -> list[Whose]:
    """Have asked about what waits for who answers again; those to be probed after what is due now.

    May run anywhere, any number at once.
    """
    if not rowsets.column(_IS_ANY, [at, at], of=int):
        return []
    again_at = at + STRIDE
    for one in rowsets.read(_WAKE, [again_at, at, at], into=Whose):
        apart = timedelta(seconds=1) / ASKS_PER_S
        if doubts.wake(one, at=at, most=_MOST, apart=apart) < _MOST:
            rowsets.run(_DONE, [one.side, one.code, again_at])
        nudges.money()
    failing = rowsets.read(_PROBE, [at + outages.PROBE_EVERY, at], into=Whose)
    return [whose for whose in failing if not doubts.are_asked_about_soon(whose, at=at)]


def watch(*, clock: Callable[[], datetime], step: Callable[[], object], budget_s: float) -> None:
    """Stay, and do `step` every two seconds, while anything fails or is being woken: the schedule
    comes a minute apart. Of all the tasks that are at it one stays, and calls the next."""
    until = clock() + timedelta(seconds=budget_s)
    if budget_s <= 0 or not rowsets.run(_WATCH, [until, clock()]):
        return
    ends_at = time.monotonic() + budget_s
    while (is_on := bool(rowsets.column(_ARE_ON, [], of=int))) and time.monotonic() < ends_at:
        time.sleep(LOOK_EVERY_S)
        step()
    rowsets.run(_LEAVE, [until])
    if is_on:
        nudges.money()

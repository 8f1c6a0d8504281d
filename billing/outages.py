"""Which rails and carriers give no answer now, so that whatever is in doubt there is asked about
when they do again (rule 14), not at its own ladder's next rung.

A row is written at the edges alone, from answering to not and back; who claims work is told with
it how its rail and carrier stand, so that what goes well costs no statement here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from billing import nudges, rowsets
from billing.models import OutageSide

# While it fails it is tried so often; once it answers, no sooner after the last waking than that.
PROBE_EVERY = timedelta(seconds=15)
WAKE_EVERY = timedelta(seconds=30)
# What was asked about so often in vain says more of itself than of who is asked: it goes by its own
# ladder from then on, and is no sign of an outage.
PATIENCE = 30


class Heard(NamedTuple):
    """What one call says of whom it was made to. `is_answer`: None where it says nothing of it;
    `was_failing`: as its claim found it."""

    side: OutageSide
    code: str
    is_answer: bool | None
    was_failing: bool


_BEGIN = """
INSERT INTO billing_outage AS o (side, code, is_failing, since, probe_at)
VALUES (%s, %s, true, %s, %s)
ON CONFLICT (side, code) DO UPDATE SET is_failing = true, probe_at = EXCLUDED.probe_at,
  since = CASE WHEN o.wake_at IS NULL THEN EXCLUDED.since ELSE o.since END
WHERE NOT o.is_failing"""
_END = """
UPDATE billing_outage SET is_failing = false, probe_at = NULL,
  wake_at = GREATEST(%s, woken_at + %s)
WHERE side = %s AND code = %s AND is_failing"""


def note(heard: Iterable[Heard], *, at: datetime) -> None:
    """Keep what changes by what was `heard`. A statement for each that changes, in one order."""
    said = {(one.side.value, one.code, one.was_failing, one.is_answer) for one in heard}
    for side, code, was_failing, is_answer in sorted(said, key=str):
        if is_answer and was_failing:
            if rowsets.run(_END, [at, WAKE_EVERY, side, code]):
                nudges.money()
        elif is_answer is False and not was_failing:
            rowsets.run(_BEGIN, [side, code, at, at + PROBE_EVERY])


_FAILING = "SELECT code FROM billing_outage WHERE side = %s AND is_failing"


def failing(side: OutageSide) -> set[str]:
    """Those that give no answer now: for who asks about rows that do not say."""
    return set(rowsets.column(_FAILING, [side.value], of=str))

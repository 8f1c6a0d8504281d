"""Which rails and carriers give no answer now, so that whatever is in doubt there is asked about
when they do again (rule 14), not at its own ladder's next rung.

A row is written at the edges alone, from answering to not and back; who claims work is told with
it how its rail and carrier stand, so that what goes well costs no statement here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import IntegerField, QuerySet
from django.db.models.expressions import RawSQL

from billing import nudges, rowsets
from billing.models import Outage, OutageSide

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
    reason: str = ""  # what came instead of an answer, for operators; nobody's number is in it


_LONGEST = 200
_BEGIN = """
INSERT INTO billing_outage AS o (side, code, is_failing, since, probe_at, reason)
VALUES (%s, %s, true, %s, %s, %s)
ON CONFLICT (side, code) DO UPDATE SET is_failing = true, probe_at = EXCLUDED.probe_at,
  reason = EXCLUDED.reason,
  since = CASE WHEN o.wake_at IS NULL THEN EXCLUDED.since ELSE o.since END
WHERE NOT o.is_failing"""
_END = """
UPDATE billing_outage SET is_failing = false, probe_at = NULL,
  wake_at = GREATEST(%s, woken_at + %s)
WHERE side = %s AND code = %s AND is_failing"""


def note(heard: Iterable[Heard], *, at: datetime) -> None:
    """Keep what changes by what was `heard`. A statement for each that may change, in one order."""
    said = list(heard)
    note_silence(said, at=at)
    for side, code in sorted({(h.side, h.code) for h in said if h.is_answer and h.was_failing}):
        if rowsets.run(_END, [at, WAKE_EVERY, side.value, code]):
            nudges.money()


def note_silence(heard: Iterable[Heard], *, at: datetime) -> None:
    """Keep that it gives no answer, however its claim found it: it may have answered meanwhile, and
    have had asked about all that was in doubt by then. Noted before such a doubt is recorded, so
    that none is left without it by whoever dies, and after, so that no waking passes it over."""
    silent = {(one.side.value, one.code): one for one in heard if one.is_answer is False}
    for side, code in sorted(silent):
        why = silent[side, code].reason[:_LONGEST].replace("\x00", "")
        rowsets.run(_BEGIN, [side, code, at, at + PROBE_EVERY, why])


_FAILING = "SELECT code FROM billing_outage WHERE side = %s AND is_failing"


def failing(side: OutageSide) -> set[str]:
    """Those that give no answer now: for who asks about rows that do not say."""
    return set(rowsets.column(_FAILING, [side.value], of=str))


def asked_at(one: Outage) -> datetime | None:
    """When one that gives no answer was asked last; None: it answers."""
    return one.probe_at - PROBE_EVERY if one.is_failing and one.probe_at else None


# What waits for the word of an outage's rail or carrier, and is still asked about. By the indexes
# of what is due.
_IN_DOUBT = """(
  (SELECT count(*) FROM billing_recharge g JOIN lines_line l ON l.id = g.line_id
   JOIN lines_carrier c ON c.id = l.carrier_id
   WHERE g.act_at IS NOT NULL AND CASE billing_outage.side
     WHEN 'rail' THEN g.state = 'payment_unknown' AND g.rail = billing_outage.code
     ELSE g.state = 'delivery_unknown' AND c.code = billing_outage.code END)
  + (SELECT count(*) FROM billing_refund f JOIN billing_paymentattempt a ON a.id = f.attempt_id
   JOIN billing_recharge g ON g.id = f.recharge_id JOIN lines_line l ON l.id = g.line_id
   JOIN lines_carrier c ON c.id = l.carrier_id
   WHERE f.act_at IS NOT NULL AND CASE billing_outage.side
     WHEN 'rail' THEN f.state = 'unknown' AND a.rail = billing_outage.code
     ELSE f.state = 'reversing' AND f.queries > 0 AND c.code = billing_outage.code END))"""


def all_of_them() -> QuerySet[Outage]:
    """Each with `in_doubt`: how many payments, credits and refunds wait for its word."""
    count = RawSQL(_IN_DOUBT, [], output_field=IntegerField())  # noqa: S611 # nosec B611 - our own
    return Outage.objects.annotate(in_doubt=count)


def in_doubt(outage: Outage) -> int:
    """Of one that `all_of_them` has read."""
    count: int = vars(outage)["in_doubt"]
    return count

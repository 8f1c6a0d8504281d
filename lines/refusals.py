"""A carrier that refuses *us*: our token, our contract. Told of any one line, it is so of all.

Kept on the carrier, with its age, from the first question that it refused until the next that it
answers: an operator sees it at once, whatever was asked.
"""

from datetime import datetime, timedelta

from lines.models import Carrier

# Asked again soon, for it may be mended, then less often: never for ever at the same pace.
AGAIN_SOON, AGAIN_LATER = timedelta(minutes=10), timedelta(hours=6)


def refused(*, carrier_id: int, at: datetime) -> None:
    """It would not be asked. May be called for each question: its age is that of the first."""
    Carrier.objects.filter(pk=carrier_id, refuses_us_since=None).update(refuses_us_since=at)


def answered(*, carrier_id: int) -> None:
    """It answers us (again)."""
    Carrier.objects.filter(pk=carrier_id, refuses_us_since__isnull=False).update(
        refuses_us_since=None
    )


def next_look(carrier: Carrier, *, at: datetime) -> datetime:
    """When to ask it again about the same."""
    refused_for = at - (carrier.refuses_us_since or at)
    return at + min(max(refused_for / 2, AGAIN_SOON), AGAIN_LATER)

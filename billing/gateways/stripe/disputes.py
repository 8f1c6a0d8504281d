"""How Stripe says what became of a dispute, and what that means. Pure, and without the SDK.

What is said is kept with its message, and its meaning is asked for again long after: whatever was
once written by `said` must stay readable by `standing`.
"""

from billing.gateways.base import DisputeStanding

PREFIX = "charge.dispute."  # of the events' types

# A dispute's `status`; any other one is still open, and so is one that nobody has listed.
_ENDS = {
    "won": DisputeStanding.WON,
    "lost": DisputeStanding.LOST,
    "prevented": DisputeStanding.LOST,  # given back before it came to a dispute, without asking us
    "warning_closed": DisputeStanding.DROPPED,  # an inquiry that the bank let be
}


def said(*, event_type: str, status: str) -> str:
    """A message's word: "charge.dispute.closed:won"."""
    return f"{event_type}:{status}"


def standing(claims: str) -> DisputeStanding:
    """What that word means."""
    return _ENDS.get(claims.rpartition(":")[2], DisputeStanding.OPEN)

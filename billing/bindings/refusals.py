"""A rail that refuses *us*: our key, our contract. Told of one agreement, it is so of all.

Kept on the rail, with its age, from the first question about an agreement that it refused until the
next that it answers: an operator sees it at once.
"""

from datetime import datetime

from billing.gateways.base import BindingFacts, NotFound, Unknown
from billing.models import Rail


def note(*, rail_code: str, said: object, at: datetime) -> None:
    """What an answer about an agreement says of the rail itself. May be called for each."""
    rails = Rail.objects.filter(code=rail_code)
    if isinstance(said, Unknown) and said.is_ours:
        rails.filter(refuses_us_since=None).update(refuses_us_since=at)
    elif isinstance(said, BindingFacts | NotFound):
        rails.filter(refuses_us_since__isnull=False).update(refuses_us_since=None)

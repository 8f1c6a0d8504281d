"""What those behind a rail allow of whoever charges through it. Pure."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class TryLimit:
    """So many refused tries of one instrument in so long: beyond it whoever tries pays for it."""

    count: int
    within: timedelta

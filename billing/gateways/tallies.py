"""What a bill's rows come to, kept beside the reading and compared with what the bill says.

A difference is handed on as one more row that cannot be read: the rows themselves are as true as
before, and a person sees why the day may lack some.
"""

from collections import Counter
from dataclasses import dataclass, field

from billing.gateways.base import StatementKind, StatementRow, UnreadableRow


@dataclass(slots=True)
class Tally:
    """Rows by their kind, and their amounts; sums say nothing once a row could not be read."""

    unread: int = 0
    counts: Counter[StatementKind] = field(default_factory=Counter)
    minor: Counter[StatementKind] = field(default_factory=Counter)
    currencies: set[str] = field(default_factory=set)

    def add(self, row: StatementRow | UnreadableRow, amount_minor: int | None = None) -> None:
        """`amount_minor`: what the bill's sums count of the row, where that is not its amount."""
        if isinstance(row, UnreadableRow):
            self.unread += 1
            return
        self.counts[row.kind] += 1
        self.currencies.add(row.currency)
        self.minor[row.kind] += row.amount_minor if amount_minor is None else amount_minor

    @property
    def rows(self) -> int:
        return self.unread + self.counts.total()

    @property
    def has_sums(self) -> bool:
        """Whether a bill of one currency, read to its end, must come to these sums."""
        is_plain = not self.unread and not self.counts[StatementKind.REFUND_FAILED]
        return is_plain and len(self.currencies) < 2


def differing(said: str, read: str) -> str:
    return f"the statement's own totals say {said}, and {read} were read"

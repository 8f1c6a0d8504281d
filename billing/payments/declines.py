"""What a rail's code means: data an operator can mend. A code nobody listed is *unknown*."""

from billing.models import DeclineCode
from billing.states import DeclineClass

Table = dict[tuple[str, str], str]


def load() -> Table:
    """The whole table, once a batch: (rail, code) to class."""
    rows = DeclineCode.objects.values_list("rail", "code", "decline_class")
    return {(rail, code): decline_class for rail, code, decline_class in rows}


def classify(table: Table, *, rail: str, code: str) -> DeclineClass:
    """The class of `code` on `rail`; UNKNOWN where it is not listed: ask, never assume."""
    return DeclineClass(table.get((rail, code), DeclineClass.UNKNOWN))

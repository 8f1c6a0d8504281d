"""The breaker of each rail and carrier: to who gives no answer no more is sent than tells whether
it answers again.

`billing_outage` says who fails, for all workers; one lost answer among a thousand is enough for
that, and the next answer ends it. It breaks when that lasts, or when a worker heard silence alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from billing import outages, rowsets
from billing.engine.bulkheads import Whom
from billing.engine.doubts import Whose
from billing.outages import Heard

IN_A_ROW = 8
# While it is open: so many charges at a time, besides the probes.
TRIED = 2

_FAILING = "SELECT side, code, since FROM billing_outage WHERE is_failing"


class Silences:
    """What one worker knows of them. `look` refreshes what the others do."""

    def __init__(self) -> None:
        self._failing: dict[Whom, datetime] = {}
        self._in_a_row: Counter[Whom] = Counter()

    def look(self) -> None:
        """Who fails now, by all that workers have heard."""
        found = rowsets.read(_FAILING, [], into=Whose)
        self._failing = {Whom(one.side, one.code): one.since for one in found}

    def is_open(self, whom: Whom, *, at: datetime) -> bool:
        """Whether it is to be spared."""
        since = self._failing.get(whom)
        if since is None:
            return False
        return at - since > outages.PROBE_EVERY or self._in_a_row[whom] >= IN_A_ROW

    def hear(self, heard: Iterable[Heard], *, at: datetime) -> None:
        """Keep what changed, if anything did. What was sent before it failed ends it as well as
        what was sent since."""
        outages.note(list(self._told(heard)), at=at)

    def _told(self, heard: Iterable[Heard]) -> Iterator[Heard]:
        for one in heard:
            whom = Whom(one.side.value, one.code)
            if one.is_answer is False:
                self._in_a_row[whom] += 1
            elif one.is_answer:
                self._in_a_row[whom] = 0
                if self._failing.pop(whom, None) is not None:
                    yield one._replace(was_failing=True)
                    continue
            yield one

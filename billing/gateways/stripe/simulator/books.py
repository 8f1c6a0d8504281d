"""The simulator's state: Stripe's objects, and the answers saved under idempotency keys.

Every change is one journal entry, with the objects as they are after it and the answer that was
given, applied by the same code when it happens and when the journal is read again at a start. So an
effect and its saved answer are kept together or not at all, whenever the process is killed.
"""

import threading
import uuid
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from billing.gateways.simulation.agenda import VirtualClock
from billing.gateways.simulation.journal import Entry, Journal
from billing.gateways.stripe.simulator.cards import CARDS
from billing.gateways.stripe.simulator.instants import seconds

KEY_LIFETIME = timedelta(hours=24)
# What the simulator itself makes and keeps: each kind's members are known to who makes it.
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """The first answer under an idempotency key."""

    digest: str  # of the method, the address and the parameters
    status: int
    body: Object
    at: datetime


@dataclass(slots=True)
class Change:
    """What one call does: collected, then written down as one entry."""

    kind: str = "changed"
    facts: dict[str, object] = field(default_factory=dict)
    objects: dict[str, Object] = field(default_factory=dict)
    events: list[tuple[str, Object]] = field(default_factory=list)

    def put(self, one: Object, *events: str) -> Object:
        """Keep an object as it now is, and tell of it."""
        self.objects[one["id"]] = one
        self.events += [(event, one) for event in events]
        return one

    def name(self, kind: str, **facts: object) -> None:
        """What the journal calls it: "charge" and "refund" are money that moved."""
        self.kind, self.facts = kind, facts


class Books:
    """All state behind one lock; hold `lock` from looking to recording."""

    def __init__(self, journal: Journal, clock: VirtualClock) -> None:
        self.lock = threading.RLock()
        self.cards = dict(CARDS)
        self.objects: dict[str, Object] = {}
        self._ids: dict[str, list[str]] = defaultdict(list)  # by kind of object, oldest first
        self._saved: dict[str, Saved] = {}
        self._journal = journal
        self._clock = clock
        for entry in journal.entries():
            self._apply(entry)

    def record(self, change: Change, *, key: str = "", saved: Saved | None = None) -> None:
        """Write a change down, with the answer saved under `key`, then let it be so."""
        facts: dict[str, object] = dict(change.facts)
        if change.objects:
            facts["objects"] = list(change.objects.values())
        if saved is not None:
            facts["saved"] = {
                "key": key,
                "digest": saved.digest,
                "status": saved.status,
                "body": saved.body,
            }
        with self.lock:
            at = self._clock.now().isoformat(timespec="seconds")
            self._apply(self._journal.append(kind=change.kind, at=at, facts=facts))

    def entries(self, *, kind: str = "", since: int = 0) -> list[Entry]:
        """The journal without the objects, which are looked at as objects."""
        found = self._journal.entries(kind=kind, since=since)
        return [{k: v for k, v in one.items() if k not in ("objects", "saved")} for one in found]

    def all_of(self, kind: str) -> list[Object]:
        """Objects of one kind ("payment_intent"), latest first."""
        return [self.objects[number] for number in reversed(self._ids[kind])]

    def saved(self, key: str, now: datetime) -> Saved | None:
        """What a key has answered, while it lives."""
        saved = self._saved.get(key)
        return saved if saved is not None and now - saved.at < KEY_LIFETIME else None

    def now_s(self) -> int:
        return seconds(self._clock.now())

    def _apply(self, entry: Entry) -> None:
        at = datetime.fromisoformat(entry["at"])
        if entry["kind"] == "clock":
            self._clock.advance(timedelta(seconds=entry["advance_s"]))
        if entry["kind"] == "card":
            card = self.cards[entry["slug"]]
            self.cards[card.slug] = replace(card, **entry["changes"])
        for one in entry.get("objects", ()):
            if one["id"] not in self.objects:
                self._ids[one["object"]].append(one["id"])
            self.objects[one["id"]] = one
        if saved := entry.get("saved"):
            self._saved[saved["key"]] = Saved(saved["digest"], saved["status"], saved["body"], at)


def new_id(prefix: str) -> str:
    """An id like Stripe's: letters and figures after the kind's own prefix."""
    return f"{prefix}_{uuid.uuid4().hex[:24]}"

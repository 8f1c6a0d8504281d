"""The operator's books: lines, orders and what moved, under one lock, written before answered.

Every change is one journal entry, and replaying the entries gives the same books. There is no
client idempotency: each order taken is a further order, unless `dedupes_by_reference`.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from secrets import token_hex
from typing import Any

from lines.carriers.tmf654.simulator.journal import Journal
from lines.carriers.tmf654.simulator.records import (
    Line,
    Message,
    Movement,
    Order,
    Record,
    Subscription,
)

_TYPES: dict[str, type[Record]] = {
    "line": Line,
    "order": Order,
    "movement": Movement,
    "message": Message,
    "subscription": Subscription,
}
GONE = {"ported_out": "linePortedOut", "terminated": "lineTerminated"}


class Refused(Exception):
    """The operator says no: nothing moved."""

    def __init__(self, code: str, reason: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.reason, self.status = code, reason, status


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as a client asks for it. `echo`: the request's own fields, given back in answers."""

    bucket_id: str
    resource: str
    amount_minor: int  # signed
    currency: str
    echo: dict[str, Any] = field(default_factory=dict)
    account_id: str = ""


class Books:
    """All methods may be called from any thread."""

    def __init__(
        self,
        journal: Journal,
        *,
        usage_speed: Fraction,
        reference_field: str = "description",
        dedupes_by_reference: bool = False,
    ) -> None:
        self.reference_field = reference_field
        self.announce: Callable[[str, Record], None] = lambda event, record: None
        self.end_of_topups = ("completed", 0.0)  # how an accepted top-up ends, and after how long
        self._journal = journal
        self._speed = usage_speed
        self._dedupes = dedupes_by_reference
        self._lock = threading.RLock()
        self._ahead = timedelta()
        self.lines: dict[str, Line] = {}
        self.orders: dict[str, Order] = {}
        self.movements: list[Movement] = []
        self.messages: list[Message] = []
        self.subscriptions: dict[str, Subscription] = {}
        self._bucket_of: dict[str, str] = {}
        self._orders_by_text: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        self._pending: set[str] = set()
        for entry in journal.entries():
            self._apply(entry)

    # --- reading ----------------------------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def line_of(self, resource: str) -> Line | None:
        """By number, card or bucket id, with its usage up to now taken off."""
        with self._lock:
            bucket_id = self._bucket_of.get(_key(resource), resource)
            return self._line(bucket_id) if bucket_id in self.lines else None

    def all_lines(self) -> list[Line]:
        with self._lock:
            return [self._line(bucket_id) for bucket_id in self.lines]

    def orders_with(self, kind: str, name: str = "", value: str = "") -> list[Order]:
        """Orders of a kind, oldest first; those whose free field `name` is `value` if given."""
        with self._lock:
            if name:
                return [self.orders[id_] for id_ in self._orders_by_text[kind, name, value]]
            return [order for order in self.orders.values() if order.kind == kind]

    def all_movements(self) -> list[Movement]:
        with self._lock:
            return list(self.movements)

    # --- orders -----------------------------------------------------------------------------------

    def topup(self, asked: Asked) -> Order:
        """Take on a top-up; completed at once, unless top-ups end later. Raises Refused."""
        with self._lock:
            earlier = self._same("topup", asked)
            if earlier:
                return earlier
            line = self._live_line(asked)
            _check_sold(line, asked.amount_minor)
            end, after_s = self.end_of_topups
            order = self._new_order("topup", line, asked)
            if end == "completed" and after_s <= 0:
                return self._completed(order)
            self._store(replace(order, due_at=self.now() + timedelta(seconds=after_s), end=end))
            return self.orders[order.id]

    def adjust(self, asked: Asked) -> Order:
        """Book a signed amount at once. Raises Refused, also when a debit is not covered."""
        with self._lock:
            earlier = self._same("adjust", asked)
            if earlier:
                return earlier
            line = self._live_line(asked)
            if line.balance_minor + asked.amount_minor < 0:
                raise Refused("insufficientBalance", "The balance does not cover this debit.")
            return self._completed(self._new_order("adjust", line, asked))

    def cancel(self, order_id: str) -> Order:
        """End an order that has not taken effect. Raises Refused."""
        with self._lock:
            order = self._order(order_id)
            if order.status != "created":
                raise Refused("notCancellable", "This order has come to its end.", 409)
            return self._ended(order, "cancelled", "cancelled")

    def reverse(self, order_id: str) -> Order:
        """The operator takes a completed top-up back, as after a chargeback. Raises Refused."""
        with self._lock:
            order = self._order(order_id)
            if order.kind != "topup" or order.status != "completed":
                raise Refused("notReversible", "Only a completed top-up can be reversed.", 409)
            line = self._line(order.bucket_id)
            order = replace(order, status="cancelled", reason="reversed")
            self._store(
                order,
                replace(line, balance_minor=line.balance_minor - order.amount_minor),
                self._movement(order, -order.amount_minor),
            )
            self.announce("topupBalanceCancelEvent", order)
            return order

    def settle(self) -> None:
        """Bring the orders to their end that are due, and tell of balances that fell."""
        with self._lock:
            for order_id in sorted(self._pending):
                order = self.orders[order_id]
                if order.due_at and order.due_at <= self.now():
                    self._settle(order)
            for was in list(self.lines.values()):
                below = was.notify_below_minor
                # The stored balance is the one last told: a crossing is told, and stored, once.
                if below is not None and was.balance_minor >= below:
                    line = self._line(was.id)
                    if line.balance_minor < below:
                        self._store(line)
                        self.announce("bucketBalanceChangeEvent", line)

    # --- what else is written ---------------------------------------------------------------------

    def add_line(self, line: Line) -> Line:
        """Raises Refused when the number or the card is taken."""
        with self._lock:
            if any(_key(value) in self._bucket_of for value, _ in line.resources):
                raise Refused("resourceTaken", "There is a line with this number or card.", 409)
            self._store(line)
            return line

    def change_line(self, resource: str, changes: dict[str, Any]) -> Line:
        """Raises Refused when there is no such line. A set balance is told to the hub."""
        with self._lock:
            line = self.line_of(resource)
            if line is None:
                raise Refused("unknownResource", "There is no such line.", 404)
            line = replace(line, **changes)
            self._store(line)
            if "balance_minor" in changes:
                self.announce("bucketBalanceChangeEvent", line)
            return line

    def add_message(self, *, number: str, sender: str, text: str) -> Message:
        with self._lock:
            message = Message(token_hex(8), number, sender, text, self.now())
            self._store(message)
            return message

    def subscribe(self, *, callback: str, query: str) -> Subscription:
        """Raises Refused when this callback is registered with this query."""
        with self._lock:
            for known in self.subscriptions.values():
                if (known.callback, known.query) == (callback, query):
                    raise Refused("duplicateCallback", "This callback is registered.", 409)
            subscription = Subscription(token_hex(8), callback, query, self.now())
            self._store(subscription)
            return subscription

    def unsubscribe(self, subscription_id: str) -> None:
        """Raises Refused when there is none."""
        with self._lock:
            if subscription_id not in self.subscriptions:
                raise Refused("unknownSubscription", "There is no such subscription.", 404)
            self._write([{"type": "unsubscribed", "id": subscription_id}])

    def advance_clock(self, seconds: float) -> datetime:
        with self._lock:
            self._write([{"type": "clock", "seconds": seconds}])
            self.settle()
            return self.now()

    # --- inside the lock --------------------------------------------------------------------------

    def _same(self, kind: str, asked: Asked) -> Order | None:
        """The order already taken under this reference, where the operator looks at references."""
        reference = asked.echo.get(self.reference_field)
        if not self._dedupes or not isinstance(reference, str):
            return None
        for order in self.orders_with(kind, self.reference_field, reference):
            if (order.amount_minor, order.bucket_id) != (asked.amount_minor, asked.bucket_id):
                raise Refused("referenceUsed", "This reference names another order.", 409)
            if order.status in ("created", "completed"):
                return order
        return None

    def _live_line(self, asked: Asked) -> Line:
        if asked.bucket_id not in self.lines:
            raise Refused("unknownBucket", "There is no such bucket.")
        line = self._line(asked.bucket_id)
        if asked.account_id not in ("", line.account_id):
            raise Refused("wrongAccount", "The bucket is not of this account.")
        if asked.resource and not any(
            _key(asked.resource) == _key(value) for value, _ in line.resources
        ):
            raise Refused("wrongResource", "The bucket is not of this number or card.")
        if line.status in GONE:
            raise Refused(GONE[line.status], "The line has left this operator.")
        if line.status == "suspended" and asked.amount_minor > 0:
            raise Refused("lineSuspended", "The line is suspended.")
        if line.currency != asked.currency:
            raise Refused("wrongCurrency", "The bucket is kept in another currency.")
        return line

    def _line(self, bucket_id: str) -> Line:
        return self.lines[bucket_id].used_until(self.now(), self._speed)

    def _new_order(self, kind: str, line: Line, asked: Asked) -> Order:
        return Order(
            id=f"{kind[:3].upper()}-{token_hex(10)}",
            kind=kind,
            bucket_id=line.id,
            resource=asked.resource or line.resources[0][0],
            amount_minor=asked.amount_minor,
            currency=asked.currency,
            status="created",
            requested_at=self.now(),
            echo=asked.echo,
        )

    def _settle(self, order: Order) -> None:
        if order.end != "completed":
            self._ended(order, order.end, order.reason or "failed")
            return
        try:
            line = self._live_line(
                Asked(order.bucket_id, order.resource, order.amount_minor, order.currency)
            )
            _check_sold(line, order.amount_minor)
        except Refused as refusal:
            self._ended(order, "failed", refusal.code)
        else:
            self._completed(order)

    def _completed(self, order: Order) -> Order:
        line, now = self._line(order.bucket_id), self.now()
        order = replace(order, status="completed", confirmed_at=now)
        if line.valid_until and order.kind == "topup":
            carried = max(line.valid_until, now + timedelta(days=line.extends_days))
            line = replace(line, valid_until=carried)
        line = replace(line, balance_minor=line.balance_minor + order.amount_minor)
        self._store(order, line, self._movement(order, order.amount_minor))
        self.announce(f"{order.kind}BalanceCreateEvent", order)
        return order

    def _ended(self, order: Order, status: str, reason: str) -> Order:
        order = replace(order, status=status, reason=reason)
        self._store(order)
        event = "Failure" if status == "failed" else "Cancel"
        self.announce(f"{order.kind}Balance{event}Event", order)
        return order

    def _movement(self, order: Order, signed_minor: int) -> Movement:
        return Movement(
            id=f"MOV-{token_hex(10)}",
            kind="credit" if signed_minor > 0 else "reversal",
            order_id=order.id,
            bucket_id=order.bucket_id,
            resource=order.resource,
            amount_minor=abs(signed_minor),
            currency=order.currency,
            at=self.now(),
            echo=order.echo,
        )

    def _order(self, order_id: str) -> Order:
        if order_id not in self.orders:
            raise Refused("unknownOrder", "There is no such order.", 404)
        return self.orders[order_id]

    def _store(self, *records: Record) -> None:
        names = {type_: name for name, type_ in _TYPES.items()}
        self._write([{"type": names[type(record)], **record.as_json()} for record in records])

    def _write(self, records: Iterable[dict[str, Any]]) -> None:
        entry = {"at": self.now().isoformat(), "records": list(records)}
        self._journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        for document in entry["records"]:
            if document["type"] == "clock":
                self._ahead += timedelta(seconds=document["seconds"])
            elif document["type"] == "unsubscribed":
                del self.subscriptions[document["id"]]
            else:
                self._take_in(_TYPES[document["type"]].from_json(document))

    def _take_in(self, record: Record) -> None:
        match record:
            case Line():
                if record.id in self.lines:  # its card may have been changed
                    for value, _ in self.lines[record.id].resources:
                        del self._bucket_of[_key(value)]
                self._bucket_of.update({_key(value): record.id for value, _ in record.resources})
                self.lines[record.id] = record
            case Order():
                if record.id not in self.orders:
                    self._index(record)
                self.orders[record.id] = record
                (self._pending.add if record.status == "created" else self._pending.discard)(
                    record.id
                )
            case Movement():
                self.movements.append(record)
            case Message():
                self.messages.append(record)
            case Subscription():
                self.subscriptions[record.id] = record

    def _index(self, order: Order) -> None:
        for name, value in order.echo.items():
            if isinstance(value, str):
                self._orders_by_text[order.kind, name, value].append(order.id)


def texts_to(number: str, messages: Iterable[Message]) -> Iterator[Message]:
    """The texts sent to `number`, newest first."""
    return (each for each in reversed(list(messages)) if _key(each.number) == _key(number))


def _check_sold(line: Line, amount_minor: int) -> None:
    if amount_minor <= 0:
        raise Refused("invalidAmount", "A top-up is more than nothing.")
    if line.denominations_minor and amount_minor not in line.denominations_minor:
        raise Refused("amountNotSold", "This amount is not one of those sold for the line.")
    if line.max_balance_minor and line.balance_minor + amount_minor > line.max_balance_minor:
        raise Refused("maxBalance", "The balance would be above the largest allowed.")


def _key(resource: str) -> str:
    return resource.strip().removeprefix("tel:").removeprefix("+").upper()

"""What operators do is written down once, in the transaction that does it.

`billing.operators.operations` has the operations on money; here are the record they share and the
carriers' incident switch.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lines.models import Carrier, Operation


class AlreadyDone(Exception):
    """This page was sent before: nothing is done twice. `operation` says by whom and when."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.target)
        self.operation = operation


class AlreadyDeferred(Exception):
    """The switch is thrown already."""


class NotDeferred(Exception):
    """Nothing is held back."""


def record(
    *, token: str, verb: str, target: str, actor: Any, reason: str, at: datetime
) -> Operation:
    """Write down one operation, in the caller's transaction and before its effect.

    Raises AlreadyDone where `token` was used before; of two at the same time the second waits for
    the first, and raises it when that has committed.
    """
    operation, is_first = Operation.objects.get_or_create(
        token=token,
        defaults={"verb": verb, "target": target, "actor": actor, "reason": reason, "at": at},
    )
    if not is_first:
        raise AlreadyDone(operation)
    return operation


def last(*, target: str) -> Operation | None:
    """The latest operation on `target`: who was first, where someone comes too late."""
    return Operation.objects.filter(target=target).select_related("actor").order_by("-at").first()


def on(*, targets: Iterable[str]) -> list[Operation]:
    """All operations on `targets`, oldest first, with their actors."""
    found = Operation.objects.filter(target__in=list(targets)).select_related("actor")
    return list(found.order_by("at", "pk"))


def defer_carrier(*, carrier: Carrier, at: datetime) -> None:
    """Hold the carrier's credits back: they wait and drain later. Raises AlreadyDeferred."""
    running = Carrier.objects.filter(pk=carrier.pk, deferred_since__isnull=True)
    if running.update(deferred_since=at) != 1:
        raise AlreadyDeferred(carrier.code)


def resume_carrier(*, carrier: Carrier) -> None:
    """Let the credits go on; what waits looks again within a minute. Raises NotDeferred."""
    held = Carrier.objects.filter(pk=carrier.pk, deferred_since__isnull=False)
    if held.update(deferred_since=None) != 1:
        raise NotDeferred(carrier.code)

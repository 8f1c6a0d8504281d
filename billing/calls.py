"""Outside calls, side by side and bounded. No database here: a call holds no transaction open."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# Twenty milliseconds until all sixteen are at work: little beside one call over a network.
_PATIENCE_S = 0.005


class NeverReturned(Exception):
    """The call was begun, and its thread ended in it: what it did is not known."""


@dataclass(frozen=True, slots=True)
class Results(Generic[Item, Result]):
    """What came of each call, in three piles, each in the items' order."""

    came_back: list[tuple[Item, Result]]
    broken: list[tuple[Item, Exception]]  # begun, and it raised: what it did is not known
    not_begun: list[Item]  # the deadline came first: nothing was sent


def concurrently(
    call: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    threads: int,
    deadline_s: float,
) -> Results[Item, Result]:
    """`call` for each of `items` on up to `threads` threads, and what came of each.

    A call that raises yields its exception: one bad answer must not lose the others' outcomes.
    After `deadline_s` no further call is begun; the ones under way have deadlines of their own.
    """
    came_back: dict[int, Result] = {}
    broken: dict[int, Exception] = {}
    waiting = deque(enumerate(items))
    ends_at = time.monotonic() + deadline_s

    def work() -> None:
        while time.monotonic() < ends_at:
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            broken[index] = NeverReturned()  # unless it does: a thread may die in its call
            try:
                came_back[index] = call(item)
                del broken[index]
            except Exception as error:
                broken[index] = error

    _run(work, most=min(threads, len(items)))
    return Results(
        came_back=[(items[index], came_back[index]) for index in sorted(came_back)],
        broken=[(items[index], broken[index]) for index in sorted(broken)],
        not_begun=[item for _, item in waiting],
    )


def _run(work: Callable[[], None], *, most: int) -> None:
    """`work` on one thread, then on ever more while it goes on: one is enough for calls that
    answer at once, where sixteen would only wait for each other."""
    if most <= 1:
        work()
        return
    workers: list[threading.Thread] = []
    while not workers or workers[0].is_alive():
        wanted = min(most, 2 * len(workers) or 1)
        for _ in range(wanted - len(workers)):
            worker = threading.Thread(target=work, name="keepline-call", daemon=True)
            worker.start()
            workers.append(worker)
        workers[0].join(None if len(workers) == most else _PATIENCE_S)
    for worker in workers:
        worker.join()

"""Outside calls, side by side and bounded. No database here: a call holds no transaction open."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class NotStarted:
    """The deadline came before this call was begun: nothing was sent."""


def concurrently(
    call: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    threads: int,
    deadline_s: float,
) -> list[Result | NotStarted | Exception]:
    """`call` for each of `items` on up to `threads` threads; results in the items' order.

    A call that raises yields its exception: one bad answer must not lose the others' outcomes.
    After `deadline_s` no further call is begun; the ones under way have deadlines of their own.
    """
    results: list[Result | NotStarted | Exception] = [NotStarted()] * len(items)
    waiting = deque(enumerate(items))
    ends_at = time.monotonic() + deadline_s

    def work() -> None:
        while time.monotonic() < ends_at:
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            try:
                results[index] = call(item)
            except Exception as error:
                results[index] = error

    if len(items) == 1:
        work()
        return results
    workers = [
        threading.Thread(target=work, name="keepline-call", daemon=True)
        for _ in range(min(threads, len(items)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results

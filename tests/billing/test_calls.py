"""Outside calls side by side: every one's outcome is told, and none that was begun is "unsent"."""

import threading
import time

from billing import calls
from billing.calls import NeverReturned, Results


class TestCallsSideBySide:
    def test_come_back_in_the_order_given_however_long_each_takes(self):
        def call(item: int) -> int:
            time.sleep(0.002 * (7 - item))
            return item * 10

        found = calls.concurrently(call, range(7), threads=4, deadline_s=30)
        assert found.came_back == [(item, item * 10) for item in range(7)]
        assert (found.broken, found.not_begun) == ([], [])

    def test_of_nothing_are_nothing(self):
        assert calls.concurrently(abs, [], threads=4, deadline_s=30) == Results([], [], [])

    def test_that_answer_at_once_need_one_thread(self):
        seen = set()

        def call(item: int) -> None:
            seen.add(threading.current_thread().name + str(threading.get_ident()))

        calls.concurrently(call, range(5), threads=16, deadline_s=30)
        assert len(seen) == 1

    def test_that_are_slow_run_all_at_once(self):
        together = threading.Barrier(6)

        def call(item: int) -> int:
            return together.wait(timeout=20)

        found = calls.concurrently(call, range(6), threads=6, deadline_s=30)
        assert sorted(said for _, said in found.came_back) == [0, 1, 2, 3, 4, 5]

    def test_are_never_more_at_a_time_than_allowed(self):
        under_way, most = [0], [0]
        lock = threading.Lock()

        def call(item: int) -> None:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            time.sleep(0.01)
            with lock:
                under_way[0] -= 1

        calls.concurrently(call, range(12), threads=3, deadline_s=30)
        assert most == [3]

    def test_that_raise_yield_what_they_raised_and_the_others_go_on(self):
        found = calls.concurrently(lambda item: 6 // item, [2, 0, 3], threads=2, deadline_s=30)
        assert found.came_back == [(2, 3), (3, 2)]
        [(item, error)] = found.broken
        assert (item, type(error), found.not_begun) == (0, ZeroDivisionError, [])

    def test_after_the_deadline_are_not_begun(self):
        begun = []
        found = calls.concurrently(begun.append, [1, 2], threads=2, deadline_s=-1)
        assert found == Results([], [], [1, 2])
        assert begun == []

    def test_whose_thread_ends_in_them_are_unknown_not_unsent(self):
        def call(item: int) -> int:
            if item == 0:
                raise SystemExit
            return item

        found = calls.concurrently(call, [0, 1, 2], threads=2, deadline_s=30)
        [(item, error)] = found.broken
        assert (item, type(error)) == (0, NeverReturned)
        assert 0 not in found.not_begun

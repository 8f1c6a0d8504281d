"""Each rail's and carrier's own threads: as many as it has seats, and nobody else's."""

import threading
import time

import pytest

from billing.engine.bulkheads import Bulkhead, Bulkheads, Whom

ALIPAY, WECHAT = Whom("rail", "alipay"), Whom("rail", "wechat")
PATIENCE_S = 20


class Job:
    """A call of a test: what it does, and in which thread it was done."""

    def __init__(self, does=lambda: None):
        self.does = does
        self.thread = 0
        self.is_over = threading.Event()

    def run(self):
        self.thread = threading.get_ident()
        try:
            self.does()
        finally:
            self.is_over.set()


@pytest.fixture
def alipay():
    return Bulkhead(ALIPAY, most=3)


def wait_for(jobs):
    for job in jobs:
        assert job.is_over.wait(PATIENCE_S)


def wait_until(is_so):
    ends_at = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


class TestABulkhead:
    def test_needs_one_thread_for_calls_that_answer_at_once(self, alipay):
        jobs = [Job() for _ in range(50)]
        alipay.put(jobs)
        wait_for(jobs)
        assert len({job.thread for job in jobs}) == 1

    def test_calls_side_by_side_once_they_are_slow(self, alipay):
        together = threading.Barrier(3)
        jobs = [Job(lambda: together.wait(PATIENCE_S)) for _ in range(3)]
        alipay.put(jobs)
        alipay.grow()
        wait_for(jobs)
        assert len({job.thread for job in jobs}) == 3

    def test_has_never_more_threads_than_seats(self, alipay):
        go_on = threading.Event()
        jobs = [Job(lambda: go_on.wait(PATIENCE_S)) for _ in range(9)]
        alipay.put(jobs)
        for _ in range(5):
            alipay.grow()
        assert (alipay.taken, alipay.room, alipay.is_behind) == (9, 0, True)
        go_on.set()
        wait_for(jobs)
        assert len({job.thread for job in jobs}) == 3

    def test_keeps_its_thread_and_with_it_the_connection(self, alipay):
        first, second = Job(), Job()
        alipay.put([first])
        wait_for([first])
        alipay.put([second])
        wait_for([second])
        assert first.thread == second.thread

    def test_gives_a_seat_back_whatever_its_call_did(self, alipay):
        def raises():
            raise ValueError

        def ends_the_thread():
            raise SystemExit

        jobs = [Job(raises), Job(ends_the_thread), Job()]
        alipay.put(jobs)
        wait_for(jobs)
        wait_until(lambda: alipay.taken == 0)
        assert alipay.room == 3

    def test_that_hangs_takes_nothing_from_another(self):
        ours, go_on = Bulkheads(lambda whom: Bulkhead(whom, most=2)), threading.Event()
        hanging = [Job(lambda: go_on.wait(PATIENCE_S)) for _ in range(2)]
        ours.of(WECHAT).put(hanging)
        ours.of(WECHAT).grow()
        well = [Job() for _ in range(10)]
        ours.of(ALIPAY).put(well)
        wait_for(well)
        assert (ours.of(WECHAT).room, ours.of(ALIPAY).most) == (0, 2)
        go_on.set()
        wait_for(hanging)

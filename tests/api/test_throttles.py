"""How often a caller may ask: counted in the database, by caller and kind, across processes."""

import multiprocessing
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from portal.api import throttles
from tests.api.callers import Caller, integrator, with_token
from tests.api.conftest import Belongings
from tests.factories.portal import RequestCountFactory
from tests.world import carrier, person


@pytest.fixture
def limits(settings: Any) -> None:
    rates = {"public": 2, "read": 3, "write": 2, "push": 4, "rows": 10**6}
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": rates}


@pytest.fixture(autouse=True)
def _one_window(monkeypatch: Any) -> None:
    """A window that does not end while a test runs."""
    monkeypatch.setattr(throttles, "WINDOW_S", 10**9)


@pytest.mark.usefixtures("limits")
class TestCaller:
    def test_that_asks_too_often_is_told_to_wait(self, as_alice: Caller, alice: Belongings) -> None:
        assert [as_alice.get("lines").status_code for _ in range(4)] == [200, 200, 200, 429]
        answer = as_alice.get("rules")
        assert answer.json()["code"] == "throttled"
        assert int(answer["Retry-After"]) > 0

    def test_may_write_though_it_has_read_enough(self, as_alice: Caller, alice: Belongings) -> None:
        path = f"lines/{alice.line.public_id}"
        for _ in range(4):
            as_alice.get("lines")
        renamed = [as_alice.call("PATCH", path, {"label": f"{n}"}).status_code for n in range(3)]
        assert renamed == [200, 200, 429]
        alice.line.refresh_from_db()
        assert alice.line.label == "1"

    def test_does_not_use_up_anothers_allowance(self, alice: Belongings, bob: Belongings) -> None:
        first, second, session = (
            with_token(alice.owner),
            with_token(bob.owner),
            Caller(user=alice.owner),
        )
        for _ in range(4):
            first.get("lines")
        assert first.get("lines").status_code == 429
        assert second.get("lines").status_code == 200
        assert session.get("lines").status_code == 200

    def test_that_pushes_has_an_allowance_of_its_own(self, alice: Belongings) -> None:
        bss = integrator(person("bss"), carrier())
        assert [bss.post("readings", {}).status_code for _ in range(5)] == [207] * 4 + [429]

    def test_unknown_is_counted_by_its_address(self, db: Any) -> None:
        statuses = [Caller().get("docs/").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


@pytest.mark.django_db
class TestPurge:
    def test_forgets_windows_long_past(self) -> None:
        now = timezone.now()
        for hours in (0, 2):
            window = int((now - timedelta(hours=hours)).timestamp())
            RequestCountFactory.create(window=window)
        assert throttles.purge(at=now) == 1
        assert throttles.purge(at=now) == 0


def _count(times: int, counted: Any) -> None:
    connections.close_all()
    for _ in range(times):
        counted.put(throttles.count_one(key="read:race")[0])
    connections.close_all()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestFourProcesses:
    def test_lose_no_count_between_them(self) -> None:
        connection.close()
        forks = multiprocessing.get_context("fork")
        counted = forks.Queue()
        workers = [forks.Process(target=_count, args=(25, counted)) for _ in range(4)]
        for worker in workers:
            worker.start()
        seen = sorted(counted.get(timeout=30) for _ in range(100))
        for worker in workers:
            worker.join(timeout=30)
        assert seen == list(range(1, 101))

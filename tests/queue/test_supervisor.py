import itertools

import pytest
from django.db import OperationalError

from portal import heartbeats
from portal.models import Heartbeat
from portal.supervision import supervisor
from portal.supervision.process_group import ProcessGroup


class Group:
    """A process group of nobody, that ends when the test says so."""

    def __init__(self):
        self.pid = 1
        self.status = None
        self.was_killed = False

    def exit_status(self):
        return self.status

    def is_gone(self):
        return self.status is not None

    def is_stopping(self, *, until):
        return False

    def ask_to_stop(self):
        pass

    def kill(self):
        self.was_killed, self.status = True, -9


@pytest.fixture
def said():
    return []


@pytest.fixture
def say(said):
    return lambda event, **facts: said.append((event, facts))


@pytest.fixture
def started(monkeypatch):
    groups = []

    def run(command, **env):
        groups.append(Group())
        return groups[-1]

    monkeypatch.setattr(supervisor, "_run", run)
    return groups


class TestBackOff:
    @pytest.mark.parametrize(
        ("stillborn", "wait_s"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (50, 15)]
    )
    def test_doubles_up_to_fifteen_seconds(self, stillborn, wait_s):
        assert supervisor.back_off_s(stillborn) == wait_s


class TestAClusterThatNeverComesUp:
    def test_is_started_less_and_less_often(self, started, said, say):
        cluster = supervisor.Cluster(name="money", workers=2, task_timeout_s=60, say=say)
        starts = []
        for tenth in range(600):
            before = len(started)
            cluster.look(tenth / 10)
            if len(started) > before:
                starts.append(tenth / 10)
                started[-1].status = 1
        gaps = [round(later - sooner) for sooner, later in itertools.pairwise(starts)]
        assert gaps == [1, 2, 4, 8, 15, 15]
        assert said[1] == (
            "failed",
            {"cluster": "money", "because": "main 1 exited with status 1", "again_in_s": 1.0},
        )

    def test_is_started_anew_when_it_is_not_complete_in_time(self, started, said, say):
        cluster = supervisor.Cluster(name="money", workers=2, task_timeout_s=60, say=say)
        cluster.look(0.0)
        cluster._roster.is_complete = lambda: False  # its processes are nobody's
        cluster.look(60.0)
        assert not started[0].was_killed

        cluster.look(61.0)

        assert started[0].was_killed
        assert said[-1][1]["because"] == "not complete after 60 s"


@pytest.mark.django_db
class TestTheSweeper:
    def test_ends_a_sweep_that_hangs(self, started, said, say):
        sweeper = supervisor.Sweeper(say=say)
        sweeper.look(0.0)
        sweeper.look(119.0)
        assert not started[0].was_killed

        sweeper.look(120.0)

        assert started[0].was_killed
        assert said[-1] == ("swept", {"status": "took too long"})
        assert Heartbeat.objects.get(name="sweep").answered_at is None

    def test_starts_none_while_one_is_recent(self, started, say):
        heartbeats.mark("sweep")
        supervisor.Sweeper(say=say).look(0.0)
        assert started == []

    def test_never_runs_two_at_once(self, started, say):
        sweeper = supervisor.Sweeper(say=say)
        for second in range(100):
            sweeper.look(float(second))
        assert len(started) == 1


class TestALostDatabase:
    def test_is_told_once_and_its_return_too(self, said, say):
        class Watched:
            group: ProcessGroup | None = None
            is_away = True

            def look(self, now):
                if self.is_away:
                    raise OperationalError("connection to server at 10.0.0.1, user keepline")

        watched = Watched()
        boss = supervisor.Supervisor(clusters=[watched], sweeper=None, stop_grace_s=1, say=say)
        boss._look()
        boss._look()
        watched.is_away = False
        boss._look()
        boss._look()
        assert [event for event, _ in said] == ["database-away", "database-back"]
        assert "10.0.0.1" not in str(said)

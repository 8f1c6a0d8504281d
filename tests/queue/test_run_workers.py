"""The supervisor and real clusters, on the tests' PostgreSQL. Nothing here is simulated."""

import os
import signal
import sys
import time
import uuid
from datetime import timedelta

import psutil
import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task

from portal.models import Heartbeat
from portal.supervision import process_group
from portal.supervision.process_group import ProcessGroup
from portal.supervision.processes import BASE_DIR
from portal.supervision.queue_settings import MONEY, SLOW
from portal.supervision.supervisor import Roster
from tests.factories.portal import HeartbeatFactory
from tests.queue.test_process_group import until

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

ROLES = ["main", "sentinel", "idle worker", "busy worker", "monitor", "pusher", "supervisor"]
# Generous, for a machine that does other things besides. Alone it takes 2 to 6 s, as printed.
RECOVERED_WITHIN_S = 60
WORKERS = 2
# the supervisor; per cluster main, sentinel, monitor, pusher; two workers for money, one for slow
EVERYBODY = 1 + 2 * 4 + WORKERS + 1


class Workers:
    """`manage.py run_workers` and what it started, found by a mark in their environment."""

    def __init__(self, log):
        self.log = log
        self.mark = uuid.uuid4().hex
        self.supervisor = None

    def start(self, *options, **env):
        with self.log.open("ab") as output:
            self.supervisor = ProcessGroup(
                [sys.executable, str(BASE_DIR / "manage.py"), "run_workers", *options],
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.queue.cluster_settings",
                    "KEEPLINE_CLUSTER_DATABASE": connection.settings_dict["NAME"],
                    "KEEPLINE_WORKERS": str(WORKERS),
                    "KEEPLINE_TEST_MARK": self.mark,
                    **env,
                },
                cwd=BASE_DIR,
                output=output,
            )

    def processes(self):
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("KEEPLINE_TEST_MARK") == self.mark:
                    found.append(process)
            except (psutil.Error, OSError):  # it ended, or has no environment any more
                continue
        return found

    def said(self, text):
        return self.log.read_text().count(text)

    def wait_until_up(self, *, times=1, cluster=MONEY):
        def is_up():
            assert self.supervisor.exit_status() is None, self.log.read_text()
            return self.said(f'up cluster="{cluster}"') >= times

        until(is_up, within_s=60)

    def leader(self, cluster=MONEY):
        [leader] = [
            child
            for child in psutil.Process(self.supervisor.pid).children()
            if self._cluster_of(child) == cluster
        ]
        return leader.pid

    @staticmethod
    def _cluster_of(process):
        try:
            return process.environ().get("Q_CLUSTER_NAME")
        except (psutil.Error, OSError):  # it has just ended
            return None

    def roles(self, cluster=MONEY):
        roster = Roster(leader_pid=self.leader(cluster), workers=WORKERS)
        assert roster.is_complete()
        return {role: process.pid for role, process in roster.roles.items()}

    def kill(self, role):
        if role == "supervisor":
            os.kill(self.supervisor.pid, signal.SIGKILL)
            until(lambda: not self.processes())  # no orphan goes on taking tasks
            self.start()  # as systemd or the container's restart policy does
            return
        if role == "busy worker":
            pid = self.make_busy(seconds=60)
        else:
            pid = self.roles()[{"idle worker": "worker-1"}.get(role, role)]
        os.kill(pid, signal.SIGKILL)

    def make_busy(self, *, seconds, cluster=MONEY):
        name = uuid.uuid4().hex[:12]
        async_task("tests.queue.jobs.doze", name, seconds, q_options={"cluster": cluster})
        busy = Heartbeat.objects.filter(name__startswith=f"{name}:busy:")
        return int(until(busy.first).name.rpartition(":")[2])


@pytest.fixture
def workers(tmp_path):
    workers = Workers(tmp_path / "run_workers.log")
    yield workers
    process_group.stop([workers.supervisor], grace_s=20)
    sys.stdout.write(workers.log.read_text())  # shown by pytest when the test fails
    left = workers.processes()
    for process in left:
        process.kill()
    assert left == [], "processes were left behind"


def done_by(*, other_than, within_s=RECOVERED_WITHIN_S):
    """Wait until a task is done by a group of processes `other_than` the given one."""
    name = uuid.uuid4().hex[:12]
    next_task = 0.0

    def is_done():
        nonlocal next_task
        if time.monotonic() > next_task:  # one that the dying cluster took comes back much later
            next_task = time.monotonic() + 0.5
            async_task("tests.queue.jobs.note", name, q_options={"cluster": MONEY})
        done = Heartbeat.objects.filter(name__startswith=f"{name}:")
        return done.exclude(name=f"{name}:{other_than}").exists()

    until(is_done, within_s=within_s)


class TestTheDeathOfAPart:
    def test_is_survived_in_every_role(self, workers):
        workers.start()
        worst_s = 0.0
        for number, role in enumerate(ROLES, start=1):
            workers.wait_until_up(times=number)
            before = workers.leader()
            killed_at = time.monotonic()
            workers.kill(role)
            done_by(other_than=before)
            worst_s = max(worst_s, time.monotonic() - killed_at)
            sys.stdout.write(f"{role}: {time.monotonic() - killed_at:.1f} s\n")
        sys.stdout.write(f"{len(ROLES)} kills, worst recovery {worst_s:.1f} s\n")

        workers.wait_until_up(times=len(ROLES) + 1)
        until(lambda: len(workers.processes()) == EVERYBODY)
        os.kill(workers.supervisor.pid, signal.SIGTERM)
        assert until(lambda: workers.supervisor.exit_status() is not None, within_s=30)
        assert workers.supervisor.exit_status() == 0
        assert workers.processes() == []


class TestAClusterThatLivesAndDoesNothing:
    def test_is_started_anew_because_its_canary_is_not_answered_and_ends_its_task(self, workers):
        """The second half is a stop that lets the task under way finish and leaves nobody."""
        workers.start("--only", MONEY)
        workers.wait_until_up()
        before = workers.leader()
        os.kill(workers.roles()["pusher"], signal.SIGSTOP)
        done_by(other_than=before, within_s=60)
        assert workers.said("canary unanswered") == 1

        workers.wait_until_up(times=2)
        workers.make_busy(seconds=3)

        workers.supervisor.ask_to_stop()
        until(lambda: workers.supervisor.exit_status() is not None, within_s=30)

        assert workers.supervisor.exit_status() == 0
        assert Heartbeat.objects.filter(name__endswith=":done").count() == 1
        assert workers.processes() == []


class TestOnly:
    def test_runs_the_named_cluster_and_no_other_and_does_not_wait_when_stopped_twice(
        self, workers
    ):
        workers.start("--only", SLOW)
        workers.wait_until_up(cluster=SLOW)
        assert {process.environ().get("Q_CLUSTER_NAME") for process in workers.processes()} == {
            None,
            SLOW,
        }
        assert workers.said("sweeping") == 0  # money is not this machine's task
        workers.make_busy(seconds=60, cluster=SLOW)

        workers.supervisor.ask_to_stop()
        until(lambda: workers.said("stopping"))
        workers.supervisor.ask_to_stop()
        until(lambda: workers.supervisor.exit_status() is not None, within_s=30)

        assert not Heartbeat.objects.filter(name__endswith=":done").exists()
        assert workers.processes() == []


class TestTheMoneySweep:
    def test_runs_without_the_queue_when_a_malformed_schedule_stops_all_schedules(self, workers):
        Schedule.objects.create(
            func="tests.queue.jobs.note", args="not(", next_run=timezone.now(), name="malformed"
        )
        HeartbeatFactory.create(name="sweep", answered_at=Now() - timedelta(seconds=91))
        workers.start("--only", MONEY)
        until(lambda: workers.said('swept status="0"'), within_s=RECOVERED_WITHIN_S)
        recently = Now() - timedelta(seconds=60)
        assert Heartbeat.objects.filter(name="sweep", answered_at__gt=recently).exists()


class TestALostDatabase:
    def test_connection_is_made_again(self, workers):
        workers.start("--only", MONEY)
        workers.wait_until_up()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            [cut] = cursor.fetchone()
        assert cut >= 2  # the supervisor's and the pusher's at least
        done_by(other_than=None, within_s=60)

    def test_at_the_start_is_told_without_its_password(self, workers):
        workers.start(
            DJANGO_SETTINGS_MODULE="portal.settings",
            DATABASE_URL="postgres://keepline:hunter2@127.0.0.1:8130/keepline",
            SECRET_KEY="x" * 60,
            KEEPLINE_ENCRYPTION_KEYS="x" * 43 + "=",
            CARRIER_HUB_SECRET="x" * 43,
            ALLOWED_HOSTS="keepline.example",
        )
        until(lambda: workers.supervisor.exit_status() is not None, within_s=60)
        assert workers.supervisor.exit_status() == 1
        log = workers.log.read_text()
        assert log.rstrip().endswith(
            "CommandError: The database cannot be reached: "
            "start PostgreSQL, or correct DATABASE_URL."
        )
        assert "hunter2" not in log

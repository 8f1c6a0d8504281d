from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ

from billing.engine import sweeps
from portal import heartbeats
from portal.models import Heartbeat
from portal.supervision import canary
from tests.factories.portal import HeartbeatFactory

pytestmark = pytest.mark.django_db


def aged(name, *, answered_s=None, asked_s=None):
    ages = {"answered_at": answered_s, "asked_at": asked_s}
    values = {key: Now() - timedelta(seconds=s) for key, s in ages.items() if s is not None}
    HeartbeatFactory.create(name=name)
    Heartbeat.objects.filter(name=name).update(**values)


class TestACanary:
    def test_is_a_task_in_the_queue_of_its_cluster(self):
        heartbeats.ask(cluster="slow")
        [row] = OrmQ.objects.all()
        assert (row.key, row.func(), row.args()) == ("slow", heartbeats.CANARY, ("cluster:slow",))

    def test_counts_as_answered_only_by_an_answer_after_the_question(self):
        aged("cluster:money", answered_s=1)
        asked_at = heartbeats.ask(cluster="money")
        assert not heartbeats.is_answered(cluster="money", asked_at=asked_at)

        heartbeats.answer("cluster:money", added_by_a_later_release=1)

        assert heartbeats.is_answered(cluster="money", asked_at=asked_at)
        assert not heartbeats.is_answered(cluster="slow", asked_at=asked_at)


class TestALateSweep:
    @pytest.mark.parametrize(
        ("ages", "is_late"),
        [
            ({}, True),
            ({"answered_s": 91}, True),
            ({"answered_s": 91, "asked_s": 91}, True),
            ({"answered_s": 88}, False),
            ({"answered_s": 300, "asked_s": 10}, False),
            ({"asked_s": 10}, False),
        ],
    )
    def test_is_one_not_done_and_not_started_within_the_time(self, ages, is_late):
        if ages:
            aged("sweep", **ages)
        assert heartbeats.claim_late_sweep(late_s=90) is is_late

    def test_is_claimed_by_one_supervisor(self):
        assert heartbeats.claim_late_sweep(late_s=90)
        assert not heartbeats.claim_late_sweep(late_s=90)


class TestTheSweepCommand:
    def test_notes_that_money_was_swept(self):
        call_command("sweep", "--money-only", stdout=StringIO())
        assert not heartbeats.claim_late_sweep(late_s=90)

    def test_stays_late_when_it_fails(self, monkeypatch):
        def fail(**kwargs):
            raise DatabaseError

        monkeypatch.setattr(sweeps, "money", fail)
        with pytest.raises(DatabaseError):
            call_command("sweep", "--money-only", stdout=StringIO())
        assert heartbeats.claim_late_sweep(late_s=90)


class TestASweepDoneByAWorker:
    def test_is_noted(self, settings):
        heartbeats.note_sweep(task={"func": settings.SWEEP_TASK, "success": True})
        assert not heartbeats.claim_late_sweep(late_s=90)

    @pytest.mark.parametrize(
        "task",
        [
            {"func": "billing.tasks.tick", "success": False},
            {"func": "billing.tasks.other", "success": True},
        ],
    )
    def test_is_not_noted_when_it_failed_or_was_another_task(self, settings, task):
        settings.SWEEP_TASK = "billing.tasks.tick"
        heartbeats.note_sweep(task=task)
        assert not Heartbeat.objects.exists()

    def test_never_kills_the_worker_when_it_cannot_be_noted(self, settings, monkeypatch):
        def refuse(name):
            raise DatabaseError

        monkeypatch.setattr(heartbeats, "mark", refuse)
        heartbeats.note_sweep(task={"func": settings.SWEEP_TASK, "success": True})


class Clusters:
    """A queue as a canary sees it, without one: what is taken is written by the test."""

    def take(self, count=1, *, func="tests.queue.jobs.note"):
        held = timezone.now() + timedelta(seconds=200)
        rows = []
        for _ in range(count):
            heartbeats.async_task(func, "x", q_options={"cluster": "money"})
            rows.append(OrmQ.objects.latest("pk").pk)
        OrmQ.objects.filter(pk__in=rows).update(lock=held)
        return rows


class TestTheCanarysPatience:
    @pytest.fixture
    def bird(self):
        bird = canary.Canary(cluster="money", task_timeout_s=60)
        assert bird.look(1000.0) is None
        return bird

    def test_ends_after_ten_seconds_with_a_cluster_that_has_taken_nothing(self, bird):
        assert bird.look(1010.0) is None
        assert bird.look(1011.0) == "canary unanswered, nothing moved for 11 s"

    def test_does_not_take_its_own_task_for_work(self, bird):
        Clusters().take(func=heartbeats.CANARY)
        assert bird.look(1011.0) == "canary unanswered, nothing moved for 11 s"

    def test_lasts_for_a_tasks_timeout_while_one_is_under_way(self, bird):
        Clusters().take()
        assert bird.look(1001.0) is None
        assert bird.look(1076.0) is None
        assert bird.look(1077.0) == "canary unanswered, nothing moved for 76 s"

    def test_starts_anew_whenever_the_work_moves_on(self, bird):
        for second in range(1001, 1400, 50):
            OrmQ.objects.filter(lock__gt=timezone.now()).delete()
            Clusters().take()
            assert bird.look(float(second)) is None

    def test_asks_again_only_after_an_answer_and_some_time(self, bird):
        heartbeats.answer("cluster:money")
        assert bird.look(1001.0) is None
        assert bird.is_answered
        assert bird.look(1009.0) is None
        assert OrmQ.objects.count() == 1

        assert bird.look(1011.0) is None

        assert OrmQ.objects.count() == 2
        assert not bird.is_answered

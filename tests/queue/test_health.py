from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django_q.models import Schedule

from portal import heartbeats
from portal.models import Heartbeat
from portal.supervision import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def all_is_well(db):
    Schedule.objects.all().delete()
    for name in ("cluster:money", "cluster:slow", "sweep"):
        heartbeats.mark(name)


def answered(name, *, seconds_ago):
    then = Now() - timedelta(seconds=seconds_ago)
    Heartbeat.objects.filter(name=name).update(answered_at=then)


def scheduled(name, *, seconds_ago, **more):
    then = Now() - timedelta(seconds=seconds_ago)
    Schedule.objects.create(name=name, func="a.b", next_run=then, **more)


class TestAilments:
    def test_are_none_when_all_have_answered(self):
        assert health.ailments() == []

    @pytest.mark.parametrize(
        ("name", "silent_s"), [("cluster:money", 60), ("cluster:slow", 60), ("sweep", 180)]
    )
    def test_name_what_has_been_silent_for_too_long(self, name, silent_s):
        answered(name, seconds_ago=silent_s - 5)
        assert health.ailments() == []
        answered(name, seconds_ago=silent_s + 1)
        assert health.ailments() == [name]

    def test_name_what_was_never_heard_of(self):
        Heartbeat.objects.all().delete()
        assert health.ailments() == ["cluster:money", "cluster:slow", "sweep"]

    def test_name_a_schedule_that_does_not_run(self):
        scheduled("malformed", seconds_ago=91)
        scheduled("a little late", seconds_ago=85)
        scheduled("over", seconds_ago=9999, repeats=0)
        assert health.ailments() == ["schedule:malformed"]

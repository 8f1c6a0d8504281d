"""Old answers and counts are forgotten by themselves, and young ones are not."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import Schedule

from portal import housekeeping
from portal.api import idempotency
from portal.api.models import IdempotentRequest, RequestCount
from tests.factories.portal import IdempotentRequestFactory, RequestCountFactory


def kept(key: str, *, days: int) -> None:
    made_at = timezone.now() - timedelta(days=days)
    IdempotentRequestFactory.create(key=key, created_at=made_at)


@pytest.mark.django_db
class TestTidy:
    def test_forgets_what_is_past_its_time_and_no_more(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(idempotency, "_PURGE_LIMIT", 2)
        for number in range(5):
            kept(f"old {number}", days=8)
        kept("young", days=6)
        RequestCountFactory.create()
        assert housekeeping.tidy() == 6
        assert [one.key for one in IdempotentRequest.objects.all()] == ["young"]
        assert not RequestCount.objects.exists()
        assert housekeeping.tidy() == 0

    def test_has_one_schedule_on_the_slow_cluster(self) -> None:
        for _ in range(2):
            housekeeping.ensure()
        schedule = Schedule.objects.get(name=housekeeping.NAME)
        assert (schedule.func, schedule.cluster) == ("portal.housekeeping.tidy", "slow")

"""An announcement whose recharge came to nothing stands at the rail: who uses it, who waits."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from billing.engine import executor
from billing.gateways.base import Capabilities, Noticed, Refused
from billing.models import Binding, Notice, Recharge, Rule
from billing.plans import contract
from tests import world as w
from tests.factories.billing import DeclineCodeFactory

pytestmark = pytest.mark.django_db

NOTICE, WINDOW, DAY = timedelta(days=2), timedelta(days=7), timedelta(days=1)
BARRED = "INVALID_REQUEST"
STANDING = Capabilities(
    rail="alipay",
    currencies=frozenset({"CNY"}),
    must_prepare=True,
    notice=NOTICE,
    window=WINDOW,
    announcement_stands=True,
    not_announced_code=BARRED,
    min_interval=DAY,
)


@pytest.fixture
def slow(world: Any) -> Any:
    """A world whose rail lets an announcement stand."""
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600, 86_400, 3 * 86_400])
    world.gateway.capabilities = STANDING
    DeclineCodeFactory.create(code=BARRED, decline_class="config")
    return world


def low(at: datetime, tool: Binding, **more: Any) -> Rule:
    line = w.line(balance_minor=980, balance_observed_at=at)
    return w.rule(line, binding=tool, wake_at=at, **more)


def announced_in_vain(world: Any) -> Binding:
    """¥50 were announced from the third day on; then the rule's owner stopped it."""
    tool = w.binding()
    rule = low(world.at, tool)
    world.run()
    contract.stop(rule=rule, because="owner", at=world.at)
    world.later(NOTICE)
    world.run()
    assert Recharge.objects.get().state == "canceled"
    assert len(world.gateway.announced) == 1
    return tool


def states() -> list[tuple[str, str]]:
    """Of all but the first one, by age."""
    return list(Recharge.objects.order_by("pk").values_list("state", "reason"))[1:]


def upcoming() -> list[str]:
    return [n.facts["at"] for n in Notice.objects.filter(kind="upcoming_charge").order_by("pk")]


class TestTakingOver:
    def test_charges_at_once_inside_the_window_that_stands(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        low(slow.at, tool, face_minor=3000)
        slow.run()
        assert states() == [("completed", "credited")]
        assert list(slow.gateway.charged.values()) == [3000]
        assert len(slow.gateway.calls["prepare"]) == 1
        taker, first = Recharge.objects.latest("pk"), Recharge.objects.earliest("pk")
        assert taker.latest_charge_at == first.latest_charge_at
        assert (taker.notice_sent_at, taker.announced_minor) == (w.NOON, 5000)
        w.assert_balanced()

    def test_is_for_one_of_two_that_are_due_together(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        low(slow.at, tool), low(slow.at, tool)
        slow.run()
        assert sorted(states()) == [("completed", "credited"), ("waiting", "binding_busy")]
        slow.later(DAY)
        slow.run()
        # The announcement is used up: the second one gets its own.
        assert sorted(states())[-1] == ("waiting", "announced")
        slow.later(NOTICE)
        slow.run()
        assert states() == [("completed", "credited")] * 2
        assert len(slow.gateway.announced) == 2
        w.assert_balanced()

    def test_ends_where_too_little_of_the_window_is_left(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        slow.later(WINDOW - timedelta(minutes=30))
        low(slow.at, tool)
        slow.run()
        assert states() == [("waiting", "binding_busy")]
        slow.later(timedelta(hours=1))
        slow.run()
        assert states() == [("waiting", "announced")]
        slow.later(NOTICE)
        slow.run()
        assert states() == [("completed", "credited")]

    def test_of_one_that_was_used_is_none(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        low(slow.at, tool)
        slow.run()
        slow.later(2 * DAY)
        low(slow.at, tool)
        slow.run()
        assert states()[-1] == ("waiting", "announced")
        assert len(slow.gateway.announced) == 2

    def test_needs_no_word_of_the_rails_for_a_missing_one(self, slow: Any) -> None:
        slow.gateway.capabilities = replace(STANDING, not_announced_code="")
        tool = announced_in_vain(slow)
        low(slow.at, tool)
        slow.run()
        assert states() == [("completed", "credited")]

    def test_of_one_that_the_rail_denies_is_tried_once(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        slow.gateway.script = [Refused(BARRED)]
        low(slow.at, tool)
        slow.run()
        denied = Recharge.objects.latest("pk")
        assert (denied.state, denied.attention) == ("due", "config")
        assert (denied.earliest_charge_at, slow.gateway.charged) == (None, {})
        slow.later(timedelta(minutes=10))
        slow.run()
        assert states() == [("waiting", "announced")]
        assert len(slow.gateway.calls["charge"]) == 1
        assert len(slow.gateway.announced) == 2

    def test_is_of_the_same_agreement_only(self, slow: Any) -> None:
        announced_in_vain(slow)
        low(slow.at, w.binding())
        slow.run()
        assert states() == [("waiting", "announced")]

    def test_does_not_happen_where_the_rail_lets_nothing_stand(self, slow: Any) -> None:
        slow.gateway.capabilities = replace(STANDING, announcement_stands=False)
        tool = announced_in_vain(slow)
        low(slow.at, tool)
        slow.run()
        assert states() == [("waiting", "announced")]


class TestADearerOne:
    def test_waits_until_what_stands_is_over_and_is_not_missed(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        low(slow.at, tool, face_minor=10_000)
        slow.run()
        for _ in range(7):
            assert states() == [("waiting", "binding_busy")]
            slow.later(DAY)
            slow.run()
        assert states() == [("waiting", "announced")]
        slow.later(NOTICE)
        slow.run()
        assert states() == [("completed", "credited")]
        assert list(slow.gateway.charged.values()) == [10_000]

    def test_goes_a_day_after_another_has_used_it_up(self, slow: Any) -> None:
        tool = announced_in_vain(slow)
        low(slow.at, tool, face_minor=10_000)
        slow.run()
        low(slow.at, tool)
        slow.run()
        assert states() == [("waiting", "binding_busy"), ("completed", "credited")]
        slow.later(DAY)
        slow.run()
        assert states()[0] == ("waiting", "announced")


class TestOneWeHaveLostSightOf:
    """The rail refuses a second announcement, and no row of ours knows why."""

    def test_is_waited_for_hour_by_hour_flagged_and_nothing_is_missed(self, slow: Any) -> None:
        slow.gateway.preparations = [Refused(BARRED)] * 40
        low(slow.at, w.binding())
        slow.run()
        for _ in range(40):
            assert Recharge.objects.get().reason == "announcing"
            assert Recharge.objects.get().attention == "config"
            slow.later(timedelta(hours=1))
            slow.run()
        assert (Recharge.objects.get().reason, Recharge.objects.get().attention) == (
            "announced",
            "",
        )

    def test_is_not_waited_for_without_end(self, slow: Any) -> None:
        slow.gateway.preparations = [Refused(BARRED)] * 1000
        low(slow.at, w.binding())
        for _ in range(15):
            slow.run()
            slow.later(DAY)
        slow.run()
        assert Recharge.objects.get().state == "missed"
        assert slow.gateway.charged == {}


def test_announced_anew_after_a_charge_was_refused_for_want_of_it_the_new_day_is_told(
    slow: Any,
) -> None:
    low(slow.at, w.binding())
    slow.run()
    slow.later(NOTICE)
    slow.gateway.script = [Refused(BARRED)]
    slow.run()
    slow.gateway.announced.clear()  # what the rail had, it has no more
    slow.later(timedelta(minutes=10))
    slow.run()
    first = w.NOON + NOTICE
    assert upcoming() == [first.isoformat(), (slow.at + NOTICE).isoformat()]
    slow.later(NOTICE)
    slow.run()
    assert Recharge.objects.get().state == "completed"
    assert len(slow.gateway.charged) == 1


@pytest.mark.django_db(transaction=True)
def test_of_eight_workers_one_takes_it_over(slow: Any) -> None:
    tool = announced_in_vain(slow)
    for _ in range(8):
        low(slow.at, tool)
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        executor.run_batch(at=slow.at, outside=slow.outside, batch=1)
        connection.close()

    for _ in range(3):
        workers = [threading.Thread(target=work) for _ in range(8)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    slow.run()
    assert len(slow.gateway.charged) == 1
    taken = Recharge.objects.filter(announced_minor__isnull=False).exclude(state="canceled")
    assert taken.count() == 1
    assert sorted(set(states())) == [("completed", "credited"), ("waiting", "binding_busy")]


def test_the_window_of_who_takes_over_is_told_when_it_is_still_to_come(slow: Any) -> None:
    tool = w.binding()
    rule = low(slow.at, tool)
    slow.run()
    contract.stop(rule=rule, because="owner", at=slow.at)
    slow.later(timedelta(hours=6))
    Recharge.objects.update(act_at=slow.at)  # it ends when it is next looked at
    slow.run()
    low(slow.at, tool)
    slow.run()
    assert states() == [("waiting", "announced")]
    assert upcoming() == [(w.NOON + NOTICE).isoformat()] * 2
    assert Noticed(w.NOON + NOTICE, w.NOON + NOTICE + WINDOW, 5000) in list(
        slow.gateway.announced.values()
    )

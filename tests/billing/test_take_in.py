"""Readings taken in together: each has its own result, and no other's fate."""

from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django_q.models import OrmQ

from billing.models import Notice, Recharge, Rule
from billing.rules import readings
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines.models import BalanceReading, Line
from tests import race
from tests import world as w

pytestmark = pytest.mark.django_db

APPLIED, KEPT = Became.APPLIED, Became.KEPT


@pytest.fixture
def lines(world):
    """Three, each with a rule."""
    owner = w.person()
    tool = w.binding(owner)
    found = [w.line(owner, balance_minor=1860) for _ in range(3)]
    for line in found:
        w.rule(line, binding=tool)
    return found


def low(line, balance_minor=980, **more) -> Reading:
    return Reading(line.pk, balance_minor, more.pop("observed_at", w.NOON), **more)


def take_in(*given: Reading) -> list[Became]:
    return readings.take_in(readings=given, at=w.NOON)


def balances(lines) -> list[int | None]:
    known = dict(Line.objects.values_list("pk", "balance_minor"))
    return [known[line.pk] for line in lines]


class TestOneBadReading:
    def test_that_cannot_be_written_keeps_no_other_out(self, world, lines):
        first, second, third = lines
        too_large = low(second, 2**63)
        assert take_in(low(first), too_large, low(third, 900)) == [
            APPLIED,
            Became.NOT_TAKEN,
            APPLIED,
        ]
        assert balances(lines) == [980, 1860, 900]
        assert set(Rule.objects.filter(wake_at=w.NOON).values_list("line_id", flat=True)) == {
            first.pk,
            third.pk,
        }
        assert BalanceReading.objects.count() == 2
        world.run()
        assert Recharge.objects.count() == 2
        w.assert_balanced()

    def test_alone_is_raised_to_whoever_gives_it(self, lines):
        with pytest.raises(Exception, match="out of range"):
            readings.push(reading=low(lines[0], 2**63), at=w.NOON)
        assert not BalanceReading.objects.exists()

    def test_of_a_line_that_is_not_there_or_from_the_future_is_refused(self, lines):
        nowhere = low(lines[0])._replace(line_id=0)
        early = low(lines[1], observed_at=w.NOON + timedelta(minutes=6))
        assert take_in(nowhere, early, low(lines[2])) == [
            Became.UNKNOWN_LINE,
            Became.FROM_THE_FUTURE,
            APPLIED,
        ]
        assert balances(lines) == [1860, 1860, 980]
        assert BalanceReading.objects.get().line_id == lines[2].pk


class TestTheSameReadingAgain:
    def test_is_kept_once_whether_together_or_later(self, lines):
        one, numbered = low(lines[0], 1500), low(lines[1], 1500, sequence=7)
        assert take_in(one, one, numbered, numbered) == [APPLIED, KEPT, APPLIED, KEPT]
        assert take_in(one, numbered) == [KEPT, KEPT]
        assert BalanceReading.objects.count() == 2
        assert not OrmQ.objects.exists()

    def test_by_its_number_whatever_its_time(self, lines):
        take_in(low(lines[0], 1500, sequence=7))
        later = low(lines[0], 1500, sequence=7, observed_at=w.NOON + w.MINUTE)
        assert take_in(later) == [KEPT]
        assert BalanceReading.objects.get().observed_at == w.NOON

    def test_late_is_kept_once_too(self, lines):
        old = low(lines[0], 400, observed_at=w.NOON - w.HOUR)
        take_in(low(lines[0], 1500))
        assert take_in(old, old) + take_in(old) == [KEPT, KEPT, KEPT]
        assert BalanceReading.objects.filter(is_applied=False).count() == 1
        assert balances(lines)[0] == 1500

    def test_with_another_figure_is_no_repeat_and_stays_as_evidence(self, lines):
        take_in(low(lines[0], 1500), low(lines[0], 1400))
        kept = BalanceReading.objects.order_by("pk")
        assert list(kept.values_list("balance_minor", "is_applied")) == [
            (1500, True),
            (1400, False),
        ]
        assert Line.objects.get(pk=lines[0].pk).poll_at == w.NOON


class TestSeveralOfOneLine:
    def test_are_applied_in_the_order_given(self, lines):
        first = low(lines[0], 900)
        then = low(lines[0], 5000, observed_at=w.NOON + timedelta(seconds=1))
        last = low(lines[0], 800, observed_at=w.NOON + timedelta(seconds=2))
        assert take_in(first, low(lines[1], 1500), then, last) == [APPLIED] * 4
        assert balances(lines) == [800, 1500, 1860]
        rule = Rule.objects.get(line=lines[0])
        assert (rule.episode, rule.low_episode) == (2, 2)
        keys = Notice.objects.order_by("pk").values_list("occurrence_key", flat=True)
        assert list(keys) == [f"{rule.pk}:e1", f"{rule.pk}:e2"]


class TestAStorm:
    def test_of_low_lines_is_one_piece_of_work(self, world, lines):
        take_in(*[low(line) for line in lines])
        assert [task.func() for task in OrmQ.objects.all()] == ["billing.tasks.tick"]
        take_in(*[low(line, 970, observed_at=w.NOON + w.MINUTE) for line in lines])
        assert OrmQ.objects.count() == 1
        world.run()
        assert Recharge.objects.count() == 3

    def test_in_a_cool_down_is_left_to_its_end(self, lines):
        Rule.objects.update(cooldown_until=w.NOON + w.MINUTE)
        take_in(low(lines[0]))
        assert Rule.objects.get(line=lines[0]).wake_at == w.NOON
        assert not OrmQ.objects.exists()

    def test_of_more_than_a_batch_is_taken_in_whole(self, lines, monkeypatch):
        monkeypatch.setattr(readings, "BATCH", 2)
        given = [
            low(lines[n % 3], 2000 - n, observed_at=w.NOON + n * w.MINUTE / 10) for n in range(7)
        ]
        assert take_in(*given) == [APPLIED] * 7
        assert balances(lines) == [1994, 1996, 1995]


@pytest.mark.django_db(transaction=True)
class TestALineThatSomebodyHolds:
    def test_delays_no_other_and_is_waited_for(self, lines):
        held, free = lines[:2]
        with transaction.atomic():
            Line.objects.select_for_update(no_key=True).get(pk=held.pk)
            outcome = race.behind(lambda: take_in(low(held), low(free), low(held, 970)))
            assert balances([held, free]) == [1860, 980]
            assert not outcome.done()
        assert outcome.result(timeout=20) == [APPLIED, APPLIED, KEPT]
        assert balances([held, free]) == [980, 980]

    def test_has_its_rule_waited_for_where_that_is_held(self, lines):
        """Whoever changes it has not seen this balance, and this balance not the change."""
        with transaction.atomic():
            Rule.objects.select_for_update(no_key=True).get(line=lines[0])
            outcome = race.behind(lambda: take_in(low(lines[0], 1200), low(lines[1], 1200)))
            assert not outcome.done()
            Rule.objects.filter(line=lines[0]).update(threshold_minor=1500)
        assert outcome.result(timeout=20) == [APPLIED, APPLIED]
        woken = Rule.objects.filter(wake_at=w.NOON).values_list("line_id", flat=True)
        assert list(woken) == [lines[0].pk]

    def test_two_batches_of_the_same_lines_do_not_wait_in_a_circle(self, lines):
        forth = [low(line, 950) for line in lines]
        back = [low(line, 940, observed_at=w.NOON + w.MINUTE) for line in reversed(lines)]
        results = race.race(lambda: take_in(*forth), lambda: take_in(*back))
        assert results[1] == [APPLIED] * 3
        assert all(one in (APPLIED, KEPT) for one in results[0])
        assert balances(lines) == [940] * 3


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_raised_and_no_readings_fault(lines):
    """Called "not taken", its sender would throw it away."""

    def cut_off():
        with suppress(OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return take_in(low(lines[0]), low(lines[1]))

    [outcome] = race.race(cut_off)
    assert isinstance(outcome, OperationalError)
    assert balances(lines) == [1860] * 3

"""How statements come in: late, in pieces, at midnight, to two workers at once, or never."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing import schedules, tasks
from billing.gateways.base import StatementNotReady
from billing.models import Difference, Recharge, SourceKind, Statement, StatementLine, Transfer
from billing.reconciliation import days, matching, sources, statements
from lines.carriers.base import StatementUnavailable
from tests import world as w
from tests.billing import statement_day as day_of
from tests.billing.statement_day import DAY, MORNING, START, Scene, found, payment, ref, rows
from tests.race import race

ONE_DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def scene(db: Any) -> Scene:
    w.rail()
    return Scene()


@pytest.fixture
def day(scene: Scene) -> Scene:
    """Ten payments, booked; the rail's statement of them is there."""
    day_of.book(10)
    scene.rail.days[DAY] = rows(*honest())
    statements.ensure(source=scene.source(), day=DAY)
    return scene


def honest(*but: int) -> list[Any]:
    return [payment(number) for number in range(1, 11) if number not in but]


def run_due(scene: Scene) -> list[tuple[str, int]]:
    """What the queue's task does; (state, open) of each statement that was due."""
    steps = iter(range(40))  # a day is a step; more is a loop without an end
    results = days.run_due(
        clock=lambda: scene.at,
        outside=scene.outside,
        may_go_on=lambda: next(steps, None) is not None,
    )
    return [(one.state, one.open) for one in results]


def carries(scene: Scene, *given: Any) -> None:
    """The carrier has a statement of the day too, and is known since then."""
    scene.carrier.days[DAY] = rows(*given)
    statements.ensure(source=scene.source(SourceKind.CARRIER), day=DAY)


def the_day(day: Any = DAY) -> Statement:
    return Statement.objects.get(day=day)


class Killed(BaseException):
    """As SIGKILL: nothing of ours catches it and nothing is cleaned up."""


def die(*_: Any, **__: Any) -> None:
    raise Killed


def cut_off(after: int, error: BaseException | None = None) -> Any:
    """A statement whose reader dies after so many rows."""

    def given() -> Iterator[Any]:
        yield from honest()[:after]
        raise error or Killed

    return given


def lapse() -> None:
    """As if the dead worker's lease had run out."""
    Statement.objects.update(lease_until=START)


class TestEachMorning:
    def test_yesterday_is_asked_for_when_the_rail_has_it(self, day):
        day.at = MORNING - 10 * timedelta(minutes=1)  # 08:55 in Beijing
        assert run_due(day) == []
        assert day.rail.asked == []
        day.at = MORNING
        assert run_due(day) == [("done", 0)]
        assert day.rail.asked == [DAY]
        assert run_due(day) == []

    def test_days_slept_through_are_made_good_a_week_back(self, day):
        run_due(day)
        day.at += 10 * ONE_DAY
        run_due(day)
        asked = [DAY + number * ONE_DAY for number in range(4, 11)]
        assert sorted(day.rail.asked[1:]) == asked

    def test_a_new_rail_begins_with_today_by_its_own_hour_and_zone(self, scene):
        scene.rail.capabilities = replace(scene.rail.capabilities, statement_timezone="UTC")
        assert run_due(scene) == []
        row = Statement.objects.get()
        assert row.day == date(2026, 11, 22)
        assert row.next_try_at == datetime(2026, 11, 23, 9, tzinfo=UTC)

    def test_carriers_are_asked_too(self, day):
        carries(day, *(day_of.credit(number) for number in range(1, 11)))
        assert run_due(day) == [("done", 0), ("done", 0)]

    def test_the_queue_has_one_schedule_for_it(self, db):
        schedules.ensure()
        assert schedules.ensure() == 0
        assert ("billing.tasks.statements", "slow", 5) in [job[1:] for job in schedules.JOBS]

    def test_the_queues_task_runs_without_any_rail(self, db, settings):
        settings.RAILS, settings.CARRIER_TOKENS = {}, {}
        tasks.statements()
        assert Statement.objects.count() == 0


class TestAStatementThatIsNotReady:
    @pytest.fixture
    def late(self, day):
        del day.rail.days[DAY]
        return day

    def test_is_asked_for_again_later_and_later(self, late):
        waits = []
        for _ in range(7):
            assert run_due(late) == [("waiting", 0)]
            waits.append(the_day().next_try_at - late.at)
            late.at = the_day().next_try_at
        minutes = [wait.total_seconds() / 60 for wait in waits]
        assert minutes == [15, 30, 60, 120, 240, 240, 240]
        assert the_day().last_error == f"There is no statement of {DAY} yet."

    def test_is_compared_when_it_comes(self, late):
        run_due(late)
        late.rail.days[DAY] = rows(*honest())
        late.at += HOUR
        assert run_due(late) == [("done", 0)]
        assert the_day().last_error == ""

    def test_is_left_to_a_person_three_days_after_its_day(self, late):
        run_due(late)
        late.at = START + 4 * ONE_DAY - timedelta(minutes=1)
        run_due(late)
        assert the_day().state == "waiting"
        late.at = START + 4 * ONE_DAY + 4 * HOUR
        run_due(late)
        assert (the_day().state, the_day().next_try_at) == ("failed", None)
        assert found() == []  # without their side nothing can differ

        late.at += ONE_DAY
        late.rail.asked.clear()
        run_due(late)
        assert DAY not in late.rail.asked

    def test_can_be_asked_for_again_by_a_person(self, late):
        late.at = START + 5 * ONE_DAY
        statements.ensure(source=late.source(), day=DAY)
        run_due(late)
        assert the_day().state == "failed"
        late.rail.days[DAY] = rows(*honest())

        statements.ask_again(statement=the_day(), at=late.at)

        assert ("done", 0) in run_due(late)
        assert the_day().state == "done"

    def test_of_a_day_without_anything_of_ours_counts_as_empty_in_the_end(self, scene):
        statements.ensure(source=scene.source(), day=DAY)
        scene.at = START + 4 * ONE_DAY + HOUR
        run_due(scene)
        run_due(scene)
        assert (the_day().state, the_day().rows_read) == ("done", 0)

    def test_of_a_day_on_which_a_charge_was_sent_is_not_empty_though_nothing_is_booked(self, scene):
        day_of.book(1)
        day_of.unbook(1, "unknown")
        statements.ensure(source=scene.source(), day=DAY)
        scene.at = START + 4 * ONE_DAY + HOUR
        run_due(scene)
        assert the_day().state == "failed"

    def test_that_breaks_off_half_way_leaves_nothing_behind(self, day):
        day.rail.days[DAY] = cut_off(5, StatementNotReady("the line went dead"))
        assert run_due(day) == [("waiting", 0)]
        assert StatementLine.objects.count() == 0
        assert (the_day().last_error, the_day().rows_read) == ("the line went dead", 0)

    def test_of_a_carrier_is_tried_again_as_well(self, day):
        carries(day)

        def gone() -> Iterator[Any]:
            raise StatementUnavailable("the answer is not a list")
            yield

        day.carrier.days[DAY] = gone
        assert ("waiting", 0) in run_due(day)

    def test_of_one_source_does_not_hold_up_another(self, late):
        carries(late, *(day_of.credit(number) for number in range(1, 11)))
        assert run_due(late) == [("waiting", 0), ("done", 0)]


class TestAWorkerThatDies:
    def test_while_reading_is_followed_by_one_that_begins_the_day_again(self, day, monkeypatch):
        monkeypatch.setattr(statements, "CHUNK", 3)
        day.rail.days[DAY] = cut_off(7)
        with pytest.raises(Killed):
            run_due(day)
        assert (the_day().state, the_day().rows_read) == ("fetching", 6)
        assert StatementLine.objects.count() == 6

        day.rail.days[DAY] = rows(*honest(4))
        day.at += timedelta(minutes=11)
        assert run_due(day) == []  # its lease still runs
        lapse()
        assert run_due(day) == [("done", 1)]
        assert StatementLine.objects.count() == 9
        assert found() == [("missing_theirs", ref("P", 4), None)]

    def test_before_the_first_row_too(self, day):
        day.rail.days[DAY] = cut_off(0)
        with pytest.raises(Killed):
            run_due(day)
        lapse()
        day.at += timedelta(minutes=11)
        day.rail.days[DAY] = rows(*honest())
        assert run_due(day) == [("done", 0)]

    @pytest.mark.parametrize("step", ["match", "_finish"])
    def test_while_comparing_leaves_no_half_of_it(self, day, monkeypatch, step):
        module: Any = matching if step == "match" else days
        real = getattr(module, step)

        def dying(*args: Any, **named: Any) -> Any:
            real(*args, **named)
            raise Killed

        day.rail.days[DAY] = rows(*honest(4))
        with monkeypatch.context() as patch:
            patch.setattr(module, step, dying)
            with pytest.raises(Killed):
                run_due(day)
        assert the_day().state == "matching"
        assert Difference.objects.count() == 0
        assert not Transfer.objects.filter(kind="fee").exists()

        lapse()
        day.at += timedelta(minutes=11)
        assert run_due(day) == [("done", 1)]
        assert day.rail.asked == [DAY]  # what was read is not asked for again
        assert Transfer.objects.filter(kind="fee").count() == 9

    def test_before_it_wakes_anybody_has_them_woken_by_the_next_comparison(self, day, monkeypatch):
        day_of.unbook(4, "unknown")
        with monkeypatch.context() as patch:
            patch.setattr(days, "_wake", die)
            with pytest.raises(Killed):
                run_due(day)
        assert (the_day().state, found()) == ("done", [("status", ref("P", 4), 4)])
        assert Recharge.objects.get(ref=ref("G", 4)).act_at is None

        day.at = the_day().next_try_at
        run_due(day)
        assert Recharge.objects.get(ref=ref("G", 4)).act_at == day.at

    def test_over_and_over_leaves_it_to_a_person(self, day):
        day.rail.days[DAY] = cut_off(2)
        for _ in range(statements.MOST_BROKEN_OFF):
            with pytest.raises(Killed):
                run_due(day)
            lapse()
            day.at += timedelta(minutes=11)
        run_due(day)
        assert (the_day().state, the_day().next_try_at) == ("failed", None)
        assert the_day().last_error == "It broke off again and again."

    def test_but_only_stalls_writes_nothing_once_another_has_taken_over(self, day, monkeypatch):
        monkeypatch.setattr(statements, "CHUNK", 3)

        def stalled() -> Iterator[Any]:
            yield from honest()[:6]
            lapse()
            day.rail.days[DAY] = rows(*honest(4))
            other = days.run_one(source=day.source(), day=DAY, clock=lambda: day.at)
            assert other is not None
            yield from honest()[6:]

        day.rail.days[DAY] = stalled
        assert run_due(day) == []  # it lost its claim, and says nothing
        assert StatementLine.objects.count() == 9
        assert found() == [("missing_theirs", ref("P", 4), None)]


class TestMidnight:
    """Payment 11 was booked by us ten minutes before the day's end."""

    @pytest.fixture
    def edge(self, day):
        day_of.book(1, first=11, at=START + ONE_DAY - timedelta(minutes=10), within=timedelta(0))
        return day

    def test_an_effect_close_to_it_waits_for_the_next_days_statement(self, edge):
        assert run_due(edge) == [("done", 0)]
        assert the_day().awaiting == 1
        assert the_day().next_try_at is not None

    def test_and_is_found_there(self, edge):
        run_due(edge)
        edge.at += ONE_DAY
        edge.rail.days[DAY + ONE_DAY] = rows(payment(11, line_number=1))
        run_due(edge)
        run_due(edge)
        assert the_day().awaiting == 0
        assert Difference.objects.count() == 0

    def test_or_is_missing_once_that_one_has_it_not(self, edge):
        run_due(edge)
        edge.at += ONE_DAY
        edge.rail.days[DAY + ONE_DAY] = rows()
        run_due(edge)
        run_due(edge)
        assert found(statement=the_day()) == [("missing_theirs", ref("P", 11), None)]
        assert not Difference.objects.exclude(statement=the_day()).exists()

    def test_or_once_that_one_is_given_up(self, edge):
        run_due(edge)
        edge.at = START + 5 * ONE_DAY - timedelta(minutes=1)
        edge.again()
        assert found() == []
        edge.at = START + 5 * ONE_DAY
        edge.again()
        assert found() == [("missing_theirs", ref("P", 11), None)]

    def test_two_days_do_not_wake_each_other_for_ever(self, edge):
        run_due(edge)
        edge.at += ONE_DAY
        edge.rail.days[DAY + ONE_DAY] = rows(payment(11, line_number=1))
        for _ in range(4):
            run_due(edge)
        assert run_due(edge) == []

    def test_a_charge_long_under_way_may_be_on_an_earlier_days_statement(self, day):
        """Sent on the day before, found out today: that day's statement is not here yet."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE billing_paymentattempt SET created_at = %s WHERE reference = %s",
                [START - 5 * HOUR, ref("P", 4)],
            )
        day.rail.days[DAY] = rows(*honest(4))
        assert run_due(day) == [("done", 0)]
        assert the_day().awaiting == 1

        day.compare(payment(4), day=DAY - ONE_DAY)
        assert day.again() == []
        assert the_day().awaiting == 0


@pytest.mark.django_db(transaction=True)
class TestTwoWorkers:
    def test_at_once_do_the_day_once(self):
        w.rail()
        day = Scene()
        day_of.book(10)
        day.rail.days[DAY] = rows(*honest(4))
        statements.ensure(source=day.source(), day=DAY)

        results = race(*(lambda: run_due(day) for _ in range(4)))

        assert sorted(results) == [[], [], [], [("done", 1)]]
        assert day.rail.asked == [DAY]
        assert found() == [("missing_theirs", ref("P", 4), None)]
        assert StatementLine.objects.count() == 9
        assert Transfer.objects.filter(kind="fee").count() == 9
        w.assert_balanced()

    def test_never_both_have_the_same_claim(self):
        w.rail()
        day = Scene()
        statements.ensure(source=day.source(), day=DAY)
        for _ in range(40):
            Statement.objects.update(lease_until=None, next_try_at=day.at, state="waiting")
            claims = race(
                *(lambda: statements.claim_due(source=day.source(), at=day.at) for _ in range(4))
            )
            assert sum(isinstance(one, statements.Claim) for one in claims) == 1
            assert claims.count(None) == 3


def broken(*given: Any) -> Any:
    """Rows, and then a reader that nobody foresaw."""

    def read() -> Iterator[Any]:
        yield from given
        raise KeyError("a column that was renamed")

    return read


class TestAReaderThatBreaks:
    @pytest.mark.parametrize("odd", [object(), replace(payment(1), currency=None)])
    def test_over_a_row_fails_its_own_statement_with_a_reason(self, day, odd):
        day.rail.days[DAY] = rows(payment(2), odd)
        assert run_due(day) == [("waiting", 0)]
        row = Statement.objects.get()
        assert row.last_error.startswith("Its reader broke over it: ")
        assert (row.state, StatementLine.objects.count()) == ("waiting", 0)

    def test_never_ends_the_run(self, day):
        w.carrier()
        day.rail.days[DAY] = broken(payment(2))
        carries(day)
        assert sorted(state for state, _ in run_due(day)) == ["done", "waiting"]
        why = Statement.objects.get(source_kind="rail").last_error
        assert why == "Its reader broke over it: KeyError."
        assert not Difference.objects.filter(statement__source_kind="rail").exists()

    def test_nor_does_a_statement_that_cannot_be_compared(self, day, monkeypatch):
        def break_off(*_: Any, **__: Any) -> None:
            raise ValueError("over one row")

        monkeypatch.setattr(matching, "match", break_off)
        assert run_due(day) == []
        row = Statement.objects.get()
        assert (row.state, row.last_error) == (
            "matching", "It could not be compared: ValueError."
        )  # fmt: skip


class TestAskingAnew:
    def anew(self, day: Scene) -> Any:
        return days.run_one(source=day.source(), day=DAY, clock=lambda: day.at, is_anew=True)

    def test_takes_the_new_statement_for_the_old(self, day):
        day.rail.days[DAY] = rows(*honest(4))
        run_due(day)
        assert found() == [("missing_theirs", ref("P", 4), None)]
        day.rail.days[DAY] = rows(*honest())
        assert self.anew(day).rows == 10
        row = Statement.objects.get()
        assert (row.state, row.rows_read, found()) == ("done", 10, [])
        assert StatementLine.objects.filter(statement=row).count() == 10
        assert StatementLine.objects.count() == 10
        w.assert_balanced()

    @pytest.mark.parametrize("worse", [None, broken(payment(2))])
    def test_of_one_that_does_not_come_keeps_the_good_one(self, day, worse):
        run_due(day)
        before = Statement.objects.values("rows_read", "totals", "fetched_at").get()
        if worse is None:
            del day.rail.days[DAY]
        else:
            day.rail.days[DAY] = worse
        day.at += ONE_DAY
        result = self.anew(day)
        assert (result.state, result.is_old, result.rows) == ("done", True, 10)
        row = Statement.objects.get()
        assert Statement.objects.values("rows_read", "totals", "fetched_at").get() == before
        assert (row.state, row.next_try_at, bool(row.last_error)) == ("done", None, True)
        assert StatementLine.objects.filter(statement=row).count() == 10
        assert StatementLine.objects.count() == 10
        assert day.again() == []
        w.assert_balanced()

    def test_that_dies_half_way_begins_again_beside_the_good_one(self, day):
        run_due(day)
        claimed = statements.claim(statement=Statement.objects.get(), at=day.at)
        assert claimed is not None
        statements._begin(claimed)
        statements._keep(claimed, [sources.staged(payment(2))], at=day.at)
        assert StatementLine.objects.count() == 11
        Statement.objects.update(lease_until=None)
        assert self.anew(day).rows == 10
        assert StatementLine.objects.count() == 10

    def test_is_not_done_where_nobody_says_so(self, day):
        run_due(day)
        days.run_one(source=day.source(), day=DAY, clock=lambda: day.at)
        assert day.rail.asked == [DAY]
        self.anew(day)
        assert day.rail.asked == [DAY, DAY]


class TestTheCommand:
    @pytest.fixture
    def run(self, day, monkeypatch):
        monkeypatch.setattr(tasks, "outside", lambda: day.outside)
        monkeypatch.setattr("django.utils.timezone.now", lambda: day.at)

        def run(*options: str) -> tuple[str, str]:
            out, refusal = StringIO(), ""
            try:
                call_command("reconcile", *options, stdout=out, stderr=StringIO())
            except CommandError as error:
                refusal = str(error)
            return out.getvalue(), refusal

        return run

    def test_says_that_all_is_well(self, run):
        assert run("--rail", "alipay") == (
            f"rail:alipay {DAY}: done, 10 rows, 0 open, 0 waiting for a neighbouring day\n",
            "",
        )

    def test_names_what_differs_and_fails(self, day, run):
        day.rail.days[DAY] = rows(*honest(4))
        out, refusal = run("--rail", "alipay", "--json")
        (told,) = json.loads(out)
        assert told["differences"] == [
            {"kind": "missing_theirs", "our_ref": ref("P", 4), "line": None}
        ]
        assert refusal == "1 differences are open, 0 statements are not there."

    def test_asks_anew_when_told_to_and_fails_where_nothing_comes(self, day, run):
        run("--rail", "alipay")
        assert run("--rail", "alipay", "--anew")[1] == ""
        assert day.rail.asked == [DAY, DAY]
        del day.rail.days[DAY]
        out, refusal = run("--rail", "alipay", "--anew")
        assert refusal == "0 differences are open, 1 statements are not there."
        assert f"done (There is no statement of {DAY} yet.), 10 rows, 0 open" in out

    def test_fails_while_a_statement_is_not_there(self, run):
        _out, refusal = run("--rail", "alipay", "--days", "2")
        assert refusal == "0 differences are open, 1 statements are not there."

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (("--rail", "paypal"), "No payment rail “paypal” is set up here; there are: alipay."),
            (("--carrier", "ufo"), "No carrier “ufo” is set up here; there are: none."),
            (("--rail", "alipay", "--day", "2026-11-22"), "2026-11-22 is not over yet"),
            (("--day", "yesterday"), "is no day; write it as 2026-11-21"),
            (("--days", "99"), "a number from 1 to 31"),
            (("--rail", "alipay", "--carrier", "cmcc"), "not allowed with argument"),
        ],
    )
    def test_refuses_what_it_cannot_do_and_touches_nothing(
        self, day, run, options, sentence, in_english
    ):
        out, refusal = run(*options)
        assert sentence in refusal
        assert (out, day.rail.asked, Statement.objects.count()) == ("", [], 1)

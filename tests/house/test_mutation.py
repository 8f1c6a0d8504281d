"""That the mutants of `make mutants` are programs, and come into force where they are planted."""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from billing.recharges import ladders
from billing.refunds import refunding
from billing.rules import caps
from tests.mutation import mutants, places, planting, sql, targets
from tests.mutation.mutants import Mutant
from tests.mutation.targets import ROOT
from tests.world import NOON

LADDERS = "billing/recharges/ladders.py"


class TestMutants:
    def test_can_all_be_loaded_and_have_names_of_their_own(self):
        found = [one for path in targets.files() for one in mutants.of(path)]
        assert [one for one in found if not _is_program(one)] == []
        assert len(found) > 3000
        assert len({one.id for one in found}) == len(found)

    def test_of_sql_are_of_what_it_compares_not_of_what_it_sets(self):
        text = "UPDATE t SET a = b WHERE c = %s AND d < 3 ORDER BY id"
        made = {
            text[: one.start] + one.new + text[one.start + len(one.old) :]
            for one in sql.changes(text)
        }
        assert made == {
            "UPDATE t SET a = b WHERE (c = %s OR true) AND d < 3 ORDER BY id",
            "UPDATE t SET a = b WHERE c <> %s AND d < 3 ORDER BY id",
            "UPDATE t SET a = b WHERE c = %s AND (d < 3 OR true) ORDER BY id",
            "UPDATE t SET a = b WHERE c = %s AND d < 3 ORDER BY id DESC",
            "UPDATE t SET a = b WHERE c = %s AND d < 4 ORDER BY id",
            "UPDATE t SET a = b WHERE c = %s AND d <= 3 ORDER BY id",
            "UPDATE t SET a = b WHERE c = %s OR d < 3 ORDER BY id",
        }


class TestPlanting:
    def test_a_mutant_of_a_function_comes_into_force_and_is_undone(self):
        last = len(ladders.QUERY_WAITS_S)
        last_of = "len(waits_s)"
        with (
            _planted(LADDERS, kind="boundary", old="<", said=last_of),
            pytest.raises(IndexError),
        ):
            ladders.next_query_at(queries=last, at=NOON)

        assert ladders.next_query_at(queries=last, at=NOON) is None

    def test_a_mutant_of_a_constant_comes_into_force_and_is_undone(self):
        with _planted(LADDERS, kind="constant", old="10", said="QUERY_WAITS_S"):
            assert ladders.next_query_at(queries=0, at=NOON) == NOON + timedelta(seconds=11)

        assert ladders.next_query_at(queries=0, at=NOON) == NOON + timedelta(seconds=10)

    def test_a_mutant_of_a_constant_comes_into_force_where_it_was_imported(self):
        with _planted(LADDERS, kind="constant", old="10", said="CONFIG_RETRY"):
            assert timedelta(minutes=11) == refunding.CONFIG_RETRY

        assert timedelta(minutes=10) == refunding.CONFIG_RETRY

    def test_a_mutant_of_a_table_comes_into_force_in_what_others_made_of_it(self):
        with _planted(
            "billing/states.py", kind="entry", old="S.FAILED, ", said="UNPAID_END_STATES"
        ):
            assert "failed" not in caps._UNPAID

        assert "failed" in caps._UNPAID


class TestPlaces:
    def test_a_constant_is_noticed_where_it_is_used(self):
        [one, *_] = [one for one in mutants.of(LADDERS) if "CONFIG_RETRY" in _line(one)]
        place = places.of(one.path, one.line)
        assert not place.is_inside
        assert {path for path, _ in place.lines} == {
            "billing/payments/announcements.py",
            "billing/refunds/refunding.py",
        }


def _is_program(one: Mutant) -> bool:
    try:
        ast.parse(one.text((ROOT / one.path).read_bytes()))
    except SyntaxError:
        return False
    return True


@contextmanager
def _planted(path: str, *, kind: str, old: str, said: str = "") -> Iterator[None]:
    found = [one for one in mutants.of(path) if (one.kind, one.old) == (kind, old)]
    [one, *_] = [one for one in found if said in _line(one)]
    planting.plant(one)
    try:
        yield
    finally:
        planting.plant(replace(one, new=old, old=old))


def _line(one: Mutant) -> str:
    return (ROOT / one.path).read_text().splitlines()[one.line - 1]

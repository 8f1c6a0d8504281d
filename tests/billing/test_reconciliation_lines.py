"""A carrier's row is compared with the line it is about, as each of its answers is."""

from typing import Any

import pytest
from django.db import connection
from django.utils import translation

from billing.admin import difference_words
from billing.models import Difference, Recharge, SourceKind, StatementLine, Transfer
from billing.reconciliation import days
from lines.models import Delivery, Line
from tests import world as w
from tests.billing import statement_day as day_of
from tests.billing.statement_day import DAY, Scene, credit, ref

STRANGER = "+8613900139000"


@pytest.fixture
def day(db: Any) -> Scene:
    """Ten payments, booked, of one line."""
    w.rail(), w.carrier()
    day_of.book(10)
    return Scene()


def in_doubt(number: int) -> None:
    """As if the carrier had never answered about the credit: past the guards."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        Transfer.objects.filter(reference=ref("D", number)).delete()
        Delivery.objects.filter(reference=ref("D", number)).update(state="unknown")
        cursor.execute("SET session_replication_role = origin")


class TestARow:
    def test_that_names_another_number_is_a_difference_by_whatever_it_is_known(self, day):
        Line.objects.update(iccid="8986001234567890123")
        line = Line.objects.get()
        mine = (line.msisdn, f"tel:{line.msisdn}", line.msisdn.removeprefix("+86"), line.iccid)
        given = [credit(number, names=(mine[number % 4],)) for number in range(1, 8)]
        strangers = [
            credit(8, names=(STRANGER,)),
            credit(9, our_ref="", names=(STRANGER, "8986009999999999999")),
            credit(10, names=(STRANGER, line.msisdn)),  # one of them is the line's
        ]
        found = day.compare(*given, *strangers, kind=SourceKind.CARRIER)
        assert sorted(found) == [("another_line", ref("D", 8), 8), ("another_line", ref("D", 9), 9)]
        one = Difference.objects.get(our_ref=ref("D", 8))
        assert (one.our_state, one.our_amount_minor, one.their_amount_minor) == (
            "booked", 5000, 5000,
        )  # fmt: skip
        assert one.recharge == Recharge.objects.get(ref=ref("G", 8))
        assert STRANGER not in str(list(StatementLine.objects.values()))
        with translation.override("en"):
            said = difference_words.told(one)
        assert said.theirs == (
            "Line 8: a credit to the line of ¥50.00, for another number than the line's."
        )
        assert said.ours == "Our books have a credit to the line of ¥50.00."

    def test_that_names_nobody_is_believed_by_its_reference(self, day):
        rows = [credit(number, names=("",)) for number in range(1, 11)]
        assert day.compare(*rows, kind=SourceKind.CARRIER) == []

    def test_that_names_it_is_one_before_it_is_booked_and_where_it_was_taken_back(self, day):
        in_doubt(7)
        rows = [credit(number) for number in range(1, 11) if number != 7]
        rows.append(credit(7, names=(STRANGER,)))
        rows.append(credit(6, kind="reversal", line_number=11, names=(STRANGER,)))
        found = day.compare(*rows, kind=SourceKind.CARRIER)
        assert sorted(found) == [
            ("another_line", ref("D", 6), 11), ("another_line", ref("D", 7), 7),
        ]  # fmt: skip
        assert Transfer.objects.filter(reference=ref("D", 7)).count() == 0

    def test_that_is_mended_in_their_books_closes_it(self, day):
        rows = [credit(number) for number in range(2, 11)]
        wrong = day.compare(credit(1, names=(STRANGER,)), *rows, kind=SourceKind.CARRIER)
        assert wrong == [("another_line", ref("D", 1), 1)]
        mended = credit(1, names=(Line.objects.get().msisdn,))
        day.carrier.days[DAY] = day_of.rows(mended, *rows)
        days.run_one(
            source=day.source(SourceKind.CARRIER), day=DAY, clock=lambda: day.at, is_anew=True
        )
        assert day_of.found() == []
        assert Difference.objects.get().state == "resolved"

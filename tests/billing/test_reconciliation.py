"""A statement against our books: every kind of difference, and nothing else."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psutil
import pytest
from django.db import connection

from billing.gateways.base import StatementKind, StatementRow
from billing.ledger import verification
from billing.models import (
    Difference,
    PaymentAttempt,
    Rail,
    Recharge,
    SourceKind,
    Statement,
    StatementLine,
    Transfer,
)
from billing.reconciliation import days, sources, statements
from tests import world as w
from tests.billing import statement_day as day_of
from tests.billing.statement_day import (
    DAY,
    Scene,
    credit,
    found,
    give_back,
    payment,
    ref,
    refund,
    unbook,
)
from tests.factories.billing import InboundNotificationFactory, TransferFactory

ONE_DAY = timedelta(days=1)
NONE = ("0", "00", "-", "null", "None", "N/A", "无", " ")


def about(one: Difference) -> str:
    """The recharge that it is about."""
    return one.recharge.ref if one.recharge else ""


@pytest.fixture
def scene(db: Any) -> Scene:
    w.rail()
    w.carrier()
    return Scene()


@pytest.fixture
def day(scene: Scene) -> Scene:
    """Ten payments, booked."""
    day_of.book(10)
    return scene


def honest(*but: int) -> list[StatementRow]:
    return [payment(number) for number in range(1, 11) if number not in but]


class TestADayThatMatches:
    def test_has_no_difference(self, day):
        assert day.compare(*honest()) == []
        row = Statement.objects.get()
        assert (row.state, row.rows_read, row.awaiting) == ("done", 10, 0)
        assert row.next_try_at is None
        assert row.totals == [
            {
                "kind": "payment", "currency": "CNY", "count": 10,
                "amount_minor": 50_000, "fee_minor": 300,
            }
        ]  # fmt: skip
        w.assert_balanced()

    def test_books_its_fees_once_however_often_it_comes(self, day):
        day.compare(*honest())
        statements.ask_again(statement=Statement.objects.get(), at=day.at)
        day.compare(*honest())

        fees = Transfer.objects.filter(kind="fee")
        assert fees.count() == 10
        assert {(one.source, one.destination, one.amount_minor) for one in fees} == {
            ("fees", "rail:alipay", 30)
        }
        w.assert_balanced()

    def test_is_read_anew_once_its_rows_are_forgotten(self, day):
        day.compare(*honest())
        day.at += 40 * ONE_DAY
        assert statements.prune(at=day.at) == 10
        assert StatementLine.objects.count() == 0

        assert day.again() == []
        assert day.rail.asked == [DAY, DAY]

    def test_keeps_its_rows_while_they_may_be_compared_again(self, day):
        day.compare(*honest())
        assert statements.prune(at=day.at + 34 * ONE_DAY) == 0


class TestADifference:
    def test_missing_on_the_statement(self, day):
        assert day.compare(*honest(3)) == [("missing_theirs", ref("P", 3), None)]
        one = Difference.objects.get()
        assert (one.is_ours_alone, one.our_amount_minor, one.their_amount_minor) == (
            True, 5000, None,
        )  # fmt: skip
        assert about(one) == ref("G", 3)

    def test_missing_in_our_books(self, day):
        stranger = payment(11, our_ref="STRANGER1")
        assert day.compare(*honest(), stranger) == [("missing_ours", "STRANGER1", 11)]
        assert Difference.objects.get().recharge is None

    def test_missing_in_our_books_where_another_rail_took_it(self, day):
        PaymentAttempt.objects.filter(reference=ref("P", 3)).update(rail="wechat")
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            Transfer.objects.filter(reference=ref("P", 3)).update(source="rail:wechat")
            cursor.execute("SET session_replication_role = origin")
        assert day.compare(*honest()) == [("missing_ours", ref("P", 3), 3)]

    def test_of_amount(self, day):
        odd = payment(3, amount_minor=5001)
        assert day.compare(*honest(3), odd) == [("amount", ref("P", 3), 3)]
        one = Difference.objects.get()
        assert (one.our_amount_minor, one.their_amount_minor) == (5000, 5001)

    def test_of_currency_and_then_no_fee_is_booked(self, day):
        odd = payment(3, currency="USD")
        assert day.compare(*honest(3), odd) == [("currency", ref("P", 3), 3)]
        assert not Transfer.objects.filter(kind="fee", reference=ref("P", 3)).exists()

    def test_of_fee_only_where_the_rate_is_known(self, day):
        odd = payment(3, fee_minor=31)
        assert day.compare(*honest(3), odd) == []
        Rail.objects.update(fee_rate_ppm=6000)
        assert day.again() == [("fee", ref("P", 3), 3)]
        one = Difference.objects.get()
        assert (one.our_amount_minor, one.their_amount_minor) == (30, 31)

    @pytest.mark.parametrize(("amount_minor", "fee_minor"), [(5050, 30), (5050, 31)])
    def test_of_fee_is_not_how_a_rail_rounds(self, day, amount_minor, fee_minor):
        Rail.objects.update(fee_rate_ppm=6000)  # of 50.50: 0.303
        odd = payment(3, amount_minor=amount_minor, fee_minor=fee_minor)
        assert day.compare(*honest(3), odd) == [("amount", ref("P", 3), 3)]

    def test_of_fee_taken_in_another_currency_is_none(self, day):
        """A row of its own, in what the account settles in: no rate of ours is about that."""
        Rail.objects.update(fee_rate_ppm=6000)
        own = payment(11, our_ref=ref("P", 3), kind=StatementKind.FEE, amount_minor=33,
                      fee_minor=0, currency="HKD")  # fmt: skip
        assert day.compare(*honest(3), payment(3, fee_minor=0), own) == []
        w.assert_balanced()

    def test_of_fee_on_the_wrong_side_at_any_rate_and_booked_as_it_was(self, day):
        give_back(4)
        before = verification.verify().violations  # that refund is half a story
        given = payment(3, fee_minor=-30)
        taken = refund(4, ref("F", 4), line_number=11, amount_minor=1000, fee_minor=6)
        assert day.compare(*honest(3), given, taken) == [
            ("fee", ref("F", 4), 11),
            ("fee", ref("P", 3), 3),
        ]
        assert [one.their_amount_minor for one in Difference.objects.order_by("our_ref")] == [
            6,
            -30,
        ]
        booked = Transfer.objects.filter(reference__in=[ref("F", 4), ref("P", 3)])
        fees = booked.filter(kind__startswith="fee").order_by("reference")
        assert [(one.kind, one.source, one.destination, one.amount_minor) for one in fees] == [
            ("fee", "fees", "rail:alipay", 6),
            ("fee_returned", "rail:alipay", "fees", 30),
        ]
        assert verification.verify().violations == before

    def test_of_outcome_where_they_took_money_and_we_say_declined(self, day):
        unbook(3, "declined")
        assert day.compare(*honest()) == [("status", ref("P", 3), 3)]
        one = Difference.objects.get()
        assert (one.our_state, about(one)) == ("declined", ref("G", 3))

    def test_duplicate_on_one_day(self, day):
        twice = payment(3, line_number=11, provider_ref="another")
        assert day.compare(*honest(), twice) == [("duplicate", ref("P", 3), 11)]

    def test_duplicate_on_the_next_day(self, day):
        assert day.compare(*honest()) == []
        day.at += ONE_DAY
        assert day.compare(payment(3, line_number=1), day=DAY + ONE_DAY) == [
            ("duplicate", ref("P", 3), 1)
        ]

    def test_refund_that_we_never_made_with_the_recharge_it_is_about(self, day):
        theirs = refund(3, "F1", line_number=11)
        assert day.compare(*honest(), theirs) == [("refund_unmatched", "F1", 11)]
        assert about(Difference.objects.get()) == ref("G", 3)

    def test_refund_of_ours_that_they_never_made(self, day):
        give_back(3)
        assert day.compare(*honest()) == [("refund_unmatched", ref("F", 3), None)]
        assert Difference.objects.get().is_ours_alone

    def test_dispute_that_nobody_told_of(self, day):
        theirs = payment(3, line_number=11, kind=StatementKind.DISPUTE)
        assert day.compare(*honest(), theirs) == [("dispute", ref("P", 3), 11)]
        assert about(Difference.objects.get()) == ref("G", 3)

    def test_unreadable_row_with_its_line_and_the_rest_goes_on(self, day):
        bad = day_of.unreadable(5, "20881,13800000021,li@163.com,50.O0", "no amount")
        assert day.compare(*honest(3)[:4], bad, *honest(3)[4:]) == [
            ("missing_theirs", ref("P", 3), None),
            ("unreadable", "", 5),
        ]
        one = Difference.objects.get(kind="unreadable")
        assert (one.text, one.problem) == ("20881,…0021,…@163.com,50.O0", "no amount")
        assert Statement.objects.get().unreadable_rows == 1

    @pytest.mark.parametrize(
        "hostile",
        [
            {"amount_minor": 2**70},
            {"amount_minor": -1},
            {"fee_minor": 2**70},
            {"currency": "人民币元"},
            {"currency": ""},
        ],
    )
    def test_values_that_no_column_holds_make_a_row_unreadable(self, day, hostile):
        assert day.compare(*honest(3), payment(3, **hostile)) == [("unreadable", ref("P", 3), 3)]
        assert about(Difference.objects.get()) == ref("G", 3)

    def test_unreadable_row_whose_reference_can_be_read_is_one_and_not_two(self, day):
        give_back(4)
        rows = [
            day_of.unreadable(3, our_ref=ref("P", 3)),
            day_of.unreadable(11, our_ref=ref("P", 4), refund_ref=ref("F", 4)),
            day_of.unreadable(5, provider_ref=ref("T", 5)),
        ]
        assert day.compare(*honest(3, 5), *rows) == [
            ("unreadable", ref("F", 4), 11),
            ("unreadable", ref("P", 3), 3),
            ("unreadable", ref("P", 5), 5),
        ]
        named = {one.our_ref: about(one) for one in Difference.objects.all()}
        assert named == {
            ref("F", 4): ref("G", 4), ref("P", 3): ref("G", 3), ref("P", 5): ref("G", 5)
        }  # fmt: skip

    def test_none_written_as_a_word_is_no_reference(self, day):
        own = [payment(20 + n, our_ref=none, provider_ref="T0") for n, none in enumerate(NONE)]
        assert day.compare(*honest(), *own) == [
            ("missing_ours", "", 20 + n) for n in range(len(NONE))
        ]

    def test_hostile_references_are_cut_and_never_taken_for_ours(self, day):
        hostile = payment(11, our_ref=ref("P", 3) + "\x00" + "x" * 500, provider_ref="=1+1" * 99)
        ((kind, our_ref, line),) = day.compare(*honest(), hostile)
        assert (kind, line, len(our_ref)) == ("missing_ours", 11, 64)


class TestTheCarriersSide:
    def test_matches_and_finds_each_kind(self, day):
        given = [credit(number) for number in range(1, 9)]
        given[1] = credit(2, amount_minor=4000)
        given[2] = credit(3, currency="USD")
        more = [
            credit(4, line_number=11),
            credit(12, our_ref="STRANGER"),
            credit(5, kind="reversal", line_number=13),
        ]
        differences = day.compare(*given, *more, kind=SourceKind.CARRIER)
        assert sorted(differences, key=str) == sorted(
            [
                ("amount", ref("D", 2), 2),
                ("currency", ref("D", 3), 3),
                ("duplicate", ref("D", 4), 11),
                ("missing_ours", "STRANGER", 12),
                ("status", ref("D", 5), 13),
                ("missing_theirs", ref("D", 9), None),
                ("missing_theirs", ref("D", 10), None),
            ],
            key=str,
        )

    def test_knows_an_order_by_the_carriers_own_number_where_ours_is_missing(self, day):
        given = [credit(number) for number in range(1, 10)]
        nameless = credit(10, our_ref="")
        assert day.compare(*given, nameless, kind=SourceKind.CARRIER) == []

    def test_books_no_fees(self, day):
        day.compare(*(credit(number) for number in range(1, 11)), kind=SourceKind.CARRIER)
        assert not Transfer.objects.filter(kind="fee").exists()


class TestAReRun:
    def test_doubles_nothing(self, day):
        first = day.compare(*honest(3), payment(11, our_ref="STRANGER1"))
        assert len(first) == 2
        assert day.again() == first
        assert Difference.objects.count() == 2

    def test_closes_what_is_gone(self, day):
        day.compare(*honest(3))
        statements.ask_again(statement=Statement.objects.get(), at=day.at)
        assert day.compare(*honest()) == []
        one = Difference.objects.get()
        assert (one.state, one.closed_at, one.closed_by) == ("resolved", day.at, None)

    def test_opens_again_what_had_gone(self, day):
        day.compare(*honest(3))
        for given in (honest(), honest(3)):
            statements.ask_again(statement=Statement.objects.get(), at=day.at)
            day.compare(*given)
        one = Difference.objects.get()
        assert (one.state, one.closed_at) == ("open", None)

    def test_leaves_an_explained_one_alone_while_its_figures_stay(self, day):
        day.compare(*honest(3), payment(3, amount_minor=5001))
        explain(day)
        assert day.again() == []
        assert Difference.objects.get().reason == "agreed by phone"

    def test_opens_an_explained_one_whose_figures_have_changed(self, day):
        day.compare(*honest(3), payment(3, amount_minor=5001))
        explain(day)
        statements.ask_again(statement=Statement.objects.get(), at=day.at)
        assert day.compare(*honest(3), payment(3, amount_minor=9999)) == [
            ("amount", ref("P", 3), 3)
        ]
        one = Difference.objects.get()
        assert (one.reason, one.closed_by) == ("", None)

    def test_happens_by_itself_while_something_is_open(self, day):
        day.compare(*honest(3))
        row = Statement.objects.get()
        assert row.next_try_at == day.at + timedelta(hours=6)
        day.at += 11 * ONE_DAY
        day.again()
        assert Statement.objects.get().next_try_at is None


class TestExplaining:
    def test_closes_with_who_and_why(self, day):
        day.compare(*honest(3))
        explain(day)
        one = Difference.objects.get()
        assert (one.state, one.closed_by, one.closed_at) == (
            "explained", w.person("oliver"), day.at,
        )  # fmt: skip

    def test_is_refused_the_second_time(self, day):
        day.compare(*honest(3))
        explain(day)
        with pytest.raises(days.NotOpen):
            explain(day, "me too")
        assert Difference.objects.get().reason == "agreed by phone"

    def test_needs_a_reason_and_a_person_says_the_database(self, day):
        day.compare(*honest(3))
        with pytest.raises(Exception, match="difference_explained_by_somebody"):
            Difference.objects.update(state="explained")


def explain(scene: Scene, reason: str = "agreed by phone") -> None:
    days.explain(
        difference=Difference.objects.get(), actor=w.person("oliver"), reason=reason, at=scene.at
    )


class TestRefundsAndDisputes:
    def test_a_refund_in_both_books_matches_and_its_fee_comes_back(self, day):
        give_back(3)
        theirs = refund(3, ref("F", 3), line_number=11, amount_minor=1000, fee_minor=-6)
        assert day.compare(*honest(), theirs) == []
        back = Transfer.objects.get(kind="fee_returned")
        assert (back.source, back.destination, back.amount_minor) == ("rail:alipay", "fees", 6)

    def test_what_was_taken_otherwise_and_given_back_is_on_both_sides(self, day):
        unbook(3, "closed")
        day_of.stray(3, amount_minor=6000)
        taken = payment(3, amount_minor=6000, fee_minor=0)
        back = refund(3, ref("B", 3), line_number=11, amount_minor=6000, fee_minor=0)
        assert day.compare(*honest(3), taken, back) == []

    def test_what_was_said_to_be_given_back_and_was_not_differs(self, day):
        unbook(3, "closed")
        day_of.stray(3, amount_minor=6000)
        day.compare(*honest(3), payment(3, amount_minor=5999, fee_minor=0))
        assert found() == [("amount", ref("P", 3), 3), ("refund_unmatched", ref("B", 3), None)]

    def test_a_refund_of_another_amount_differs(self, day):
        give_back(3)
        theirs = refund(3, ref("F", 3), line_number=11, amount_minor=999)
        assert day.compare(*honest(), theirs) == [("amount", ref("F", 3), 11)]

    def test_a_refund_in_doubt_that_they_made_is_asked_about(self, day):
        made = give_back(3, state="unknown")
        theirs = refund(3, made.reference, line_number=11, amount_minor=1000)
        assert day.compare(*honest(), theirs) == [("status", made.reference, 11)]
        made.refresh_from_db()
        assert (made.state, made.act_at) == ("unknown", day.at)  # asked, not believed

    def test_a_refund_that_they_say_has_failed_is_asked_about_and_no_missing_one(self, day):
        made = give_back(3)
        theirs = refund(3, made.reference, line_number=11, amount_minor=1000,
                        kind=StatementKind.REFUND_FAILED)  # fmt: skip
        assert day.compare(*honest(), theirs) == [("status", made.reference, 11)]
        one = Difference.objects.get()
        assert (one.line_kind, one.our_state, about(one)) == ("refund", "booked", ref("G", 3))
        assert not Transfer.objects.filter(kind="fee_returned").exists()

    def test_a_refund_that_failed_in_both_books_is_no_difference(self, day):
        made = give_back(3, state="refused")
        theirs = refund(3, made.reference, line_number=11, amount_minor=1000,
                        kind=StatementKind.REFUND_FAILED)  # fmt: skip
        assert day.compare(*honest(), theirs) == []

    def test_a_failed_refund_that_we_never_made_is_on_one_side_only(self, day):
        theirs = refund(3, ref("F", 9), line_number=11, amount_minor=1000,
                        kind=StatementKind.REFUND_FAILED)  # fmt: skip
        assert day.compare(*honest(), theirs) == [("refund_unmatched", ref("F", 9), 11)]
        assert about(Difference.objects.get()) == ref("G", 3)

    def test_a_dispute_that_the_rail_told_of_is_no_difference(self, day):
        InboundNotificationFactory.create(kind="dispute", our_ref=ref("P", 3), received_at=day.at)
        lost = payment(3, line_number=11, kind=StatementKind.DISPUTE)
        won = payment(3, line_number=12, kind=StatementKind.DISPUTE_WON)
        assert day.compare(*honest(), lost, won) == []

    def test_money_that_comes_back_after_a_dispute_was_booked_as_lost_is_a_difference(self, day):
        InboundNotificationFactory.create(kind="dispute", our_ref=ref("P", 3), received_at=day.at)
        day_of.lose(3)
        lost = payment(3, line_number=11, kind=StatementKind.DISPUTE)
        assert day.compare(*honest(), lost) == []
        won = payment(3, line_number=12, kind=StatementKind.DISPUTE_WON)
        statements.ask_again(statement=Statement.objects.get(), at=day.at)
        assert day.compare(*honest(), lost, won) == [("dispute", ref("P", 3), 12)]

    def test_a_fee_of_the_rail_itself_is_in_the_totals_alone(self, day):
        own = payment(11, our_ref="", kind=StatementKind.FEE, amount_minor=800, fee_minor=0)
        assert day.compare(*honest(), own) == []
        totals = {one["kind"]: one["amount_minor"] for one in Statement.objects.get().totals}
        assert totals == {"payment": 50_000, "fee": 800}


class TestMoneyThatTheStatementProves:
    def test_wakes_the_recharge_and_moves_nothing_by_itself(self, day):
        unbook(3, "unknown")
        assert day.compare(*honest()) == [("status", ref("P", 3), 3)]
        recharge = Recharge.objects.get(ref=ref("G", 3))
        # Its next question is due now; its state is for the rail's own answer to change.
        assert (recharge.state, recharge.act_at) == ("payment_unknown", day.at)
        assert not Transfer.objects.filter(recharge=recharge).exists()
        assert Statement.objects.get().next_try_at == day.at + timedelta(minutes=15)

    def test_is_no_difference_any_more_once_it_is_booked(self, day):
        unbook(3, "unknown")
        day.compare(*honest())
        recharge = Recharge.objects.get(ref=ref("G", 3))
        TransferFactory.create(recharge=recharge, reference=ref("P", 3), at=day.at)
        assert day.again() == []


LARGE = 100_000
EACH = 20_000  # rows from one set of planted differences to the next: five of each kind

PLANTED: dict[int, Callable[[int], list[Any]]] = {
    1: lambda n: [],
    2: lambda n: [payment(n, our_ref=f"STRANGER{n}", provider_ref="")],
    3: lambda n: [payment(n, amount_minor=4999)],
    4: lambda n: [payment(n, currency="HKD")],
    5: lambda n: [payment(n, fee_minor=29)],
    7: lambda n: [payment(n), payment(n, provider_ref="twice")],
    8: lambda n: [payment(n), refund(n, f"F{n}")],
    9: lambda n: [payment(n), payment(n, kind=StatementKind.DISPUTE)],
    10: lambda n: [payment(n), day_of.unreadable(LARGE + n)],
}


def planted() -> Iterator[Any]:
    """A statement of 100,000 rows, each made as it is read."""
    for number in range(1, LARGE + 1):
        lie = PLANTED.get(number % EACH)
        yield from lie(number) if lie else (payment(number),)


def expected() -> Counter[tuple[str, str, int | None]]:
    found_ones: Counter[tuple[str, str, int | None]] = Counter()
    for base in range(0, LARGE, EACH):
        found_ones.update(
            [
                ("missing_theirs", ref("P", base + 1), None),
                ("missing_theirs", ref("P", base + 2), None),
                ("missing_ours", f"STRANGER{base + 2}", base + 2),
                ("amount", ref("P", base + 3), base + 3),
                ("currency", ref("P", base + 4), base + 4),
                ("fee", ref("P", base + 5), base + 5),
                ("status", ref("P", base + 6), base + 6),
                ("duplicate", ref("P", base + 7), base + 7),
                ("refund_unmatched", f"F{base + 8}", base + 8),
                ("dispute", ref("P", base + 9), base + 9),
                ("unreadable", "", LARGE + base + 10),
            ]
        )
    return found_ones


class TestAHundredThousandRows:
    def test_show_every_planted_difference_and_nothing_else_in_flat_memory(self, scene, capsys):
        day_of.book(LARGE)
        Rail.objects.update(fee_rate_ppm=6000)
        for base in range(0, LARGE, EACH):
            unbook(base + 6, "declined")
        scene.rail.days[DAY] = planted
        seen: list[int] = []
        held_bytes: list[int] = []
        process = psutil.Process()

        def watch(progress):
            seen.append(progress.rows_read)
            held_bytes.append(process.memory_info().rss)

        started = time.monotonic()

        days.run_one(
            source=scene.source(),
            day=DAY,
            clock=lambda: scene.at,
            watch=watch,
        )

        took_s = time.monotonic() - started
        grown = max(held_bytes) - held_bytes[1]
        with capsys.disabled():
            print(f"\n{LARGE / took_s * 60:,.0f} rows a minute, grown {grown / 2**20:.1f} MiB")  # noqa: T201
        assert Counter(found()) == expected()
        # A chunk at a time: ninety thousand rows that were kept would be several times as much.
        assert grown < 16 * 2**20
        assert seen == [*range(5000, LARGE + 1, 5000), LARGE + 15]
        assert Statement.objects.get().rows_read == LARGE + 15
        connection.cursor().execute("ANALYZE")
        w.assert_balanced()


class TestWhatIsKeptOfARow:
    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("138 0013 8000 paid", "…8000 paid"),
            ("card 4242-4242-4242-4242,", "card …4242,"),
            ("mail li.lei@example.com.", "mail …@example.com."),
            ("fee 123456 stays", "fee 123456 stays"),
            ("nul \x00 byte", "nul \ufffd byte"),
        ],
    )
    def test_names_nobody(self, text, kept):
        assert sources.masked(text) == kept

    def test_is_never_long(self):
        assert len(sources.masked("a" * 10_000)) == 200

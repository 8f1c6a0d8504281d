"""Credits taken back, and the operator's own books of both."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lines.carriers.base import (
    CarrierStatementRow,
    Reversed,
    StatementUnavailable,
    Unknown,
    UnreadableRow,
)
from tests.carriers.adapters import adapter_for, credit_of
from tests.carriers.simulators import start_tmf654


class TestReverse:
    @pytest.fixture
    def credited(self, adapter, alice):
        return adapter.credit(request=credit_of(alice)).outcome

    def test_takes_the_credit_back_under_its_own_reference(self, carrier, adapter, alice, credited):
        request = credit_of(alice)

        outcome = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome

        assert isinstance(outcome, Reversed)
        assert carrier.moved(request.reference) == [("reversal", 5000)]
        assert carrier.line(alice)["balance_minor"] == 1234

    def test_repeated_takes_nothing_twice(self, carrier, adapter, alice, credited):
        request = credit_of(alice)
        first = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome

        again = adapter.reverse(request=request, carrier_ref=credited.carrier_ref)

        assert again.outcome == first
        assert [exchange.kind for exchange in again.exchanges] == ["GET /adjustBalance"]
        assert carrier.moved(request.reference) == [("reversal", 5000)]

    def test_whose_answer_was_lost_is_found_by_the_repeat(self, carrier, adapter, alice, credited):
        request = credit_of(alice)
        carrier.fault("lose_after", "POST /adjustBalance")

        lost = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome
        assert isinstance(lost, Unknown)
        found = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome

        assert isinstance(found, Reversed)
        assert carrier.moved(request.reference) == [("reversal", 5000)]

    def test_that_the_carrier_calls_another_line_s_is_unknown_and_sends_nothing(
        self, carrier, adapter, alice, credited
    ):
        request = credit_of(alice)
        adapter.reverse(request=request, carrier_ref=credited.carrier_ref)
        carrier.fault("wrong_line", "GET /adjustBalance")

        again = adapter.reverse(request=request, carrier_ref=credited.carrier_ref)

        assert again.outcome == Unknown("the answer is about another line")
        assert carrier.moved(request.reference) == [("reversal", 5000)]

    def test_asks_before_it_sends_and_sends_nothing_when_it_cannot_ask(
        self, carrier, adapter, alice, credited
    ):
        request = credit_of(alice)
        carrier.fault("error_before", "GET /adjustBalance")

        outcome = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome

        assert outcome == Unknown("status 500")
        assert carrier.moved(request.reference) == []

    def test_of_money_that_is_used_up_is_rejected(self, carrier, adapter, alice, credited):
        carrier.change_line(alice, balance_minor=4999)
        request = credit_of(alice)

        outcome = adapter.reverse(request=request, carrier_ref=credited.carrier_ref).outcome

        assert (outcome.code, outcome.is_permanent) == ("insufficientBalance", False)
        assert carrier.moved(request.reference) == []

    def test_on_a_suspended_line_still_works(self, carrier, adapter, alice, credited):
        carrier.change_line(alice, status="suspended")

        outcome = adapter.reverse(
            request=credit_of(alice), carrier_ref=credited.carrier_ref
        ).outcome

        assert isinstance(outcome, Reversed)

    def test_of_another_amount_than_asked_is_unknown(self, carrier, adapter, alice, credited):
        carrier.fault("wrong_amount", "POST /adjustBalance")

        outcome = adapter.reverse(
            request=credit_of(alice), carrier_ref=credited.carrier_ref
        ).outcome

        assert outcome == Unknown("the carrier took back another amount")

    def test_where_the_carrier_cannot_be_asked_is_sent_once(self, carrier, alice, credited):
        adapter = adapter_for(carrier, can_filter_by_reference=False)
        request = credit_of(alice)

        answer = adapter.reverse(request=request, carrier_ref=credited.carrier_ref)

        assert isinstance(answer.outcome, Reversed)
        assert carrier.moved(request.reference) == [("reversal", 5000)]


class TestStatement:
    """On a carrier of its own: a statement shows everybody's rows."""

    @pytest.fixture
    def books(self, tmp_path):
        with start_tmf654(tmp_path) as simulator:
            yield simulator

    def today(self) -> date:
        return datetime.now(UTC).date()

    def test_lists_credits_and_reversals_of_the_day(self, books):
        adapter, alice = adapter_for(books), books.add_line()
        requests_ = [credit_of(alice, amount) for amount in (5000, 3000)]
        orders = [adapter.credit(request=request).outcome for request in requests_]
        back = credit_of(alice, 3000)
        taken = adapter.reverse(request=back, carrier_ref=orders[1].carrier_ref).outcome
        books.reverse(orders[0].carrier_ref)

        rows = list(adapter.statement(day=self.today()))

        assert [replace(row, at=None, names=()) for row in rows] == [
            CarrierStatementRow(
                1, "credit", requests_[0].reference, orders[0].carrier_ref, 5000, "CNY", None
            ),
            CarrierStatementRow(
                2, "credit", requests_[1].reference, orders[1].carrier_ref, 3000, "CNY", None
            ),
            CarrierStatementRow(
                3, "reversal", back.reference, taken.carrier_ref, 3000, "CNY", None
            ),
            CarrierStatementRow(
                4, "reversal", requests_[0].reference, orders[0].carrier_ref, 5000, "CNY", None
            ),
        ]
        assert {row.names for row in rows} == {(alice.msisdn,)}
        assert all(row.at.date() == self.today() for row in rows)

    def test_of_another_day_is_empty(self, books):
        adapter = adapter_for(books)
        adapter.credit(request=credit_of(books.add_line()))

        assert list(adapter.statement(day=self.today() - timedelta(days=1))) == []
        assert list(adapter.statement(day=self.today() + timedelta(days=1))) == []

    def test_cuts_the_day_in_the_carrier_s_time_zone(self, books):
        shanghai = adapter_for(books, time_zone=ZoneInfo("Asia/Shanghai"))
        # 2026-11-20 23:30 and 2026-11-21 00:30 in Shanghai, both the 20th in UTC.
        for at in ("2026-11-20T15:30:00+00:00", "2026-11-20T16:30:00+00:00"):
            books.falsify(add={"amount_minor": 5000, "at": at, "reference": at})

        rows = list(shanghai.statement(day=date(2026, 11, 21)))

        assert [row.our_ref for row in rows] == ["2026-11-20T16:30:00+00:00"]
        assert len(list(adapter_for(books).statement(day=date(2026, 11, 20)))) == 2

    def test_drops_other_days_where_the_carrier_ignores_the_filter(self, books):
        adapter = adapter_for(books)
        adapter.credit(request=credit_of(books.add_line()))
        books.fault("ignore_filter", "GET /balanceActionHistory")

        assert list(adapter.statement(day=self.today() - timedelta(days=1))) == []

    def test_shows_planted_differences(self, books):
        adapter, alice = adapter_for(books), books.add_line()
        hidden, changed = credit_of(alice), credit_of(alice)
        for request in (hidden, changed):
            adapter.credit(request=request)
        books.falsify(hide=hidden.reference)
        books.falsify(change=changed.reference, amount_minor=4999)
        books.falsify(add={"amount_minor": 700, "reference": "nobody's"})

        rows = [(row.our_ref, row.amount_minor) for row in adapter.statement(day=self.today())]

        assert rows == [(changed.reference, 4999), ("nobody's", 700)]
        assert [entry["amount_minor"] for entry in books.journal()] == [5000, 5000]

    def test_reports_a_row_that_cannot_be_read_and_goes_on(self, books):
        adapter, alice = adapter_for(books), books.add_line()
        request = credit_of(alice)
        credited = adapter.credit(request=request).outcome
        books.fault("text_amount", "GET /balanceActionHistory")

        assert list(adapter.statement(day=self.today())) == [
            UnreadableRow(
                1,
                "the order's amount is not a number",
                request.reference,
                credited.carrier_ref,
            )
        ]

    def test_calls_another_currency_by_its_name(self, books):
        adapter = adapter_for(books)
        adapter.credit(request=credit_of(books.add_line()))
        books.fault("wrong_currency", "GET /balanceActionHistory")

        (row,) = adapter.statement(day=self.today())

        assert (row.kind, row.amount_minor, row.currency) == ("credit", 5000, "XTS")

    def test_of_which_the_carrier_counts_more_rows_than_it_sends_is_not_whole(self, books):
        adapter = adapter_for(books)
        adapter.credit(request=credit_of(books.add_line()))
        books.fault("one_too_many", "GET /balanceActionHistory", times=2)

        with pytest.raises(StatementUnavailable, match="counts 2 rows and sent 1"):
            list(adapter.statement(day=self.today()))

    def test_is_read_to_its_end_however_many_pages_it_has(self, books):
        for number in range(1203):
            books.falsify(add={"amount_minor": number + 1, "reference": f"R{number}"})

        rows = list(adapter_for(books).statement(day=self.today()))

        assert [row.amount_minor for row in rows] == list(range(1, 1204))
        assert [row.line_number for row in rows] == list(range(1, 1204))

    @pytest.mark.parametrize("fault", ["error_before", "not_json", "lose_after", "null"])
    def test_that_breaks_off_says_so(self, books, fault):
        adapter = adapter_for(books)
        adapter.credit(request=credit_of(books.add_line()))
        books.fault(fault, "GET /balanceActionHistory")

        with pytest.raises(StatementUnavailable):
            list(adapter.statement(day=self.today()))

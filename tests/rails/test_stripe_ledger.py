"""Refunds, and Stripe's own books of a day."""

from datetime import timedelta

import pytest
import stripe

from billing.gateways.base import (
    NotFound,
    Pending,
    Refused,
    StatementKind,
    StatementNotReady,
    StatementRow,
    Succeeded,
    Unknown,
    UnreadableRow,
)
from billing.gateways.stripe import statement
from billing.gateways.stripe.orders import CHARGE_KEY, REFUND_KEY
from tests.rails.contract import new_ref
from tests.rails.stripe_world import REFUND, charge_of, gateway_of, refund_of
from tests.rails.test_vendor_lists import listed

pytestmark = pytest.mark.processes
DAY_S = 24 * 3600


@pytest.fixture
def gateway(stripe_sim):
    return gateway_of(stripe_sim)


def charged(gateway, stripe_sim, **changes):
    request = charge_of(stripe_sim.bind(new_ref("B")), **changes)
    outcome = gateway.charge(request=request).outcome
    assert isinstance(outcome, Succeeded)
    return request, outcome.provider_ref


class TestARefund:
    @pytest.mark.parametrize(
        "kind", ["lose_after", "http_500_saved", "garbage", "half", "http_500"]
    )
    def test_whose_answer_is_unusable_is_unknown_and_then_given_once(
        self, stripe_sim, gateway, kind
    ):
        charge, number = charged(gateway, stripe_sim)
        request = refund_of(charge, 2000, provider_charge_ref=number)
        stripe_sim.fault(REFUND, kind, committed=True)
        assert isinstance(gateway.refund(request=request).outcome, Unknown)
        given = gateway.refund(request=request).outcome
        assert isinstance(given, Succeeded)
        assert stripe_sim.refunds()[request.refund_ref] == 2000

    def test_sent_again_after_days_gives_nothing_more(self, stripe_sim, gateway):
        charge, number = charged(gateway, stripe_sim)
        request = refund_of(charge, 2000, provider_charge_ref=number)
        for _ in range(3):
            assert isinstance(gateway.refund(request=request).outcome, Succeeded)
            stripe_sim.advance(2 * DAY_S)
        assert stripe_sim.refunds()[request.refund_ref] == 2000

    def test_beyond_what_is_left_is_refused_by_stripe_too(self, stripe_sim, gateway):
        charge, _ = charged(gateway, stripe_sim)
        first, second = refund_of(charge, 4000), refund_of(charge, 1001)
        assert isinstance(gateway.refund(request=first).outcome, Succeeded)
        refused = gateway.refund(request=second).outcome
        assert isinstance(refused, Refused)
        given = stripe_sim.refunds()
        assert (given[first.refund_ref], given.get(second.refund_ref)) == (4000, None)

    def test_of_a_charge_nobody_made_is_unknown_and_gives_nothing(self, stripe_sim, gateway):
        charge = charge_of("cus_1/pm_1")
        request = refund_of(charge, 2000)
        assert isinstance(gateway.refund(request=request).outcome, Unknown)
        asked = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=request.charge_ref)
        assert asked.outcome == NotFound()
        assert request.refund_ref not in stripe_sim.refunds()

    def test_that_waits_is_pending_and_then_what_it_becomes(self, stripe_sim, gateway):
        stripe_sim.set(refund_status="pending")
        charge, _ = charged(gateway, stripe_sim)
        request = refund_of(charge, 2000)
        pending = gateway.refund(request=request).outcome
        assert isinstance(pending, Pending)
        stripe_sim.control("POST", f"refunds/{pending.provider_ref}", {"status": "failed"})
        failed = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert failed.outcome == Refused("expired_or_canceled_card")
        stripe_sim.control("POST", f"refunds/{pending.provider_ref}", {"status": "succeeded"})
        done = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert isinstance(done.outcome, Succeeded)

    def test_while_asking_is_unknown_on_any_fault(self, stripe_sim, gateway):
        charge, _ = charged(gateway, stripe_sim)
        for kind in ("unauthorized", "rate_limit", "garbage", "http_500", "lose_before"):
            stripe_sim.fault("refunds.list", kind)
            asked = gateway.query_refund(refund_ref=new_ref("F"), charge_ref=charge.reference)
            assert isinstance(asked.outcome, Unknown), kind


def row_of(**more):
    """What the reader makes of one balance transaction, sources expanded."""
    refund = {
        "id": "re_1", "object": "refund", "amount": 2000, "currency": "cny",
        "payment_intent": "pi_1", "metadata": {CHARGE_KEY: "C1", REFUND_KEY: "F1"},
    }  # fmt: skip
    booked = {
        "id": "txn_1", "object": "balance_transaction", "amount": 2000, "fee": 0,
        "currency": "cny", "created": 1764547200, "type": "refund_failure",
        "reporting_category": "refund_failure", "source": refund,
    }  # fmt: skip
    return list(statement._of_one(7, booked | more))


class TestATransaction:
    def test_of_a_refund_that_failed_is_known_by_type_or_category(self):
        by_type, by_category = row_of(), row_of(type="adjustment")
        assert by_type == by_category
        (row,) = by_type
        assert (row.kind, row.our_ref, row.refund_ref) == (StatementKind.REFUND_BACK, "C1", "F1")
        assert (row.amount_minor, row.fee_minor, row.currency) == (2000, 0, "CNY")

    def test_between_stripe_and_the_merchant_is_no_row(self):
        kinds = ("reserve_transaction", "reserved_funds", "reserve_hold", "reserve_release",
                 "payment_network_reserve_hold", "payment_network_reserve_release", "contribution",
                 "advance", "payout_failure", "transfer_refund")  # fmt: skip
        assert [row_of(type=kind, reporting_category=kind, source=None) for kind in kinds] == (
            [[]] * len(kinds)
        )
        held = row_of(type="adjustment", reporting_category="risk_reserved_funds", source=None)
        assert held == []

    def test_of_a_fee_keeps_its_sign(self):
        fees = {
            "stripe_fee": ("fee", -120, 120),
            "stripe_fx_fee": ("fee", -7, 7),
            "tax_fee": ("tax", -3, 3),
            "adjustment": ("fee", 50, -50),
        }
        for kind, (category, amount, fee_minor) in fees.items():
            (row,) = row_of(type=kind, reporting_category=category, amount=amount, source=None)
            assert (row.kind, row.amount_minor) == (StatementKind.FEE, fee_minor), kind
        (taken,) = row_of(type="refund", reporting_category="refund", amount=-2000, fee=15)
        assert (taken.kind, taken.fee_minor) == (StatementKind.REFUND, 15)

    def test_that_cannot_be_read_says_whose_it_is(self):
        (row,) = row_of(amount=None)
        assert isinstance(row, UnreadableRow)
        assert (row.our_ref, row.provider_ref, row.refund_ref) == ("C1", "pi_1", "F1")

    def test_is_of_one_of_the_sdks_types_and_each_is_known_or_left_to_a_person(self):
        unread = {
            kind
            for kind in listed(stripe.BalanceTransaction, "type")
            if [type(one) for one in row_of(type=kind, reporting_category="")] == [UnreadableRow]
        }
        # Of platforms, issuers and debits that are not taken here.
        assert unread == {
            "adjustment", "application_fee", "application_fee_refund",
            "connect_collection_transfer", "issuing_authorization_hold",
            "issuing_authorization_release", "issuing_dispute",
            "issuing_dispute_provisional_credit", "issuing_dispute_provisional_credit_reversal",
            "issuing_transaction",
            "obligation_outbound", "obligation_reversal_inbound", "payment_reversal",
            "payment_unreconciled",
        }  # fmt: skip


class TestAStatement:
    @pytest.fixture
    def books(self, stripe_sim):
        """The module's Stripe, on a day on which nothing has happened yet."""
        stripe_sim.advance(2 * DAY_S)
        return stripe_sim

    def rows(self, gateway, books, day):
        books.advance(2 * DAY_S)
        return list(gateway.statement(day=day))

    def test_has_charges_refunds_and_disputes_with_their_fees(self, books):
        gateway, day = gateway_of(books), books.now().date()
        kept, kept_number = charged(gateway, books)
        lost, lost_number = charged(gateway, books, amount_minor=9900)
        refund = refund_of(kept, 2000)
        gateway.refund(request=refund)
        books.control("POST", "disputes", {"reference": lost.reference})
        rows = self.rows(gateway, books, day)
        told = {
            (row.kind, row.our_ref or row.provider_ref, row.amount_minor, row.fee_minor)
            for row in rows
        }
        # 3.4 % and 2.35 a charge; 15.00 a dispute.
        assert told == {
            (StatementKind.PAYMENT, kept.reference, 5000, 405),
            (StatementKind.PAYMENT, lost.reference, 9900, 571),
            (StatementKind.REFUND, kept.reference, 2000, 0),
            (StatementKind.DISPUTE, lost_number, 9900, 1500),
        }
        assert {row.refund_ref for row in rows} == {"", refund.refund_ref}
        assert {row.provider_ref for row in rows} == {kept_number, lost_number}

    def test_has_a_refund_that_failed_after_it_had_succeeded(self, books):
        gateway, day = gateway_of(books), books.now().date()
        charge, number = charged(gateway, books)
        request = refund_of(charge, 2000)
        given = gateway.refund(request=request).outcome
        assert isinstance(given, Succeeded)
        books.control("POST", f"refunds/{given.provider_ref}", {"status": "failed"})
        [back] = [
            row for row in self.rows(gateway, books, day) if row.kind is StatementKind.REFUND_BACK
        ]
        assert (back.refund_ref, back.our_ref, back.provider_ref, back.amount_minor) == (
            request.refund_ref,
            charge.reference,
            number,
            2000,
        )
        asked = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert asked.outcome == Refused("expired_or_canceled_card")

    def test_names_each_dispute_by_its_number(self, books):
        gateway, day = gateway_of(books), books.now().date()
        charge, _ = charged(gateway, books)
        dispute = books.control("POST", "disputes", {"reference": charge.reference})
        books.control("POST", f"disputes/{dispute['id']}", {"status": "won"})
        told = {row.kind: row.dispute_ref for row in self.rows(gateway, books, day)}
        assert told == {
            StatementKind.PAYMENT: "",
            StatementKind.DISPUTE: dispute["id"],
            StatementKind.DISPUTE_WON: dispute["id"],
        }

    def test_has_money_that_was_won_back(self, books):
        gateway, day = gateway_of(books), books.now().date()
        charge, _ = charged(gateway, books)
        dispute = books.control("POST", "disputes", {"reference": charge.reference})
        books.control("POST", f"disputes/{dispute['id']}", {"status": "won"})
        kinds = [row.kind for row in self.rows(gateway, books, day)]
        assert kinds == [
            StatementKind.DISPUTE_WON,
            StatementKind.DISPUTE,
            StatementKind.PAYMENT,
        ]

    def test_speaks_of_what_the_payer_paid_where_the_account_settles_otherwise(self, books):
        books.set(settlement_currency="hkd")
        gateway, day = gateway_of(books), books.now().date()
        charge, _ = charged(gateway, books)
        payment, fee = self.rows(gateway, books, day)
        assert isinstance(payment, StatementRow)
        assert (payment.kind, payment.our_ref) == (StatementKind.PAYMENT, charge.reference)
        assert (payment.amount_minor, payment.currency, payment.fee_minor) == (5000, "CNY", 0)
        # 5000 at 109 %: 5450, of it 3.4 % and 2.35.
        assert (fee.kind, fee.amount_minor, fee.currency) == (StatementKind.FEE, 420, "HKD")
        assert fee.our_ref == charge.reference

    def test_is_of_one_utc_day_and_reads_page_after_page(self, books):
        gateway, day = gateway_of(books), books.now().date()
        card = books.bind(new_ref("B"))
        charges = [charge_of(card) for _ in range(105)]
        for request in charges:
            assert isinstance(gateway.charge(request=request).outcome, Succeeded)
        books.advance(DAY_S)
        charged(gateway, books)  # of the next day
        books.advance(DAY_S)
        told = [getattr(row, "our_ref", "unreadable") for row in gateway.statement(day=day)]
        assert sorted(told) == sorted(request.reference for request in charges)
        assert list(gateway.statement(day=day - timedelta(days=1))) == []

    def test_is_not_ready_before_its_day_is_over(self, books):
        gateway, day = gateway_of(books), books.now().date()
        with pytest.raises(StatementNotReady, match="not over"):
            gateway.statement(day=day)

    @pytest.mark.parametrize("kind", ["lose_before", "http_500", "garbage", "half", "rate_limit"])
    def test_that_does_not_arrive_whole_is_not_ready_before_its_first_row(self, books, kind):
        gateway, day = gateway_of(books), books.now().date()
        charged(gateway, books)
        books.advance(2 * DAY_S)
        books.fault("balance_transactions.list", kind)
        with pytest.raises(StatementNotReady, match="did not arrive"):
            gateway.statement(day=day)
        assert len(list(gateway.statement(day=day))) == 1

    def test_that_lies_is_read_as_it_lies(self, books):
        gateway, day = gateway_of(books), books.now().date()
        gone, _ = charged(gateway, books)
        other, _ = charged(gateway, books)
        books.control("POST", "statement", {"kind": "missing", "reference": gone.reference})
        books.control(
            "POST", "statement",
            {"kind": "amount", "reference": other.reference, "amount_minor": 4999},
        )  # fmt: skip
        books.control(
            "POST", "statement", {"kind": "extra", "reference": "R9", "amount_minor": 700}
        )
        rows = self.rows(gateway, books, day)
        assert [(row.our_ref, row.amount_minor) for row in rows] == [
            ("R9", 700),
            (other.reference, 4999),
        ]

"""Lost, late, broken and contradictory answers: unknown, asked about, and never sent again.

The operator's own journal says what really moved.
"""

import re

import pytest
from ulid import ULID

from lines.carriers.base import (
    Accepted,
    Credited,
    NotFound,
    Rejected,
    Reversed,
    Unknown,
)
from lines.carriers.tmf654 import Tmf654Carrier
from tests.carriers.adapters import (
    IMPATIENT_S,
    NOBODY,
    TIMEOUT_S,
    adapter_for,
    credit_of,
    wait_until,
)
from tests.carriers.simulators import TOKEN, start_tmf654

# The fault, and whether the line has the money all the same.
DOUBTS = {
    "lose_before": False,
    "lose_after": True,
    "error_before": False,
    "error_after": True,
    "truncated": True,
    "not_json": True,
    "empty": True,
    "null": True,
    "deep": True,
    "not_a_number": True,
    "proxy_404": False,
    "gateway_404": False,
    "redirect": True,
    "no_amount": True,
    "text_amount": True,
    "fraction": True,
    "huge_amount": True,
    "wrong_currency": True,
    "wrong_status": True,
    "wrong_reference": True,
    "wrong_line": True,
    "no_id": True,
}


class TestDoubt:
    @pytest.mark.parametrize(("fault", "is_credited"), DOUBTS.items(), ids=DOUBTS)
    def test_is_unknown_and_the_question_by_reference_settles_it(
        self, carrier, adapter, alice, fault, is_credited
    ):
        request = credit_of(alice)
        carrier.fault(fault, "POST /topupBalance")

        answer = adapter.credit(request=request)

        assert isinstance(answer.outcome, Unknown)
        assert answer.exchanges[-1].kind == "POST /topupBalance"
        assert answer.exchanges[-1].error == answer.outcome.reason
        # Nothing was sent twice: not by a retry, not by following the redirect.
        assert carrier.moved(request.reference) == [("credit", 5000)] * is_credited
        settled = adapter.query(address=request.address, reference=request.reference).outcome
        assert isinstance(settled, Credited if is_credited else NotFound)

    @pytest.mark.parametrize("fault", ["wrong_date", "no_date"])
    def test_is_none_where_only_the_date_beside_a_completed_top_up_is_odd(
        self, carrier, adapter, alice, fault
    ):
        request = credit_of(alice)
        carrier.fault(fault, "POST /topupBalance")

        outcome = adapter.credit(request=request).outcome

        assert (type(outcome), outcome.credited_minor, outcome.at) == (Credited, 5000, None)
        assert carrier.moved(request.reference) == [("credit", 5000)]

    @pytest.mark.parametrize("fault", ["slow", "slow_answer", "drip"])
    def test_of_a_slow_answer_ends_at_the_deadline(self, carrier, adapter, alice, fault):
        request = credit_of(alice)
        impatient = adapter_for(carrier, timeout_s=IMPATIENT_S)
        delay_s = 0.05 if fault == "drip" else 2
        carrier.fault(fault, "POST /topupBalance", delay_s=delay_s)

        assert impatient.credit(request=request).outcome == Unknown("timeout")
        wait_until(lambda: carrier.moved(request.reference) == [("credit", 5000)])
        assert isinstance(
            adapter.query(address=request.address, reference=request.reference).outcome, Credited
        )

    def test_of_a_late_effect_first_finds_nothing_and_then_the_credit(
        self, carrier, adapter, alice
    ):
        request = credit_of(alice)
        carrier.fault("late", "POST /topupBalance", delay_s=2)
        assert isinstance(adapter.credit(request=request).outcome, Unknown)

        assert (
            adapter.query(address=request.address, reference=request.reference).outcome
            == NotFound()
        )
        wait_until(lambda: carrier.moved(request.reference) == [("credit", 5000)])
        assert isinstance(
            adapter.query(address=request.address, reference=request.reference).outcome, Credited
        )

    @pytest.mark.parametrize("fault", ["lose_after", "error_before", "not_json", "wrong_line"])
    def test_about_where_the_money_goes_sends_none(self, carrier, adapter, alice, fault):
        request = credit_of(alice)
        carrier.fault(fault, "GET /bucket")

        answer = adapter.credit(request=request)

        assert answer.outcome.reason.startswith("nothing was sent: ")
        assert [exchange.kind for exchange in answer.exchanges] == ["GET /bucket"]
        assert carrier.moved(request.reference) == []

    def test_when_nobody_listens_is_unknown_too(self, alice):
        nobody = Tmf654Carrier("http://127.0.0.1:9", TOKEN, TIMEOUT_S, "CNY")

        answer = nobody.credit(request=credit_of(alice))

        assert answer.outcome == Unknown("nothing was sent: no answer: ConnectionError")
        assert nobody.balance(address=alice).outcome == Unknown("no answer: ConnectionError")

    def test_of_the_amount_is_the_caller_s_to_judge(self, carrier, adapter, alice):
        """The carrier's own figure is handed on, so that the books show the difference."""
        carrier.fault("wrong_amount", "POST /topupBalance")

        assert adapter.credit(request=credit_of(alice)).outcome.credited_minor == 1


class TestQuery:
    @pytest.fixture
    def request_(self, alice):
        return credit_of(alice)

    def test_finds_a_credit_by_our_reference_and_by_the_carrier_s(self, carrier, adapter, request_):
        credited = adapter.credit(request=request_).outcome

        by_ours = adapter.query(address=request_.address, reference=request_.reference)
        by_theirs = adapter.query(
            address=request_.address, reference=request_.reference, carrier_ref=credited.carrier_ref
        )

        assert by_ours.outcome == by_theirs.outcome == credited
        assert by_ours.exchanges[0].request == f"description={request_.reference}"

    def test_of_what_was_never_sent_is_not_found(self, adapter):
        assert adapter.query(address=NOBODY, reference=str(ULID())).outcome == NotFound()

    def test_by_an_id_the_carrier_does_not_know_is_no_proof_of_anything(self, adapter):
        outcome = adapter.query(address=NOBODY, reference=str(ULID()), carrier_ref="TOP-0").outcome

        assert outcome == Unknown("refused: unknownOrder")

    @pytest.mark.parametrize("carrier_ref", ["../../../_control/journal", "..", "a b?c#d"])
    def test_cannot_be_led_to_another_place_by_an_id(self, adapter, carrier_ref):
        outcome = adapter.query(
            address=NOBODY, reference=str(ULID()), carrier_ref=carrier_ref
        ).outcome

        assert isinstance(outcome, Unknown)

    def test_of_an_accepted_top_up_follows_it_to_its_end(self, carrier, adapter, request_):
        carrier.end_topups(after_s=3)

        accepted = adapter.credit(request=request_).outcome

        assert isinstance(accepted, Accepted)
        assert (
            adapter.query(address=request_.address, reference=request_.reference).outcome
            == accepted
        )
        assert carrier.moved(request_.reference) == []
        wait_until(lambda: carrier.moved(request_.reference) == [("credit", 5000)])
        settled = adapter.query(
            address=request_.address,
            reference=request_.reference,
            carrier_ref=accepted.carrier_ref,
        ).outcome
        assert (settled.carrier_ref, settled.credited_minor) == (accepted.carrier_ref, 5000)

    @pytest.mark.parametrize(("end", "code"), [("failed", "failed"), ("cancelled", "cancelled")])
    def test_of_an_accepted_top_up_that_ends_in_nothing_is_rejected(
        self, carrier, adapter, request_, end, code
    ):
        carrier.end_topups(end, after_s=0.05)
        adapter.credit(request=request_)

        wait_until(
            lambda: isinstance(
                adapter.query(address=request_.address, reference=request_.reference).outcome,
                Rejected,
            )
        )

        outcome = adapter.query(address=request_.address, reference=request_.reference).outcome
        assert (outcome.code, outcome.is_permanent) == (code, False)
        assert carrier.moved(request_.reference) == []

    def test_of_a_number_that_left_meanwhile_is_rejected_for_good(
        self, carrier, adapter, alice, request_
    ):
        carrier.end_topups(after_s=2)
        adapter.credit(request=request_)
        carrier.change_line(alice, status="ported_out")

        wait_until(
            lambda: isinstance(
                adapter.query(address=request_.address, reference=request_.reference).outcome,
                Rejected,
            )
        )

        outcome = adapter.query(address=request_.address, reference=request_.reference).outcome
        assert (outcome.code, outcome.is_permanent) == ("linePortedOut", True)
        assert carrier.moved(request_.reference) == []

    def test_of_a_credit_taken_back_since_is_reversed(self, carrier, adapter, request_):
        credited = adapter.credit(request=request_).outcome
        carrier.reverse(credited.carrier_ref)

        assert adapter.query(
            address=request_.address, reference=request_.reference
        ).outcome == Reversed(credited.carrier_ref)
        assert carrier.moved(request_.reference) == [("credit", 5000), ("reversal", 5000)]

    def test_sees_the_credit_behind_an_earlier_failure_of_the_same_reference(
        self, carrier, adapter, request_
    ):
        carrier.end_topups("failed", after_s=0.01)
        adapter.credit(request=request_)
        wait_until(
            lambda: isinstance(
                adapter.query(address=request_.address, reference=request_.reference).outcome,
                Rejected,
            )
        )
        carrier.end_topups()

        credited = adapter.credit(request=request_).outcome

        assert (
            adapter.query(address=request_.address, reference=request_.reference).outcome
            == credited
        )

    def test_of_a_carrier_that_ignores_the_filter_is_unknown(self, carrier, adapter, request_):
        """Its first page not holding our order would prove nothing."""
        adapter.credit(request=request_)
        carrier.fault("ignore_filter", "GET /topupBalance", times=2)

        for reference in (request_.reference, str(ULID())):
            assert adapter.query(address=NOBODY, reference=reference).outcome == Unknown(
                "the carrier did not filter by our reference"
            )

    @pytest.mark.parametrize(
        "fault",
        [
            "lose_after",
            "error_after",
            "not_json",
            "proxy_404",
            "gateway_404",
            "no_reference",
            "null",
        ],
    )
    def test_unanswered_is_unknown_never_not_found(self, carrier, adapter, request_, fault):
        adapter.credit(request=request_)
        carrier.fault(fault, "GET /topupBalance")

        assert isinstance(
            adapter.query(address=request_.address, reference=request_.reference).outcome, Unknown
        )

    @pytest.mark.parametrize("call", ["GET /topupBalance", "GET /topupBalance/{id}"])
    def test_about_a_credit_of_another_number_is_unknown_whoever_asks(
        self, carrier, adapter, request_, call
    ):
        credited = adapter.credit(request=request_).outcome
        carrier.fault("wrong_line", call)

        answer = adapter.query(
            address=request_.address,
            reference=request_.reference,
            carrier_ref=credited.carrier_ref if "{" in call else "",
        )

        assert answer.outcome == Unknown("the answer is about another line")
        assert answer.exchanges[-1].error == "the answer is about another line"
        assert "13800009999" not in answer.exchanges[-1].response

    @pytest.mark.parametrize("fault", ["wrong_id", "wrong_reference", "proxy_404", "empty"])
    def test_by_id_of_a_contradictory_answer_is_unknown(self, carrier, adapter, request_, fault):
        credited = adapter.credit(request=request_).outcome
        carrier.fault(fault, "GET /topupBalance/{id}")

        answer = adapter.query(
            address=request_.address, reference=request_.reference, carrier_ref=credited.carrier_ref
        )

        assert isinstance(answer.outcome, Unknown)
        assert answer.exchanges[-1].error == answer.outcome.reason

    def test_cannot_ask_by_reference_where_the_carrier_cannot_filter(self, carrier, request_):
        adapter = adapter_for(carrier, can_filter_by_reference=False)
        credited = adapter.credit(request=request_).outcome

        assert not adapter.can_query_by_reference
        assert adapter.query(
            address=request_.address, reference=request_.reference
        ).outcome == Unknown("this carrier cannot be asked by our reference")
        assert (
            adapter.query(
                address=request_.address,
                reference=request_.reference,
                carrier_ref=credited.carrier_ref,
            ).outcome
            == credited
        )

    def test_uses_the_field_the_carrier_keeps_our_reference_in(self, tmp_path):
        with start_tmf654(tmp_path, "--reference-field", "externalId") as other:
            adapter = adapter_for(other, reference_field="externalId")
            request = credit_of(other.add_line())

            credited = adapter.credit(request=request).outcome

            assert other.moved(request.reference) == [("credit", 5000)]
            assert (
                adapter.query(address=request.address, reference=request.reference).outcome
                == credited
            )
            assert adapter.query(address=NOBODY, reference=str(ULID())).outcome == NotFound()


class TestEvidence:
    def test_never_holds_a_whole_number_a_card_or_the_token(self, carrier, adapter, alice):
        request = credit_of(alice)
        answers = [adapter.balance(address=alice), adapter.credit(request=request)]
        answers += [adapter.query(address=request.address, reference=request.reference)]
        for fault in ("lose_after", "not_json", "wrong_line", "proxy_404", "reject"):
            carrier.fault(fault, "POST /topupBalance")
            answers.append(adapter.credit(request=credit_of(alice)))
        answers.append(adapter.credit(request=credit_of(NOBODY)))
        answers.append(adapter.reverse(request=credit_of(alice), carrier_ref="TOP-1"))

        evidence = "".join(repr(answer) for answer in answers)

        assert alice.msisdn.removeprefix("+86") not in evidence
        assert alice.iccid not in evidence
        assert NOBODY.msisdn.removeprefix("+") not in evidence
        assert "13800009999" not in evidence  # another line's, which a wrong answer named
        assert TOKEN not in evidence
        assert not re.search(r"(?<![0-9A-Za-z])[0-9]{11,20}(?![0-9A-Za-z])", evidence)
        assert request.reference in evidence
        assert f"****{alice.msisdn[-4:]}" in evidence

    def test_tells_what_was_sent_and_what_came_back(self, adapter, alice):
        request = credit_of(alice)

        looked, sent = adapter.credit(request=request).exchanges

        assert (looked.kind, sent.kind) == ("GET /bucket", "POST /topupBalance")
        assert looked.reference == sent.reference == request.reference
        assert f'"description": "{request.reference}"' in sent.request
        assert '"amount": {"amount": 50.00, "units": "CNY"}' in sent.request
        assert sent.response.startswith("201 {")
        assert '"status":"completed"' in sent.response
        assert sent.error == ""

    def test_is_short_enough_to_store_whatever_was_answered(self, carrier, adapter, alice):
        carrier.fault("deep", "POST /topupBalance")

        for exchange in adapter.credit(request=credit_of(alice)).exchanges:
            assert len(exchange.response) < 4100
            assert len(exchange.kind) <= 60
            assert len(exchange.error) <= 200

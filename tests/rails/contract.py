"""What every payment rail's adapter must do, against its simulator over real HTTP.

A rail's test module defines a `rail` fixture (a `Rail`) and subclasses `RailContract`; what is
special to the rail it tests beside. The simulator's journal is the truth throughout: an outcome is
compared with what happened, not with what the adapter says happened.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.gateways.base import (
    ActionRequired,
    Answer,
    BadNotification,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    ChargeRequest,
    Closed,
    Gateway,
    NotFound,
    NotificationKind,
    Pending,
    RefundRequest,
    Refused,
    StatementKind,
    Succeeded,
    Unknown,
)

_numbers = itertools.count(1)


def new_ref(kind: str = "R") -> str:
    """A reference nobody used before."""
    return f"{kind}{next(_numbers):06d}{datetime.now(UTC):%H%M%S%f}"


@dataclass
class Rail:
    """A gateway and the levers of its simulator. Amounts are minor units."""

    gateway: Gateway
    currency: str
    notify_url: str
    sign: Callable[[str], str]  # binding_ref → provider_ref of an active binding
    revoke: Callable[[str], None]  # the payer ends the binding, by provider_ref
    charges: Callable[[], dict[str, int]]  # reference → what was really taken
    refunds: Callable[[], dict[str, int]]  # refund_ref → what was really given back
    lose_charge_answer: Callable[[bool], None]  # next charge; True: after it happened
    lose_refund_answer: Callable[[bool], None]
    decline_charge: Callable[[], str]  # next charge is declined; the code to expect
    spoil_charge_signature: Callable[[], None]  # next charge happens, its answer is not genuine
    received: Callable[[int], list[tuple[dict[str, str], bytes]]]  # wait for N notifications
    statement_day: Callable[[], Any]  # make today's statement fetchable; its day
    settle: Callable[[], None] = lambda: None  # let pending charges become final
    # On rails that accept a refund first, and make it a while later: let it be made.
    settle_refund: Callable[[], None] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)  # the simulator's time
    secrets: tuple[str, ...] = field(default_factory=tuple)  # never to be seen in evidence
    amount_minor: int = 5000

    def request(self, provider_ref: str, **changes: Any) -> ChargeRequest:
        values: dict[str, Any] = {
            "reference": new_ref(),
            "provider_binding_ref": provider_ref,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "description": "话费充值 ¥50/138",
            "notify_url": self.notify_url,
        }
        return ChargeRequest(**(values | changes))

    def settled(self, answer: Answer, reference: str) -> Answer:
        """The final answer, on rails whose normal one is `Pending` too."""
        if not isinstance(answer.outcome, Pending):
            return answer
        self.settle()
        return self.gateway.query(reference=reference)

    def refunded(self, request: RefundRequest) -> Answer:
        """The final answer to a refund."""
        answer = self.gateway.refund(request=request)
        if self.settle_refund is None or not isinstance(answer.outcome, Pending):
            return answer
        return self.refund_found(request)

    def refund_found(self, request: RefundRequest) -> Answer:
        """What the rail tells of a refund once it had its time."""
        if self.settle_refund is not None:
            self.settle_refund()
        return self.gateway.query_refund(
            refund_ref=request.refund_ref, charge_ref=request.charge_ref
        )

    def charged(self, provider_ref: str, **changes: Any) -> ChargeRequest:
        """A charge that succeeded."""
        request = self.request(provider_ref, **changes)
        answer = self.settled(self.gateway.charge(request=request), request.reference)
        assert isinstance(answer.outcome, Succeeded)
        return request

    def refund_request(self, charge: ChargeRequest, amount_minor: int) -> RefundRequest:
        return RefundRequest(
            refund_ref=new_ref("F"),
            charge_ref=charge.reference,
            provider_charge_ref="",
            amount_minor=amount_minor,
            charged_minor=charge.amount_minor,
            currency=self.currency,
            reason="充值未成功",
        )


class RailContract:
    """Subclass this with a `rail` fixture."""

    @pytest.fixture
    def bound(self, rail: Rail) -> str:
        return rail.sign(new_ref("B"))

    # --- bindings -----------------------------------------------------------------------------

    def test_a_signing_page_is_one_url_with_the_reference_kept_out_of_our_network(self, rail):
        request = BindingRequest(
            new_ref("B"), "https://keepline.example/back", rail.notify_url, "138****0000", 10_000
        )
        assert rail.gateway.start_binding(request=request).url.startswith(("http://", "https://"))

    def test_a_binding_nobody_signed_is_not_found(self, rail):
        answer = rail.gateway.get_binding(binding_ref=new_ref("B"), provider_ref="")
        assert answer.outcome == NotFound()

    def test_an_active_binding_is_told_the_same_by_either_reference(self, rail):
        binding_ref = new_ref("B")
        provider_ref = rail.sign(binding_ref)
        by_ours = rail.gateway.get_binding(binding_ref=binding_ref, provider_ref="").outcome
        by_theirs = rail.gateway.get_binding(
            binding_ref=binding_ref, provider_ref=provider_ref
        ).outcome
        assert isinstance(by_ours, BindingFacts)
        assert by_ours == by_theirs
        assert by_ours.status is BindingStatus.ACTIVE
        assert by_ours.provider_ref == provider_ref
        assert "*" in by_ours.label
        assert by_ours.fingerprint

    def test_the_same_payer_bound_twice_has_one_fingerprint(self, rail):
        first, second = (new_ref("B"), new_ref("B"))
        prints = set()
        for binding_ref in (first, second):
            rail.sign(binding_ref)
            facts = rail.gateway.get_binding(binding_ref=binding_ref, provider_ref="").outcome
            assert isinstance(facts, BindingFacts)
            prints.add(facts.fingerprint)
        assert len(prints) == 1

    def test_revoking_twice_is_revoked_twice(self, rail, bound):
        for _ in range(2):
            answer = rail.gateway.revoke_binding(binding_ref="", provider_ref=bound)
            assert isinstance(answer.outcome, BindingFacts)
            assert answer.outcome.status is BindingStatus.REVOKED

    def test_a_binding_ended_by_the_payer_is_revoked_and_cannot_be_charged(self, rail, bound):
        rail.revoke(bound)
        facts = rail.gateway.get_binding(binding_ref="", provider_ref=bound).outcome
        assert isinstance(facts, BindingFacts | NotFound)
        if isinstance(facts, BindingFacts):
            assert facts.status is BindingStatus.REVOKED
        request = rail.request(bound)
        answer = rail.settled(rail.gateway.charge(request=request), request.reference)
        assert isinstance(answer.outcome, Refused | Closed)
        assert request.reference not in rail.charges()

    # --- charges ------------------------------------------------------------------------------

    def test_a_charge_takes_exactly_the_amount_once_and_says_so(self, rail, bound):
        request = rail.request(bound)
        answer = rail.settled(rail.gateway.charge(request=request), request.reference)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == request.amount_minor
        assert answer.outcome.currency == rail.currency
        assert answer.outcome.provider_ref
        assert answer.outcome.at is not None
        assert answer.outcome.at.tzinfo is not None
        assert rail.charges()[request.reference] == request.amount_minor

    def test_the_same_reference_sent_again_takes_nothing_more(self, rail, bound):
        request = rail.charged(bound)
        before = rail.charges()
        again = rail.settled(rail.gateway.charge(request=request), request.reference)
        assert isinstance(again.outcome, Succeeded)
        assert again.outcome.amount_minor == request.amount_minor
        assert rail.charges() == before  # `charges` itself fails on a doubled reference

    def test_an_answer_lost_after_the_charge_is_unknown_and_then_found(self, rail, bound):
        rail.lose_charge_answer(True)
        request = rail.request(bound)
        answer = rail.gateway.charge(request=request)
        assert isinstance(answer.outcome, Unknown)
        asked = rail.settled(rail.gateway.query(reference=request.reference), request.reference)
        assert isinstance(asked.outcome, Succeeded)
        assert rail.charges()[request.reference] == request.amount_minor

    def test_an_answer_lost_before_the_charge_is_unknown_then_not_found_then_sent_again(
        self, rail, bound
    ):
        rail.lose_charge_answer(False)
        request = rail.request(bound)
        assert isinstance(rail.gateway.charge(request=request).outcome, Unknown)
        assert request.reference not in rail.charges()
        assert rail.gateway.query(reference=request.reference).outcome == NotFound()
        again = rail.settled(rail.gateway.charge(request=request), request.reference)
        assert isinstance(again.outcome, Succeeded)
        assert rail.charges()[request.reference] == request.amount_minor

    def test_a_decline_names_its_code_and_takes_nothing(self, rail, bound):
        code = rail.decline_charge()
        request = rail.request(bound)
        answer = rail.settled(rail.gateway.charge(request=request), request.reference)
        assert isinstance(answer.outcome, Refused | Closed | ActionRequired)
        if not isinstance(answer.outcome, ActionRequired):
            assert answer.outcome.code == code
        assert request.reference not in rail.charges()

    def test_an_answer_that_is_not_genuine_is_unknown_whatever_it_says(self, rail, bound):
        rail.spoil_charge_signature()
        answer = rail.gateway.charge(request=rail.request(bound))
        assert isinstance(answer.outcome, Unknown)
        assert [exchange.is_verified for exchange in answer.exchanges] == [False]

    def test_a_charge_nobody_made_is_not_found(self, rail):
        assert rail.gateway.query(reference=new_ref()).outcome == NotFound()

    def test_asking_changes_nothing(self, rail, bound):
        request = rail.charged(bound)
        before = rail.charges(), rail.refunds()
        for _ in range(3):
            rail.gateway.query(reference=request.reference)
        assert (rail.charges(), rail.refunds()) == before

    def test_another_currency_is_refused_without_a_call(self, rail, bound):
        request = rail.request(bound, currency="XTS")
        answer = rail.gateway.charge(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.exchanges == ()
        assert request.reference not in rail.charges()

    # --- refunds ------------------------------------------------------------------------------

    def test_a_refund_sent_twice_gives_back_once(self, rail, bound):
        charge = rail.charged(bound)
        request = rail.refund_request(charge, 2000)
        for _ in range(2):
            answer = rail.refunded(request)
            assert isinstance(answer.outcome, Succeeded)
            assert answer.outcome.amount_minor == 2000
        assert rail.refunds()[request.refund_ref] == 2000

    def test_partial_refunds_add_up_and_never_exceed_the_charge(self, rail, bound):
        charge = rail.charged(bound)
        parts = [rail.refund_request(charge, amount) for amount in (2000, 3000, 1)]
        outcomes = [rail.refunded(part).outcome for part in parts]
        assert isinstance(outcomes[0], Succeeded)
        assert isinstance(outcomes[1], Succeeded)
        assert not isinstance(outcomes[2], Succeeded)
        given_back = rail.refunds()
        assert [given_back.get(part.refund_ref) for part in parts] == [2000, 3000, None]

    def test_a_refund_whose_answer_is_lost_is_unknown_and_then_found(self, rail, bound):
        request = rail.refund_request(rail.charged(bound), 2000)
        rail.lose_refund_answer(True)
        assert isinstance(rail.gateway.refund(request=request).outcome, Unknown)
        asked = rail.refund_found(request)
        assert isinstance(asked.outcome, Succeeded)
        assert asked.outcome.amount_minor == 2000

    def test_a_refund_that_never_arrived_is_not_found(self, rail, bound):
        request = rail.refund_request(rail.charged(bound), 2000)
        rail.lose_refund_answer(False)
        assert isinstance(rail.gateway.refund(request=request).outcome, Unknown)
        asked = rail.refund_found(request)
        assert asked.outcome == NotFound()
        assert request.refund_ref not in rail.refunds()

    def test_a_refund_above_the_charge_is_refused_without_a_call(self, rail, bound):
        request = rail.refund_request(rail.charged(bound), rail.amount_minor + 1)
        answer = rail.gateway.refund(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.exchanges == ()
        assert request.refund_ref not in rail.refunds()

    # --- notifications, statements, evidence --------------------------------------------------

    def test_a_charges_notification_is_verified_and_names_reference_and_amount(self, rail, bound):
        request = rail.charged(bound)
        notification = self.notification_about(rail, request.reference)
        assert notification.kind is NotificationKind.CHARGE
        assert notification.amount_minor in (request.amount_minor, None)
        assert notification.dedupe_id

    def test_a_notification_changed_by_one_byte_is_refused(self, rail, bound):
        rail.charged(bound)
        headers, body = rail.received(1)[-1]
        assert body.count(b"0") > 0
        spoilt = body.replace(b"0", b"1", 1)
        with pytest.raises(BadNotification):
            rail.gateway.parse_notification(headers=headers, body=spoilt, query={}, at=rail.now())

    def test_the_statement_has_the_charge_and_the_refund_in_positive_minor_units(self, rail, bound):
        charge = rail.charged(bound)
        refund = rail.refund_request(charge, 2000)
        assert isinstance(rail.refunded(refund).outcome, Succeeded)
        rows = [
            row
            for row in rail.gateway.statement(day=rail.statement_day())
            if getattr(row, "our_ref", "") == charge.reference
        ]
        found = {row.kind: row for row in rows}
        assert found[StatementKind.PAYMENT].amount_minor == charge.amount_minor
        assert found[StatementKind.REFUND].amount_minor == 2000
        assert found[StatementKind.REFUND].refund_ref == refund.refund_ref
        assert {row.currency for row in rows} == {rail.currency}

    def test_evidence_holds_no_secrets(self, rail, bound):
        request = rail.request(bound)
        answers = [
            rail.gateway.charge(request=request),
            rail.gateway.query(reference=request.reference),
            rail.gateway.get_binding(binding_ref="", provider_ref=bound),
        ]
        text = "".join(
            exchange.request + exchange.response + exchange.error
            for answer in answers
            for exchange in answer.exchanges
        )
        assert text
        assert [secret for secret in rail.secrets if secret in text] == []

    @staticmethod
    def notification_about(rail: Rail, reference: str) -> Any:
        """The parsed notification of one charge, waited for."""
        for wanted in range(1, 20):
            headers, body = rail.received(wanted)[wanted - 1]
            notification, _ = rail.gateway.parse_notification(
                headers=headers, body=body, query={}, at=rail.now()
            )
            if notification.our_ref == reference:
                return notification
        raise AssertionError("no notification about the charge")

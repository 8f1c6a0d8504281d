"""Charging cards: every fault, every refusal, every lost answer, against what really happened."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from billing.gateways.base import (
    ActionRequired,
    Closed,
    NotFound,
    NotNeeded,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.gateways.stripe.adapter import StripeGateway
from tests.rails.alipay_world import until
from tests.rails.contract import new_ref
from tests.rails.stripe_world import CONFIRM, CREATE, charge_of, gateway_of, refund_of

pytestmark = pytest.mark.processes


@pytest.fixture
def gateway(stripe_sim):
    return gateway_of(stripe_sim)


@pytest.fixture
def card(stripe_sim):
    return stripe_sim.bind(new_ref("B"))


def charge(gateway, request):
    return gateway.charge(request=request).outcome


def query(gateway, request, **more):
    return gateway.query(reference=request.reference, **more).outcome


class TestAFault:
    @pytest.mark.parametrize(
        "kind", ["lose_after", "http_500_saved", "garbage", "half", "http_500"]
    )
    def test_after_the_charge_is_unknown_then_found_and_never_charged_twice(
        self, stripe_sim, gateway, card, kind
    ):
        stripe_sim.fault(CREATE, kind, committed=True)
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Unknown)
        found = query(gateway, request, provider_binding_ref=card)
        assert isinstance(found, Succeeded)
        assert found.amount_minor == 5000
        again = charge(gateway, request)
        assert isinstance(again, Unknown if kind.startswith("http") else Succeeded)
        assert stripe_sim.charges()[request.reference] == 5000

    @pytest.mark.parametrize("kind", ["lose_before", "http_500", "conflict", "rate_limit"])
    def test_before_the_charge_is_unknown_and_the_same_reference_goes_again(
        self, stripe_sim, gateway, card, kind
    ):
        stripe_sim.fault(CREATE, kind)
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Unknown)
        assert query(gateway, request, provider_binding_ref=card) == NotFound()
        assert request.reference not in stripe_sim.charges()
        assert isinstance(charge(gateway, request), Succeeded)
        assert stripe_sim.charges()[request.reference] == 5000

    def test_a_500_that_stripe_has_saved_stays_the_answer_and_nothing_is_taken(
        self, stripe_sim, gateway, card
    ):
        stripe_sim.fault(CREATE, "http_500_saved")
        request = charge_of(card)
        for _ in range(3):
            assert isinstance(charge(gateway, request), Unknown)
        assert request.reference not in stripe_sim.charges()

    @pytest.mark.parametrize(
        ("kind", "code"),
        [("unauthorized", "authentication_error"), ("forbidden", "permission_error")],
    )
    def test_of_ours_is_refused_by_a_code_of_the_operators(
        self, stripe_sim, gateway, card, kind, code
    ):
        stripe_sim.fault(CREATE, kind)
        request = charge_of(card)
        refused = charge(gateway, request)
        assert isinstance(refused, Refused)
        assert refused.code == code
        assert request.reference not in stripe_sim.charges()

    def test_that_answers_too_late_is_unknown_and_then_found(self, stripe_sim, card):
        gateway = gateway_of(stripe_sim, timeout_s=3)
        stripe_sim.fault(CREATE, "slow", seconds=4)
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Unknown)
        collided = charge(gateway, request)
        assert isinstance(collided, Unknown)
        assert "409" in collided.reason
        until(lambda: isinstance(charge(gateway, request), Succeeded))
        assert stripe_sim.charges()[request.reference] == 5000

    def test_while_asking_is_unknown_whatever_it_is(self, stripe_sim, gateway, card):
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Succeeded)
        for kind in ("unauthorized", "rate_limit", "garbage", "http_500", "lose_before"):
            stripe_sim.fault("payment_intents.search", kind)
            assert isinstance(query(gateway, request), Unknown), kind

    def test_nobody_listening_is_unknown(self, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        gateway = StripeGateway.from_settings(own_stripe.settings(), timeout_s=3)
        own_stripe.stop()
        answer = gateway.charge(request=charge_of(card))
        assert isinstance(answer.outcome, Unknown)
        assert [one.is_verified for one in answer.exchanges] == [False]


class TestADecline:
    @pytest.mark.parametrize(
        ("decline_code", "advice_code", "expected"),
        [
            ("insufficient_funds", "", "insufficient_funds"),
            ("insufficient_funds", "do_not_try_again", "advice:do_not_try_again"),
            ("stolen_card", "try_again_later", "advice:try_again_later"),
            ("generic_decline", "confirm_card_data", "advice:confirm_card_data"),
            ("do_not_honor", "something_new", "do_not_honor"),
            ("expired_card", "", "expired_card"),
        ],
    )
    def test_is_named_by_the_issuers_advice_first(
        self, stripe_sim, gateway, card, decline_code, advice_code, expected
    ):
        stripe_sim.fault(CREATE, "decline", decline_code=decline_code, advice_code=advice_code)
        request = charge_of(card)
        refused = charge(gateway, request)
        assert isinstance(refused, Refused)
        assert refused.code == expected
        found = query(gateway, request, provider_binding_ref=card)
        assert isinstance(found, Closed)
        assert found.code == expected
        assert request.reference not in stripe_sim.charges()

    def test_is_the_answer_to_the_same_reference_for_a_day(self, stripe_sim, gateway):
        card = stripe_sim.bind(new_ref("B"), card="poor")
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Refused)
        stripe_sim.card("poor", decline_code="")
        try:
            assert isinstance(charge(gateway, request), Closed)
            assert isinstance(charge(gateway, charge_of(card)), Succeeded)
        finally:
            stripe_sim.card("poor", decline_code="insufficient_funds")
        assert request.reference not in stripe_sim.charges()

    def test_as_a_duplicate_of_a_charge_of_ours_is_that_charge(self, stripe_sim, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Succeeded)
        own_stripe.advance(25 * 3600)  # the key has forgotten; the bank has not
        own_stripe.fault(CREATE, "decline", decline_code="duplicate_transaction")
        assert isinstance(charge(gateway, request), Succeeded)
        assert own_stripe.charges() == {request.reference: 5000}

    def test_as_a_duplicate_of_nothing_of_ours_is_a_decline(self, stripe_sim, gateway, card):
        stripe_sim.fault(CREATE, "decline", decline_code="duplicate_transaction")
        refused = charge(gateway, charge_of(card))
        assert isinstance(refused, Refused)
        assert refused.code == "duplicate_transaction"

    @pytest.mark.parametrize("kind", ["lose_before", "http_500", "garbage", "rate_limit"])
    def test_as_a_duplicate_that_cannot_be_looked_into_is_unknown(
        self, stripe_sim, gateway, card, kind
    ):
        stripe_sim.fault(CREATE, "decline", decline_code="duplicate_transaction")
        stripe_sim.fault("payment_intents.list", kind)
        assert isinstance(charge(gateway, charge_of(card)), Unknown)

    def test_of_a_card_past_its_month_and_of_one_that_was_removed_are_hard(self, own_stripe):
        gateway = gateway_of(own_stripe)
        own_stripe.card("good", exp_year=2026, exp_month=1)
        card = own_stripe.bind(new_ref("B"))
        refused = charge(gateway, charge_of(card))
        assert isinstance(refused, Refused)
        assert refused.code == "expired_card"
        own_stripe.detach(card)
        gone = charge(gateway, charge_of(card))
        assert isinstance(gone, Refused)
        assert gone.code == "payment_method_gone"
        assert own_stripe.charges() == {}


class TestAReference:
    def test_with_another_amount_is_an_error_of_ours_and_takes_nothing_more(
        self, stripe_sim, gateway, card
    ):
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Succeeded)
        refused = charge(gateway, replace(request, amount_minor=5001))
        assert isinstance(refused, Refused)
        assert refused.code == "idempotency_error"
        assert stripe_sim.charges()[request.reference] == 5000

    def test_past_its_lifetime_is_looked_for_and_never_sent(self, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        first_sent_at = own_stripe.now()
        sent = charge_of(card, first_sent_at=first_sent_at)
        unsent = charge_of(card, first_sent_at=first_sent_at)
        own_stripe.fault(CREATE, "lose_after")
        assert isinstance(charge(gateway, sent), Unknown)
        own_stripe.advance(25 * 3600)
        assert isinstance(charge(gateway, sent), Succeeded)
        assert charge(gateway, unsent) == NotFound()
        assert own_stripe.charges() == {sent.reference: 5000}

    def test_within_its_lifetime_is_sent_again(self, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        request = charge_of(card, first_sent_at=own_stripe.now())
        own_stripe.fault(CREATE, "lose_before")
        assert isinstance(charge(gateway, request), Unknown)
        own_stripe.advance(22 * 3600)
        assert isinstance(charge(gateway, request), Succeeded)

    def test_lost_by_a_killed_stripe_is_answered_from_its_books(self, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        request = charge_of(card)
        own_stripe.fault(CREATE, "lose_after")
        assert isinstance(charge(gateway, request), Unknown)
        own_stripe.stop()
        own_stripe.start()
        assert isinstance(charge(gateway, request), Succeeded)
        assert own_stripe.charges() == {request.reference: 5000}

    def test_that_search_does_not_know_yet_is_found_among_the_latest(
        self, stripe_sim, gateway, card
    ):
        stripe_sim.set(search_lag_s=3600)
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Succeeded)
        assert isinstance(query(gateway, request), Succeeded)

    def test_is_checked_against_the_payment_that_is_named(self, gateway, card):
        first, second = charge_of(card), charge_of(card)
        paid = charge(gateway, first)
        assert isinstance(paid, Succeeded)
        asked = query(gateway, second, provider_ref=paid.provider_ref)
        assert isinstance(asked, Unknown)
        assert isinstance(query(gateway, first, provider_ref=paid.provider_ref), Succeeded)

    def test_of_two_paid_intents_is_settled_by_nobody_but_a_person(self, own_stripe):
        gateway, card = gateway_of(own_stripe), own_stripe.bind(new_ref("B"))
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Succeeded)
        own_stripe.advance(25 * 3600)
        charge(gateway, request)  # as if somebody had sent it without `first_sent_at`
        with pytest.raises(AssertionError, match="charge happened twice"):
            own_stripe.charges()
        found = query(gateway, request, provider_binding_ref=card)
        assert found == Unknown("two payments carry this reference")


class TestABankThatWantsThePayer:
    @pytest.fixture
    def card(self, stripe_sim):
        return stripe_sim.bind(new_ref("B"), card="authenticate")

    def asked(self, gateway, request):
        outcome = charge(gateway, request)
        assert isinstance(outcome, ActionRequired)
        return outcome

    def test_gives_a_page_and_takes_nothing_until_the_payer_confirms(
        self, stripe_sim, gateway, card
    ):
        request = charge_of(card)
        action = self.asked(gateway, request)
        assert action.url == f"{stripe_sim.url}/3ds/{action.provider_ref}"
        assert request.reference not in stripe_sim.charges()
        waiting = query(gateway, request, provider_ref=action.provider_ref)
        assert waiting == action
        goes_to = stripe_sim.confirm(action.provider_ref)
        assert goes_to.startswith("https://keepline.example/back?payment_intent=")
        assert isinstance(query(gateway, request, provider_binding_ref=card), Succeeded)
        assert stripe_sim.charges()[request.reference] == 5000

    def test_asked_twice_gives_the_same_page_and_after_it_the_payment(
        self, stripe_sim, gateway, card
    ):
        request = charge_of(card)
        action = self.asked(gateway, request)
        assert self.asked(gateway, request) == action
        stripe_sim.confirm(action.provider_ref)
        assert isinstance(charge(gateway, request), Succeeded)
        assert stripe_sim.charges()[request.reference] == 5000

    def test_closes_the_reference_where_the_payer_refuses(self, stripe_sim, gateway, card):
        request = charge_of(card)
        action = self.asked(gateway, request)
        stripe_sim.confirm(action.provider_ref, agrees=False)
        closed = Closed(action.provider_ref, "payment_intent_authentication_failure")
        assert query(gateway, request) == closed
        assert charge(gateway, request) == closed
        assert request.reference not in stripe_sim.charges()

    def test_without_a_page_to_come_back_to_is_refused(self, stripe_sim, gateway, card):
        refused = charge(gateway, charge_of(card, return_url=""))
        assert isinstance(refused, Refused)
        assert refused.code == "authentication_required"
        back = "https://keepline.example/confirmed"
        gateway = gateway_of(stripe_sim, STRIPE_RETURN_URL=back)
        action = self.asked(gateway, charge_of(card, return_url=""))
        assert stripe_sim.confirm(action.provider_ref).startswith(back)

    @pytest.mark.parametrize("kind", ["lose_before", "lose_after"])
    def test_whose_page_was_lost_on_the_way_is_asked_again_by_the_same_reference(
        self, stripe_sim, gateway, card, kind
    ):
        stripe_sim.fault(CONFIRM, kind)
        request = charge_of(card)
        assert isinstance(charge(gateway, request), Unknown)
        action = self.asked(gateway, request)
        assert len([one for one in stripe_sim.objects("payment_intent")
                    if one["id"] == action.provider_ref]) == 1  # fmt: skip
        assert request.reference not in stripe_sim.charges()


class TestASlowBank:
    def test_is_pending_and_then_paid_once(self, stripe_sim, gateway):
        request = charge_of(stripe_sim.bind(new_ref("B"), card="slow"))
        pending = charge(gateway, request)
        assert isinstance(pending, Pending)
        assert request.reference not in stripe_sim.charges()
        number = pending.provider_ref
        until(lambda: isinstance(query(gateway, request, provider_ref=number), Succeeded))
        assert isinstance(charge(gateway, request), Succeeded)
        assert stripe_sim.charges()[request.reference] == 5000


class TestCanceling:
    def test_ends_a_payment_that_waits_for_its_payer(self, stripe_sim, gateway):
        request = charge_of(stripe_sim.bind(new_ref("B"), card="authenticate"))
        action = charge(gateway, request)
        assert isinstance(action, ActionRequired)
        for _ in range(2):
            assert gateway.cancel(reference=request.reference).outcome == Closed(
                action.provider_ref, "canceled"
            )
        with pytest.raises(AssertionError, match="Nothing waits"):
            stripe_sim.confirm(action.provider_ref)
        assert request.reference not in stripe_sim.charges()

    def test_finds_nothing_where_nothing_was_sent(self, gateway):
        assert gateway.cancel(reference=new_ref()).outcome == NotFound()

    def test_leaves_a_paid_one_alone(self, stripe_sim, gateway, card):
        request = charge_of(card)
        charge(gateway, request)
        assert isinstance(gateway.cancel(reference=request.reference).outcome, Unknown)
        assert stripe_sim.charges()[request.reference] == 5000
        assert isinstance(query(gateway, request), Succeeded)


class TestAChargeGivenBackWhole:
    def test_is_closed_as_refunded(self, gateway, card):
        request = charge_of(card)
        paid = charge(gateway, request)
        gateway.refund(request=refund_of(request, 5000))
        assert query(gateway, request) == Closed(paid.provider_ref, is_given_back=True)


class TestBeforeAnythingIsSent:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"currency": "JPY"}, "currency_not_offered"),
            ({"amount_minor": 0}, "invalid_request_error"),
            ({"reference": "has-a-dash"}, "invalid_request_error"),
            ({"provider_binding_ref": "pm_alone"}, "invalid_request_error"),
            ({"provider_binding_ref": "cus_1/../pm_1"}, "invalid_request_error"),
        ],
    )
    def test_what_cannot_be_right_is_refused(self, gateway, card, changes, code):
        answer = gateway.charge(request=charge_of(card, **changes))
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == code
        assert answer.exchanges == ()

    def test_cards_want_no_announcement(self, gateway, card):
        prepared = gateway.prepare_charge(request=charge_of(card), due_at=datetime.now(UTC))
        assert (prepared.outcome, prepared.exchanges) == (NotNeeded(), ())

    def test_an_amount_below_stripes_least_is_the_operators(self, gateway, card):
        refused = charge(gateway, charge_of(card, amount_minor=399))
        assert isinstance(refused, Refused)
        assert refused.code == "amount_too_small"


class TestTheStatementsSuffix:
    def test_reaches_the_payment(self, stripe_sim, card):
        gateway = gateway_of(stripe_sim, STRIPE_STATEMENT_DESCRIPTOR_SUFFIX="TOP-UP")
        assert isinstance(charge(gateway, charge_of(card)), Succeeded)
        latest = stripe_sim.objects("payment_intent")[0]
        assert latest["statement_descriptor_suffix"] == "TOP-UP"

"""Binding a card on Stripe's page, asking about it, removing it."""

from datetime import UTC, datetime

import pytest
import requests

from billing.gateways.base import (
    BindingFacts,
    BindingRequest,
    BindingStatus,
    NotFound,
    Refused,
    SigningNotStarted,
    Succeeded,
    Unknown,
)
from tests.rails.contract import new_ref
from tests.rails.stripe_simulator import SECRET_KEY
from tests.rails.stripe_world import charge_of, gateway_of

pytestmark = pytest.mark.processes
SESSION = "checkout.sessions.create"


@pytest.fixture
def gateway(stripe_sim):
    return gateway_of(stripe_sim)


def request_of(**changes):
    values = {
        "binding_ref": new_ref("B"),
        "return_url": "https://keepline.example/cards/back",
        "notify_url": "",
    }
    return BindingRequest(**(values | changes))


def facts_of(gateway, *, binding_ref="", provider_ref=""):
    facts = gateway.get_binding(binding_ref=binding_ref, provider_ref=provider_ref).outcome
    assert isinstance(facts, BindingFacts)
    return facts


class TestThePage:
    def test_is_stripes_and_known_by_its_number(self, stripe_sim, gateway):
        request = request_of(language="en")
        page = gateway.start_binding(request=request)
        assert page.provider_ref.startswith("cs_")
        assert page.url == f"{stripe_sim.url}/c/pay/{page.provider_ref}"
        [session] = [
            one
            for one in stripe_sim.objects("checkout.session")
            if one["client_reference_id"] == request.binding_ref
        ]
        assert (session["mode"], session["locale"]) == ("setup", "en")
        assert session["success_url"] == session["cancel_url"] == request.return_url

    def test_is_the_same_when_asked_for_twice_and_one_customer(self, stripe_sim, gateway):
        request = request_of()
        first = gateway.start_binding(request=request)
        assert gateway.start_binding(request=request) == first
        mine = [
            one
            for one in stripe_sim.objects("customer")
            if one["metadata"].get("keepline_binding") == request.binding_ref
        ]
        assert len(mine) == 1

    def test_in_another_language_is_another_and_either_may_be_signed(self, stripe_sim, gateway):
        request = request_of()
        chinese = gateway.start_binding(request=request)
        english = gateway.start_binding(request=request_of(
            binding_ref=request.binding_ref, language="en"
        ))  # fmt: skip
        assert english.provider_ref != chinese.provider_ref
        stripe_sim.choose(chinese.provider_ref)
        facts = facts_of(
            gateway, binding_ref=request.binding_ref, provider_ref=english.provider_ref
        )
        assert facts.status is BindingStatus.ACTIVE

    def test_that_is_over_is_followed_by_a_new_one(self, gateway):
        request = request_of()
        old = gateway.start_binding(request=request)
        gateway.revoke_binding(binding_ref=request.binding_ref, provider_ref=old.provider_ref)
        new = gateway.start_binding(request=request)
        assert new.provider_ref != old.provider_ref
        assert requests.get(old.url, timeout=10).status_code == 400
        assert requests.get(new.url, timeout=10).status_code == 200

    @pytest.mark.parametrize(
        "kind", ["lose_before", "lose_after", "http_500", "garbage", "unauthorized", "rate_limit"]
    )
    @pytest.mark.parametrize("method", ["customers.create", SESSION])
    def test_that_stripe_does_not_give_is_said_without_a_secret(
        self, stripe_sim, gateway, method, kind
    ):
        stripe_sim.fault(method, kind)
        request = request_of()
        with pytest.raises(SigningNotStarted) as refusal:
            gateway.start_binding(request=request)
        assert SECRET_KEY not in str(refusal.value)
        assert gateway.start_binding(request=request).url

    def test_has_no_field_for_a_cards_number(self, gateway):
        page = requests.get(gateway.start_binding(request=request_of()).url, timeout=10).text
        assert page.count("<input") == page.count('type="radio"') > 0

    def test_agrees_by_itself_in_a_demo(self, stripe_sim, gateway):
        stripe_sim.set(auto_agree=True)
        request = request_of()
        page = gateway.start_binding(request=request)
        answer = requests.get(page.url, allow_redirects=False, timeout=10)
        assert (answer.status_code, answer.headers["Location"]) == (303, request.return_url)
        facts = facts_of(gateway, binding_ref=request.binding_ref)
        assert facts.status is BindingStatus.ACTIVE


class TestABinding:
    def test_waits_while_nobody_has_signed_and_is_found_by_either_reference(self, gateway):
        request = request_of()
        page = gateway.start_binding(request=request)
        waiting = BindingFacts(BindingStatus.PENDING, page.provider_ref)
        assert facts_of(gateway, provider_ref=page.provider_ref) == waiting
        assert facts_of(gateway, binding_ref=request.binding_ref) == waiting

    def test_was_never_signed_once_its_page_has_expired(self, own_stripe):
        gateway, request = gateway_of(own_stripe), request_of()
        page = gateway.start_binding(request=request)
        own_stripe.advance(25 * 3600)
        for provider_ref in ("", page.provider_ref):
            answer = gateway.get_binding(binding_ref=request.binding_ref, provider_ref=provider_ref)
            assert answer.outcome == NotFound()

    def test_of_a_signed_page_is_a_card_with_its_end_and_label(self, stripe_sim, gateway):
        request = request_of()
        page = gateway.start_binding(request=request)
        bound = stripe_sim.choose(page.provider_ref, "mastercard")
        facts = facts_of(gateway, binding_ref=request.binding_ref, provider_ref=page.provider_ref)
        assert facts.status is BindingStatus.ACTIVE
        assert facts.provider_ref == f"{bound['customer']}/{bound['payment_method']}"
        assert facts.label == "Mastercard ****4444"
        assert facts.fingerprint == "BnM6jEwLq2ZkTt0a"
        assert facts.expires_at == datetime(2035, 1, 1, tzinfo=UTC)
        assert facts == facts_of(gateway, provider_ref=facts.provider_ref)

    def test_that_stripe_left_unattached_is_attached(self, stripe_sim, gateway):
        stripe_sim.set(leaves_unattached=True)
        request = request_of()
        stripe_sim.choose(gateway.start_binding(request=request).provider_ref)
        assert stripe_sim.objects("payment_method")[0]["customer"] is None
        facts = facts_of(gateway, binding_ref=request.binding_ref)
        assert facts.status is BindingStatus.ACTIVE
        paid = gateway.charge(request=charge_of(facts.provider_ref)).outcome
        assert isinstance(paid, Succeeded)

    def test_waits_for_the_bank_where_that_wants_the_payer(self, stripe_sim, gateway):
        request = request_of()
        page = gateway.start_binding(request=request)
        bound = stripe_sim.choose(page.provider_ref, "authenticate")
        assert bound["goes_to"] == f"/3ds/{bound['setup_intent']}"
        assert facts_of(gateway, provider_ref=page.provider_ref).status is BindingStatus.PENDING
        assert stripe_sim.confirm(bound["setup_intent"]) == request.return_url
        facts = facts_of(gateway, binding_ref=request.binding_ref, provider_ref=page.provider_ref)
        assert facts.status is BindingStatus.ACTIVE

    def test_runs_out_at_the_end_of_its_month_and_is_renewed(self, stripe_sim, gateway):
        provider_ref = stripe_sim.bind(new_ref("B"))
        number, next_year = provider_ref.partition("/")[2], datetime.now(UTC).year + 1
        renew = f"payment_methods/{number}/renew"
        stripe_sim.control("POST", renew, {"exp_month": 10, "exp_year": 2026})
        facts = facts_of(gateway, provider_ref=provider_ref)
        assert facts.status is BindingStatus.EXPIRED
        assert facts.expires_at == datetime(2026, 11, 1, tzinfo=UTC)
        stripe_sim.control("POST", renew, {"exp_month": 12, "exp_year": next_year})
        facts = facts_of(gateway, provider_ref=provider_ref)
        assert facts.status is BindingStatus.ACTIVE
        assert facts.expires_at == datetime(next_year + 1, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize(
        "kind", ["lose_before", "http_500", "garbage", "unauthorized", "rate_limit"]
    )
    def test_whose_answer_cannot_be_used_is_unknown_and_stays_as_it_was(
        self, stripe_sim, gateway, kind
    ):
        provider_ref = stripe_sim.bind(new_ref("B"))
        stripe_sim.fault("payment_methods.retrieve", kind)
        answer = gateway.get_binding(binding_ref="", provider_ref=provider_ref)
        assert isinstance(answer.outcome, Unknown)
        stripe_sim.fault("checkout.sessions.list", kind)
        answer = gateway.get_binding(binding_ref=new_ref("B"), provider_ref="")
        assert isinstance(answer.outcome, Unknown)

    def test_of_another_account_is_not_found(self, gateway):
        for provider_ref in ("cus_nobody/pm_nothing", "cs_test_nothing"):
            answer = gateway.get_binding(binding_ref="", provider_ref=provider_ref)
            assert answer.outcome == NotFound()


class TestRevoking:
    def test_removes_the_card_at_stripe_and_again_is_the_same(self, stripe_sim, gateway):
        provider_ref = stripe_sim.bind(new_ref("B"))
        for _ in range(2):
            answer = gateway.revoke_binding(binding_ref="", provider_ref=provider_ref)
            assert answer.outcome == BindingFacts(BindingStatus.REVOKED, provider_ref)
        entries = stripe_sim.journal("card_detached")
        number = provider_ref.partition("/")[2]
        assert [one for one in entries if one["payment_method"] == number] == entries[-1:]

    def test_by_our_reference_alone_removes_the_card_too(self, stripe_sim, gateway):
        binding_ref = new_ref("B")
        provider_ref = stripe_sim.bind(binding_ref)
        answer = gateway.revoke_binding(binding_ref=binding_ref, provider_ref="")
        assert answer.outcome == BindingFacts(BindingStatus.REVOKED, provider_ref)
        refused = gateway.charge(request=charge_of(provider_ref)).outcome
        assert isinstance(refused, Refused)

    def test_of_a_page_nobody_signed_closes_it(self, gateway):
        request = request_of()
        page = gateway.start_binding(request=request)
        answer = gateway.revoke_binding(
            binding_ref=request.binding_ref, provider_ref=page.provider_ref
        )
        assert answer.outcome == BindingFacts(BindingStatus.REVOKED, page.provider_ref)
        assert requests.get(page.url, timeout=10).status_code == 400

    def test_of_what_was_never_begun_is_revoked(self, gateway):
        answer = gateway.revoke_binding(binding_ref=new_ref("B"), provider_ref="")
        assert answer.outcome == BindingFacts(BindingStatus.REVOKED)

    def test_that_is_lost_on_the_way_is_unknown_and_then_done(self, stripe_sim, gateway):
        provider_ref = stripe_sim.bind(new_ref("B"))
        stripe_sim.fault("payment_methods.detach", "lose_after")
        answer = gateway.revoke_binding(binding_ref="", provider_ref=provider_ref)
        assert isinstance(answer.outcome, Unknown)
        again = gateway.revoke_binding(binding_ref="", provider_ref=provider_ref)
        assert again.outcome == BindingFacts(BindingStatus.REVOKED, provider_ref)

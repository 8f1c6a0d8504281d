"""The payer's pages in a real browser, on a small phone, light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from billing.gateways.base import ActionRequired, BindingFacts, BindingRequest, BindingStatus
from tests.rails.contract import new_ref
from tests.rails.stripe_world import charge_of, gateway_of

pytestmark = [pytest.mark.processes, pytest.mark.browser]


@pytest.fixture(params=["light", "dark"])
def phone(request, chromium):
    with chromium.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=request.param
    ) as context:
        yield context.new_page()


def faults_of(page):
    """axe's findings, and whether the page is wider than the phone."""
    found = [violation["id"] for violation in Axe().run(page).response["violations"]]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the phone")
    return found


def facts_of(gateway, binding_ref):
    facts = gateway.get_binding(binding_ref=binding_ref, provider_ref="").outcome
    assert isinstance(facts, BindingFacts)
    return facts


class TestOnAPhone:
    def test_a_payer_saves_a_card_confirms_a_payment_with_the_bank_and_disputes_it(
        self, stripe_sim, phone
    ):
        gateway, binding_ref = gateway_of(stripe_sim), new_ref("B")
        back = f"{stripe_sim.url}/wallet"
        phone.goto(gateway.start_binding(request=BindingRequest(binding_ref, back, "")).url)
        assert faults_of(phone) == []
        assert phone.locator("input:not([type=radio])").count() == 0
        phone.get_by_label("需要银行验证").check()
        phone.get_by_role("button", name="保存").click()

        phone.wait_for_url("**/3ds/**")  # the bank wants to know of the saving too
        assert faults_of(phone) == []
        phone.get_by_role("button", name="是我本人").click()
        phone.wait_for_url("**/wallet")
        facts = facts_of(gateway, binding_ref)
        assert (facts.status, facts.label) == (BindingStatus.ACTIVE, "Visa ****3184")

        request = charge_of(facts.provider_ref, return_url=back)
        action = gateway.charge(request=request).outcome
        assert isinstance(action, ActionRequired)
        phone.goto(action.url)
        assert phone.get_by_text("¥50.00").is_visible()
        phone.get_by_role("button", name="是我本人").click()
        phone.wait_for_url("**/wallet?payment_intent=**")
        assert stripe_sim.charges()[request.reference] == 5000

        assert faults_of(phone) == []
        phone.get_by_role("button", name="不是我付的").first.click()
        phone.wait_for_load_state()
        assert stripe_sim.journal("dispute")[-1]["reference"] == request.reference

    def test_a_payer_who_goes_back_has_saved_nothing(self, stripe_sim, phone):
        gateway, binding_ref = gateway_of(stripe_sim), new_ref("B")
        back = f"{stripe_sim.url}/wallet"
        request = BindingRequest(binding_ref, back, "", language="en")
        phone.goto(gateway.start_binding(request=request).url)
        assert faults_of(phone) == []
        assert phone.get_by_role("heading", name="Save a card with Keepline").is_visible()
        phone.get_by_role("button", name="Back").click()
        phone.wait_for_url("**/wallet")
        assert facts_of(gateway, binding_ref).status is BindingStatus.PENDING

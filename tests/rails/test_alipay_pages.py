"""The payer's pages in a real browser, on a small phone, light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from billing.gateways.base import BindingFacts, BindingRequest, BindingStatus
from tests.rails.alipay_world import CYCLE, gateway_of
from tests.rails.contract import new_ref

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
    def test_a_payer_consents_sees_the_agreement_and_ends_it(self, alipay, phone):
        gateway = gateway_of(alipay, **CYCLE)
        binding_ref = new_ref("B")
        request = BindingRequest(binding_ref, f"{alipay.url}/app", "", "138****0000", 5000)
        phone.goto(gateway.start_binding(request=request).url)
        assert faults_of(phone) == []

        phone.get_by_label("陈一").check()
        phone.get_by_role("button", name="同意协议并签约").click()
        phone.wait_for_url("**/app?**")
        facts = facts_of(gateway, binding_ref)
        assert facts.status is BindingStatus.ACTIVE
        assert facts.label == "chen***@example.cn"

        phone.goto(f"{alipay.url}/app?payer=2088100000000022")
        assert faults_of(phone) == []
        phone.get_by_role("button", name="解约").first.click()
        phone.wait_for_load_state()
        facts = facts_of(gateway, binding_ref)
        assert facts.status is BindingStatus.REVOKED

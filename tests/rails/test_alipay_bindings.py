"""Agreements: signing through the payer's own page, asking, ending, running out."""

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import requests

from billing.gateways.base import (
    BindingFacts,
    BindingRequest,
    BindingStatus,
    NotFound,
    Refused,
    Unknown,
)
from tests.rails.alipay_world import AGREEMENT, CYCLE, UNSIGN, charge_of, gateway_of
from tests.rails.contract import new_ref
from tests.rails.simulators import FROZEN, RICH

pytestmark = pytest.mark.processes


@pytest.fixture
def gateway(alipay):
    return gateway_of(alipay)


@pytest.fixture
def agreement(alipay):
    return alipay.agree(new_ref("B"))


class TestBindings:
    def test_an_agreement_begun_and_not_signed_is_pending(self, alipay, gateway):
        number = alipay.agree(new_ref("B"), status="TEMP")
        facts = gateway.get_binding(binding_ref="", provider_ref=number).outcome
        assert facts.status is BindingStatus.PENDING

    def test_an_agreement_that_ran_out_is_expired_although_alipay_still_calls_it_normal(
        self, alipay, gateway, agreement
    ):
        alipay.expire(agreement)
        answer = gateway.get_binding(binding_ref="", provider_ref=agreement)
        assert isinstance(answer.outcome, BindingFacts)
        assert answer.outcome.status is BindingStatus.EXPIRED
        assert '"status": "NORMAL"' in answer.exchanges[0].response
        refused = gateway.charge(request=charge_of(agreement)).outcome
        assert isinstance(refused, Refused)
        assert refused.code == "AGREEMENT_INVALID"

    def test_an_end_to_come_is_told_and_a_century_away_is_no_end(self, alipay, gateway, agreement):
        facts = gateway.get_binding(binding_ref="", provider_ref=agreement).outcome
        assert facts.expires_at is None
        alipay.expire(agreement, in_s=3600)
        facts = gateway.get_binding(binding_ref="", provider_ref=agreement).outcome
        assert facts.status is BindingStatus.ACTIVE
        told = alipay.agreement(agreement)["invalid_time"]
        beijing = facts.expires_at.astimezone(ZoneInfo("Asia/Shanghai"))
        assert f"{beijing:%Y-%m-%d %H:%M:%S}" == told

    @pytest.mark.parametrize(
        "code",
        [
            "AGREEMENT_NOT_EXIST",
            "AGREEMENT_NOT_EXSIT",
            "AGREEMENT_HAS_UNSIGNED",
            "USER_AGREEMENT_NOT_EXIST",
            "USER_NOT_EXIST_ERROR",
            "USER_NOT_EXSIT_ERROR",
        ],
    )
    def test_every_spelling_of_no_such_agreement_is_understood(
        self, alipay, gateway, agreement, code
    ):
        alipay.fault(AGREEMENT, "decline", sub_code=code)
        asked = gateway.get_binding(binding_ref="", provider_ref=agreement)
        assert asked.outcome == NotFound()
        alipay.fault(UNSIGN, "decline", sub_code=code)
        ended = gateway.revoke_binding(binding_ref="", provider_ref=agreement)
        assert ended.outcome.status is BindingStatus.REVOKED

    def test_an_agreement_that_is_not_normal_is_looked_at_before_it_counts_as_ended(
        self, alipay, gateway, agreement
    ):
        alipay.fault(UNSIGN, "decline", sub_code="USER_AGREEMENT_STATUS_NOT_NORMAL")
        refused = gateway.revoke_binding(binding_ref="", provider_ref=agreement).outcome
        assert isinstance(refused, Refused)
        alipay.revoke(agreement)
        alipay.fault(UNSIGN, "decline", sub_code="USER_AGREEMENT_STATUS_NOT_NORMAL")
        ended = gateway.revoke_binding(binding_ref="", provider_ref=agreement).outcome
        assert ended.status is BindingStatus.REVOKED

    @pytest.mark.parametrize("kind", ["lose_after", "gateway_error", "bad_signature"])
    def test_an_unusable_answer_about_an_agreement_is_unknown(
        self, alipay, gateway, agreement, kind
    ):
        alipay.fault("*", kind, times=2)
        asked = gateway.get_binding(binding_ref="", provider_ref=agreement).outcome
        ended = gateway.revoke_binding(binding_ref="", provider_ref=agreement).outcome
        assert [type(asked), type(ended)] == [Unknown, Unknown]

    def test_a_refusal_to_tell_about_an_agreement_is_unknown_not_gone(
        self, alipay, gateway, agreement
    ):
        alipay.fault(AGREEMENT, "gateway_error", code="40006")
        asked = gateway.get_binding(binding_ref="", provider_ref=agreement).outcome
        assert isinstance(asked, Unknown)


def _page(alipay, gateway, **changes):
    values: dict[str, Any] = {
        "binding_ref": new_ref("B"),
        "return_url": "http://127.0.0.1:9/back?from=alipay",
        "notify_url": "",
        "account_label": "138****0000",
        "max_charge_minor": 9900,
    }
    request = BindingRequest(**(values | changes))
    page = requests.get(gateway.start_binding(request=request).url, timeout=10)
    return request, page


def _signed_request(page):
    """What the merchant signed, as the page carries it to its second step."""
    found = re.search(r'name="request" value="([^"]+)"', page.text)
    assert found is not None
    return html.unescape(found[1])


def _decide(alipay, page, decision, payer=RICH):
    form = {"request": _signed_request(page), "payer": payer, "decision": decision}
    return requests.post(f"{alipay.url}/consent", data=form, allow_redirects=False, timeout=10)


class TestTheSigningPage:
    def test_says_who_what_how_much_and_how_to_stop_and_signs_nothing_by_itself(
        self, alipay, gateway
    ):
        request, page = _page(alipay, gateway)
        assert page.status_code == 200
        for words in ("Keepline 续线", "138****0000", "同意协议并签约", "取消", "解约"):
            assert words in page.text
        asked = gateway.get_binding(binding_ref=request.binding_ref, provider_ref="")
        assert asked.outcome == NotFound()

    def test_shows_the_rhythm_and_the_limit_of_a_cycle_agreement(self, alipay):
        _, page = _page(alipay, gateway_of(alipay, **CYCLE))
        assert "周期扣款" in page.text
        assert "¥99.00" in page.text

    def test_agreeing_binds_tells_both_ways_and_returns_to_the_merchant(
        self, alipay, gateway, inbox
    ):
        request, page = _page(alipay, gateway, notify_url=inbox.url)
        answer = _decide(alipay, page, "agree")
        assert answer.status_code == 303
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert back["from"] == ["alipay"]
        assert back["external_agreement_no"] == [request.binding_ref]
        facts = gateway.get_binding(binding_ref=request.binding_ref, provider_ref="").outcome
        assert facts.status is BindingStatus.ACTIVE
        assert [facts.provider_ref] == back["agreement_no"]
        assert b"notify_type=dut_user_sign" in inbox.wait_for(1)[0]

    def test_agreeing_twice_is_one_agreement(self, alipay, gateway):
        request, page = _page(alipay, gateway)
        first, second = (_decide(alipay, page, "agree") for _ in range(2))
        numbers = {
            parse_qs(urlsplit(answer.headers["Location"]).query)["agreement_no"][0]
            for answer in (first, second)
        }
        assert len(numbers) == 1
        signed = [
            entry
            for entry in alipay.journal("agreement_signed")
            if entry["reference"] == request.binding_ref
        ]
        assert len(signed) == 1

    def test_canceling_goes_back_with_nothing(self, alipay, gateway):
        request, page = _page(alipay, gateway)
        answer = _decide(alipay, page, "cancel")
        assert answer.headers["Location"] == request.return_url
        asked = gateway.get_binding(binding_ref=request.binding_ref, provider_ref="")
        assert asked.outcome == NotFound()

    def test_a_form_changed_on_its_way_is_refused(self, alipay, gateway):
        request, page = _page(alipay, gateway)
        form = {
            "request": _signed_request(page).replace(request.binding_ref, "SOMEBODYELSE1"),
            "payer": RICH,
            "decision": "agree",
        }
        answer = requests.post(f"{alipay.url}/consent", data=form, timeout=10)
        assert answer.status_code == 400
        signed_refs = [entry["reference"] for entry in alipay.journal("agreement_signed")]
        assert "SOMEBODYELSE1" not in signed_refs

    def test_a_frozen_payer_may_sign_and_cannot_pay(self, alipay, gateway):
        request, page = _page(alipay, gateway)
        _decide(alipay, page, "agree", payer=FROZEN)
        facts = gateway.get_binding(binding_ref=request.binding_ref, provider_ref="").outcome
        refused = gateway.charge(request=charge_of(facts.provider_ref)).outcome
        assert refused.code == "BUYER_ENABLE_STATUS_FORBID"

    def test_auto_agree_signs_without_a_page(self, alipay, gateway):
        alipay.set(auto_agree=True)
        request = BindingRequest(new_ref("B"), "http://127.0.0.1:9/back", "")
        url = gateway.start_binding(request=request).url
        answer = requests.get(url, allow_redirects=False, timeout=10)
        assert answer.status_code == 303
        facts = gateway.get_binding(binding_ref=request.binding_ref, provider_ref="").outcome
        assert facts.status is BindingStatus.ACTIVE

    @pytest.mark.parametrize("binding_ref", ["", "a-b", "线路一", "x" * 33])
    def test_a_reference_alipay_would_not_take_is_refused_before_a_url_is_made(
        self, gateway, binding_ref
    ):
        with pytest.raises(ValueError, match="binding's reference"):
            gateway.start_binding(request=BindingRequest(binding_ref, "http://x.example", ""))


class TestThePayersApp:
    def test_ending_it_there_tells_only_the_application_gateway(self, alipay, gateway, inbox):
        number = alipay.agree(new_ref("B"), notify_url="http://127.0.0.1:9/notify")
        home = requests.get(f"{alipay.url}/app?payer={RICH}", timeout=10)
        assert number in home.text
        requests.post(f"{alipay.url}/app/unsign", data={"agreement_no": number}, timeout=10)
        body = inbox.wait_for(1)[0]
        assert b"notify_type=dut_user_unsign" in body
        assert b"status=UNSIGN" in body
        facts = gateway.get_binding(binding_ref="", provider_ref=number).outcome
        assert facts.status is BindingStatus.REVOKED

    def test_shows_deductions_with_what_was_given_back(self, alipay, gateway, agreement):
        gateway.charge(request=charge_of(agreement, description="续线话费 42 元"))
        home = requests.get(f"{alipay.url}/app?payer={RICH}", timeout=10)
        assert "续线话费 42 元" in home.text

    def test_is_what_opens_at_the_simulators_address(self, alipay):
        assert requests.get(alipay.url, timeout=10).url == f"{alipay.url}/app"

    def test_a_stranger_to_it_is_not_found(self, alipay):
        answer = requests.post(f"{alipay.url}/app/unsign", data={"agreement_no": "1"}, timeout=10)
        assert answer.status_code == 404

"""The payer's pages: over HTTP what they let in, and in a real browser how they look and work."""

from urllib.parse import urlsplit

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe

from tests.rails.contract import new_ref
from tests.rails.wechat_merchant import Merchant, fields_of
from tests.rails.wechat_simulator import FROZEN, POOR, RICH, start_wechat

pytestmark = pytest.mark.processes
OFFICIAL, H5, APP = "/papay/entrustweb", "/papay/h5entrustweb", "/papay/preentrustweb"


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with start_wechat(tmp_path_factory.mktemp("wechat")) as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.as_it_began()
    return process


@pytest.fixture
def merchant(wechat):
    return Merchant(wechat)


def state_of(merchant, code):
    """contract_state, or the err_code."""
    fields = {"plan_id": merchant.wechat.plan_id, "contract_code": code, "version": "1.0"}
    answer = merchant.call("/papay/querycontract", fields)
    return answer.get("contract_state") or answer["err_code"]


def redirect_of(merchant, code, **changes):
    """What the H5 address answers to the merchant's server."""
    url = merchant.page(H5, contract_code=code, **changes)
    return fields_of(requests.get(url, timeout=10).content)


class TestTheWaysIn:
    def test_from_inside_wechat_is_a_signed_address(self, merchant):
        code = new_ref("B")
        url = merchant.page(OFFICIAL, contract_code=code)
        assert state_of(merchant, code) == "CONTRACT_NOT_EXIST"
        assert requests.get(url, timeout=10).status_code == 200
        assert state_of(merchant, code) == "9"

    def test_from_another_browser_is_an_address_that_opens_once(self, merchant):
        code = new_ref("B")
        url = redirect_of(merchant, code)["redirect_url"]
        assert state_of(merchant, code) == "9"
        assert requests.get(url, timeout=10).status_code == 200
        again = requests.get(url, timeout=10)
        assert again.status_code == 400
        assert "页面已失效" in again.text

    def test_from_an_app_is_a_number_and_the_mini_programs_path(self, wechat, merchant):
        code = new_ref("B")
        asked = merchant.consent(APP, contract_code=code)
        asked.pop("sign")
        answer = merchant.call(APP, asked)
        assert answer["pre_entrustweb_id"] in answer["miniprogram_path"]
        page = requests.get(f"{wechat.url}/{answer['miniprogram_path']}", timeout=10)
        assert page.status_code == 200
        assert "138****0000" in page.text

    def test_close_after_ten_minutes(self, wechat, merchant):
        code = new_ref("B")
        url = redirect_of(merchant, code)["redirect_url"]
        wechat.advance(601)
        assert requests.get(url, timeout=10).status_code == 400
        assert state_of(merchant, code) == "CONTRACT_NOT_EXIST"

    @pytest.mark.parametrize("path", [OFFICIAL, H5])
    @pytest.mark.parametrize(
        "changes",
        [
            {"sign": "0" * 32},
            {"plan_id": "999"},
            {"request_serial": "0123"},
            {"timestamp": "soon"},
            {"contract_code": "bad code"},
            {"contract_display_account": ""},
            {"notify_url": "http://127.0.0.1:9/x?query=1"},
            {"notify_url": "127.0.0.1:9"},
            {"contract_display_account": "📱"},
        ],
    )
    def test_are_closed_to_what_was_asked_wrongly(self, wechat, merchant, path, changes):
        before = len(wechat.journal("signing"))
        url = merchant.page(path, **changes)
        if "sign" in changes:
            url = url.partition("sign=")[0] + f"sign={changes['sign']}"
        answer = requests.get(url, timeout=10)
        assert answer.status_code == (400 if path == OFFICIAL else 200)
        assert ("商家系统错误" if path == OFFICIAL else "FAIL") in answer.text
        assert "redirect_url" not in answer.text
        assert len(wechat.journal("signing")) == before

    def test_demand_the_signature_that_is_theirs(self, merchant):
        """MD5 alone inside WeChat, HMAC-SHA256 alone for h5."""
        by_hmac = merchant.consent(H5)
        by_md5 = merchant.consent(OFFICIAL) | {"clientip": "127.0.0.1"}
        by_md5["sign"] = merchant.signature(by_md5)
        url = merchant.wechat.url
        assert requests.get(f"{url}{OFFICIAL}", params=by_hmac, timeout=10).status_code == 400
        assert "签名错误" in requests.get(f"{url}{H5}", params=by_md5, timeout=10).text

    def test_answer_the_merchant_as_badly_as_ordered(self, wechat, merchant):
        wechat.fault("h5entrustweb", "decline", code="NOAUTH")
        assert redirect_of(merchant, new_ref("B"))["err_code"] == "NOAUTH"
        wechat.fault("h5entrustweb", "http_500")
        assert requests.get(merchant.page(H5), timeout=10).status_code == 500


class TestConsent:
    def opened(self, merchant, code, **changes):
        return requests.get(merchant.page(OFFICIAL, contract_code=code, **changes), timeout=10)

    def decide(self, page, decision, payer=RICH):
        data = {"decision": decision, "payer": payer}
        return requests.post(page.url, data=data, allow_redirects=False, timeout=10)

    def test_signs_for_the_payer_who_was_chosen_and_leads_back(self, wechat, merchant):
        code = new_ref("B")
        page = self.opened(merchant, code, return_web="http://127.0.0.1:9/back?x=1")
        answer = self.decide(page, "agree", POOR)
        assert answer.headers["Location"] == "http://127.0.0.1:9/back?x=1&from_wxpay=1"
        assert state_of(merchant, code) == "0"
        assert wechat.journal("contract")[-1]["terms"]["openid"] == POOR

    def test_leads_back_to_the_page_that_led_here(self, merchant):
        page = requests.get(
            merchant.page(OFFICIAL, return_web="1"),
            headers={"Referer": "http://127.0.0.1:9/methods"},
            timeout=10,
        )
        answer = self.decide(page, "agree")
        assert answer.headers["Location"] == "http://127.0.0.1:9/methods?from_wxpay=1"

    def test_can_be_declined_and_is_then_over(self, wechat, merchant):
        code = new_ref("B")
        page = self.opened(merchant, code)
        assert self.decide(page, "decline").status_code == 303
        assert state_of(merchant, code) == "CONTRACT_NOT_EXIST"
        assert self.decide(page, "agree").status_code == 400
        assert state_of(merchant, code) == "CONTRACT_NOT_EXIST"

    def test_given_twice_is_one_contract(self, wechat, merchant):
        code = new_ref("B")
        page = self.opened(merchant, code)
        for _ in range(2):
            assert self.decide(page, "agree").status_code == 303
        signed = [one for one in wechat.journal("contract") if one["reference"] == code]
        assert len(signed) == 1

    def test_may_be_given_again_under_the_same_number_after_an_ending(self, wechat, merchant):
        code = new_ref("B")
        first = wechat.agree(code)
        wechat.revoke(first)
        assert state_of(merchant, code) == "1"
        page = self.opened(merchant, code)
        assert state_of(merchant, code) == "9"
        self.decide(page, "agree")
        assert state_of(merchant, code) == "0"
        assert merchant.apply(first) == "CONTRACT_NOT_EXIST"

    def test_may_be_held_to_one_contract_a_payer(self, wechat, merchant):
        held = wechat.agree(new_ref("B"), payer=FROZEN)
        wechat.set(one_contract_per_payer=True)
        code = new_ref("B")
        answer = self.decide(self.opened(merchant, code), "agree", FROZEN)
        assert answer.status_code == 400
        assert "你已开通" in answer.text
        assert state_of(merchant, code) == "9"
        wechat.revoke(held)
        assert self.decide(self.opened(merchant, code), "agree", FROZEN).status_code == 303
        assert state_of(merchant, code) == "0"

    def test_can_be_given_without_asking(self, wechat, merchant):
        wechat.set(auto_agree=True)
        code = new_ref("B")
        requests.get(redirect_of(merchant, code)["redirect_url"], timeout=10)
        assert state_of(merchant, code) == "0"

    def test_runs_out_without_a_word(self, wechat, merchant):
        code = new_ref("B")
        contract_id = wechat.agree(code)
        wechat.expire(contract_id, in_s=3600)
        assert state_of(merchant, code) == "0"
        wechat.advance(3601)
        assert state_of(merchant, code) == "1"
        told = wechat.contract(contract_id)
        assert told["contract_termination_mode"] == "1"
        assert merchant.apply(contract_id) == "CONTRACTERROR"

    def test_is_in_the_wallet_that_opens_at_the_simulators_address(self, wechat):
        assert requests.get(wechat.url, timeout=10).url == f"{wechat.url}/app"

    def test_speaks_english_when_asked(self, merchant):
        url = merchant.page(OFFICIAL)
        english = requests.get(url, headers={"Accept-Language": "en-GB,en"}, timeout=10)
        chinese = requests.get(url, headers={"Accept-Language": "zh-CN"}, timeout=10)
        assert 'lang="en"' in english.text.splitlines()[1]
        assert "Turn on automatic payments" in english.text
        assert "开通自动扣费服务" in chinese.text
        assert "Turn on automatic" not in chinese.text


@pytest.fixture(params=["light", "dark"])
def phone(request, chromium):
    with chromium.new_context(
        viewport={"width": 360, "height": 740},
        color_scheme=request.param,
        locale="zh-CN" if request.param == "light" else "en-GB",
    ) as context:
        yield context.new_page()


def faults_of(page):
    """axe's findings, and whether the page is wider than the phone."""
    found = [violation["id"] for violation in Axe().run(page).response["violations"]]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the phone")
    return found


@pytest.mark.browser
class TestOnAPhone:
    def test_a_payer_consents_is_charged_sees_it_and_ends_it(self, wechat, merchant, phone):
        code = new_ref("B")
        phone.goto(merchant.page(OFFICIAL, contract_code=code))
        assert faults_of(phone) == []
        phone.get_by_label("苏禾").check()
        phone.get_by_role("button", name="同意并开通").or_(
            phone.get_by_role("button", name="Agree")
        ).click()
        phone.wait_for_url("**/papay/done**")
        assert faults_of(phone) == []
        assert state_of(merchant, code) == "0"

        contract_id = wechat.journal("contract")[-1]["contract_id"]
        merchant.paid(contract_id, body="话费充值 ¥50/138")
        wechat.age(contract_id)
        wechat.advance(24 * 3600)
        assert merchant.apply(contract_id) == "SUCCESS"  # it waits
        openid = wechat.journal("contract")[-1]["terms"]["openid"]
        phone.goto(f"{wechat.url}/app?payer={openid}")
        assert faults_of(phone) == []
        assert phone.get_by_text("¥50.00").count() >= 2
        phone.get_by_role("button", name="关闭服务").or_(
            phone.get_by_role("button", name="Turn off")
        ).first.click()
        phone.wait_for_load_state()
        assert urlsplit(phone.url).path == "/app"
        assert state_of(merchant, code) == "1"

    def test_a_payer_may_say_no_and_switch_the_language(self, wechat, merchant, phone):
        code = new_ref("B")
        phone.goto(merchant.page(OFFICIAL, contract_code=code))
        heading = phone.get_by_role("heading", level=1)
        before = heading.inner_text()
        phone.get_by_role("link", name="English").or_(
            phone.get_by_role("link", name="中文")
        ).click()
        assert heading.inner_text() != before
        phone.get_by_role("button", name="暂不开通").or_(
            phone.get_by_role("button", name="Not now")
        ).click()
        phone.wait_for_url("**/papay/done**")
        assert faults_of(phone) == []
        assert state_of(merchant, code) == "CONTRACT_NOT_EXIST"

    def test_a_faulty_request_says_what_to_do(self, wechat, phone):
        phone.goto(f"{wechat.url}{OFFICIAL}?appid=1")
        assert faults_of(phone) == []
        text = phone.get_by_role("main").inner_text()
        assert "重新发起" in text or "start again" in text

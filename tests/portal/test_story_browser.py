"""The portal in Chromium: the main job by hand, without JavaScript; every page fit for everyone.

The rail and the carrier are in memory here. The same story against the real worker and the
simulators over HTTP is `tests/e2e`.
"""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from billing import gateways
from billing.gateways.base import BindingFacts, BindingRequest, BindingStatus, SigningPage
from billing.models import Consent, Rule
from lines import carriers
from portal.accounts import texts
from portal.accounts.models import User
from tests import days
from tests import world as w
from tests.factories.portal import PASSWORD
from tests.fakes import FakeGateway
from tests.portal import people
from tests.portal.addresses import PAGES, url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
ENTRANCE = ("/", "/account/login/", "/account/login/code/", "/account/signup/", "/nowhere/")
OWN_ACCOUNT = ("/account/email/", "/account/2fa/", "/account/sessions/", "/account/phone/change/")


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    return chromium


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that reached a phone, to an account or to prove a line."""
    sent: list[str] = []

    class Carrier:
        def send_code(self, *, address: Any, text: str) -> bool:
            sent.append(text)
            return True

    monkeypatch.setattr(texts, "send", lambda *, phone, text: sent.append(text))
    monkeypatch.setattr(carriers, "adapter_for", lambda _carrier: Carrier())
    return sent


@pytest.fixture
def site(live_server: Any, settings: Any) -> str:
    settings.PUBLIC_URL = live_server.url
    settings.CSRF_TRUSTED_ORIGINS = [live_server.url]
    return str(live_server.url)


class SignedAtOnce(FakeGateway):
    """A rail whose page is a press of a button: it sends the payer back, agreed."""

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        self.bindings[request.binding_ref] = BindingFacts(
            BindingStatus.ACTIVE, provider_ref="2027", label="li***@163.com", fingerprint="f"
        )
        return SigningPage(request.return_url)


def context_of(browser: Browser, **more: Any) -> BrowserContext:
    return browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai", **more)


def sign_in(page: Page, site: str, user: User) -> None:
    page.goto(f"{site}/account/login/")
    page.locator("[name=login]").fill(str(user.email))
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main form button.primary").click()
    expect(page).to_have_url(f"{site}/")


def last_code(box: list[str]) -> str:
    return str(re.findall(r"\d{6}", box[-1])[-1])


def go_on(page: Page) -> None:
    page.locator("main form button.primary").click()


class TestTheMainJob:
    def test_is_done_on_a_phone_without_javascript(
        self, browser: Browser, site: str, box: list[str]
    ) -> None:
        w.carrier()
        w.rail()
        context = context_of(browser, viewport=PHONE, java_script_enabled=False)
        page = context.new_page()
        with gateways.override("alipay", SignedAtOnce()):
            self._register(page, site, box)
            self._add_a_line(page, site, box)
            self._bind(page, site)
            self._set_up(page)
            self._stop(page)
        context.close()

    def _register(self, page: Page, site: str, box: list[str]) -> None:
        page.goto(site)
        page.get_by_role("link", name="注册").click()
        page.get_by_label("手机号", exact=True).fill("138 0000 0021")
        go_on(page)
        page.locator("[name=code]").fill(last_code(box))
        go_on(page)
        expect(page).to_have_url(f"{site}/")

    def _add_a_line(self, page: Page, site: str, box: list[str]) -> None:
        page.get_by_role("link", name="添加线路").click()
        page.get_by_role("link", name=re.compile("FM 卡")).click()
        page.locator("[name=label]").fill("妈妈的手机")
        page.locator("[name=carrier]").select_option("cmcc")
        page.locator("[name=msisdn]").fill("13800000021")
        page.locator("[name=iccid]").fill("8944538532008160223")
        go_on(page)
        expect(page.locator("#id_iccid_error")).to_be_visible()
        expect(page.locator("[name=label]")).to_have_value("妈妈的手机")
        page.locator("[name=iccid]").fill("8944538532008160222")
        go_on(page)
        page.locator("[name=code]").fill(last_code(box))
        go_on(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("妈妈的手机")

    def _bind(self, page: Page, site: str) -> None:
        page.get_by_role("link", name="设置自动充值").click()
        page.get_by_role("link", name="绑定支付方式").click()
        page.locator("button[name=rail][value=alipay]").click()
        expect(page.get_by_text("支付宝已绑定")).to_be_visible()
        page.get_by_role("link", name="继续设置自动充值").click()

    def _set_up(self, page: Page) -> None:
        go_on(page)
        page.locator("[name=face][value='5000']").check()
        page.locator("[name=cycle][value=monthly]").check()
        first = days.last_of(1)
        page.locator("[name=anchor_date]").fill(first.isoformat())
        go_on(page)
        page.locator("[name=threshold]").fill("10")
        go_on(page)
        go_on(page)
        expect(page.locator(".tile")).to_have_count(12)
        expect(page.locator(".tile").nth(1)).to_contain_text(f"2-{days.end_of(first.year, 2).day}")
        expect(page.locator(".tile").nth(1)).to_contain_text("月末")
        assert not Rule.objects.filter(is_on=True).exists()
        go_on(page)
        expect(page.get_by_text("设置成功")).to_be_visible()
        assert Rule.objects.get().is_on
        assert Consent.objects.get().text in page.inner_text("main")

    def _stop(self, page: Page) -> None:
        page.get_by_role("link", name="查看线路").click()
        expect(page.get_by_text("自动充值已开").first).to_be_visible()
        page.get_by_role("link", name="关闭").click()
        page.get_by_role("button", name="关闭自动充值").click()
        expect(page.get_by_text("不会再扣款")).to_be_visible()
        assert not Rule.objects.get().is_on


class TestEveryPage:
    @pytest.mark.parametrize(
        ("viewport", "scheme", "language"),
        [(PHONE, "light", "zh-hans"), (DESK, "dark", "en")],
        ids=["phone-light-zh", "desk-dark-en"],
    )
    def test_has_nothing_serious_against_it_fits_a_small_phone_and_breaks_no_policy(
        self, browser: Browser, site: str, viewport: Any, scheme: Any, language: str
    ) -> None:
        alice = people.alice_at_home(language=language)
        alice.lines.filter(kind="fm").update(label="Averylongnamethathasnospaceinitatallxxxx")
        context = context_of(browser, viewport=viewport, color_scheme=scheme)
        page, said, faults, wide = context.new_page(), [], [], []
        page.on("console", lambda message: said.append(message.text))
        with gateways.override("alipay", people.gateway()):
            for path in ENTRANCE:
                faults += self._faults(page, site + path)
            sign_in(page, site, alice)
            for path in [*(url(one, alice) for one in PAGES), *OWN_ACCOUNT]:
                faults += self._faults(page, site + path)
                wide += [path] if self._is_wide_on_a_small_phone(page) else []
                page.set_viewport_size(viewport)
        context.close()
        assert (faults, wide) == ([], [])
        assert [words for words in said if "Content Security Policy" in words] == []

    @staticmethod
    def _is_wide_on_a_small_phone(page: Page) -> bool:
        page.set_viewport_size({"width": 360, "height": 740})
        return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))

    @staticmethod
    def _faults(page: Page, address: str) -> list[tuple[str, str, str]]:
        page.goto(address)
        return [
            (address.split("/", 3)[3], fault["id"], fault["nodes"][0]["html"][:120])
            for fault in Axe().run(page).response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]


class TestTheKeyboard:
    def test_skips_to_the_content_and_sees_where_it_is(self, browser: Browser, site: str) -> None:
        alice = people.person("Alice", language="en")
        people.line(alice, at=datetime.now(UTC))
        context = context_of(browser, viewport=DESK)
        page = context.new_page()
        sign_in(page, site, alice)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="To the content")).to_be_focused()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px"
        context.close()

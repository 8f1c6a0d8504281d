"""The main job as its user does it: in a browser, against the real worker, rail and carrier."""

import re
from calendar import monthrange
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.processes]

NUMBER, ICCID = "+8613800009001", "8986000000000000900"
WAIT_MS = 60_000  # a busy machine; what is awaited is pressed for by reloading
PHONE = {"width": 390, "height": 844}


def luhn(body: str) -> str:
    digits = [int(d) for d in body][::-1]
    doubled = [d * 2 - 9 if d * 2 > 9 else d * 2 for d in digits[::2]]
    return f"{body}{-(sum(doubled) + sum(digits[1::2])) % 10}"


def last_code(installation: Any) -> str:
    texts = installation.carrier("GET", f"/sms?number={NUMBER.replace('+', '%2B')}")
    return re.findall(r"\d{6}", texts[0]["text"])[0]


def sign_in(page: Page, web: str, email: str) -> None:
    page.goto(f"{web}/account/login/")
    page.locator("[name=login]").fill(email)
    page.locator("[name=password]").fill("keepline-demo")
    page.locator("[name=password]").press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)


def await_text(page: Page, text: str) -> None:
    """Reload until it is there: the pages work without JavaScript, and so does this."""
    for _ in range(WAIT_MS // 1000):
        if page.get_by_text(text).count():
            return
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.get_by_text(text).first).to_be_visible()


class TestASubscriber:
    def test_puts_in_a_line_confirms_a_plan_and_is_recharged_by_it(
        self, installation: Any, browser: Browser
    ) -> None:
        web = installation.stage.web_url
        card = luhn(ICCID[:-1])
        installation.carrier(
            "POST",
            "/lines",
            {
                "number": NUMBER,
                "iccid": card,
                "balance_minor": 1860,
                "notify_below_minor": 1000,
            },
        )
        page = browser.new_context(viewport=PHONE, locale="zh-CN").new_page()

        # Register with the number, and the code that the carrier sends to it.
        page.goto(f"{web}/account/signup/")
        page.locator("[name=phone]").fill(NUMBER)
        page.locator("main form button.primary").click()
        page.locator("input[name=code]").fill(last_code(installation))
        page.locator("main form button").first.click()
        expect(page).to_have_url(f"{web}/")

        # Put the line in, and prove that it is theirs.
        page.goto(f"{web}/lines/add/fm/")
        page.locator("[name=label]").fill("妈妈的手机")
        page.locator("[name=carrier]").select_option("cucc")
        page.locator("[name=msisdn]").fill(NUMBER.removeprefix("+86"))
        page.locator("[name=iccid]").fill(card[:9])
        page.locator("main form button.primary").click()
        expect(page.locator(".error-summary")).to_be_visible()  # too short, said at its field
        expect(page.locator("[name=label]")).to_have_value("妈妈的手机")
        page.locator("[name=iccid]").fill(card)
        page.locator("main form button.primary").click()
        page.locator("[name=code]").wait_for()
        page.locator("[name=code]").fill(last_code(installation))
        page.locator("main form button.primary").first.click()
        expect(page.get_by_text("妈妈的手机").first).to_be_visible()

        # Bind Alipay on its own page, and come back.
        page.goto(f"{web}/payment/")
        page.locator("button[name=rail][value=alipay]").click()
        expect(page).to_have_url(re.compile(re.escape(installation.stage.alipay_url)))
        page.locator("button[value=agree]").click()
        expect(page).to_have_url(re.compile(re.escape(web)))
        await_text(page, "支付宝已绑定")

        # Set the rule, look at what it will really do, and agree.
        year = datetime.now(UTC).year + 1
        page.goto(f"{web}/")
        page.get_by_role("link", name="设置自动充值").first.click()
        for _ in range(6):
            if "/auto/review/" in page.url:
                break
            if page.locator("[name=face]").count():
                page.locator("[name=face]").nth(3).check()  # 50.00
                page.locator("[name=cycle][value=monthly]").check()
                page.locator("[name=anchor_date]").fill(f"{year}-01-31")
            if page.locator("[name=threshold]").count():
                page.locator("[name=threshold]").fill("10")
            page.locator("main form button.primary").click()
        expect(page).to_have_url(re.compile("/auto/review/"))
        expect(page.locator(".tile")).to_have_count(12)
        expect(page.locator(".tile").nth(1)).to_contain_text(f"2-{monthrange(year, 2)[1]}")
        expect(page.locator(".tile").nth(1)).to_contain_text("月末")
        page.locator("main form button.primary").click()
        expect(page).to_have_url(re.compile("/auto/on/"))

        # The balance runs low at the carrier; nobody does anything.
        installation.carrier("PATCH", f"/lines/{NUMBER}", {"balance_minor": 980})
        page.goto(f"{web}/history/")
        await_text(page, "已到账")

        # The line is credited at the carrier, and the three books agree.
        line = next(one for one in installation.carrier("GET", "/lines") if one["number"] == NUMBER)
        assert line["balance_minor"] >= 980 + 1000
        report = installation.verify()
        assert report["violations"] == {}
        assert report["states"] == {"completed": 1}
        assert report["books"] == {"ours": 2, "theirs": 2, "differences": {}}
        assert report["accounts"]["CNY"]["undelivered"] == 0

        # Why: in words, on the page of the recharge.
        page.get_by_role("link", name=re.compile("已到账")).first.click()
        expect(page.get_by_text("9.80").first).to_be_visible()


class TestTheOtherRails:
    def test_are_chosen_in_the_portal_and_signed_on_their_own_pages(
        self, installation: Any, browser: Browser
    ) -> None:
        web, stage = installation.stage.web_url, installation.stage
        page = browser.new_context(viewport=PHONE, locale="zh-CN").new_page()
        sign_in(page, web, "finance@example.com")
        for rail, url, button, bound in (
            ("wechat", stage.wechat_url, "同意并开通", "微信支付已绑定"),
            ("stripe", stage.stripe_url, "保存", "银行卡已绑定"),
        ):
            page.goto(f"{web}/payment/")
            page.locator(f"button[name=rail][value={rail}]").click()
            expect(page).to_have_url(re.compile(re.escape(url)))
            page.get_by_role("button", name=button).click()
            expect(page).to_have_url(re.compile(re.escape(web)))
            await_text(page, bound)
        page.goto(f"{web}/payment/")
        expect(page.get_by_text("Visa ****4242")).to_be_visible()


class TestAnOperator:
    def test_reads_the_whole_story_of_that_recharge(
        self, installation: Any, browser: Browser
    ) -> None:
        web = installation.stage.web_url
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        sign_in(page, web, "ops@example.com")
        page.goto(f"{web}/admin/billing/recharge/")
        page.locator("#result_list a[href*='/billing/recharge/']").first.click()
        story = page.locator("body")
        for told in ("alipay.trade.pay", "rail:alipay", "undelivered", "carrier:cucc"):
            expect(story).to_contain_text(told)
        # Numbers are masked: the whole one is nowhere on the page.
        assert NUMBER.removeprefix("+86") not in page.content()


class TestAStranger:
    def test_finds_nothing_of_hers(self, installation: Any, browser: Browser) -> None:
        web = installation.stage.web_url
        context = browser.new_context(viewport=PHONE)
        page = context.new_page()
        answer = page.goto(f"{web}/lines/01M82GAT5M5GSVH2JEB9EA3YFD/")
        assert answer is not None
        assert "/account/login" in page.url

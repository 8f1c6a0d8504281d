"""The admin in Chromium: it works under its own content policy, on a desk and on a phone.

docs/decisions/0003-admin-csp.md says what that policy allows and why.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page

from billing.models import Recharge, Rule
from portal.accounts.models import User
from tests import world as w
from tests.admin import pages
from tests.admin.conftest import hold, open_one, sign_in
from tests.factories.portal import UserFactory

DESK: Any = {"width": 1280, "height": 900}
PHONE: Any = {"width": 390, "height": 844}
PAGES = ("/change/", "/request-refund/", "/defer-rail/")
# Tells every refusal of the policy, also of what scripts try later.
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error("CSP", event.violatedDirective, event.blockedURI, event.sourceFile);
});
"""

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(world: Any) -> Any:
    """The pages read the real clock, so this world lives by it."""
    world.at = timezone.now()
    return world


class Browser:
    """One signed-in operator's browser, and what it complained about."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"error {error}"))

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def go(self, address: str) -> Page:
        self.page.goto(self.base + address, wait_until="load")
        return self.page


@pytest.fixture
def browser(request: Any, chromium: Any, house: Any, live_server: Any) -> Iterator[Browser]:
    """On a desk, unless the test says otherwise."""
    client = sign_in(UserFactory.create(administrator=True, name="Root"))
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    with chromium.new_context(viewport=getattr(request, "param", DESK)) as context:
        context.add_init_script(LISTEN)
        context.add_cookies(
            [
                {"name": name, "value": value, "url": live_server.url}
                for name, value in (
                    (settings.SESSION_COOKIE_NAME, session),
                    (settings.LANGUAGE_COOKIE_NAME, "en"),
                )
            ]
        )
        yield Browser(context.new_page(), live_server.url)


on_both = pytest.mark.parametrize("browser", [DESK, PHONE], ids=["desk", "phone"], indirect=True)


def test_every_list_and_page_loads_without_a_refusal(browser: Browser) -> None:
    addresses = [
        *(address for _model, address in pages.lists()),
        *(address for _model, address in pages.of_objects() if address.endswith(PAGES)),
        "/admin/",
    ]

    wide = {address: _overflows_on(browser.go(address)) for address in addresses}

    assert browser.complaints == []
    assert {address: sizes for address, sizes in wide.items() if sizes} == {}


def _overflows_on(page: Page) -> list[int]:
    """The widths, of a phone and a desk, in which the page does not fit."""
    return [size["width"] for size in (PHONE, DESK) if _overflows(page, size)]


def _overflows(page: Page, size: Any) -> bool:
    page.set_viewport_size(size)
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"))


def test_its_parts_move(browser: Browser) -> None:
    """Filters, menus, calendars and themes are Alpine's and Django's scripts at work."""
    page = browser.go(reverse("admin:billing_recharge_changelist"))
    page.locator("a", has_text="Filters").click()
    page.locator("#changelist-filter").get_by_text("completed", exact=True).click()
    page.wait_for_url("**state__exact=completed**")

    page = browser.go(reverse("admin:billing_promotion_add"))
    page.locator("#calendarlink0").click()
    page.locator("#calendarbox0").wait_for()

    assert browser.complaints == []


def test_an_operation_is_done_from_the_page(browser: Browser, world: Any) -> None:
    rule = w.rule(w.line(w.person("held")))
    recharge = hold(world, open_one(world, rule, "held"))

    page = browser.go("/admin/")
    page.get_by_role("link", name="¥50.00").first.click()
    page.get_by_role("link", name="Approve", exact=True).click()
    page.get_by_label("Why").fill("checked with the owner")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Done: Approve.").wait_for()

    assert Recharge.objects.get(pk=recharge.pk).state == "due"
    assert page.get_by_text("“checked with the owner”").count() == 1
    assert browser.complaints == []


@pytest.mark.parametrize("browser", [PHONE], ids=["phone"], indirect=True)
def test_its_language_is_switched(browser: Browser) -> None:
    page = browser.go("/admin/")
    page.locator("text=dock_to_right").last.click()
    page.get_by_text("root@example.com").last.click()
    page.get_by_role("button", name="简体中文").click()
    page.wait_for_load_state("load")

    assert "需要处理" in page.inner_text("body")
    assert User.objects.get(email="root@example.com").language == "zh-hans"
    assert browser.complaints == []


@on_both
def test_has_nothing_serious_against_it_for_a_screen_reader(browser: Browser, world: Any) -> None:
    rule, recharge = Rule.objects.all()[0], Recharge.objects.all()[0]
    Rule.objects.filter(pk=rule.pk).update(paused_at=world.at, pause_reason="crashed")
    addresses = (
        "/admin/",
        reverse("admin:billing_recharge_change", args=[recharge.pk]),
        reverse("admin:billing_rule_do", args=[rule.pk, "resume-rule"]),
    )

    found = {address: _serious(browser.go(address)) for address in addresses}

    assert found == {address: [] for address in addresses}


def _serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds in our part of the page, with the first elements it means."""
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in Axe().run(page, context="#main").response["violations"]
        if one["impact"] in ("serious", "critical")
    ]

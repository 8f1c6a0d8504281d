"""Every page, as its owner sees it: there, in both languages, and clean under a strict policy."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import translation

from billing.models import Rule
from portal import cards, wording
from portal.views import urls
from tests.portal import people
from tests.portal.addresses import ADDRESSES, PAGES, Address, url

ENTRANCE = (
    "/account/login/",
    "/account/login/code/",
    "/account/signup/",
    "/account/signup/?by=email",
    "/account/password/reset/",
)
OWN_ACCOUNT = (
    "/account/email/",
    "/account/phone/change/",
    "/account/password/change/",
    "/account/2fa/",
    "/account/sessions/",
    "/account/logout/",
)
CHINESE = re.compile(r"[一-鿿]")


def assert_clean(response) -> None:
    """Nothing inline that a policy without exceptions would refuse, and the policy is sent."""
    text = response.content.decode()
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"<style\b", text)
    assert not re.search(r"<script\b", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


class TestEveryAddress:
    def test_is_listed_for_the_matrix(self):
        assert {pattern.name for pattern in urls.urlpatterns} == {one.name for one in ADDRESSES}

    def test_names_no_row_and_no_number(self, alice):
        keys = {url(one, alice) for one in ADDRESSES}
        assert not [address for address in keys if re.search(r"/\d+/|\d{7}", address)]


class TestEveryPage:
    @pytest.mark.parametrize("address", PAGES, ids=lambda one: one.name)
    def test_opens_for_its_owner(self, alice, as_user, address: Address):
        response = as_user(alice).get(url(address, alice))
        assert response.status_code == address.answers

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    @pytest.mark.parametrize("address", PAGES, ids=lambda one: one.name)
    def test_is_clean_and_in_the_readers_language(self, alice, as_user, address, language):
        alice.language = language
        alice.save()
        response = as_user(alice).get(url(address, alice), follow=True)
        assert_clean(response)
        text = response.content.decode()
        assert f'<html lang="{language}">' in text
        assert text.count("<h1") == 1
        assert ("aria-label" in text) is True

    @pytest.mark.parametrize("path", ENTRANCE)
    def test_of_the_entrance_is_clean(self, db, path):
        response = Client().get(path)
        assert response.status_code == 200
        assert_clean(response)

    @pytest.mark.parametrize("path", OWN_ACCOUNT)
    def test_of_the_account_is_clean(self, alice, as_user, path):
        response = as_user(alice).get(path, follow=True)
        assert response.status_code == 200
        assert_clean(response)

    @pytest.mark.parametrize("address", PAGES, ids=lambda one: one.name)
    def test_asks_a_visitor_to_sign_in(self, alice, address: Address):
        response = Client().get(url(address, alice))
        if address.is_open:
            assert response.status_code == 200
        else:
            assert response.status_code == 302
            assert response.headers["Location"].startswith("/account/login/code/?next=")

    def test_that_does_not_exist_says_so(self, alice, as_user):
        response = as_user(alice).get("/nowhere/")
        assert response.status_code == 404
        assert "This page does not exist" in response.content.decode()


class TestAnActingAddress:
    @pytest.mark.parametrize(
        "address", [one for one in ADDRESSES if one.is_post], ids=lambda one: one.name
    )
    def test_does_nothing_by_looking(self, alice, as_user, address: Address):
        assert as_user(alice).get(url(address, alice)).status_code == 405


class TestAnyPost:
    @pytest.mark.parametrize(
        "address", [one for one in ADDRESSES if not one.is_download], ids=lambda one: one.name
    )
    def test_from_another_site_is_refused(self, alice, address: Address):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice, "django.contrib.auth.backends.ModelBackend")
        assert browser.post(url(address, alice)).status_code == 403

    @pytest.mark.parametrize("path", [*ENTRANCE, "/account/logout/", "/language/"])
    def test_at_the_entrance_from_another_site_is_refused(self, db, path):
        assert Client(enforce_csrf_checks=True).post(path).status_code == 403


class TestHome:
    def test_shows_balance_age_state_and_what_is_coming(self, alice, as_user):
        text = as_user(alice).get("/").content.decode()
        assert "¥18.60" in text
        assert "4 minutes ago" in text
        assert "Auto-recharge on" in text
        assert "Not set up" in text
        assert "Alipay li***@163.com ends on" in text

    def test_names_the_charge_that_really_comes_next(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        with translation.override("en"):
            first, second = (
                f"Next auto-recharge: {wording.day(charge.local_date)}, ¥50, Alipay"
                for charge in cards.upcoming(rule, at=datetime.now(UTC), count=2)
            )
        assert first in as_user(alice).get("/").content.decode()
        Rule.objects.filter(pk=rule.pk).update(skip_index=rule.next_index)
        text = as_user(alice).get("/").content.decode()
        assert first not in text
        assert second in text

    def test_calls_no_line_connected_that_the_carrier_has_suspended(self, alice, as_user):
        alice.bindings.update(expires_at=None)
        assert "your lines are connected" in as_user(alice).get("/").content.decode()
        alice.lines.filter(kind="esim").update(status="suspended")
        assert "your lines are connected" not in as_user(alice).get("/").content.decode()

    def test_says_that_a_low_line_is_stopped_by_its_limit(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        Rule.objects.filter(line=line).update(max_per_month_minor=5000)
        assert "limit is used up" not in as_user(alice).get("/").content.decode()
        alice.lines.filter(pk=line.pk).update(balance_minor=900)
        text = as_user(alice).get("/").content.decode()
        assert "妈妈的手机 is low, and its limit is used up" in text
        assert "¥49.25 of this month&#x27;s ¥50 is used" in text
        assert f'href="/lines/{line.public_id}/auto/limits/"' in text

    def test_never_says_on_while_the_system_pauses(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        rule.paused_at, rule.pause_reason = rule.created_at, "binding_paused"
        rule.save()
        text = as_user(alice).get("/").content.decode()
        assert "Auto-recharge on" not in text
        assert "Paused: needs you" in text

    def test_marks_an_old_balance_as_old(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        line.balance_observed_at -= line.balance_observed_at - line.created_at
        line.save()
        assert "old figure" in as_user(alice).get("/").content.decode()

    def test_of_a_newcomer_says_the_next_step(self, db, as_user):
        text = as_user(people.person("Charlie")).get("/").content.decode()
        assert "Put in your first line" in text
        assert 'href="/lines/add/"' in text

    def test_of_a_visitor_offers_to_register(self, db):
        assert "/account/signup/" in Client().get("/").content.decode()

    def test_greets_in_chinese_where_no_language_is_asked_for(self, db):
        assert CHINESE.search(Client().get("/").content.decode())

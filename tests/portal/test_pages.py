"""Every page, as its owner sees it: there, in both languages, and clean under a strict policy."""

import re

import pytest
from django.test import Client

from portal.views import urls
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


@pytest.fixture
def alice(alice_of_the_module):
    return alice_of_the_module


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
    # docs/decisions/0013-where-forms-go.md
    leads_to_signing = response.wsgi_request.path.startswith("/payment/")
    assert ("form-action 'self'" in policy) or leads_to_signing


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
        browser.force_login(alice)
        assert browser.post(url(address, alice)).status_code == 403

    @pytest.mark.parametrize("path", [*ENTRANCE, "/account/logout/", "/language/"])
    def test_at_the_entrance_from_another_site_is_refused(self, db, path):
        assert Client(enforce_csrf_checks=True).post(path).status_code == 403

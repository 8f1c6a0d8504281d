"""Registering, signing in and staying signed in: with a phone, with an e-mail address."""

import re
import time
from datetime import UTC, datetime

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from portal.accounts import texts
from portal.accounts.models import User
from tests.factories.portal import PASSWORD
from tests.portal import people

PHONE = "138 0000 0021"
E164 = "+8613800000021"
HOME = "/"


@pytest.fixture
def browser(db) -> Client:
    client = Client()
    client.cookies["django_language"] = "en"
    return client


def code_in(text: object) -> str:
    return str(re.findall(r"\b\d{6}\b", str(text))[-1])


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


class TestRegisteringByPhone:
    def test_ends_signed_in_with_the_number_proven(self, browser, sent):
        page = browser.post("/account/signup/", {"phone": PHONE})
        assert page.headers["Location"] == "/account/phone/verify/"
        assert not is_in(browser)
        browser.post("/account/phone/verify/", {"code": code_in(sent[0][1])})
        user = User.objects.get()
        assert (user.phone, user.language) == (E164, "en")
        assert user.phone_verified_at is not None
        assert is_in(browser)
        assert [number for number, _words in sent] == [E164]

    def test_refuses_what_is_no_number_at_the_field_and_keeps_it(self, browser, sent):
        text = browser.post("/account/signup/", {"phone": "12345"}).content.decode()
        assert 'value="12345"' in text
        assert 'aria-invalid="true"' in text
        assert "No such number" in text
        assert 'href="#id_phone"' in text
        assert sent == []
        assert not User.objects.exists()

    def test_refuses_a_wrong_code_and_ends_after_three(self, browser, sent):
        browser.post("/account/signup/", {"phone": PHONE})
        wrong = "000000" if code_in(sent[0][1]) != "000000" else "111111"
        for _number in range(2):
            page = browser.post("/account/phone/verify/", {"code": wrong})
            assert "This code is not right" in page.content.decode()
        browser.post("/account/phone/verify/", {"code": wrong})
        browser.post("/account/phone/verify/", {"code": code_in(sent[0][1])})
        assert not is_in(browser)
        assert User.objects.get().phone_verified_at is None

    def test_of_a_known_number_tells_its_holder_and_no_stranger(self, browser, sent):
        people.person("Alice", phone=E164, phone_verified_at=datetime.now(UTC))
        known = browser.post("/account/signup/", {"phone": PHONE})
        assert known.headers["Location"] == "/account/phone/verify/"
        assert "already has an account" in sent[0][1]
        assert User.objects.count() == 1

    def test_of_a_number_that_somebody_only_typed_is_not_in_the_way(self, browser, sent):
        squatter = people.person("Mallory", phone=E164)
        browser.post("/account/signup/", {"phone": PHONE})
        browser.post("/account/phone/verify/", {"code": code_in(sent[-1][1])})
        user = User.objects.get(phone=E164)
        assert is_in(browser)
        assert user.phone_verified_at is not None
        assert not user.has_usable_password()  # Mallory's password opens nothing
        assert user.pk == squatter.pk

    def test_that_cannot_be_sent_says_so_and_lets_nobody_in(self, browser, monkeypatch):
        def fails(**_any):
            raise texts.TextNotSent

        monkeypatch.setattr(texts, "send", fails)
        page = browser.post("/account/signup/", {"phone": PHONE}, follow=True)
        assert "could not be sent" in page.content.decode()
        assert E164 in page.content.decode()  # it need not be typed again
        assert not is_in(browser)

    def test_again_at_once_is_refused_as_too_soon(self, browser, sent):
        browser.post("/account/signup/", {"phone": PHONE})
        other = Client()
        page = other.post("/account/signup/", {"phone": PHONE})
        assert page.status_code == 429
        assert len(sent) == 1


class TestRegisteringByEmail:
    FORM = {"email": "Carol@Example.org", "password1": PASSWORD}

    def test_ends_signed_in_once_the_code_is_entered(self, browser):
        page = browser.post("/account/signup/?by=email", self.FORM)
        assert page.headers["Location"] == "/account/login/code/confirm/"
        assert not is_in(browser)
        browser.post("/account/login/code/confirm/", {"code": code_in(mail.outbox[0].body)})
        user = User.objects.get()
        assert user.email == "carol@example.org"
        assert EmailAddress.objects.get(user=user).verified
        assert is_in(browser)

    def test_looks_the_same_for_an_address_that_is_taken(self, browser):
        people.person("Carol")
        page = browser.post("/account/signup/?by=email", self.FORM)
        assert page.headers["Location"] == "/account/login/code/confirm/"
        assert mail.outbox[0].to == ["carol@example.org"]
        assert str(mail.outbox[0].subject).startswith("Keepline: ")
        assert not re.search(r"\b\d{6}\b", str(mail.outbox[0].body))
        assert User.objects.count() == 1

    def test_refuses_a_weak_password_and_keeps_the_address(self, browser):
        form = {"email": "carol@example.org", "password1": "12345"}
        text = browser.post("/account/signup/?by=email", form).content.decode()
        assert 'value="carol@example.org"' in text
        assert "12345" not in text
        assert not User.objects.exists()


class TestSigningIn:
    def test_by_code_opens_the_page_that_was_asked_for(self, browser, sent):
        people.person("Alice", phone=E164, phone_verified_at=datetime.now(UTC))
        asked = browser.get("/history/").headers["Location"]
        page = browser.post(asked, {"phone": PHONE, "next": "/history/"})
        done = browser.post(
            page.headers["Location"], {"code": code_in(sent[0][1]), "next": "/history/"}
        )
        assert done.headers["Location"] == "/history/"
        assert is_in(browser)

    def test_by_code_with_an_unknown_number_lets_nobody_in(self, browser, sent):
        page = browser.post("/account/login/code/", {"phone": PHONE})
        assert page.headers["Location"].startswith("/account/login/code/confirm/")
        assert "no account uses this number" in sent[0][1]
        browser.post("/account/login/code/confirm/", {"code": ""})
        assert not is_in(browser)
        assert not User.objects.exists()

    @pytest.mark.parametrize("login", ["alice@example.org", "Alice@Example.org", PHONE, E164])
    def test_by_password_takes_the_address_or_the_number(self, browser, login):
        people.person(
            "Alice", email="alice@example.org", phone=E164, phone_verified_at=datetime.now(UTC)
        )
        browser.post("/account/login/", {"login": login, "password": PASSWORD})
        assert is_in(browser)

    def test_by_a_number_that_was_never_proven_is_refused(self, browser):
        people.person("Mallory", phone=E164)
        browser.post("/account/login/", {"login": PHONE, "password": PASSWORD})
        assert not is_in(browser)

    def test_with_a_wrong_password_says_so_and_keeps_the_login(self, browser):
        people.person("Alice")
        form = {"login": "alice@example.org", "password": "wrong"}
        text = browser.post("/account/login/", form).content.decode()
        assert "do not match" in text
        assert 'value="alice@example.org"' in text
        assert not is_in(browser)

    def test_says_the_same_for_an_address_nobody_has(self, browser):
        people.person("Alice")
        known = browser.post("/account/login/", {"login": "alice@example.org", "password": "wrong"})
        never = browser.post(
            "/account/login/", {"login": "nobody@example.org", "password": "wrong"}
        )
        said = [re.findall(r"These?.*?match", page.content.decode()) for page in (known, never)]
        assert said[0] == said[1]

    def test_goes_nowhere_outside(self, browser):
        people.person("Alice")
        form = {"login": "alice@example.org", "password": PASSWORD}
        page = browser.post("/account/login/?next=https://evil.example/", form)
        assert page.headers["Location"] == HOME

    def test_shows_the_pages_in_the_accounts_language(self, browser):
        people.person("Alice", language="zh-hans")
        browser.post("/account/login/", {"login": "alice@example.org", "password": PASSWORD})
        assert '<html lang="zh-hans">' in browser.get(HOME).content.decode()


class TestGuessing:
    def test_is_stopped_after_five_and_even_the_right_password_waits(self, browser):
        people.person("Alice")
        for _number in range(5):
            browser.post("/account/login/", {"login": "alice@example.org", "password": "wrong"})
        form = {"login": "alice@example.org", "password": PASSWORD}
        page = browser.post("/account/login/", form)
        assert "Too many tries" in page.content.decode()
        assert not is_in(browser)

    def test_of_one_number_does_not_lock_another(self, browser):
        people.person("Alice", phone=E164, phone_verified_at=datetime.now(UTC))
        for _number in range(5):
            browser.post("/account/login/", {"login": "13900000001", "password": "wrong"})
        browser.post("/account/login/", {"login": PHONE, "password": PASSWORD})
        assert is_in(browser)

    def test_is_counted_where_every_process_sees_it(self, browser):
        people.person("Alice")
        browser.post("/account/login/", {"login": "alice@example.org", "password": "wrong"})
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM portal_cache WHERE cache_key LIKE %s", ["%login%"])
            assert cursor.fetchone()[0] > 0


class TestANewPassword:
    def test_is_set_by_a_code_from_a_letter(self, browser):
        people.person("Alice")
        browser.post("/account/password/reset/", {"email": "alice@example.org"})
        code = code_in(mail.outbox[0].body)
        browser.post("/account/password/reset/confirm/", {"code": code})
        browser.post("/account/password/reset/complete/", {"password1": "another long secret"})
        assert User.objects.get().check_password("another long secret")

    def test_is_offered_for_any_address_and_sent_to_none_that_is_unknown(self, browser):
        page = browser.post("/account/password/reset/", {"email": "nobody@example.org"})
        assert page.headers["Location"] == "/account/password/reset/confirm/"
        assert not re.search(r"\b\d{6}\b", str(mail.outbox[0].body))


class TestASession:
    def test_ends_after_so_long_unused(self, alice, as_user):
        client = as_user(alice)
        client.get(HOME)
        self._age(client, seen_s=settings.SESSION_IDLE_S + 1)
        assert not is_in(client)

    def test_that_is_used_goes_on(self, alice, as_user):
        client = as_user(alice)
        client.get(HOME)
        self._age(client, seen_s=settings.SESSION_IDLE_S - 60)
        assert is_in(client)

    def test_ends_after_so_long_in_all_however_busy(self, alice, as_user):
        client = as_user(alice)
        client.get(HOME)
        self._age(client, began_s=settings.SESSION_COOKIE_AGE + 1, seen_s=5)
        assert not is_in(client)

    def test_of_an_operator_ends_sooner(self, alice, as_user):
        alice.is_staff = True
        alice.save()
        client = as_user(alice)
        client.get(HOME)
        self._age(client, seen_s=settings.SESSION_IDLE_STAFF_S + 1)
        assert not is_in(client)

    def test_ends_at_once_when_the_account_is_switched_off(self, alice, as_user):
        client = as_user(alice)
        assert is_in(client)
        User.objects.update(is_active=False)
        assert not is_in(client)

    def test_leaves_no_page_behind_in_the_browser(self, alice, as_user):
        client = as_user(alice)
        for page in (HOME, "/history/", "/me/", "/nowhere/"):
            assert "no-store" in client.get(page).headers["Cache-Control"]
        client.post("/account/logout/")
        assert "Cache-Control" not in client.get(HOME).headers

    def test_elsewhere_is_ended_by_its_owner(self, db):
        people.person("Alice")
        here, there = Client(), Client()
        form = {"login": "alice@example.org", "password": PASSWORD}
        for client in (here, there):
            client.post("/account/login/", form)
        assert UserSession.objects.count() == 2
        here.post("/account/sessions/")
        assert is_in(here)
        assert not is_in(there)

    def test_elsewhere_is_ended_by_a_new_password(self, alice, as_user):
        here, there = as_user(alice), as_user(alice)
        new = {"oldpassword": PASSWORD, "password1": "another long secret"}
        here.post("/account/password/change/", new)
        assert is_in(here)
        assert not is_in(there)

    @staticmethod
    def _age(client: Client, *, began_s: int = 0, seen_s: int) -> None:
        session, now_s = client.session, int(time.time())
        session["session_limits"] = [now_s - max(began_s, seen_s), now_s - seen_s]
        session.save()

    @pytest.mark.parametrize("name", ["sessionid"])
    def test_cookie_is_kept_from_scripts_and_other_sites(self, alice, browser, name):
        form = {"login": "alice@example.org", "password": PASSWORD}
        browser.post("/account/login/", form)
        cookie = browser.cookies[name]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


class TestASecondFactor:
    def test_is_asked_for_and_its_secret_is_sealed(self, browser):
        alice = people.person("Alice")
        secret = totp.generate_totp_secret()
        totp.TOTP.activate(alice, secret)
        assert secret not in str(Authenticator.objects.get().data)
        form = {"login": "alice@example.org", "password": PASSWORD}
        page = browser.post("/account/login/", form)
        assert page.headers["Location"] == "/account/2fa/authenticate/"
        assert not is_in(browser)
        counter = next(iter(totp.yield_hotp_counters_from_time()))
        code = totp.format_hotp_value(totp.hotp_value(secret, counter))
        browser.post("/account/2fa/authenticate/", {"code": code})
        assert is_in(browser)


class TestTheLanguage:
    def test_is_switched_in_the_header_and_kept_on_the_account(self, alice, as_user):
        client = as_user(alice)
        client.post("/language/", {"language": "zh-hans", "next": "/history/"})
        assert '<html lang="zh-hans">' in client.get("/history/").content.decode()
        assert User.objects.get(pk=alice.pk).language == "zh-hans"

    def test_that_is_none_of_ours_changes_nothing(self, alice, as_user):
        as_user(alice).post("/language/", {"language": "xx", "next": "/"})
        assert User.objects.get(pk=alice.pk).language == "en"

    def test_switch_leads_nowhere_outside(self, browser):
        page = browser.post("/language/", {"language": "en", "next": "https://evil.example/"})
        assert not page.headers["Location"].startswith("https://evil")

    def test_is_saved_with_the_profile(self, alice, as_user):
        client = as_user(alice)
        form = {"name": "爱丽丝", "language": "zh-hans", "timezone": "Asia/Shanghai"}
        client.post(reverse("portal:account"), form)
        assert '<html lang="zh-hans">' in client.get("/me/").content.decode()

    def test_of_a_zone_that_is_none_is_refused_with_a_sentence(self, alice, as_user):
        form = {"name": "Alice", "language": "en", "timezone": "Mars/Olympus"}
        text = as_user(alice).post(reverse("portal:account"), form).content.decode()
        assert "Write a zone such as" in text
        assert 'value="Mars/Olympus"' in text
        assert User.objects.get(pk=alice.pk).timezone == "Asia/Shanghai"


class TestTexts:
    @override_settings(SMS_CARRIER="")
    def test_are_refused_where_no_carrier_sends_them(self, db):
        with pytest.raises(texts.TextNotSent):
            texts.send(phone=E164, text="hello")


class TestAWrongPassword:
    @pytest.mark.parametrize(
        "typed", ["alice@example.com", "nobody@example.com", PHONE, "138 0000 0099"]
    )
    def test_costs_one_hash_whoever_is_known(self, browser, monkeypatch, typed):
        people.person("Alice", phone=E164, phone_verified_at=datetime.now(UTC))
        hashed = []
        encode = MD5PasswordHasher.encode
        monkeypatch.setattr(
            MD5PasswordHasher,
            "encode",
            lambda self, password, salt: hashed.append(password) or encode(self, password, salt),
        )
        browser.post("/account/login/", {"login": typed, "password": "not the password"})
        assert hashed == ["not the password"]
        assert not is_in(browser)

"""Who comes in, by which door, and which models stay out."""

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.urls import NoReverseMatch, reverse

from tests import world as w
from tests.admin import pages
from tests.admin.conftest import sign_in
from tests.factories.portal import UserFactory


def served(client, address: str) -> bool:
    """Whether the address shows anything of the admin."""
    response = client.get(address)
    return bool(response.status_code == 200)


class TestWithoutASecondFactor:
    def test_an_administrator_sees_not_one_page(self, house):
        user = UserFactory.create(administrator=True)
        client = sign_in(user, with_second_factor=False)

        shown = [address for address in pages.every() if served(client, address)]

        assert shown == []

    def test_an_administrator_is_led_to_set_one_up_and_told_why(self, db):
        user = UserFactory.create(administrator=True)
        client = sign_in(user, with_second_factor=False)

        response = client.get("/admin/billing/recharge/?needs=yes")

        assert response.status_code == 302
        assert response["Location"] == (
            "/account/2fa/totp/activate/?next=%2Fadmin%2Fbilling%2Frecharge%2F%3Fneeds%3Dyes"
        )

    def test_one_who_has_a_factor_but_came_in_without_it_is_asked_for_it(self, db):
        user = UserFactory.create(administrator=True)
        client = sign_in(user, with_second_factor=False)
        Authenticator.objects.create(user=user, type="totp", data={"secret": "x"})

        response = client.get("/admin/")

        assert response.status_code == 302
        assert response["Location"] == "/account/2fa/reauthenticate/?next=%2Fadmin%2F"

    def test_one_who_has_given_it_up_since_is_led_to_set_one_up(self, root):
        assert root.get("/admin/").status_code == 200
        Authenticator.objects.all().delete()

        response = root.get("/admin/")

        assert response["Location"].startswith("/account/2fa/totp/activate/")

    def test_a_post_does_nothing_either(self, house, operator):
        user = UserFactory.create(administrator=True)
        client = sign_in(user, with_second_factor=False)
        rail = w.rail()

        response = client.post(
            reverse("admin:billing_rail_do", args=[rail.pk, "defer-rail"]),
            {"reason": "maintenance", "token": "t" * 43},
        )

        assert response.status_code == 302
        rail.refresh_from_db()
        assert rail.deferred_since is None

    def test_a_local_installation_may_go_without(self, db, settings):
        settings.ADMIN_NEEDS_SECOND_FACTOR = False
        user = UserFactory.create(administrator=True)

        response = sign_in(user, with_second_factor=False).get("/admin/")

        assert response.status_code == 200


class TestWithBothFactors:
    def test_every_page_answers_an_administrator(self, house, root):
        refused = (403,)  # nobody adds, changes or deletes a record
        answers = {address: root.get(address).status_code for address in pages.every()}

        broken = {
            address: status
            for address, status in answers.items()
            if status not in (200, 302, *refused) and address not in pages_that_are_not()
        }
        assert broken == {}

    def test_an_operator_without_permissions_sees_the_front_page_and_no_list(self, house, operator):
        client = sign_in(operator)

        assert client.get("/admin/").status_code == 200
        shown = [address for _model, address in pages.lists() if served(client, address)]
        assert shown == []


def pages_that_are_not() -> tuple[str, ...]:
    """A page that does not exist is 404, and so is a completion that nobody asked for."""
    return "/admin/nowhere/", reverse("admin:autocomplete")


class TestStrangers:
    def test_a_subscriber_is_refused(self, db):
        client = sign_in(w.person("alice"))

        response = client.get("/admin/", follow=True)

        assert response.status_code == 403

    def test_whoever_has_not_signed_in_comes_by_the_accounts_door(self, client, db):
        response = client.get("/admin/", follow=True)

        assert [step for step, _status in response.redirect_chain] == [
            "/admin/login/?next=/admin/",
            "/account/login/?next=/admin/",
        ]

    def test_djangos_own_sign_in_form_is_nowhere(self, client, db):
        w.person("root", is_staff=True, is_superuser=True)

        response = client.post(
            "/admin/login/", {"username": "root@example.com", "password": "correct horse battery"}
        )

        assert response.status_code == 302
        assert "_auth_user_id" not in client.session


class TestModelsOfOthers:
    @pytest.mark.parametrize(
        "name",
        ["django_q_schedule", "django_q_ormq", "mfa_authenticator", "account_emailaddress"],
    )
    def test_have_no_pages(self, name):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:{name}_changelist")

    def test_only_ours_are_registered(self):
        apps = {model._meta.app_label for model in admin.site._registry}

        assert apps == {"accounts", "admin", "auth", "billing", "lines", "portal"}

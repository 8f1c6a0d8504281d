"""API clients in the operators' admin: seen without their token, revoked once and with a reason."""

from typing import Any

import pytest
from django.urls import reverse

from lines.models import Operation
from portal.api import clients
from portal.api.models import ApiClient
from tests import world
from tests.admin.conftest import give, sign_in


@pytest.fixture
def issued(db: Any) -> tuple[ApiClient, str]:
    return clients.issue(
        owner=world.person(), name="my app", scopes=["read"], carrier=None, at=world.NOON
    )


def revoke(browser: Any, client: ApiClient, reason: str = "leaked") -> Any:
    address = reverse("admin:portal_apiclient_do", args=[client.pk, "revoke-api-client"])
    return browser.post(address, {"reason": reason, "token": "t" * 43}, follow=True)


class TestApiClients:
    def test_are_shown_without_token_or_hash_and_cannot_be_added(self, issued: Any) -> None:
        client, token = issued
        viewer = give(world.person("staff", is_staff=True), "portal.view_apiclient")
        browser = sign_in(viewer)
        for name, args in (("changelist", []), ("change", [client.pk])):
            page = browser.get(reverse(f"admin:portal_apiclient_{name}", args=args))
            text = page.content.decode()
            assert page.status_code == 200
            assert client.token_hint in text
            assert token not in text
            assert client.token_hash not in text
        assert browser.get(reverse("admin:portal_apiclient_add")).status_code == 403

    def test_are_revoked_with_a_reason_on_record(self, issued: Any) -> None:
        client, token = issued
        allowed = ("portal.view_apiclient", "portal.change_apiclient")
        browser = sign_in(give(world.person("staff", is_staff=True), *allowed))
        revoke(browser, client, reason="")
        assert not Operation.objects.exists()
        revoke(browser, client)
        client.refresh_from_db()
        assert client.revoked_at is not None
        assert Operation.objects.get().reason == "leaked"
        with pytest.raises(clients.UnknownToken):
            clients.find(token=token, at=world.NOON)

    def test_are_not_revoked_by_who_may_only_look(self, issued: Any) -> None:
        client, _token = issued
        viewer = give(world.person("staff", is_staff=True), "portal.view_apiclient")
        revoke(sign_in(viewer), client)
        client.refresh_from_db()
        assert client.revoked_at is None

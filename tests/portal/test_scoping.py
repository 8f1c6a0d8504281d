"""Nobody sees, and nobody changes, what is not theirs: it is not there for them."""

from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import reverse

from tests.portal import people
from tests.portal.addresses import OWNED, Address, url


@pytest.fixture
def alice(alice_of_the_module):
    return alice_of_the_module


def every_row() -> list[str]:
    """All that lines and billing hold, as text: equal before and after means nothing changed."""
    configs = (apps.get_app_config("lines"), apps.get_app_config("billing"))
    tables = [model._meta.db_table for config in configs for model in config.get_models()]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f'SELECT t::text FROM "{table}" t' for table in tables))
        return sorted(row for (row,) in cursor.fetchall())


class TestAStrangersObject:
    @pytest.mark.parametrize("address", OWNED, ids=lambda one: one.name)
    def test_is_not_there(self, alice, bob, as_user, address: Address):
        stranger = as_user(bob)
        target, before = url(address, alice), every_row()
        if not address.is_post:
            assert stranger.get(target).status_code == 404
        assert stranger.post(target, {"label": "mine", "seen": "0"}).status_code == 404
        assert every_row() == before

    @pytest.mark.parametrize("address", OWNED, ids=lambda one: one.name)
    def test_looks_like_one_that_never_was(self, alice, bob, as_user, address: Address):
        stranger = as_user(bob)
        absent = reverse(f"portal:{address.name}", args=["01ARZ3NDEKTSV4RRFFQ69G5FAV"])
        method = stranger.post if address.is_post else stranger.get
        theirs, never = method(url(address, alice)), method(absent)
        assert (theirs.status_code, never.status_code) == (404, 404)
        assert len(theirs.content) == len(never.content)

    @pytest.mark.parametrize("address", OWNED, ids=lambda one: one.name)
    def test_takes_nothing_from_a_visitor(self, alice, address: Address):
        before = every_row()
        response = Client().post(url(address, alice), {"label": "mine"})
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/account/login/code/")
        assert every_row() == before

    def test_is_no_choice_in_a_form(self, alice, bob, as_user):
        theirs = alice.bindings.get().ref
        mine = people.line(bob, 55, at=datetime.now(UTC))
        page = as_user(bob).post(
            reverse("portal:by-hand", args=[mine.public_id]),
            {"face": "5000", "binding": theirs, "once": "x"},
        )
        assert page.status_code == 200
        assert not mine.recharges.exists()

    def test_does_not_filter_a_history(self, alice, bob, as_user):
        line = alice.lines.get(kind="fm")
        assert as_user(bob).get(f"/history/?line={line.public_id}").status_code == 404
        assert as_user(bob).get(f"/history/export.csv?line={line.public_id}").status_code == 404

    def test_a_removed_line_is_gone_for_its_owner_too(self, alice, as_user):
        line = alice.lines.get(kind="esim")
        line.status = "removed"
        line.save()
        target = reverse("portal:line", args=[line.public_id])
        assert as_user(alice).get(target).status_code == 404

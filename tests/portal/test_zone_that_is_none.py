"""A person or line with a zone that is none (an old row) breaks no page, and is told."""

from datetime import UTC, datetime

import pytest
from django.urls import reverse

from billing.models import Rule
from lines.models import Line
from portal.accounts.models import User
from tests import world as w
from tests.admin.conftest import sign_in
from tests.portal import people
from tests.portal.addresses import ADDRESSES, url


@pytest.fixture
def alice(alice_of_the_module):
    User.objects.filter(pk=alice_of_the_module.pk).update(timezone="localtime")
    Line.objects.update(timezone="localtime")
    return User.objects.get(pk=alice_of_the_module.pk)


class TestEveryPage:
    def test_and_download_is_there(self, alice, as_user):
        client = as_user(alice)
        read = [one for one in ADDRESSES if not one.is_post]
        answers = {one.name: client.get(url(one, alice)).status_code for one in read}
        assert answers == {one.name: one.answers for one in read}


class TestTheLine:
    def test_is_shown_as_held_and_says_why(self, alice, as_user):
        line = Rule.objects.get(line__owner=alice).line
        text = as_user(alice).get(f"/lines/{line.public_id}/").content.decode()
        assert "Nothing is charged until our staff have put the line&#x27;s time zone right" in text
        assert "Paused: needs you" in text


class TestTheAccount:
    def test_says_that_the_zone_is_not_known(self, alice, as_user):
        text = as_user(alice).get(reverse("portal:account")).content.decode()
        assert "This zone is not known here, so times are shown in Asia/Shanghai." in text

    @pytest.mark.parametrize(
        "zone", ["localtime", "Factory", "posix/Asia/Shanghai", "posixrules", "asia/shanghai"]
    )
    def test_takes_no_such_zone(self, alice, as_user, zone):
        form = {"name": "Alice", "language": "en", "timezone": zone}
        page = as_user(alice).post(reverse("portal:account"), form)
        assert "Write a zone such as" in page.content.decode()
        assert page.status_code == 200

    def test_takes_a_zone_and_then_shows_its_times(self, alice, as_user):
        form = {"name": "Alice", "language": "en", "timezone": " Europe/Kyiv "}
        assert as_user(alice).post(reverse("portal:account"), form).status_code == 302
        assert User.objects.get(pk=alice.pk).timezone == "Europe/Kyiv"


class TestTheAdmin:
    def test_opens_for_an_operator_of_no_zone(self, db):
        root = w.person("root", is_staff=True, is_superuser=True, timezone="localtime")
        line = people.line(root, 77, at=datetime.now(UTC), timezone="localtime")
        client = sign_in(root)
        assert client.get("/admin/").status_code == 200
        assert client.get(f"/admin/lines/line/{line.pk}/change/").status_code == 200

    def test_gives_nobody_and_no_carrier_a_zone_that_is_none(self, db):
        client = sign_in(w.person("root", is_staff=True, is_superuser=True))
        bob = people.person("Bob")
        carrier = w.carrier()
        for page in (
            f"/admin/accounts/user/{bob.pk}/change/",
            f"/admin/lines/carrier/{carrier.pk}/change/",
        ):
            form = client.get(page).context["adminform"].form
            given = {name: form[name].value() for name in form.fields}
            given = {k: v for k, v in given.items() if v is not None} | {"timezone": "localtime"}
            text = client.post(page, given).content.decode()
            assert "Write a zone such as Asia/Shanghai or Europe/Berlin." in text
        bob.refresh_from_db()
        carrier.refresh_from_db()
        assert (bob.timezone, carrier.timezone) == ("Asia/Shanghai", "Asia/Shanghai")

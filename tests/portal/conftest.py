"""The portal's own fixtures: a rail that is there, texts that are caught, and Alice signed in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from billing import gateways
from portal.accounts import texts
from portal.accounts.models import User
from tests.fakes import FakeGateway
from tests.portal import people


@pytest.fixture(autouse=True)
def rail() -> Iterator[FakeGateway]:
    """Alipay, configured, that takes every day of the month."""
    gateway = people.gateway()
    with gateways.override("alipay", gateway):
        yield gateway


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The texts sent to phones: (number, words)."""
    box: list[tuple[str, str]] = []
    monkeypatch.setattr(texts, "send", lambda *, phone, text: box.append((phone, text)))
    return box


@pytest.fixture
def alice(db: Any) -> User:
    return people.alice_at_home()


@pytest.fixture
def bob(db: Any) -> User:
    return people.person("Bob")


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    """A browser in which a person is signed in, reading the language of their account."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        client.cookies["django_language"] = user.language
        return client

    return signed_in

"""The portal's own fixtures: a rail that is there, texts that are caught, and Alice signed in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
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


@pytest.fixture(scope="module")
def alices_home(django_db_setup: Any, django_db_blocker: Any) -> Iterator[int]:
    """Alice with all she has, made once: what a test does to it is rolled back after that test."""
    everything = transaction.atomic()
    with django_db_blocker.unblock():
        everything.__enter__()
        alice = people.alice_at_home()
    yield alice.pk
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        everything.__exit__(None, None, None)


@pytest.fixture
def alice_of_the_module(alices_home: int, db: Any) -> User:
    """For modules that walk every address; her figures grow older while they do."""
    return User.objects.get(pk=alices_home)


@pytest.fixture
def bob(db: Any) -> User:
    return people.person("Bob")


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    """A browser in which a person is signed in, reading the language of their account."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        client.cookies["django_language"] = user.language
        return client

    return signed_in

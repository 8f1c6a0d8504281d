"""People, and what the edge remembers."""

from typing import Any

from factory.declarations import Sequence
from factory.django import DjangoModelFactory

from portal import models
from portal.accounts.models import User
from portal.demo import factories as demo
from tests.factories.instants import NOON

PASSWORD = "correct horse battery"


class UserFactory(demo.UserFactory):
    password = PASSWORD

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        """Whoever has the address already: Alice is asked for again and again."""
        known = model_class.objects.filter(email=kwargs["email"]) if kwargs["email"] else ()
        return next(iter(known), None) or super()._create(model_class, *args, **kwargs)


class HeartbeatFactory(DjangoModelFactory[models.Heartbeat]):
    class Meta:
        model = models.Heartbeat
        django_get_or_create = ("name",)

    name = "sweep"


class IdempotentRequestFactory(DjangoModelFactory[models.IdempotentRequest]):
    class Meta:
        model = models.IdempotentRequest

    caller = "user:1"
    key = Sequence(lambda n: f"key-{n}")
    fingerprint = "x"
    created_at = NOON


class RequestCountFactory(DjangoModelFactory[models.RequestCount]):
    class Meta:
        model = models.RequestCount

    key = "read:user:1"
    window = 0
    count = 1

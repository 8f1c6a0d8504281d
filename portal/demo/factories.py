"""The rows that the demo makes by hand: who is there, and what is on offer, before its story.

All else comes of what people, rails and carriers do (`past`). The tests' factories stand on these
(`tests/factories`); nothing that production loads does.
"""

from collections.abc import Mapping
from typing import Any

from allauth.account.models import EmailAddress
from factory import declarations
from factory.declarations import (
    LazyAttribute,
    LazyFunction,
    SelfAttribute,
    Sequence,
    SubFactory,
)
from factory.django import DjangoModelFactory

from billing.models import Promotion
from lines.models import Carrier
from portal.accounts.models import User

_CARRIERS: Mapping[str, tuple[str, str]] = {
    "cmcc": ("中国移动", "China Mobile"),
    "cucc": ("中国联通（香港）", "China Unicom (Hong Kong)"),
    "ctcc": ("中国电信", "China Telecom"),
}
_SOLD_MINOR = (1000, 2000, 3000, 5000, 10_000, 20_000)


class Trait(declarations.Trait):
    """Said to be off where it is not asked for.

    factory_boy looks for it all the same, and spells out every value of the row in the error that
    it then swallows: more work than all the rest.
    """

    def as_declarations(self, field_name: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        return {field_name: False, **super().as_declarations(field_name, declared)}


class UserFactory(DjangoModelFactory[User]):
    """Somebody who signs in with the address made of their name."""

    class Meta:
        model = User

    class Params:
        administrator = Trait(is_staff=True, is_superuser=True)

    name = "alice"
    email = LazyAttribute(lambda user: f"{user.name.lower()}@example.com")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        """As the site does it: the address in its plain form, of the password only a hash."""
        return model_class.objects.create_user(*args, **kwargs)


class EmailAddressFactory(DjangoModelFactory[EmailAddress]):
    """Proven: its owner need not look into a mailbox first."""

    class Meta:
        model = EmailAddress

    user = SubFactory(UserFactory)
    email = SelfAttribute("user.email")
    verified = True
    primary = True


class CarrierFactory(DjangoModelFactory[Carrier]):
    """One of the three; under any other code a China Mobile of its own."""

    class Meta:
        model = Carrier

    code = "cmcc"
    name = LazyAttribute(lambda carrier: _named(carrier.code)[0])
    name_en = LazyAttribute(lambda carrier: _named(carrier.code)[1])
    currency = "CNY"
    denominations_minor = LazyFunction(lambda: list(_SOLD_MINOR))


class PromotionFactory(DjangoModelFactory[Promotion]):
    """5 % less, unless it is said to be something else; it runs from `starts_at` to `ends_at`."""

    class Meta:
        model = Promotion

    code = Sequence(lambda n: f"autumn-{n}")
    name = "秋季立减"
    name_en = "Autumn"
    kind = Promotion.Kind.DISCOUNT
    fixed_minor = None
    basis_points = LazyAttribute(lambda offer: None if offer.fixed_minor else 500)


def _named(code: str) -> tuple[str, str]:
    return _CARRIERS.get(code, _CARRIERS["cmcc"])

"""Carriers, lines, and what carriers say of them."""

from factory.declarations import (
    LazyAttribute,
    RelatedFactory,
    SelfAttribute,
    Sequence,
    SubFactory,
)
from factory.django import DjangoModelFactory

from lines import models
from portal.demo import factories as demo
from portal.demo.factories import Trait
from tests.factories.instants import A_MONTH_AGO, MINUTE, NOON
from tests.factories.portal import UserFactory


class CarrierFactory(demo.CarrierFactory):
    class Meta:
        django_get_or_create = ("code",)

    base_url = "http://127.0.0.1:1"  # where nobody listens


class LineFactory(DjangoModelFactory[models.Line]):
    class Meta:
        model = models.Line
        skip_postgeneration_save = True

    class Params:
        at = NOON
        unproven = Trait(status=models.LineStatus.UNVERIFIED, verified_at=None)
        esim = Trait(
            kind=models.LineKind.ESIM,
            label="旅行 eSIM",
            profile=RelatedFactory("tests.factories.lines.EsimProfileFactory", "line"),
        )

    owner = SubFactory(UserFactory)
    kind = models.LineKind.FM
    carrier = SubFactory(CarrierFactory)
    label = "妈妈的手机"
    msisdn = Sequence(lambda n: f"+86138{10_000_000 + n}")
    status = models.LineStatus.ACTIVE
    created_at = A_MONTH_AGO
    verified_at = SelfAttribute("created_at")
    balance_minor = 1860
    balance_observed_at = LazyAttribute(lambda line: line.at - 4 * MINUTE)


class EsimProfileFactory(DjangoModelFactory[models.EsimProfile]):
    class Meta:
        model = models.EsimProfile

    line = SubFactory(LineFactory, kind=models.LineKind.ESIM)
    smdp_address = "smdp.example.com"
    matching_id = "K2-1F8-ABCD"


class BalanceReadingFactory(DjangoModelFactory[models.BalanceReading]):
    class Meta:
        model = models.BalanceReading

    line = SubFactory(LineFactory)
    balance_minor = SelfAttribute("line.balance_minor")
    observed_at = NOON
    received_at = SelfAttribute("observed_at")
    source = models.BalanceReading.Source.PUSHED
    is_applied = True


class CarrierCallFactory(DjangoModelFactory[models.CarrierCall]):
    class Meta:
        model = models.CarrierCall

    kind = "topup"
    reference = Sequence(lambda n: f"D{n:025d}")
    request = "{}"
    response = "{}"
    at = NOON

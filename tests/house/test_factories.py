"""Rows that tests make come from factories: one a model, and each makes a good row by itself."""

import ast
import re
from collections.abc import Iterator
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from factory.declarations import Trait
from factory.django import DjangoModelFactory

from tests.factories import billing, lines, portal

ROOT = Path(__file__).resolve().parents[1]
OURS = ("accounts", "billing", "lines", "portal")
MADE_BY_THE_PRODUCT = {
    "ApiClient": "`clients.issue` makes it, with a token that is nowhere else",
    "Delivery": "the executor intends it, in the transaction of the move it belongs to",
    "LineProof": "`lifecycle.request_proof` makes it, with the code that it sends",
    "NoticeDelivery": "`telling.tell` makes it, one for each channel",
    "Operation": "`operations.record` makes it, once a token",
    "StatementLine": "it is a row of the other side's, read from a statement",
}
BY_HAND = {
    "bench/obvious.py": "a design that is measured beside ours: it makes rows as such a one would",
    "billing/one_by_one.py": "what a batch of readings must come to, said anew",
}
# `bulk_create` saves what factories have built.
MAKERS = {"create", "get_or_create", "update_or_create", "create_user", "create_superuser"}
_MAKES = re.compile(r"\b(bulk_create|" + "|".join(MAKERS) + r")\(")
MODELS = {model.__name__: model for app in OURS for model in apps.get_app_config(app).get_models()}
RELATED = {
    relation.get_accessor_name()
    for model in MODELS.values()
    for relation in model._meta.related_objects
}
FACTORIES: list[type[DjangoModelFactory[Any]]] = [
    one
    for module in (billing, lines, portal)
    for _name, one in getmembers(module, isclass)
    if issubclass(one, DjangoModelFactory) and one.__module__ == module.__name__
]
TRAITS = [
    (factory, trait)
    for factory in FACTORIES
    for trait, declared in factory._meta.parameters.items()
    if isinstance(declared, Trait)
]


def made_by_hand(source: str) -> Iterator[int]:
    """Lines on which a row of ours is made by its manager, or by that of a related row."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    attr=maker, value=ast.Attribute(attr="objects", value=ast.Name(id=model))
                )
            ) if model in MODELS:
                built = (one for one in ast.walk(node) if isinstance(one, ast.Call))
                by_class = any(getattr(one.func, "id", "") == model for one in built)
                if maker in MAKERS or (maker == "bulk_create" and by_class):
                    yield node.lineno
            case ast.Call(
                func=ast.Attribute(attr="create", value=ast.Attribute(attr=name)), args=[]
            ) if name in RELATED:
                yield node.lineno


def test_each_model_has_exactly_one_factory() -> None:
    made = sorted(factory._meta.model.__name__ for factory in FACTORIES)
    assert made == sorted(MODELS.keys() - MADE_BY_THE_PRODUCT.keys())
    assert MADE_BY_THE_PRODUCT.keys() <= MODELS.keys()


def test_no_test_makes_a_row_by_hand() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.py"))}
    assert len(texts) > 200
    found = {path: list(made_by_hand(text)) for path, text in texts.items() if _MAKES.search(text)}
    assert len(found) > 20
    assert [path for path, places in found.items() if places] == list(BY_HAND)


def test_a_row_made_by_hand_is_seen() -> None:
    by_hand = (
        "Rule.objects.create(line=mine)",
        "User.objects.create_user(name='alice')",
        "Rail.objects.get_or_create(code='alipay')",
        "Recharge.objects.bulk_create(Recharge(line=one) for one in several)",
        "recharge.attempts.create(number=1)",
    )
    assert [one for one in by_hand if not list(made_by_hand(one))] == []
    others = (
        "RuleFactory.create(line=mine)",
        "Recharge.objects.bulk_create(RechargeFactory.build_batch(9))",
        "Schedule.objects.create(func='a.b')",
        "sdk.refunds.create({'payment_intent': intent.id})",
    )
    assert [one for one in others if list(made_by_hand(one))] == []


@pytest.mark.django_db
def test_each_factory_makes_a_row_by_itself_and_with_each_of_its_traits() -> None:
    for factory in FACTORIES:
        made = factory.create()
        assert stored(made) == values(made), factory
    for factory, trait in TRAITS:
        made = factory.create(**{trait: True})
        assert stored(made) == values(made), (factory, trait)
    assert len(TRAITS) > 10


def stored(made: Model) -> dict[str, Any]:
    return values(type(made)._base_manager.get(pk=made.pk))


def values(made: Model) -> dict[str, Any]:
    """But for the sealed and the folded, which come back as another kind of text."""
    return {
        field.attname: getattr(made, field.attname)
        for field in made._meta.concrete_fields
        if field.attname not in ("email", "phone")
    }

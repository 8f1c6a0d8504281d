"""Every address of the admin, with the objects that exist filled in."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.urls import reverse


def lists() -> Iterator[tuple[Any, str]]:
    """Each model's list: (model, address)."""
    for model in sorted(admin.site._registry, key=lambda one: one._meta.label):
        yield model, reverse(f"admin:{_name(model)}_changelist")


def of_objects() -> Iterator[tuple[Any, str]]:
    """The pages of one object of each model: (model, address)."""
    registry: dict[Any, Any] = admin.site._registry
    for model, model_admin in registry.items():
        found = model.objects.order_by("pk").last()
        if found is None:
            continue
        for page in ("change", "history", "delete"):
            yield model, reverse(f"admin:{_name(model)}_{page}", args=[found.pk])
        for act in getattr(model_admin, "acts", ()):
            yield model, reverse(f"admin:{_name(model)}_do", args=[found.pk, act.verb])


def others() -> Iterator[str]:
    """What the site has besides models."""
    for model in admin.site._registry:
        yield reverse(f"admin:{_name(model)}_add")
    for name in ("index", "search", "jsi18n", "autocomplete", "password_change"):
        yield reverse(f"admin:{name}")
    yield reverse("admin:app_list", args=["billing"])
    yield "/admin/nowhere/"


def every() -> list[str]:
    return [
        *(address for _model, address in lists()),
        *(address for _model, address in of_objects()),
        *others(),
    ]


def _name(model: Any) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"

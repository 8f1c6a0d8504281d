"""Columns and filters that several lists share: rails and payment methods by their names."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing.admin import words
from billing.models import Rail
from lines.admin.base import among, page_link, walk


def rail(path: str = "rail") -> Any:
    """A column of the rail whose code is at `path`."""

    @display(description=_("payment rail"), ordering=path.replace(".", "__"))
    def column(self: Any, obj: Any) -> str:
        return words.rail(walk(obj, path))

    return column


def method(path: str = "binding", *, description: Any = None) -> Any:
    """A column that leads to the payment method at `path`."""

    @display(description=description or _("payment method"), ordering=path.replace(".", "__"))
    def column(self: Any, obj: Any) -> Any:
        binding = walk(obj, path)
        return "-" if binding is None else page_link(binding, words.method(binding))

    return column


def by_rail(field: str = "rail") -> Any:
    """The filter by rail; a field that holds its code alone would have the whole table read."""
    return among(field, _("payment rail"), rails)


def rails() -> Sequence[tuple[str, str]]:
    """Every rail there is: (code, name)."""
    codes = Rail.objects.order_by("sort_order", "code").values_list("code", flat=True)
    return [(code, words.rail(code)) for code in codes]

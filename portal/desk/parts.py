"""What the operators' front page is made of: sections of things, the oldest first, counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model, QuerySet
from django.urls import reverse
from django.utils.functional import Promise

from portal import wording

SHOWN = 6
MOST_COUNTED = 1000

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Item:
    """One thing: what, why, and how old. `url` is where it is settled."""

    title: str
    detail: str = ""
    age: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Things of one kind. `count` may exceed what `items` shows; `url` lists them all."""

    name: Text
    items: Sequence[Item]
    count: int
    tone: str
    url: str = ""
    advice: Text = ""  # what to do next

    @property
    def count_words(self) -> str:
        return f"{MOST_COUNTED - 1}+" if self.count >= MOST_COUNTED else str(self.count)


def section(
    rows: QuerySet[Any],
    describe: Callable[[Any], Item],
    *,
    name: Text,
    tone: str,
    url: str = "",
    advice: Text = "",
) -> Section | None:
    """The first few of `rows`; they are counted only where they do not all show, and bounded."""
    found = list(rows[: SHOWN + 1])
    if not found:
        return None
    count = len(found) if len(found) <= SHOWN else rows.order_by()[:MOST_COUNTED].count()
    return Section(name, [describe(row) for row in found[:SHOWN]], count, tone, url, advice)


def list_url(model: type[Model], query: str) -> str:
    """The list of `model`, filtered."""
    meta = model._meta
    return f"{reverse(f'admin:{meta.app_label}_{meta.model_name}_changelist')}?{query}"


def age(since: datetime | None, at: datetime) -> str:
    """How long ago, in words."""
    return wording.age(since, at) if since else ""

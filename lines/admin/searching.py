"""What an operator types into a search box, made into a few index look-ups.

By reference, e-mail address, or the last four figures of a number: never more of a number, since
what is searched for stands in the address of the page.
"""

import re
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.db.models.functions import Right
from django.http import HttpRequest

from lines.models import Line

# More lines than this with the same last figures: the search is too wide to be a search.
MOST_LINES = 500

_TAIL = re.compile(r"[0-9]{4}")


class SearchMixin:
    """For a ModelAdmin whose `found(term)` says what a search means. Mix in before it."""

    search_fields = ("pk",)  # Django shows the box only where there are some

    def found(self, term: str) -> Q:
        """The rows that `term` (not empty) stands for."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self.found(term)) if term else queryset), False


def people(term: str) -> list[int]:
    """The person with this e-mail address or public id."""
    query = Q(email=term.lower()) if "@" in term else Q(public_id=term.upper())
    return list(get_user_model().objects.filter(query).values_list("pk", flat=True)[:2])


def lines(term: str) -> list[int]:
    """The lines with this public id, or whose number ends in these four figures."""
    by_tail = _TAIL.fullmatch(term) is not None
    named = Q(tail=term) if by_tail else Q(public_id=term.upper())
    found = Line.objects.alias(tail=Right("msisdn", 4)).filter(named)
    return list(found.values_list("pk", flat=True)[:MOST_LINES])


def of_owner_or_line(term: str, *, owner: str = "owner_id", line: str = "line_id") -> Q:
    """Rows of a person or of a line, whichever `term` names."""
    return Q(**{f"{owner}__in": people(term)}) | Q(**{f"{line}__in": lines(term)})

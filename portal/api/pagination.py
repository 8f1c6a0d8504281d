"""Lists in pages, newest first. A cursor stays right while rows are added."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
NAMES = frozenset({"cursor", "limit"})


class Pages(BasePagination):
    """`?limit=` rows a page, `next` the address of the following one or null."""

    def paginate_queryset(
        self, queryset: QuerySet[Any], request: Request, view: Any = None
    ) -> list[Any]:
        limit = _limit(request.query_params.get("limit"))
        before = _position(request.query_params.get("cursor"))
        if before is not None:
            queryset = queryset.filter(pk__lt=before)
        rows = list(queryset.order_by("-pk")[: limit + 1])
        page = rows[:limit]
        self._next = _link(request, page[-1].pk) if len(rows) > limit else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        following = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}
        return [
            {"name": "cursor", "in": "query", "schema": {"type": "string", "maxLength": 40}},
            {"name": "limit", "in": "query", "schema": limit},
        ]


def _link(request: Request, position: int) -> str:
    cursor = urlsafe_b64encode(str(position).encode()).decode().rstrip("=")
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor)


def _limit(asked: str | None) -> int:
    if asked is None:
        return PAGE_SIZE
    if not (asked.isascii() and asked.isdigit()) or not 1 <= int(asked[:6]) <= MAX_PAGE_SIZE:
        sentence = _("Write a whole number from 1 to %(most)s.") % {"most": MAX_PAGE_SIZE}
        raise ValidationError({"limit": [sentence]})
    return int(asked)


def _position(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdigit() or len(text) > 18:
        raise ValidationError({"cursor": [_("Use the address in “next” as it is.")]})
    return int(text)

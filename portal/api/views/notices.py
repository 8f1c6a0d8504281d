"""Notices: everything told to the caller."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.models import Notice, NoticeKind
from billing.notices import telling
from portal.api.fields import ChoiceField
from portal.api.idempotency import idempotent
from portal.api.serializers.recharges import NoticeOut
from portal.api.views.base import View


class NoticeFilter(serializers.Serializer[Any]):
    kind = ChoiceField(choices=NoticeKind.choices, required=False)
    is_read = serializers.BooleanField(required=False)


class NoticeView(View):
    """The caller's inbox."""

    tag = noun = "notices"
    queryset = Notice.objects.none()

    @extend_schema(summary="My notices", parameters=[NoticeFilter], responses=NoticeOut(many=True))
    def list(self, request: Request) -> Response:
        asked = self.filters(NoticeFilter)
        if "is_read" in asked:
            asked["read_at__isnull"] = not asked.pop("is_read")
        return self.page(_mine(request).filter(**asked), NoticeOut)

    @extend_schema(summary="Mark a notice as read", request=None, responses=NoticeOut)
    @idempotent()
    def mark_read(self, request: Request, notice: int) -> Response:
        mine = get_object_or_404(_mine(request), pk=notice)
        telling.mark_read(owner_id=mine.owner_id, notice_ids=[mine.pk], at=timezone.now())
        mine.refresh_from_db(fields=["read_at"])
        return Response(NoticeOut(mine).data)


def _mine(request: Request) -> Any:
    return queries.notices(request.user).select_related("owner")

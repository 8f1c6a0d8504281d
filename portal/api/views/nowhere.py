"""Addresses below /api/v1/ that are none: a problem in JSON, not the portal's page."""

from typing import NoReturn

from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from portal.api.views.base import View


class NowhereView(View):
    METHODS = ("get", "post", "put", "patch", "delete")
    permission_classes = [AllowAny]

    def nowhere(self, request: Request, **_more: str) -> NoReturn:
        raise NotFound

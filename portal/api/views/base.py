"""What all of the API's views share: who asks, in which language, and what every answer carries."""

from typing import Any, cast

from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from portal.api.pagination import NAMES as PAGE_NAMES
from portal.api.permissions import client_of
from portal.api.problems import id_of


class View(GenericViewSet[Any]):
    """Rows come from `billing.queries` for the caller, so that a stranger's are not there."""

    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        # A program seldom says which language; its owner has.
        client = client_of(request)
        if client is not None and "Accept-Language" not in request.headers:
            translation.activate(client.owner.language)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answered = super().finalize_response(request, response, *args, **kwargs)
        answered["X-Request-Id"] = id_of(request)
        answered["Cache-Control"] = "no-store"  # balances and names, on shared machines too
        answered["Content-Language"] = translation.get_language()
        return answered

    @property
    def actor(self) -> HttpRequest:
        """The request as `portal.owned` takes it: it looks at the user alone."""
        return cast(HttpRequest, self.request)

    def asked(self, kind: Any) -> dict[str, Any]:
        """The body, validated. Raises ValidationError."""
        body = kind(data=self.request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def made(self, body: Any, *, at: str) -> Response:
        """201: `body`, and where to read it from now on."""
        return Response(body, status=201, headers={"Location": at})

    def filters(self, kind: Any) -> dict[str, Any]:
        """The query's filters, validated; a name that is none is refused, not ignored."""
        given = self.request.query_params
        if unknown := set(given) - set(kind().fields) - PAGE_NAMES:
            sentence = _("There is no such filter.")
            raise ValidationError({name: [sentence] for name in sorted(unknown)})
        query = kind(data={name: given[name] for name in given if name not in PAGE_NAMES})
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)

    def page(self, rows: Any, kind: Any) -> Response:
        """One page of `rows`, newest first, each as `kind` shows it."""
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(kind(page, many=True).data)

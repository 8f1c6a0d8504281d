"""Who calls: the holder of a token. (A browser's session is REST framework's own business.)"""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from portal.accounts.models import User
from portal.api import clients
from portal.api.models import ApiClient


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer kl_…`. `request.auth` is then the `ApiClient`."""

    def authenticate(self, request: Request) -> tuple[User, ApiClient] | None:
        scheme, _space, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            client = clients.find(token=token.strip().decode("ascii"), at=timezone.now())
        except (clients.UnknownToken, UnicodeDecodeError) as refusal:
            raise AuthenticationFailed(
                _("This token is not known or was revoked. Ask for a new one.")
            ) from refusal
        return client.owner, client

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Keepline"'


class TokenScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document names it. Registered by being imported."""

    target_class = "portal.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token issued by Keepline."}

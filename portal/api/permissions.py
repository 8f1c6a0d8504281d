"""What a caller may ask for at all. Which rows it may see is the queryset's part: `for_user`."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from portal.api import clients
from portal.api.models import ApiClient, Scope


def client_of(request: Request) -> ApiClient | None:
    """The program that calls; None for a browser's session."""
    return request.auth if isinstance(request.auth, ApiClient) else None


def scope_of(view: Any, method: str) -> Scope:
    """The scope an action needs: its view's `scopes`, else by whether it changes anything."""
    named: Scope | None = getattr(view, "scopes", {}).get(getattr(view, "action", None))
    return named or (Scope.READ if method in SAFE_METHODS else Scope.WRITE)


class MayCall(BasePermission):
    """A person signed in may do what is theirs; a program, what its token was issued for."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        needed, client = scope_of(view, request.method or ""), client_of(request)
        if needed == Scope.PUSH_READINGS:
            return clients.may_push(client)
        return client is None or needed in client.scopes

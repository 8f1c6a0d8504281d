"""What the signed-in person owns, by its public name. A stranger's is a 404, as if it were not."""

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, QueryDict
from django.shortcuts import get_object_or_404
from rest_framework.request import Request

from billing import queries
from billing.models import Binding, Recharge, Rule
from lines.models import Line, LineStatus
from lines.people import Person


def person(request: HttpRequest | Request) -> Person:
    """Who is signed in, for what stands behind a login. Raises PermissionDenied for nobody."""
    if isinstance(request.user, AnonymousUser):
        raise PermissionDenied
    return request.user


def line(request: HttpRequest, public_id: str) -> Line:
    kept = queries.lines(request.user).exclude(status=LineStatus.REMOVED)
    return get_object_or_404(kept.select_related("carrier", "rule", "esim"), public_id=public_id)


def rule(request: HttpRequest, public_id: str) -> Rule:
    """The rule of the person's line `public_id`: one line has one."""
    owned = queries.rules(request.user).exclude(line__status=LineStatus.REMOVED)
    return get_object_or_404(
        owned.select_related("line", "line__carrier", "binding", "binding__rail"),
        line__public_id=public_id,
    )


def binding(request: HttpRequest, ref: str) -> Binding:
    return get_object_or_404(queries.bindings(request.user).select_related("rail"), ref=ref)


def recharge(request: HttpRequest, ref: str) -> Recharge:
    owned = queries.recharges(request.user).select_related(
        "line", "line__carrier", "binding", "binding__rail"
    )
    return get_object_or_404(owned, ref=ref)


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: what was sent, however little, and nothing on a mere look."""
    return request.POST if request.method == "POST" else None

"""Payment methods: agreed on the rail's own page, asked about, put first, ended."""

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing import gateways, queries
from billing.bindings import lifecycle
from billing.models import Binding, Rail
from portal import owned
from portal.api.idempotency import idempotent
from portal.api.openapi import may_answer
from portal.api.serializers.bindings import BindingIn, BindingOut, EndIn, StartedOut
from portal.api.views import named
from portal.api.views.base import View
from portal.api.views.catalog import offered_rails


class BindingView(View):
    """The caller's own payment methods. No card number ever comes here."""

    tag = noun = "bindings"
    queryset = Binding.objects.none()

    @extend_schema(summary="My payment methods", responses=BindingOut(many=True))
    def list(self, request: Request) -> Response:
        return self.page(queries.bindings(request.user), BindingOut)

    @extend_schema(summary="One payment method", responses=BindingOut)
    def retrieve(self, request: Request, binding: str) -> Response:
        return Response(BindingOut(owned.binding(self.actor, binding)).data)

    @extend_schema(
        summary="Begin an agreement",
        description="Open the `url` in the payer's browser; it returns to Keepline's own pages.",
        request=BindingIn,
        responses={201: StartedOut},
    )
    @may_answer(503)
    @idempotent(required=True, atomic=False)
    def create(self, request: Request) -> Response:
        rail = _rail(self.asked(BindingIn)["rail"])
        started = lifecycle.start(
            owner=owned.person(request),
            rail=rail,
            return_url=_return_url(),
            notify_url=settings.PUBLIC_URL + reverse("incoming-rail", args=[rail.code]),
            gateway=gateways.get(rail.code),
            at=timezone.now(),
            payer_ip=get_adapter().get_client_ip(request),
            language=get_language() or "zh-hans",
        )
        here = reverse("api-binding", args=[started.binding.ref])
        return self.made(StartedOut(started).data, at=here)

    @extend_schema(summary="Ask the rail about it now", request=None, responses=BindingOut)
    @may_answer(503)
    @idempotent(atomic=False)
    def refresh(self, request: Request, binding: str) -> Response:
        mine = owned.binding(self.actor, binding)
        fresh = lifecycle.refresh(
            binding=mine, gateway=gateways.get(mine.rail_id), at=timezone.now()
        )
        return Response(BindingOut(fresh).data)

    @extend_schema(summary="Use it first", request=None, responses=BindingOut)
    @may_answer(409)
    @idempotent()
    def make_default(self, request: Request, binding: str) -> Response:
        lifecycle.make_default(binding=owned.binding(self.actor, binding), at=timezone.now())
        return Response(BindingOut(owned.binding(self.actor, binding)).data)

    @extend_schema(
        summary="Use it again",
        description="After declined charges it rests, and so do the rules that pay with it.",
        request=None,
        responses=BindingOut,
    )
    @may_answer(409)
    @idempotent()
    def resume(self, request: Request, binding: str) -> Response:
        mine = owned.binding(self.actor, binding)
        lifecycle.resume(binding=mine, actor=owned.person(request), at=timezone.now())
        return Response(BindingOut(owned.binding(self.actor, binding)).data)

    @extend_schema(
        summary="End it",
        description="Its rules pause at once, or pay with `move_rules_to`. None is deleted.",
        request=EndIn,
        responses=BindingOut,
    )
    @may_answer(409, 503)
    @idempotent(atomic=False)
    def end(self, request: Request, binding: str) -> Response:
        mine = owned.binding(self.actor, binding)
        move_to = self.asked(EndIn).get("move_rules_to")
        if move_to:
            named.binding(self.actor, move_to, field="move_rules_to")
        lifecycle.end(
            binding=mine,
            gateway=gateways.get(mine.rail_id),
            what_of_rules=f"move_to:{move_to}" if move_to else "pause",
            at=timezone.now(),
        )
        return Response(BindingOut(owned.binding(self.actor, binding)).data)


def _return_url() -> str:
    """The portal's page of the binding: wherever it was begun, it ends there. See `start`."""
    page = reverse("portal:binding", args=["REF"]).replace("REF", "{ref}")
    return settings.PUBLIC_URL + page


def _rail(code: str) -> Rail:
    found = offered_rails().filter(code=code).first()
    if found is None:
        raise ValidationError({"rail": [_("This way to pay is not offered. See /api/v1/rails.")]})
    return found

"""Recharges: what was and will be taken, begun by hand, and canceled before money moves."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing import gateways, queries
from billing.models import Recharge
from billing.recharges import machine
from billing.rules import by_hand
from billing.states import OPEN_STATES, RechargeState, Trigger
from portal import owned
from portal.api.fields import ChoiceField, InstantField
from portal.api.idempotency import domain_key, idempotent
from portal.api.openapi import may_answer
from portal.api.refusals import KeyReused
from portal.api.serializers.recharges import RechargeIn, RechargeOut, RechargeStoryOut
from portal.api.views import named
from portal.api.views.base import View


class RechargeFilter(serializers.Serializer[Any]):
    line = serializers.CharField(max_length=26, required=False)
    state = ChoiceField(choices=RechargeState.choices, required=False)
    trigger = ChoiceField(choices=Trigger.choices, required=False)
    is_open = serializers.BooleanField(required=False)
    created_from = InstantField(required=False)
    created_before = InstantField(required=False)


class RechargeView(View):
    """The caller's own recharges, by schedule, low balance, expiry and hand."""

    tag = noun = "recharges"
    queryset = Recharge.objects.none()

    @extend_schema(
        summary="My recharges", parameters=[RechargeFilter], responses=RechargeOut(many=True)
    )
    def list(self, request: Request) -> Response:
        mine = queries.recharges(request.user)
        return self.page(_filtered(mine, self.filters(RechargeFilter)), RechargeOut)

    @extend_schema(summary="One recharge and its story", responses=RechargeStoryOut)
    def retrieve(self, request: Request, recharge: str) -> Response:
        return Response(RechargeStoryOut(owned.recharge(self.actor, recharge)).data)

    @extend_schema(
        summary="Recharge by hand, now",
        description="The same key gives the same recharge, so a lost answer is safe to ask again.",
        request=RechargeIn,
        responses={201: RechargeStoryOut},
    )
    @may_answer(503)
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        values = self.asked(RechargeIn)
        line = named.line(self.actor, values["line"])
        if values["currency"] != line.currency:
            sentence = _("This line is kept in %(currency)s.") % {"currency": line.currency}
            raise ValidationError({"currency": [sentence]})
        binding = named.binding(self.actor, values["binding"])
        opened = by_hand.recharge(
            line=line,
            binding=binding,
            capabilities=gateways.capabilities(binding.rail_id),
            face_minor=values["face_minor"],
            owner=owned.person(request),
            idempotency_key=domain_key(request),
            at=timezone.now(),
        )
        if opened.face_minor != values["face_minor"]:
            raise KeyReused  # so long ago that its answer is forgotten; the recharge is not
        shown = RechargeStoryOut(owned.recharge(self.actor, opened.ref))
        return self.made(shown.data, at=reverse("api-recharge", args=[opened.ref]))

    @extend_schema(
        summary="Cancel a recharge before its charge", request=None, responses=RechargeStoryOut
    )
    @may_answer(409)
    @idempotent()
    def cancel(self, request: Request, recharge: str) -> Response:
        machine.cancel(
            recharge=owned.recharge(self.actor, recharge),
            actor=owned.person(request),
            because="canceled_by_owner",
            at=timezone.now(),
        )
        return Response(RechargeStoryOut(owned.recharge(self.actor, recharge)).data)


_LOOKUPS = {
    "line": "line__public_id",
    "state": "state",
    "trigger": "trigger",
    "created_from": "created_at__gte",
    "created_before": "created_at__lt",
}


def _filtered(rows: Any, asked: dict[str, Any]) -> Any:
    is_open = asked.pop("is_open", None)
    rows = rows.filter(**{_LOOKUPS[name]: value for name, value in asked.items()})
    if is_open is None:
        return rows
    return rows.filter(state__in=OPEN_STATES) if is_open else rows.exclude(state__in=OPEN_STATES)

"""Lines: put in, proven, renamed, removed; their readings and their decisions."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.models import Rule
from billing.plans import contract, handovers
from lines import carriers, lifecycle
from lines.models import BalanceReading, Carrier, Line, LineKind, LineStatus
from portal import owned
from portal.api.fields import ChoiceField
from portal.api.idempotency import idempotent
from portal.api.models import Scope
from portal.api.openapi import may_answer
from portal.api.refusals import CodeNotSent
from portal.api.serializers.lines import (
    ActivationCodeOut,
    LineIn,
    LineOut,
    ProofSentOut,
    ProveIn,
    ReadingOut,
    RenameIn,
)
from portal.api.serializers.rules import DecisionOut
from portal.api.views.base import View


class LineFilter(serializers.Serializer[Any]):
    status = ChoiceField(choices=LineStatus.choices, required=False)
    kind = ChoiceField(choices=LineKind.choices, required=False)


class DecisionFilter(serializers.Serializer[Any]):
    code = serializers.SlugField(max_length=30, required=False)
    is_charge = serializers.BooleanField(required=False)


class LineView(View):
    """The caller's own lines. One that was removed is gone from here."""

    tag = noun = "lines"
    queryset = Line.objects.none()
    scopes = {"activation_code": Scope.ESIM_CODES}

    @extend_schema(summary="My lines", parameters=[LineFilter], responses=LineOut(many=True))
    def list(self, request: Request) -> Response:
        mine = queries.lines(request.user).exclude(status=LineStatus.REMOVED)
        mine = mine.select_related("carrier", "rule", "esim")
        return self.page(mine.filter(**self.filters(LineFilter)), LineOut)

    @extend_schema(summary="One line", responses=LineOut)
    def retrieve(self, request: Request, line: str) -> Response:
        return Response(LineOut(owned.line(self.actor, line)).data)

    @extend_schema(
        summary="Put in a line",
        description="A card or an eSIM. It is a claim until it is proven: see the next two.",
        request=LineIn,
        responses={201: LineOut},
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        values = self.asked(LineIn)
        carrier = _carrier(values.pop("carrier"))
        put_in = lifecycle.add_fm if values.pop("kind") == LineKind.FM else lifecycle.add_esim
        values.setdefault("timezone", carrier.timezone)
        line = put_in(owner=request.user, carrier=carrier, at=timezone.now(), **values)
        return self.made(LineOut(line).data, at=reverse("api-line", args=[line.public_id]))

    @extend_schema(summary="Rename a line", request=RenameIn, responses=LineOut)
    @idempotent()
    def rename(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        renamed = lifecycle.rename(
            line=mine, label=self.asked(RenameIn)["label"], at=timezone.now()
        )
        return Response(LineOut(renamed).data)

    @extend_schema(
        summary="Remove a line",
        description="Its auto-recharge stops at once; its history is kept.",
        responses={204: None},
    )
    @idempotent()
    def destroy(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        if rule := Rule.objects.filter(line=mine).first():
            contract.stop(rule=rule, because="line_gone", at=timezone.now())
        lifecycle.remove(line=mine, at=timezone.now())
        return Response(status=204)

    @extend_schema(
        summary="Have a code sent to the number",
        description="A data-only eSIM has no number: it is proven by its card at once.",
        request=None,
        responses={201: ProofSentOut},
    )
    @may_answer(503)
    @idempotent(required=True, atomic=False)
    def send_code(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        if not lifecycle.send_proof(line=mine, carriers=carriers, at=timezone.now()):
            raise CodeNotSent
        mine.refresh_from_db(fields=["status"])
        answer = {"is_sent": bool(mine.msisdn), "status": mine.status}
        return Response(ProofSentOut(answer).data, status=201)

    # Not atomic: a wrong try counts for good, though the request is refused.
    @extend_schema(
        summary="Prove that the line is mine, by the code",
        description="Somebody else's line of that number, proven before the code was sent, ends.",
        request=ProveIn,
        responses=LineOut,
    )
    @may_answer(409)
    @idempotent(atomic=False)
    def prove(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        code = self.asked(ProveIn)["code"]
        proven = handovers.prove(line=mine, code=code, at=timezone.now())
        return Response(LineOut(proven).data)

    @extend_schema(
        summary="The activation code of an eSIM",
        description="A secret: whoever installs it has the line. Tokens need `esim:codes`.",
        responses=ActivationCodeOut,
    )
    def activation_code(self, request: Request, line: str) -> Response:
        code = lifecycle.activation_code(line=owned.line(self.actor, line), actor=request.user)
        shown = {
            "activation_code": code.text,
            "qr_text": code.qr_text,
            "needs_confirmation_code": code.needs_confirmation_code,
        }
        return Response(ActivationCodeOut(shown).data)

    @extend_schema(summary="Balances of a line, as reported", responses=ReadingOut(many=True))
    def readings(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        rows = BalanceReading.objects.filter(line=mine).select_related("line")
        return self.page(rows, ReadingOut)

    @extend_schema(
        summary="Why it was, and was not, charged",
        parameters=[DecisionFilter],
        responses=DecisionOut(many=True),
    )
    def decisions(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        asked = self.filters(DecisionFilter)
        rows = queries.decisions(request.user).filter(rule__line=mine, **asked)
        return self.page(rows, DecisionOut)


def _carrier(code: str) -> Carrier:
    found = Carrier.objects.filter(code=code, is_enabled=True).first()
    if found is None:
        raise ValidationError({"carrier": [_("This carrier is not served. See /api/v1/carriers.")]})
    return found

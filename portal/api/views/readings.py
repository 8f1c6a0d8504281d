"""Balances reported by a carrier's own system, one or many at once."""

from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.rules import readings
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines import validity, zones
from lines.models import LIVE_STATUSES, BalanceReading, Carrier, Line
from portal.api.errors import problem_of
from portal.api.idempotency import idempotent
from portal.api.models import Scope
from portal.api.permissions import client_of
from portal.api.serializers.lines import ReadingIn, ReadingResultsOut
from portal.api.views.base import View

MAX_READINGS = 500
_NAMES = ("line", "msisdn", "iccid")
_COLUMNS = {"line": "public_id", "msisdn": "msisdn", "iccid": "iccid"}

Result = dict[str, Any]


class ReadingView(View):
    """For tokens of a carrier, with `readings:push`; about that carrier's proven lines alone."""

    tag = noun = "readings"
    queryset = BalanceReading.objects.none()
    scopes = {"create": Scope.PUSH_READINGS}

    @extend_schema(
        summary="Report balances",
        description=(
            "One reading, or a list of up to 500. Each is answered on its own, in order: "
            "`applied`, `kept` (older than the balance known: kept, not applied) or `refused`. A "
            "low balance starts a recharge at once. Repeating a reading changes nothing, so a "
            "key is not required."
        ),
        request=PolymorphicProxySerializer(
            component_name="Readings",
            serializers=[ReadingIn, ReadingIn(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={207: ReadingResultsOut},
    )
    @idempotent(atomic=False)
    def create(self, request: Request) -> Response:
        client = client_of(request)
        if client is None or client.carrier is None:
            raise AssertionError("permissions let a client without a carrier push")
        results = _push(_listed(request.data), carrier=client.carrier)
        counts = {
            kind: sum(one["result"] == kind for one in results)
            for kind in ("applied", "kept", "refused")
        }
        return Response(ReadingResultsOut(counts | {"results": results}).data, status=207)


def _listed(body: Any) -> list[Any]:
    items = body if isinstance(body, list) else [body]
    if not 1 <= len(items) <= MAX_READINGS:
        sentence = _("Send between 1 and %(most)s readings at once.") % {"most": MAX_READINGS}
        raise ValidationError([sentence])
    return items


def _push(items: list[Any], *, carrier: Carrier) -> list[Result]:
    """Each item's own result. Lines are looked up together, readings taken in together."""
    # REST framework has words of its own for null: let it be as wrong as any other non-object.
    read = [ReadingIn(data=[] if item is None else item) for item in items]
    is_valid = [one.is_valid() for one in read]
    good = [one.validated_data for one, fine in zip(read, is_valid, strict=True) if fine]
    lines = _lines(good, carrier=carrier)
    results: list[Result | None] = []
    given: list[Reading] = []
    for one, fine in zip(read, is_valid, strict=True):
        reading = (
            _reading(one.validated_data, lines) if fine else _refused(ValidationError(one.errors))
        )
        results.append(None if isinstance(reading, Reading) else reading)
        given += [reading] if isinstance(reading, Reading) else []
    became = iter(readings.take_in(readings=given, at=timezone.now()))
    found = [_result(next(became)) if result is None else result for result in results]
    return [{"index": index} | result for index, result in enumerate(found)]


def _lines(named: list[dict[str, Any]], *, carrier: Carrier) -> dict[tuple[str, str], Line]:
    """The carrier's proven lines that are named, by the name used. Any other is not there."""
    asked = {name: [one[name] for one in named if name in one] for name in _NAMES}
    which = Q(public_id__in=asked["line"])
    which |= Q(msisdn__in=[value for value in asked["msisdn"] if value])
    which |= Q(iccid__in=[value for value in asked["iccid"] if value])
    found = Line.objects.filter(which, carrier=carrier, status__in=LIVE_STATUSES)
    return {(name, getattr(line, _COLUMNS[name])): line for line in found for name in _NAMES}


def _reading(values: dict[str, Any], lines: dict[tuple[str, str], Line]) -> Reading | Result:
    name = next(name for name in _NAMES if name in values)
    line = lines.get((name, values.pop(name)))
    if line is None:
        return _refused(
            ValidationError({name: [_("There is no such line of this carrier here.")]}),
            code="unknown_line",
        )
    if values.pop("currency") != line.currency:
        sentence = _("This line is kept in %(currency)s.") % {"currency": line.currency}
        return _refused(ValidationError({"currency": [sentence]}), code="currency_differs")
    if "valid_until" in values:
        zone = zones.zone_of(line.timezone)
        values["valid_until"] = validity.parsed(values["valid_until"], zone=zone)
    return Reading(line_id=line.pk, **values)


def _result(became: Became) -> Result:
    if became in (Became.APPLIED, Became.KEPT):
        return {"result": became.value}
    if became is Became.FROM_THE_FUTURE:
        sentence = _("The balance is dated in the future. Check the sender's clock.")
        return _refused(ValidationError({"observed_at": [sentence]}), code=became.value)
    return _refused(
        ValidationError([_("It could not be kept. Send it again later.")]), code=became.value
    )


def _refused(error: Exception, *, code: str = "") -> Result:
    problem = problem_of(error)
    if problem is None:
        raise error
    return {
        "result": "refused",
        "code": code or problem.code,
        "detail": problem.detail,
        "errors": dict(problem.errors),
    }

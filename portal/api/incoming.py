"""Where rails and carriers report what happened: verified, kept, and only then acknowledged.

No session, no form, no CSRF: who sent a message is told by its signature over the raw body. A
refusal changes nothing and is logged by its reason alone, never by what the body holds.
"""

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing import gateways
from billing.engine import incoming
from billing.gateways.base import Acknowledgement, BadNotification
from lines import carriers
from lines.carriers.base import BadEvent
from lines.models import Carrier

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024


class _Unreadable(Exception):
    """The body is too long or broke off. `status` is the answer's."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


@csrf_exempt
@require_POST
def rail(request: HttpRequest, rail: str) -> HttpResponse:
    """A rail's notification: of a charge, a refund, an agreement. Also its application gateway.

    Alipay sends "the user ended the agreement" to the application's gateway only, in the same
    form. 503 while a wrong setting stops the rail, so that it is sent again.
    """
    source = f"rail:{rail}"
    try:
        gateway = gateways.get(rail)
        note, acknowledgement = gateway.parse_notification(
            headers=request.headers,
            body=_body(request),
            query=request.GET.dict(),
            at=timezone.now(),
        )
    except gateways.RailNotConfigured:
        if rail not in gateways.stopped():
            return _said(Acknowledgement("failure", status=404))
        return _refused(source, "the rail is stopped", Acknowledgement("failure", status=503))
    except _Unreadable as refusal:
        answer = Acknowledgement("failure", status=refusal.status)
        return _refused(source, str(refusal), answer)
    except BadNotification as refusal:
        return _refused(source, str(refusal), refusal.acknowledgement)
    incoming.accept(source=source, note=note, at=timezone.now())
    return _said(acknowledgement)


@csrf_exempt
@require_POST
def carrier_events(request: HttpRequest, code: str) -> HttpResponse:
    """A listener of TMF654's hub: 201 once it is kept, TMF630's Error where it is refused."""
    carrier = Carrier.objects.filter(code=code).first()
    if carrier is None:
        return JsonResponse({"code": "notFound", "reason": "no such carrier"}, status=404)
    source = f"carrier:{carrier.code}"
    try:
        event = carriers.adapter_for(carrier).parse_event(
            headers=request.headers, body=_body(request), at=timezone.now()
        )
    except carriers.CarrierNotConfigured:
        return _refused_event(source, "the carrier is not set up", status=503)
    except _Unreadable as refusal:
        return _refused_event(source, str(refusal), status=refusal.status)
    except BadEvent as refusal:
        return _refused_event(source, str(refusal), status=400)
    incoming.accept(source=source, note=event, at=timezone.now())
    return JsonResponse({}, status=201)


def _body(request: HttpRequest) -> bytes:
    """The raw body. Raises _Unreadable, for one too long before it is read."""
    given: Any = request.META.get("CONTENT_LENGTH") or "0"
    try:
        if int(given) > MAX_BODY_BYTES:
            raise _Unreadable("the body is too long", 413)
        return request.body
    except RequestDataTooBig as error:
        raise _Unreadable("the body is too long", 413) from error
    except (UnreadablePostError, ValueError) as error:
        raise _Unreadable("the body cannot be read", 400) from error


def _refused(source: str, reason: str, answer: Acknowledgement) -> HttpResponse:
    """The protocol's refusal. Its status too says no: a 200 might be counted as delivered."""
    log.warning("A notification from %s was refused: %s.", source, reason)
    response = _said(answer)
    response.status_code = max(answer.status, 400)
    return response


def _refused_event(source: str, reason: str, *, status: int) -> HttpResponse:
    log.warning("A message from %s was refused: %s.", source, reason)
    return JsonResponse({"code": "refused", "reason": reason}, status=status)


def _said(answer: Acknowledgement) -> HttpResponse:
    return HttpResponse(answer.body, content_type=answer.content_type, status=answer.status)

"""A write is done once for each `Idempotency-Key`, however often it is sent.

The first request with a key takes a lease on a row of its own, does the work and keeps the answer
there; later ones get that answer, byte for byte. A process that dies half way leaves a lease that
runs out: the next request with the key does the work again, through domain calls that find what
was done already. What was merely refused at the door (400, 401, 403, 404, 429, our own 5xx) is not
kept: nothing was done, so the key may be used again for the mended request.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.http import HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import problem_of
from portal.api.models import IdempotentRequest
from portal.api.problems import CONTENT_TYPE, id_of
from portal.api.refusals import KeyBusy, KeyMalformed, KeyMissing, KeyReused
from portal.api.throttles import caller_of

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
# Longer than any request may take: gunicorn ends one after 30 s.
LEASE = timedelta(seconds=60)
KEPT = timedelta(days=7)
_KEPT_HEADERS = ("ETag", "Location")
_FINAL_REFUSALS = frozenset({409, 410, 412})
_PURGE_LIMIT = 10_000
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How a write treats keys; `portal.api.openapi` documents it from here."""

    is_required: bool
    # The work and its answer are one commit. Not for what calls the outside on the way, nor for
    # what must be remembered even when it is refused (a wrong code's try).
    is_atomic: bool


class Superseded(Exception):
    """Our lease ran out and another request with the key has taken over: write nothing."""


def idempotent(
    *, required: bool = False, atomic: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a view's write happen once for each key. `required`: refuse it without one."""
    policy = KeyPolicy(is_required=required, is_atomic=atomic)

    def wrap(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def run(view: Any, request: Request, **kwargs: Any) -> Any:
            def work() -> HttpResponse:
                return _rendered(handler(view, request, **kwargs))

            return _answer(request, work, policy)

        run.idempotency = policy  # type: ignore[attr-defined]
        return run

    return wrap


def domain_key(request: Request) -> str:
    """32 characters that name this request to the domain: the same key of the same caller."""
    name = f"{caller_of(request)}\n{request.headers[HEADER]}"
    return salted_hmac("api.idempotency", name, algorithm="sha256").hexdigest()[:32]


def purge(*, at: datetime) -> int:
    """Forget answers older than a week; how many, at most 10,000. May be called again."""
    old = IdempotentRequest.objects.filter(created_at__lt=at - KEPT).values("pk")[:_PURGE_LIMIT]
    return IdempotentRequest.objects.filter(pk__in=old).delete()[0]


def _answer(request: Request, work: Callable[[], HttpResponse], policy: KeyPolicy) -> HttpResponse:
    key = _key_of(request, is_required=policy.is_required)
    if not key:
        return _do(work, policy)
    claim = _claim(request, key)
    if claim.status is not None:
        return _replay(claim)
    try:
        return _do_and_keep(claim, work, policy)
    except Exception as error:
        return _refuse(request, claim, error)


def _key_of(request: Request, *, is_required: bool) -> str:
    key = request.headers.get(HEADER)
    if key is None and is_required:
        raise KeyMissing
    if key is not None and not _KEY.fullmatch(key):
        raise KeyMalformed  # an empty one too: whoever sends it believes to be safe
    return key or ""


def _do(work: Callable[[], HttpResponse], policy: KeyPolicy) -> HttpResponse:
    if not policy.is_atomic:
        return work()
    with transaction.atomic():
        return work()


def _do_and_keep(
    claim: IdempotentRequest, work: Callable[[], HttpResponse], policy: KeyPolicy
) -> HttpResponse:
    if not policy.is_atomic:
        response = work()
        _keep(claim, response)
        return response
    with transaction.atomic():
        response = work()
        if not _keep(claim, response):
            raise Superseded
    return response


def _refuse(request: Request, claim: IdempotentRequest, error: Exception) -> HttpResponse:
    """Keep a refusal that is final; else give the key back and let the error go its way."""
    if isinstance(error, Superseded):
        raise KeyBusy from error
    problem = problem_of(error)
    if problem is None:
        _mine(claim).update(lease_until=Now())
        raise error
    if problem.status not in _FINAL_REFUSALS:
        _mine(claim).delete()
        raise error
    response = problem.response(request_id=id_of(request))
    _keep(claim, response)
    return response


def _claim(request: Request, key: str) -> IdempotentRequest:
    """The key's row, leased to us, or with its `status` set: answered before.

    Raises KeyReused, KeyBusy.
    """
    caller, fingerprint = caller_of(request), _fingerprint(request)
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(
                caller=caller,
                key=key,
                fingerprint=fingerprint,
                created_at=timezone.now(),
                lease_until=Now() + LEASE,
            )
    except IntegrityError:
        pass  # known already: whose turn it is, the row itself decides
    found = IdempotentRequest.objects.filter(caller=caller, key=key)
    abandoned = found.filter(status=None, lease_until__lt=Now(), fingerprint=fingerprint)
    taken_over = abandoned.update(lease_until=Now() + LEASE, fence=F("fence") + 1)
    row = found.first()
    if row is not None and row.fingerprint != fingerprint:
        raise KeyReused
    if row is None or (row.status is None and not taken_over):
        raise KeyBusy
    return row


def _fingerprint(request: Request) -> str:
    """A keyed hash of what is asked: no body can be guessed from it."""
    body = json.dumps(request.data, sort_keys=True, ensure_ascii=False)
    parts = (request.method or "", request.get_full_path(), request.headers.get("If-Match", ""))
    text = "\n".join((*parts, body))
    return salted_hmac("api.fingerprint", text, algorithm="sha256").hexdigest()


def _mine(claim: IdempotentRequest) -> Any:
    return IdempotentRequest.objects.filter(pk=claim.pk, fence=claim.fence, status=None)


def _keep(claim: IdempotentRequest, response: HttpResponse) -> bool:
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    kept = _mine(claim).update(
        status=response.status_code,
        headers=headers,
        body=response.content.decode(),
        lease_until=None,
    )
    return bool(kept)


def _replay(row: IdempotentRequest) -> HttpResponse:
    response = _sent(row.body.encode(), status=row.status or 500, headers=row.headers)
    response[REPLAYED] = "true"
    return response


def _rendered(response: Response) -> HttpResponse:
    """The very bytes that are sent, now, so that they can be kept."""
    body = b"" if response.data is None else JSONRenderer().render(response.data)
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    return _sent(body, status=response.status_code, headers=headers)


def _sent(body: bytes, *, status: int, headers: Mapping[str, str]) -> HttpResponse:
    content_type = CONTENT_TYPE if status >= 400 else "application/json"
    response = HttpResponse(body, status=status, content_type=content_type, headers=dict(headers))
    if not body:
        del response["Content-Type"]  # of nothing
    return response

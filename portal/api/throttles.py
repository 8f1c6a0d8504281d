"""How often a caller may ask. Counted in PostgreSQL, so that it holds across processes.

REST framework's own throttles read, change and write a list in the cache: two processes at once
lose a count, and a list of thousands is rewritten for every reading that is pushed.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, NamedTuple

from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from billing import rowsets
from portal.api.models import RequestCount, Scope
from portal.api.permissions import client_of, scope_of

WINDOW_S = 60
KEPT = timedelta(hours=1)


class Kind(StrEnum):
    """Each has its own allowance: REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], requests a minute."""

    PUBLIC = "public"
    READ = "read"
    WRITE = "write"
    PUSH = "push"
    ROWS = "rows"  # readings a minute, in however many pushes


_KINDS = {
    Scope.READ: Kind.READ,
    Scope.ESIM_CODES: Kind.READ,
    Scope.WRITE: Kind.WRITE,
    Scope.PUSH_READINGS: Kind.PUSH,
}
_COUNT = """
WITH clock AS (
  SELECT floor(extract(epoch FROM clock_timestamp()) / %s)::bigint * %s AS began)
INSERT INTO portal_requestcount AS c (key, "window", count)
SELECT %s, clock.began, %s FROM clock
ON CONFLICT (key, "window") DO UPDATE SET count = c.count + EXCLUDED.count
RETURNING count AS so_far,
  "window" + %s - extract(epoch FROM clock_timestamp())::bigint AS left_s"""


class Counted(NamedTuple):
    """One row of `_COUNT`."""

    so_far: int
    left_s: int


def caller_of(request: Request) -> str:
    """One name for whoever asks: a program, a person, or an address."""
    if client := client_of(request):
        return f"client:{client.pk}"
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"from:{address_of(request)}"


def address_of(request: Request) -> str | None:
    """Where a request comes from, past our own proxies; None where that is no address."""
    try:
        return str(ip_address(BaseThrottle().get_ident(request)))
    except ValueError:
        return None


class CallerThrottle(BaseThrottle):
    """So many requests a minute, by caller and by kind of request."""

    def allow_request(self, request: Request, view: Any) -> bool:
        kind = kind_of(request, view)
        count, self._wait_s = count_one(key=f"{kind}:{caller_of(request)}")
        return count <= int(api_settings.DEFAULT_THROTTLE_RATES[kind] or 0)

    def wait(self) -> float:
        return self._wait_s


def kind_of(request: Request, view: Any) -> Kind:
    """Which allowance a request draws on."""
    if not request.user.is_authenticated:
        return Kind.PUBLIC
    return _KINDS[scope_of(view, request.method or "")]


def spend_rows(*, caller: str, rows: int) -> None:
    """Take `rows` of the caller's allowance of rows a minute. Raises Throttled where it is spent;
    the handful that spends the last of it is let through."""
    so_far, wait_s = count_one(key=f"{Kind.ROWS}:{caller}", by=rows)
    if so_far - rows >= int(api_settings.DEFAULT_THROTTLE_RATES[Kind.ROWS] or 0):
        raise Throttled(wait=wait_s)


def count_one(*, key: str, by: int = 1) -> tuple[int, int]:
    """`by` more under `key`: how many in this window so far, and the seconds until the next."""
    [counted] = rowsets.read(_COUNT, [WINDOW_S, WINDOW_S, key, by, WINDOW_S], into=Counted)
    return counted.so_far, max(counted.left_s, 1)


def purge(*, at: datetime) -> int:
    """Forget counts of windows long past; how many. May be called any number of times."""
    before = int((at - KEPT).timestamp())
    return RequestCount.objects.filter(window__lt=before).delete()[0]

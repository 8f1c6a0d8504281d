"""One HTTP call to a carrier: a deadline, a size limit, an answer that was really read, evidence.

A call is sent once. Nothing here retries or follows a redirect: this API has no idempotency key,
so a second POST is a second credit.
"""

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from lines.carriers.base import Exchange, LineAddress, Unknown
from lines.carriers.tmf654.masking import masked

API_PATH: Final = "/tmf-api/prepayBalanceManagement/v4"
_MAX_BYTES: Final = 8 * 1024 * 1024
_CONNECT_TIMEOUT_S: Final = 5.0
# Refusals that say nothing of what became of the request: ask, as after a timeout.
_TOO_FAST: Final = 429
_INDEFINITE: Final = {408, 425, _TOO_FAST}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 2xx, read. Figures in `body` are Decimal."""

    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 4xx whose body is the protocol's Error: the carrier's own words, a definite no."""

    status: int
    code: str
    message: str


Result = Reply | Refusal | Unknown


class _NoAnswer(Exception):
    """No usable answer; the text is safe to store."""


class _Bearer(AuthBase):
    """As an `auth` object, so that no ~/.netrc of the machine can replace the token."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class Wire:
    """Calls to one carrier; may be used by many threads at once."""

    def __init__(self, *, base_url: str, token: str, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._local = threading.local()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: str = "",
        reference: str = "",
        about: LineAddress | None = None,
    ) -> tuple[Result, Exchange]:
        """Send once. Never raises; `Unknown.reason` and the evidence hold no number and no token.

        Takes at most about twice `timeout_s`: once until the headers, once until the body's end.
        """
        query = "&".join(f"{name}={value}" for name, value in (params or {}).items())
        status, text, error = 0, "", ""
        try:
            status, headers, raw = self._exchange(method, path, params, body)
            text = raw.decode("utf-8", "replace")
            result = _judged(status, headers, raw)
        except _NoAnswer as no_answer:
            result = Unknown(str(no_answer))
        if isinstance(result, Unknown):
            error = result.reason
        exchange = Exchange(
            kind=f"{method} {_kind(path)}",
            reference=reference,
            request=masked(body or query, about),
            response=f"{status} {masked(text, about)}" if status else "",
            error=error,
        )
        return result, exchange

    def _exchange(
        self, method: str, path: str, params: Mapping[str, str] | None, body: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        until = time.monotonic() + self._timeout_s
        try:
            response = self._session().request(
                method,
                self._base_url + path,
                params=params,
                data=body.encode() if body else None,
                timeout=(min(_CONNECT_TIMEOUT_S, self._timeout_s), self._timeout_s),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return response.status_code, response.headers, _body(response, until)
        except requests.Timeout:
            raise _NoAnswer("timeout") from None
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # The text of these errors holds the URL, and the URL holds a phone number.
            raise _NoAnswer(f"no answer: {type(error).__name__}") from None

    def _session(self) -> requests.Session:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # where money goes is said by the carrier's settings alone
            session.auth = _Bearer(self._token)
            session.headers["Accept"] = "application/json"
            session.headers["Content-Type"] = "application/json;charset=utf-8"
            session.headers["User-Agent"] = "Keepline"
        return session


def _body(response: requests.Response, until: float) -> bytes:
    """The whole body, or _NoAnswer when it trickles past the deadline or has no end."""
    parts: list[bytes] = []
    size = 0
    # read1 gives what one packet brought; read(n) would wait for n bytes, however slowly they come.
    while part := response.raw.read1(65536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > _MAX_BYTES:
            raise _NoAnswer("the answer is too long")
        if time.monotonic() > until:
            raise _NoAnswer("timeout")
    return b"".join(parts)


def _judged(status: int, headers: Mapping[str, str], raw: bytes) -> Result:
    if status >= 500 or status in _INDEFINITE or 300 <= status < 400:
        return Unknown(f"status {status}", is_too_fast=status == _TOO_FAST)
    if status == 204:
        return Reply(None, headers)
    body = parsed(raw)
    if body is None:
        return Unknown(f"status {status}, the answer is not JSON")
    if status < 300:
        return Reply(body, headers)
    return _refusal(status, body)


def _refusal(status: int, body: Any) -> Refusal | Unknown:
    """Only the protocol's own Error is the carrier's word; a proxy's error page is nobody's."""
    code, reason = (
        (body.get("code"), body.get("reason")) if isinstance(body, dict) else (None, None)
    )
    if not isinstance(code, str) or not isinstance(reason, str) or not code.strip():
        return Unknown(f"status {status}, without the protocol's error")
    return Refusal(status, storable(code, 64), storable(masked(reason), 200))


def parsed(raw: bytes) -> Any:
    """JSON with every figure as an exact Decimal; None when it is no JSON (or is just null)."""
    try:
        return json.loads(
            _text(raw), parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse
        )
    except (
        ValueError,
        RecursionError,
        ArithmeticError,
    ):  # ArithmeticError: "1e99999999999999999999"
        return None


def _text(raw: bytes) -> str | bytes:
    """JSON is UTF-8; a carrier that answers in GBK all the same is read as it meant it."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode("gbk")
    return raw


def storable(text: str, length: int) -> str:
    """`text` fit for a log line and a database: printable, bounded."""
    return "".join(char if char.isprintable() else " " for char in text[:length]).strip()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _kind(path: str) -> str:
    """The resource without what follows it: an order's id may be a number's twin."""
    return "/" + path.removeprefix(API_PATH).lstrip("/").split("/")[0]

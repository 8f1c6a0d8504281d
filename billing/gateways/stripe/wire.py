"""One call through the vendor's SDK, and what came back as plain facts. Never retries.

The SDK builds requests, names errors and pages through lists. How a request travels is ours: the
SDK's own client takes proxies and passwords from whoever started the process, follows redirects,
and has no deadline for an answer that drips. What did not arrive whole or is no JSON object is a
`Reply` without a status: for a charge that means unknown, never failed.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import requests
import stripe
import urllib3

from billing.gateways.base import Exchange
from billing.gateways.stripe.account import Account
from billing.gateways.stripe.masking import masked_json, masked_text

# Pinned: an answer's shape must not change under us with the account's default.
API_VERSION = "2026-10-28.endive"

_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_SHORTEST_TIMEOUT_S = 3
_LONGEST_WAIT = timedelta(days=1)
# A form as text, which is what the SDK makes of all that is sent here.
_Body = str | bytes | None

# It would tell the vendor about our platform and keep an id in the home folder for it.
stripe.enable_telemetry = False
# At INFO the SDK logs whole addresses, at DEBUG whole requests: customers' tokens.
logging.getLogger("stripe").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that could be read, or none: then `status` is 0 and `exchange.error` says why."""

    exchange: Exchange
    status: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)
    problem: stripe.StripeError | None = None  # the SDK's name for a refusal
    is_replayed: bool = False  # a saved answer of the same idempotency key: how it *was*
    wait: timedelta = timedelta(0)  # that it asks for, by `Retry-After`

    @property
    def is_ok(self) -> bool:
        return self.status != 0 and self.problem is None

    @property
    def error(self) -> Mapping[str, object]:
        """The error object of a refusal; empty where there is none."""
        error = self.fields.get("error")
        return error if isinstance(error, dict) else {}

    @property
    def is_missing(self) -> bool:
        """Stripe has no such object."""
        return self.status == 404 and self.error.get("code") == "resource_missing"

    def explain(self) -> str:
        """For evidence and operators: the rail's own words, tokens masked."""
        words = [str(self.error.get(name) or "") for name in ("code", "decline_code", "message")]
        said = masked_text(" ".join(filter(None, words)))
        return f"HTTP {self.status} {said}".strip() if self.status else self.exchange.error


class Wire:
    """The SDK with our own transport. Threads share it, not their connections."""

    def __init__(self, account: Account, *, timeout_s: int) -> None:
        if timeout_s < _SHORTEST_TIMEOUT_S:
            raise ValueError(f"A Stripe call needs at least {_SHORTEST_TIMEOUT_S} seconds.")
        self._transport = _Transport(timeout_s)
        self._client = stripe.StripeClient(
            account.secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": account.api_url},
            max_network_retries=0,  # whoever owns the reference owns the retries
            http_client=self._transport,
        )

    @property
    def v1(self) -> stripe.V1Services:
        """The SDK's services."""
        return self._client.v1

    def call(self, kind: str, reference: str, send: Callable[[], object]) -> Reply:
        """Send, and read what came. `send` makes exactly one call of `v1`."""
        self._transport.forget()
        problem: stripe.StripeError | None = None
        try:
            send()
        except stripe.StripeError as error:
            problem = error
        seen = self._transport.seen()
        evidence = Exchange(
            kind, reference, seen.request, seen.response(), seen.is_readable, seen.error
        )
        if not seen.is_readable:
            return Reply(evidence)
        return Reply(evidence, seen.status, seen.fields, problem, seen.is_replayed, seen.wait)


@dataclass(slots=True)
class _Seen:
    """One request and its answer, as they crossed the wire."""

    request: str = ""
    text: str = ""
    status: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)
    is_readable: bool = False
    is_replayed: bool = False
    wait: timedelta = timedelta(0)
    error: str = "nothing was sent"

    def response(self) -> str:
        return masked_json(self.fields) if self.is_readable else masked_text(self.text)


class _Transport(stripe.HTTPClient):
    """Requests over `requests`, within a deadline and a limit, remembered for the evidence."""

    name = "requests"

    def __init__(self, timeout_s: int) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        connect_s = max(timeout_s // 4, 1)
        # Together below the whole, so that a silent peer cannot outlast the deadline.
        self._timeouts = (connect_s, timeout_s - connect_s - 1)
        self._local = threading.local()

    def forget(self) -> None:
        self._local.seen = _Seen()

    def seen(self) -> _Seen:
        seen: _Seen = self._local.seen
        return seen

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: _Body = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """What the SDK calls. Raises stripe.APIConnectionError where nothing usable came."""
        seen = _Seen(request=_told(method, url, headers or {}, post_data), error="")
        self._local.seen = seen
        try:
            answer = self._receive(method, url, headers, post_data, seen)
        except (requests.RequestException, urllib3.exceptions.HTTPError, _Unusable) as error:
            # A library's own text repeats the URL, and with it the request.
            known = str(error) if isinstance(error, _Unusable) else type(error).__name__
            seen.error = f"no answer: {known}"
            raise stripe.APIConnectionError(seen.error) from None  # type: ignore[no-untyped-call]
        seen.is_readable = True
        return seen.text, seen.status, answer

    def close(self) -> None:
        """The SDK asks for it; connections end with their threads."""

    def _receive(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: _Body, seen: _Seen
    ) -> Mapping[str, str]:
        deadline = time.monotonic() + self._timeout_s
        with self._session().request(
            method,
            url,
            headers=headers,
            data=body,
            timeout=self._timeouts,
            stream=True,
            allow_redirects=False,  # a call with our key is not for whoever it is sent on to
        ) as response:
            received = bytearray()
            # What has come, not a whole chunk: a peer that drips must not outlast the deadline.
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                received.extend(chunk)
                if len(received) > _MAX_ANSWER_BYTES:
                    raise _Unusable("it is too long")
                if time.monotonic() > deadline:
                    raise _Unusable("it took too long")
            _read(seen, bytes(received), response)
            return response.headers

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            # No proxy and no .netrc picked up from whoever started the process.
            session.trust_env = False
            self._local.session = session
        return session


class _Unusable(Exception):
    """An answer came that cannot be used; the text says why."""


def _read(seen: _Seen, received: bytes, response: requests.Response) -> None:
    """A JSON object, whole, with a status of Stripe's; else _Unusable."""
    try:
        seen.text = received.decode()
    except UnicodeDecodeError as error:
        raise _Unusable("it is not UTF-8") from error
    promised = response.headers.get("Content-Length", "")
    is_plain = "Content-Encoding" not in response.headers
    if is_plain and promised.isdecimal() and int(promised) != len(received):
        raise _Unusable("it broke off")
    try:
        # A float must not even exist: amounts are whole, and a rate stays as it was written.
        fields = json.loads(seen.text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"HTTP {response.status_code}, not JSON") from error
    if not isinstance(fields, dict):
        raise _Unusable("it is no object")
    seen.wait = _asked_wait(response)
    is_success = 200 <= response.status_code < 300
    if not is_success and not isinstance(fields.get("error"), dict):
        raise _Unusable(f"HTTP {response.status_code} without an error of Stripe's")
    if is_success and not isinstance(fields.get("object"), str):
        raise _Unusable("it is no object of Stripe's")
    seen.fields, seen.status = fields, response.status_code
    seen.is_replayed = response.headers.get("Idempotent-Replayed", "") == "true"


def _asked_wait(response: requests.Response) -> timedelta:
    """`Retry-After`, in seconds: what is longer than a day, or a date, nobody has seen here."""
    asked = response.headers.get("Retry-After", "")
    seconds = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 0
    return min(timedelta(seconds=seconds), _LONGEST_WAIT)


def _told(method: str, url: str, headers: Mapping[str, str], body: _Body) -> str:
    """The request as evidence: what was asked, under which key; nothing that admits."""
    parts = urlsplit(url)
    query = body if isinstance(body, str) else parts.query
    params = dict(parse_qsl(query))
    key = headers.get("Idempotency-Key", "")
    told = f"{method.upper()} {masked_text(parts.path)} {masked_json(params)}"
    return f"{told} key={key}" if key else told

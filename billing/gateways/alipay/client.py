"""One signed call over HTTP, and its verified answer. Never retries: the caller owns that.

Public parameters travel in the query, `biz_content` in the form body, as the vendor's SDKs do.
What did not arrive whole, is not signed, or does not verify becomes a `Reply` without a code: for a
charge that means unknown, never failed.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO
from urllib.parse import urlencode

import requests
import urllib3
from cryptography.hazmat.primitives.asymmetric import rsa

from billing.gateways.alipay import codes, instants
from billing.gateways.alipay.answers import Envelope, UnreadableAnswer, open_envelope
from billing.gateways.alipay.contract import Contract
from billing.gateways.alipay.masking import masked_json, masked_text
from billing.gateways.alipay.signing import is_signed, sign, signed_text
from billing.gateways.base import Exchange

# Without one of our own, Alipay's bill host was seen to answer 403 to a library's default.
USER_AGENT = "Keepline/0.1 (+alipay)"

# What is asked for, and what some of its gateways answer all the same.
_CHARSETS = ("utf-8", "gbk")
_MAX_ANSWER_BYTES = 256 * 1024
_MAX_BILL_BYTES = 512 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_SHORTEST_TIMEOUT_S = 3


class NoAnswer(Exception):
    """Nothing usable came back; the text says why. The call may have had its effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A verified answer, or none: then `code` is empty and `exchange.error` says why."""

    exchange: Exchange
    fields: Mapping[str, object]

    @property
    def code(self) -> str:
        return self.text("code")

    @property
    def sub_code(self) -> str:
        return codes.bare(self.text("sub_code"))

    def text(self, name: str) -> str:
        """A field as text; empty where it is missing or no string (a figure is no amount)."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ""

    def explain(self) -> str:
        """For evidence and operators: the rail's own words."""
        words = (self.code, self.text("sub_code"), self.text("sub_msg") or self.text("msg"))
        return " ".join(filter(None, words)) or self.exchange.error


class AlipayClient:
    """Signs, sends within a deadline, verifies. Threads share it, not their sessions."""

    def __init__(
        self,
        *,
        contract: Contract,
        private_key: rsa.RSAPrivateKey,
        alipay_key: rsa.RSAPublicKey,
        timeout_s: int,
        clock: Callable[[], datetime],
    ) -> None:
        if timeout_s < _SHORTEST_TIMEOUT_S:
            raise ValueError(f"An Alipay call needs at least {_SHORTEST_TIMEOUT_S} seconds.")
        self._contract = contract
        self._private_key = private_key
        self._alipay_key = alipay_key
        self._timeout_s = timeout_s
        connect_s = max(timeout_s // 4, 1)
        # Together below the whole, so that a silent peer cannot outlast the deadline.
        self._timeouts = (connect_s, timeout_s - connect_s - 1)
        self._clock = clock
        self._local = threading.local()

    def now(self) -> datetime:
        return self._clock()

    def call(
        self, *, method: str, content: Mapping[str, object], reference: str, notify_url: str = ""
    ) -> Reply:
        """Call `method` and verify what comes back. May be called twice if the method may."""
        params = self._signed(method=method, content=content, notify_url=notify_url)
        request = masked_json(params)
        text = ""
        try:
            text, charset = self._post(params)
            fields = self._verified(open_envelope(text, method=method), charset)
        except (NoAnswer, UnreadableAnswer) as error:
            evidence = Exchange(method, reference, request, masked_text(text), False, str(error))
            return Reply(evidence, {})
        return Reply(Exchange(method, reference, request, masked_json(fields), True), fields)

    def page_url(
        self, *, method: str, content: Mapping[str, object], notify_url: str, return_url: str
    ) -> str:
        """A signed URL to send a browser to. Nothing is sent from here."""
        params = self._signed(
            method=method, content=content, notify_url=notify_url, return_url=return_url
        )
        return f"{self._contract.gateway_url}?{urlencode(params)}"

    def download(self, url: str, *, into: IO[bytes]) -> None:
        """Fetch a file that a verified answer pointed to. Raises NoAnswer."""
        self._receive("GET", url, into=into.write, limit=_MAX_BILL_BYTES)

    def _signed(
        self, *, method: str, content: Mapping[str, object], notify_url: str, return_url: str = ""
    ) -> dict[str, str]:
        params = {
            "app_id": self._contract.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": instants.to_text(self._clock()),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        if notify_url:
            params["notify_url"] = notify_url
        if return_url:
            params["return_url"] = return_url
        params["sign"] = sign(self._private_key, signed_text(params))
        return params

    def _post(self, params: Mapping[str, str]) -> tuple[str, str]:
        """The answer's text, and what it travelled in: its signature covers those bytes."""
        query = {key: value for key, value in params.items() if key != "biz_content"}
        url = f"{self._contract.gateway_url}?{urlencode(query)}"
        body = urlencode({"biz_content": params["biz_content"]})
        received = bytearray()
        self._receive("POST", url, body=body, into=received.extend, limit=_MAX_ANSWER_BYTES)
        for charset in _CHARSETS:
            with contextlib.suppress(UnicodeDecodeError):
                return received.decode(charset), charset
        raise NoAnswer("the answer is neither UTF-8 nor GBK")

    def _receive(
        self, verb: str, url: str, *, into: Callable[[bytes], object], limit: int, body: str = ""
    ) -> None:
        """Send and read everything, within the deadline and the limit. Raises NoAnswer."""
        deadline = time.monotonic() + self._timeout_s
        left = limit
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        try:
            with self._session().request(
                verb,
                url,
                data=body or None,
                headers=headers if body else None,
                timeout=self._timeouts,
                stream=True,
                allow_redirects=verb == "GET",  # a signed call is not for whoever it is sent on to
            ) as response:
                if response.status_code != 200:
                    raise NoAnswer(f"HTTP {response.status_code}")
                # What has come, not a whole chunk: a peer that drips must not outlast the deadline.
                while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                    left -= len(chunk)
                    if left < 0:
                        raise NoAnswer("the answer is too long")
                    if time.monotonic() > deadline:
                        raise NoAnswer("the answer took too long")
                    into(chunk)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # The exception's own text repeats the URL, and with it the request.
            raise NoAnswer(f"no answer: {type(error).__name__}") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = USER_AGENT
            # No proxy and no .netrc picked up from whoever started the process.
            session.trust_env = False
            self._local.session = session
        return session

    def _verified(self, envelope: Envelope, charset: str) -> Mapping[str, object]:
        if not envelope.signature:
            code, sub_code = envelope.fields.get("code"), envelope.fields.get("sub_code")
            raise NoAnswer(f"unsigned answer: {code} {sub_code}")
        if not is_signed(
            self._alipay_key, envelope.signed_text, envelope.signature, charset=charset
        ):
            raise NoAnswer("the answer's signature is wrong")
        return envelope.fields

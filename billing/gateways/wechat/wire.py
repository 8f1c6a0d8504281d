"""One request over HTTP, bounded in time and length. Never retries: the caller owns that.

The only second attempt is at the backup address, and only where no connection came about, so
that nothing can have been sent twice.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import requests
import urllib3

USER_AGENT = "Keepline/0.1 (+wechat)"

_CHUNK_BYTES = 64 * 1024
_SHORTEST_TIMEOUT_S = 3


class NoAnswer(Exception):
    """Nothing usable came back; the text says why. The call may have had its effect."""


class NotReached(NoAnswer):
    """No connection came about: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back besides the body."""

    status: int
    headers: Mapping[str, str]


class Wire:
    """Sends within a deadline. Threads share it, not their sessions."""

    def __init__(
        self,
        *,
        base_urls: tuple[str, ...],
        timeout_s: int,
        client_cert: tuple[str, str] | None = None,
        ca_path: str = "",
    ) -> None:
        """`client_cert` is a certificate's file and its key's; `ca_path` "" trusts the system."""
        if timeout_s < _SHORTEST_TIMEOUT_S:
            raise ValueError(f"A WeChat Pay call needs at least {_SHORTEST_TIMEOUT_S} seconds.")
        self._base_urls = base_urls
        self._timeout_s = timeout_s
        connect_s = max(timeout_s // 4, 1) / len(base_urls)
        # Together below the whole, so that a silent peer cannot outlast the deadline.
        self._timeouts = (connect_s, timeout_s - connect_s * len(base_urls) - 1)
        self._client_cert = client_cert
        self._ca_path = ca_path
        self._local = threading.local()

    @property
    def base_url(self) -> str:
        return self._base_urls[0]

    def send(
        self,
        verb: str,
        path: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        into: Callable[[bytes], object],
        limit: int,
    ) -> Answered:
        """Send and read everything, whatever its status. Raises NoAnswer."""
        deadline = time.monotonic() + self._timeout_s
        for base_url in self._base_urls[:-1]:
            try:
                return self._send(verb, base_url + path, body, headers, into, limit, deadline)
            except NotReached:
                continue
        return self._send(verb, self._base_urls[-1] + path, body, headers, into, limit, deadline)

    def _send(
        self,
        verb: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        into: Callable[[bytes], object],
        left: int,
        deadline: float,
    ) -> Answered:
        try:
            with self._session().request(
                verb,
                url,
                data=body or None,
                headers=dict(headers),
                timeout=self._timeouts,
                stream=True,
                allow_redirects=False,  # a signed call is not for whoever it is sent on to
            ) as response:
                # What has come, not a whole chunk: who drips must not outlast the deadline.
                while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                    left -= len(chunk)
                    if left < 0:
                        raise NoAnswer("the answer is too long")
                    if time.monotonic() > deadline:
                        raise NoAnswer("the answer took too long")
                    into(chunk)
                return Answered(response.status_code, response.headers)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # The exception's own text repeats the URL, and with it the request. OSError: the
            # client certificate's file is gone.
            kind = NotReached if _is_unreached(error) else NoAnswer
            raise kind(f"no answer: {type(error).__name__}") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = USER_AGENT
            # No proxy and no .netrc picked up from whoever started the process.
            session.trust_env = False
            session.verify = self._ca_path or True
            session.cert = self._client_cert
            self._local.session = session
        return session


def _is_unreached(error: Exception) -> bool:
    """Whether it failed before there was a connection to send over."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)

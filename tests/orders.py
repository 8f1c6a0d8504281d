"""An order to a simulator over HTTP, and what it answered.

Thousands are given in a run. requests would make a session for each, and look through the
environment for proxies: ten times the work of the call itself.
"""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

NO_ANSWER = (OSError, HTTPException)


class Answer(NamedTuple):
    status: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def give(verb: str, url: str, body: object = None, *, timeout_s: float) -> Answer:
    """Raises one of NO_ANSWER."""
    address = urlsplit(url)
    link = HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    said = None if body is None else json.dumps(body).encode()
    headers = {} if said is None else {"Content-Type": "application/json"}
    try:
        link.request(verb, address._replace(scheme="", netloc="").geturl(), said, headers)
        reply = link.getresponse()
        return Answer(reply.status, reply.read().decode())
    finally:
        link.close()

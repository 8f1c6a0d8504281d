"""Those who call the API in tests, each by the way they really would."""

import json
from itertools import count
from typing import Any

from django.test import Client

from lines.models import Carrier
from portal.accounts.models import User
from portal.api import clients
from portal.api.models import Scope
from tests.world import NOON

ALL_OWN = (Scope.READ, Scope.WRITE, Scope.ESIM_CODES)
_keys = count(1)


def fresh_key() -> str:
    return f"key-{next(_keys):08d}"


class Caller:
    """One caller. `call` answers Django's response; `json` its body too."""

    def __init__(self, *, token: str = "", user: User | None = None) -> None:
        self._client = Client()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if user is not None:
            self._client.force_login(user)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = "", **headers: str
    ) -> Any:
        """`key`: the Idempotency-Key; "" a fresh one for a write, None for none at all."""
        sent = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if key == "" and method != "GET":
            key = fresh_key()
        if key:
            sent["Idempotency-Key"] = key
        data = b"" if body is None else json.dumps(body).encode()
        return self._client.generic(
            method, f"/api/v1/{path}", data, content_type="application/json", headers=sent
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, *, key: str | None = "", **headers: str) -> Any:
        return self.call("POST", path, body, key=key, **headers)


def token_of(
    owner: User, *, scopes: tuple[str, ...] = ALL_OWN, carrier: Carrier | None = None
) -> str:
    _client, token = clients.issue(
        owner=owner, name="test", scopes=scopes, carrier=carrier, at=NOON
    )
    return token


def with_token(
    owner: User, *, scopes: tuple[str, ...] = ALL_OWN, carrier: Carrier | None = None
) -> Caller:
    return Caller(token=token_of(owner, scopes=scopes, carrier=carrier))


def integrator(owner: User, carrier: Carrier) -> Caller:
    return with_token(owner, scopes=(Scope.PUSH_READINGS,), carrier=carrier)

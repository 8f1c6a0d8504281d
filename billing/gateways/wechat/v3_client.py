"""One signed v3 call, and its verified answer: JSON, or nothing under status 204."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from billing.gateways.base import Exchange
from billing.gateways.wechat import v3
from billing.gateways.wechat.masking import masked_json, masked_text
from billing.gateways.wechat.wire import NoAnswer, Wire

_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class V3Reply:
    """A verified answer, or none: then `status` is 0 and `exchange.error` says why."""

    exchange: Exchange
    status: int
    fields: Mapping[str, object]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """Why it was refused; empty where it was not, or nobody can tell."""
        return "" if self.is_success else str(self.fields.get("code", ""))

    def explain(self) -> str:
        """For evidence and operators: the rail's own words."""
        words = (self.code, str(self.fields.get("message", "")))
        return " ".join(filter(None, words)) or self.exchange.error or f"HTTP {self.status}"


class V3Client:
    """Signs with RSA, sends within a deadline, verifies. Threads may share it."""

    def __init__(self, *, identity: v3.Identity, wire: Wire, clock: Callable[[], datetime]) -> None:
        self._identity = identity
        self._wire = wire
        self._clock = clock

    def post(
        self, path: str, content: Mapping[str, object], *, kind: str, reference: str
    ) -> V3Reply:
        """POST `content`. `kind` names the call in evidence, for `path` holds a contract's number.

        May be called twice if the call may.
        """
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        received = bytearray()
        try:
            status = self._exchange(path, body, received)
            fields = _read(bytes(received))
        except (NoAnswer, v3.NotGenuine) as error:
            text = masked_text(received.decode(errors="replace"))
            evidence = Exchange(kind, reference, masked_json(content), text, False, str(error))
            return V3Reply(evidence, 0, {})
        told = masked_json({"status": status, **fields})
        return V3Reply(Exchange(kind, reference, masked_json(content), told, True), status, fields)

    def _exchange(self, path: str, body: bytes, received: bytearray) -> int:
        now = self._clock()
        headers = {
            "Authorization": v3.authorization(
                self._identity, verb="POST", path=path, body=body, at=now
            ),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        answered = self._wire.send(
            "POST", path, body=body, headers=headers, into=received.extend, limit=_MAX_ANSWER_BYTES
        )
        v3.verify(self._identity, headers=answered.headers, body=bytes(received), at=self._clock())
        return answered.status


def _read(body: bytes) -> Mapping[str, object]:
    """The answer's object; empty where it has none. Raises NoAnswer."""
    if not body:
        return {}
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("the answer is not JSON") from error
    if not isinstance(fields, dict):
        raise NoAnswer("the answer is not an object")
    return fields

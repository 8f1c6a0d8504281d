"""Tells subscribers what happened, signed, again when they do not take it, or wrongly on command.

X-Keepline-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<raw body>">
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from secrets import token_hex
from typing import Any

import requests

from lines.carriers.tmf654.simulator import documents
from lines.carriers.tmf654.simulator.books import Books
from lines.carriers.tmf654.simulator.faults import Fault, FaultPlan
from lines.carriers.tmf654.simulator.records import Line, Order, Record

_WAITS_S = (0.0, 0.5, 2.0)  # before each try; a subscriber that misses all three must ask
_TIMEOUT_S = 5.0
_STALE_S = 3600


class Hub:
    """Sends in the background: what is announced inside a transaction of the books never waits."""

    def __init__(self, *, books: Books, plan: FaultPlan, secret: str) -> None:
        self._books = books
        self._plan = plan
        self._secret = secret
        self._senders = ThreadPoolExecutor(max_workers=8, thread_name_prefix="hub")

    def announce(self, event: str, record: Record) -> None:
        subject, document = self._payload(event, record)
        body = documents.dump(_envelope(event, subject, document, self._books.now())).encode()
        fault = self._plan.take("EVENT", body.decode())
        if fault and fault.kind == "event_never":
            return
        for subscription in list(self._books.subscriptions.values()):
            if not subscription.query or event in subscription.query:
                self._senders.submit(self._send, subscription.callback, body, fault)

    def close(self) -> None:
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _payload(self, event: str, record: Record) -> tuple[str, dict[str, Any]]:
        if isinstance(record, Order):
            return f"{record.kind}Balance", documents.order(record)
        if isinstance(record, Line):  # not in the document: how operators push balances
            return "bucket", documents.bucket(record, self._books.now())
        raise TypeError(event)

    def _send(self, callback: str, body: bytes, fault: Fault | None) -> None:
        if fault and fault.kind == "event_late":
            time.sleep(fault.delay_s)
        headers = self._headers(body, fault)
        if fault and fault.kind == "event_tampered":
            body = body.replace(b"completed", b"cancelled").replace(b"failed", b"completed")
        for _ in range(2 if fault and fault.kind == "event_twice" else 1):
            _deliver(lambda: _post(callback, body, headers))

    def _headers(self, body: bytes, fault: Fault | None) -> dict[str, str]:
        at, secret = int(time.time()), self._secret
        if fault and fault.kind == "event_stale":
            at -= _STALE_S
        if fault and fault.kind == "event_forged":
            secret = token_hex(16)  # a guess
        headers = {"Content-Type": "application/json;charset=utf-8"}
        if secret:
            headers["X-Keepline-Signature"] = f"t={at},v1={signature(secret, at, body)}"
        return headers


def signature(secret: str, at: int, body: bytes) -> str:
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()


def _envelope(event: str, subject: str, document: dict[str, Any], at: datetime) -> dict[str, Any]:
    moment = at.isoformat().replace("+00:00", "Z")
    return {
        "eventId": token_hex(12),
        "eventTime": moment,
        "timeOcurred": moment,  # the document's own spelling
        "eventType": event[0].upper() + event[1:],
        "event": {subject: document},
    }


def _deliver(post: Callable[[], bool]) -> None:
    for wait_s in _WAITS_S:
        time.sleep(wait_s)
        if post():
            return


def _post(callback: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        answer = requests.post(
            callback, data=body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException:
        return False
    return answer.ok

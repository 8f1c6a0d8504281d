"""Messages from the carrier's hub: who sent them, and what they say.

TMF leaves the authentication of a listener open. This one takes only what carries

    X-Keepline-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<raw body>">

under one of the live secrets, at most five minutes from now. There may be several `v1`, and several
secrets, so that either side can change its secret first.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lines.carriers.base import BadEvent, CarrierEvent, CarrierEventKind
from lines.carriers.tmf654.masking import masked
from lines.carriers.tmf654.reading import Unreadable, identifier, resources, text
from lines.carriers.tmf654.wire import parsed

SIGNATURE_HEADER: Final = "X-Keepline-Signature"
_TOLERANCE_S: Final = 300
_MAX_BYTES: Final = 64 * 1024
_MAX_SIGNATURES: Final = 4
_HEX: Final = frozenset("0123456789abcdef")
# The payload's key in `event`, and what it is about. Only top-ups have an outcome to ask for; all
# else moved a balance. `bucket` is not in the document: carriers add it to push balances.
_SUBJECTS: Final = {
    "topupBalance": CarrierEventKind.TOPUP,
    "bucket": CarrierEventKind.BALANCE,
    "adjustBalance": CarrierEventKind.BALANCE,
    "transferBalance": CarrierEventKind.BALANCE,
    "reserveBalance": CarrierEventKind.BALANCE,
}


def verify(
    *, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], at: datetime
) -> None:
    """Raises BadEvent unless a live secret signed these very bytes within five minutes of `at`."""
    if len(body) > _MAX_BYTES:
        raise BadEvent("the message is too long")
    sent_at, signatures = _signature(headers)
    if abs(int(at.timestamp()) - int(sent_at)) > _TOLERANCE_S:
        raise BadEvent("the signature is too old or too new")
    signed = sent_at.encode() + b"." + body
    # Every pair is compared, in constant time: how long it takes says nothing of how close it was.
    matches = [
        hmac.compare_digest(hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(), given)
        for secret in secrets
        if secret
        for given in signatures
    ]
    if not any(matches):
        raise BadEvent("the signature is wrong")


def read(*, body: bytes, reference_field: str) -> CarrierEvent:
    """What a verified message says. Raises BadEvent when it is none of this protocol's."""
    document = parsed(body)
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        raise BadEvent("the message is not an event")
    subject = next((name for name in _SUBJECTS if isinstance(event.get(name), dict)), None)
    if subject is None:
        raise BadEvent("the event has no subject we know")
    payload = event[subject]
    try:
        carrier_ref = identifier(payload, "id")
    except Unreadable as error:
        raise BadEvent(str(error)) from None
    return CarrierEvent(
        dedupe_id=_dedupe_id(document.get("eventId"), body),
        kind=_SUBJECTS[subject],
        reference=text(payload, reference_field),
        carrier_ref=carrier_ref,
        claims=" ".join(filter(None, (text(document, "eventType"), text(payload, "status")))),
        body_masked=masked(body.decode("utf-8", "replace")),
        resource=_resource(payload),
    )


def _signature(headers: Mapping[str, str]) -> tuple[str, list[str]]:
    """The time as it was signed, and the well-formed signatures. Raises BadEvent."""
    given = [value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER.lower()]
    if len(given) != 1:
        raise BadEvent("the message is not signed")
    parts = [part.strip().partition("=") for part in given[0].split(",")]
    times = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1" and _is_digest(value)]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12):
        raise BadEvent("the signature has no time")
    if not 1 <= len(signatures) <= _MAX_SIGNATURES:
        raise BadEvent("the signature is malformed")
    return times[0], signatures


def _dedupe_id(event_id: object, body: bytes) -> str:
    """The carrier's own event id; where it numbers none, the same bytes are the same event."""
    if isinstance(event_id, str) and event_id.strip():
        is_plain = len(event_id) <= 64 and event_id.isprintable()
        return (
            event_id
            if is_plain
            else hashlib.sha256(event_id.encode("utf-8", "replace")).hexdigest()
        )
    return hashlib.sha256(body).hexdigest()


def _is_digest(value: str) -> bool:
    return len(value) == 64 and set(value) <= _HEX


def _resource(payload: Mapping[str, Any]) -> str:
    """The first number or card the payload names, so that a balance event finds its line."""
    try:
        named = resources(payload)
    except Unreadable:
        return ""
    return named[0].number if named else ""

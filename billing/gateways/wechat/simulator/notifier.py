"""Notifications: posted until the merchant acknowledges them, over the virtual clock.

A v2 notification is signed once and stays byte for byte the same. A v3 one is signed anew for
every try, because its signature holds the time. What was not acknowledged when the process died
is sent again by the next one.
"""

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import requests

from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Fault, Faults
from billing.gateways.wechat.simulator import envelope
from billing.gateways.wechat.simulator.books import Books
from billing.gateways.wechat.simulator.keys import Keys
from billing.gateways.wechat.simulator.records import Delivery
from billing.gateways.wechat.simulator.signatures import (
    SCHEME,
    sealed_refund,
    sealed_resource,
    v2_sign,
    v3_sign,
)

CONTRACT_WAITS_S = [10, 10, 10, 30, 30, 30] + [300] * 23
ORDER_WAITS_S = [15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600]
REFUND_WAITS_S = [15, 15, 30, 180, 600, 1200, *[1800] * 3, 3600, *[10800] * 3, 21600, 21600]
_TIMEOUT_S = 5
_PROBE = "WECHATPAY/SIGNTEST/"
_LIES = {"total_fee": "1", "refund_fee": "1", "change_type": "DELETE", "trade_state": "SUCCESS"}


@dataclass(frozen=True, slots=True)
class Notice:
    """What there is to tell. `method` and `reference` are what a fault may be ordered for."""

    url: str
    method: str
    reference: str
    fields: dict[str, str]
    waits_s: list[int]
    sign_type: str
    sealed: dict[str, str] | None = None  # v2's req_info: then nothing is signed
    event: str = ""  # v3's event_type
    resource: dict[str, object] | None = None  # v3's plaintext


class Notifier:
    """Signs, seals, posts, repeats."""

    def __init__(
        self, *, keys: Keys, books: Books, agenda: Agenda, time: VirtualClock, faults: Faults
    ) -> None:
        self._keys = keys
        self._books = books
        self._agenda = agenda
        self._time = time
        self._faults = faults
        self._local = threading.local()

    def resume(self) -> None:
        """After a restart: what nobody acknowledged is sent again."""
        for delivery in list(self._books.deliveries.values()):
            if not delivery.is_over:
                self._later(delivery, 0)

    def send(self, notice: Notice) -> None:
        """Post it, with the faults that stand for it. May be called without a URL: then nothing."""
        settings = self._books.settings
        if not notice.url or settings.is_silent:
            return
        faults = self._faults.of_notice(notice.method, notice.reference)
        if "notify_never" in faults:
            return
        delivery = self._kept(notice, is_v3=settings.notifies_by_v3)
        self._send_with(delivery, faults)

    def _send_with(self, delivery: Delivery, faults: Mapping[str, Fault]) -> None:
        if "notify_forged" in faults:
            self._agenda.soon(lambda: self._post(self._forged(delivery)))
        if "notify_probe" in faults:
            self._agenda.soon(lambda: self._post(replace(delivery, is_v3=True), is_probe=True))
        if "notify_duplicate" in faults:
            for _ in range(faults["notify_duplicate"].number("copies", 1)):
                self._agenda.soon(lambda: self._post(delivery))
        if "notify_before_answer" in faults:
            self._try(delivery)
        elif "notify_reordered" in faults:
            self._later(delivery, faults["notify_reordered"].number("seconds", 1))
        else:
            self._agenda.soon(lambda: self._try(delivery))

    # --- what is sent -------------------------------------------------------------------------

    def _kept(self, notice: Notice, *, is_v3: bool) -> Delivery:
        number = secrets.token_hex(16)
        body = self._v3_body(number, notice) if is_v3 else self._v2_body(notice)
        self._books.record(
            "notification",
            reference=notice.reference,
            number=number,
            url=notice.url,
            about=notice.fields | (notice.sealed or {}),
            body=body,
            waits_s=notice.waits_s,
            is_v3=is_v3,
        )
        return self._books.deliveries[number]

    def _v2_body(self, notice: Notice) -> str:
        if notice.sealed is not None:
            text = envelope.write(notice.sealed, root="root")
            return envelope.write(
                notice.fields | {"req_info": sealed_refund(text, key=self._keys.v2)}
            )
        sign = v2_sign(notice.fields, key=self._keys.v2, sign_type=notice.sign_type)
        return envelope.write(notice.fields | {"sign": sign})

    def _v3_body(self, number: str, notice: Notice) -> str:
        about = notice.event.split(".")[0].lower()
        text = json.dumps(notice.resource, ensure_ascii=False)
        return json.dumps(
            {
                "id": number,
                "create_time": f"{self._time.now():%Y-%m-%dT%H:%M:%S+00:00}",
                "resource_type": "encrypt-resource",
                "event_type": notice.event,
                "summary": notice.event,
                "resource": sealed_resource(text, key=self._keys.v3, about=about),
            },
            ensure_ascii=False,
        )

    def _forged(self, genuine: Delivery) -> Delivery:
        """Lies under a signature that was made for the truth."""
        if genuine.is_v3:
            return replace(genuine, body=genuine.body.replace('"id": "', '"id": "0'))
        fields = envelope.read(genuine.body.encode())
        if "req_info" in fields:
            fields["req_info"] = fields["req_info"][::-1]
        return replace(genuine, body=envelope.write({**fields, **_LIES}))

    # --- sending ------------------------------------------------------------------------------

    def _later(self, delivery: Delivery, seconds: int) -> None:
        due = self._time.now() + timedelta(seconds=seconds)
        self._agenda.at(due, lambda: self._agenda.soon(lambda: self._try(delivery)))

    def _try(self, delivery: Delivery) -> None:
        """One try, and a later one if the merchant did not acknowledge it."""
        if delivery.is_over:
            return
        is_accepted = self._post(delivery)
        if is_accepted or delivery.waits >= len(delivery.waits_s):
            self._books.record("notification_over", number=delivery.number, is_accepted=is_accepted)
            return
        self._later(delivery, delivery.waits_s[delivery.waits])
        delivery.waits += 1

    def _post(self, delivery: Delivery, *, is_probe: bool = False) -> bool:
        delivery.tries += 1
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        if delivery.is_v3:
            headers = {"Content-Type": "application/json"} | self.v3_headers(delivery.body)
        if is_probe:
            headers["Wechatpay-Signature"] = _PROBE + headers["Wechatpay-Signature"]
        try:
            response = self._session().post(
                delivery.url, data=delivery.body.encode(), headers=headers, timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            delivery.answer = type(error).__name__
            return False
        delivery.answer = response.text[:200]
        if delivery.is_v3:
            return response.ok
        return response.ok and _says_success(response.content)

    def v3_headers(self, body: str) -> dict[str, str]:
        """WeChat Pay's signature over an answer or a notification, made now."""
        keys, by_certificate = self._keys, self._books.settings.signs_with_certificate
        stamp, nonce = str(int(self._time.now().timestamp())), secrets.token_hex(16)
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": v3_sign(f"{stamp}\n{nonce}\n{body}\n", keys.platform),
            "Wechatpay-Serial": keys.platform_serial if by_certificate else keys.public_key_id,
            "Wechatpay-Signature-Type": SCHEME,
        }

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            self._local.session = session
        return session


def _says_success(raw: bytes) -> bool:
    """The acknowledgement is XML; "success", JSON or a page are no acknowledgement."""
    try:
        return envelope.read(raw).get("return_code") == "SUCCESS"
    except envelope.Unreadable:
        return False

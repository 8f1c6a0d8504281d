"""Events: signed, posted to the merchant until it answers 2xx, kept to be listed.

Signed as Stripe does it: `t=<seconds>,v1=<HMAC-SHA256 of "t.body">`, once for every secret that is
live, anew for every try. The waits between tries are of Stripe's order of magnitude (it says "for
up to three days with an exponential back off") and run on the virtual clock.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import requests

from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Fault
from billing.gateways.stripe.simulator.books import Object, new_id
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.refusals import API_VERSION

WAITS_S = (300, 1800, 7200, 18_000, 36_000, 43_200, 43_200, 43_200)
_TIMEOUT_S = 10
_KEPT = 2000
Event = Object


@dataclass(slots=True)
class Delivery:
    """One event and what became of it; read by tests."""

    url: str
    event: Event
    is_forged: bool = False
    tries: int = 0
    waits: int = 0  # how often a further try was put on the agenda
    is_accepted: bool = False
    answer: str = ""


class Notifier:
    """Signs, posts, repeats."""

    def __init__(self, *, url: str, secrets: list[str], agenda: Agenda, time: VirtualClock) -> None:
        self.webhook_url, self.webhook_secrets = url, secrets
        self.is_silent = False
        self._agenda, self._time = agenda, time
        self._local = threading.local()
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []

    def deliveries(self) -> list[Delivery]:
        """The latest, oldest first."""
        with self._lock:
            return list(self._deliveries)

    def send(self, told: list[tuple[str, Event]], faults: Mapping[str, Fault]) -> None:
        """Tell of what happened, with what the faults of the call that caused it demand."""
        deliveries = [self._kept(kind, subject) for kind, subject in told]
        if not self.webhook_url or self.is_silent or "webhook_never" in faults:
            return
        if "webhook_reordered" in faults:
            self._later(deliveries[::-1], faults["webhook_reordered"])
            return
        for delivery in deliveries:
            self._send_one(delivery, faults)

    def _send_one(self, delivery: Delivery, faults: Mapping[str, Fault]) -> None:
        if "webhook_forged" in faults:
            forged = Delivery(delivery.url, _belied(delivery.event), is_forged=True)
            self._agenda.soon(lambda: self._post(forged))
        if duplicate := faults.get("webhook_duplicate"):
            for _ in range(duplicate.number("copies", 1)):
                self._agenda.soon(lambda: self._post(delivery))
        if "webhook_before_answer" in faults:
            self._deliver(delivery)
        else:
            self._agenda.soon(lambda: self._deliver(delivery))

    def _later(self, deliveries: list[Delivery], fault: Fault) -> None:
        due = self._time.now() + timedelta(seconds=fault.seconds(1))

        def deliver() -> None:
            for delivery in deliveries:
                self._deliver(delivery)

        self._agenda.at(due, deliver)

    def _kept(self, kind: str, subject: Event) -> Delivery:
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": seconds(self._time.now()),
            "data": {"object": subject},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        delivery = Delivery(self.webhook_url, event)
        with self._lock:
            self._deliveries = [*self._deliveries[-_KEPT:], delivery]
        return delivery

    def _deliver(self, delivery: Delivery) -> None:
        """One try, and a later one if the merchant did not answer 2xx."""
        if self._post(delivery) or delivery.tries > len(WAITS_S):
            return
        wait = timedelta(seconds=WAITS_S[delivery.tries - 1])
        self._agenda.at(self._time.now() + wait, lambda: self._deliver(delivery))
        delivery.waits += 1

    def _post(self, delivery: Delivery) -> bool:
        delivery.tries += 1
        body = json.dumps(delivery.event, ensure_ascii=False, indent=2).encode()
        try:
            response = self._session().post(
                delivery.url,
                data=body,
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": self._signature(body, delivery),
                },
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
            delivery.answer = f"{response.status_code}"
            delivery.is_accepted = 200 <= response.status_code < 300
        except requests.RequestException as error:
            delivery.answer, delivery.is_accepted = type(error).__name__, False
        return delivery.is_accepted

    def _signature(self, body: bytes, delivery: Delivery) -> str:
        at = seconds(self._time.now())
        secrets = ["whsec_of_nobody_at_all"] if delivery.is_forged else self.webhook_secrets
        stamps = [f"v1={signed(body, secret, at)}" for secret in secrets]
        return ",".join([f"t={at}", *stamps])

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            self._local.session = session
        return session


def signed(body: bytes, secret: str, at: int) -> str:
    """The v1 signature, in hexadecimal."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def _belied(event: Event) -> Event:
    """Another amount, under an id of its own."""
    subject = {**event["data"]["object"], "amount": 1, "status": "succeeded"}
    return {**event, "id": new_id("evt"), "data": {"object": subject}}

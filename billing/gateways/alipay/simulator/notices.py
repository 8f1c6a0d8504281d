"""Notifications: signed forms posted to the merchant until it says `success`.

The waits between tries are what third parties quote; Alipay's domestic ones are not verified. They
run on the virtual clock, so a test moves it forward instead of waiting.
"""

import json
import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from urllib.parse import urlencode

import requests

from billing.gateways.alipay.simulator import instants
from billing.gateways.alipay.simulator.signatures import Seal, pairs_text
from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Fault

log = logging.getLogger(__name__)
WAITS_S = (240, 600, 600, 3600, 7200, 21_600, 54_000)
_TIMEOUT_S = 10
_KEPT = 2000


@dataclass(slots=True)
class Delivery:
    """One notification and what became of it; read by tests."""

    url: str
    fields: dict[str, str]
    tries: int = 0
    waits: int = 0  # how often a further try was put on the agenda
    is_accepted: bool = False
    answer: str = ""


class Notifier:
    """Signs, posts, repeats."""

    def __init__(self, *, seal: Seal, app_id: str, agenda: Agenda, time: VirtualClock) -> None:
        self.signs_with_type = False
        self.is_silent = False
        self._seal = seal
        self._app_id = app_id
        self._agenda = agenda
        self._time = time
        self._local = threading.local()
        self._lock = threading.Lock()
        self._number = count(1)
        self._deliveries: list[Delivery] = []

    def deliveries(self) -> list[Delivery]:
        """The latest, oldest first."""
        with self._lock:
            return list(self._deliveries)

    def send(self, url: str, fields: Mapping[str, str], faults: Mapping[str, Fault]) -> None:
        """Post `fields` to `url`, with what the faults of the call that caused it demand."""
        if not url or self.is_silent or "notify_never" in faults:
            return
        delivery = self._sealed(url, self.common() | dict(fields))
        if "notify_forged" in faults:
            self._agenda.soon(lambda: self._post(self._forged(delivery)))
        duplicate = faults.get("notify_duplicate")
        for _ in range(duplicate.number("copies", 1) if duplicate else 0):
            self._agenda.soon(lambda: self._post(delivery))
        if "notify_before_answer" in faults:
            self._deliver(delivery)
        elif reordered := faults.get("notify_reordered"):
            due = self._time.now() + timedelta(seconds=reordered.seconds(1))
            self._agenda.at(due, lambda: self._deliver(delivery))
        else:
            self._agenda.soon(lambda: self._deliver(delivery))

    def message(self, url: str, method: str, content: Mapping[str, str]) -> None:
        """Post a message of the open platform, which has an envelope of its own."""
        if not url or self.is_silent:
            return
        fields = self.common() | {
            "msg_method": method,
            "utc_timestamp": str(int(self._time.now().timestamp() * 1000)),
            "version": "1.1",
            "biz_content": json.dumps(content),
        }
        del fields["notify_time"], fields["auth_app_id"]
        delivery = self._sealed(url, fields)
        self._agenda.soon(lambda: self._deliver(delivery))

    def signed(self, fields: Mapping[str, str]) -> dict[str, str]:
        """`fields` as Alipay would sign them in a notification or a return URL."""
        whole = dict(fields) | {"sign_type": "RSA2"}
        left_out = ("sign",) if self.signs_with_type else ("sign", "sign_type")
        return whole | {"sign": self._seal.stamp(pairs_text(whole, leave_out=left_out))}

    def common(self) -> dict[str, str]:
        """What every notification begins with."""
        return {
            "notify_time": instants.text(self._time.now()),
            # Alipay's look like this: the day, then hexadecimal.
            "notify_id": f"{instants.day(self._time.now()):%Y%m%d}00{uuid.uuid4().hex}",
            "app_id": self._app_id,
            "auth_app_id": self._app_id,
            "charset": "utf-8",
            "version": "1.0",
        }

    def _sealed(self, url: str, fields: Mapping[str, str]) -> Delivery:
        delivery = Delivery(url, self.signed(fields))
        with self._lock:
            self._deliveries = [*self._deliveries[-_KEPT:], delivery]
        return delivery

    def _forged(self, genuine: Delivery) -> Delivery:
        """Another amount and another id under a signature that was made for something else."""
        lies = {"notify_id": uuid.uuid4().hex, "total_amount": "0.01", "status": "UNSIGN"}
        return Delivery(genuine.url, genuine.fields | lies)

    def _deliver(self, delivery: Delivery) -> None:
        """One try, and a later one if the merchant did not say `success`."""
        if self._post(delivery) or delivery.tries > len(WAITS_S):
            return
        wait = timedelta(seconds=WAITS_S[delivery.tries - 1])
        self._agenda.at(self._time.now() + wait, lambda: self._deliver(delivery))
        delivery.waits += 1

    def _post(self, delivery: Delivery) -> bool:
        delivery.tries += 1
        try:
            response = self._session().post(
                delivery.url,
                data=urlencode(delivery.fields),
                headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
                timeout=_TIMEOUT_S,
            )
            delivery.answer = response.text[:100]
        except requests.RequestException as error:
            delivery.answer = type(error).__name__
        delivery.is_accepted = delivery.answer.strip() == "success"
        return delivery.is_accepted

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            self._local.session = session
        return session

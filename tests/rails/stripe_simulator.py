"""A Stripe as a real process on a free port, and an inbox for its signed events.

stripe = start_stripe(tmp_path)
gateway = StripeGateway.from_settings(stripe.settings(), timeout_s=10)
stripe.fault("payment_intents.create", "lose_after")
stripe.journal("charge")          # what really happened
stripe.stop()
"""

import http.server
import json
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from tests.forks import Fork
from tests.rails.processes import SimulatorProcess, free_port

SECRET_KEY = "sk_test_51KeeplineTests0000000000"
WEBHOOK_SECRET = "whsec_present_00000000000000000000"
PREVIOUS_SECRET = "whsec_previous_0000000000000000000"


@dataclass
class StripeSimulator(SimulatorProcess):
    """A running Stripe. Stop it, or use it as a context manager."""

    rail: ClassVar[str] = "stripe"

    directory: Path
    port: int
    arguments: tuple[str, ...] = ()
    process: Fork | None = None

    def settings(self, **changes: str) -> dict[str, str]:
        """What the adapter is built from; `changes` are STRIPE_* names."""
        return {
            "STRIPE_SECRET_KEY": SECRET_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_API_URL": self.url,
        } | changes

    def own_arguments(self) -> list[str]:
        return ["--secret-key", SECRET_KEY, "--webhook-secret", WEBHOOK_SECRET]

    def now(self) -> datetime:
        return datetime.fromisoformat(self.control("GET", "health")["now"])

    def calm(self) -> None:
        """No more faults, an honest ledger."""
        self.control("DELETE", "faults")
        self.control("DELETE", "statement")

    def card(self, slug: str, **changes: object) -> None:
        """Set `decline_code`, `advice_code`, `needs_authentication`, `is_processing`, …"""
        self.control("POST", f"cards/{slug}", changes)

    def bind(self, binding_ref: str, *, card: str = "good") -> str:
        """Set a card up without a browser; "cus_…/pm_…"."""
        bound = self.control("POST", "bindings", {"reference": binding_ref, "card": card})
        if bound["status"] == "requires_action":
            self.control("POST", f"confirmations/{bound['setup_intent']}", {"agrees": True})
        return f"{bound['customer']}/{bound['payment_method']}"

    def choose(self, session: str, card: str = "good") -> dict[str, Any]:
        """Choose a card on an open page."""
        bound: dict[str, Any] = self.control("POST", f"sessions/{session}", {"card": card})
        return bound

    def confirm(self, number: str, *, agrees: bool = True) -> str:
        """The payer tells the bank; where the browser goes next."""
        return str(self.control("POST", f"confirmations/{number}", {"agrees": agrees})["goes_to"])

    def detach(self, provider_ref: str) -> None:
        number = provider_ref.partition("/")[2]
        self.control("POST", f"payment_methods/{number}/detach", {})

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Its objects, latest first, read behind the adapter's back."""
        return list(self.control("GET", f"objects?kind={kind}")["objects"])


def start_stripe(
    directory: Path, *, port: int = 0, webhook_url: str = "", auto_agree: bool = False
) -> StripeSimulator:
    """Start a Stripe whose journal and log lie in `directory`."""
    arguments = ["--webhook-url", webhook_url] if webhook_url else []
    arguments += ["--auto-agree"] if auto_agree else []
    return StripeSimulator(directory, port or free_port(), tuple(arguments)).start()


@dataclass
class EventInbox:
    """An HTTP server that keeps what is posted to it, headers too. `status` is its answer."""

    status: int = 200
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox._keep(dict(self.headers.items()), body)
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._arrived = threading.Condition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks/stripe"

    def _keep(self, headers: dict[str, str], body: bytes) -> None:
        with self._arrived:
            self.received.append((headers, body))
            self._arrived.notify_all()

    def wait_for(self, count: int, *, within_s: int = 20) -> list[tuple[dict[str, str], bytes]]:
        """The first `count` of them. Raises AssertionError if they do not come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.received) >= count, within_s):
                raise AssertionError(f"{len(self.received)} of {count} events came")
            return list(self.received)

    def wait_for_type(self, kind: str, *, within_s: int = 20) -> tuple[dict[str, str], bytes]:
        """The first event of that type. Raises AssertionError if none comes."""

        def found() -> list[tuple[dict[str, str], bytes]]:
            return [one for one in self.received if json.loads(one[1])["type"] == kind]

        with self._arrived:
            if not self._arrived.wait_for(lambda: bool(found()), within_s):
                kinds = [json.loads(body)["type"] for _, body in self.received]
                raise AssertionError(f"no {kind} among {kinds}")
            return found()[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

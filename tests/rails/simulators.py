"""Simulators as real processes on free ports, and an inbox for what they send.

    alipay = start_alipay(tmp_path)
    gateway = AlipayGateway.from_settings(alipay.settings(), timeout_s=10)
    alipay.fault("alipay.trade.pay", "lose_after")
    alipay.journal("charge")          # what really happened
    alipay.stop()

Used by the rails' tests, the end-to-end tests, the demo and the chaos driver. `journal` reads the
simulator's own file, so it tells the truth after a kill too.
"""

import functools
import http.server
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.forks import Fork
from tests.rails.processes import SimulatorProcess, free_port

RICH, POOR, FROZEN = "2088100000000011", "2088100000000022", "2088100000000033"


@dataclass(frozen=True)
class KeyPair:
    """PEM texts."""

    private: str
    public: str


def new_keys() -> KeyPair:
    """A fresh RSA-2048 pair."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(private.decode(), public.decode())


@functools.cache
def session_keys() -> tuple[KeyPair, KeyPair]:
    """The merchant's pair and Alipay's: made once a process, for making them is slow."""
    return new_keys(), new_keys()


@dataclass
class AlipaySimulator(SimulatorProcess):
    """A running Alipay. Stop it, or use it as a context manager."""

    rail: ClassVar[str] = "alipay"

    directory: Path
    merchant: KeyPair
    alipay: KeyPair
    port: int
    arguments: tuple[str, ...] = ()
    app_id: str = "2021000000000001"
    seller_id: str = "2088000000000001"
    process: Fork | None = None

    def settings(self, **changes: str) -> dict[str, str]:
        """What the adapter is built from; `changes` are ALIPAY_* names."""
        return {
            "ALIPAY_APP_ID": self.app_id,
            "ALIPAY_SELLER_ID": self.seller_id,
            "ALIPAY_PRIVATE_KEY": self.merchant.private,
            "ALIPAY_PUBLIC_KEY": self.alipay.public,
            "ALIPAY_GATEWAY_URL": f"{self.url}/gateway.do",
            "ALIPAY_PRODUCT_CODE": "GENERAL_WITHHOLDING",
            "ALIPAY_PERSONAL_PRODUCT_CODE": "GENERAL_WITHHOLDING_P",
            "ALIPAY_SIGN_SCENE": "INDUSTRY|MOBILE",
        } | changes

    def own_arguments(self) -> list[str]:
        files = {"merchant-public-key": self.merchant.public, "private-key": self.alipay.private}
        arguments = []
        for name, text in files.items():
            path = self.directory / f"{name}.pem"
            path.write_text(text)
            arguments += [f"--{name}", str(path)]
        return arguments

    def calm(self) -> None:
        """No more faults, honest bills."""
        self.control("DELETE", "faults")
        self.control("DELETE", "bills")

    def payer(self, payer_id: str, **changes: object) -> None:
        """Set `balance_minor`, `is_frozen`, `daily_limit_minor`."""
        self.control("POST", f"payers/{payer_id}", changes)

    def agree(self, binding_ref: str, *, payer: str = RICH, **content: object) -> str:
        """Sign an agreement without a browser; its agreement_no."""
        asked = {
            "external_agreement_no": binding_ref,
            "product_code": "GENERAL_WITHHOLDING",
            "personal_product_code": "GENERAL_WITHHOLDING_P",
            "sign_scene": "INDUSTRY|MOBILE",
            "access_params": {"channel": "ALIPAYAPP"},
            "payer": payer,
        }
        return str(self.control("POST", "agreements", asked | content)["agreement_no"])

    def agreement(self, agreement_no: str) -> dict[str, Any]:
        """An agreement as Alipay's query tells it, asked behind the adapter's back."""
        told = self.control("GET", "agreements")["agreements"]
        return next(one for one in told if one["agreement_no"] == agreement_no)

    def revoke(self, agreement_no: str) -> None:
        """The payer unsigns in the app."""
        self.control("POST", f"agreements/{agreement_no}/revoke", {})

    def expire(self, agreement_no: str, *, in_s: int = 0) -> None:
        """The agreement runs out, and nobody is told."""
        self.control("POST", f"agreements/{agreement_no}/expire", {"in_s": in_s})


def start_alipay(
    directory: Path,
    *,
    port: int = 0,
    app_gateway_url: str = "",
    auto_agree: bool = False,
) -> AlipaySimulator:
    """Start an Alipay whose journal, keys and log lie in `directory`."""
    arguments = ["--app-gateway-url", app_gateway_url] if app_gateway_url else []
    merchant, alipay = session_keys()
    simulator = AlipaySimulator(
        directory=directory,
        merchant=merchant,
        alipay=alipay,
        port=port or free_port(),
        arguments=(*arguments, *(["--auto-agree"] if auto_agree else [])),
    )
    return simulator.start()


@dataclass
class Inbox:
    """An HTTP server that keeps what is posted to it. `answer` is what it says back."""

    answer: str = "success"
    received: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of `received`, in its order

    def __post_init__(self) -> None:
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox._keep(body, dict(self.headers))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(inbox.answer.encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._arrived = threading.Condition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/notify"

    def _keep(self, body: bytes, headers: dict[str, str]) -> None:
        with self._arrived:
            self.received.append(body)
            self.headers.append(headers)
            self._arrived.notify_all()

    def wait_for(self, count: int, *, within_s: int = 20) -> list[bytes]:
        """The first `count` bodies. Raises AssertionError if they do not come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.received) >= count, within_s):
                raise AssertionError(f"{len(self.received)} of {count} notifications came")
            return list(self.received)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

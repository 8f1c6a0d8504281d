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
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

REPOSITORY = Path(__file__).resolve().parents[2]
_STARTS_WITHIN_S = 30
_ANSWERS_WITHIN_S = 30

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class AlipaySimulator:
    """A running Alipay. Stop it, or use it as a context manager."""

    directory: Path
    merchant: KeyPair
    alipay: KeyPair
    port: int
    arguments: tuple[str, ...] = ()
    app_id: str = "2021000000000001"
    seller_id: str = "2088000000000001"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def journal_file(self) -> Path:
        return self.directory / "alipay.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

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

    # --- the process --------------------------------------------------------------------------

    def start(self) -> Self:
        """Start, or start again with the same journal; returns when it answers."""
        files = {
            "merchant-public-key": self.merchant.public,
            "private-key": self.alipay.private,
        }
        command = [sys.executable, "-m", "billing.gateways.alipay.simulator"]
        command += ["--port", str(self.port), "--journal", str(self.journal_file)]
        for name, text in files.items():
            path = self.directory / f"{name}.pem"
            path.write_text(text)
            command += [f"--{name}", str(path)]
        log = (self.directory / "alipay.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*command, *self.arguments], cwd=REPOSITORY, stdout=log, stderr=log
            )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                self.control("GET", "health")
            except requests.RequestException:
                time.sleep(0.05)
            else:
                return
        log = (self.directory / "alipay.log").read_text(errors="replace")
        raise RuntimeError(f"The Alipay simulator did not start:\n{log[-2000:]}")

    def stop(self) -> None:
        """End the process, if it runs. May be called twice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # --- the truth ----------------------------------------------------------------------------

    def journal(self, kind: str = "") -> list[dict[str, Any]]:
        """What really happened, oldest first: charges, refunds, agreements, …"""
        lines = self.journal_file.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [entry for entry in entries if kind in ("", entry["kind"])]

    def charges(self) -> dict[str, int]:
        """Reference → fen of every charge; a reference charged twice fails loudly."""
        entries = self.journal("charge")
        charged = {entry["reference"]: entry["amount_minor"] for entry in entries}
        if len(charged) != len(entries):
            raise AssertionError("a reference was charged twice")
        return charged

    def refunds(self) -> dict[str, int]:
        """Refund's reference → fen."""
        return {entry["reference"]: entry["amount_minor"] for entry in self.journal("refund")}

    # --- orders -------------------------------------------------------------------------------

    def control(self, verb: str, path: str, body: object = None) -> Any:
        """One call of /_control; see `simulator/control.py`."""
        url = f"{self.url}/_control/{path}"
        response = requests.request(verb, url, json=body, timeout=_ANSWERS_WITHIN_S)
        if response.status_code != 200:
            raise AssertionError(f"{verb} {path}: {response.status_code} {response.text[:300]}")
        return response.json()

    def fault(self, method: str, kind: str, **detail: object) -> None:
        """Order a fault for the next call of `method` (`times=N` for more, -1 for ever)."""
        self.control("POST", "faults", {"method": method, "kind": kind, **detail})

    def chance(self, *, rate: float, kinds: list[str], seed: int, **detail: object) -> None:
        """From now on one call in 1/`rate` suffers one of `kinds`."""
        self.control("POST", "faults", {"rate": rate, "kinds": kinds, "seed": seed, **detail})

    def calm(self) -> None:
        """No more faults, honest bills."""
        self.control("DELETE", "faults")
        self.control("DELETE", "bills")

    def set(self, **settings: object) -> None:
        self.control("POST", "settings", settings)

    def advance(self, seconds: int) -> None:
        self.control("POST", "clock", {"advance_s": seconds})

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

    def notifications(self) -> list[dict[str, Any]]:
        """What it sent: url, fields, tries, waits, is_accepted, answer."""
        return list(self.control("GET", "notifications")["notifications"])


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

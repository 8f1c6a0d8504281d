"""Simulated carriers as real processes, for every test that needs one (also e2e, demo, chaos)."""

import re
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from lines.carriers.base import LineAddress
from tests import forks, orders
from tests.forks import Fork

TOKEN = "carrier-token"
HUB_SECRET = "hub-secret"
_START_WITHIN_S = 30
_CONTROL_TIMEOUT_S = 30


class CarrierSimulator:
    """A running TMF654 operator. `journal()` is its own account of what really moved."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.token = TOKEN
        self.hub_secret = HUB_SECRET
        self.folder = folder
        self.options = options
        self._numbers = iter(range(1000, 10_000))
        self._start(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def journal(self) -> list[dict[str, Any]]:
        """Every credit and reversal: kind, reference, resource, amount_minor, currency, …"""
        entries: list[dict[str, Any]] = self.control("GET", "/journal")
        return entries

    def moved(self, reference: str) -> list[tuple[str, int]]:
        """What moved under one reference: (kind, amount_minor)."""
        return [
            (entry["kind"], entry["amount_minor"])
            for entry in self.journal()
            if entry["reference"] == reference
        ]

    def fault(self, kind: str, call: str = "*", **more: Any) -> None:
        """For the next call, or `times=`, or by `probability=`; `about=` a reference or number."""
        self.control("POST", "/faults", {"kind": kind, "call": call, **more})

    def clear_faults(self) -> None:
        self.control("DELETE", "/faults")

    def add_line(self, **fields: Any) -> LineAddress:
        """A line with a number and a card of its own, unless given."""
        serial = next(self._numbers)
        given = {"number": f"+86138000{serial:05d}", "iccid": f"89860000000000{serial:05d}"}
        line = self.control("POST", "/lines", {**given, "balance_minor": 1000, **fields})
        return LineAddress(msisdn=line["number"], iccid=line["iccid"])

    def change_line(self, address: LineAddress, **fields: Any) -> dict[str, Any]:
        changed: dict[str, Any] = self.control("PATCH", f"/lines/{address.resource}", fields)
        return changed

    def line(self, address: LineAddress) -> dict[str, Any]:
        return next(
            line
            for line in self.control("GET", "/lines")
            if address.resource in (line["number"], line["iccid"])
        )

    def end_topups(self, end: str = "completed", after_s: float = 0) -> None:
        self.control("POST", "/topups", {"end": end, "after_s": after_s})

    def reverse(self, carrier_ref: str) -> None:
        self.control("POST", f"/orders/{carrier_ref}/reverse", {})

    def advance(self, seconds: float) -> None:
        self.control("POST", "/clock", {"advance_s": seconds})

    def falsify(self, **what: Any) -> None:
        self.control("POST", "/statement", what)

    def texts(self, number: str) -> list[str]:
        asked = urlencode({"number": number})
        return [message["text"] for message in self.control("GET", f"/sms?{asked}")]

    def restart(self) -> None:
        """Killed, not asked: its books must be complete at any moment."""
        self._process.kill()
        self._process.wait()
        self._start(self.port)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.url}/_control{path}"
        answer = orders.give(method, url, body, timeout_s=_CONTROL_TIMEOUT_S)
        assert answer.status < 400, answer.text
        return answer.json()

    def _start(self, port: int) -> None:
        log = self.folder / "tmf654.log"
        log.write_text("")  # what is announced there is this start's
        self._process = forks.start(
            "lines.carriers.tmf654.simulator",
            *("--port", str(port), "--journal", str(self.folder / "tmf654.jsonl")),
            *("--seed", "654", "--token", self.token, "--hub-secret", self.hub_secret),
            *self.options,
            output=log,
        )
        self.port = _announced_port(self._process, log)


def start_tmf654(folder: Path, *options: str, port: int = 0) -> CarrierSimulator:
    """Start one on a free port (or `port`), with further command line `options`. Stop it."""
    return CarrierSimulator(folder, *options, port=port)


def _announced_port(process: Fork, log: Path) -> int:
    until = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"at http://[^ ]*:(\d+),", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the carrier simulator did not start:\n{log.read_text()}")

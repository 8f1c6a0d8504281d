"""A rail's simulator as a real process on a free port: started, stopped, asked, told to misbehave.

`journal` reads the simulator's own file, so it tells the truth after a kill too.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any, ClassVar, Self

from tests import forks, orders
from tests.forks import Fork

_STARTS_WITHIN_S = 30
_ANSWERS_WITHIN_S = 30
_DISTURBING = ("faults", "bills", "statement")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SimulatorProcess:
    """What the rails' simulators have in common. Stop it, or use it as a context manager."""

    rail: ClassVar[str]
    directory: Path
    port: int
    arguments: tuple[str, ...]
    process: Fork | None
    _is_disturbed = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def journal_file(self) -> Path:
        return self.directory / f"{self.rail}.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- the process --------------------------------------------------------------------------

    def own_arguments(self) -> list[str]:
        """What this rail's simulator needs besides; its files are written by the way."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start, or start again with the same journal; returns when it answers."""
        self.process = forks.start(
            f"billing.gateways.{self.rail}.simulator",
            *("--port", str(self.port), "--journal", str(self.journal_file)),
            *self.own_arguments(),
            *self.arguments,
            output=self._log_file,
        )
        self._wait()
        return self

    @property
    def _log_file(self) -> Path:
        return self.directory / f"{self.rail}.log"

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                self.control("GET", "health")
            except orders.NO_ANSWER:
                time.sleep(0.01)
            else:
                return
        log = self._log_file.read_text(errors="replace")
        raise RuntimeError(f"The simulator of {self.rail} did not start:\n{log[-2000:]}")

    def stop(self) -> None:
        """End the process, if it runs. May be called twice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # --- the truth ----------------------------------------------------------------------------

    def journal(self, kind: str = "") -> list[dict[str, Any]]:
        """What really happened, oldest first: charge, refund, …; see each simulator's books."""
        lines = self.journal_file.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [entry for entry in entries if kind in ("", entry["kind"])]

    def charges(self) -> dict[str, int]:
        """Reference → minor units of every charge; one charged twice fails loudly."""
        return self._once_each("charge")

    def refunds(self) -> dict[str, int]:
        """Refund's reference → minor units; one given back twice fails loudly."""
        return self._once_each("refund")

    def _once_each(self, kind: str) -> dict[str, int]:
        entries = self.journal(kind)
        found = {entry["reference"]: entry["amount_minor"] for entry in entries}
        if len(found) != len(entries):
            raise AssertionError(f"one {kind} happened twice")
        return found

    # --- orders -------------------------------------------------------------------------------

    def control(self, verb: str, path: str, body: object = None) -> Any:
        """One call of /_control; see `simulator/control.py`."""
        if verb == "POST" and path.partition("/")[0] in _DISTURBING:
            self._is_disturbed = True
        url = f"{self.url}/_control/{path}"
        answer = orders.give(verb, url, body, timeout_s=_ANSWERS_WITHIN_S)
        if answer.status != 200:
            raise AssertionError(f"{verb} {path}: {answer.status} {answer.text[:300]}")
        return answer.json()

    def calm(self) -> None:
        """No more faults, honest books."""
        raise NotImplementedError

    def calm_again(self) -> None:
        """The same before each test, where one of ours has ordered otherwise."""
        if self._is_disturbed:
            self.calm()
            self._is_disturbed = False

    def fault(self, method: str, kind: str, **detail: object) -> None:
        """Order a fault for the next call of `method` (`times=N` for more, -1 for ever)."""
        self.control("POST", "faults", {"method": method, "kind": kind, **detail})

    def chance(self, *, rate: float, kinds: list[str], seed: int, **detail: object) -> None:
        """From now on one call in 1/`rate` suffers one of `kinds`."""
        self.control("POST", "faults", {"rate": rate, "kinds": kinds, "seed": seed, **detail})

    def set(self, **settings: object) -> None:
        """Change settings; `simulator/control.py` lists them."""
        self.control("POST", "settings", settings)

    def advance(self, seconds: int) -> None:
        """Move its clock; what comes due by that is begun, and at WeChat Pay done on return."""
        self.control("POST", "clock", {"advance_s": seconds})

    def notifications(self) -> list[dict[str, Any]]:
        """What it sent: url, tries, waits, is_accepted, answer, and what it said."""
        return list(self.control("GET", "notifications")["notifications"])

"""Runs a few named programs together, each with its log, and leaves none of them behind.

    with Processes(log_dir=VAR_DIR / "log") as run:
        run.start("web", [...], ready=answers("http://127.0.0.1:8000/healthz"))
        run.start("workers", [...], ready=logs("up cluster"))
        run.wait()

However the block is left (its end, an exception, Ctrl-C, SIGTERM, even SIGKILL), the programs
started in it are ended, by the ids they were started with. Use it from the main thread.
"""

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Protocol, Self
from urllib.parse import urlsplit

import requests

from portal.supervision import process_group
from portal.supervision.process_group import ProcessGroup

LOOK_EVERY_S = 0.1
TAIL_LINES = 20
BASE_DIR = Path(__file__).resolve().parents[2]


class NotReady(Exception):
    """A program did not become ready; the text has the end of its log."""


class Ended(Exception):
    """A program ended though it was to run on; the text has the end of its log."""


class PortTaken(Exception):
    """Something else answers where a program was to listen."""


class Ready(Protocol):
    """Tells when a program serves."""

    def refuse_early(self) -> None:
        """Raise PortTaken if the sign is there before the program was even started."""

    def is_given(self, log: Path) -> bool:
        """Whether the program whose output is `log` serves now."""


class answers:  # noqa: N801 (reads as a word at its place of use)
    """Ready when a GET of `url` is answered, with anything but a server's failure."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business on this machine

    def refuse_early(self) -> None:
        refuse_taken(self._url)

    def is_given(self, log: Path) -> bool:
        try:
            reply = self._session.get(self._url, timeout=1, allow_redirects=False)
        except requests.RequestException:
            return False
        return reply.status_code < 500


class logs:  # noqa: N801
    """Ready when the program has written `text`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def refuse_early(self) -> None:
        """Its log starts empty."""

    def is_given(self, log: Path) -> bool:
        return self._text in log.read_text(errors="replace")


def refuse_taken(url: str) -> None:
    """Raise PortTaken if anything listens where `url` points."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((address.hostname or "127.0.0.1", address.port or 80)) == 0:
            raise PortTaken(
                f"Port {address.port} is in use by another program: stop that one, "
                "or choose another port."
            )


class Processes:
    """The programs of one `with` block. Names are unique; each logs to `log_dir/NAME.log`."""

    def __init__(self, *, log_dir: Path, grace_s: float = 10.0) -> None:
        self._log_dir = log_dir
        self._grace_s = grace_s
        self._running: dict[str, ProcessGroup] = {}

    def __enter__(self) -> Self:
        # Default SIGTERM would end us without the block's end, and so without theirs; and SIGINT
        # is ignored in whatever a shell has started with `&`.
        self._old_handlers = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, _exit),
            signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop_all()
        finally:
            for signum, handler in self._old_handlers.items():
                signal.signal(signum, handler)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: Ready | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> ProcessGroup:
        """Start `argv` as `name` and wait until it is `ready`. `env` is added to our own.

        Raises PortTaken (nothing was started) or NotReady (it was, and has been ended).
        """
        if ready:
            ready.refuse_early()
        self._log_dir.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("wb") as output:
            self._running[name] = ProcessGroup(
                argv,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                cwd=BASE_DIR,
                output=output,
                on_parent_death=signal.SIGTERM,  # time to end what they have started themselves
            )
        if ready:
            self._await(name, ready, timeout_s)
        return self._running[name]

    def log(self, name: str) -> Path:
        """Where the program's output goes."""
        return self._log_dir / f"{name}.log"

    def stop(self, name: str) -> None:
        """End one program. Raises KeyError if it was not started, or was stopped already."""
        process_group.stop([self._running[name]], grace_s=self._grace_s)
        del self._running[name]

    def stop_all(self) -> None:
        """End all, the last started first. May be called again."""
        try:
            for name in reversed(list(self._running)):
                self.stop(name)
        except BaseException:  # a second Ctrl-C: no more patience, but still nobody left behind
            for group in self._running.values():
                group.kill()
            raise

    def wait(self) -> NoReturn:
        """Wait for ever; Ctrl-C and SIGTERM end it. Raises Ended as soon as a program ends."""
        while True:
            for name, group in self._running.items():
                if (status := group.exit_status()) is not None:
                    raise Ended(f"{name} ended with status {status}. {self._tail(name)}")
            time.sleep(LOOK_EVERY_S)

    def _await(self, name: str, ready: Ready, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready.is_given(self.log(name)):
            if (status := self._running[name].exit_status()) is not None:
                self._give_up(name, f"ended with status {status} before it was ready")
            if time.monotonic() > deadline:
                self._give_up(name, f"was not ready within {timeout_s:g} s")
            time.sleep(LOOK_EVERY_S)

    def _give_up(self, name: str, what: str) -> NoReturn:
        self.stop(name)
        raise NotReady(f"{name} {what}. {self._tail(name)}")

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"The end of {self.log(name)}:", *(f"  {line}" for line in lines)])


def _exit(signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)

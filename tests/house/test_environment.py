"""A wrong variable stops the start with its name and what it takes, and never with its value."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import forks
from tests.every import failing
from tests.forks import ROOT

SERVER = {
    "DATABASE_URL": "postgres://keepline:hunter2@127.0.0.1:1/keepline",
    "SECRET_KEY": "x" * 60,
    "KEEPLINE_ENCRYPTION_KEYS": "x" * 43 + "=",
    "CARRIER_HUB_SECRET": "x" * 20,
    "ALLOWED_HOSTS": "keepline.example",
    "KEEPLINE_PUBLIC_URL": "https://keepline.example",
}
WRONG = [
    ("DATABASE_URL", "mysql://keepline:hunter2@127.0.0.1/keepline"),
    ("DATABASE_URL", "hunter2"),
    ("DATABASE_URL", "postgres://keepline:hunter2@127.0.0.1:hunter2/keepline"),
    ("SECRET_KEY", "hunter2"),
    ("SECRET_KEY", ""),
    ("KEEPLINE_ENCRYPTION_KEYS", "hunter2"),
    ("KEEPLINE_ENCRYPTION_KEYS", "x" * 43 + "=,"),
    ("CARRIER_HUB_SECRET", "x" * 20 + ",hunter2"),
    ("ALLOWED_HOSTS", "https://hunter2"),
    ("ALLOWED_HOSTS", ""),
    ("KEEPLINE_PUBLIC_URL", "hunter2"),
    ("KEEPLINE_PUBLIC_URL", "https://keepline.example/hunter2"),
    ("PORT", "hunter2"),
    ("PORT", "65536"),
    ("KEEPLINE_PROXY_COUNT", "-1"),
    ("KEEPLINE_DEBUG", "hunter2"),
    ("KEEPLINE_DEBUG", "true"),
    ("KEEPLINE_ADMIN_MFA", "false"),
    ("KEEPLINE_WORKERS", "0"),
    ("KEEPLINE_TASK_TIMEOUT_S", "0"),
    ("KEEPLINE_CALL_TIMEOUT_S", "0"),
    ("KEEPLINE_LOG_LEVEL", "hunter2"),
    ("KEEPLINE_QUEUE_LOG_LEVEL", "hunter2"),
    ("CARRIER_TOKENS", "hunter2"),
    ("CARRIER_TOKENS", "cmcc="),
    ("SMS_CARRIER", "hunter2"),
    ("EMAIL_BACKEND", "hunter2.Backend"),
    ("EMAIL_PORT", "0"),
    ("EMAIL_USE_TLS", "hunter2"),
    ("DEFAULT_FROM_EMAIL", "hunter2"),
    ("KEEPLINE_API_PUBLIC_PER_MINUTE", "0"),
    ("KEEPLINE_API_READS_PER_MINUTE", "hunter2"),
    ("KEEPLINE_API_WRITES_PER_MINUTE", "-1"),
    ("KEEPLINE_API_PUSHES_PER_MINUTE", "0"),
    ("KEEPLINE_API_READINGS_PER_MINUTE", "0"),
    ("KEEPLINE_SIMULATORS", "hunter2"),
    ("SECRET_KEY_FILE", "/nowhere/hunter2"),
]


def start(**variables: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py check` with these variables and none of our own."""
    kept: Mapping[str, str] = {name: os.environ[name] for name in ("PATH",)}
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**kept, **SERVER, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.processes
class TestAVariable:
    def test_that_is_wrong_stops_the_start_and_is_named(self, tmp_path: Path) -> None:
        def check(name: str, value: str) -> None:
            output = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
            env = {"PATH": os.environ["PATH"], **SERVER, name: value}
            assert forks.start("manage.py", "check", output=output, env=env).wait() == 1
            [said] = output.read_text().splitlines()
            assert said.startswith("Keepline cannot start. ")
            assert name in said
            assert said.endswith(".")
            assert "hunter2" not in said

        assert failing(check, WRONG) == {}

    def test_that_is_wrong_is_told_on_the_errors_stream(self) -> None:
        stopped = start(PORT="hunter2")
        assert (stopped.returncode, stopped.stdout) == (1, "")
        assert stopped.stderr == "Keepline cannot start. PORT: Not a valid integer.\n"

    def test_that_is_right_stops_nothing(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("s" * 60 + "\n")  # as an editor leaves it
        started = start(SECRET_KEY_FILE=str(secret), KEEPLINE_LOG_LEVEL="warning")
        assert (started.returncode, started.stderr) == (0, "")


@pytest.mark.processes
class TestAFolder:
    @pytest.mark.parametrize("folder", ["/proc/nowhere", "/etc/passwd"])
    def test_that_cannot_be_written_to_stops_a_local_installation(self, folder: str) -> None:
        stopped = start(DATABASE_URL="", KEEPLINE_VAR_DIR=folder)
        assert stopped.returncode == 1
        [said] = stopped.stderr.splitlines()
        assert said.endswith(f"KEEPLINE_VAR_DIR must be a folder that can be written to: {folder}")


@pytest.mark.processes
class TestADatabase:
    @pytest.mark.parametrize("command", ["migrate", "sweep", "verify"])
    def test_that_cannot_be_reached_is_said_and_the_password_is_not(self, command: str) -> None:
        stopped = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **SERVER},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert stopped.returncode == 1
        assert "The database cannot be reached" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert "hunter2" not in stopped.stderr

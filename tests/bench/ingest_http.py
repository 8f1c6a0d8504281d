"""Readings pushed over HTTP, and a page asked for meanwhile: the web as it is installed.

Two processes of four threads, on the bench's database. Four senders push a thousand readings a
request; the raw insert they are held against runs beside it, in the same minute.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.urls import reverse

from billing.rules.balances import Reading
from lines.models import Carrier, Line
from portal.api.models import Scope
from tests import world as w
from tests.api.callers import token_of
from tests.bench import ingest

PORT = 29_450
ROWS = 1_000
SENDERS = 4
ROUNDS = 3
PAGES = 60


def measure(*, is_quick: bool) -> dict[str, Any]:
    requests = 8 if is_quick else 24
    stream = ingest.Stream(ingest.populate(4_000 if is_quick else 20_000))
    token = token_of(w.person("bss"), scopes=(Scope.PUSH_READINGS,), carrier=Carrier.objects.get())
    names = dict(Line.objects.values_list("pk", "public_id"))
    raw = pushed = 0.0
    with _web():
        quiet = _page_p95_s()
        busy = []
        for _ in range(ROUNDS):
            raw = max(raw, ingest.rate(ingest.raw(ingest.RAW), [stream.batch() for _ in range(16)]))
            bodies = [_body(stream.batch(ROWS), names) for _ in range(requests)]
            pushed = max(pushed, _pushed_a_second(bodies, token=token))
        with _pushing([_body(stream.batch(ROWS), names) for _ in range(requests)], token=token):
            busy = _page_p95_s()
    return {
        "raw, rows a second": raw,
        "pushed over HTTP, rows a second": pushed,
        "login page p95 quiet, s": quiet,
        "login page p95 under ingest, s": busy,
        "ingest_http_vs_raw": pushed / raw,
        "page_under_ingest": busy / quiet,
    }


@contextmanager
def _web() -> Iterator[None]:
    environment = os.environ | {
        "KEEPLINE_BENCH_DATABASE": str(connection.settings_dict["NAME"]),
        "DJANGO_SETTINGS_MODULE": "tests.bench.cluster_settings",
        "KEEPLINE_API_PUSHES_PER_MINUTE": "1000000",
        "KEEPLINE_API_READINGS_PER_MINUTE": "1000000000",
    }
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "portal.wsgi"]
    command += ["--bind", f"127.0.0.1:{PORT}", "--workers", "2", "--threads", "4"]
    web = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_until_up()
        yield
    finally:
        web.terminate()
        web.wait(timeout=60)


def _wait_until_up() -> None:
    ends_at = time.monotonic() + 120
    while True:
        try:
            for _ in range(12):  # each of its processes has loaded all it needs
                _page_s()
        except OSError:
            assert time.monotonic() < ends_at, "the web does not start"
            time.sleep(0.2)
        else:
            return


def _page_s() -> float:
    started = time.perf_counter()
    status = _ask("GET", reverse("account_login"), b"", {})
    assert status == 200
    return time.perf_counter() - started


def _page_p95_s() -> float:
    return statistics.quantiles([_page_s() for _ in range(PAGES)], n=20)[-1]


def _ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    caller = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        caller.request(method, path, body, headers)
        answer = caller.getresponse()
        answer.read()
        return answer.status
    finally:
        caller.close()


def _body(readings: Sequence[Reading], names: dict[int, str]) -> bytes:
    rows = [
        {
            "line": names[one.line_id],
            "balance_minor": one.balance_minor,
            "currency": "CNY",
            "observed_at": one.observed_at.isoformat(),
        }
        for one in readings
    ]
    return json.dumps(rows).encode()


def _push(body: bytes, *, token: str) -> None:
    """As a sender does that is asked to come again."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    while (status := _ask("POST", "/api/v1/readings", body, headers)) == 503:
        time.sleep(0.02)
    assert status == 207, status


def _pushed_a_second(bodies: list[bytes], *, token: str) -> float:
    started = time.perf_counter()
    with _pushing(bodies, token=token, times=1):
        pass
    return len(bodies) * ROWS / (time.perf_counter() - started)


@contextmanager
def _pushing(bodies: list[bytes], *, token: str, times: int = 1_000_000) -> Iterator[None]:
    """Push all of them, again and again, until the block has ended and as often as `times`."""
    is_over = threading.Event()

    def send(mine: list[bytes]) -> None:
        for _ in range(times):
            for body in mine:
                if is_over.is_set() and times > 1:
                    return
                _push(body, token=token)

    senders = [threading.Thread(target=send, args=(bodies[n::SENDERS],)) for n in range(SENDERS)]
    for one in senders:
        one.start()
    try:
        yield
    finally:
        is_over.set()
        for one in senders:
            one.join()

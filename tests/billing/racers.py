"""Real processes that race for the same rows: each a fork with a connection of its own."""

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connection, connections


def race(body: Callable[[int], Any], *, processes: int) -> list[Any]:
    """Run `body(number)` in `processes` processes at once; what each returned, as JSON holds it.

    All wait for an advisory lock that the parent holds until the last is forked, so they race.
    """
    connections.close_all()  # a forked connection would be shared, and break both
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(77)")
    children = [_fork(body, number) for number in range(processes)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(77)")
    return [_result(pid, pipe) for pid, pipe in children]


def _fork(body: Callable[[int], Any], number: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    answer = b""
    try:
        # The parent's session is not ours to use or to close: forget it, and open our own.
        connection.connection = None
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock_shared(77)")
        answer = json.dumps({"result": body(number)}).encode()
    except BaseException:
        answer = json.dumps({"error": traceback.format_exc()}).encode()
    finally:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)


def _result(pid: int, reading: int) -> Any:
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    assert "error" not in answer, answer["error"]
    return answer["result"]

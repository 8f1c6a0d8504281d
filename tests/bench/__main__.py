"""`make bench`: the executor against raw SQL and against the obvious design, in the same run.

    python -m tests.bench [--quick]

Prints a table and writes var/bench.json. Ratios are what counts: seconds are this machine's.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.bench.settings")

import django

django.setup()

from django.conf import settings
from django.db import connection

from tests.bench import due_work, idle, ingest, latency, rails, reconciliation, throughput

PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "recharges per second": throughput.measure,
    "latency": latency.measure,
    "finding due work": due_work.measure,
    "idle": idle.measure,
    "reconciliation": reconciliation.measure,
    "rails over HTTP": rails.measure,
    "readings taken in": ingest.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--only", choices=list(PARTS), default=None)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for title, measure in PARTS.items():
            if options.only in (None, title):
                print(f"== {title}", flush=True)
                results[title] = measure(is_quick=options.quick)
                _print(results[title])
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    path = Path(settings.VAR_DIR) / "bench.json"
    path.write_text(json.dumps(results, indent=2))
    print(f"written to {path}")


def _print(result: dict[str, Any]) -> None:
    for name, value in result.items():
        shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
        print(f"   {name:52} {shown:>14}", flush=True)


if __name__ == "__main__":
    main()

"""`make bench`: the executor against raw SQL and against the obvious design, in the same run.

    python -m tests.bench [--quick] [--only PART or KEY]

Prints a table and writes var/bench.json: each part's figures, and under "keys" those that have an
aim, by their names. What is not measured this time stays as it was. Ratios are what counts: seconds
are this machine's.
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

from tests.bench import (
    due_work,
    idle,
    ingest,
    ingest_http,
    latency,
    rails,
    rates,
    reconciliation,
    reminders,
    throughput,
)

PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "recharges per second": throughput.measure,
    "latency": latency.measure,
    "rates": rates.measure,
    "finding due work": due_work.measure,
    "idle": idle.measure,
    "reconciliation": reconciliation.measure,
    "rails over HTTP": rails.measure,
    "readings taken in": ingest.measure,
    "readings over HTTP": ingest_http.measure,
    "reminders": reminders.measure,
}


# Figures with an aim, and the part that measures each.
KEYS = {
    **dict.fromkeys(latency.KEYS, "latency"),
    **dict.fromkeys(rates.KEYS, "rates"),
    **dict.fromkeys(("ingest_vs_raw", "ingest_vs_raw_with_lines"), "readings taken in"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--only", choices=[*PARTS, *KEYS], default=None)
    options = parser.parse_args()
    only = KEYS.get(options.only, options.only)
    path = Path(settings.VAR_DIR) / "bench.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for title, measure in PARTS.items():
            if only in (None, title):
                print(f"== {title}", flush=True)
                results[title] = measure(is_quick=options.quick)
                _print(results[title])
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    results["keys"] = {
        name: results[part][name] for name, part in KEYS.items() if name in results.get(part, {})
    }
    path.write_text(json.dumps(results, indent=2))
    print(f"written to {path}")


def _print(result: dict[str, Any]) -> None:
    for name, value in result.items():
        shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
        print(f"   {name:52} {shown:>14}", flush=True)


if __name__ == "__main__":
    main()

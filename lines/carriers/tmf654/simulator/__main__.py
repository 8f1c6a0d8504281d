"""Starts the simulated operator; prints its address when it can be asked."""

import argparse
import os
import random
import signal
from fractions import Fraction
from pathlib import Path

from lines.carriers.tmf654.simulator.books import Books
from lines.carriers.tmf654.simulator.faults import FaultPlan
from lines.carriers.tmf654.simulator.journal import Journal
from lines.carriers.tmf654.simulator.server import application, serve


def main() -> None:
    asked = _arguments()
    # At once, slow answers or not: the books are complete on disk at any moment.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    books = Books(
        Journal(asked.journal),
        usage_speed=asked.usage_speed,
        reference_field=asked.reference_field,
        dedupes_by_reference=asked.dedupe_by_reference,
    )
    plan = FaultPlan(asked.seed)
    app = application(books=books, plan=plan, token=asked.token, hub_secret=asked.hub_secret)

    def ready(port: int) -> None:
        address = f"http://{asked.host}:{port}"
        print(f"TMF654 carrier simulator at {address}, seed {asked.seed}", flush=True)  # noqa: T201

    serve(app, host=asked.host, port=asked.port, books=books, ready=ready)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0: any free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--journal", type=Path, required=True, help="its books, replayed at start")
    parser.add_argument("--token", required=True, help="the bearer token clients must send")
    parser.add_argument("--hub-secret", default="", help="signs the events")
    parser.add_argument("--usage-speed", type=Fraction, default=Fraction(0), metavar="X")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--reference-field", default="description")
    parser.add_argument("--dedupe-by-reference", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

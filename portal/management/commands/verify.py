"""`manage.py verify [--json] [--against-simulators]`: prove the books, or exit non-zero."""

import json
from typing import Any

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.ledger import verification
from billing.ledger.verification import Effect, Report
from portal.supervision import readiness

_TIMEOUT_S = 30
_MOVEMENTS = {"charge", "refund", "credit", "reversal"}


class Command(BaseCommand):
    help = "Prove every invariant of the books; exit code 1 when one is broken."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument(
            "--against-simulators",
            action="store_true",
            help="compare with the rail's and the carrier's own journals too",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        readiness.refuse_unmigrated()
        report = verification.verify()
        if options["against_simulators"]:
            _compare(report)
        document = verification.stamp(report, at=timezone.now())
        self.stdout.write(
            json.dumps(document, indent=2, sort_keys=True) if options["json"] else _text(report)
        )
        if not report.is_clean:
            raise CommandError("The books do not hold: " + ", ".join(sorted(report.counts)))


def _compare(report: Report) -> None:
    """Three books: ours, the rail's, the carrier's. Each simulator keeps its own journal."""
    theirs = [effect for url in settings.SIMULATORS.values() for effect in _journal(url)]
    mine = verification.ours()
    differences = verification.compare(mine=mine, theirs=theirs)
    report.books = {"ours": len(mine), "theirs": len(theirs), "differences": differences}
    for name, references in differences.items():
        report.violations[f"books_{name}"] = references[: verification.MOST_NAMED]
        report.counts[f"books_{name}"] = len(references)


def _journal(url: str) -> list[Effect]:
    try:
        answer = requests.get(f"{url}/_control/journal", timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise CommandError(
            f"The simulator at {url} does not answer; is the demo running?"
        ) from error
    document = answer.json()
    entries = document["entries"] if isinstance(document, dict) else document
    return [
        Effect(one["kind"], one["reference"], int(one["amount_minor"]))
        for one in entries
        if one["kind"] in _MOVEMENTS
    ]


def _text(report: Report) -> str:
    lines = [f"{len(report.checks)} checks, {sum(report.states.values())} recharges"]
    lines += [f"  {state:18} {count:>8}" for state, count in sorted(report.states.items())]
    for currency, balances in report.accounts.items():
        lines += [f"  {currency} {name:22} {minor:>14}" for name, minor in balances.items()]
    for name, references in report.violations.items():
        lines.append(f"BROKEN {name}: {report.counts[name]} ({', '.join(references[:5])})")
    if report.books is not None:
        lines.append(f"books: ours {report.books['ours']}, theirs {report.books['theirs']}")
    return "\n".join([*lines, "clean" if report.is_clean else "NOT clean"])

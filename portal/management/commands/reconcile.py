"""`manage.py reconcile`: fetch statements now, compare them, and say what does not match."""

import json
import time
from argparse import ArgumentTypeError
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing import tasks
from billing.models import Difference, DifferenceState, SourceKind, Statement
from billing.reconciliation import days, sources
from billing.reconciliation.days import Result
from billing.reconciliation.sources import Source
from billing.reconciliation.statements import LostClaim, Progress
from portal.supervision import readiness

_MOST_DAYS = 31
_MOST_NAMED = 50
_SAID_EVERY_S = 2.0


class Command(BaseCommand):
    help = (
        "Compare our books with the statements of rails and carriers: yesterday's, or those of"
        " other days. Exit code 1 while a difference is open or a statement is missing."
    )

    def add_arguments(self, parser: Any) -> None:
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--rail", metavar="CODE", help="this payment rail alone")
        whose.add_argument("--carrier", metavar="CODE", help="this carrier alone")
        parser.add_argument("--day", type=_day, help="YYYY-MM-DD, the last of the days")
        parser.add_argument("--days", type=_days, default=1, help="how many, up to that one")
        parser.add_argument(
            "--anew",
            action="store_true",
            help="ask for statements that are here already too; one that does not come stays",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        readiness.refuse_unmigrated()
        results = [
            self._one(source, day, is_anew=options["anew"])
            for source in _sources(options)
            for day in _asked_days(source, options)
        ]
        self.stdout.write(json.dumps(results, indent=2) if options["json"] else _text(results))
        broken = [one for one in results if one["open"] or one["state"] != "done" or one["is_old"]]
        if broken or not results:
            raise CommandError(_complaint(broken))

    def _one(self, source: Source, day: date, *, is_anew: bool) -> dict[str, Any]:
        watch = _Ticker(self.stderr.write, f"{source.code} {day}")
        try:
            result = days.run_one(
                source=source, day=day, clock=timezone.now, watch=watch, is_anew=is_anew
            )
        except LostClaim:
            result = None
        return _told(source, day, result)


class _Ticker:
    """Says how far it has come, every other second, on the error stream."""

    def __init__(self, write: Any, name: str) -> None:
        self._write, self._name, self._next = write, name, time.monotonic() + _SAID_EVERY_S

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SAID_EVERY_S
            self._write(
                f"{self._name}: {progress.rows_read:,} rows, {progress.rows_per_s:,.0f} a second"
            )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no day; write it as 2026-11-21.") from error


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DAYS:
        raise ArgumentTypeError(f"a number from 1 to {_MOST_DAYS}, not {text!r}.")
    return int(text)


def _sources(options: dict[str, Any]) -> list[Source]:
    outside = tasks.outside()
    for kind, code in (
        (SourceKind.RAIL, options["rail"]),
        (SourceKind.CARRIER, options["carrier"]),
    ):
        if code:
            try:
                return [days.source_named(kind=kind, code=code, outside=outside)]
            except days.NoSuchSource as error:
                raise CommandError(str(error)) from error
    return sources.all_of(outside)


def _asked_days(source: Source, options: dict[str, Any]) -> list[date]:
    last = options["day"] or source.yesterday(timezone.now())
    if last > source.yesterday(timezone.now()):
        raise CommandError(f"{last} is not over yet in the books of {source.code}.")
    return [last - timedelta(days=back) for back in reversed(range(options["days"]))]


def _told(source: Source, day: date, result: Result | None) -> dict[str, Any]:
    row = Statement.objects.get(source_kind=source.kind, code=source.code, day=day)
    named = Difference.objects.filter(statement=row, state=DifferenceState.OPEN).order_by("pk")
    return {
        "source": f"{source.kind.value}:{source.code}",
        "day": day.isoformat(),
        "state": result.state if result else "taken by another worker",
        "is_old": bool(result and result.is_old),
        "rows": row.rows_read,
        "unreadable": row.unreadable_rows,
        "awaiting": row.awaiting,
        "open": named.count(),
        "why": row.last_error,
        "differences": [
            {"kind": one.kind, "our_ref": one.our_ref, "line": one.line_number}
            for one in named[:_MOST_NAMED]
        ],
    }


def _text(results: list[dict[str, Any]]) -> str:
    lines = []
    for one in results:
        why = f" ({one['why']})" if one["why"] else ""
        lines.append(
            f"{one['source']} {one['day']}: {one['state']}{why}, {one['rows']:,} rows,"
            f" {one['open']} open, {one['awaiting']} waiting for a neighbouring day"
        )
        lines += [
            f"  {each['kind']:18} {each['our_ref']:28} line {each['line'] or '-'}"
            for each in one["differences"]
        ]
    return "\n".join(lines)


def _complaint(broken: list[dict[str, Any]]) -> str:
    if not broken:
        return "There is no rail and no carrier to compare with: set one up first."
    differing = sum(one["open"] for one in broken)
    absent = sum(one["state"] != "done" or one["is_old"] for one in broken)
    return f"{differing} differences are open, {absent} statements are not there."

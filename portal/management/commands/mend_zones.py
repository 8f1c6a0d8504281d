"""`manage.py mend_zones [--zone NAME] [--apply]`: rows whose zone is none, plans gone astray."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.operators import misplaced, replanning
from lines import zones
from portal.supervision import readiness


class Command(BaseCommand):
    help = "Name every row whose time zone is none, and every charge planned by other zone data."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--zone", default="", help="for all such rows, not the proposals")
        parser.add_argument("--apply", action="store_true", help="change what is found")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["zone"] and not zones.is_zone(options["zone"]):
            raise CommandError(f"tzdata {zones.version()} has no zone {options['zone']!r}.")
        readiness.refuse_unmigrated()
        is_applied, at = options["apply"], timezone.now()
        found = self._rows(options["zone"], is_applied=is_applied, at=at)
        found += self._plans(is_applied=is_applied, at=at)
        self.stdout.write(_sum(found, is_applied=is_applied))

    def _rows(self, zone: str, *, is_applied: bool, at: datetime) -> int:
        found = misplaced.find(zone=zone)
        for one in found:
            said = _said(is_applied, is_applied and misplaced.mend(one, at=at))
            self.stdout.write(f"{one.kind} {one.reference}: {one.zone!r}, {said} {one.proposal}")
        return len(found)

    def _plans(self, *, is_applied: bool, at: datetime) -> int:
        found = list(replanning.find(at=at))
        for one in found:
            said = _said(is_applied, is_applied and replanning.move(one, at=at))
            before, after = (moment.isoformat() for moment in (one.planned_at, one.agreed_at))
            self.stdout.write(f"rule {one.reference}: {before}, {said} {after}")
        return len(found)


def _said(is_applied: bool, is_done: bool) -> str:
    if not is_applied:
        return "not yet"
    return "now" if is_done else "changed meanwhile, not"


def _sum(count: int, *, is_applied: bool) -> str:
    if not count:
        return f"Every row and every plan goes by tzdata {zones.version()}."
    if not is_applied:
        return f"{count} found, none changed: add --apply, and --zone NAME where it is another."
    return f"{count} found. Rules on mended lines rest until their owner or an operator has looked."

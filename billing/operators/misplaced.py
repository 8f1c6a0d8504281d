"""Rows that hold a time zone which is none: found, and mended.

Earlier versions took what the machine knew (`localtime`), and a name may leave the data. What a
line is given instead is nobody's agreement, so its rule rests until somebody has looked at it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F, QuerySet, Value

from billing import calendar
from billing.models import NoticeKind, Rule
from billing.notices import reminders, telling
from billing.plans import drafts
from lines import zones
from lines.models import Carrier, Line

# The same zone, by a name that only some machines have.
_SAME = "posix/"


@dataclass(frozen=True, slots=True)
class Misplaced:
    """One row: what it is, its public name, what it holds, and what it would be given."""

    kind: str
    reference: str
    zone: str
    proposal: str


def find(*, zone: str = "") -> list[Misplaced]:
    """Every row whose zone is none, by kind and age. `zone` is for all; without it a line is given
    its carrier's, a carrier and a person `zones.DEFAULT`. Empty on a database not migrated yet."""
    if Line._meta.db_table not in connection.introspection.table_names():
        return []
    home = Value(zones.DEFAULT)
    kinds: tuple[tuple[str, type[Any], str, Any], ...] = (
        ("line", Line, "public_id", F("carrier__timezone")),
        ("carrier", Carrier, "code", home),
        ("person", get_user_model(), "public_id", home),
    )
    return [
        Misplaced(kind, name, held, zone or _likely(held, near))
        for kind, model, key, beside in kinds
        for name, held, near in _wrong(model).values_list(key, "timezone", beside)
    ]


def _wrong(model: type[Any]) -> QuerySet[Any]:
    """Names first, which are few, then the rows: no list of six hundred for every row."""
    held = set(model._default_manager.order_by().values_list("timezone", flat=True).distinct())
    wrong: QuerySet[Any] = model._default_manager.filter(timezone__in=held - zones.ZONES)
    return wrong.order_by("pk")


def _likely(held: str, near: str) -> str:
    same = held.removeprefix(_SAME)
    return next(name for name in (same, near, zones.DEFAULT) if zones.is_zone(name))


def mend(one: Misplaced, *, at: datetime) -> bool:
    """Give the row its proposal, if it still holds what was found. A line's rule then rests."""
    with transaction.atomic():
        return _MENDERS[one.kind](one, at)


def _line(one: Misplaced, at: datetime) -> bool:
    held = Line.objects.select_for_update(no_key=True)
    line = held.filter(public_id=one.reference, timezone=one.zone).first()
    if line is None:
        return False
    line.timezone = one.proposal
    line.save(update_fields=["timezone"])
    for rule in _running(line):
        _rest(rule, at=at)
    return True


def _running(line: Line) -> Iterator[Rule]:
    found = Rule.objects.select_for_update(no_key=True, of=("self",)).filter(line=line, is_on=True)
    yield from found.select_related("line", "binding__rail")


def _rest(rule: Rule, *, at: datetime) -> None:
    """Its hours are the new zone's from now on; nothing is charged by them before a person says."""
    schedule = drafts.schedule_of(drafts.of(rule), capabilities=None)
    if schedule is not None and rule.next_run_at is not None:
        rule.next_run_at = calendar.occurrence(schedule, rule.next_index).due_at
    if rule.paused_at is None:
        rule.paused_at, rule.pause_reason = at, "zone_unknown"
        _tell(rule, at=at)
    rule.version += 1  # whoever reads a plan by the old zone must not agree to it
    rule.wake_at, rule.notify_at = None, reminders.next_at(rule, at=at)
    rule.save()


def _tell(rule: Rule, *, at: datetime) -> None:
    telling.tell(
        owner_id=rule.line.owner_id,
        kind=NoticeKind.RULE_PAUSED,
        occurrence_key=f"{rule.pk}:{rule.pause_reason}:{rule.line.sim_generation}",
        line_id=rule.line_id,
        facts={"code": rule.pause_reason},
        channels=rule.channels,
        at=at,
    )


def _carrier(one: Misplaced, at: datetime) -> bool:
    held = Carrier.objects.filter(code=one.reference, timezone=one.zone)
    return held.update(timezone=one.proposal) == 1


def _person(one: Misplaced, at: datetime) -> bool:
    held = get_user_model()._default_manager.filter(public_id=one.reference, timezone=one.zone)
    return held.update(timezone=one.proposal) == 1


_MENDERS = {"line": _line, "carrier": _carrier, "person": _person}

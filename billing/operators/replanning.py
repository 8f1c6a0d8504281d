"""Charges planned by other zone data than is in use now: found, and moved to their agreed hour.

A rule's next instant is stored when it is reckoned, so a country that changes its clock meanwhile
would have one charge an hour off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import calendar, gateways
from billing.models import Rule
from billing.plans import contract, drafts
from lines import zones

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Astray:
    """A rule by its public name, the instant it holds, and the one its calendar says."""

    reference: str
    planned_at: datetime
    agreed_at: datetime


def find(*, at: datetime) -> Iterator[Astray]:
    """Rules on whose next charge, still ahead, is not where their calendar has it. Those of a rail
    that is off here are left out: its hours are not known."""
    running = Rule.objects.filter(is_on=True, next_run_at__gt=at).order_by("pk")
    for rule in _with_all(running).iterator(_BATCH):
        planned_at, agreed_at = rule.next_run_at, _agreed_at(rule)
        if planned_at and agreed_at and planned_at != agreed_at:
            yield Astray(rule.public_id, planned_at, agreed_at)


def move(one: Astray, *, at: datetime) -> bool:
    """Plan it for its agreed instant, if it is still planned as it was found."""
    with transaction.atomic():
        held = Rule.objects.select_for_update(no_key=True, of=("self",))
        still = held.filter(public_id=one.reference, next_run_at=one.planned_at, is_on=True)
        rule = _with_all(still).first()
        if rule is None:
            return False
        rule.next_run_at, is_awake = one.agreed_at, rule.wake_at is not None
        if is_awake:
            contract.reschedule(rule, at=at)
        rule.save(update_fields=["next_run_at", "wake_at", "notify_at"])
    return True


def _with_all(rules: QuerySet[Rule]) -> QuerySet[Rule]:
    return rules.select_related("line__carrier", "binding__rail", "fallback_binding__rail")


def _agreed_at(rule: Rule) -> datetime | None:
    if rule.binding is None or not zones.is_zone(rule.line.timezone):
        return None
    try:
        capabilities = gateways.capabilities(rule.binding.rail_id)
    except gateways.RailNotConfigured:
        return None
    schedule = drafts.schedule_of(drafts.of(rule), capabilities=capabilities)
    return calendar.occurrence(schedule, rule.next_index).due_at if schedule else None

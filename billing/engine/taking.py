"""Which recharges are claimed next: by lanes, and only what can be sent.

A rail or carrier whose bulkhead is full is passed by; what is due there waits in the database,
where it costs nothing. Within what there is room for, a credit of what is paid goes first, then
what is low or asked for by hand, then questions, then the many that are due by their date.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from django.db import transaction

from billing import rowsets
from billing.recharges import claims
from billing.recharges.claims import Work


class Lane(IntEnum):
    """As `LANE` has it; a later one is served after an earlier one."""

    CREDIT = 0
    URGENT = 1
    QUESTION = 2
    SCHEDULED = 3


# The expression of the index `recharge_lane`: it must stand in a query as it stands there.
LANE = (
    "(CASE WHEN state IN ('charged', 'delivering', 'delivery_pending', 'delivery_unknown',"
    " 'completed') THEN 0 WHEN state NOT IN ('waiting', 'due', 'declined') THEN 2"
    " WHEN trigger IN ('low_balance', 'manual') THEN 1 ELSE 3 END)"
)


class Room(NamedTuple):
    """How many may be claimed of a rail's lane, and of the rail at all."""

    rail: str
    lane: int
    most: int
    rail_most: int


_TAKE = f"""
WITH room AS (
  SELECT * FROM unnest(%(rails)b::text[], %(lanes)b::int[], %(most)b::int[], %(rail_most)b::int[])
    AS r(rail, lane, most, rail_most)),
found AS MATERIALIZED (
  SELECT one.id, room.lane, one.act_at, room.rail_most, row_number() OVER (
    PARTITION BY room.rail, room.lane = 0 ORDER BY room.lane, one.act_at) AS place
  FROM room, LATERAL (
    SELECT id, act_at FROM billing_recharge q
    WHERE rail = room.rail AND {LANE} = room.lane AND act_at IS NOT NULL AND act_at <= %(at)s
      AND (lease_until IS NULL OR lease_until < clock_timestamp())
      {{passed_by}}
    ORDER BY act_at LIMIT room.most FOR NO KEY UPDATE SKIP LOCKED) one),
picked AS (
  SELECT id FROM found WHERE lane = 0 OR place <= rail_most ORDER BY lane, act_at LIMIT %(limit)s)
UPDATE billing_recharge g SET fence = g.fence + 1, crash_count = g.crash_count + 1,
  lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM picked WHERE g.id = picked.id RETURNING g.id"""  # noqa: S608 # nosec B608 - our own texts
_FULL = """AND NOT EXISTS (
        SELECT FROM lines_line l JOIN lines_carrier c ON c.id = l.carrier_id
        WHERE l.id = q.line_id AND c.code = ANY(%(full)b))"""
_TAKE_ANY = _TAKE.format(passed_by="")
_TAKE_BUT_FULL = _TAKE.format(passed_by=_FULL)


def take(
    *, at: datetime, limit: int, rooms: Sequence[Room], full_carriers: Sequence[str] = ()
) -> list[Work]:
    """As `claims.claim`, within `rooms` and without what goes to a carrier that is full."""
    rooms = [room for room in rooms if room.most > 0]
    if not rooms:
        return []
    facts = {
        "rails": [room.rail for room in rooms],
        "lanes": [room.lane for room in rooms],
        "most": [room.most for room in rooms],
        "rail_most": [room.rail_most for room in rooms],
        "at": at,
        "limit": limit,
        "lease_s": claims.LEASE_S,
        "full": list(full_carriers),
    }
    with transaction.atomic():
        ids = rowsets.column(_TAKE_BUT_FULL if full_carriers else _TAKE_ANY, facts, of=int)
        return claims.read(recharge_ids=ids)

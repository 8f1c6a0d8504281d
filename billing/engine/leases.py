"""Leases of what is under way, renewed by the worker that holds them: all of them in a statement.

By the database's clock, and only those that are still ours: one that has run out may be another's
by now, and what it would have begun is not begun any more.
"""

import time
from collections.abc import Iterable, Sequence

from django.db import transaction

from billing import rowsets
from billing.engine.flights import Flight
from billing.recharges import claims
from billing.recharges.claims import Work
from billing.refunds import claims as refund_claims
from billing.refunds.claims import RefundWork

RENEW_AFTER_S = 10.0
# Held no longer than this, however long a call takes: one that never comes back must not keep its
# row from being asked about.
LONGEST_S = 180.0

_RENEW = """
UPDATE {table} t SET lease_until = clock_timestamp() + make_interval(secs => %s)
FROM (SELECT q.id FROM {table} q JOIN unnest(%b::bigint[], %b::bigint[]) v(id, fence)
        ON q.id = v.id AND q.fence = v.fence
      WHERE q.lease_until >= clock_timestamp() ORDER BY q.id FOR NO KEY UPDATE OF q) held
WHERE t.id = held.id RETURNING t.id"""
_Held = tuple[Flight, Work | RefundWork]
_RENEW_RECHARGES = _RENEW.format(table="billing_recharge")
_RENEW_REFUNDS = _RENEW.format(table="billing_refund")


def renew(flights: Iterable[Flight]) -> None:
    """Those of them that were held for long; what is no longer ours is recalled."""
    now = time.monotonic()
    old = [one for one in flights if _is_old(one, now=now)]
    refunds = [(one, one.row) for one in old if isinstance(one.row, RefundWork)]
    recharges = [(one, one.row) for one in old if isinstance(one.row, Work)]
    with transaction.atomic():
        _renew(recharges, sql=_RENEW_RECHARGES, lease_s=claims.LEASE_S)
        _renew(refunds, sql=_RENEW_REFUNDS, lease_s=refund_claims.LEASE_S)


def _is_old(one: Flight, *, now: float) -> bool:
    """What has waited too long is not kept: it goes back."""
    is_kept = one.is_begun or now < one.begin_by
    is_lasting = now - one.claimed_at < LONGEST_S
    return is_kept and is_lasting and now - one.held_from >= RENEW_AFTER_S


def _renew(flights: Sequence[_Held], *, sql: str, lease_s: float) -> None:
    if not flights:
        return
    now = time.monotonic()  # before the statement: no later than the lease begins
    facts = [lease_s, [row.id for _, row in flights], [row.fence for _, row in flights]]
    held = set(rowsets.column(sql, facts, of=int))
    for one, row in flights:
        if row.id in held:
            one.lease(claimed_at=one.claimed_at, held_from=now)
        else:
            one.recall()

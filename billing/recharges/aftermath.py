"""What follows from how a recharge ended, for its promotion, its rule and its line.

Set-wise, and in the transaction of the move that caused it. Rows are locked in the one order that
everything keeps: line, rule, binding, promotion (docs/locking.md).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from billing import promotions, rowsets

# Soon enough to show the new balance, late enough for the carrier's own books to have it.
BALANCE_REFRESH = timedelta(seconds=30)
# A rule deferred by this recharge looks again within the hour; bring that forward.
RECHECK_S = 3600

_REARM = """
UPDATE billing_rule r SET
  episode = r.episode + CASE WHEN r.is_armed THEN 0 ELSE 1 END,
  is_armed = true,
  cooldown_until = %s + make_interval(secs => r.cooldown_s),
  wake_at = LEAST(r.wake_at, %s + make_interval(secs => r.cooldown_s))
FROM billing_recharge g WHERE g.id = ANY(%b) AND r.id = g.rule_id AND r.is_on"""
# One by hand is no rule's: it has hidden a low balance from the line's rule while it was under way,
# so the rule looks again. Its latch and its cool-down are its own.
_LOOK_AGAIN = """
UPDATE billing_rule r SET wake_at = LEAST(r.wake_at, %s)
FROM billing_recharge g WHERE g.id = ANY(%b) AND g.rule_id IS NULL AND r.line_id = g.line_id
  AND r.is_on"""
_COOL_DOWN = """
UPDATE billing_rule r SET
  cooldown_until = %s + make_interval(secs => r.cooldown_s),
  wake_at = CASE WHEN r.wake_at <= %s + make_interval(secs => %s)
                 THEN %s + make_interval(secs => r.cooldown_s) ELSE r.wake_at END
FROM billing_recharge g WHERE g.id = ANY(%b) AND r.id = g.rule_id"""
_REFRESH = """
UPDATE lines_line l SET poll_at = LEAST(l.poll_at, %s)
FROM billing_recharge g WHERE g.id = ANY(%b) AND l.id = g.line_id"""

# The method's bad run is over under whatever binding it has; almost always there was none.
_GOOD_RUN = """
UPDATE billing_binding b SET failures_in_a_row = 0
FROM billing_binding p WHERE p.id = ANY(%b) AND b.failures_in_a_row > 0
  AND (b.id = p.id OR (b.fingerprint = p.fingerprint AND p.fingerprint <> ''))"""


def unpaid(*, recharge_ids: Sequence[int], at: datetime) -> None:
    """Nothing was taken: give the promotion back, and let a low balance fire again once cool."""
    if not recharge_ids:
        return
    ids = list(recharge_ids)
    _fire_again(ids, at=at)
    promotions.release(recharge_ids=ids)


def refunded(*, recharge_ids: Sequence[int], at: datetime) -> None:
    """Ended without credit: as `unpaid`, but the promotion was consumed and is returned."""
    if recharge_ids:
        _fire_again(list(recharge_ids), at=at)


def _fire_again(recharge_ids: list[int], *, at: datetime) -> None:
    rowsets.run(_REARM, [at, at, recharge_ids])
    rowsets.run(_LOOK_AGAIN, [at, recharge_ids])


def taken_back(*, recharge_ids: Sequence[int], at: datetime) -> None:
    """The carrier has its credit back: what the line has now is asked for."""
    if recharge_ids:
        rowsets.run(_REFRESH, [at + BALANCE_REFRESH, list(recharge_ids)])


def paid(*, promoted_ids: Sequence[int], binding_ids: Sequence[int]) -> None:
    """The money is taken: the method's bad run is over, and of the recharges that a promotion
    changed (`promoted_ids`) the reserve is spent."""
    rowsets.run(_GOOD_RUN, [list(binding_ids)])
    if promoted_ids:
        promotions.consume(recharge_ids=list(promoted_ids))


def credited(*, recharge_ids: Sequence[int], at: datetime) -> None:
    """The line has it: cool down, and ask for the new balance, which re-arms the latch."""
    if not recharge_ids:
        return
    ids = list(recharge_ids)
    rowsets.run(_REFRESH, [at + BALANCE_REFRESH, ids])
    rowsets.run(_COOL_DOWN, [at, at, RECHECK_S, at, ids])

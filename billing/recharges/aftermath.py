"""What follows from how a recharge ended, for its promotion, its rule and its line.

Set-wise, and in the transaction of the move that caused it. Rows are locked in the one order that
everything keeps: line, rule, binding, promotion (docs/locking.md).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from billing import promotions, rowsets
from billing.states import Trigger

# Soon enough to show the new balance, late enough for the carrier's own books to have it.
BALANCE_REFRESH = timedelta(seconds=30)
# A rule deferred by this recharge looks again within the hour; bring that forward.
RECHECK_S = 3600

_REARM = """
UPDATE billing_rule r SET
  episode = r.episode + CASE WHEN r.is_armed THEN 0 ELSE 1 END,
  is_armed = true,
  rearms_at = CASE WHEN r.is_armed THEN r.rearms_at END,
  cooldown_until = %s + make_interval(secs => r.cooldown_s),
  wake_at = LEAST(r.wake_at, %s + make_interval(secs => r.cooldown_s))
FROM billing_recharge g WHERE g.id = ANY(%b) AND r.id = g.rule_id AND r.is_on"""
# One by hand is no rule's: it has hidden a low balance from the line's rule while it was under way,
# so the rule looks again. Its latch and its cool-down are its own.
_LOOK_AGAIN = """
UPDATE billing_rule r SET wake_at = LEAST(r.wake_at, %s)
FROM billing_recharge g WHERE g.id = ANY(%b) AND g.rule_id IS NULL AND r.line_id = g.line_id
  AND r.is_on"""
# A validity that it was to prolong is tried again, unless a person said no to it (rule 12a).
_TRY_AGAIN = """
UPDATE billing_rule r SET expiry_fired_for = NULL
FROM billing_recharge g WHERE g.id = ANY(%b) AND r.id = g.rule_id
  AND r.expiry_fired_for IS NOT NULL AND g.reason <> ALL(%b)
  AND EXISTS (SELECT 1 FROM billing_decision d WHERE d.recharge_id = g.id AND d.trigger = %b)
  AND NOT EXISTS (SELECT 1 FROM billing_refund f WHERE f.recharge_id = g.id
                  AND f.requested_by_id IS NOT NULL AND f.state = 'succeeded')"""
_SAID_NO = ["canceled_by_owner", "canceled_by_operator"]
# The rule of the line cools down after its own charge. After whosoever's credit its latch opens,
# once cool, where the last balance that cannot know of the credit, and the credit, reach the level
# that would open it: no reading need ever show it (rule 7).
_COOL_DOWN = """
UPDATE billing_rule r SET
  cooldown_until = CASE WHEN g.rule_id = r.id
                        THEN %s + make_interval(secs => r.cooldown_s) ELSE r.cooldown_until END,
  wake_at = CASE WHEN g.rule_id = r.id AND r.wake_at <= %s + make_interval(secs => %s)
                 THEN %s + make_interval(secs => r.cooldown_s) ELSE r.wake_at END,
  rearms_at = CASE WHEN b.minor + COALESCE(g.credited_minor, g.face_minor + g.bonus_minor)
                        >= r.threshold_minor + r.hysteresis_minor
                   THEN %s + make_interval(secs => r.cooldown_s) ELSE r.rearms_at END
FROM billing_recharge g
JOIN lines_line l ON l.id = g.line_id
LEFT JOIN LATERAL (
  SELECT y.created_at AS at FROM lines_delivery y WHERE y.order_ref = g.ref
  ORDER BY y.number DESC LIMIT 1
) ordered ON true
LEFT JOIN LATERAL (
  SELECT CASE WHEN l.balance_observed_at <= ordered.at
    THEN l.balance_minor - l.balance_reserved_minor
    ELSE (SELECT n.balance_minor - n.reserved_minor FROM lines_balancereading n
          WHERE n.line_id = g.line_id AND n.is_applied AND n.observed_at <= ordered.at
          ORDER BY n.observed_at DESC LIMIT 1) END AS minor
) b ON true
WHERE g.id = ANY(%b) AND r.line_id = g.line_id"""
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
    rowsets.run(_TRY_AGAIN, [recharge_ids, _SAID_NO, Trigger.EXPIRY.value])
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
    """The line has it: cool down, and ask for the new balance. What it shows opens the latch, and
    where it does not come in time, what we know ourselves."""
    if not recharge_ids:
        return
    ids = list(recharge_ids)
    rowsets.run(_REFRESH, [at + BALANCE_REFRESH, ids])
    rowsets.run(_COOL_DOWN, [at, at, RECHECK_S, at, at, ids])

"""The second binding that an owner consented to: used once, after a definite decline, or where the
first has been refused so often that its scheme allows it no further try now (rule 18)."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from billing.gateways.base import Capabilities
from billing.models import Binding, Recharge, Rule
from billing.recharges import machine
from billing.recharges.claims import Work
from billing.recharges.machine import Move
from billing.rules import caps, gathering
from billing.states import RechargeState

PASSED_OVER = "passed_over"
# It has its own turn, as the first had: so long what stands in its way may last.
GRACE = timedelta(days=1)
NO_TIME = timedelta(0)


def use(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> bool:
    """Have the recharge charged by its second binding instead, the first having declined it. False:
    there is none, or not now. In the caller's transaction. Raises LostRace."""
    second = _second(row, at=at, rails=rails)
    if second is not None:
        declined = row.move(RechargeState.DECLINED, "fallback", at, new_declines=1)
        _hand_over(row, second, by=declined, at=at, rails=rails)
    return second is not None


def pass_over(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> bool:
    """As `use`, the first having no try left: it is asked nothing, and loses none."""
    second = _second(row, at=at, rails=rails)
    if second is not None:
        waiting = row.move(RechargeState.WAITING, PASSED_OVER, at)
        _hand_over(row, second, by=waiting, at=at, rails=rails)
        Recharge.objects.filter(pk=row.id).update(passed_over=row.binding_id)
    return second is not None


def _second(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> Binding | None:
    """Never past that one's own limits: its cap for a month, and what its rail takes at once. Nor
    days after it was due, nor where its owner has agreed to another since."""
    if row.fallback_binding_id is None or row.fallback_binding_id == row.binding_id:
        return None
    if row.is_long_over(at=at) or not _is_still_agreed(row):
        return None
    second = Binding.objects.select_related("rail").get(pk=row.fallback_binding_id)
    recharge = Recharge.objects.get(pk=row.id)
    if not second.is_usable or not _takes(rails.get(second.rail_id), row):
        return None
    return second if caps.leaves_room(binding=second, recharge=recharge) else None


def _hand_over(
    row: Work, second: Binding, *, by: Move, at: datetime, rails: Mapping[str, Capabilities]
) -> None:
    """A soft decline of the second climbs its own rail's ladder."""
    machine.move_one(by, at=at)
    lead = _lead(row, rails.get(second.rail_id))
    Recharge.objects.filter(pk=row.id).update(
        binding=second,
        rail=second.rail_id,
        fallback_binding=None,
        declines=0,
        ladder_s=second.rail.retry_ladder_s,
        expires_at=max(row.charge_until, at + GRACE + lead),
        **machine.NOT_ANNOUNCED,  # another rail, another announcement
    )


def _lead(row: Work, rail: Capabilities | None) -> timedelta:
    return gathering.told_first(rail, notice_h=row.notice_h).lead if rail else NO_TIME


def _is_still_agreed(row: Work) -> bool:
    """The rule as it is now: what was frozen may be older than what its owner agreed to last."""
    if row.rule_id is None:
        return True
    return Rule.objects.filter(pk=row.rule_id, fallback_binding=row.fallback_binding_id).exists()


def _takes(rail: Capabilities | None, row: Work) -> bool:
    """A rail that is switched off now is waited for, as any rail is."""
    if rail is None:
        return True
    most_minor = rail.max_amount_minor
    is_small_enough = most_minor is None or row.price_minor <= most_minor
    is_large_enough = rail.min_amount_minor <= row.price_minor
    return row.currency in rail.currencies and is_small_enough and is_large_enough

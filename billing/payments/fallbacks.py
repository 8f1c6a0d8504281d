"""The second binding that an owner consented to: used once, after a definite decline (rule 18)."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from billing.gateways.base import Capabilities
from billing.models import Binding, Recharge, Rule
from billing.recharges import machine
from billing.recharges.claims import Work
from billing.rules import caps, gathering
from billing.states import RechargeState

# It has its own turn, as the first had: so long what stands in its way may last.
GRACE = timedelta(days=1)
NO_TIME = timedelta(0)


def use(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> bool:
    """Have the recharge charged by its second binding instead. False: there is none, or not now.

    Never past that one's own limits: its cap for a month, and what its rail takes at once. Nor
    days after it was due, nor where its owner has agreed to another since. A soft decline of it
    climbs its own rail's ladder. In the caller's transaction. Raises LostRace.
    """
    if row.fallback_binding_id is None or row.fallback_binding_id == row.binding_id:
        return False
    if row.is_long_over(at=at) or not _is_still_agreed(row):
        return False
    second = Binding.objects.select_related("rail").get(pk=row.fallback_binding_id)
    recharge = Recharge.objects.get(pk=row.id)
    rail = rails.get(second.rail_id)
    if not second.is_usable or not _takes(rail, row):
        return False
    if not caps.leaves_room(binding=second, recharge=recharge):
        return False
    machine.move_one(row.move(RechargeState.DECLINED, "fallback", at, new_declines=1), at=at)
    Recharge.objects.filter(pk=row.id).update(
        binding=second,
        rail=second.rail_id,
        fallback_binding=None,
        declines=0,
        ladder_s=second.rail.retry_ladder_s,
        expires_at=max(row.charge_until, at + GRACE + _lead(row, rail)),
        **machine.NOT_ANNOUNCED,  # another rail, another announcement
    )
    return True


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

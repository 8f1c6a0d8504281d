"""The second binding that an owner consented to: used once, after a definite decline (rule 18)."""

from collections.abc import Mapping
from datetime import datetime

from billing.gateways.base import Capabilities
from billing.models import Binding, Recharge
from billing.recharges import machine
from billing.recharges.claims import Work
from billing.rules import caps
from billing.states import RechargeState


def use(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> bool:
    """Have the recharge charged by its second binding instead. False: there is none, or not now.

    Never past that one's own limits: its cap for a month, and what its rail takes at once. In the
    caller's transaction. Raises LostRace.
    """
    if row.fallback_binding_id is None or row.fallback_binding_id == row.binding_id:
        return False
    second = Binding.objects.get(pk=row.fallback_binding_id)
    recharge = Recharge.objects.get(pk=row.id)
    if not second.is_usable or not _takes(rails.get(second.rail_id), row.price_minor):
        return False
    if not caps.leaves_room(binding=second, recharge=recharge):
        return False
    machine.move_one(row.move(RechargeState.DECLINED, "fallback", at, new_declines=1), at=at)
    Recharge.objects.filter(pk=row.id).update(
        binding=second,
        rail=second.rail_id,
        fallback_binding=None,
        **machine.NOT_ANNOUNCED,  # another rail, another announcement
    )
    return True


def _takes(rail: Capabilities | None, price_minor: int) -> bool:
    """A rail that is switched off now is waited for, as any rail is."""
    if rail is None:
        return True
    most_minor = rail.max_amount_minor
    return rail.min_amount_minor <= price_minor and (
        most_minor is None or price_minor <= most_minor
    )

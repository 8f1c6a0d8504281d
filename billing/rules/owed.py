"""What a rule owes once a recharge of it has ended because it no longer fitted."""

from datetime import datetime

from billing.models import Decision, Rule
from billing.recharges.claims import Work
from billing.rules import agreed
from billing.states import Trigger


def look_again(row: Work, *, because: str, at: datetime) -> None:
    """The rule decides anew, at once, and by what is agreed now: nothing was tried that it would
    have to cool down from. What was due on terms that have changed is due again, in its grace.

    In the caller's transaction, after the end of the recharge.
    """
    on = Rule.objects.select_for_update(no_key=True).filter(is_on=True)
    rule = on.filter(pk=row.rule_id).first() if row.rule_id is not None else None
    if rule is None:
        return
    rule.cooldown_until, rule.wake_at = None, at
    if row.trigger == Trigger.SCHEDULE and because in agreed.REPLACED:
        index = int(row.period_key.split(":", 1)[0])
        if index < rule.next_index:
            rule.next_index, rule.next_run_at = index, row.due_at
    if _served_expiry(row) and (row.trigger != Trigger.EXPIRY or because in agreed.REPLACED):
        rule.expiry_fired_for = None
    rule.save(
        update_fields=["cooldown_until", "wake_at", "next_index", "next_run_at", "expiry_fired_for"]
    )


def _served_expiry(row: Work) -> bool:
    """Alone, or together with what it was opened for."""
    served = Decision.objects.filter(recharge=row.id, trigger=Trigger.EXPIRY, is_charge=True)
    return row.trigger == Trigger.EXPIRY or served.exists()

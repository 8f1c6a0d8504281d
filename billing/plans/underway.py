"""What is under way on a line while its owner agrees to new terms, and what becomes of it."""

from dataclasses import dataclass
from datetime import datetime

from billing.models import Recharge
from billing.plans.drafts import Draft
from billing.recharges import claims
from billing.recharges.claims import Work
from billing.rules import agreed
from billing.states import CANCELABLE_STATES, OPEN_STATES

ENDS, GOES_ON, FINISHED = "ends", "goes_on", "finished"


@dataclass(frozen=True, slots=True)
class Underway:
    """One open recharge. `becomes`: it ends without money, goes on as it is, or has been sent to
    its rail already and is finished as it was agreed. `price_minor` in minor units."""

    recharge_id: int
    becomes: str
    because: str  # why it ends, as a code
    price_minor: int
    currency: str


def underway(draft: Draft) -> Underway | None:
    """What is open on the draft's line, and what the draft, once agreed to, makes of it."""
    found = Recharge.objects.filter(line=draft.line, state__in=OPEN_STATES)
    for row in claims.read(recharge_ids=list(found.values_list("pk", flat=True))):
        because = ""
        if row.state not in CANCELABLE_STATES or claims.is_live_attempt(row):
            becomes = FINISHED
        else:
            because = agreed.misfit(_under(draft, row))
            becomes = ENDS if because else GOES_ON
        return Underway(row.id, becomes, because, row.price_minor, row.currency)
    return None


def hasten(draft: Draft, *, at: datetime) -> None:
    """Have what no longer fits looked at now, so that what is due instead need not wait for it."""
    found = underway(draft)
    if found is not None and found.becomes == ENDS:
        waiting = Recharge.objects.filter(pk=found.recharge_id, state__in=CANCELABLE_STATES)
        waiting.filter(lease_until__isnull=True).update(act_at=at)


def _under(draft: Draft, row: Work) -> Work:
    """As `row` would be read once the draft is agreed to."""
    was = (row.agreed_face_minor, row.agreed_topup_mode, row.agreed_target_minor)
    if not row.is_agreed_anew:
        was = (row.rule_face_minor, row.topup_mode or "", row.target_minor)
    return row._replace(
        is_agreed_anew=True,
        agreed_face_minor=was[0],
        agreed_topup_mode=was[1],
        agreed_target_minor=was[2],
        rule_binding_id=draft.binding.pk if draft.binding else None,
        rule_fallback_id=draft.fallback_binding.pk if draft.fallback_binding else None,
        rule_face_minor=draft.face_minor,
        cycle=draft.cycle,
        anchor_date=draft.anchor_date,
        threshold_minor=draft.threshold_minor,
        topup_mode=draft.topup_mode,
        target_minor=draft.target_minor if draft.topup_mode == "to" else None,
        expiry_days_before=draft.expiry_days_before,
        max_per_charge_minor=draft.max_per_charge_minor,
    )

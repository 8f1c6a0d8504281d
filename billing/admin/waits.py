"""What waits for a person about one recharge: each case with what to do, and the acts for it."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from billing import casebook
from billing.admin import advice, words
from billing.models import Case, Recharge
from billing.operators import operations
from billing.words.reasons import Reason
from lines.admin.acts import Button


@dataclass(frozen=True, slots=True)
class Waiting:
    """One open case as the page shows it. `buttons`: those of its acts that are legal now."""

    case: Case
    reason: Reason
    advice: advice.Text
    buttons: Sequence[Button]


def of(recharge: Recharge, *, buttons: Sequence[Button]) -> list[Waiting]:
    """Its open cases and those of its refunds, the oldest first, out of `buttons` of the page."""
    if not recharge.attention:
        return []
    found = recharge.cases.filter(settled_at=None).order_by("since", "pk")
    related = found.select_related("recharge__line__carrier", "refund")
    put_right = operations.put_right(recharge)
    return [_waiting(one, buttons, put_right=put_right) for one in related]


def _waiting(case: Case, buttons: Sequence[Button], *, put_right: Set[str]) -> Waiting:
    """`put_right`: the codes that an operator may close who has put it right elsewhere."""
    kinds = casebook.RECHARGE if case.refund_id is None else casebook.REFUND
    acts = kinds[case.code].acts
    if case.code not in put_right:
        acts -= {operations.SETTLE}  # it would close another case, and leave this one
    its_own = [one for one in buttons if one.act.verb in acts]
    return Waiting(case, words.case(case), advice.on(case.code), its_own)

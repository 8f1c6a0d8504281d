"""A number that is somebody else's now: what was agreed for it ends, and who had it is told.

Carriers give a number away again once it has lain idle; its old owner's plan would pay a stranger's
calls for ever (rule 23). `lines` knows whose proof counts; here is what that means for money.
"""

from datetime import datetime

from billing.models import DEFAULT_CHANNELS, NoticeKind, Recharge, Rule
from billing.notices import telling
from billing.plans import contract
from billing.recharges import machine
from billing.recharges.machine import LostRace, TooLate
from billing.states import CANCELABLE_STATES
from lines import lifecycle
from lines.models import Line

BECAUSE = "number_moved"


def prove(*, line: Line, code: str, at: datetime) -> Line:
    """`lifecycle.prove`, and what it means for another owner of the number before.

    Their line has ended: its plan is off and they are told, in the transaction of the proof. What
    waits there unpaid is canceled; what is paid is not credited, and goes back (`crediting`).
    Raises what `lifecycle.prove` raises; never inside a transaction.
    """
    ended: list[Line] = []

    def give_way(old: Line) -> None:
        _stop_and_tell(old, at=at)
        ended.append(old)

    proven = lifecycle.prove(line=line, code=code, at=at, gave_way=give_way)
    # Afterwards: whoever settles a recharge holds it and waits for its line (docs/locking.md).
    for old in ended:
        _cancel_unpaid(old, at=at)
    return proven


def _stop_and_tell(old: Line, *, at: datetime) -> None:
    """One notice says both: that the line is gone, and that nothing more is taken for it."""
    facts: dict[str, object] = {}
    rule = Rule.objects.filter(line=old, is_on=True).first()
    if rule is not None:
        contract.stop(rule=rule, because=BECAUSE, is_told=False, at=at)
        facts = {"face_minor": rule.face_minor, "currency": rule.currency}
    telling.tell(
        owner_id=old.owner_id,
        kind=NoticeKind.NUMBER_MOVED,
        occurrence_key=old.public_id,
        line_id=old.pk,
        facts=facts,
        # By mail too, whatever they chose for everyday news: somebody may have taken their number.
        channels=DEFAULT_CHANNELS,
        at=at,
    )


def _cancel_unpaid(old: Line, *, at: datetime) -> None:
    """What a rail may yet take is left to the executor, which gives it back."""
    for recharge in Recharge.objects.filter(line=old, state__in=CANCELABLE_STATES):
        try:
            machine.cancel(recharge=recharge, actor=None, because=BECAUSE, at=at)
        except (TooLate, LostRace):
            continue

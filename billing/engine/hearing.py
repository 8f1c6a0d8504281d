"""What the answers of a batch say of whom they came from: whether it answers at all."""

from collections.abc import Iterator, Sequence

from billing import outages
from billing.delivery import crediting
from billing.gateways.base import Refused
from billing.gateways.base import Unknown as NoWord
from billing.models import OutageSide
from billing.outages import Heard
from billing.payments import announcements, charging
from billing.recharges.claims import Work
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from lines.carriers.base import NotAllowed, Rejected, Unknown


def of_recharges(
    *,
    announced: Sequence[announcements.Asked],
    asked: Sequence[charging.Asked],
    credited: Sequence[crediting.Asked],
) -> list[Heard]:
    """What the calls for recharges say."""
    heard = [_of_rail(one.row, one.preparation.outcome) for one in announced]
    heard += [_of_rail(one.row, one.answer.outcome) for one in asked]
    return heard + [_of_carrier(one.row, one.answer.outcome) for one in credited]


def of_refunds(asked: Sequence[refunding.Asked]) -> list[Heard]:
    """What the calls for refunds say."""
    return list(_of_refunds(asked))


def _of_refunds(asked: Sequence[refunding.Asked]) -> Iterator[Heard]:
    for one in asked:
        if isinstance(one.answer, refunding.TakenBack):
            yield _of_carrier(one.row, one.answer.answer.outcome)
        elif refunding.is_about_credit(one.row):
            yield _of_carrier(one.row, one.answer.outcome)
        else:
            yield _of_rail(one.row, one.answer.outcome)


def _of_rail(row: Work | RefundWork, outcome: object) -> Heard:
    is_answer = _is_answer(row, outcome)
    return Heard(OutageSide.RAIL, row.rail, is_answer, row.is_rail_failing, _why(outcome))


def _of_carrier(row: Work | RefundWork, outcome: object) -> Heard:
    is_answer = _is_answer(row, outcome)
    return Heard(OutageSide.CARRIER, row.carrier, is_answer, row.is_carrier_failing, _why(outcome))


def _why(outcome: object) -> str:
    return outcome.reason if isinstance(outcome, NoWord | Unknown) else ""


def _is_answer(row: Work | RefundWork, outcome: object) -> bool | None:
    """A refusal may be of who cannot do more than refuse, so it ends no outage; and what was asked
    about in vain so often begins none."""
    if isinstance(outcome, Refused | Rejected | NotAllowed):
        return None
    if not isinstance(outcome, NoWord | Unknown):
        return True
    return False if row.queries < outages.PATIENCE else None

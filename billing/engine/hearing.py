"""What the answers of a batch say of whom they came from: whether it answers at all."""

from collections.abc import Iterator, Sequence

from billing import outages
from billing.delivery import crediting
from billing.engine.bulkheads import Whom
from billing.engine.flights import Asked
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


def complaints(asked: Sequence[Asked]) -> set[Whom]:
    """Who said that it is called too fast."""
    return {whom for one in asked for whom, outcome in _outcomes(one) if _is_too_fast(outcome)}


def _outcomes(one: Asked) -> Iterator[tuple[Whom, object]]:
    match one:
        case announcements.Asked(row, preparation):
            yield Whom(OutageSide.RAIL.value, row.rail), preparation.outcome
        case charging.Asked(row, answer):
            yield Whom(OutageSide.RAIL.value, row.rail), answer.outcome
        case crediting.Asked(row, answer):
            yield Whom(OutageSide.CARRIER.value, row.carrier), answer.outcome
        case refunding.Asked(row, said):
            is_carriers = refunding.is_about_credit(row)
            side = OutageSide.CARRIER if is_carriers else OutageSide.RAIL
            answer = said.answer if isinstance(said, refunding.TakenBack) else said
            yield Whom(side.value, row.carrier if is_carriers else row.rail), answer.outcome


def _is_too_fast(outcome: object) -> bool:
    return isinstance(outcome, NoWord | Unknown) and outcome.is_too_fast


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
    if isinstance(outcome, Refused | Rejected | NotAllowed) or _is_too_fast(outcome):
        return None
    if not isinstance(outcome, NoWord | Unknown):
        return True
    return False if row.queries < outages.PATIENCE else None

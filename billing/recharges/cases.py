"""Cases: what waits for a person, opened by its cause and closed by what settles that cause.

The one writer of `Case`. Which cause is over is said by `casebook`; this writes it down, set-wise,
in the transaction of the step that was made. What has no case costs no statement here: a row tells
by its `attention` whether it has one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from billing import casebook, rowsets
from billing.casebook import Heard, Kind
from billing.models import Case, Recharge, Refund
from billing.rowsets import Column


class WrongCase(Exception):
    """Code opens a case that is not in `casebook`, or that cannot be where it is: a bug."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was written: where its row is now, what it heard, what it calls a person for.

    `because` is kept as what settled what it settles, and with what it opens, unless that says
    more; `refund_id` where it is a refund's.
    """

    recharge_id: int
    state: str
    because: str
    heard: Heard = Heard.ANSWER
    opens: str = ""
    says: str = ""
    actor_id: int | None = None
    refund_id: int | None = None


_SETTLED_COLUMNS = (
    Column("recharge_id", "bigint"),
    Column("refund_id", "bigint"),
    Column("code", "text"),
    Column("settled_by", "text"),
    Column("actor_id", "bigint"),
    Column("at", "timestamptz"),
)
_SETTLE = "settled_at = v.at, settled_by = v.settled_by, actor_id = v.actor_id"
_OF_IT = """t.recharge_id = v.recharge_id AND t.refund_id IS NOT DISTINCT FROM v.refund_id
    AND t.code = v.code AND t.settled_at IS NULL"""
_OPENED_COLUMNS = (
    Column("recharge_id", "bigint"),
    Column("refund_id", "bigint"),
    Column("code", "text"),
    Column("says", "text"),
    Column("since", "timestamptz"),
    Column("settled_by", "text"),
)
# One that is open already keeps its age.
_ONCE = "ON CONFLICT (recharge_id, refund_id, code) WHERE settled_at IS NULL DO NOTHING"
_LOCK_REFUNDS = """
SELECT id FROM billing_refund WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE"""
_LOCK = "SELECT id FROM billing_recharge WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE"


def follow(steps: Sequence[Step], *, at: datetime) -> None:
    """Close what each step settles, and open what it calls a person for. In its transaction.

    A case that a step opens again stays open, with its age.
    """
    for one in steps:
        _refuse_wrong(one)
    _lock(steps)
    over = [(one, code) for one in steps for code in _over(one)]
    _settle([(one, code) for one, code in over if code != one.opens], at=at)
    _open([one for one in steps if one.opens], at=at)


def follow_refund(
    refund: Refund,
    *,
    because: str,
    at: datetime,
    heard: Heard = Heard.ANSWER,
    opens: str = "",
    actor_id: int | None = None,
) -> None:
    """As `follow`, for a refund that was locked, changed and saved in this transaction."""
    if opens or refund.attention:
        step = Step(
            refund.recharge_id,
            refund.state,
            because,
            heard,
            opens=opens,
            says=refund.code,
            actor_id=actor_id,
            refund_id=refund.pk,
        )
        follow([step], at=at)
        refund.refresh_from_db(fields=["attention"])  # so that it may be saved once more


def settle(
    cases: QuerySet[Case], *, because: str, at: datetime, actor_id: int | None = None
) -> int:
    """Close `cases`, whose cause is over by what was heard or said; how many were open."""
    open_ones = list(cases.filter(settled_at=None))
    steps = [
        Step(one.recharge_id, "", because, actor_id=actor_id, refund_id=one.refund_id)
        for one in open_ones
    ]
    _lock(steps)
    codes = [one.code for one in open_ones]
    _settle(list(zip(steps, codes, strict=True)), at=at)
    return len(open_ones)


def of(recharge: Recharge) -> QuerySet[Case]:
    """What waits for a person about a recharge itself, the oldest first."""
    return recharge.cases.filter(refund=None, settled_at=None).order_by("since", "pk")


def of_refund(refund: Refund) -> QuerySet[Case]:
    """What waits for a person about a refund, the oldest first."""
    return refund.cases.filter(settled_at=None).order_by("since", "pk")


def codes(recharge: Recharge) -> frozenset[str]:
    """The codes that are open of a recharge itself."""
    if not recharge.attention:
        return frozenset()
    return frozenset(of(recharge).values_list("code", flat=True))


def refund_codes(refund: Refund) -> frozenset[str]:
    """The codes that are open of a refund."""
    if not refund.attention:
        return frozenset()
    return frozenset(of_refund(refund).values_list("code", flat=True))


def _kinds(one: Step) -> dict[str, Kind]:
    return dict(casebook.RECHARGE if one.refund_id is None else casebook.REFUND)


def _refuse_wrong(one: Step) -> None:
    kind = _kinds(one).get(one.opens)
    if one.opens and (kind is None or one.state not in kind.stands_in):
        raise WrongCase(f"{one.opens} of one that is {one.state}")


def _over(one: Step) -> Iterable[str]:
    return casebook.over(_kinds(one), state=one.state, heard=one.heard)


def _lock(steps: Sequence[Step]) -> None:
    """Everybody who opens or closes locks what it is about first: refund, then recharge."""
    if refund_ids := [one.refund_id for one in steps if one.refund_id is not None]:
        rowsets.run(_LOCK_REFUNDS, [refund_ids])
    if steps:
        rowsets.run(_LOCK, [[one.recharge_id for one in steps]])


def _settle(over: Sequence[tuple[Step, str]], *, at: datetime) -> None:
    rows = [
        (one.recharge_id, one.refund_id, code, one.because, one.actor_id, at) for one, code in over
    ]
    rowsets.update("billing_case", _SETTLED_COLUMNS, rows, assign=_SETTLE, where=_OF_IT)


def _open(steps: Sequence[Step], *, at: datetime) -> None:
    rows = [
        (one.recharge_id, one.refund_id, one.opens, (one.says or one.because)[:200], at, "")
        for one in steps
    ]
    rowsets.insert("billing_case", _OPENED_COLUMNS, rows, suffix=_ONCE)

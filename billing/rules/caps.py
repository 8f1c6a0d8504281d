"""What counts against caps: everything opened that may yet take money, or has (rule 25).

A refund does not free the month's cap, and a recharge that ended unpaid does not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from billing import rowsets
from billing.calendar import day_key, month_key
from billing.models import Binding, Recharge, Rule, SpendingCap
from billing.rules import obstacles
from billing.rules.verdicts import Spent
from billing.states import UNPAID_END_STATES
from lines.models import Line


class CapReached(Exception):
    """A cap leaves no room. `code` and `facts` are a reason's, for `billing.words.reasons`."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


_LOCK_BINDINGS = """
SELECT id FROM billing_binding WHERE id = ANY(%b) AND max_per_month_minor IS NOT NULL
ORDER BY id FOR NO KEY UPDATE"""
_LOCK_OWNERS = """
SELECT id FROM billing_spendingcap WHERE owner_id = ANY(%b) ORDER BY id FOR NO KEY UPDATE"""


def lock_shared_caps(*, binding_ids: Iterable[int], owner_ids: Iterable[int]) -> None:
    """Lock the caps that several lines share, in one order, so that counting them is safe.

    A line's own cap needs no more than the lock on its rule, which the caller holds.
    """
    for sql, ids in ((_LOCK_BINDINGS, set(binding_ids)), (_LOCK_OWNERS, set(owner_ids))):
        if ids:
            rowsets.run(sql, [sorted(ids)])


class Counted(NamedTuple):
    """What one charge counts against: the line, whoever shares its caps, the line's local day."""

    line_id: int
    binding_id: int  # 0: none
    owner_id: int
    currency: str
    day: date
    month: date

    @classmethod
    def on(
        cls,
        moves_at: datetime,
        *,
        line_id: int,
        binding_id: int | None,
        owner_id: int,
        currency: str,
        timezone: str,
    ) -> "Counted":
        """Caps count by the day money moves, which on a slow rail is not today."""
        day, month = day_key(moves_at, timezone), month_key(moves_at, timezone)
        return cls(line_id, binding_id or 0, owner_id, currency, day, month)


class Tally:
    """Sums for a batch, kept current as the batch itself opens recharges.

    What lines share is summed for each currency: amounts in one never meet another's (rule 29).
    """

    def __init__(self) -> None:
        self.day: dict[tuple[int, date], int] = defaultdict(int)
        self.line: dict[tuple[int, date], int] = defaultdict(int)
        self.binding: dict[tuple[int, str, date], int] = defaultdict(int)
        self.owner: dict[tuple[int, str, date], int] = defaultdict(int)

    def spent(self, by: Counted) -> Spent:
        return Spent(
            day_count=self.day[by.line_id, by.day],
            line_month_minor=self.line[by.line_id, by.month],
            binding_month_minor=self.binding[by.binding_id, by.currency, by.month],
            owner_month_minor=self.owner[by.owner_id, by.currency, by.month],
        )

    def add(self, by: Counted, *, minor: int) -> None:
        self.day[by.line_id, by.day] += 1
        self.line[by.line_id, by.month] += minor
        self.binding[by.binding_id, by.currency, by.month] += minor
        self.owner[by.owner_id, by.currency, by.month] += minor


_LINES = """
SELECT line_id, cap_day, cap_month, count(*) AS charges, sum(price_minor) AS minor
FROM billing_recharge
WHERE line_id = ANY(%b) AND cap_month = ANY(%b) AND state <> ALL(%b)
  AND id <> ALL(%b::bigint[])
GROUP BY line_id, cap_day, cap_month"""
_SHARED = """
SELECT {column} AS shared_id, currency, cap_month, sum(price_minor) AS minor FROM billing_recharge
WHERE {column} = ANY(%b) AND cap_month = ANY(%b) AND state <> ALL(%b)
  AND id <> ALL(%b::bigint[])
GROUP BY {column}, currency, cap_month"""


class LineSum(NamedTuple):
    """One row of `_LINES`: what one line has opened on one day."""

    line_id: int
    cap_day: date
    cap_month: date
    charges: int
    minor: Decimal


class SharedSum(NamedTuple):
    """One row of `_SHARED`: a month's sum of one binding or owner, in one currency."""

    shared_id: int
    currency: str
    cap_month: date
    minor: Decimal


_UNPAID = [state.value for state in UNPAID_END_STATES]


def tally(
    *,
    line_ids: Sequence[int],
    capped_binding_ids: Sequence[int],
    capped_owner_ids: Sequence[int],
    months: Sequence[date],
    but_ids: Sequence[int] = (),
) -> Tally:
    """Count what is spent by lines, and by those bindings and owners that have a cap at all.

    `but_ids`: recharges that are left out, since their caller counts them anew.
    """
    sums, left_out = Tally(), list(but_ids)
    params: list[object] = [line_ids, months, _UNPAID, left_out]
    for one in rowsets.read(_LINES, params, into=LineSum) if line_ids else ():
        sums.day[one.line_id, one.cap_day] += one.charges
        sums.line[one.line_id, one.cap_month] += int(one.minor)
    shared = (
        ("binding_id", capped_binding_ids, sums.binding),
        ("owner_id", capped_owner_ids, sums.owner),
    )
    for column, ids, into in shared:
        if ids:
            params = [ids, months, _UNPAID, left_out]
            for month in rowsets.read(_SHARED.format(column=column), params, into=SharedSum):
                into[month.shared_id, month.currency, month.cap_month] += int(month.minor)
    return sums


def spent_by(one: Counted) -> Spent:
    """What counts against one charge's caps already."""
    sums = tally(
        line_ids=[one.line_id],
        capped_binding_ids=[one.binding_id],
        capped_owner_ids=[one.owner_id],
        months=[one.month],
    )
    return sums.spent(one)


def owner_cap_minor(*, owner_id: int, currency: str) -> int | None:
    found = SpendingCap.objects.filter(owner=owner_id, currency=currency)
    return found.values_list("max_per_month_minor", flat=True).first()


def _binding_cap_minor(binding: Binding) -> int | None:
    """As the row has it now."""
    return Binding.objects.values_list("max_per_month_minor", flat=True).get(pk=binding.pk)


def check_caps(*, line: Line, binding: Binding, amount_minor: int, at: datetime) -> None:
    """Raises CapReached where one recharge by hand of `amount_minor` would break a cap.

    Its owner has just typed the amount, so that there is no cap of one charge
    (docs/decisions/0004-caps-block.md). Call with the line (and its rule) locked; this locks the
    shared caps.
    """
    lock_shared_caps(binding_ids=[binding.pk], owner_ids=[line.owner_id])
    rule = Rule.objects.filter(line=line, is_on=True).first()
    counted = Counted.on(
        at,
        line_id=line.pk,
        binding_id=binding.pk,
        owner_id=line.owner_id,
        currency=line.currency,
        timezone=line.timezone,
    )
    reached = obstacles.cap_reached(
        amount_minor=amount_minor,
        spent=spent_by(counted),
        day_count=rule.max_per_day_count if rule else None,
        line_month_minor=rule.max_per_month_minor if rule else None,
        binding_month_minor=_binding_cap_minor(binding),
        owner_month_minor=owner_cap_minor(owner_id=line.owner_id, currency=line.currency),
    )
    if reached:
        code, figures = reached
        raise CapReached(code, **figures, currency=line.currency)


def leaves_room(*, binding: Binding, recharge: Recharge) -> bool:
    """Whether the binding's own cap has room for a recharge that is to move to it from another.

    Locks the binding's cap. The line's and the owner's caps count the recharge already.
    """
    lock_shared_caps(binding_ids=[binding.pk], owner_ids=[])
    cap_minor = _binding_cap_minor(binding)
    month = recharge.cap_month
    sums = tally(line_ids=[], capped_binding_ids=[binding.pk], capped_owner_ids=[], months=[month])
    spent_minor = sums.binding[binding.pk, recharge.currency, month]
    return cap_minor is None or spent_minor + recharge.price_minor <= cap_minor

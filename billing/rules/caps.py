"""What counts against caps: everything opened that may yet take money, or has (rule 25).

A refund does not free the month's cap, and a recharge that ended unpaid does not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Sum

from billing import rowsets
from billing.calendar import day_key, month_key
from billing.models import Binding, Recharge, Rule, SpendingCap
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


class Tally:
    """Sums for a batch, kept current as the batch itself opens recharges.

    What lines share is summed for each currency: amounts in one never meet another's (rule 29).
    """

    def __init__(self) -> None:
        self.day: dict[tuple[int, date], int] = defaultdict(int)
        self.line: dict[tuple[int, date], int] = defaultdict(int)
        self.binding: dict[tuple[int, str, date], int] = defaultdict(int)
        self.owner: dict[tuple[int, str, date], int] = defaultdict(int)

    def spent(
        self, *, line: int, binding: int, owner: int, currency: str, day: date, month: date
    ) -> Spent:
        return Spent(
            day_count=self.day[line, day],
            line_month_minor=self.line[line, month],
            binding_month_minor=self.binding[binding, currency, month],
            owner_month_minor=self.owner[owner, currency, month],
        )

    def add(
        self,
        *,
        line: int,
        binding: int,
        owner: int,
        currency: str,
        day: date,
        month: date,
        minor: int,
    ) -> None:
        self.day[line, day] += 1
        self.line[line, month] += minor
        self.binding[binding, currency, month] += minor
        self.owner[owner, currency, month] += minor


_LINES = """
SELECT line_id, cap_day, cap_month, count(*) AS charges, sum(price_minor) AS minor
FROM billing_recharge
WHERE line_id = ANY(%b) AND cap_month = ANY(%b) AND state <> ALL(%b)
GROUP BY line_id, cap_day, cap_month"""
_SHARED = """
SELECT {column} AS shared_id, currency, cap_month, sum(price_minor) AS minor FROM billing_recharge
WHERE {column} = ANY(%b) AND cap_month = ANY(%b) AND state <> ALL(%b)
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
) -> Tally:
    """Count what is spent by lines, and by those bindings and owners that have a cap at all."""
    sums = Tally()
    for one in rowsets.read(_LINES, [line_ids, months, _UNPAID], into=LineSum):
        sums.day[one.line_id, one.cap_day] += one.charges
        sums.line[one.line_id, one.cap_month] += int(one.minor)
    shared = (
        ("binding_id", capped_binding_ids, sums.binding),
        ("owner_id", capped_owner_ids, sums.owner),
    )
    for column, ids, into in shared:
        if ids:
            params = [ids, months, _UNPAID]
            for month in rowsets.read(_SHARED.format(column=column), params, into=SharedSum):
                into[month.shared_id, month.currency, month.cap_month] += int(month.minor)
    return sums


def spent_minor(*, at: datetime, timezone: str, **by: object) -> int:
    """This local month's total for a line, binding or owner, in minor units."""
    counted = Recharge.objects.exclude(state__in=UNPAID_END_STATES)
    month = counted.filter(cap_month=month_key(at, timezone), **by)
    return int(month.aggregate(total=Sum("price_minor"))["total"] or 0)


def check_caps(*, line: Line, binding: Binding, amount_minor: int, at: datetime) -> None:
    """Raises CapReached where one recharge by hand of `amount_minor` would break a cap.

    Call with the line (and its rule) locked; this locks the shared caps.
    """
    lock_shared_caps(binding_ids=[binding.pk], owner_ids=[line.owner_id])
    rule = Rule.objects.filter(line=line, is_on=True).first()
    owner_cap = SpendingCap.objects.filter(owner=line.owner_id, currency=line.currency).first()
    fresh = Binding.objects.get(pk=binding.pk)
    caps: tuple[tuple[str, int | None, dict[str, object]], ...] = (
        ("cap_month", rule.max_per_month_minor if rule else None, {"line": line}),
        (
            "cap_binding_month",
            fresh.max_per_month_minor,
            {"binding": binding, "currency": line.currency},
        ),
        (
            "cap_owner_month",
            owner_cap.max_per_month_minor if owner_cap else None,
            {"owner": line.owner_id, "currency": line.currency},
        ),
    )
    for code, cap_minor, by in caps:
        spent = spent_minor(at=at, timezone=line.timezone, **by) if cap_minor is not None else 0
        if cap_minor is not None and spent + amount_minor > cap_minor:
            raise CapReached(
                code,
                cap_minor=cap_minor,
                spent_minor=spent,
                face_minor=amount_minor,
                currency=line.currency,
            )
    if rule:
        _check_day(rule=rule, line=line, at=at)


def leaves_room(*, binding: Binding, recharge: Recharge) -> bool:
    """Whether the binding's own cap has room for a recharge that is to move to it from another.

    Locks the binding's cap. The line's and the owner's caps count the recharge already.
    """
    lock_shared_caps(binding_ids=[binding.pk], owner_ids=[])
    cap_minor = Binding.objects.values_list("max_per_month_minor", flat=True).get(pk=binding.pk)
    counted = Recharge.objects.exclude(state__in=UNPAID_END_STATES)
    month = counted.filter(
        binding=binding, currency=recharge.currency, cap_month=recharge.cap_month
    )
    spent_minor = month.aggregate(total=Sum("price_minor"))["total"] or 0
    return cap_minor is None or spent_minor + recharge.price_minor <= cap_minor


def _check_day(*, rule: Rule, line: Line, at: datetime) -> None:
    counted = Recharge.objects.exclude(state__in=UNPAID_END_STATES)
    today = counted.filter(line=line, cap_day=day_key(at, line.timezone)).count()
    if today + 1 > rule.max_per_day_count:
        raise CapReached("cap_day", cap_count=rule.max_per_day_count)

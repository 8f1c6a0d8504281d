"""The front page's figures: how today goes, who answers and who does not, and money by day.

Each is one query over rows that an index by day finds, grouped in the database.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Count,
    DateTimeField,
    Exists,
    F,
    Field,
    Func,
    IntegerField,
    OuterRef,
    Q,
    Sum,
    Value,
)
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.admin import tones, words
from billing.models import DeclineCode, PaymentAttempt, Rail, Recharge, Transfer, TransferKind
from billing.states import AttemptState, DeclineClass
from billing.states import RechargeState as S
from lines.admin.base import in_language, page_url
from lines.models import Carrier
from portal.desk import charts as desk_charts
from portal.desk.parts import list_url

CHART_DAYS = 14
_INSTANTS: "Field[Any, Any]" = ArrayField(DateTimeField())
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_MOST_DECLINES = 6
# Fewer in an hour say nothing of a rail or carrier.
_FEWEST_TO_JUDGE = 5
_NOT_PAID = frozenset({S.FAILED, S.DECLINED, S.MISSED, S.CANCELED})
_TAKEN_BACK = frozenset({S.UNDELIVERABLE, S.REVERSED})
_NOT_CREDITED = _TAKEN_BACK | {S.REFUNDING, S.REFUNDED}


class _Bucket(Func):
    """Which of the given instants is the last one not after a row's, counted from 1.

    Which instants days begin at is Python's to say: PostgreSQL has zones of its own.
    """

    function = "width_bucket"
    output_field = IntegerField()


@dataclass(frozen=True, slots=True)
class Tile:
    """How many recharges of today are in one state; `url` lists them."""

    name: str
    tone: str
    count: int
    url: str


@dataclass(slots=True)
class Flow:
    """What one rail or carrier was given in 24 hours, and what became of it."""

    name: str
    url: str
    good: int = 0
    bad: int = 0
    waiting: int = 0
    hour: int = 0
    hour_bad: int = 0  # without a usable answer: a payer without money is no fault of a rail

    @property
    def rate(self) -> int | None:
        """Of what is decided, how much went well, per cent."""
        decided = self.good + self.bad
        return 100 * self.good // decided if decided else None

    @property
    def is_failing(self) -> bool:
        return self.hour >= _FEWEST_TO_JUDGE and 2 * self.hour_bad > self.hour


@dataclass(frozen=True, slots=True)
class Decline:
    """A code that rails answered in 24 hours; `is_listed`: somebody has said what it means."""

    rail: str
    code: str
    meaning: str
    count: int
    is_listed: bool
    url: str


def today(at: datetime) -> list[Tile]:
    """Recharges opened today, by their present state."""
    day = timezone.localdate(at)
    counted = (
        Recharge.objects.filter(created_at__gte=_midnight(day))
        .values_list("state")
        .annotate(n=Count("pk"))
    )
    by_state = dict(counted)
    return [
        Tile(
            words.state(state),
            tones.RECHARGE.get(state, ""),
            by_state[state],
            list_url(Recharge, f"state__exact={state}&when={day:%Y-%m-%d}"),
        )
        for state in S
        if state in by_state
    ]


def flows(at: datetime) -> list[Flow]:
    """Rails, then carriers, that had something to do in 24 hours."""
    in_an_hour = Count("pk", filter=Q(created_at__gte=at - _HOUR))
    grouped = list(
        Recharge.objects.filter(created_at__gte=at - _DAY)
        .values(
            "rail",
            "line__carrier",
            "state",
            is_paid=Q(charged_at__isnull=False),
            is_credited=Q(credited_minor__isnull=False),
        )
        .annotate(n=Count("pk"), hour=in_an_hour)
    )
    if not grouped:
        return []
    rails = {
        one.code: Flow(words.rail(one.code), page_url(one))
        for one in Rail.objects.order_by("sort_order", "code")
    }
    carriers = {
        one.pk: Flow(in_language(one.name, one.name_en), page_url(one))
        for one in Carrier.objects.order_by("code")
    }
    for row in grouped:
        _pay(rails[row["rail"]], row)
        if row["is_paid"]:
            _credit(carriers[row["line__carrier"]], row)
    every = [*rails.values(), *carriers.values()]
    return [one for one in every if one.good or one.bad or one.waiting]


def _pay(flow: Flow, row: dict[str, Any]) -> None:
    if row["is_paid"]:
        flow.good += row["n"]
    elif row["state"] in _NOT_PAID:
        flow.bad += row["n"]
    else:
        flow.waiting += row["n"]
    flow.hour += row["hour"]
    flow.hour_bad += row["hour"] if row["state"] == S.PAYMENT_UNKNOWN else 0


def _credit(flow: Flow, row: dict[str, Any]) -> None:
    # One that was credited and is refunded since, because its owner asked, went well here.
    is_good = row["is_credited"] and row["state"] not in _TAKEN_BACK
    is_bad = not is_good and row["state"] in _NOT_CREDITED
    flow.good += row["n"] if is_good else 0
    flow.bad += row["n"] if is_bad else 0
    flow.waiting += row["n"] if not is_good and not is_bad else 0
    flow.hour += row["hour"]
    flow.hour_bad += row["hour"] if is_bad or row["state"] == S.DELIVERY_UNKNOWN else 0


def declines(at: datetime) -> list[Decline]:
    """The commonest codes of payments not taken in 24 hours; those nobody has listed first."""
    listed = DeclineCode.objects.filter(rail=OuterRef("rail"), code=OuterRef("code"))
    counted = (
        PaymentAttempt.objects.filter(
            recharge__created_at__gte=at - _DAY,
            state__in=[AttemptState.DECLINED, AttemptState.UNKNOWN],
        )
        .exclude(code="")
        .values("rail", "code", is_listed=Exists(listed))
        .annotate(n=Count("pk"))
        .order_by("is_listed", "-n", "rail", "code")[:_MOST_DECLINES]
    )
    found = list(counted)
    return [_decline(row, meanings) for meanings in [_meanings(found)] for row in found]


def _meanings(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], DeclineCode]:
    codes = DeclineCode.objects.filter(code__in=[row["code"] for row in rows])
    return {(one.rail, one.code): one for one in codes}


def _decline(row: dict[str, Any], meanings: dict[tuple[str, str], DeclineCode]) -> Decline:
    known = meanings.get((row["rail"], row["code"]))
    if known is not None:
        meaning, url = known.get_decline_class_display(), page_url(known)
    else:
        meaning = str(DeclineClass.UNKNOWN.label)
        url = f"{reverse('admin:billing_declinecode_add')}?rail={row['rail']}&code={row['code']}"
    name = words.rail(row["rail"])
    return Decline(name, row["code"], meaning, row["n"], known is not None, url)


def charts(at: datetime) -> list[tuple[str, SafeString]]:
    """Charged and given back by day, a picture for each currency."""
    last = timezone.localdate(at)
    days = [last - timedelta(days=back) for back in reversed(range(CHART_DAYS))]
    *starts, end = [_midnight(day) for day in (*days, last + _DAY)]
    sums: dict[str, dict[tuple[date, str], int]] = defaultdict(dict)
    for currency, bucket, kind, minor in (
        Transfer.objects.filter(
            at__gte=starts[0], at__lt=end, kind__in=[TransferKind.CHARGE, TransferKind.REFUND]
        )
        .annotate(bucket=_Bucket(F("at"), Value(starts, output_field=_INSTANTS)))
        .values_list("currency", "bucket", "kind")
        .annotate(minor=Sum("amount_minor"))
        .order_by("currency")
    ):
        sums[currency][days[bucket - 1], kind] = minor
    return [(currency, _chart(days, found, currency)) for currency, found in sums.items()]


def _chart(days: Sequence[date], found: dict[tuple[date, str], int], currency: str) -> SafeString:
    by_day = [(day, found.get((day, "charge"), 0), found.get((day, "refund"), 0)) for day in days]
    return desk_charts.money_by_day(by_day, currency=currency)


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))

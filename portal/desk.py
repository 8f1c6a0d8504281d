"""The operators' front page: what needs a person, oldest first, and how today goes.

Every query goes by an index that holds only what is looked for, or reads today's rows alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django_q.models import OrmQ

from billing.admin import tones, words
from billing.models import (
    Binding,
    BindingState,
    InboundNotification,
    Rail,
    Recharge,
    Refund,
    Rule,
    Transfer,
    TransferKind,
)
from billing.states import RechargeState as S
from billing.states import RefundState
from lines.admin.base import in_language, page_url, said
from lines.models import Carrier
from portal import admin_charts, desk_evidence, desk_statements, health, wording
from portal.desk_parts import Item, Section, Text, age, list_url, section

UNKNOWN_FOR = timedelta(hours=1)
LAPSES_WITHIN = timedelta(days=30)
UNREAD_FOR = timedelta(minutes=5)
CHART_DAYS = 14


@dataclass(frozen=True, slots=True)
class Desk:
    """All that the front page shows one operator."""

    sections: Sequence[Section]
    today: Sequence[tuple[str, str, int]]  # (state in words, tone, how many)
    charts: Sequence[tuple[str, SafeString]]  # (currency, picture)

    @property
    def is_clear(self) -> bool:
        return not self.sections


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's hook for the front page."""
    return context | {"desk": shown(user=request.user, at=timezone.now())}


def shown(*, user: Any, at: datetime) -> Desk:
    """The front page of `user`: only what they may see, and only kinds of which there is some."""
    made = [
        build(at)
        for permission, build in _SECTIONS
        if permission is None or user.has_perm(permission)
    ]
    may_see_money = user.has_perm("billing.view_transfer")
    return Desk(
        sections=[section for section in made if section is not None],
        today=_today(at) if user.has_perm("billing.view_recharge") else [],
        charts=_charts(at) if may_see_money else [],
    )


# --- recharges and refunds ----------------------------------------------------------------------


def _recharges(at: datetime) -> QuerySet[Recharge]:
    del at
    return Recharge.objects.select_related("line__carrier")


def _needing(at: datetime) -> Section | None:
    rows = _recharges(at).exclude(attention="").exclude(attention__startswith="refund_")

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, words.attention(one).title, one.attention_since, at)

    return section(
        rows.order_by("attention_since"), describe, name=_("Recharges that need a person"),
        tone="bad", url=list_url(Recharge, "needs=yes"),
    )  # fmt: skip


def _unknown(at: datetime) -> Section | None:
    rows = _recharges(at).filter(
        state__in=[S.PAYMENT_UNKNOWN, S.DELIVERY_UNKNOWN],
        unknown_since__lt=at - UNKNOWN_FOR,
        attention="",
    )

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, S(one.state).label, one.unknown_since, at)

    return section(
        rows.order_by("unknown_since"), describe, name=_("Outcome unknown for over an hour"),
        tone="warn",
    )  # fmt: skip


def _held(at: datetime) -> Section | None:
    rows = _recharges(at).filter(state=S.REVIEW, attention="")

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, S(one.state).label, one.created_at, at)

    return section(
        rows.order_by("created_at"), describe, name=_("Held for review"), tone="warn",
        url=list_url(Recharge, f"state__exact={S.REVIEW}"),
    )  # fmt: skip


def _undelivered(at: datetime) -> Section | None:
    rows = _recharges(at).filter(state=S.UNDELIVERABLE, attention="")

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, S(one.state).label, one.charged_at, at)

    return section(
        rows.order_by("charged_at"), describe, name=_("Paid, but neither credited nor given back"),
        tone="bad", url=list_url(Recharge, f"state__exact={S.UNDELIVERABLE}"),
    )  # fmt: skip


def _recharge_item(one: Recharge, why: Text, since: datetime | None, at: datetime) -> Item:
    amount = words.amount(one.price_minor, one.currency)
    return Item(f"{amount} · {one.line}", str(why), age(since, at), page_url(one))


def _to_approve(at: datetime) -> Section | None:
    rows = Refund.objects.filter(state=RefundState.REQUESTED)

    def describe(one: Refund) -> Item:
        return _refund_item(one, said(one.requested_by, one.reason), at)

    return section(
        rows.select_related("recharge__line", "requested_by").order_by("created_at"), describe,
        name=_("Refunds that wait for a second person"), tone="warn",
        url=list_url(Refund, f"state__exact={RefundState.REQUESTED}"),
    )  # fmt: skip


def _refunds_held(at: datetime) -> Section | None:
    ended = [RefundState.SUCCEEDED, RefundState.REFUSED]
    rows = Refund.objects.exclude(attention="").exclude(state__in=ended)

    def describe(one: Refund) -> Item:
        zone = one.recharge.line.timezone
        facts = {"amount_minor": one.amount_minor, "currency": one.currency}
        why = words.reason(one.attention, facts, timezone=zone, at=one.created_at)
        return _refund_item(one, why.title, at)

    return section(
        rows.select_related("recharge__line").order_by("created_at"), describe,
        name=_("Refunds that do not go through"), tone="bad",
    )  # fmt: skip


def _refund_item(one: Refund, why: str, at: datetime) -> Item:
    amount = words.amount(one.amount_minor, one.currency)
    title = f"{amount} · {one.recharge.line}"
    return Item(title, why, age(one.created_at, at), page_url(one.recharge))


# --- rules and bindings -------------------------------------------------------------------------


def _lapsing(at: datetime) -> Section | None:
    rows = Binding.objects.filter(
        state=BindingState.ACTIVE, expires_at__gt=at, expires_at__lte=at + LAPSES_WITHIN
    )

    def describe(one: Binding) -> Item:
        day = wording.full_day(timezone.localtime(one.expires_at).date())
        return Item(f"{one.owner} · {one}", _("ends on %(day)s") % {"day": day}, "", page_url(one))

    return section(
        rows.select_related("owner", "rail").order_by("expires_at"), describe,
        name=_("Payment methods that end within 30 days"), tone="warn",
    )  # fmt: skip


def _paused(at: datetime) -> Section | None:
    rows = Rule.objects.filter(is_on=True, paused_at__isnull=False)

    def describe(one: Rule) -> Item:
        when = one.paused_at or at
        why = words.reason(one.pause_reason, {}, timezone=one.line.timezone, at=when)
        return Item(str(one.line), why.title, age(one.paused_at, at), page_url(one))

    return section(
        rows.select_related("line").order_by("paused_at"), describe,
        name=_("Rules paused by the system"), tone="warn",
        url=list_url(Rule, "is_on__exact=1&paused_at=yes"),
    )  # fmt: skip


# --- machinery ----------------------------------------------------------------------------------


def _stopped(at: datetime) -> Section | None:
    """Rails and carriers that do not run: by switch, by an operator, or by their settings."""
    items = [*_rails_stopped(at), *_carriers_stopped(at)]
    return (
        Section(_("Rails and carriers that do not run"), items, len(items), "bad")
        if items
        else None
    )


def _rails_stopped(at: datetime) -> Iterable[Item]:
    rails = Rail.objects.order_by("sort_order", "code")
    known = set()
    for one in rails:
        known.add(one.code)
        name, url = in_language(one.name, one.name_en), page_url(one)
        if why := settings.RAILS_STOPPED.get(one.code):
            yield Item(name, _("stopped by its settings: %(why)s") % {"why": why}, "", url)
        elif one.code not in settings.RAILS and one.bindings.filter(state="active").exists():
            yield Item(name, _("not set up on this installation"), "", url)
        if one.deferred_since:
            yield Item(name, _("charges are held back"), age(one.deferred_since, at), url)
        if not one.is_enabled:
            yield Item(name, _("switched off"), "", url)
    for code in sorted(settings.RAILS_STOPPED.keys() - known):
        why = settings.RAILS_STOPPED[code]
        yield Item(code, _("stopped by its settings: %(why)s") % {"why": why})


def _carriers_stopped(at: datetime) -> Iterable[Item]:
    for one in Carrier.objects.filter(Q(deferred_since__isnull=False) | Q(is_enabled=False)):
        name, url = in_language(one.name, one.name_en), page_url(one)
        if one.deferred_since:
            yield Item(name, _("credits are held back"), age(one.deferred_since, at), url)
        if not one.is_enabled:
            yield Item(name, _("switched off"), "", url)


def _queue(at: datetime) -> Section | None:
    """Parts that have been silent for too long, and tasks that nobody takes."""
    items = [Item(name, _("no sign of life")) for name in health.ailments()]
    for row in (
        OrmQ.objects.filter(lock__lt=at - UNREAD_FOR)
        .values("key")
        .annotate(n=Count("pk"), oldest=Min("lock"))
        .order_by("key")
    ):
        waiting = _("%(n)s tasks wait") % {"n": row["n"]}
        items.append(Item(row["key"], waiting, age(row["oldest"], at)))
    if not items:
        return None
    return Section(_("The machinery"), items, len(items), "bad", _url_heartbeats())


def _url_heartbeats() -> str:
    return reverse("admin:portal_heartbeat_changelist")


def _unread(at: datetime) -> Section | None:
    rows = InboundNotification.objects.filter(done_at__isnull=True, received_at__lt=at - UNREAD_FOR)

    def describe(one: InboundNotification) -> Item:
        return Item(
            f"{one.source} · {one.kind}", one.our_ref, age(one.received_at, at), page_url(one)
        )

    return section(
        rows.order_by("received_at"), describe, name=_("Notifications not acted on yet"),
        tone="warn",
    )  # fmt: skip


_SECTIONS: tuple[tuple[str | None, Callable[[datetime], Section | None]], ...] = (
    ("billing.view_recharge", _needing),
    ("billing.view_recharge", _undelivered),
    ("billing.view_refund", _to_approve),
    ("billing.view_refund", _refunds_held),
    ("billing.view_recharge", _held),
    ("billing.view_recharge", _unknown),
    ("billing.view_rail", _stopped),
    ("portal.view_heartbeat", _queue),
    ("billing.view_inboundnotification", _unread),
    ("billing.view_railcall", desk_evidence.not_genuine),
    ("billing.view_difference", desk_statements.differing),
    ("billing.view_statement", desk_statements.absent),
    ("billing.view_rule", _paused),
    ("billing.view_binding", _lapsing),
)


# --- figures ------------------------------------------------------------------------------------


def _today(at: datetime) -> list[tuple[str, str, int]]:
    """Recharges opened today, by their present state."""
    counted = (
        Recharge.objects.filter(created_at__gte=_midnight(timezone.localdate(at)))
        .values_list("state")
        .annotate(n=Count("pk"))
    )
    by_state = dict(counted)
    return [
        (str(state.label), tones.RECHARGE.get(state, ""), by_state[state])
        for state in S
        if state in by_state
    ]


def _charts(at: datetime) -> list[tuple[str, SafeString]]:
    """Charged and given back by day, a picture for each currency."""
    last = timezone.localdate(at)
    days = [last - timedelta(days=back) for back in reversed(range(CHART_DAYS))]
    sums: dict[str, dict[tuple[date, str], int]] = defaultdict(dict)
    for currency, day, kind, minor in (
        Transfer.objects.filter(
            at__gte=_midnight(days[0]), kind__in=[TransferKind.CHARGE, TransferKind.REFUND]
        )
        .annotate(day=TruncDate("at", tzinfo=timezone.get_current_timezone()))
        .values_list("currency", "day", "kind")
        .annotate(minor=Sum("amount_minor"))
        .order_by("currency")
    ):
        sums[currency][day, kind] = minor
    return [
        (
            currency,
            admin_charts.money_by_day(
                [
                    (day, found.get((day, "charge"), 0), found.get((day, "refund"), 0))
                    for day in days
                ],
                currency=currency,
            ),
        )
        for currency, found in sums.items()
    ]


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))

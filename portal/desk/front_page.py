"""The operators' front page: what needs a person, oldest first, and how today goes.

Every query goes by an index that holds only what is looked for, or reads today's rows alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django_q.models import OrmQ

from billing.admin import words
from billing.bindings.breaker import ENDING
from billing.models import (
    Binding,
    Case,
    InboundNotification,
    Rail,
    Recharge,
    Refund,
    Rule,
    Settlement,
)
from billing.states import RechargeState as S
from billing.states import RefundState, SettlementState
from lines.admin.base import in_language, page_url, said
from lines.models import Carrier
from portal.desk import evidence, methods, outages, statements
from portal.desk import figures as figures
from portal.desk.parts import Item, Section, Text, age, list_url, section
from portal.supervision import health

UNKNOWN_FOR = timedelta(hours=1)
UNENDED_FOR = timedelta(days=1)
UNREAD_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Desk:
    """All that the front page shows one operator."""

    sections: Sequence[Section]
    may_search: bool
    today: Sequence[figures.Tile]
    flows: Sequence[figures.Flow]
    declines: Sequence[figures.Decline]
    charts: Sequence[tuple[str, SafeString]]  # (currency, picture)

    @property
    def is_clear(self) -> bool:
        return not self.sections


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's hook for the front page."""
    return context | {"desk": shown(user=request.user, at=timezone.now())}


def shown(*, user: Any, at: datetime) -> Desk:
    """The front page of `user`: only what they may see, and only kinds of which there is some."""
    may_see_recharges = user.has_perm("billing.view_recharge")
    flows = figures.flows(at) if may_see_recharges else []
    made = [build(at) for permission, build in _SECTIONS if user.has_perm(permission)]
    made.insert(0, _failing(flows))
    return Desk(
        sections=[section for section in made if section is not None],
        may_search=may_see_recharges,
        today=figures.today(at) if may_see_recharges else [],
        flows=flows,
        declines=figures.declines(at) if user.has_perm("billing.view_paymentattempt") else [],
        charts=figures.charts(at) if user.has_perm("billing.view_transfer") else [],
    )


def _failing(flows: Sequence[figures.Flow]) -> Section | None:
    """Rails and carriers of which most went wrong in the last hour."""
    items = [
        Item(
            one.name,
            _("%(bad)s of %(all)s without a good answer in the last hour")
            % {"bad": one.hour_bad, "all": one.hour},
            "",
            one.url,
        )
        for one in flows
        if one.is_failing
    ]
    if not items:
        return None
    advice = _(
        "Ask them whether they are down. Hold charges or credits back meanwhile: nothing is"
        " dropped, and what waits goes on when you release it."
    )
    return Section(_("Failing now"), items, len(items), "bad", "", advice)


# --- recharges and refunds ----------------------------------------------------------------------


def _recharges(at: datetime) -> QuerySet[Recharge]:
    del at
    return Recharge.objects.select_related("line__carrier")


def _needing(at: datetime) -> Section | None:
    rows = _cases().filter(refund=None)

    def describe(one: Case) -> Item:
        return _recharge_item(one.recharge, words.case(one).title, one.since, at)

    return section(
        rows,
        describe,
        name=_("Recharges that need a person"),
        advice=_("What happened, and what to do, is on the page of each."),
        tone="bad",
        url=list_url(Recharge, "needs=yes"),
    )


def _cases() -> QuerySet[Case]:
    """What waits for a person, the oldest first: as often as it has causes."""
    related = Case.objects.select_related("recharge__line__carrier", "refund")
    return related.filter(settled_at=None).order_by("since", "pk")


def _unknown(at: datetime) -> Section | None:
    rows = _recharges(at).filter(
        state__in=[S.PAYMENT_UNKNOWN, S.DELIVERY_UNKNOWN],
        unknown_since__lt=at - UNKNOWN_FOR,
        attention="",
    )

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, words.state(one.state), one.unknown_since, at)

    return section(
        rows.order_by("unknown_since"),
        describe,
        name=_("Outcome unknown for over an hour"),
        advice=_(
            "They are asked again by themselves. Where one stays, look it up at the rail or the"
            " carrier."
        ),
        tone="warn",
    )


def _held(at: datetime) -> Section | None:
    rows = _recharges(at).filter(state=S.REVIEW, attention="")

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, words.state(one.state), one.created_at, at)

    return section(
        rows.order_by("created_at"),
        describe,
        name=_("Held for review"),
        advice=_("Approve it, and it is charged once; or reject it."),
        tone="warn",
        url=list_url(Recharge, f"state__exact={S.REVIEW}"),
    )


def _undelivered(at: datetime) -> Section | None:
    rows = _recharges(at).filter(state=S.UNDELIVERABLE, attention="")

    def describe(one: Recharge) -> Item:
        return _recharge_item(one, words.state(one.state), one.charged_at, at)

    return section(
        rows.order_by("charged_at"),
        describe,
        name=_("Paid, but neither credited nor given back"),
        advice=_("Credit the line again, or ask for a refund."),
        tone="bad",
        url=list_url(Recharge, f"state__exact={S.UNDELIVERABLE}"),
    )


def _recharge_item(one: Recharge, why: Text, since: datetime | None, at: datetime) -> Item:
    amount = words.amount(one.price_minor, one.currency)
    return Item(f"{amount} · {one.line}", str(why), age(since, at), page_url(one))


def _to_approve(at: datetime) -> Section | None:
    rows = Refund.objects.filter(state=RefundState.REQUESTED)

    def describe(one: Refund) -> Item:
        return _refund_item(one, said(one.requested_by, one.reason), one.created_at, at)

    return section(
        rows.select_related("recharge__line", "requested_by").order_by("created_at"),
        describe,
        name=_("Refunds that wait for a second person"),
        advice=_(
            "Read why it is asked for, then approve or reject it. Your own needs another person."
        ),
        tone="warn",
        url=list_url(Refund, f"state__exact={RefundState.REQUESTED}"),
    )


def _to_confirm(at: datetime) -> Section | None:
    rows = Settlement.objects.filter(state=SettlementState.REQUESTED)

    def describe(one: Settlement) -> Item:
        amount = words.amount(one.recharge.price_minor, one.recharge.currency)
        why = said(one.requested_by, one.get_finding_display())
        title = f"{amount} · {one.recharge.line}"
        return Item(title, why, age(one.created_at, at), page_url(one.recharge))

    return section(
        rows.select_related("recharge__line", "requested_by").order_by("created_at"),
        describe,
        name=_("What rails did, to be confirmed by a second person"),
        advice=_("Look the payment up on the rail's own pages, then confirm or reject it."),
        tone="warn",
        url=list_url(Settlement, f"state__exact={SettlementState.REQUESTED}"),
    )


def _refunds_held(at: datetime) -> Section | None:
    rows = _cases().filter(refund__isnull=False)

    def describe(one: Case) -> Item:
        assert one.refund is not None  # noqa: S101 - by the filter
        return _refund_item(one.refund, words.case(one).title, one.since, at)

    return section(
        rows,
        describe,
        name=_("Refunds that do not go through"),
        advice=_(
            "Fill the merchant's balance and ask again; or give the refund up and credit the line."
        ),
        tone="bad",
    )


def _refund_item(one: Refund, why: str, since: datetime, at: datetime) -> Item:
    amount = words.amount(one.amount_minor, one.currency)
    title = f"{amount} · {one.recharge.line}"
    return Item(title, why, age(since, at), page_url(one.recharge))


# --- rules and bindings -------------------------------------------------------------------------


def _paused(at: datetime) -> Section | None:
    rows = Rule.objects.filter(is_on=True, paused_at__isnull=False)

    def describe(one: Rule) -> Item:
        when = one.paused_at or at
        why = words.reason(one.pause_reason, {}, timezone=one.line.timezone, at=when)
        return Item(str(one.line), why.title, age(one.paused_at, at), page_url(one))

    return section(
        rows.select_related("line").order_by("paused_at"),
        describe,
        name=_("Rules paused by the system"),
        advice=_("Their owners were told. Let one go on only when its cause is gone."),
        tone="warn",
        url=list_url(Rule, "is_on__exact=1&paused_at=yes"),
    )


# --- machinery ----------------------------------------------------------------------------------


def _stopped(at: datetime) -> Section | None:
    """Rails and carriers that do not run: by switch, by an operator, or by their settings."""
    items = [*_rails_stopped(at), *_carriers_stopped(at)]
    if not items:
        return None
    advice = _(
        "Release or switch on what has no cause any more; settings are mended on the server."
    )
    name = _("Rails and carriers that do not run")
    return Section(name, items, len(items), "bad", "", advice)


def _rails_stopped(at: datetime) -> Iterable[Item]:
    in_use = Exists(Binding.objects.filter(rail=OuterRef("code"), state="active"))
    unended = Binding.objects.filter(
        rail=OuterRef("code"), pause_reason=ENDING, paused_at__lt=at - UNENDED_FOR
    )
    rails = Rail.objects.annotate(is_in_use=in_use, has_unended=Exists(unended))
    rails = rails.order_by("sort_order", "code")
    known = set()
    for one in rails:
        known.add(one.code)
        name, url = in_language(one.name, one.name_en), page_url(one)
        if why := settings.RAILS_STOPPED.get(one.code):
            yield Item(name, _("stopped by its settings: %(why)s") % {"why": why}, "", url)
        elif one.code not in settings.RAILS and one.is_in_use:
            yield Item(name, _("not set up on this installation"), "", url)
        if one.deferred_since:
            yield Item(name, _("charges are held back"), age(one.deferred_since, at), url)
        if one.has_unended:
            yield Item(name, _("has agreements that it will not end: end them there"), "", url)
        if one.refuses_us_since:
            why = _("refuses our questions: see to our key, or the contract")
            yield Item(name, why, age(one.refuses_us_since, at), url)
        if not one.is_enabled:
            yield Item(name, _("switched off"), "", url)
    for code in sorted(settings.RAILS_STOPPED.keys() - known):
        why = settings.RAILS_STOPPED[code]
        yield Item(code, _("stopped by its settings: %(why)s") % {"why": why})


def _carriers_stopped(at: datetime) -> Iterable[Item]:
    is_refused = Q(refuses_us_since__isnull=False)
    is_stopped = Q(deferred_since__isnull=False) | Q(is_enabled=False) | is_refused
    for one in Carrier.objects.filter(is_stopped):
        name, url = in_language(one.name, one.name_en), page_url(one)
        if one.deferred_since:
            yield Item(name, _("credits are held back"), age(one.deferred_since, at), url)
        if one.refuses_us_since:
            why = _("refuses our questions: see to our token, or the contract")
            yield Item(name, why, age(one.refuses_us_since, at), url)
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
    advice = _("Restart the workers. Until they are back, `manage.py sweep` does all that is due.")
    return Section(_("The machinery"), items, len(items), "bad", _url_heartbeats(), advice)


def _url_heartbeats() -> str:
    return reverse("admin:portal_heartbeat_changelist")


def _unread(at: datetime) -> Section | None:
    rows = InboundNotification.objects.filter(done_at__isnull=True, received_at__lt=at - UNREAD_FOR)

    def describe(one: InboundNotification) -> Item:
        return Item(
            f"{one.source} · {one.kind}", one.our_ref, age(one.received_at, at), page_url(one)
        )

    return section(
        rows.order_by("received_at"),
        describe,
        name=_("Notifications not acted on yet"),
        advice=_("Workers act on them within seconds: look at the machinery first."),
        tone="warn",
    )


_SECTIONS: tuple[tuple[str, Callable[[datetime], Section | None]], ...] = (
    ("billing.view_recharge", _needing),
    ("billing.view_recharge", _undelivered),
    ("billing.view_refund", _to_approve),
    ("billing.view_settlement", _to_confirm),
    ("billing.view_refund", _refunds_held),
    ("billing.view_recharge", _held),
    ("billing.view_recharge", _unknown),
    ("billing.view_outage", outages.silent),
    ("billing.view_rail", _stopped),
    ("portal.view_heartbeat", _queue),
    ("billing.view_inboundnotification", _unread),
    ("billing.view_railcall", evidence.not_genuine),
    ("billing.view_difference", statements.differing),
    ("billing.view_statement", statements.absent),
    ("billing.view_rule", _paused),
    ("billing.view_binding", methods.lapsing),
)

"""One recharge's whole story, told in order: decisions, moves, calls with their raw evidence,
money, notices, and what operators did. Each source is one query."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing.admin import tones, words
from billing.gateways.base import NotificationKind
from billing.models import (
    Case,
    Decision,
    InboundNotification,
    Notice,
    PaymentAttempt,
    RailCall,
    Recharge,
    RechargeMove,
    Refund,
    Settlement,
    Transfer,
)
from billing.notices.telling import words as notice_words
from billing.states import RechargeState as S
from lines import operations
from lines.admin.acts import target, verb_words
from lines.admin.base import said
from lines.models import CarrierCall, Delivery, Operation

# Of things at the same instant, which is told first: a batch writes them all with one clock.
_STAGE = {
    S.CHARGING: 10,
    S.PAYMENT_PENDING: 20,
    S.PAYMENT_UNKNOWN: 20,
    S.ACTION_REQUIRED: 20,
    S.DECLINED: 20,
    S.FAILED: 20,
    S.CHARGED: 30,
    S.DELIVERING: 30,
    S.DELIVERY_PENDING: 50,
    S.DELIVERY_UNKNOWN: 50,
    S.COMPLETED: 50,
    S.UNDELIVERABLE: 60,
    S.REVERSED: 60,
    S.REFUNDING: 70,
    S.REFUNDED: 90,
}
_TRANSFER_STAGE = {"deliver": 55, "reverse": 65, "refund": 80, "refund_promotion": 80}
_LONGEST = 20_000  # characters of evidence on a page


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something said over the wire, as it is shown in a details element."""

    title: str
    parts: tuple[tuple[str, str], ...]  # (what it is, its text)
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `kind` names its colour and icon, `code` is for support."""

    at: datetime
    kind: str
    title: str
    sentence: str = ""
    who: str = ""
    tone: str = ""
    code: str = ""
    url_of: Any = None
    evidence: tuple[Evidence, ...] = ()
    stage: int = field(default=0, compare=False)


def of(recharge: Recharge) -> list[Event]:
    """Its events, oldest first. `recharge` with line, carrier, owner and binding selected."""
    attempts = list(recharge.attempts.order_by("number").select_related("binding"))
    deliveries = list(Delivery.objects.filter(order_ref=recharge.ref).order_by("number"))
    refunds = list(recharge.refunds.order_by("pk").select_related("requested_by", "approved_by"))
    settlements = list(recharge.settlements.order_by("pk").select_related("requested_by"))
    told = [
        *_decisions(recharge),
        *_operations(recharge, refunds, settlements),
        *_moves(recharge),
        *_attempts(attempts),
        *_deliveries(deliveries),
        *_refunds(refunds),
        *_settlements(settlements),
        *_cases(recharge),
        *_calls(attempts, deliveries, refunds),
        *_notifications(recharge, attempts, deliveries, refunds),
        *_transfers(recharge),
        *_notices(recharge),
    ]
    return sorted(told, key=lambda event: (event.at, event.stage))


def why(events: Sequence[Event]) -> Event | None:
    """What began it: the rule's decision, or whoever asked for it by hand."""
    decided = (event for event in events if event.kind == "decision")
    opened = (event for event in events if event.kind == "move")
    return next(decided, None) or next(opened, None)


def _decisions(recharge: Recharge) -> Iterable[Event]:
    found: Iterable[Decision] = recharge.decisions.select_related("rule__line").order_by("pk")
    for one in found:
        why = words.decision(one)
        yield Event(
            one.at, "decision", why.title, why.sentence, _("the rule"), code=one.code, stage=-20
        )


def _operations(
    recharge: Recharge, refunds: Sequence[Refund], settlements: Sequence[Settlement]
) -> Iterable[Event]:
    targets = [target(subject) for subject in (recharge, *refunds, *settlements)]
    for one in operations.on(targets=targets):
        yield _operation(one)


def _operation(one: Operation) -> Event:
    title = str(verb_words(one.verb))
    return Event(one.at, "operation", title, one.reason, str(one.actor), code=one.verb, stage=-10)


def _moves(recharge: Recharge) -> Iterable[Event]:
    """Moves keep their own order, whatever their stages say."""
    last: Event | None = None
    facts, zone = words.facts_of(recharge), recharge.line.timezone
    for one in recharge.moves.order_by("pk").select_related("actor"):
        event = _move(one, facts, zone)
        if last is not None and last.at == event.at and last.stage > event.stage:
            event = replace(event, stage=last.stage)
        last = event
        yield event


def _move(one: RechargeMove, facts: dict[str, Any], zone: str) -> Event:
    why = words.reason(one.because, facts, timezone=zone, at=one.at)
    came_from = words.state(one.source) if one.source else ""
    arrow = f"{came_from} → {words.state(one.target)}" if came_from else words.state(one.target)
    sentence = said(why.title, why.sentence)
    if one.note and one.note != one.because:
        sentence = f"{sentence} “{one.note}”"
    return Event(
        one.at,
        "move",
        str(arrow),
        sentence,
        str(one.actor) if one.actor else _("the system"),
        tones.RECHARGE.get(S(one.target), ""),
        one.because,
        stage=_STAGE.get(S(one.target), 0),
    )


def _attempts(attempts: Sequence[PaymentAttempt]) -> Iterable[Event]:
    for one in attempts:
        amount = words.amount(one.amount_minor, one.currency)
        title = _("Payment attempt %(n)s: %(amount)s") % {"n": one.number, "amount": amount}
        parts = [words.method(one.binding), one.get_state_display()]
        if one.code:
            parts.append(_("rail's code %(code)s") % {"code": one.code})
        if one.decline_class:
            parts.append(one.get_decline_class_display())
        if one.provider_ref:
            parts.append(_("rail's reference %(ref)s") % {"ref": one.provider_ref})
        tone = tones.ATTEMPT.get(one.state, "")
        yield Event(
            one.created_at, "attempt", title, " · ".join(parts), "", tone, one.reference,
            url_of=one, stage=12,
        )  # fmt: skip


def _deliveries(deliveries: Sequence[Delivery]) -> Iterable[Event]:
    for one in deliveries:
        amount = words.amount(one.amount_minor, one.currency)
        title = _("Order %(n)s at the carrier: %(amount)s") % {"n": one.number, "amount": amount}
        parts = [one.get_state_display()]
        if one.credited_minor is not None:
            credited = words.amount(one.credited_minor, one.currency)
            parts.append(_("%(amount)s credited") % {"amount": credited})
        if one.code:
            parts.append(_("carrier's code %(code)s") % {"code": one.code})
        if one.carrier_ref:
            parts.append(_("carrier's reference %(ref)s") % {"ref": one.carrier_ref})
        yield Event(
            one.created_at, "delivery", title, " · ".join(parts), "", "", one.reference,
            url_of=one, stage=34,
        )  # fmt: skip


def _refunds(refunds: Sequence[Refund]) -> Iterable[Event]:
    for one in refunds:
        amount = words.amount(one.amount_minor, one.currency)
        parts = [one.get_state_display()]
        if one.requested_by:
            parts.append(_("asked for by %(who)s: “%(why)s”") % {
                "who": one.requested_by, "why": one.reason})  # fmt: skip
        if one.approved_by:
            parts.append(_("approved by %(who)s") % {"who": one.approved_by})
        yield Event(
            one.created_at, "refund", _("Refund: %(amount)s") % {"amount": amount},
            " · ".join(parts), "", tones.REFUND.get(one.state, ""), one.reference,
            url_of=one, stage=72,
        )  # fmt: skip


def _settlements(settlements: Sequence[Settlement]) -> Iterable[Event]:
    for one in settlements:
        asked = _("asked for by %(who)s: “%(why)s”") % {"who": one.requested_by, "why": one.reason}
        yield Event(
            one.created_at, "refund", said(_("At the rail"), one.get_finding_display()),
            f"{one.get_state_display()} · {asked}", "", tones.SETTLEMENT.get(one.state, ""),
            one.reference, url_of=one, stage=28,
        )  # fmt: skip


def _cases(recharge: Recharge) -> Iterable[Event]:
    """What called for a person, and what settled it."""
    related = ("recharge__line__carrier", "refund", "actor")
    for one in recharge.cases.order_by("pk").select_related(*related):
        why = words.case(one)
        yield Event(
            one.since, "case", said(_("For a person"), why.title), why.sentence, "", "bad",
            one.code, stage=92,
        )  # fmt: skip
        if one.settled_at is not None:
            yield _settled(one, why.title)


def _settled(one: Case, title: str) -> Event:
    who = str(one.actor) if one.actor else _("the system")
    return Event(
        one.settled_at or one.since, "case", said(_("Settled"), title),
        words.title(one.settled_by), who, "good", one.code, stage=94,
    )  # fmt: skip


def _calls(
    attempts: Sequence[PaymentAttempt], deliveries: Sequence[Delivery], refunds: Sequence[Refund]
) -> Iterable[Event]:
    """Every exchange, with what went out and what came back as it was kept: masked."""
    refund_refs = {one.reference for one in refunds}
    paid_by = [one.reference for one in attempts] + sorted(refund_refs)
    for call in RailCall.objects.filter(reference__in=paid_by).order_by("pk"):
        stage = 74 if call.reference in refund_refs else 14
        yield _call(call, _("Call to %(rail)s") % {"rail": words.rail(call.rail)}, stage=stage)
    reversals = {one.reversal_ref for one in refunds if one.reversal_ref}
    credited_by = [one.reference for one in deliveries] + sorted(reversals)
    for order in CarrierCall.objects.filter(reference__in=credited_by).order_by("pk"):
        stage = 62 if order.reference in reversals else 36
        yield _call(order, _("Call to the carrier"), stage=stage)


def _call(call: RailCall | CarrierCall, title: str, *, stage: int) -> Event:
    is_good = not call.error and getattr(call, "is_verified", True)
    doubt = "" if getattr(call, "is_verified", True) else _("The answer was not verified.")
    evidence = Evidence(
        call.kind,
        (
            (_("sent"), readable(call.request)),
            (_("received"), readable(call.response) or _("nothing")),
        ),
        is_good,
    )
    sentence = " ".join(part for part in (call.error, doubt) if part)
    return Event(
        call.at, "call", said(title, call.kind), sentence, "", "" if is_good else "warn",
        call.reference, evidence=(evidence,), stage=stage,
    )  # fmt: skip


def readable(text: str) -> str:
    """JSON on several lines; anything else as it is. Bounded: evidence may be hostile."""
    text = text[:_LONGEST]
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def _notifications(
    recharge: Recharge,
    attempts: Sequence[PaymentAttempt],
    deliveries: Sequence[Delivery],
    refunds: Sequence[Refund],
) -> Iterable[Event]:
    sent: list[PaymentAttempt | Delivery | Refund] = [*attempts, *deliveries, *refunds]
    known = Q(our_ref__in=[one.reference for one in sent])
    if theirs := [one.provider_ref for one in attempts if one.provider_ref]:
        # Of a dispute some rails name the payment by their own number alone.
        known |= Q(our_ref="", kind=NotificationKind.DISPUTE, provider_ref__in=theirs)
    for one in InboundNotification.objects.filter(known).order_by("pk"):
        yield _notification(one, recharge)


def _notification(one: InboundNotification, recharge: Recharge) -> Event:
    is_dispute = one.kind == NotificationKind.DISPUTE
    title = _("Dispute, told by %(source)s") if is_dispute else _("Notification from %(source)s")
    repeats = _("repeated %(n)s times") % {"n": one.repeats} if one.repeats else ""
    parts = [one.claims, repeats, words.acted(one.outcome)]
    evidence = Evidence(one.kind, ((_("received"), readable(one.body_masked)),))
    return Event(
        one.received_at,
        "notification",
        title % {"source": words.source(one.source, recharge.line.carrier)},
        " · ".join(part for part in parts if part),
        "",
        "bad" if is_dispute else "",
        one.our_ref or one.provider_ref,
        evidence=(evidence,),
        stage=15,
    )


def _transfers(recharge: Recharge) -> Iterable[Event]:
    """Entries of one kind and reference are one event: a charge with its discount and bonus."""
    together: dict[tuple[datetime, str], list[Transfer]] = defaultdict(list)
    for one in recharge.transfers.order_by("pk"):
        together[one.at, one.reference].append(one)
    for (at, reference), entries in together.items():
        lines = "; ".join(
            f"{one.get_kind_display()} {words.amount(one.amount_minor, one.currency)}"
            f" ({one.source} → {one.destination})"
            for one in entries
        )
        stage = max(_TRANSFER_STAGE.get(one.kind, 32) for one in entries)
        yield Event(at, "money", _("In the books"), lines, "", "", reference, stage=stage)


def _notices(recharge: Recharge) -> Iterable[Event]:
    found: Iterable[Notice] = (
        recharge.notices.order_by("pk")
        .select_related("line__carrier", "owner", "recharge")
        .prefetch_related("deliveries")
    )
    for one in found:
        told = notice_words(notice=one, language=get_language() or "en")
        channels = [
            said(delivery.get_channel_display(), delivery.get_state_display())
            for delivery in one.deliveries.all()
        ]
        yield Event(
            one.created_at, "notice", _("Told: %(title)s") % {"title": told.title},
            " · ".join([_("inbox"), *channels]), "", "", one.kind,
            evidence=(Evidence(_("the words"), (("", told.body),)),), stage=95,
        )  # fmt: skip

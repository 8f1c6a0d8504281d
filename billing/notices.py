"""What is told to whom, when and by which channel: once per person, kind and occurrence.

`tell` writes the fact in the transaction that made it true. The words are made when it is read or
sent, in the reader's language. What has to leave the house is sent later, outside any transaction.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext

from billing import channels as ways
from billing import promotions, reminders, rowsets
from billing.channels import CannotSend, Message
from billing.models import Notice, NoticeDelivery, NoticeKind, Rule
from billing.promotions import Quote
from billing.reminders import Reminder
from billing.rowsets import Column
from billing.states import Trigger
from billing.words import figures, reasons
from billing.words.figures import Phrasing
from billing.words.notices import IF_OFF, IF_ON, PHRASINGS

log = logging.getLogger(__name__)

# Longer than a whole batch takes while the mail server answers; when it does not, the batch ends.
LEASE = timedelta(minutes=10)
MAX_TRIES = 8
_BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60, 180, 360, 720))

# No reminder is sent earlier than this before its charge.
_NOTICES_SINCE = timedelta(days=40)

_NOTICE_COLUMNS = (
    Column("owner_id", "bigint"),
    Column("kind", "text"),
    Column("occurrence_key", "text"),
    Column("line_id", "bigint"),
    Column("recharge_id", "bigint"),
    Column("facts", "jsonb"),
    Column("created_at", "timestamptz"),
)
_DELIVERY_COLUMNS = (
    Column("notice_id", "bigint"),
    Column("channel", "text"),
    Column("state", "text"),
    Column("tries", "smallint"),
    Column("act_at", "timestamptz"),
    Column("error", "text"),
)
_ANYTHING = Phrasing(titles=("Keepline",), parts=(("{reason}", "Keepline"),))


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to tell. `facts` are JSON: minor units, currency, ISO instants, never secrets."""

    owner_id: int
    kind: str
    occurrence_key: str  # at most 80 characters: what "once" means
    line_id: int | None
    recharge_id: int | None
    facts: Mapping[str, Any]
    channels: Sequence[str]  # "inbox" and registered ones
    at: datetime


@dataclass(frozen=True, slots=True)
class Words:
    """A notice as its reader sees it. The title alone says amount, cause and result."""

    title: str
    body: str


def tell(
    *,
    owner_id: int,
    kind: str,
    occurrence_key: str,
    line_id: int | None = None,
    recharge_id: int | None = None,
    facts: Mapping[str, Any],
    channels: Sequence[str],
    at: datetime,
) -> bool:
    """Tell `owner_id` once. False: told before, and nothing was written. See `tell_many`."""
    one = Telling(owner_id, kind, occurrence_key, line_id, recharge_id, facts, channels, at)
    return tell_many([one]) == 1


def tell_many(tellings: Sequence[Telling]) -> int:
    """Tell each once, in the caller's transaction; how many were new. May be called again.

    The inbox always gets it. Other channels get a delivery, which `send_due` sends.
    """
    rows = [
        (
            one.owner_id,
            str(one.kind),
            one.occurrence_key,
            one.line_id,
            one.recharge_id,
            json.dumps(dict(one.facts)),
            one.at,
        )
        for one in tellings
    ]
    new = {
        (owner_id, kind, key): pk
        for pk, owner_id, kind, key in rowsets.insert(
            "billing_notice",
            _NOTICE_COLUMNS,
            rows,
            suffix="ON CONFLICT (owner_id, kind, occurrence_key) DO NOTHING "
            "RETURNING id, owner_id, kind, occurrence_key",
        )
    }
    _write_deliveries(tellings, new)
    return len(new)


def _write_deliveries(tellings: Sequence[Telling], new: Mapping[tuple[int, str, str], int]) -> None:
    """One for each channel of a notice that is new; of two alike in a batch, the first counts."""
    deliveries: dict[tuple[int, str], datetime] = {}
    for one in tellings:
        notice_id = new.get((one.owner_id, str(one.kind), one.occurrence_key))
        for channel in one.channels if notice_id is not None else ():
            if channel != "inbox" and notice_id is not None:
                deliveries.setdefault((notice_id, channel), one.at)
    rowsets.insert(
        "billing_noticedelivery",
        _DELIVERY_COLUMNS,
        [
            (notice_id, channel, NoticeDelivery.State.WAITING.value, 0, act_at, "")
            for (notice_id, channel), act_at in deliveries.items()
        ],
    )


def words(*, notice: Notice, language: str) -> Words:
    """What `notice` says in `language`. Never raises, whatever its facts hold.

    Reads the notice's line and owner: select_related("line", "owner") where there are many.
    """
    phrasing = PHRASINGS.get(notice.kind, _ANYTHING)
    line = notice.line
    timezone = line.timezone if line else notice.owner.timezone
    facts = dict(notice.facts) | ({"line": line.label or line.masked} if line else {})
    with translation.override(language):
        known = figures.written(facts, timezone=timezone, at=notice.created_at)
        if "is_on" in facts:
            known["outlook"] = str(IF_ON if facts["is_on"] else IF_OFF)
        known |= _reason(facts, language=language, timezone=timezone, at=notice.created_at)
        return Words(figures.title_of(phrasing, known), figures.body_of(phrasing, known))


def _reason(
    facts: Mapping[str, Any], *, language: str, timezone: str, at: datetime
) -> dict[str, str]:
    code = str(facts.get("code") or "")
    if not reasons.knows(code):
        return {}
    said = reasons.reason(code=code, facts=facts, language=language, timezone=timezone, at=at)
    return {"reason_title": said.title, "reason": said.sentence}


def mark_read(*, owner_id: int, notice_ids: Sequence[int], at: datetime) -> int:
    """Mark one person's notices as read; how many were unread. Others' are left alone."""
    unread = Notice.objects.filter(owner=owner_id, pk__in=notice_ids, read_at__isnull=True)
    return unread.update(read_at=at)


# --- before a charge ----------------------------------------------------------------------------


def upcoming_sweep(*, at: datetime, limit: int) -> int:
    """Remind of up to `limit` charges that draw near, and set each rule's next reminder.

    How many rules were looked at. May run anywhere, any number at once. A rule that cannot be read
    is logged and left for a day, and stops only itself.
    """
    with transaction.atomic():
        rules = list(
            Rule.objects.filter(notify_at__lte=at)
            .order_by("notify_at")
            .select_for_update(skip_locked=True, no_key=True, of=("self",))
            .select_related("line__carrier", "binding__rail")[:limit]
        )
        book = promotions.Book.load(at=at, is_locked=False) if rules else None
        tellings = [_look(rule, book=book, at=at) for rule in rules]
        tell_many([one for one in tellings if one is not None])
        Rule.objects.bulk_update(rules, ["notify_at"])
    return len(rules)


def _look(rule: Rule, *, book: promotions.Book | None, at: datetime) -> Telling | None:
    """The reminder of one rule, if one is due; sets `notify_at` on the instance."""
    try:
        reminder = reminders.due(rule, at=at)
        rule.notify_at = reminders.next_at(rule, at=at)
        return _reminder(rule, reminder, book=book, at=at) if reminder else None
    except rowsets.POISON:
        log.exception("rule %s cannot be reminded of", rule.pk)
        rule.notify_at = at + timedelta(days=1)
        return None


def _reminder(
    rule: Rule, reminder: Reminder, *, book: promotions.Book | None, at: datetime
) -> Telling:
    """What is announced is the most that will be taken; an offer may have ended by then."""
    rail = rule.binding.rail_id if rule.binding else ""
    given = Quote.none()
    if book is not None:
        given = book.quote(
            line_id=rule.line_id,
            rail=rail,
            carrier=rule.line.carrier.code,
            trigger=Trigger.SCHEDULE,
            face_minor=rule.face_minor,
            currency=rule.currency,
            min_price_minor=1,
            at=reminder.due_at,
        )
    facts = {
        "face_minor": rule.face_minor,
        "discount_minor": given.discount_minor,
        "bonus_minor": given.bonus_minor,
        "currency": rule.currency,
        "rail": rail,
        "at": reminder.due_at.isoformat(),
    }
    if reminder.days_left > 0:
        facts["days"] = reminder.days_left
    key = f"{rule.pk}:{reminder.period_key}:{reminder.days}:{rule.face_minor}"
    return Telling(
        rule.line.owner_id,
        NoticeKind.UPCOMING_CHARGE,
        key,
        rule.line_id,
        None,
        facts,
        rule.channels,
        at,
    )


def mandatory_notice_sent(*, rule: Rule, due_at: datetime, days: int) -> bool:
    """Whether the charge at `due_at` was announced `days` local days before, at no lower amount.

    Announced is what got out: by the inbox where the rule names nothing else, else by one of its
    other channels. Changes nothing.
    """
    zone = ZoneInfo(rule.line.timezone)
    no_later_than = due_at.astimezone(zone).date() - timedelta(days=days)
    told = Notice.objects.filter(
        line=rule.line_id,
        kind=NoticeKind.UPCOMING_CHARGE,
        occurrence_key__startswith=f"{rule.pk}:",
        created_at__gte=due_at - _NOTICES_SINCE,
    ).prefetch_related("deliveries")
    return any(
        one.created_at.astimezone(zone).date() <= no_later_than
        and _announces(one, due_at=due_at, face_minor=rule.face_minor)
        and _got_out(one)
        for one in told
    )


def _announces(notice: Notice, *, due_at: datetime, face_minor: int) -> bool:
    is_same = datetime.fromisoformat(notice.facts["at"]) == due_at
    return is_same and notice.facts["face_minor"] >= face_minor


def _got_out(notice: Notice) -> bool:
    states = [delivery.state for delivery in notice.deliveries.all()]
    return not states or NoticeDelivery.State.SENT in states


# --- sending ------------------------------------------------------------------------------------


def send_due(
    *, at: datetime, limit: int, page_of: Callable[[Notice], str] = lambda _notice: ""
) -> int:
    """Send up to `limit` deliveries that are due; how many were tried. No transaction is open.

    `page_of`: the address of the page about a notice, which the message names; "": none.

    At least once: a worker that dies after sending leaves a lease, and the mail is sent again under
    the same reference. A server that is down ends the batch, and the rest waits for the next.
    """
    leased = _lease(at=at, limit=limit)
    for number, delivery in enumerate(leased, start=1):
        try:
            _send(delivery, page=page_of(delivery.notice))
        except CannotSend as refusal:
            _record_failure(delivery, refusal, at=at)
            if refusal.is_outage:
                _give_back(leased[number:])
                return number
        else:
            _record(delivery, state=NoticeDelivery.State.SENT, sent_at=at, act_at=None, error="")
    return len(leased)


def _lease(*, at: datetime, limit: int) -> list[NoticeDelivery]:
    """Committed before anything is sent. The try is counted now, so a crash counts as one."""
    with transaction.atomic():
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=at)
        picked = (
            NoticeDelivery.objects.filter(free, act_at__lte=at)
            .order_by("act_at")
            .select_for_update(no_key=True, skip_locked=True)
            .values_list("pk", flat=True)[:limit]
        )
        ids = list(picked)
        leased = NoticeDelivery.objects.filter(pk__in=ids)
        leased.update(lease_until=at + LEASE, tries=F("tries") + 1)
    return list(
        leased.select_related("notice__owner", "notice__line", "notice__recharge").order_by(
            "act_at", "pk"
        )
    )


def _send(delivery: NoticeDelivery, *, page: str) -> None:
    """Raises CannotSend, also for a row that cannot be put into words."""
    notice, owner = delivery.notice, delivery.notice.owner
    try:
        said = words(notice=notice, language=owner.language)
        message = Message(
            reference=f"notice-{notice.pk}",
            email=owner.email or "",
            title=said.title,
            body=_letter(said.body, page=page, language=owner.language),
        )
        ways.get(delivery.channel).send(message=message)
    except rowsets.POISON as error:
        log.exception("notice %s cannot be sent", notice.pk)
        raise CannotSend(type(error).__name__) from error


def _letter(body: str, *, page: str, language: str) -> str:
    """What is said, where to see more of it, and how to have fewer of these."""
    if not page:
        return body
    with translation.override(language):
        more = gettext("See it here: %(page)s") % {"page": page}
        fewer = gettext("Which messages are mailed is set in the auto-recharge of each line.")
    return f"{body}\n\n{more}\n\n{fewer}\n"


def _record_failure(delivery: NoticeDelivery, refusal: CannotSend, *, at: datetime) -> None:
    is_over = refusal.is_final or delivery.tries >= MAX_TRIES
    _record(
        delivery,
        state=NoticeDelivery.State.FAILED if is_over else NoticeDelivery.State.WAITING,
        sent_at=None,
        act_at=None if is_over else at + _BACK_OFF[delivery.tries - 1],
        error=str(refusal)[:200],
    )


def _record(delivery: NoticeDelivery, **changes: Any) -> None:
    """Only under our own lease: whoever took over after it ran out has the say."""
    ours = NoticeDelivery.objects.filter(pk=delivery.pk, lease_until=delivery.lease_until)
    ours.update(lease_until=None, **changes)


def _give_back(deliveries: Sequence[NoticeDelivery]) -> None:
    """Not tried after all."""
    for delivery in deliveries:
        _record(delivery, tries=F("tries") - 1)

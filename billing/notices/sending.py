"""What has to leave the house: notices are sent by their channels, outside any transaction."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext

from billing import rowsets
from billing.models import Notice, NoticeDelivery
from billing.notices import channels
from billing.notices.channels import CannotSend, Message
from billing.notices.telling import words

log = logging.getLogger(__name__)

# Longer than a whole batch takes while the mail server answers; when it does not, the batch ends.
LEASE = timedelta(minutes=10)
MAX_TRIES = 8
_BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60, 180, 360, 720))


def send_due(
    *, at: datetime, limit: int, page_of: Callable[[Notice], str] = lambda _notice: ""
) -> int:
    """Send up to `limit` deliveries that are due; how many were tried. No transaction is open.

    `page_of`: the address of the page about a notice, which the message names; "": none.

    At least once: a worker that dies after sending leaves a lease, and the mail is sent again under
    the same reference. A server that is down ends the batch, and the rest waits for the next.
    """
    leased = _lease(at=at, limit=limit)
    with channels.EMAIL.kept_open():
        return _send_each(leased, at=at, page_of=page_of)


def _send_each(
    leased: Sequence[NoticeDelivery], *, at: datetime, page_of: Callable[[Notice], str]
) -> int:
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
        channels.get(delivery.channel).send(message=message)
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


def _record(delivery: NoticeDelivery, **changes: object) -> None:
    """Only under our own lease: whoever took over after it ran out has the say."""
    ours = NoticeDelivery.objects.filter(pk=delivery.pk, lease_until=delivery.lease_until)
    ours.update(lease_until=None, **changes)


def _give_back(deliveries: Sequence[NoticeDelivery]) -> None:
    """Not tried after all."""
    for delivery in deliveries:
        _record(delivery, tries=F("tries") - 1)

"""What rails and carriers send us: kept before it is acknowledged, then acted on once.

A message is a reason to ask its sender, never a truth by itself (rule 20). So its order, its
repeats and its contents decide nothing: acting on it means having the right row looked at now. It
is done when that is arranged, and not before; until then it waits here.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from billing import nudges, rowsets
from billing.bindings import breaker
from billing.gateways.base import Notification, NotificationKind
from billing.models import Binding, InboundNotification, PaymentAttempt
from billing.recharges import waking
from billing.refunds import approvals, disputes
from lines.carriers.base import CarrierEvent, CarrierEventKind
from lines.models import LIVE_STATUSES, Line

log = logging.getLogger(__name__)

_LONGEST_BODY = 20_000
TRIED_FOR = timedelta(days=7)  # one that cannot be acted on; then it stays with a person
_ACCEPT = """
INSERT INTO billing_inboundnotification AS n
  (source, dedupe_id, kind, our_ref, provider_ref, refund_ref, claims, dispute_ref, said_at,
   amount_minor, body_masked, received_at, repeats, outcome)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, '')
ON CONFLICT (source, dedupe_id) DO UPDATE SET repeats = n.repeats + 1
RETURNING n.repeats = 0"""


def accept(*, source: str, note: Notification | CarrierEvent, at: datetime) -> bool:
    """Keep a verified message and have it acted on: both or neither. False: had it already.

    `source` is "rail:<code>" or "carrier:<code>". Acknowledge only once this has returned. May be
    called any number of times at once: there is one row, and it counts the repeats.
    """
    with transaction.atomic():
        [is_new] = rowsets.column(_ACCEPT, [source, *_columns(source, note), at], of=bool)
        if is_new:
            nudges.money()
    return is_new


def _columns(source: str, note: Notification | CarrierEvent) -> list[object]:
    """From `dedupe_id` to `body_masked`, cut to what the columns hold. No longer one is ours."""
    if isinstance(note, CarrierEvent):
        is_topup = note.kind == CarrierEventKind.TOPUP
        our_ref = note.reference if is_topup else _line_ref(source, note.resource)
        texts = [str(note.kind), our_ref, note.carrier_ref, "", note.claims, ""]
        said_at, amount_minor = None, None
    else:
        # A rail's own number of an agreement lets us charge: sealed where it is kept, so not here.
        provider_ref = "" if note.kind is NotificationKind.BINDING else note.provider_ref
        texts = [str(note.kind), note.our_ref, provider_ref, note.refund_ref, note.claims]
        texts.append(note.dispute_ref)
        said_at, amount_minor = note.said_at, note.amount_minor
    limits = (20, 40, 128, 40, 60, 64)
    cut = [_clean(text)[:limit] for text, limit in zip(texts, limits, strict=True)]
    when = [said_at, amount_minor]
    return [_dedupe_id(note), *cut, *when, _clean(note.body_masked)[:_LONGEST_BODY]]


def _dedupe_id(note: Notification | CarrierEvent) -> str:
    """The sender's own id of the message; its digest where it would not fit, cut it could clash."""
    given = note.dedupe_id
    is_fit = len(given) <= 128 and given == _clean(given)
    return given if is_fit else hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()


def _line_ref(source: str, resource: str) -> str:
    """Our name for the line a carrier speaks of; its number is not kept. Empty: none of ours."""
    carrier = source.removeprefix("carrier:")
    ours = Line.objects.filter(carrier__code=carrier, status__in=LIVE_STATUSES)
    by_number = ours.filter(msisdn=resource) | ours.filter(iccid=resource, msisdn="")
    line = by_number.first() if resource else None
    return line.public_id if line else ""


def _clean(text: str) -> str:
    """PostgreSQL texts hold no NUL."""
    return text.replace("\x00", "\ufffd")


def process(*, at: datetime, limit: int) -> int:
    """Act on up to `limit` messages that are not done; how many were looked at.

    Each in a transaction of its own. May run anywhere, any number at once. One that cannot be
    acted on yet, or at all, waits behind those that have not been tried, and stops only itself.
    """
    unreadable = Q(outcome=_FAILED, received_at__lt=at - TRIED_FOR)
    waiting = InboundNotification.objects.filter(done_at__isnull=True).exclude(unreadable)
    ids = list(waiting.order_by("outcome", "received_at").values_list("pk", flat=True)[:limit])
    kinds = {_process_one(pk, at=at) for pk in ids}
    if kinds & _SLOW_KINDS:
        nudges.slow()  # once for all of them: a storm of messages is no storm of tasks
    return len(ids)


def _process_one(pk: int, *, at: datetime) -> str:
    """Its kind, where it was acted on. A poisoned one is marked, and tried again after the rest."""
    try:
        with transaction.atomic():
            return _act(pk, at=at)
    except rowsets.POISON:
        log.exception("message %s cannot be acted on", pk)
        InboundNotification.objects.filter(pk=pk, done_at=None).update(outcome=_FAILED)
        return ""


def _act(pk: int, *, at: datetime) -> str:
    waiting = InboundNotification.objects.filter(pk=pk, done_at__isnull=True)
    row = waiting.select_for_update(no_key=True, skip_locked=True).first()
    if row is None:
        return ""  # another worker has it, or has done it
    act = _ACTS.get((row.source.split(":")[0], row.kind))
    if act is None:
        log.error("message %s is of a kind nobody acts on: %s", pk, row.kind)
    row.outcome = act(row, at) if act else "no such kind"
    if row.outcome != _WAITING:
        row.done_at = at
    row.save(update_fields=["outcome", "done_at"])
    return row.kind


# --- one act a kind: what was arranged, or that it has to wait ----------------------------------

# `process` goes by their order: not tried yet (""), to be tried again, failed.
_WAITING, _FAILED = "again later", "failed"
_WOKEN, _NOT_OURS, _NOTHING = "woken", "not ours", "nothing to do"
# These have an agreement or a balance asked for.
_SLOW_KINDS = {NotificationKind.BINDING, CarrierEventKind.BALANCE}


def _charge(row: InboundNotification, at: datetime) -> str:
    if not PaymentAttempt.objects.filter(reference=row.our_ref).exists():
        return _not_ours(row)
    return _WOKEN if waking.wake(reference=row.our_ref, at=at) else _WAITING


def _refund(row: InboundNotification, at: datetime) -> str:
    """Of a refund made at the rail itself there is no row to wake: reconciliation finds it."""
    if not row.refund_ref:
        return _not_ours(row)
    return _WOKEN if approvals.wake(reference=row.refund_ref, at=at) else _WAITING


def _binding(row: InboundNotification, at: datetime) -> str:
    """One that has ended stays so; any other is asked about now, an abandoned one too."""
    named = Binding.objects.filter(ref=row.our_ref, rail__code=row.source.removeprefix("rail:"))
    if not named.exists():
        return _not_ours(row)
    named.exclude(state__in=breaker.ENDED_STATES).update(check_at=at)
    return _WOKEN


def _dispute(row: InboundNotification, at: datetime) -> str:
    return disputes.told(row, at=at) or _not_ours(row)


def _other(row: InboundNotification, at: datetime) -> str:
    return _NOTHING


def _topup(row: InboundNotification, at: datetime) -> str:
    is_woken = waking.wake_delivery(reference=row.our_ref, carrier_ref=row.provider_ref, at=at)
    return _WOKEN if is_woken else _WAITING


def _balance(row: InboundNotification, at: datetime) -> str:
    if not row.our_ref:
        return _not_ours(row)
    live = Line.objects.filter(public_id=row.our_ref, status__in=LIVE_STATUSES)
    live.update(poll_at=at)
    return _WOKEN


def _not_ours(row: InboundNotification) -> str:
    log.warning("message %s from %s names nothing of ours", row.pk, row.source)
    return _NOT_OURS


_ACTS: dict[tuple[str, str], Callable[[InboundNotification, datetime], str]] = {
    ("rail", NotificationKind.CHARGE): _charge,
    ("rail", NotificationKind.REFUND): _refund,
    ("rail", NotificationKind.BINDING): _binding,
    ("rail", NotificationKind.DISPUTE): _dispute,
    ("rail", NotificationKind.OTHER): _other,
    ("carrier", CarrierEventKind.TOPUP): _topup,
    ("carrier", CarrierEventKind.BALANCE): _balance,
}

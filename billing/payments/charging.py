"""The payment leg: look once more, commit the reference, call, commit the outcome.

`begin` and `record` are transactions; `ask` is the call between them and opens none. A success of
the right amount is written set-wise; everything rarer goes through `answers`, a row at a time.
"""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from billing import calendar, rowsets, states
from billing.bindings import breaker
from billing.casebook import Heard
from billing.gateways.base import Answer, Capabilities, ChargeRequest, Gateway, Succeeded, Unknown
from billing.ledger import transfers
from billing.models import Binding
from billing.payments import advance_notice, announcements, answers, recounting, reopening, tries
from billing.recharges import (
    aftermath,
    claims,
    disputed,
    evidence,
    intents,
    machine,
    recipients,
    waking,
)
from billing.recharges.claims import Work
from billing.recharges.ladders import DEFERRED_RECHECK
from billing.recharges.machine import Move
from billing.recharges.recipients import Recipient
from billing.rowsets import Column
from billing.rules import agreed, deciding, gathering
from billing.states import RechargeState
from lines.models import LineStatus
from lines.references import new_reference

log = logging.getLogger(__name__)

S = RechargeState

_SETTLED_COLUMNS = (
    Column("reference", "text"),
    Column("provider_ref", "text"),
    Column("at", "timestamptz"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that was made: what was claimed, and what came back."""

    row: Work
    answer: Answer


# --- before the call ----------------------------------------------------------------------------


def obstacle(row: Work, *, gateway: Gateway | None, at: datetime) -> Move | None:
    """What stands between a due recharge and its charge, as the move it causes. None: charge.

    Everything is looked at again here, not only when it was scheduled (rule 23).
    """
    if row.crash_count > claims.MAX_CRASHES:
        return row.move(S.REVIEW, "crashed", None, attention="crashed")
    if row.line_status not in (LineStatus.ACTIVE, LineStatus.EXPIRED) or (
        not recipients.is_same(row)
    ):
        return row.move(S.CANCELED, "line_gone", None)
    if row.rule_id is not None and _is_stopped(row, at=at):
        return row.move(S.CANCELED, "rule_stopped", None)
    if row.binding_state != "active" or row.binding_paused_at is not None:
        return row.move(S.CANCELED, "binding_ended", None)
    if because := _misfit(row, gateway=gateway, at=at):
        return row.move(S.CANCELED, because, None)
    return _too_late(row, at=at) or _wait(row, gateway=gateway, at=at)


def _misfit(row: Work, *, gateway: Gateway | None, at: datetime) -> str:
    """Why it is no longer what its owner agreed to last, or what the line needs."""
    because = agreed.misfit(row)
    if because or not (row.is_early and agreed.is_above(row)) or gateway is None:
        return because
    # Opened by the forecast before it was low: whether that still says so.
    outlook = gathering.outlooks([row.line_id], at=at).get(row.line_id)
    lasts = outlook is not None and not deciding.is_running_out(
        runs_out_at=outlook.runs_out_at, lead=_as_used(row, gateway.capabilities).lead, at=at
    )
    return agreed.NOT_LOW if lasts else ""


def _as_used(row: Work, rail: Capabilities) -> Capabilities:
    return gathering.told_first(rail, notice_h=row.notice_h)


def _too_late(row: Work, *, at: datetime) -> Move | None:
    """Its window is over: nothing is charged later, whatever kept it from being sent."""
    is_announced_over = row.latest_charge_at is not None and at > row.latest_charge_at
    if not is_announced_over and at <= _charge_until(row):
        return None
    because = advance_notice.end_of(row) or "window_over"
    return row.move(_end_of(row, is_announced_over), because, None)


def _end_of(row: Work, is_announced_over: bool) -> RechargeState:
    """Missed, where no try of it was answered by a no; of each state what may follow it."""
    if row.state != S.DUE.value:
        return S.FAILED if row.state == S.DECLINED.value else S.MISSED
    was_tried = row.attempt_count if is_announced_over else row.declines
    return S.FAILED if was_tried else S.MISSED


def _charge_until(row: Work) -> datetime:
    """An announcement says itself how long it is good for, however long it took to be made."""
    return max(row.charge_until, row.latest_charge_at or row.charge_until)


def _is_stopped(row: Work, *, at: datetime) -> bool:
    """Its owner or the system stopped the rule. That a *first* binding failed does not stop the
    second one, which is what it was consented to for."""
    if row.rule_is_on and row.rule_pause_reason in breaker.REASONS and agreed.is_second(row):
        return False
    # A pause is about when money was to move, not when a worker came (rule 12a): what is announced
    # for a day after it may stand, and what fell due in it is not made good after it.
    fell_due_at = max(row.act_at or at, row.due_at)
    is_resting = row.rule_paused_until is not None and row.rule_paused_until > fell_due_at
    return not row.rule_is_on or row.rule_paused_at is not None or is_resting


def _wait(row: Work, *, gateway: Gateway | None, at: datetime) -> Move | None:
    """The incident switches and the rail's hours defer; they never drop."""
    if gateway is None or not row.rail_enabled or row.rail_deferred_since is not None:
        return row.move(S.WAITING, "rail_deferred", at + DEFERRED_RECHECK)
    if row.carrier_deferred_since is not None:
        return row.move(S.WAITING, "carrier_deferred", at + DEFERRED_RECHECK)
    if row.earliest_charge_at is not None and row.earliest_charge_at > at:
        return row.move(S.WAITING, "announced", row.earliest_charge_at)
    if (slow_from := _slow_from(row, rail=gateway.capabilities, at=at)) is not None:
        return row.move(S.WAITING, "fresh_agreement", slow_from)
    opens_at = calendar.next_open(hours=gateway.capabilities.hours, at=at)
    return row.move(S.WAITING, "outside_hours", opens_at) if opens_at > at else None


def _slow_from(row: Work, *, rail: Capabilities, at: datetime) -> datetime | None:
    """A rail that is slow, but not in an agreement's first hours: what is sent ahead of its day
    waits for those to be over, or the money would move on another day than was told."""
    if not rail.no_delay_for or row.binding_signed_at is None or row.due_at <= at:
        return None
    slow_from = row.binding_signed_at + rail.no_delay_for
    return min(slow_from, row.due_at) if slow_from > at else None


def begin(rows: Sequence[Work], *, at: datetime, rails: Mapping[str, Capabilities]) -> list[Work]:
    """Commit a reference for each due row and mark it charging; the rows that are now ours to send.

    A reference that the rail has never heard of is used again rather than replaced.
    """
    if not rows:
        return []
    with transaction.atomic():
        going, full = recounting.with_room(
            rows, at=at, rails=rails, when=lambda row: _taken_at(row, at=at, rails=rails)
        )
        going, spent = tries.with_tries_left(going, at=at, rails=rails)
        told, untold = advance_notice.told(going, at=at)
        ready = [
            row if claims.is_live_attempt(row) else _with_reference(row)
            for row in announcements.only_one_each(told, at=at, rails=rails)
        ]
        moved = machine.move(
            [
                row.move(
                    S.CHARGING,
                    "sent",
                    at,
                    keeps_lease=True,
                    keeps_crashes=True,
                    new_attempts=0 if row.attempt_id else 1,
                    heard=Heard.NOTHING,
                )
                for row in ready
            ],
            at=at,
        )
        mine = [row for row in ready if row.id in moved]
        intents.charges([row for row in mine if not row.attempt_id], at=at)
    answers.set_aside([*full, *untold], at=at)
    tries.set_aside(spent, at=at, rails=rails)
    return [row._replace(state=S.CHARGING.value) for row in mine]


def _taken_at(row: Work, *, at: datetime, rails: Mapping[str, Capabilities]) -> datetime:
    return gathering.taken(rails[row.rail], sent_at=at, signed_at=row.binding_signed_at)


def _with_reference(row: Work) -> Work:
    return row._replace(
        attempt_id=0,
        payment_ref=new_reference(),
        amount_minor=row.price_minor,
        attempt_created_at=None,
        attempt_count=row.attempt_count + 1,
    )


def agreements(rows: Sequence[Work]) -> dict[int, str]:
    """The rails' own numbers of the rows' agreements, unsealed for this batch, by binding."""
    ids = {row.binding_id for row in rows}
    return dict(Binding.objects.filter(pk__in=ids).values_list("pk", "provider_ref"))


# --- the call -----------------------------------------------------------------------------------


def charge(
    row: Work,
    *,
    gateway: Gateway,
    notify_url: str,
    return_url: str,
    provider_binding_ref: str,
) -> Answer:
    """Send the committed reference. No transaction is open."""
    return gateway.charge(
        request=ChargeRequest(
            reference=row.payment_ref,
            provider_binding_ref=provider_binding_ref,
            amount_minor=row.price_minor,
            currency=row.currency,
            description=f"Keepline {row.ref}",
            notify_url=notify_url,
            first_sent_at=row.attempt_created_at,
            return_url=return_url,
        )
    )


def query(row: Work, *, gateway: Gateway, provider_binding_ref: str) -> Answer:
    """Ask what became of the last reference. No transaction is open."""
    return gateway.query(
        reference=row.payment_ref,
        provider_ref=row.provider_charge_ref,
        provider_binding_ref=provider_binding_ref,
    )


# --- after the call -----------------------------------------------------------------------------


def record(asked: Sequence[Asked], *, at: datetime, context: answers.Context) -> list[Work]:
    """Commit what came back; the rows that are paid and now delivering, ready for the carrier.

    Successes go together. If that fails they go one by one, so a poisoned row stops only itself.
    """
    asked = [
        replace(one, row=reopening.reopened(one.row, one.answer.outcome, at=at)) for one in asked
    ]
    paid = [one for one in asked if _is_clean_success(one)]
    try:
        delivering = _record_paid(paid, at=at)
    except rowsets.POISON:
        log.exception("a batch of payments failed to be recorded; one by one")
        delivering = [row for one in paid for row in _record_alone(one, at=at)]
    clean = {id(one) for one in paid}
    for one in asked:
        if id(one) not in clean:
            answers.payment(row=one.row, answer=one.answer, at=at, context=context)
    return delivering


def _record_alone(one: Asked, *, at: datetime) -> list[Work]:
    try:
        return _record_paid([one], at=at)
    except rowsets.POISON:
        # The money is taken and the row still says charging: its lease runs out and it is asked
        # about again; the crash counter ends that after three.
        log.exception("payment of recharge %s cannot be recorded", one.row.id)
        return []


def _is_clean_success(one: Asked) -> bool:
    """Paid, in the amount and currency asked for, and from a state that awaits it."""
    outcome = one.answer.outcome
    return (
        isinstance(outcome, Succeeded)
        and outcome.amount_minor == one.row.amount_minor
        and outcome.currency == one.row.currency
        and one.row.state in states.PAYING_STATES
    )


def _record_paid(paid: Sequence[Asked], *, at: datetime) -> list[Work]:
    if not paid:
        return []
    with transaction.atomic():
        evidence.record_rail_calls([(one.row.rail, one.answer) for one in paid], at=at)
        ended = claims.gone_lines([one.row for one in paid])
        held = disputed.among([one.row.id for one in paid if _was_sent_before(one.row)])
        moved = machine.move(
            [
                _paid_move(one.row, ended=ended, is_disputed=one.row.id in held, at=at)
                for one in paid
            ],
            at=at,
        )
        mine = [one for one in paid if one.row.id in moved]
        _have_asked_again([one for one in paid if one.row.id not in moved], at=at)
        _settle_attempts(mine, at=at)
        transfers.post([entry for one in mine for entry in _entries(one.row, at=at)])
        going = [
            _with_delivery(one.row)
            for one in mine
            if one.row.id not in held and _goes_on(one.row, ended=ended, at=at)
        ]
        intents.deliveries(going, at=at)
        aftermath.paid(
            promoted_ids=[r.row.id for r in mine if r.row.discount_minor or r.row.bonus_minor],
            binding_ids=[one.row.binding_id for one in mine],
        )
    return going


def _have_asked_again(lost: Sequence[Asked], *, at: datetime) -> None:
    """Money moved, and another worker has decided already, perhaps without knowing of it."""
    for one in lost:
        waking.wake(reference=one.row.payment_ref, at=at)


def _was_sent_before(row: Work) -> bool:
    """Whether its payer could have disputed it by now: not what was sent in this very batch."""
    return row.state != S.CHARGING.value or row.attempt_created_at is not None


def _paid_move(row: Work, *, ended: Set[int], is_disputed: bool, at: datetime) -> Move:
    if is_disputed:
        return row.move(S.CHARGED, "paid", None, charged_at=at, attention=machine.DISPUTED)
    if row.carrier_deferred_since is not None and row.line_id not in ended:
        act_at = at + DEFERRED_RECHECK
        return row.move(S.CHARGED, "carrier_deferred", act_at, charged_at=at)
    if not _goes_on(row, ended=ended, at=at):
        return row.move(S.CHARGED, "paid", at, charged_at=at)  # looked at by `crediting.begin`
    return row.move(S.DELIVERING, "paid", at, keeps_lease=True, charged_at=at, new_deliveries=1)


def _goes_on(row: Work, *, ended: Set[int], at: datetime) -> bool:
    """Whether what was paid just now may be credited in the same breath."""
    is_there = recipients.recipient(row, ended=ended, at=at) is Recipient.THERE
    return is_there and row.carrier_deferred_since is None


def _settle_attempts(paid: Sequence[Asked], *, at: datetime) -> None:
    rowsets.update(
        "billing_paymentattempt",
        _SETTLED_COLUMNS,
        [_settled(one, at=at) for one in paid],
        assign="state = 'succeeded', provider_ref = v.provider_ref, settled_at = v.at",
        where="t.reference = v.reference",
    )


def _settled(one: Asked, *, at: datetime) -> tuple[object, ...]:
    outcome = one.answer.outcome
    assert isinstance(outcome, Succeeded)  # noqa: S101 - `_is_clean_success` chose it
    return one.row.payment_ref, outcome.provider_ref[:64], at


def _entries(row: Work, *, at: datetime) -> list[transfers.Entry]:
    return transfers.charged(
        recharge_id=row.id,
        reference=row.payment_ref,
        rail_code=row.rail,
        price_minor=row.price_minor,
        discount_minor=row.discount_minor,
        bonus_minor=row.bonus_minor,
        currency=row.currency,
        at=at,
    )


def _with_delivery(row: Work) -> Work:
    return row._replace(
        state=S.DELIVERING.value,
        delivery_ref=new_reference(),
        delivery_count=row.delivery_count + 1,
        carrier_ref="",
    )


def unusable(error: Exception) -> Answer:
    """A call that broke in our own code: whether anything was sent is not known."""
    return Answer(Unknown(f"{type(error).__name__} in the adapter"))

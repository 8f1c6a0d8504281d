"""Everything but a clean success: what each answer means for one recharge, a row at a time.

Three rules hold throughout. Unknown is never failure: no new reference, no other rail, no refund
while it lasts. A decline is a definite answer and nothing else. And what no rule covers goes to a
person, with the evidence, and stays as it is.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing import rowsets
from billing.bindings import breaker
from billing.casebook import Heard
from billing.gateways.base import (
    ActionRequired,
    Answer,
    Capabilities,
    Closed,
    NotFound,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.models import NoticeKind, PaymentAttempt, Recharge
from billing.notices import telling
from billing.payments import declines, fallbacks, overdue, reopening, retries
from billing.payments.recounting import Full
from billing.recharges import claims, evidence, ladders, machine
from billing.recharges.claims import Work
from billing.recharges.machine import LostRace, Move
from billing.rules import agreed, owed
from billing.states import (
    CANCELABLE_STATES,
    PAYING_STATES,
    UNPAID_END_STATES,
    AttemptState,
    DeclineClass,
)
from billing.states import RechargeState as S

log = logging.getLogger(__name__)

ACTION_RECHECK, MOMENT, NO_WAIT = timedelta(minutes=10), timedelta(seconds=1), timedelta(0)


@dataclass(frozen=True, slots=True)
class Context:
    """What a batch knows besides its rows: read once, handed to each."""

    codes: declines.Table
    capabilities: Mapping[str, Capabilities]


def payment(*, row: Work, answer: Answer, at: datetime, context: Context) -> None:
    """Commit the evidence and what follows from an answer about a payment. Fenced; never raises
    for a lost race, since whoever won it knows more."""
    try:
        with transaction.atomic():
            evidence.record_rail_calls([(row.rail, answer)], at=at)
            if row.state in PAYING_STATES:
                _HANDLERS[type(answer.outcome)](row, answer.outcome, at, context)
            elif claims.is_doubted(row) and row.state in CANCELABLE_STATES:
                grace = context.capabilities[row.rail].not_found_grace
                reopening.ended_indeed(row, answer.outcome, grace=grace, at=at)
            else:
                reopening.contradiction(row, answer.outcome, at=at)
    except LostRace:
        log.info("recharge %s was settled by another worker", row.id)
    except rowsets.POISON:
        log.exception("answer about recharge %s cannot be recorded", row.id)


# --- one handler an outcome ---------------------------------------------------------------------


def _succeeded(row: Work, outcome: Succeeded, at: datetime, context: Context) -> None:
    """Money moved, but not what was asked for: nobody but a person settles that."""
    del outcome, context
    target = S.PAYMENT_UNKNOWN if row.state == S.ACTION_REQUIRED.value else S.REVIEW
    machine.move_one(row.move(target, "amount_differs", None, attention="amount_differs"), at=at)
    _mark(row, AttemptState.UNKNOWN)


def _pending(row: Work, outcome: Pending, at: datetime, context: Context) -> None:
    """Asked about gently; one that is overdue and could not be called off is shown to a person
    meanwhile, and after a month is theirs alone."""
    act_at = outcome.ask_again_at or ladders.next_pending_at(queries=row.queries, at=at)
    rail = context.capabilities[row.rail]
    is_late = overdue.is_overdue(row, outcome, rail=rail, at=at)
    if is_late and overdue.is_given_up(row, rail=rail, at=at):
        _needs_person(row, "payment_unknown", at=at)
        return
    attention = "payment_overdue" if is_late else ""
    act_at = overdue.next_look(row, rail=rail, at=at) if is_late else act_at
    if row.state in (S.PAYMENT_PENDING.value, S.ACTION_REQUIRED.value):
        claims.stay(row, act_at=act_at, attention=attention, heard=Heard.ANSWER, at=at)
    else:
        machine.move_one(row.move(S.PAYMENT_PENDING, "pending", act_at, attention=attention), at=at)
    if outcome.ask_again_at is not None and row.notice_sent_at is None:
        # The rail's own hour of taking it, shown to the payer; what was announced stays as it is.
        Recharge.objects.filter(pk=row.id).update(earliest_charge_at=outcome.ask_again_at)
    _mark(row, AttemptState.PENDING, provider_ref=outcome.provider_ref)


def _unknown(row: Work, outcome: Unknown, at: datetime, context: Context) -> None:
    del context
    if outcome.is_ours:
        _may_not_ask(row, at=at)
    else:
        _not_known(row, at=at, wait=outcome.wait)


def _may_not_ask(row: Work, *, at: datetime) -> None:
    """The *question* was refused: that says nothing about the charge, which is neither sent again
    nor given up. An operator is told at once; nobody waits a week for it in silence."""
    act_at = ladders.next_config_at(rounds=row.queries, at=at)
    attention = "payment_unknown" if act_at is None else "config"
    if row.state != S.CHARGING.value:
        claims.stay(row, act_at=act_at, attention=attention, at=at)
        return
    unknown = row.move(
        S.PAYMENT_UNKNOWN,
        "no_answer",
        act_at,
        keeps_crashes=True,
        attention=attention,
        heard=Heard.SILENCE,
    )
    machine.move_one(unknown, at=at)
    _mark(row, AttemptState.UNKNOWN)
    _tell(row, NoticeKind.CONFIRMING, "no_answer", at=at)


def _not_known(row: Work, *, at: datetime, soon: bool = False, wait: timedelta = NO_WAIT) -> None:
    """Into, or further up, the query ladder; at its end a person, and the row stays unknown. Never
    asked sooner than its rail wants: what is then sent again keeps to its window all the same."""
    _mark(row, AttemptState.UNKNOWN)
    queries = row.queries + 1 if row.state == S.PAYMENT_UNKNOWN.value else 0
    act_at: datetime | None = at
    if queries or not soon:
        act_at = ladders.next_query_at(queries=queries, at=at, since=row.unknown_since)
    act_at = max(act_at, at + wait) if act_at else None
    attention = "payment_unknown" if act_at is None else ""
    if row.state == S.PAYMENT_UNKNOWN.value:
        claims.stay(row, act_at=act_at, attention=attention, at=at)
        return
    lost = row.move(S.PAYMENT_UNKNOWN, "no_answer", act_at, keeps_crashes=True, heard=Heard.SILENCE)
    machine.move_one(lost, at=at)
    _tell(row, NoticeKind.CONFIRMING, "no_answer", at=at)


def _not_found(row: Work, outcome: NotFound, at: datetime, context: Context) -> None:
    """Never happened, once the grace is over: the *same* reference may go again (rule 15).

    One still `charging` was left by a worker that may only be stalled and send it yet: its grace
    begins now, when its lease has run out.
    """
    del outcome
    rail = context.capabilities[row.rail]
    first_sent_at = row.attempt_created_at or at
    sent_at = at if row.state == S.CHARGING.value else first_sent_at
    if row.unknown_since is not None:
        sent_at = max(sent_at, row.unknown_since)
    if at - sent_at < rail.not_found_grace:
        _wait_out_grace(row, until=sent_at + rail.not_found_grace, at=at)
    elif rail.reference_lifetime and at - first_sent_at > rail.reference_lifetime:
        _needs_person(row, "payment_unknown", at=at)  # the key may charge anew: never blindly
    elif row.state == S.ACTION_REQUIRED.value:
        _close(row, S.FAILED, "confirmed_not_taken", at=at)
    else:
        _send_again(row, at=at)


def _send_again(row: Work, *, at: datetime) -> None:
    """That it is not there is no progress: whoever died sending it may die again, so the rounds are
    counted. After the last a person is called, and with its window's end it is missed."""
    rounds = machine.rounds(recharge_id=row.id, because="confirmed_not_taken")
    is_over = at > row.charge_until
    act_at = at if is_over else ladders.next_resend_at(rounds=rounds, at=at)
    if act_at is None:
        _needs_person(row, "payment_unknown", act_at=row.charge_until + MOMENT, at=at)
        return
    machine.move_one(row.move(S.DUE, "confirmed_not_taken", act_at, keeps_crashes=True), at=at)
    _mark(row, AttemptState.INTENDED)


def _wait_out_grace(row: Work, *, until: datetime, at: datetime) -> None:
    if row.state != S.CHARGING.value:
        claims.stay(row, act_at=until, at=at)
        return
    lost = row.move(S.PAYMENT_UNKNOWN, "no_answer", until, keeps_crashes=True, heard=Heard.SILENCE)
    machine.move_one(lost, at=at)
    _mark(row, AttemptState.UNKNOWN)


def _needs_person(row: Work, code: str, *, at: datetime, act_at: datetime | None = None) -> None:
    if row.state == S.PAYMENT_UNKNOWN.value:
        claims.stay(row, act_at=act_at, attention=code, heard=Heard.ANSWER, at=at)
    else:
        to = row.move(S.PAYMENT_UNKNOWN, "no_answer", act_at, attention=code)
        machine.move_one(to, at=at)
    _mark(row, AttemptState.UNKNOWN)


def _action_required(row: Work, outcome: ActionRequired, at: datetime, context: Context) -> None:
    if row.state == S.ACTION_REQUIRED.value:
        is_over = overdue.is_overdue(row, outcome, rail=context.capabilities[row.rail], at=at)
        _recheck_action(row, is_over=is_over, at=at)
        return
    machine.move_one(row.move(S.ACTION_REQUIRED, "needs_confirmation", at + ACTION_RECHECK), at=at)
    Recharge.objects.filter(pk=row.id).update(action_url=outcome.url)
    _mark(row, AttemptState.PENDING, provider_ref=outcome.provider_ref)
    _tell(row, NoticeKind.ACTION_REQUIRED, "needs_confirmation", at=at)


def _recheck_action(row: Work, *, is_over: bool, at: datetime) -> None:
    """Past its time it was called off; one that could not be, a person closes at the rail."""
    act_at = None if is_over else at + ACTION_RECHECK
    attention = "action_expired" if is_over else ""
    claims.stay(row, act_at=act_at, attention=attention, heard=Heard.ANSWER, at=at)


def _refused(row: Work, outcome: Refused, at: datetime, context: Context) -> None:
    """A definite no: what its code means is data, and an unlisted code means *ask*."""
    meaning = declines.classify(context.codes, rail=row.rail, code=outcome.code)
    if meaning in (DeclineClass.UNKNOWN, DeclineClass.DONE):
        PaymentAttempt.objects.filter(reference=row.payment_ref).update(code=outcome.code[:80])
        _not_known(row, at=at, soon=meaning == DeclineClass.DONE)
    elif meaning == DeclineClass.PENDING:
        _pending(row, Pending(), at, context)
    elif meaning == DeclineClass.CONFIG:
        _misconfigured(row, outcome, at=at, context=context)
    else:
        _declined(row, outcome, meaning, at=at, context=context)


def _closed(row: Work, outcome: Closed, at: datetime, context: Context) -> None:
    """The rail gave the order up without an effect. Its code, where it gives one, says why."""
    if outcome.is_given_back:
        _needs_person(row, "payment_unknown", at=at)  # by somebody else, behind our back
        return
    meaning = declines.classify(context.codes, rail=row.rail, code=outcome.code)
    if meaning not in (DeclineClass.HARD, DeclineClass.AUTH):
        meaning = DeclineClass.SOFT
    _declined(row, Refused(outcome.code), meaning, at=at, context=context)


def _misconfigured(row: Work, outcome: Refused, *, at: datetime, context: Context) -> None:
    """Our own fault, not the payer's: nothing was taken, an operator is told, and it waits."""
    PaymentAttempt.objects.filter(reference=row.payment_ref).update(code=outcome.code[:80])
    if row.state in (S.PAYMENT_PENDING.value, S.PAYMENT_UNKNOWN.value, S.ACTION_REQUIRED.value):
        _may_not_ask(row, at=at)
        return
    if at > row.charge_until and row.rule_id is None:
        # By hand: nobody's plan waits for it, and while it is open the line's own rule is blind.
        _close(row, S.FAILED, "window_over", at=at)
        return
    act_at = retries.mended_by(row, at=at)  # where its window is over by then, it is missed
    if act_at is None:
        machine.move_one(row.move(S.REVIEW, "config", None, attention="config"), at=at)
        return
    machine.move_one(row.move(S.DUE, "config", act_at, attention="config"), at=at)
    if outcome.code == context.capabilities[row.rail].not_announced_code:
        Recharge.objects.filter(pk=row.id).update(**machine.NOT_ANNOUNCED)


def _declined(
    row: Work, refused: Refused, meaning: DeclineClass, *, at: datetime, context: Context
) -> None:
    """Soft: the frozen ladder. Hard, or its end: the fallback binding, or the end of it."""
    _mark(row, AttemptState.DECLINED, code=refused.code, decline_class=meaning, at=at)
    asked_wait = context.capabilities[row.rail].waits.get(refused.code, timedelta(0))
    is_soft = meaning == DeclineClass.SOFT
    retry_at = retries.next_at(row, asked_wait=asked_wait, at=at) if is_soft else None
    if retry_at is not None:
        code = "merchant_limit" if refused.is_merchants else ""
        waiting = row.move(S.DECLINED, "soft_decline", retry_at, new_declines=1, attention=code)
        machine.move_one(waiting, at=at)
        retries.allow_for(row, retry_at=retry_at)
        more = {"until": retry_at.isoformat(), "decline_code": refused.code}
        _tell(row, NoticeKind.RETRYING, "soft_decline", at=at, **more)
        return
    if not refused.is_merchants:
        # A ladder that was climbed in vain is one failure of the binding, not four.
        breaker.record_decline(binding_id=row.binding_id, decline_class=meaning, at=at)
    if not fallbacks.use(row, at=at, rails=context.capabilities):
        because, until = retries.ending(row, meaning, asked_wait=asked_wait, at=at)
        _end(row, because, at=at, decline_code=refused.code, **until)
        if until:
            retries.rest(row, until=at + asked_wait)


def _close(row: Work, target: S, because: str, *, at: datetime) -> None:
    _mark(row, AttemptState.CLOSED, at=at)
    _end(row, because, at=at, target=target)


def _end(row: Work, because: str, *, at: datetime, target: S = S.FAILED, **facts: object) -> None:
    recharge = Recharge.objects.get(pk=row.id)
    recharge.state = row.state
    machine.end_unpaid(recharge=recharge, target=target, because=because, at=at, fence=row.fence)
    _tell(row, NoticeKind.NOT_RECHARGED, because, at=at, **facts)


_HANDLERS: Mapping[type, Callable[..., None]] = {
    Succeeded: _succeeded,
    Pending: _pending,
    Unknown: _unknown,
    NotFound: _not_found,
    ActionRequired: _action_required,
    Refused: _refused,
    Closed: _closed,
}


# --- small parts --------------------------------------------------------------------------------


def _mark(
    row: Work,
    state: AttemptState,
    *,
    provider_ref: str = "",
    code: str = "",
    decline_class: str = "",
    at: datetime | None = None,
) -> None:
    """Set the attempt's own state. A settled one is never unsettled."""
    changes: dict[str, object] = {"state": state, "settled_at": at}
    if provider_ref:
        changes["provider_ref"] = provider_ref[:64]
    if code:
        changes |= {"code": code[:80], "decline_class": decline_class}
    PaymentAttempt.objects.filter(reference=row.payment_ref, settled_at__isnull=True).update(
        **changes
    )


def _tell(row: Work, kind: NoticeKind, code: str, *, at: datetime, **more: object) -> None:
    facts = {
        "code": code,
        "face_minor": row.face_minor,
        "price_minor": row.price_minor,
        "currency": row.currency,
        "rail": row.rail,
    }
    telling.tell(
        owner_id=row.owner_id,
        kind=kind,
        occurrence_key=f"{row.ref}:{code}",
        line_id=row.line_id,
        recharge_id=row.id,
        facts=facts | more,
        channels=row.channels,
        at=at,
    )


def set_aside(full: Sequence[Full], *, at: datetime) -> None:
    """A cap leaves no room on the day the money would move: later, in its window, or not at all."""
    for one in full:
        if one.move.target in UNPAID_END_STATES:
            ended(one.row, one.move, at=at, **one.figures)
            continue
        with transaction.atomic():
            machine.move([one.move], at=at)


def ended(row: Work, move: Move, *, at: datetime, **facts: object) -> None:
    """A recharge that never reached its rail: canceled or missed before any call. Fenced."""
    try:
        with transaction.atomic():
            _drop_unsent(row, at=at)
            recharge = Recharge.objects.get(pk=row.id)
            recharge.state = row.state
            machine.end_unpaid(
                recharge=recharge,
                target=S(move.target),
                because=move.because,
                at=at,
                fence=row.fence,
            )
            if move.because in agreed.CODES:
                owed.look_again(row, because=move.because, at=at)
            kind = NoticeKind.MISSED if move.target == S.MISSED else NoticeKind.NOT_RECHARGED
            _tell(row, kind, move.because, at=at, **facts)
    except LostRace:
        log.info("recharge %s was settled by another worker", row.id)


def _drop_unsent(row: Work, *, at: datetime) -> None:
    """The rail has confirmed that it never heard of this reference; it is spent all the same."""
    if claims.is_live_attempt(row):
        _mark(row, AttemptState.CLOSED, at=at)

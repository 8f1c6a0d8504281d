"""Agreements by which a rail lets us charge a person: begun, watched, ended.

They change from outside (rule 19): by the payer at the rail, by running out, by the rail. So what
the rail says when asked is the truth; a notification or a page only says when to ask. The rail is
asked outside any transaction, its words are kept as evidence first, and believed only if the row
is still as it was when it was asked.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from billing import calls, gateways, outages, rowsets
from billing.bindings import agreements, breaker, refusals
from billing.bindings.breaker import ENDED_STATES, ENDING, BindingNotUsable, record_decline, resume
from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    Gateway,
    SigningNotStarted,
    Unknown,
)
from billing.models import Binding, BindingState, NoticeKind, OutageSide, Rail, Rule
from billing.notices import telling
from billing.outages import Heard
from billing.recharges import evidence
from lines.people import Person
from lines.secrets_at_rest import UnreadableSecret

__all__ = ["BindingNotUsable", "record_decline", "resume"]

log = logging.getLogger(__name__)

PAUSE = "pause"
MOVE_TO = "move_to:"
# A claimed row is looked at again after this, should the worker die.
_LEASE = timedelta(minutes=10)
_THREADS, _DEADLINE_S = 8, 20.0


class RailNotOffered(Exception):
    """The rail takes no new agreements now: it is switched off, or not set up rightly."""


class RailNotAnswering(RailNotOffered):
    """The rail gave no signing page: it is away, or it refused. Nothing was bound."""


@dataclass(frozen=True, slots=True)
class Started:
    """A binding that waits for its payer's agreement, and the page to send the browser to."""

    binding: Binding
    url: str


# --- begun --------------------------------------------------------------------------------------


def start(
    *,
    owner: Person,
    rail: Rail,
    return_url: str,
    notify_url: str,
    gateway: Gateway,
    at: datetime,
    payer_ip: str = "",
    language: str = "zh-hans",
) -> Started:
    """Begin an agreement: the row is committed before the rail's page can know of it.

    "{ref}" in `return_url` becomes the binding's reference. Called again while one still waits, it
    gives that one, so a second press makes no second agreement. Raises RailNotOffered, or
    RailNotAnswering. Not inside a transaction.
    """
    if not rail.is_enabled:
        raise RailNotOffered(rail.code)
    with transaction.atomic(durable=True):
        waiting = Binding.objects.filter(
            owner_id=owner.pk,
            rail=rail,
            state=BindingState.PENDING,
            created_at__gt=at - agreements.ABANDONED_AFTER,
            paused_at__isnull=True,
        )
        binding = waiting.order_by("-pk").first() or Binding(
            owner_id=owner.pk, rail=rail, created_at=at
        )
        binding.check_at = at + agreements.ASK_SOON
        binding.save()
    request = BindingRequest(
        binding_ref=binding.ref,
        return_url=return_url.replace("{ref}", binding.ref),
        notify_url=notify_url,
        payer_ip=payer_ip,
        language=language,
    )
    try:
        page = gateway.start_binding(request=request)
    except ValueError as error:  # a setting that only this call needs; the row ends by itself
        log.error("rail %s cannot begin an agreement: %s", rail.code, error)
        raise RailNotOffered(rail.code) from error
    except SigningNotStarted as error:
        log.warning("rail %s began no agreement: %s", rail.code, error)
        raise RailNotAnswering(rail.code) from error
    if page.provider_ref and page.provider_ref != binding.provider_ref:
        binding.provider_ref = page.provider_ref
        binding.save(update_fields=["provider_ref"])
    return Started(binding=binding, url=page.url)


# --- watched ------------------------------------------------------------------------------------


def refresh(*, binding: Binding, gateway: Gateway, at: datetime) -> Binding:
    """Ask the rail and take over what it says. Not inside a transaction; may be called any time.

    The first one to become active is its owner's default. An end stops the rules. No answer
    changes nothing, but the rail is asked again.
    """
    seen = Binding.objects.get(pk=binding.pk)
    if seen.state in ENDED_STATES:
        return seen
    return _record(seen, _ask(seen, gateway), at=at)


def poll_due(*, at: datetime, limit: int) -> int:
    """Ask about up to `limit` bindings whose `check_at` has come; how many were claimed.

    Each is asked about at least daily, since nothing is sent when an agreement runs out. May run
    anywhere, any number at once; a row that cannot be read or recorded stops only itself.
    """
    seen = [one for one in map(_read, _claim(at=at, limit=limit)) if one is not None]
    reachable = {rail: gateways.get(rail) for rail in gateways.available()}
    asked = [binding for binding in seen if binding.rail_id in reachable]
    results = calls.concurrently(
        lambda binding: _ask(binding, reachable[binding.rail_id]),
        asked,
        threads=_THREADS,
        deadline_s=_DEADLINE_S,
    )
    for binding, error in results.broken:
        # The type alone: a message might hold what must not be logged.
        log.error("asking about binding %s raised %s", binding.ref, type(error).__name__)
    for binding, answer in results.came_back:
        _record_polled(binding, answer, at=at)
    _note(results.came_back, at=at)
    return len(seen)


def _note(answered: Sequence[tuple[Binding, BindingAnswer]], *, at: datetime) -> None:
    """What the answers say of the rails themselves."""
    failing = outages.failing(OutageSide.RAIL) if answered else set()
    heard = [
        Heard(
            OutageSide.RAIL,
            binding.rail_id,
            _is_answer(binding, answer, at=at),
            binding.rail_id in failing,
            answer.outcome.reason if isinstance(answer.outcome, Unknown) else "",
        )
        for binding, answer in answered
    ]
    outages.note(heard, at=at)


def _is_answer(binding: Binding, answer: BindingAnswer, *, at: datetime) -> bool | None:
    """No answer about one agreement that stands, or that has been in doubt for long, may be about
    that one alone."""
    if not isinstance(answer.outcome, Unknown):
        return True
    is_ending = binding.pause_reason == ENDING
    since = binding.paused_at if is_ending else binding.created_at
    is_awaited = is_ending or binding.state == BindingState.PENDING
    is_fresh = since is not None and at - since < agreements.ASK_LATER
    return False if is_awaited and is_fresh else None


_CLAIM = """
WITH picked AS (
  SELECT id FROM billing_binding WHERE check_at <= %s
  ORDER BY check_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_binding b SET check_at = %s FROM picked WHERE b.id = picked.id RETURNING b.id"""


def _claim(*, at: datetime, limit: int) -> list[int]:
    """The claim itself moves `check_at` on, so that a binding nobody can ask waits its turn."""
    with transaction.atomic():
        return rowsets.column(_CLAIM, [at, limit, at + _LEASE], of=int)


def _read(binding_id: int) -> Binding | None:
    try:
        return Binding.objects.get(pk=binding_id)
    except UnreadableSecret:
        log.exception("binding %s cannot be read", binding_id)
        return None


def _record_polled(binding: Binding, answer: BindingAnswer, *, at: datetime) -> None:
    try:
        _record(binding, answer, at=at)
    except rowsets.POISON:
        log.exception("what the rail says of binding %s cannot be recorded", binding.ref)


def _ask(binding: Binding, gateway: Gateway) -> BindingAnswer:
    """What the rail says of it; of one that its owner has ended, what it says to that."""
    if binding.pause_reason == ENDING:
        return gateway.revoke_binding(binding_ref=binding.ref, provider_ref=binding.provider_ref)
    return gateway.get_binding(binding_ref=binding.ref, provider_ref=binding.provider_ref)


def _record(seen: Binding, answer: BindingAnswer, *, at: datetime) -> Binding:
    """Keep the evidence, then take over the facts, unless another was faster."""
    with transaction.atomic():
        evidence.record_rail_calls([(seen.rail_id, answer)], at=at)
        refusals.note(rail_code=seen.rail_id, said=answer.outcome, at=at)
    with transaction.atomic():
        rules = breaker.lock_rules([seen.pk])
        locked = Binding.objects.select_for_update(no_key=True).get(pk=seen.pk)
        if (locked.state, locked.pause_reason) == (seen.state, seen.pause_reason):
            _believe(locked, answer.outcome, rules=rules, at=at)
            locked.checked_at = at
            # Somebody asked for another look while this one was under way: that still stands.
            if locked.check_at == seen.check_at:
                locked.check_at = agreements.next_look(locked, answer.outcome, at=at)
            locked.save()
            _choose_default(locked)
    return locked


def _believe(binding: Binding, said: object, *, rules: list[Rule], at: datetime) -> None:
    """Take over what was `said`, on a locked row that the caller saves."""
    state = agreements.state_after(binding, said, at=at)
    if state == BindingState.ACTIVE and isinstance(said, BindingFacts):
        _activate(binding, said, at=at)
    elif state in (BindingState.ABANDONED, *ENDED_STATES) and state != binding.state:
        _finish(binding, state, rules=rules, at=at)
    binding.state = state


def _activate(binding: Binding, facts: BindingFacts, *, at: datetime) -> None:
    before, was_agreed = binding.fingerprint, binding.state in agreements.AGREED_STATES
    binding.provider_ref = facts.provider_ref or binding.provider_ref
    binding.label = facts.label[:80] or binding.label
    binding.fingerprint = facts.fingerprint[:64] or before
    binding.expires_at = facts.expires_at
    binding.signed_at = facts.signed_at or binding.signed_at or at
    binding.ended_at = None
    if not was_agreed or binding.fingerprint != before:
        breaker.inherit(binding, at=at)
    _warn(binding, at=at)


def _warn(binding: Binding, *, at: datetime) -> None:
    """At 30, 7 and 2 days before it runs out; of several that were slept through, the last."""
    if binding.expires_at is None or binding.expires_at <= at:
        return
    left = binding.expires_at - at
    due = [days for days in agreements.WARN_DAYS if left <= timedelta(days=days)]
    if due:
        telling.tell(
            owner_id=binding.owner_id,
            kind=NoticeKind.BINDING_EXPIRING,
            occurrence_key=f"{binding.ref}:{binding.expires_at:%Y-%m-%d}:{min(due)}",
            facts={
                "rail": binding.rail_id,
                "label": binding.label,
                "days": -(-left // agreements.DAILY),
                "until": binding.expires_at.isoformat(),
            },
            at=at,
        )


# --- ended --------------------------------------------------------------------------------------


def end(*, binding: Binding, gateway: Gateway, what_of_rules: str, at: datetime) -> Binding:
    """End it for its owner: its rules stop, or move, at once; then the rail is told.

    `what_of_rules` is "pause", or "move_to:<ref>" for another usable binding of the same owner. A
    move to another rail waits for the owner's confirmation, since its days and limits may differ.
    No rule is deleted. A rail that does not answer is told again until it does, and nothing is
    charged meanwhile. May be called twice. Raises BindingNotUsable. Not inside a transaction.
    """
    with transaction.atomic(durable=True):
        rules = breaker.lock_rules([binding.pk])
        locked = Binding.objects.select_for_update(no_key=True).get(pk=binding.pk)
        if locked.state in ENDED_STATES or locked.state == BindingState.ABANDONED:
            return locked
        stopping = rules
        if what_of_rules.startswith(MOVE_TO):
            stopping = _move(rules, locked, to_ref=what_of_rules.removeprefix(MOVE_TO))
        elif what_of_rules != PAUSE:
            raise ValueError("what_of_rules is 'pause' or 'move_to:<ref>'")
        if stopping:
            _stop(locked, stopping, at=at)
        since = locked.paused_at if locked.pause_reason == ENDING else None
        locked.paused_at, locked.pause_reason = since or at, ENDING
        locked.check_at, locked.is_default = at + agreements.END_RETRY, False
        locked.save()
        _choose_default(locked)
    return refresh(binding=locked, gateway=gateway, at=at)


def _move(rules: list[Rule], binding: Binding, *, to_ref: str) -> list[Rule]:
    """Have `rules` charge another binding; those that must be confirmed before they do."""
    mine = Binding.objects.filter(owner=binding.owner_id, ref=to_ref).exclude(pk=binding.pk)
    target = mine.first()
    if target is None or not target.is_usable:
        raise BindingNotUsable(to_ref)
    for rule in rules:
        rule.binding = target
        rule.version += 1  # a review page opened before shows the old one
        if rule.fallback_binding_id == target.pk:
            rule.fallback_binding = None
    Rule.objects.bulk_update(rules, ["binding", "version", "fallback_binding"])
    return rules if target.rail_id != binding.rail_id else []


def _finish(binding: Binding, state: BindingState, *, rules: list[Rule], at: datetime) -> None:
    """The agreement is over, whoever ended it. One that never was is not worth a notice."""
    is_own_doing = binding.pause_reason == ENDING
    is_news = binding.state in agreements.AGREED_STATES and not is_own_doing
    if is_own_doing:
        binding.paused_at, binding.pause_reason = None, ""
    binding.ended_at, binding.is_default = at, False
    if rules or is_news:
        _stop(binding, rules, at=at)


def _stop(binding: Binding, rules: list[Rule], *, at: datetime) -> None:
    """Stop the rules that charge it, and tell its owner: once, for all of them."""
    breaker.stop_rules(rules, reason="binding_ended", at=at)
    channels = dict.fromkeys(name for rule in rules for name in rule.channels)
    telling.tell(
        owner_id=binding.owner_id,
        kind=NoticeKind.BINDING_ENDED,
        occurrence_key=binding.ref,
        line_id=rules[0].line_id if len(rules) == 1 else None,
        facts={"rail": binding.rail_id, "label": binding.label, "rules": len(rules)},
        channels=list(channels),
        at=at,
    )


# --- the default --------------------------------------------------------------------------------


def make_default(*, binding: Binding, at: datetime) -> Binding:
    """Offer it first from now on. May be called twice. Raises BindingNotUsable."""
    del at
    with transaction.atomic():
        mine = Binding.objects.filter(owner=binding.owner_id).order_by("pk")
        [chosen] = [one for one in mine.select_for_update(no_key=True) if one.pk == binding.pk]
        if not chosen.is_usable:
            raise BindingNotUsable(chosen.ref)
        mine.filter(is_default=True).exclude(pk=chosen.pk).update(is_default=False)
        chosen.is_default = True
        chosen.save(update_fields=["is_default"])
    return chosen


def _choose_default(binding: Binding) -> None:
    """Where the owner has no default, the oldest active binding becomes it."""
    mine = Binding.objects.filter(owner=binding.owner_id)
    if mine.filter(is_default=True).exists():
        return
    active = mine.filter(state=BindingState.ACTIVE).exclude(pause_reason=ENDING)
    oldest = active.order_by("signed_at", "pk").values_list("pk", flat=True).first()
    if oldest is None:
        return
    try:
        with transaction.atomic():
            mine.filter(pk=oldest).update(is_default=True)
    except IntegrityError:  # another has just become it: one is enough
        return
    binding.is_default = binding.pk == oldest

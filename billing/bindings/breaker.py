"""When a payment method fails, it rests, and so do the rules that charge it.

The method is known by its fingerprint: binding the same card or account again is the same method
(rule 17). The user's switch and this pause are two fields; only a person lifts the pause.

Locks go in one order, rules before bindings, as in `openings`, so that the two cannot deadlock.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Q, QuerySet

from billing import nudges
from billing.models import Binding, BindingState, NoticeKind, Rule
from billing.notices import telling
from billing.notices.telling import Telling
from billing.states import DeclineClass
from lines.people import Person

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3
# Why a binding rests; `reasons.reason` has the words for each.
BREAKER, HARD, AUTH = "breaker", "hard_decline", "needs_confirmation"
# Its payer had the bank take money back: only an operator lets it be charged again.
DISPUTED = "disputed"
REASONS = (BREAKER, HARD, AUTH, DISPUTED)
# Its owner has ended it, and the rail has yet to confirm.
ENDING = "ending"
ENDED_STATES = (BindingState.REVOKED, BindingState.EXPIRED)


class BindingNotUsable(Exception):
    """The payment method is not active, is being ended, or is someone else's."""


def record_decline(*, binding_id: int, decline_class: str, at: datetime) -> None:
    """Count a definite no; the third in a row, or a hard one, pauses the method and its rules.

    In the caller's transaction, once for each decline. Technical and unknown answers are no
    declines and count nothing.
    """
    if decline_class not in (DeclineClass.SOFT, DeclineClass.HARD, DeclineClass.AUTH):
        return
    rules, method = lock_method(binding_id)
    failures = 1 + max(binding.failures_in_a_row for binding in method)
    for binding in method:
        binding.failures_in_a_row = failures
        if decline_class == DeclineClass.HARD and binding.pk == binding_id:
            binding.check_at = at  # the rail may have ended it: ask
    Binding.objects.bulk_update(method, ["failures_in_a_row", "check_at"])
    if decline_class == DeclineClass.HARD:
        pause(rules=rules, method=method, reason=HARD, at=at)
    elif decline_class == DeclineClass.AUTH:
        pause(rules=rules, method=method, reason=AUTH, at=at)
    elif failures >= FAILURES_IN_A_ROW:
        pause(rules=rules, method=method, reason=BREAKER, at=at)


def resume(*, binding: Binding, actor: Person, at: datetime) -> Binding:
    """Close the breaker: the owner's bindings of this method, and the rules it paused, go on.

    May be called twice. Raises BindingNotUsable for one that has ended or is being ended, and for
    its own payer where that one disputed a charge.
    """
    with transaction.atomic():
        rules, method = lock_method(binding.pk)
        [locked] = [one for one in method if one.pk == binding.pk]
        is_disputed = locked.pause_reason == DISPUTED and actor.pk == locked.owner_id
        if locked.state in ENDED_STATES or locked.pause_reason == ENDING or is_disputed:
            raise BindingNotUsable(locked.ref)
        own = [one.pk for one in method if one.owner_id == locked.owner_id]
        Binding.objects.filter(pk__in=own).exclude(pause_reason=ENDING).update(
            paused_at=None, pause_reason="", failures_in_a_row=0
        )
        paused = [r.pk for r in rules if r.binding_id in own and r.pause_reason in REASONS]
        Rule.objects.filter(pk__in=paused).update(paused_at=None, pause_reason="", wake_at=at)
        log.info("binding %s resumed by %s", locked.ref, actor.public_id)
        if paused:
            nudges.money()
    return Binding.objects.get(pk=binding.pk)


def inherit(binding: Binding, *, at: datetime) -> None:
    """Give a binding, unsaved, what its method has earned under other bindings.

    A breaker outlives its agreement. Any other pause belongs to an agreement that still stands:
    a new one is the very remedy for a dead one.
    """
    others = same_method(binding).exclude(pk=binding.pk)
    breaker = Q(pause_reason=BREAKER) | ~Q(state__in=ENDED_STATES) & Q(pause_reason__in=REASONS)
    paused = others.filter(breaker, paused_at__isnull=False).order_by("-paused_at").first()
    if paused is not None and binding.paused_at is None:
        binding.paused_at, binding.pause_reason = at, paused.pause_reason
    failures = others.exclude(state__in=ENDED_STATES).aggregate(most=Max("failures_in_a_row"))
    binding.failures_in_a_row = max(binding.failures_in_a_row, failures["most"] or 0)


def same_method(binding: Binding) -> QuerySet[Binding]:
    """Every binding of the same card or account, of whatever owner; itself alone if not known."""
    if not binding.fingerprint:
        return Binding.objects.filter(pk=binding.pk)
    return Binding.objects.filter(fingerprint=binding.fingerprint)


def lock_method(binding_id: int) -> tuple[list[Rule], list[Binding]]:
    """A binding's whole method with the rules on it that are on: locked, rules first."""
    same = same_method(Binding.objects.get(pk=binding_id))
    rules = lock_rules(same.values_list("pk", flat=True))
    return rules, list(same.order_by("pk").select_for_update(no_key=True))


def lock_rules(binding_ids: Iterable[int]) -> list[Rule]:
    """The rules that are on and charge one of these first."""
    on = Rule.objects.filter(binding__in=list(binding_ids), is_on=True).order_by("pk")
    return list(on.select_for_update(no_key=True, of=("self",)).select_related("line"))


def pause(*, rules: Sequence[Rule], method: Sequence[Binding], reason: str, at: datetime) -> None:
    """Pause what is not paused yet, and tell each rule's owner once. Both are locked."""
    resting = [one.pk for one in method if one.paused_at is None]
    Binding.objects.filter(pk__in=resting).update(paused_at=at, pause_reason=reason)
    stopped = stop_rules([rule for rule in rules if rule.paused_at is None], reason=reason, at=at)
    rails = {binding.pk: binding.rail_id for binding in method}
    telling.tell_many(
        [
            Telling(
                owner_id=rule.line.owner_id,
                kind=NoticeKind.RULE_PAUSED,
                occurrence_key=f"{rule.pk}:{reason}:{at.isoformat()}",
                line_id=rule.line_id,
                recharge_id=None,
                facts={"code": reason, "rail": rails.get(rule.binding_id or 0, "")},
                channels=rule.channels,
                at=at,
            )
            for rule in stopped
        ]
    )


def stop_rules(rules: Sequence[Rule], *, reason: str, at: datetime) -> Sequence[Rule]:
    """Pause locked rules, also those that were paused for less. Never turns one off, or on."""
    for rule in rules:
        rule.paused_at, rule.pause_reason = rule.paused_at or at, reason
        rule.wake_at = None
    Rule.objects.bulk_update(rules, ["paused_at", "pause_reason", "wake_at"])
    return rules

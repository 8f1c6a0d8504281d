"""What people, carriers and forgers do all the while, at random: each an act of a few lines.

Balances are used up and reported, again and again; rules are edited, paused, stopped and agreed to
anew; operators ask for refunds and decide on them; old messages come again, and forged ones.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
import requests
from django.db import Error, close_old_connections, connection
from django_q.models import OrmQ

from billing import four_eyes, gateways
from billing.models import Binding, Promotion, Recharge, Refund, Rule
from billing.operators import operations
from billing.plans import contract, drafts
from billing.recharges import claims, machine
from billing.refunds import approvals
from billing.rules import by_hand, readings
from billing.rules.balances import Reading
from billing.states import OPEN_STATES, RechargeState
from lines.models import Delivery
from tests import world as w
from tests.chaos.clock import SharedClock
from tests.chaos.scene import Scene

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
_WAIT_S = 10
# What people run into when somebody, or something, was first.
REFUSALS = (
    contract.StalePlan,
    contract.RuleIsOff,
    contract.RuleIsOn,
    contract.InvalidDraft,
    contract.NothingToSkip,
    machine.OpenRecharge,
    by_hand.CapReached,
    by_hand.BindingNotUsable,
    by_hand.LineNotLive,
    machine.TooLate,
    machine.LostRace,
    approvals.NotRefundable,
    approvals.TooMuch,
    approvals.WholeOnly,
    four_eyes.NotWaiting,
    approvals.NotRefusedByRail,
    operations.NotHeld,
    operations.AmountDiffers,
    operations.WindowOver,
    operations.NothingToAsk,
    claims.BeingAsked,
    operations.NotUndelivered,
    operations.LineGone,
    operations.RuleNotPaused,
    operations.NeedsOwner,
    operations.MethodNotUsable,
    operations.NotPaused,
)


@dataclass
class People:
    """One process's worth of them."""

    scene: Scene
    clock: SharedClock
    chance: random.Random
    public_url: str
    tell: Callable[[str], None] = field(default=lambda _what: None)

    def live(self) -> None:
        """One act after the other, until this process is ended."""
        acts = [act for act, weight in self._acts() for _ in range(weight)]
        while True:
            close_old_connections()
            act = self.chance.choice(acts)
            try:
                act()
            except REFUSALS:
                pass
            except (Error, psycopg.Error, requests.RequestException, AssertionError):
                # The database, the web or a simulator was away: people try again.
                connection.close()
                time.sleep(0.05)
            time.sleep(self.chance.uniform(0, 0.02))

    def _acts(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.use_up, 12),
            (self.report_low, 24),
            (self.report_stale, 2),
            (self.edit_amount, 2),
            (self.stop, 1),
            (self.begin_again, 4),
            (self.pause_and_resume, 1),
            (self.recharge_by_hand, 2),
            (self.cancel, 1),
            (self.ask_for_refund, 8),
            (self.decide_refunds, 8),
            (self.ask_again, 4),
            (self.settle_attention, 4),
            (self.mend_methods, 3),
            (self.reverse, 3),
            (self.defer_rail, 1),
            (self.repeat_messages, 2),
            (self.forge, 2),
            (self.lose_the_queue, 1),
            (self.announce, 1),
        ]

    # --- subscribers --------------------------------------------------------------------------

    def _rule(self, **which: Any) -> Rule | None:
        rules = Rule.objects.filter(**which).select_related("line__owner", "line__carrier")
        count = rules.count()
        return rules.order_by("pk")[self.chance.randrange(count)] if count else None

    def use_up(self) -> None:
        """Money is spent at the carrier, which tells us to ask for the balance."""
        rule = self._rule(is_on=True)
        if rule:
            left = self.chance.randrange(0, 900)
            path = f"/lines/{rule.line.msisdn}"
            self.scene.carrier.control("PATCH", path, {"balance_minor": left})

    def report_low(self) -> None:
        """Low balances of several lines; the same one, now and then, several times."""
        ready = Rule.objects.filter(is_on=True, is_armed=True, wake_at=None)
        lines = list(ready.values_list("line_id", flat=True)[:200])
        for line_id in self.chance.sample(lines, min(5, len(lines))):
            at = self.clock.now()
            balance_minor = self.chance.randrange(-200, 990)
            for _ in range(self.chance.choice((1, 1, 1, 4))):
                readings.push(reading=Reading(line_id, balance_minor, at), at=at)

    def report_stale(self) -> None:
        rule = self._rule()
        if rule:
            at = self.clock.now()
            old = Reading(rule.line_id, 1, at - timedelta(hours=30), sequence=None)
            readings.push(reading=old, at=at)

    def edit_amount(self) -> None:
        """Another amount, agreed to; what is under way keeps its own."""
        rule = self._rule(is_on=True)
        if rule:
            self._confirm(rule, face_minor=self.chance.choice((2000, 3000, 5000, 10_000)))

    def stop(self) -> None:
        rule = self._rule(is_on=True)
        if rule:
            contract.stop(rule=rule, because="owner", at=self.clock.now())

    def begin_again(self) -> None:
        rule = self._rule(is_on=False)
        if rule:
            self._confirm(rule)

    def _confirm(self, rule: Rule, **changes: Any) -> None:
        contract.confirm(
            rule=rule,
            owner=rule.line.owner,
            seen_version=rule.version,
            capabilities=gateways.capabilities("alipay"),
            language="zh-hans",
            ip=None,
            user_agent="",
            at=self.clock.now(),
            draft=replace(drafts.of(rule), **changes),
        )

    def pause_and_resume(self) -> None:
        rule = self._rule(is_on=True)
        if rule:
            at = self.clock.now()
            contract.pause(rule=rule, until=at + timedelta(days=1), at=at)
            contract.resume(rule=rule, at=at)

    def recharge_by_hand(self) -> None:
        rule = self._rule()
        if rule and rule.binding:
            by_hand.recharge(
                line=rule.line,
                binding=rule.binding,
                face_minor=3000,
                owner=rule.line.owner,
                idempotency_key=str(self.chance.randrange(10**6)),
                ladder_s=(60, 120),
                at=self.clock.now(),
            )

    def _recharge(self, **which: Any) -> Recharge | None:
        rows = Recharge.objects.filter(**which).order_by("-pk")[:60]
        found = list(rows)
        return self.chance.choice(found) if found else None

    def cancel(self) -> None:
        one = self._recharge(state__in=OPEN_STATES)
        if one:
            machine.cancel(
                recharge=one,
                actor=w.person("ops"),
                because="canceled_by_operator",
                at=self.clock.now(),
            )

    # --- operators ----------------------------------------------------------------------------

    def ask_for_refund(self) -> None:
        one = self._recharge(state=RechargeState.COMPLETED)
        if one and not _is_reversible(one.line_id):
            approvals.request(
                recharge=one,
                amount_minor=one.price_minor // self.chance.choice((1, 1, 2, 3)),
                reason="asked",
                requested_by=w.person("ops"),
                at=self.clock.now(),
            )

    def decide_refunds(self) -> None:
        finance = w.person("finance")
        for refund in Refund.objects.filter(state="requested")[:5]:
            if self.chance.random() < 0.8:
                approvals.approve(refund=refund, approved_by=finance, at=self.clock.now())
            else:
                approvals.reject(refund=refund, rejected_by=finance, at=self.clock.now())

    def ask_again(self) -> None:
        one = self._recharge()
        if one:
            operations.query_again(recharge=one, at=self.clock.now())

    def settle_attention(self) -> None:
        """Whatever waits for a person, as far as a person may go."""
        attend_all(at=self.clock.now())

    def mend_methods(self) -> None:
        """Owners see why they were stopped, and put it right."""
        mend(at=self.clock.now())

    def defer_rail(self) -> None:
        w.rail(deferred_since=self.clock.now())
        time.sleep(0.1)
        w.rail(deferred_since=None)

    def announce(self) -> None:
        """A promotion for two minutes. While it runs, all that is opened waits in one line for its
        budget: whoever is stopped in there is waited for, so it does not run all the time."""
        Promotion.objects.update(ends_at=self.clock.now() + timedelta(minutes=2))

    # --- carriers, and what comes in ----------------------------------------------------------

    def reverse(self) -> None:
        """The carrier takes a completed top-up back."""
        done = Delivery.objects.filter(state="credited").exclude(carrier_ref="").order_by("-pk")
        found = [one for one in done[:60] if _is_reversible(one.line_id)]
        if found:
            self.scene.carrier.reverse(self.chance.choice(found).carrier_ref)

    def repeat_messages(self) -> None:
        """Genuine notifications, from just now or long ago, several times over."""
        sent = self.scene.alipay.notifications()
        for one in self.chance.sample(sent, min(3, len(sent))):
            for _ in range(3):
                self._post(one["fields"])
                self.tell("repeated message")

    def forge(self) -> None:
        """Somebody else's figures under a signature that was made for something else."""
        sent = [one for one in self.scene.alipay.notifications() if "out_trade_no" in one["fields"]]
        if not sent:
            return
        lie = {"total_amount": "0.01", "notify_id": f"{self.chance.getrandbits(96):x}"}
        answer = self._post(self.chance.choice(sent)["fields"] | lie)
        if answer.status_code < 300:
            self.tell("forged message accepted")
        elif answer.status_code == 400:
            self.tell("forged message refused")

    def _post(self, fields: dict[str, str]) -> requests.Response:
        url = f"{self.public_url}/hooks/alipay/notify"
        return requests.post(url, data=urlencode(fields), headers=FORM, timeout=_WAIT_S)

    def lose_the_queue(self) -> None:
        """Every nudge that waits is gone; the sweep finds the work all the same."""
        lost, _ = OrmQ.objects.all().delete()
        if lost:
            self.tell("queue rows lost")


def _is_reversible(line_id: int) -> bool:
    """Lines whose carrier takes top-ups back; on the others operators refund them. One that does
    both at once has taken back more than it gave, which only its statement can show."""
    return line_id % 2 == 0


def attend_all(*, at: datetime) -> None:
    """What operators do with all that waits for a person."""
    for one in Recharge.objects.exclude(attention="")[:50]:
        with suppress(*REFUSALS):
            _attend(one, at=at)
    for refund in Refund.objects.exclude(attention="")[:50]:
        with suppress(*REFUSALS):
            operations.query_refund(refund=refund, at=at)


def _attend(one: Recharge, *, at: datetime) -> None:
    ops = w.person("ops")
    if one.state == RechargeState.REVIEW:
        try:
            operations.approve_review(recharge=one, actor=ops, reason="looked at", at=at)
        except (operations.AmountDiffers, operations.WindowOver):
            operations.reject_review(recharge=one, actor=ops, reason="too late", at=at)
    else:
        operations.query_again(recharge=one, at=at)


def mend(*, at: datetime) -> None:
    """Close every breaker and take the system's pauses off, where that may be done."""
    ops = w.person("ops")
    for binding in Binding.objects.filter(paused_at__isnull=False)[:50]:
        with suppress(*REFUSALS):
            operations.unpause_binding(binding=binding, actor=ops, at=at)
    for rule in Rule.objects.filter(is_on=True, paused_at__isnull=False)[:50]:
        with suppress(*REFUSALS):
            operations.resume_rule(rule=rule, at=at)

"""After the trouble: everything comes to its end, and three books are compared."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Q

from billing.models import (
    Decision,
    InboundNotification,
    PaymentAttempt,
    RailCall,
    Recharge,
    Refund,
    Rule,
)
from billing.recharges import waking
from billing.refunds import approvals
from billing.rules import gathering
from billing.states import OPEN_STATES
from lines.models import BalanceReading, CarrierCall, Delivery
from tests import world as w
from tests.chaos import people
from tests.chaos.clock import SharedClock
from tests.chaos.scene import Scene

GIVE_UP_S = 240
QUIET_S = 4
TELL_EVERY_S = 5
STRIDE_S = 120  # virtual
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Verdict:
    """What the run has shown. `is_clean` is what the exit code says."""

    recharges: int = 0
    states: dict[str, int] = field(default_factory=dict)
    with_a_person: dict[str, int] = field(default_factory=dict)
    double_charges: int = 0
    double_credits: int = 0
    lost: int = 0
    stuck: int = 0
    stuck_in: dict[str, int] = field(default_factory=dict)
    forged_accepted: int = 0
    broken: dict[str, int] = field(default_factory=dict)  # processes that ended by themselves
    settled_after_s: float = 0.0
    violations: dict[str, int] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        wrong = (self.double_charges, self.double_credits, self.lost, self.stuck)
        is_right = not any((*wrong, self.forged_accepted, self.violations, self.broken))
        return is_right and self.states.get("completed", 0) > 0  # nothing done proves nothing

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.is_clean}


@dataclass
class Settled:
    """How the end was reached."""

    after_s: float
    stuck: dict[str, int]
    forgotten_rules: list[dict[str, Any]]


def settle(
    scene: Scene, clock: SharedClock, *, go_on: Callable[[], None], tell: Callable[[str], None]
) -> Settled:
    """Let everything come to its end, once the trouble is over and the killed hold no lease.

    `go_on` keeps the workers at work for a moment. Time is moved on instead of waited for.
    """
    began = time.monotonic()
    _lapse_leases()
    while time.monotonic() - began < QUIET_S:
        _operate(clock.now())
        _go_on_a_while(go_on)
    forgotten = _forgotten_rules()
    _tell_of_lost_reversals(scene, at=clock.now())
    _stop_all()
    told = 0.0
    while (left := unsettled()) and (passed := time.monotonic() - began) < GIVE_UP_S:
        if passed - told > TELL_EVERY_S:
            told = passed
            tell(f"  {passed:4.0f} s: {left}")
        _operate(clock.now())
        _go_on_a_while(go_on)
        _jump(clock)
    return Settled(time.monotonic() - began, unsettled(), forgotten)


def _go_on_a_while(go_on: Callable[[], None]) -> None:
    for _ in range(10):
        go_on()


def _lapse_leases() -> None:
    """Whoever held them is dead: nothing is gained by waiting for their end."""
    Recharge.objects.filter(lease_until__isnull=False).update(lease_until=_LONG_AGO)
    Refund.objects.filter(lease_until__isnull=False).update(lease_until=_LONG_AGO)


def _operate(at: datetime) -> None:
    people.mend(at=at)
    people.attend_all(at=at)
    _decide(at=at)


def _decide(*, at: datetime) -> None:
    finance = w.person("finance")
    for refund in Refund.objects.filter(state="requested"):
        with suppress(*people.REFUSALS):
            approvals.approve(refund=refund, approved_by=finance, at=at)


def _stop_all() -> None:
    """Nobody begins anything any more; what is under way is to come to its end."""
    Rule.objects.filter(is_on=True).update(is_on=False, wake_at=None, notify_at=None)


def _tell_of_lost_reversals(scene: Scene, *, at: datetime) -> None:
    """A reversal of whose event nothing arrived: a statement shows it, and it is asked about."""
    reversed_ = {reference for reference, _ in scene.credits("reversal")}
    unknown = Delivery.objects.filter(reference__in=reversed_, state="credited")
    for reference in unknown.values_list("reference", flat=True):
        waking.wake_delivery(reference=reference, carrier_ref="", at=at)


def _open() -> Any:
    return Recharge.objects.filter(state__in=OPEN_STATES).filter(
        ~Q(refunds__state="requested") | Q(refunds__isnull=True)
    )


def unsettled() -> dict[str, int]:
    """What is neither final nor only a person's matter, by its state."""
    waiting = _open().filter(Q(attention="") | Q(act_at__isnull=False)).exclude(state="review")
    returning = Refund.objects.filter(state__in=("reversing", "intended", "unknown"), attention="")
    messages = InboundNotification.objects.filter(done_at__isnull=True).count()
    found = Counter(state for _, state in waiting.distinct().values_list("pk", "state"))
    found.update(f"refund {state}" for state in returning.values_list("state", flat=True))
    return dict(found) | ({"messages": messages} if messages else {})


def _jump(clock: SharedClock) -> None:
    """If nothing is due, to when something is."""
    at = clock.now()
    due = Recharge.objects.filter(act_at__lte=at).exists()
    if due or Refund.objects.filter(act_at__lte=at).exists():
        return
    instants = [
        *Recharge.objects.filter(act_at__gt=at).order_by("act_at").values_list("act_at")[:1],
        *Refund.objects.filter(act_at__gt=at).order_by("act_at").values_list("act_at")[:1],
    ]
    if instants:
        ahead_s = (min(instants)[0] - at) / timedelta(seconds=1)
        clock.advance(ahead_s + STRIDE_S)


# --- the books ----------------------------------------------------------------------------------


def judge(scene: Scene, settled: Settled, *, broken: dict[str, int]) -> Verdict:
    """Compare three books, and count what must not be."""
    report = scene.report()
    return Verdict(
        recharges=Recharge.objects.count(),
        states=report["states"],
        with_a_person=dict(
            Counter(Recharge.objects.exclude(attention="").values_list("attention", flat=True))
        ),
        double_charges=_double_charges(scene),
        double_credits=_double_credits(scene),
        lost=_lost(report) + len(settled.forgotten_rules),
        stuck=sum(settled.stuck.values()),
        stuck_in=settled.stuck,
        forged_accepted=_forged_accepted(),
        broken=broken,
        settled_after_s=round(settled.after_s, 1),
        violations=report["violations"],
        named=report["named"],
    )


def _double_charges(scene: Scene) -> int:
    """Recharges for which the rail's own journal has more than one charge."""
    recharge_of = dict(PaymentAttempt.objects.values_list("reference", "recharge_id"))
    charges = Counter(recharge_of.get(reference, 0) for reference, _ in scene.charges())
    return sum(times - 1 for times in charges.values())


def _double_credits(scene: Scene) -> int:
    """Credits above one of an order, in the carrier's journal, that it has not taken back."""
    order_of = dict(Delivery.objects.values_list("reference", "order_ref"))
    credited = Counter(reference for reference, _ in scene.credits())
    taken_back = Counter(reference for reference, _ in scene.credits("reversal"))
    by_order: Counter[str] = Counter()
    for reference, times in (credited - taken_back).items():
        by_order[order_of.get(reference, reference)] += times
    return sum(times - 1 for times in by_order.values())


def _forged_accepted() -> int:
    """Messages kept that speak of one fen: nobody sends such, but forgers and our own people."""
    return InboundNotification.objects.filter(source="rail:alipay", amount_minor=1).count()


def _lost(report: dict[str, Any]) -> int:
    """Money or credit that somebody's books have and ours have not, or the other way round."""
    return sum(count for name, count in report["violations"].items() if "missing" in name)


def _forgotten_rules() -> list[dict[str, Any]]:
    """Rules that should fire and that nobody will ever look at."""
    low = Q(line__balance_minor__lt=F("threshold_minor"), is_armed=True)
    rules = Rule.objects.filter(
        low, is_on=True, paused_at=None, paused_until=None, wake_at__isnull=True
    )
    return [
        _rule_story(rule)
        for rule in rules.select_related("line")
        # Credit that the last reading cannot know of: the line is asked for its balance soon.
        if gathering.in_flight_of(rule.line_id).minor == 0
    ]


def _rule_story(rule: Rule) -> dict[str, Any]:
    readings = BalanceReading.objects.filter(line=rule.line_id).order_by("-pk")[:6]
    decisions = Decision.objects.filter(rule=rule).order_by("-pk")[:6]
    return {
        "rule": rule.public_id,
        "armed": [rule.is_armed, rule.episode, rule.threshold_minor, rule.cooldown_until],
        "line": [rule.line.balance_minor, rule.line.balance_observed_at, rule.line.poll_at],
        "readings": list(readings.values_list("balance_minor", "observed_at", "is_applied")),
        "decisions": list(decisions.values_list("trigger", "period_key", "code", "at", "facts")),
        "recharges": list(
            rule.recharges.order_by("-pk").values_list(
                "ref", "state", "trigger", "period_key", "completed_at", "face_minor"
            )[:6]
        ),
    }


# --- when something is wrong --------------------------------------------------------------------


def stories(verdict: Verdict, scene: Scene) -> dict[str, Any]:
    """All that is known of each recharge that a violation names, for whoever looks into it."""
    named = {ref for refs in verdict.named.values() for ref in refs}
    attempts = PaymentAttempt.objects.filter(reference__in=named)
    deliveries = Delivery.objects.filter(reference__in=named)
    returned = Refund.objects.filter(Q(reference__in=named) | Q(reversal_ref__in=named))
    of_them = (
        Q(ref__in=named | set(deliveries.values_list("order_ref", flat=True)))
        | Q(pk__in=attempts.values("recharge_id"))
        | Q(pk__in=returned.values("recharge_id"))
    )
    theirs = [*scene.alipay.journal(), *scene.carrier.journal()]
    return {one.ref: _story(one, theirs) for one in Recharge.objects.filter(of_them)}


def _story(one: Recharge, theirs: list[dict[str, Any]]) -> dict[str, Any]:
    deliveries = Delivery.objects.filter(order_ref=one.ref)
    references = {
        *one.attempts.values_list("reference", flat=True),
        *deliveries.values_list("reference", flat=True),
        *one.refunds.values_list("reference", flat=True),
        *one.refunds.values_list("reversal_ref", flat=True),
    }
    return {
        "now": [one.state, one.reason, one.attention, one.fence, one.price_minor],
        "moves": list(one.moves.order_by("pk").values_list("source", "target", "because", "at")),
        "transfers": list(one.transfers.values_list("kind", "reference", "amount_minor", "at")),
        "attempts": list(one.attempts.values_list("reference", "state", "code", "created_at")),
        "deliveries": list(deliveries.values_list("reference", "state", "credited_minor")),
        "refunds": list(one.refunds.values("reference", "reversal_ref", "state", "amount_minor")),
        "rail_calls": _calls(RailCall, references),
        "carrier_calls": _calls(CarrierCall, references),
        "theirs": [entry for entry in theirs if entry.get("reference") in references],
    }


def _calls(model: Any, references: set[str]) -> list[Any]:
    fields = ("kind", "reference", "response", "error", "at")
    return list(model.objects.filter(reference__in=references).values_list(*fields))

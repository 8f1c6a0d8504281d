"""How people pay, what they agree to, what comes of it, and what rails say."""

from datetime import date, time
from typing import Any

from django.db.models import Model
from factory.declarations import (
    LazyAttribute,
    LazyFunction,
    Maybe,
    SelfAttribute,
    Sequence,
    SubFactory,
)
from factory.django import DjangoModelFactory

from billing import models
from billing.calendar import day_key, month_key
from billing.states import AttemptState, DeclineClass, RefundState, Trigger
from billing.states import RechargeState as S
from portal.demo import factories as demo
from portal.demo.factories import Trait
from tests.factories.instants import A_MONTH_AGO, DAY, NOON, SECOND
from tests.factories.lines import LineFactory
from tests.factories.portal import UserFactory

# How a recharge comes to its state: each move, and because of what.
WAYS: dict[str, tuple[tuple[S, str], ...]] = {
    S.DUE: (),
    S.COMPLETED: ((S.CHARGING, "sent"), (S.DELIVERING, "paid"), (S.COMPLETED, "credited")),
    S.PAYMENT_UNKNOWN: ((S.CHARGING, "sent"), (S.PAYMENT_UNKNOWN, "no_answer")),
    S.DELIVERY_UNKNOWN: (
        (S.CHARGING, "sent"),
        (S.DELIVERING, "paid"),
        (S.DELIVERY_UNKNOWN, "carrier_no_answer"),
    ),
    S.DECLINED: ((S.CHARGING, "sent"), (S.DECLINED, "soft_decline")),
    S.FAILED: ((S.CHARGING, "sent"), (S.FAILED, "retries_exhausted")),
    S.CANCELED: ((S.CANCELED, "canceled_by_owner"),),
}


def owned_by_the_lines_owner(factory: type[DjangoModelFactory[Any]]) -> SubFactory:
    return SubFactory(factory, owner=SelfAttribute("..line.owner"), at=SelfAttribute("..at"))


# --- how people pay -------------------------------------------------------------------------------


class RailFactory(DjangoModelFactory[models.Rail]):
    class Meta:
        model = models.Rail
        django_get_or_create = ("code",)

    code = "alipay"
    name = "支付宝"
    name_en = "Alipay"


class BindingFactory(DjangoModelFactory[models.Binding]):
    class Meta:
        model = models.Binding

    class Params:
        at = NOON
        pending = Trait(
            state=models.BindingState.PENDING,
            provider_ref="",
            label="",
            fingerprint="",
            created_at=SelfAttribute("at"),
            signed_at=None,
        )
        revoked = Trait(state=models.BindingState.REVOKED, ended_at=SelfAttribute("at"))
        paused = Trait(paused_at=SelfAttribute("at"), pause_reason="breaker", failures_in_a_row=3)

    owner = SubFactory(UserFactory)
    rail = SubFactory(RailFactory)
    provider_ref = Sequence(lambda n: f"2026{10_000_000 + n}")
    label = "li***@163.com"
    fingerprint = Sequence(lambda n: f"fp{10_000_000 + n}")
    state = models.BindingState.ACTIVE
    created_at = A_MONTH_AGO
    signed_at = SelfAttribute("created_at")


class SpendingCapFactory(DjangoModelFactory[models.SpendingCap]):
    class Meta:
        model = models.SpendingCap

    owner = SubFactory(UserFactory)
    max_per_month_minor = 50_000


class DeclineCodeFactory(DjangoModelFactory[models.DeclineCode]):
    class Meta:
        model = models.DeclineCode
        django_get_or_create = ("rail", "code")

    rail = "alipay"
    code = "POOR"
    decline_class = DeclineClass.SOFT


class PromotionFactory(demo.PromotionFactory):
    class Params:
        at = NOON

    starts_at = LazyAttribute(lambda offer: offer.at - DAY)
    ends_at = LazyAttribute(lambda offer: offer.at + 9 * DAY)


# --- what they agreed to --------------------------------------------------------------------------


class ConsentFactory(DjangoModelFactory[models.Consent]):
    class Meta:
        model = models.Consent

    line = SubFactory(LineFactory)
    owner = SelfAttribute("line.owner")
    binding = owned_by_the_lines_owner(BindingFactory)
    text = "同意"
    text_version = "1"
    language = "zh-hans"
    plan = LazyFunction(dict)
    at = NOON


class RuleFactory(DjangoModelFactory[models.Rule]):
    """On, tops up by 50.00 below 10.00, at most once a day and 150.00 a month."""

    class Meta:
        model = models.Rule

    class Params:
        at = NOON
        paused = Trait(paused_at=SelfAttribute("at"), pause_reason="breaker")
        monthly = Trait(
            cycle="monthly",
            anchor_date=date(2026, 10, 31),
            next_index=1,
            next_run_at=LazyAttribute(lambda rule: rule.at + 9 * DAY),
        )

    line = SubFactory(LineFactory, at=SelfAttribute("..at"))
    binding = owned_by_the_lines_owner(BindingFactory)
    face_minor = 5000
    threshold_minor = 1000
    max_per_charge_minor = 10_000
    max_per_month_minor = 15_000
    charge_time = time(12, 0)
    created_at = A_MONTH_AGO
    is_on = True
    consent = SubFactory(
        ConsentFactory,
        line=SelfAttribute("..line"),
        binding=SelfAttribute("..binding"),
        at=SelfAttribute("..created_at"),
    )


class DecisionFactory(DjangoModelFactory[models.Decision]):
    class Meta:
        model = models.Decision

    rule = SubFactory(RuleFactory)
    trigger = Trigger.LOW_BALANCE
    period_key = Sequence(lambda n: f"e{n}")
    code = "cooling_down"
    recharge = None
    is_charge = LazyAttribute(lambda decision: decision.recharge is not None)
    facts = LazyFunction(lambda: {"currency": "CNY", "balance_minor": 980, "threshold_minor": 1000})
    at = NOON


# --- what came of it ------------------------------------------------------------------------------


class RechargeFactory(DjangoModelFactory[models.Recharge]):
    """Due, and by hand where no rule is given."""

    class Meta:
        model = models.Recharge

    class Params:
        at = NOON
        completed = Trait(
            state=S.COMPLETED,
            charged_at=LazyAttribute(lambda recharge: recharge.at + 2 * SECOND),
            completed_at=LazyAttribute(lambda recharge: recharge.at + 4 * SECOND),
            credited_minor=SelfAttribute("face_minor"),
        )
        payment_unknown = Trait(state=S.PAYMENT_UNKNOWN)
        declined = Trait(state=S.DECLINED)
        failed = Trait(state=S.FAILED)
        canceled = Trait(state=S.CANCELED)

    rule = None
    line = Maybe("rule", SelfAttribute("rule.line"), SubFactory(LineFactory))
    owner = SelfAttribute("line.owner")
    binding = Maybe("rule", SelfAttribute("rule.binding"), owned_by_the_lines_owner(BindingFactory))
    rail = SelfAttribute("binding.rail_id")
    sim_generation = SelfAttribute("line.sim_generation")
    trigger = LazyAttribute(lambda one: Trigger.LOW_BALANCE if one.rule else Trigger.MANUAL)
    period_key = Sequence(lambda n: f"hand:{n}")
    state = S.DUE
    face_minor = 5000
    discount_minor = 0
    price_minor = LazyAttribute(lambda recharge: recharge.face_minor - recharge.discount_minor)
    currency = SelfAttribute("line.currency")
    ladder_s = LazyFunction(list)
    cap_day = LazyAttribute(lambda recharge: day_key(recharge.at, recharge.line.timezone))
    cap_month = LazyAttribute(lambda recharge: month_key(recharge.at, recharge.line.timezone))
    created_at = SelfAttribute("at")
    due_at = SelfAttribute("at")
    expires_at = LazyAttribute(lambda recharge: recharge.at + DAY)

    @classmethod
    def _create(cls, model_class: type[Model], *args: Any, **kwargs: Any) -> models.Recharge:
        """Opened, then led to its state by moves that the database allows, each on record."""
        way = WAYS[kwargs.pop("state")]
        opened: models.Recharge = super()._create(
            model_class, *args, state=S.DUE, reason="opened", **kwargs
        )
        moves = [RechargeMoveFactory.build(recharge=opened)]
        for number, (state, because) in enumerate(way, start=1):
            moves.append(
                RechargeMoveFactory.build(
                    recharge=opened,
                    target=state,
                    because=because,
                    source=opened.state,
                    at=opened.created_at + number * SECOND,
                )
            )
            models.Recharge.objects.filter(pk=opened.pk).update(state=state, reason=because)
            opened.state, opened.reason = state, because
        models.RechargeMove.objects.bulk_create(moves)
        return opened


class RechargeMoveFactory(DjangoModelFactory[models.RechargeMove]):
    """That it was opened."""

    class Meta:
        model = models.RechargeMove

    recharge = SubFactory(RechargeFactory)
    source = ""
    target = S.DUE
    because = "opened"
    at = SelfAttribute("recharge.created_at")


class PromotionUseFactory(DjangoModelFactory[models.PromotionUse]):
    class Meta:
        model = models.PromotionUse

    promotion = SubFactory(PromotionFactory)
    recharge = SubFactory(RechargeFactory)
    line = SelfAttribute("recharge.line")
    amount_minor = 75


class PaymentAttemptFactory(DjangoModelFactory[models.PaymentAttempt]):
    class Meta:
        model = models.PaymentAttempt

    class Params:
        declined = Trait(
            state=AttemptState.DECLINED,
            code="BUYER_BALANCE_NOT_ENOUGH",
            decline_class=DeclineClass.SOFT,
            settled_at=SelfAttribute("created_at"),
        )

    recharge = SubFactory(RechargeFactory)
    number = 1
    reference = Sequence(lambda n: f"P{n:025d}")
    rail = SelfAttribute("recharge.rail")
    binding = SelfAttribute("recharge.binding")
    amount_minor = SelfAttribute("recharge.price_minor")
    currency = SelfAttribute("recharge.currency")
    created_at = SelfAttribute("recharge.created_at")


class RefundFactory(DjangoModelFactory[models.Refund]):
    """10.00 of what was paid, on its way back because nothing else was to be done."""

    class Meta:
        model = models.Refund

    attempt = SubFactory(PaymentAttemptFactory, recharge__completed=True)
    recharge = SelfAttribute("attempt.recharge")
    amount_minor = 1000
    currency = SelfAttribute("recharge.currency")
    state = RefundState.INTENDED
    reason = "test"
    created_at = NOON


class RateFactory(DjangoModelFactory[models.Rate]):
    """A rail that may be called a hundred times a second."""

    class Meta:
        model = models.Rate

    side = models.OutageSide.RAIL
    code = "alipay"
    calls_per_s = 100


class OutageFactory(DjangoModelFactory[models.Outage]):
    """A rail that has given no answer for an hour, and is to be probed now."""

    class Meta:
        model = models.Outage

    class Params:
        at = NOON

    side = models.OutageSide.RAIL
    code = "alipay"
    is_failing = True
    since = LazyAttribute(lambda outage: outage.at - DAY / 24)
    probe_at = SelfAttribute("at")


class CaseFactory(DjangoModelFactory[models.Case]):
    """Three workers died over a recharge, and nobody has looked at it yet."""

    class Meta:
        model = models.Case

    recharge = SubFactory(RechargeFactory)
    code = "crashed"
    since = NOON


class TransferFactory(DjangoModelFactory[models.Transfer]):
    """What was charged, unless it is what was given back."""

    class Meta:
        model = models.Transfer

    class Params:
        refund = Trait(
            kind=models.TransferKind.REFUND,
            source="undelivered",
            destination=LazyAttribute(lambda transfer: f"rail:{transfer.recharge.rail}"),
        )

    recharge = SubFactory(RechargeFactory)
    kind = models.TransferKind.CHARGE
    reference = Sequence(lambda n: f"P{n:025d}")
    source = LazyAttribute(lambda transfer: f"rail:{transfer.recharge.rail}")
    destination = "undelivered"
    amount_minor = SelfAttribute("recharge.price_minor")
    currency = SelfAttribute("recharge.currency")
    at = NOON


class SettlementFactory(DjangoModelFactory[models.Settlement]):
    """Somebody says that nothing was taken; nobody has confirmed it yet."""

    class Meta:
        model = models.Settlement

    attempt = SubFactory(PaymentAttemptFactory)
    recharge = SelfAttribute("attempt.recharge")
    finding = "nothing"
    reason = "looked up"
    fingerprint = "0" * 64
    requested_by = SubFactory(UserFactory)
    created_at = NOON


class NoticeFactory(DjangoModelFactory[models.Notice]):
    class Meta:
        model = models.Notice

    owner = SubFactory(UserFactory)
    kind = models.NoticeKind.LOW_BALANCE
    occurrence_key = Sequence(str)
    facts = LazyFunction(lambda: {"currency": "CNY", "balance_minor": 840, "threshold_minor": 1000})
    created_at = NOON


# --- what rails and carriers say ------------------------------------------------------------------


class RailCallFactory(DjangoModelFactory[models.RailCall]):
    """An answer that is not genuine."""

    class Meta:
        model = models.RailCall

    rail = "alipay"
    kind = "query"
    reference = Sequence(lambda n: f"P{n:025d}")
    request = "{}"
    response = "{}"
    is_verified = False
    at = NOON


class InboundNotificationFactory(DjangoModelFactory[models.InboundNotification]):
    class Meta:
        model = models.InboundNotification

    source = "rail:alipay"
    dedupe_id = Sequence(lambda n: f"n{n}")
    kind = "charge"
    amount_minor = 5000
    body_masked = "{}"
    received_at = NOON


class StatementFactory(DjangoModelFactory[models.Statement]):
    class Meta:
        model = models.Statement
        django_get_or_create = ("source_kind", "code", "day")

    source_kind = models.SourceKind.RAIL
    code = "alipay"
    day = NOON.date()


class DifferenceFactory(DjangoModelFactory[models.Difference]):
    class Meta:
        model = models.Difference

    statement = SubFactory(StatementFactory)
    key = Sequence(lambda n: f"k{n}")
    kind = models.DifferenceKind.AMOUNT
    line_kind = "payment"
    our_state = "booked"
    found_at = NOON
    seen_run = 1

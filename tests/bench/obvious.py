"""The design one would write first: a django-q2 task per recharge, ORM saves along the way.

It keeps the same records with the same models, and commits at the same points.
"""

from typing import Any

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from billing.models import (
    Decision,
    Notice,
    PaymentAttempt,
    RailCall,
    Recharge,
    RechargeMove,
    Rule,
    Transfer,
)
from lines.models import CarrierCall, Delivery
from lines.references import new_reference

TEXT = "x" * 400


def enqueue(rule_ids: list[int]) -> None:
    for rule_id in rule_ids:
        async_task("tests.bench.obvious.recharge", rule_id, cluster="money")


def recharge(rule_id: int) -> None:
    """Open, charge, credit: one row at a time, as an ORM invites one to."""
    now = timezone.now()
    with transaction.atomic():
        rule = Rule.objects.select_for_update(no_key=True).select_related("line").get(pk=rule_id)
        row = _open(rule, now)
    attempt = _intend(row, now)
    with transaction.atomic():
        _paid(row, attempt, now)
    with transaction.atomic():
        _credited(row, rule, now)


def _open(rule: Rule, now: Any) -> Recharge:
    row = Recharge.objects.create(
        ref=new_reference(),
        line=rule.line,
        owner_id=rule.line.owner_id,
        rule=rule,
        binding_id=rule.binding_id,
        rail="alipay",
        sim_generation=1,
        trigger="low_balance",
        period_key="e1",
        state="due",
        face_minor=5000,
        price_minor=5000,
        currency="CNY",
        ladder_s=[],
        cap_day=now.date(),
        cap_month=now.date().replace(day=1),
        created_at=now,
        due_at=now,
        expires_at=now,
        act_at=now,
    )
    _moved(row, "", "due", now)
    Decision.objects.create(
        rule=rule,
        trigger="low_balance",
        period_key="e1",
        code="charge",
        is_charge=True,
        facts={"balance_minor": 980},
        recharge=row,
        at=now,
    )
    rule.is_armed, rule.wake_at = False, None
    rule.save()
    return row


def _intend(row: Recharge, now: Any) -> PaymentAttempt:
    with transaction.atomic():
        _move(row, "charging", now)
        return PaymentAttempt.objects.create(
            recharge=row,
            number=1,
            reference=new_reference(),
            rail="alipay",
            binding_id=row.binding_id,
            amount_minor=5000,
            currency="CNY",
            created_at=now,
        )


def _paid(row: Recharge, attempt: PaymentAttempt, now: Any) -> None:
    RailCall.objects.create(
        rail="alipay",
        kind="charge",
        reference=attempt.reference,
        request=TEXT,
        response=TEXT,
        is_verified=True,
        at=now,
    )
    row.charged_at = now
    _move(row, "delivering", now)
    attempt.state, attempt.provider_ref, attempt.settled_at = "succeeded", "T", now
    attempt.save()
    Transfer.objects.create(
        recharge=row,
        kind="charge",
        reference=attempt.reference,
        source="rail:alipay",
        destination="undelivered",
        amount_minor=5000,
        currency="CNY",
        at=now,
    )
    Delivery.objects.create(
        reference=new_reference(),
        order_ref=row.ref,
        line_id=row.line_id,
        amount_minor=5000,
        currency="CNY",
        created_at=now,
    )


def _credited(row: Recharge, rule: Rule, now: Any) -> None:
    delivery = Delivery.objects.get(order_ref=row.ref)
    CarrierCall.objects.create(
        kind="credit", reference=delivery.reference, request=TEXT, response=TEXT, at=now
    )
    row.completed_at, row.credited_minor, row.act_at = now, 5000, None
    _move(row, "completed", now)
    delivery.state, delivery.credited_minor, delivery.settled_at = "credited", 5000, now
    delivery.save()
    Transfer.objects.create(
        recharge=row,
        kind="deliver",
        reference=delivery.reference,
        source="undelivered",
        destination="carrier:cmcc",
        amount_minor=5000,
        currency="CNY",
        at=now,
    )
    rule.cooldown_until = now
    rule.save()
    line = rule.line
    line.poll_at = now
    line.save()
    Notice.objects.create(
        owner_id=row.owner_id,
        kind="recharged",
        occurrence_key=f"{row.ref}:credited",
        line=line,
        recharge=row,
        facts={"face_minor": 5000},
        created_at=now,
    )


def _move(row: Recharge, target: str, now: Any) -> None:
    source, row.state = row.state, target
    row.save()
    _moved(row, source, target, now)


def _moved(row: Recharge, source: str, target: str, now: Any) -> None:
    RechargeMove.objects.create(recharge=row, source=source, target=target, because="x", at=now)

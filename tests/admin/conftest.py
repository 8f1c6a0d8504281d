"""Operators who have signed in with both factors, and a house full of things to look at."""

import time
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from django.utils import timezone

from billing.models import (
    Decision,
    DeclineCode,
    Difference,
    InboundNotification,
    Promotion,
    PromotionUse,
    Recharge,
    Settlement,
    SpendingCap,
    Statement,
)
from billing.recharges import machine
from billing.refunds import approvals
from billing.rules import by_hand
from lines import operations
from lines.models import BalanceReading, CarrierCall, EsimProfile, LineKind
from portal.accounts.models import User
from portal.models import Heartbeat
from tests import world as w
from tests.world import World

SECRET_CODE = "K2-SECRET-MATCHING-ID"


def give(user: User, *permissions: str) -> User:
    """`permissions` as "app.codename"."""
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return User.objects.get(pk=user.pk)


def sign_in(user: User, *, with_second_factor: bool = True, factor_age_s: int = 0) -> Client:
    """A browser in which `user` has signed in, as allauth would have left it."""
    client = Client()
    client.force_login(user)
    if with_second_factor:
        Authenticator.objects.get_or_create(
            user=user, type=Authenticator.Type.TOTP, defaults={"data": {"secret": "x"}}
        )
        session = client.session
        session[AUTHENTICATION_METHODS_SESSION_KEY] = [
            {"method": "mfa", "at": time.time() - factor_age_s}
        ]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    client.cookies["django_language"] = "en"
    return client


@pytest.fixture
def root(db: Any) -> Client:
    """An administrator."""
    return sign_in(User.objects.create_superuser(email="root@example.com", name="Root"))


@pytest.fixture
def operator(db: Any) -> User:
    return w.person("oliver", is_staff=True)


@pytest.fixture
def colleague(db: Any) -> User:
    return w.person("cora", is_staff=True)


def open_one(world: World, rule: Any, key: str) -> Recharge:
    return by_hand.recharge(
        line=rule.line,
        binding=rule.binding,
        face_minor=5000,
        owner=rule.line.owner,
        idempotency_key=key,
        at=world.at,
    )


def hold(world: World, recharge: Recharge) -> Recharge:
    """As if three workers had died over it before anything was sent."""
    with transaction.atomic():
        machine.move_one(
            machine.Move(recharge.pk, "due", "review", "crashed", None, attention="crashed"),
            at=world.at,
        )
    recharge.refresh_from_db()
    return recharge


def promotion() -> Promotion:
    """One that runs, with something promised."""
    at = timezone.now()
    window = {"starts_at": at - timedelta(days=1), "ends_at": at + timedelta(days=9)}
    found, _made = Promotion.objects.get_or_create(
        code="autumn",
        defaults={
            "name": "秋季立减",
            "name_en": "Autumn",
            "kind": "discount",
            "basis_points": 150,
            "budget_minor": 100_000,
            "reserved_minor": 500,
            "consumed_minor": 2000,
            **window,
        },
    )
    return found


def resident(number: int, world: World) -> Any:
    """A person with a phone, an eSIM line with a card, a rule and a recharge that arrived."""
    owner = w.person(f"resident{number}", phone=f"+86139{number:08d}")
    line = w.line(
        owner, kind=LineKind.ESIM, msisdn=f"+86137{number:08d}", iccid=f"8944538532008{number:06d}"
    )
    EsimProfile.objects.create(
        line=line, smdp_address="rsp.example.com", matching_id=f"{SECRET_CODE}-{number}"
    )
    rule = w.rule(line, max_per_month_minor=100_000, max_per_day_count=9)
    recharge = open_one(world, rule, f"resident-{number}")
    world.run()
    reference = recharge.attempts.get().reference
    BalanceReading.objects.create(
        line=line,
        balance_minor=1860,
        observed_at=world.at,
        received_at=world.at,
        source="pushed",
        is_applied=True,
    )
    CarrierCall.objects.create(
        kind="topup", reference=reference, request="{}", response="{}", at=world.at
    )
    InboundNotification.objects.create(
        source="rail:alipay",
        dedupe_id=reference,
        kind="charge",
        our_ref=reference,
        amount_minor=5000,
        body_masked="{}",
        received_at=world.at,
    )
    Decision.objects.create(
        rule=rule,
        trigger="low_balance",
        period_key="e1",
        code="cooling_down",
        is_charge=False,
        facts={"balance_minor": 980, "threshold_minor": 1000},
        at=world.at,
    )
    PromotionUse.objects.create(
        promotion=promotion(), recharge=recharge, line=line, amount_minor=75
    )
    operations.record(
        token=f"{number}".ljust(43, "x"),
        verb="query-again",
        target=f"recharge:{recharge.ref}",
        actor=owner,
        reason="asked by phone",
        at=world.at,
    )
    Settlement.objects.create(
        recharge=recharge, attempt=recharge.attempts.get(), finding="nothing", reason="looked up",
        fingerprint="0" * 64, requested_by=owner, created_at=world.at,
    )  # fmt: skip
    SpendingCap.objects.create(owner=owner, max_per_month_minor=50_000)
    approvals.request(
        recharge=Recharge.objects.get(pk=recharge.pk),
        amount_minor=1000,
        reason="too much",
        requested_by=owner,
        at=world.at,
    )
    return rule


@pytest.fixture
def house(world: World) -> World:
    """Some of everything that operators look at."""
    for number in (1, 2):
        resident(number, world)
    DeclineCode.objects.get_or_create(
        rail="alipay", code="HOUSE.CODE", defaults={"decline_class": "soft"}
    )
    Heartbeat.objects.get_or_create(name="sweep")
    statement = Statement.objects.create(source_kind="rail", code="alipay", day=world.at.date())
    Difference.objects.create(
        statement=statement, key="k", kind="amount", line_kind="payment", our_state="booked",
        found_at=world.at, seen_run=1,
    )  # fmt: skip
    return world

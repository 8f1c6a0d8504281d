"""Operators who have signed in with both factors, and a house full of things to look at."""

import time
from typing import Any

import pytest
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from django.utils import timezone

from billing.models import (
    Promotion,
    Recharge,
)
from billing.recharges import machine
from billing.refunds import approvals
from billing.rules import by_hand
from lines import operations
from portal.accounts.models import User
from tests import world as w
from tests.factories.billing import (
    DecisionFactory,
    DeclineCodeFactory,
    DifferenceFactory,
    InboundNotificationFactory,
    OutageFactory,
    PromotionFactory,
    PromotionUseFactory,
    SettlementFactory,
    SpendingCapFactory,
)
from tests.factories.lines import BalanceReadingFactory, CarrierCallFactory
from tests.factories.portal import HeartbeatFactory, UserFactory
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
    return sign_in(UserFactory.create(administrator=True, name="Root"))


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
    """One that runs, with something promised; it is not for those who recharge by hand."""
    return Promotion.objects.first() or PromotionFactory.create(
        at=timezone.now(),
        triggers=["expiry"],
        budget_minor=100_000,
        reserved_minor=500,
        consumed_minor=2000,
    )


def resident(number: int, world: World) -> Any:
    """A person with a phone, an eSIM line with a card, a rule and a recharge that arrived."""
    owner = w.person(f"resident{number}", phone=f"+86139{number:08d}")
    line = w.line(
        owner,
        esim=True,
        msisdn=f"+86137{number:08d}",
        iccid=f"8944538532008{number:06d}",
        profile__smdp_address="rsp.example.com",
        profile__matching_id=f"{SECRET_CODE}-{number}",
    )
    rule = w.rule(line, max_per_month_minor=100_000, max_per_day_count=9)
    recharge = open_one(world, rule, f"resident-{number}")
    world.run()
    attempt = recharge.attempts.get()
    BalanceReadingFactory.create(line=line, observed_at=world.at)
    CarrierCallFactory.create(reference=attempt.reference, at=world.at)
    InboundNotificationFactory.create(our_ref=attempt.reference, received_at=world.at)
    DecisionFactory.create(rule=rule, at=world.at)
    PromotionUseFactory.create(promotion=promotion(), recharge=recharge)
    operations.record(
        token=f"{number}".ljust(43, "x"),
        verb="query-again",
        target=f"recharge:{recharge.ref}",
        actor=owner,
        reason="asked by phone",
        at=world.at,
    )
    SettlementFactory.create(attempt=attempt, requested_by=owner, created_at=world.at)
    SpendingCapFactory.create(owner=owner)
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
    DeclineCodeFactory.create(code="HOUSE.CODE")
    HeartbeatFactory.create()
    DifferenceFactory.create()
    OutageFactory.create(at=world.at)
    return world

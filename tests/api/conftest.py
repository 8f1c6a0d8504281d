"""Alice, who has one of everything; Bob, who is a stranger to her; and who else calls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from billing import gateways
from billing.models import Binding, Notice, NoticeKind, Recharge, Rule
from billing.notices import telling
from billing.rules import by_hand
from lines.carriers.tmf654.adapter import Tmf654Carrier
from lines.models import Line
from portal.accounts.models import User
from tests import world
from tests.api.callers import Caller, integrator, with_token
from tests.fakes import FakeGateway


@dataclass
class Belongings:
    """What one person has."""

    owner: User
    line: Line
    esim: Line
    unproven: Line
    binding: Binding
    rule: Rule
    recharge: Recharge
    notice: Notice


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    with gateways.override("alipay", fake):
        yield fake


@pytest.fixture(autouse=True)
def _carrier_that_takes_codes(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CARRIER_TOKENS = {"cmcc": "secret"}
    monkeypatch.setattr(Tmf654Carrier, "send_code", lambda _carrier, **_what: True)


@pytest.fixture
def alice(db: Any, gateway: FakeGateway) -> Belongings:
    return belongings("alice")


@pytest.fixture
def bob(db: Any, gateway: FakeGateway) -> Belongings:
    return belongings("bob")


@pytest.fixture
def as_alice(alice: Belongings) -> Caller:
    return with_token(alice.owner)


@pytest.fixture
def as_carrier(db: Any) -> Caller:
    return integrator(world.person("bss"), world.carrier())


def belongings(name: str) -> Belongings:
    owner = world.person(name)
    tool = world.binding(owner)
    line = world.line(owner)
    code = f"SECRET-{name.upper()}"
    esim = world.line(owner, esim=True, label="旅行", profile__matching_id=code)
    unproven = world.line(owner, unproven=True)
    rule = world.rule(line, binding=tool, max_per_day_count=5)
    spent = by_hand.recharge(
        line=esim,
        binding=tool,
        face_minor=5000,
        owner=owner,
        idempotency_key=name,
        at=world.NOON,
    )
    telling.tell(
        owner_id=owner.pk,
        kind=NoticeKind.LOW_BALANCE,
        occurrence_key="1",
        line_id=line.pk,
        facts={"balance_minor": 900, "threshold_minor": 1000, "currency": "CNY", "is_on": True},
        channels=["inbox"],
        at=world.NOON,
    )
    return Belongings(owner, line, esim, unproven, tool, rule, spent, owner.notices.get())

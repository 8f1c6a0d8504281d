"""Alice, Bob and Charlie, and what is theirs, for the portal's tests.

Alice has two lines, a plan and a history; Bob is the stranger; Charlie has just come.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from billing.gateways.base import Capabilities
from billing.models import (
    Binding,
    NoticeKind,
    Recharge,
    Rule,
)
from billing.states import Trigger
from lines.models import BalanceReading, EsimProfile, Line
from portal.accounts.models import User
from tests.factories.billing import (
    BindingFactory,
    DecisionFactory,
    NoticeFactory,
    RechargeFactory,
    RuleFactory,
)
from tests.factories.lines import BalanceReadingFactory, LineFactory
from tests.factories.portal import UserFactory
from tests.fakes import FakeGateway


def gateway(**capabilities: Any) -> FakeGateway:
    """Alipay, there and willing."""
    currencies = frozenset({"CNY"})
    return FakeGateway(Capabilities(rail="alipay", currencies=currencies, **capabilities))


def person(name: str, *, language: str = "en", **more: Any) -> User:
    """Known by an address, or else by a phone."""
    address = {"email": "" if "phone" in more else f"{name}@example.org"}
    return UserFactory.create(name=name, language=language, **address | more)


def line(owner: User, number: int = 21, *, at: datetime, **more: Any) -> Line:
    given = {
        "msisdn": f"+861380000{number:04d}",
        "iccid": f"8986001234567890{number:04d}",
        "created_at": at - timedelta(days=400),
    }
    return LineFactory.create(owner=owner, at=at, **given | more)


def esim(owner: User, *, at: datetime, **more: Any) -> Line:
    given = {
        "msisdn": "",
        "iccid": "8944538532008160222",
        "balance_minor": 6200,
        "valid_until": at + timedelta(days=21, hours=3),
        "profile__matching_id": "QR-G-5C-1LS-1W1Z9P7",
        "profile__state": EsimProfile.State.INSTALLED,
    }
    return line(owner, at=at, esim=True, **given | more)


def readings(of: Line, *, at: datetime, days: int = 12, per_day_minor: int = 340) -> None:
    """A saw-tooth down to the line's balance, with one recharge on the way."""
    balance = of.balance_minor or 0
    rows = [(of.balance_observed_at or at, balance)]
    for hours in range(4, days * 24, 6):
        minor = balance + per_day_minor * hours // 24
        if hours > days * 12:
            minor -= 5000 - per_day_minor * 4
        rows.append((at - timedelta(hours=hours), max(minor, 150)))
    BalanceReading.objects.bulk_create(
        BalanceReadingFactory.build(line=of, balance_minor=minor, observed_at=then)
        for then, minor in rows
    )


def binding(owner: User, *, at: datetime, **more: Any) -> Binding:
    """The one that is offered first."""
    return BindingFactory.create(owner=owner, at=at, **{"is_default": True} | more)


def rule(of: Line, pays: Binding, *, at: datetime) -> Rule:
    """A running plan: low balance and the 31st of each month."""
    return RuleFactory.create(line=of, binding=pays, at=at, monthly=True, max_per_charge_minor=5000)


def recharge(of: Line, pays: Binding, *, at: datetime, **more: Any) -> Recharge:
    """Opened at `at`, because the balance was low."""
    given = {"trigger": Trigger.LOW_BALANCE} | more
    return RechargeFactory.create(line=of, binding=pays, at=at, **given)


def alice_at_home(*, at: datetime | None = None, language: str = "en") -> User:
    """Alice with all she has: two lines, a plan, charges made and not made, notices."""
    at = at or datetime.now(UTC)
    alice = person("Alice", language=language)
    pays = binding(alice, at=at, expires_at=at + timedelta(days=26))
    mum = line(alice, at=at)
    trip = esim(alice, at=at)
    readings(mum, at=at)
    readings(trip, at=at, per_day_minor=120)
    plan = rule(mum, pays, at=at)
    for months in range(1, 12):
        then = at - timedelta(days=31 * months)
        recharge(mum, pays, at=then, completed=True, discount_minor=75)
    then = at - timedelta(hours=3)
    latest = recharge(mum, pays, at=then, completed=True, discount_minor=75, rule=plan)
    decided(plan, at=at, latest=latest)
    failed = at - timedelta(days=22)
    recharge(mum, pays, at=failed, failed=True, trigger=Trigger.SCHEDULE, rule=plan)
    NoticeFactory.create(owner=alice, line=mum, created_at=then)
    NoticeFactory.create(
        owner=alice,
        kind=NoticeKind.RECHARGED,
        line=mum,
        recharge=latest,
        facts={"currency": "CNY", "face_minor": 5000, "price_minor": 4925, "rail": "alipay"},
        created_at=then + timedelta(minutes=1),
    )
    return alice


def decided(plan: Rule, *, at: datetime, latest: Recharge) -> None:
    """Why there was `latest`, and why there was no other."""
    low = {"currency": "CNY", "balance_minor": 840, "threshold_minor": 1000, "face_minor": 5000}
    DecisionFactory.create(
        rule=plan, code="charge", recharge=latest, facts=low, at=latest.created_at
    )
    until = (at - timedelta(hours=2)).isoformat()
    close = {"currency": "CNY", "balance_minor": 980, "threshold_minor": 1000, "until": until}
    soon_after = at - timedelta(hours=2, minutes=30)
    DecisionFactory.create(rule=plan, code="cooling_down", facts=close, at=soon_after)
    skipped = at - timedelta(days=41)
    DecisionFactory.create(
        rule=plan, code="skipped_by_owner", facts={"currency": "CNY"}, at=skipped
    )

"""People, lines and rules for tests, by the shortest road that the database's guards allow.

Alice has a line with a rule that is on; Bob and Charlie are strangers to her.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import count
from typing import Any

from billing.engine import executor
from billing.ledger import verification
from billing.models import Binding, Consent, Rail, Recharge, Rule
from billing.outside import Outside
from lines.models import Carrier, Line, LineKind, LineStatus
from portal.accounts.models import User
from tests.fakes import FakeCarrier, FakeGateway

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # midday in Shanghai
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_numbers = count(10_000_000)


@dataclass
class World:
    """A rail, a carrier, a clock, and whoever lives there."""

    gateway: FakeGateway = field(default_factory=FakeGateway)
    carrier: FakeCarrier = field(default_factory=FakeCarrier)
    at: datetime = NOON

    @property
    def outside(self) -> Outside:
        return Outside(
            gateways={"alipay": self.gateway},  # type: ignore[dict-item]
            adapter_for=lambda _carrier: self.carrier,  # type: ignore[arg-type,return-value]
            notify_url=lambda rail: f"http://keepline.invalid/hooks/{rail}/notify",
        )

    def later(self, by: timedelta) -> None:
        self.at += by

    def run(self, *, batches: int = 8) -> int:
        """Let the executor work at the present instant until nothing is due."""
        total = 0
        for _ in range(batches):
            step = executor.run_batch(at=self.at, outside=self.outside).total
            total += step
            if step == 0:
                break
        return total

    def lapse_leases(self) -> None:
        """As if the worker that held them had died and its leases had run out."""
        Recharge.objects.update(lease_until=datetime(2000, 1, 1, tzinfo=UTC))


def carrier(code: str = "cmcc", **more: Any) -> Carrier:
    defaults = {
        "name": "中国移动",
        "name_en": "China Mobile",
        "currency": "CNY",
        "denominations_minor": [1000, 2000, 3000, 5000, 10000, 20000],
        "base_url": "http://127.0.0.1:1",
    }
    found, _made = Carrier.objects.get_or_create(code=code, defaults=defaults | more)
    return found


def rail(code: str = "alipay", **more: Any) -> Rail:
    found, _made = Rail.objects.get_or_create(
        code=code, defaults={"name": "支付宝", "name_en": "Alipay"}
    )
    if more:
        Rail.objects.filter(pk=found.pk).update(**more)
        found.refresh_from_db()
    return found


def person(name: str = "alice", **more: Any) -> User:
    found = User.objects.filter(email=f"{name}@example.com").first()
    return found or User.objects.create_user(
        email=f"{name}@example.com", password="correct horse battery", name=name, **more
    )


def line(owner: User | None = None, **more: Any) -> Line:
    number = f"+86138{next(_numbers)}"
    given: dict[str, Any] = {
        "owner": owner or person(),
        "kind": LineKind.FM,
        "carrier": carrier(),
        "label": "妈妈的手机",
        "msisdn": number,
        "status": LineStatus.ACTIVE,
        "created_at": NOON - 30 * DAY,
        "verified_at": NOON - 30 * DAY,
        "balance_minor": 1860,
        "balance_observed_at": NOON - 4 * MINUTE,
    }
    return Line.objects.create(**given | more)


def binding(owner: User | None = None, **more: Any) -> Binding:
    given: dict[str, Any] = {
        "owner": owner or person(),
        "rail": rail(),
        "provider_ref": f"2026{next(_numbers)}",
        "label": "li***@163.com",
        "fingerprint": f"fp{next(_numbers)}",
        "state": "active",
        "created_at": NOON - 30 * DAY,
        "signed_at": NOON - 30 * DAY,
    }
    return Binding.objects.create(**given | more)


def rule(of: Line | None = None, *, is_on: bool = True, **more: Any) -> Rule:
    """A rule that tops up by 50.00 below 10.00, at most once a day and 150.00 a month."""
    of = of or line()
    tool = more.pop("binding", None) or binding(of.owner)
    given: dict[str, Any] = {
        "line": of,
        "binding": tool,
        "face_minor": 5000,
        "threshold_minor": 1000,
        "max_per_charge_minor": 10_000,
        "max_per_month_minor": 15_000,
        "created_at": NOON - 30 * DAY,
        "charge_time": time(12, 0),
    }
    consent = Consent.objects.create(
        line=of,
        owner=of.owner,
        binding=tool,
        text="同意",
        text_version="1",
        language="zh-hans",
        plan={},
        at=NOON - 30 * DAY,
    )
    return Rule.objects.create(is_on=is_on, consent=consent, **given | more)


def assert_balanced() -> None:
    """Every money test ends here."""
    found = verification.verify().violations
    assert found == {}

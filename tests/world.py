"""The world that tests of the core happen in: its clock, its rail and carrier, its sentences.

    w.rule(w.line(balance_minor=980))   # Alice's, paid by a binding of hers

The rows behind them are made by `tests/factories`, as any other row is.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.engine import executor
from billing.ledger import verification
from billing.models import Binding, Rail, Recharge, Rule
from billing.outside import Outside
from lines.models import Carrier, Line
from portal.accounts.models import User
from tests.factories import instants
from tests.factories.billing import BindingFactory, RailFactory, RuleFactory
from tests.factories.lines import CarrierFactory, LineFactory
from tests.factories.portal import UserFactory
from tests.fakes import FakeCarrier, FakeGateway

NOON = instants.NOON
MINUTE, HOUR, DAY = instants.MINUTE, instants.HOUR, instants.DAY


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
    return CarrierFactory.create(code=code, **more)


def rail(code: str = "alipay", **more: Any) -> Rail:
    """As it is there, but for `more`."""
    found = RailFactory.create(code=code)
    if more:
        Rail.objects.filter(pk=found.pk).update(**more)
        found.refresh_from_db()
    return found


def person(name: str = "alice", **more: Any) -> User:
    return UserFactory.create(name=name, **more)


def line(owner: User | None = None, **more: Any) -> Line:
    return LineFactory.create(**_given(owner=owner), **more)


def binding(owner: User | None = None, **more: Any) -> Binding:
    return BindingFactory.create(**_given(owner=owner), **more)


def rule(of: Line | None = None, **more: Any) -> Rule:
    """A rule that tops up by 50.00 below 10.00, at most once a day and 150.00 a month."""
    return RuleFactory.create(**_given(line=of), **more)


def _given(**named: Any) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def assert_balanced() -> None:
    """Every money test ends here."""
    found = verification.verify().violations
    assert found == {}

"""A rail and a carrier that answer at once: what is measured is the executor, not HTTP."""

import time
from datetime import UTC, datetime
from typing import Any

from billing.gateways.base import Answer, Capabilities, ChargeRequest, Exchange, Succeeded
from lines.carriers.base import CreditAnswer, Credited, CreditRequest
from lines.carriers.base import Exchange as CarrierExchange

TEXT = "x" * 400  # about what a real call's masked evidence is


class InstantGateway:
    capabilities = Capabilities(rail="alipay", currencies=frozenset({"CNY"}))

    def charge(self, *, request: ChargeRequest) -> Answer:
        exchange = Exchange("charge", request.reference, TEXT, TEXT, is_verified=True)
        paid = Succeeded("T" + request.reference, request.amount_minor, request.currency)
        return Answer(paid, (exchange,))


class InstantCarrier:
    can_query_by_reference = True

    def credit(self, *, request: CreditRequest) -> CreditAnswer:
        exchange = CarrierExchange("credit", request.reference, TEXT, TEXT)
        return CreditAnswer(Credited("C" + request.reference, request.amount_minor), (exchange,))


def outside() -> Any:
    from billing.outside import Outside

    carrier = InstantCarrier()
    return Outside(
        gateways={"alipay": InstantGateway()},  # type: ignore[dict-item]
        adapter_for=lambda _carrier: carrier,  # type: ignore[arg-type,return-value]
        notify_url=lambda rail: f"http://127.0.0.1/hooks/{rail}/notify",
    )


def tick() -> None:
    """A worker's nudge: the real executor until nothing is due."""
    from billing.engine import executor

    executor.run(clock=lambda: datetime.now(UTC), outside=outside(), budget_s=50)


def wake_up() -> None:
    """Have a worker import what it needs, and connect."""
    from billing.models import Rule

    Rule.objects.exists()
    time.sleep(0.2)

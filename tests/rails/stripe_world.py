"""What the Stripe tests share: fixtures, a rail for the contract, requests."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from billing.gateways.base import ChargeRequest, RefundRequest
from billing.gateways.stripe.adapter import StripeGateway
from tests.rails.contract import Rail, new_ref
from tests.rails.stripe_simulator import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    EventInbox,
    StripeSimulator,
    start_stripe,
)

CREATE, CONFIRM = "payment_intents.create", "payment_intents.confirm"
REFUND = "refunds.create"
CALM_SETTINGS: dict[str, Any] = {
    "auto_agree": False,
    "processing_s": 1,
    "search_lag_s": 0,
    "settlement_currency": "",
    "leaves_unattached": False,
    "refund_status": "succeeded",
    "is_silent": False,
    "webhook_secrets": [WEBHOOK_SECRET],
}


@pytest.fixture(scope="module")
def stripe_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeSimulator]:
    with start_stripe(tmp_path_factory.mktemp("stripe")) as simulator:
        yield simulator


@pytest.fixture
def events() -> Iterator[EventInbox]:
    box = EventInbox()
    yield box
    box.close()


@pytest.fixture
def stripe_sim(stripe_process: StripeSimulator, events: EventInbox) -> StripeSimulator:
    """The module's Stripe without faults, telling its events to `events`."""
    stripe_process.calm_again()
    stripe_process.set(**CALM_SETTINGS, webhook_url=events.url)
    return stripe_process


@pytest.fixture
def own_stripe(tmp_path: Any) -> Iterator[StripeSimulator]:
    """A Stripe of this test's own: to move its clock, kill it, or count everything in it."""
    with start_stripe(tmp_path) as simulator:
        yield simulator


def gateway_of(
    stripe_sim: StripeSimulator, *, timeout_s: int = 10, **changes: str
) -> StripeGateway:
    """An adapter that lives in the simulator's time, which tests move."""
    return StripeGateway.from_settings(
        stripe_sim.settings(**changes), timeout_s=timeout_s, clock=stripe_sim.now
    )


def charge_of(provider_ref: str, **changes: Any) -> ChargeRequest:
    values: dict[str, Any] = {
        "reference": new_ref(),
        "provider_binding_ref": provider_ref,
        "amount_minor": 5000,
        "currency": "CNY",
        "description": "话费充值 ¥50",
        "notify_url": "",
        "return_url": "https://keepline.example/back",
    }
    return ChargeRequest(**(values | changes))


def refund_of(charge: ChargeRequest, amount_minor: int, **changes: Any) -> RefundRequest:
    values: dict[str, Any] = {
        "refund_ref": new_ref("F"),
        "charge_ref": charge.reference,
        "provider_charge_ref": "",
        "amount_minor": amount_minor,
        "charged_minor": charge.amount_minor,
        "currency": charge.currency,
        "reason": "充值未成功",
    }
    return RefundRequest(**(values | changes))


def rail_of(stripe_sim: StripeSimulator, events: EventInbox) -> Rail:
    """Stripe for the shared contract. Answers are not signed: TLS guards them, so the one that is
    not genuine is one that cannot be read."""

    def lose(method: str, is_after: bool) -> None:
        stripe_sim.fault(method, "lose_after" if is_after else "lose_before")

    def decline() -> str:
        stripe_sim.fault(CREATE, "decline", decline_code="insufficient_funds")
        return "insufficient_funds"

    def statement_day() -> date:
        day = stripe_sim.now().date()
        stripe_sim.advance(2 * 24 * 3600)
        return day

    return Rail(
        gateway=gateway_of(stripe_sim),
        currency="CNY",
        notify_url=events.url,
        sign=stripe_sim.bind,
        revoke=stripe_sim.detach,
        charges=stripe_sim.charges,
        refunds=stripe_sim.refunds,
        lose_charge_answer=lambda is_after: lose(CREATE, is_after),
        lose_refund_answer=lambda is_after: lose(REFUND, is_after),
        decline_charge=decline,
        spoil_charge_signature=lambda: stripe_sim.fault(CREATE, "garbage"),
        received=events.wait_for,
        statement_day=statement_day,
        now=stripe_sim.now,
        secrets=(SECRET_KEY, WEBHOOK_SECRET, "Xt5EWLLDS7FJjR1c"),
    )

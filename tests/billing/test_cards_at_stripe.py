"""A card's whole life, from Stripe's page to a dispute, over real HTTP both ways."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from billing import gateways
from billing.bindings import lifecycle
from billing.engine import executor, incoming
from billing.gateways.base import Closed
from billing.models import (
    Binding,
    InboundNotification,
    Notice,
    PaymentAttempt,
    RailCall,
    Recharge,
    Rule,
)
from tests import world as w
from tests.rails.stripe_simulator import start_stripe
from tests.rails.stripe_world import CREATE

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]
PATIENCE_S = 30


@pytest.fixture(scope="module")
def stripe_process(tmp_path_factory):
    with start_stripe(tmp_path_factory.mktemp("stripe")) as simulator:
        yield simulator


@pytest.fixture
def stripe_sim(stripe_process, live_server, settings):
    stripe_process.calm()
    stripe_process.set(webhook_url=f"{live_server.url}/hooks/stripe/notify")
    settings.RAILS, settings.RAILS_STOPPED = {"stripe": stripe_process.settings()}, {}
    return stripe_process


@pytest.fixture
def started(stripe_sim, live_server):
    """Alice on her way to Stripe's page."""
    return lifecycle.start(
        owner=w.person(),
        rail=w.rail("stripe"),
        return_url=f"{live_server.url}/back/{{ref}}",
        notify_url="",
        gateway=gateways.get("stripe"),
        at=now(),
    )


@pytest.fixture
def shop(world):
    """A world whose time is now."""
    world.at = now()
    return world


def now():
    return datetime.now(UTC)


def heard(claims, count=1):
    """Wait until so many events that say so have come in."""
    until = time.monotonic() + PATIENCE_S
    while InboundNotification.objects.filter(claims__startswith=claims).count() < count:
        assert time.monotonic() < until, list(InboundNotification.objects.values("claims"))
        time.sleep(0.05)


def look():
    """What the sweeps do, once."""
    incoming.process(at=now(), limit=50)
    lifecycle.poll_due(at=now(), limit=10)


def bound(stripe_sim, started, card="good"):
    """The card chosen on the page, and found out by its event."""
    session = started.binding.provider_ref
    page = stripe_sim.choose(session, card)
    if page["status"] == "requires_action":
        stripe_sim.confirm(page["setup_intent"])
    heard("checkout.session.completed")
    look()
    return Binding.objects.get()


def run(shop):
    """The executor's work that is due now, with Stripe as the only rail."""
    outside = replace(
        shop.outside,
        gateways={"stripe": gateways.get("stripe")},
        return_url=lambda ref: f"https://keepline.example/recharges/{ref}",
    )
    for _ in range(8):
        if executor.run_batch(at=shop.at, outside=outside).total == 0:
            break
    return Recharge.objects.get()


def low(binding, shop):
    return w.rule(
        w.line(balance_minor=980, balance_observed_at=shop.at - w.MINUTE),
        binding=binding,
        wake_at=shop.at,
    )


class TestACard:
    def test_is_bound_on_stripes_page_and_known_by_no_number(self, stripe_sim, started):
        assert started.url.startswith(f"{stripe_sim.url}/c/pay/cs_")
        binding = bound(stripe_sim, started)
        assert (binding.state, binding.is_usable) == ("active", True)
        assert binding.label == "Visa ****4242"
        assert binding.provider_ref.startswith("cus_")
        assert binding.expires_at == datetime(2035, 1, 1, tzinfo=UTC)
        kept = "".join(RailCall.objects.values_list("response", flat=True))
        assert "cs_" in kept
        for token in binding.provider_ref.split("/"):
            assert token not in kept

    def test_pays_for_a_recharge_once_though_the_answer_is_lost(self, stripe_sim, started, shop):
        low(bound(stripe_sim, started), shop)
        stripe_sim.fault(CREATE, "lose_after")
        assert run(shop).state == "payment_unknown"
        heard("payment_intent.succeeded")
        look()
        shop.at = now()
        recharge = run(shop)
        assert recharge.state == "completed"
        attempt = PaymentAttempt.objects.get()
        assert stripe_sim.charges()[attempt.reference] == 5000
        assert attempt.provider_ref.startswith("pi_")
        w.assert_balanced()

    def test_that_is_stolen_stops_its_rules_at_once(self, stripe_sim, started, shop):
        rule = low(bound(stripe_sim, started, "stolen"), shop)
        assert run(shop).state == "failed"
        attempt = PaymentAttempt.objects.get()
        assert (attempt.code, attempt.decline_class) == ("advice:do_not_try_again", "hard")
        assert attempt.reference not in stripe_sim.charges()
        rule.refresh_from_db()
        assert rule.paused_at is not None
        assert not Binding.objects.get().is_usable
        w.assert_balanced()

    def test_whose_bank_wants_the_payer_waits_with_a_link_and_is_paid(
        self, stripe_sim, started, shop
    ):
        low(bound(stripe_sim, started, "authenticate"), shop)
        recharge = run(shop)
        assert recharge.state == "action_required"
        assert recharge.action_url.startswith(f"{stripe_sim.url}/3ds/pi_")
        assert Notice.objects.filter(kind="action_required").count() == 1
        assert requests.get(recharge.action_url, timeout=PATIENCE_S).status_code == 200
        back = stripe_sim.confirm(PaymentAttempt.objects.get().provider_ref)
        assert back.startswith(f"https://keepline.example/recharges/{recharge.ref}?")
        heard("payment_intent.succeeded")
        look()
        shop.at = now()
        assert run(shop).state == "completed"
        w.assert_balanced()

    def test_whose_payer_never_confirms_is_called_off_at_stripe_and_rests(
        self, stripe_sim, started, shop
    ):
        low(bound(stripe_sim, started, "authenticate"), shop)
        assert run(shop).state == "action_required"
        reference = PaymentAttempt.objects.get().reference
        shop.later(w.DAY + w.HOUR)
        recharge = run(shop)
        assert (recharge.state, recharge.reason) == ("failed", "not_confirmed")
        asked = gateways.get("stripe").query(reference=reference)
        assert asked.outcome == Closed(asked.outcome.provider_ref, "canceled")
        assert reference not in stripe_sim.charges()
        assert Binding.objects.get().pause_reason == "needs_confirmation"
        w.assert_balanced()

    def test_that_is_disputed_is_charged_no_more(self, stripe_sim, started, shop):
        low(bound(stripe_sim, started), shop)
        assert run(shop).state == "completed"
        reference = PaymentAttempt.objects.get().reference
        stripe_sim.control("POST", "disputes", {"reference": reference})
        heard("charge.dispute.created")
        look()
        assert not Binding.objects.get().is_usable
        assert Rule.objects.get().paused_at is not None

    def test_that_is_removed_at_stripe_stops_its_rules(self, stripe_sim, started, shop):
        binding = bound(stripe_sim, started)
        low(binding, shop)
        stripe_sim.detach(binding.provider_ref)
        heard("payment_method.detached")
        look()
        binding.refresh_from_db()
        assert binding.state == "revoked"
        assert Rule.objects.get().pause_reason == "binding_ended"

    def test_is_removed_at_stripe_when_its_owner_ends_it(self, stripe_sim, started):
        binding = bound(stripe_sim, started)
        ended = lifecycle.end(
            binding=binding,
            gateway=gateways.get("stripe"),
            what_of_rules="pause",
            at=now() + timedelta(seconds=1),
        )
        assert ended.state == "revoked"
        number = binding.provider_ref.split("/")[1]
        [card] = [one for one in stripe_sim.objects("payment_method") if one["id"] == number]
        assert card["customer"] is None

    def test_that_is_forged_into_an_event_changes_nothing(self, stripe_sim, started, live_server):
        bound(stripe_sim, started)
        before = InboundNotification.objects.count()
        answer = requests.post(
            f"{live_server.url}/hooks/stripe/notify",
            data=b'{"object":"event","id":"evt_1","data":{"object":{}}}',
            headers={"Stripe-Signature": f"t={int(now().timestamp())},v1={'0' * 64}"},
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 400
        assert InboundNotification.objects.count() == before

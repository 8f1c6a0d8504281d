"""Agreements from the browser to the end, at Alipay's simulator, over real HTTP both ways."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from billing import gateways
from billing.bindings import lifecycle
from billing.engine import incoming
from billing.models import Binding, InboundNotification, Notice, RailCall, Rule
from tests import world as w
from tests.rails.simulators import start_alipay

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]

QUERY, UNSIGN = "alipay.user.agreement.query", "alipay.user.agreement.unsign"
PATIENCE_S = 30


@pytest.fixture
def alipay(tmp_path, live_server, settings):
    gateway_url = f"{live_server.url}/hooks/alipay/gateway"
    with start_alipay(tmp_path, app_gateway_url=gateway_url, auto_agree=True) as simulator:
        settings.RAILS, settings.RAILS_STOPPED = {"alipay": simulator.settings()}, {}
        yield simulator


@pytest.fixture
def signed(alipay, live_server):
    """Alice's binding, agreed to on Alipay's own page and found out by its notification."""
    started = lifecycle.start(
        owner=w.person(),
        rail=w.rail(),
        return_url=f"{live_server.url}/back/{{ref}}",
        notify_url=f"{live_server.url}/hooks/alipay/notify",
        gateway=gateways.get("alipay"),
        at=now(),
    )
    page = requests.get(started.url, timeout=PATIENCE_S, allow_redirects=False)
    assert page.status_code == 303, page.text[:300]
    assert page.headers["Location"].startswith(f"{live_server.url}/back/{started.binding.ref}")
    heard("NORMAL")
    look()
    return Binding.objects.get()


def now():
    return datetime.now(UTC)


def heard(claims):
    """Wait until the notification that says so has come in."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if InboundNotification.objects.filter(kind="binding", claims=claims).exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{claims} was not heard: {list(InboundNotification.objects.values())}")


def look(*, at=None):
    """What the sweeps do, once."""
    incoming.process(at=at or now(), limit=10)
    lifecycle.poll_due(at=at or now(), limit=10)


class TestAnAgreementAtAlipay:
    def test_is_signed_on_its_page_and_found_out_by_its_notification(self, signed):
        assert (signed.state, signed.is_default, signed.is_usable) == ("active", True, True)
        assert len(signed.fingerprint) == 64
        assert signed.signed_at is not None
        assert signed.provider_ref
        asked = RailCall.objects.filter(kind=QUERY, reference=signed.ref)
        assert asked.exists()
        assert not any(signed.provider_ref in call.response for call in asked)

    def test_that_the_payer_ends_in_the_app_stops_the_rules(self, alipay, signed):
        w.rule(w.line(signed.owner), binding=signed)

        alipay.revoke(signed.provider_ref)
        heard("UNSIGN")
        assert Binding.objects.get().state == "active"  # said, and not yet asked
        look()

        signed.refresh_from_db()
        assert (signed.state, signed.is_default) == ("revoked", False)
        assert Rule.objects.get().pause_reason == "binding_ended"
        assert Notice.objects.filter(kind="binding_ended").count() == 1

    def test_that_runs_out_in_silence_is_found_by_the_daily_look(self, alipay, signed):
        w.rule(w.line(signed.owner), binding=signed)
        alipay.expire(signed.provider_ref)
        before = InboundNotification.objects.count()

        look(at=now() + timedelta(days=1, minutes=1))

        assert InboundNotification.objects.count() == before
        signed.refresh_from_db()
        assert signed.state == "expired"
        assert Rule.objects.get().pause_reason == "binding_ended"

    def test_is_ended_at_alipay_though_its_answer_was_lost(self, alipay, signed):
        alipay.fault(UNSIGN, "lose_after")

        binding = lifecycle.end(
            binding=signed, gateway=gateways.get("alipay"), what_of_rules="pause", at=now()
        )

        assert (binding.pause_reason, binding.is_usable) == ("ending", False)
        assert alipay.agreement(signed.provider_ref)["status"] == "STOP"
        look(at=now() + timedelta(minutes=6))
        binding.refresh_from_db()
        assert (binding.state, binding.pause_reason) == ("revoked", "")
        lost, found = RailCall.objects.filter(kind=UNSIGN).order_by("pk")
        assert (lost.is_verified, found.is_verified) == (False, True)

    def test_is_left_alone_while_alipay_is_not_there(self, alipay, signed):
        rule = w.rule(w.line(signed.owner), binding=signed)
        alipay.stop()
        look(at=now() + timedelta(days=1, minutes=1))
        signed.refresh_from_db()
        rule.refresh_from_db()
        assert (signed.state, rule.paused_at) == ("active", None)

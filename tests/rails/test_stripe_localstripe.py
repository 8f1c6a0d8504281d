"""Somebody else's Stripe: the adapter against `localstripe`, as far as that goes.

Our simulator and our adapter are by one hand; this one is by another. It has no Checkout, keeps no
idempotency keys, searches nothing, lists nobody's payments and tells declines by one word.
What it has, the adapter must get along with, and what it has not must come out as unknown, never as
"not found".
"""

import os
import subprocess
import sys
import time

import pytest
import requests
import stripe

from billing.gateways.base import (
    BadNotification,
    BindingFacts,
    BindingStatus,
    NotificationKind,
    Refused,
    Succeeded,
    Unknown,
)
from billing.gateways.stripe.adapter import StripeGateway
from tests.rails.alipay_world import until
from tests.rails.contract import new_ref
from tests.rails.processes import free_port
from tests.rails.stripe_simulator import SECRET_KEY, WEBHOOK_SECRET, EventInbox
from tests.rails.stripe_world import charge_of, refund_of

pytestmark = pytest.mark.processes

# It listens on every address and keeps one file in the temporary folder: neither here. It knows the
# list of allowed methods by the name that Stripe gave up in 2026, and does nothing with it.
STARTER = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
made = resources.PaymentIntent.__init__
def make(self, allowed_payment_method_types=None, **params):
    made(self, payment_method_types=allowed_payment_method_types, **params)
resources.PaymentIntent.__init__ = make
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
GOOD, DECLINED = "4242424242424242", "4000000000000341"  # the vendor's published test numbers


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory):
    home = tmp_path_factory.mktemp("localstripe")
    port = free_port()
    private = os.environ | {"HOME": str(home), "TMPDIR": str(home)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(port)], env=private, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, home / "log")
        yield url
    finally:
        process.kill()
        process.wait()


def _wait(url, process, log):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{url}/v1/customers", timeout=5)
        except requests.RequestException:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


@pytest.fixture
def sdk(localstripe):
    return stripe.StripeClient(SECRET_KEY, base_addresses={"api": localstripe}).v1


@pytest.fixture
def gateway(localstripe):
    settings = {
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_URL": localstripe,
    }
    return StripeGateway.from_settings(settings, timeout_s=10)


def bound(sdk, number=GOOD):
    """What its missing hosted page would leave behind."""
    customer = sdk.customers.create({"metadata": {"keepline_binding": new_ref("B")}})
    card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    method = sdk.payment_methods.create({"type": "card", "card": card})
    setup = sdk.setup_intents.create({"customer": customer.id, "usage": "off_session"})
    sdk.setup_intents.confirm(setup.id, {"payment_method": method.id})
    sdk.payment_methods.attach(method.id, {"customer": customer.id})
    return f"{customer.id}/{method.id}"


def taken(sdk, reference):
    """What really happened under a reference."""
    intents = sdk.payment_intents.list({"limit": 100}).data
    mine = [one for one in intents if one.metadata.to_dict().get("keepline_ref") == reference]
    return [one.amount for one in mine if one.status == "succeeded"]


class TestTheAdapterAgainstLocalstripe:
    def test_charges_a_card_and_says_what_was_paid_when(self, sdk, gateway):
        request = charge_of(bound(sdk))
        paid = gateway.charge(request=request).outcome
        assert isinstance(paid, Succeeded)
        assert (paid.amount_minor, paid.currency) == (5000, "CNY")
        assert paid.at is not None
        assert taken(sdk, request.reference) == [5000]
        asked = gateway.query(reference=request.reference, provider_ref=paid.provider_ref)
        assert asked.outcome == paid

    def test_reads_a_decline_that_is_told_in_one_word(self, sdk, gateway):
        request = charge_of(bound(sdk, DECLINED))
        refused = gateway.charge(request=request).outcome
        assert isinstance(refused, Refused)
        assert refused.code == "card_declined"
        assert taken(sdk, request.reference) == []

    def test_gives_back_once_however_often_it_is_asked(self, sdk, gateway):
        charge = charge_of(bound(sdk))
        paid = gateway.charge(request=charge).outcome
        request = refund_of(charge, 2000, provider_charge_ref=paid.provider_ref)
        for _ in range(2):
            given = gateway.refund(request=request).outcome
            assert isinstance(given, Succeeded)
            assert given.amount_minor == 2000
        refunds = sdk.refunds.list({"payment_intent": paid.provider_ref}).data
        assert [one.amount for one in refunds] == [2000]

    def test_tells_a_card_and_removes_it(self, sdk, gateway):
        provider_ref = bound(sdk)
        facts = gateway.get_binding(binding_ref="", provider_ref=provider_ref).outcome
        assert isinstance(facts, BindingFacts)
        assert (facts.status, facts.label) == (BindingStatus.ACTIVE, "Visa ****4242")
        again = gateway.get_binding(binding_ref="", provider_ref=bound(sdk)).outcome
        assert isinstance(again, BindingFacts)
        assert facts.fingerprint == again.fingerprint != ""
        for _ in range(2):
            ended = gateway.revoke_binding(binding_ref="", provider_ref=provider_ref)
            assert ended.outcome == BindingFacts(BindingStatus.REVOKED, provider_ref)

    def test_says_unknown_where_it_cannot_be_answered(self, sdk, gateway):
        request = charge_of(bound(sdk))
        gateway.charge(request=request)
        searched = gateway.query(reference=request.reference)
        listed = gateway.query(
            reference=request.reference, provider_binding_ref=request.provider_binding_ref
        )
        assert isinstance(searched.outcome, Unknown)
        assert isinstance(listed.outcome, Unknown)

    def test_believes_its_webhooks_signature_and_no_other(self, localstripe, sdk, gateway):
        inbox = EventInbox()
        hook = {"url": inbox.url, "secret": WEBHOOK_SECRET, "events": ["payment_intent.succeeded"]}
        requests.post(f"{localstripe}/_config/webhooks/keepline", json=hook, timeout=10)
        try:
            request = charge_of(bound(sdk))
            paid = gateway.charge(request=request).outcome
            mine = request.reference.encode()  # it tells of earlier tests a second late
            until(lambda: any(mine in body for _, body in inbox.received))
            headers, body = next(one for one in inbox.received if mine in one[1])
        finally:
            inbox.close()
        at = paid.at
        note, _ = gateway.parse_notification(headers=headers, body=body, query={}, at=at)
        assert (note.kind, note.our_ref) == (NotificationKind.CHARGE, request.reference)
        assert (note.provider_ref, note.amount_minor) == (paid.provider_ref, 5000)
        spoilt = body.replace(b"5000", b"5001")
        with pytest.raises(BadNotification):
            gateway.parse_notification(headers=headers, body=spoilt, query={}, at=at)

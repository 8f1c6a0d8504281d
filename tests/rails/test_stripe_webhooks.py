"""Stripe's events: the SDK as judge of the signatures, the adapter as the one who must not err."""

import hashlib
import hmac
import json
import random
import string
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from billing import gateways
from billing.gateways.base import BadNotification, DisputeStanding, NotificationKind, Succeeded
from billing.gateways.stripe.adapter import StripeGateway
from tests.rails.alipay_world import until
from tests.rails.contract import new_ref
from tests.rails.stripe_simulator import PREVIOUS_SECRET, SECRET_KEY, WEBHOOK_SECRET
from tests.rails.stripe_world import CREATE, charge_of, gateway_of, refund_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DISPUTE_STATUSES = {
    "warning_needs_response": DisputeStanding.OPEN,
    "warning_under_review": DisputeStanding.OPEN,
    "warning_closed": DisputeStanding.DROPPED,
    "needs_response": DisputeStanding.OPEN,
    "under_review": DisputeStanding.OPEN,
    "won": DisputeStanding.WON,
    "lost": DisputeStanding.LOST,
}
processes = pytest.mark.processes


def header_of(body, *, secret=WEBHOOK_SECRET, at=NOW, scheme="v1"):
    """Signed by hand, by the vendor's description."""
    seconds = int(at.timestamp())
    stamp = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},{scheme}={stamp.hexdigest()}"


def event_of(kind="payment_intent.succeeded", subject=None, **changes):
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 5000,
        "currency": "cny",
        "metadata": {"keepline_ref": "R1"},
        "status": "succeeded",
        "client_secret": "pi_1_secret_abc",
        "customer": "cus_abcdefgh1234",
    }
    event = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "livemode": False,
        "created": int(NOW.timestamp()),
        "data": {"object": subject or intent},
    }
    return json.dumps(event | changes).encode()


def adapter(**changes):
    settings = {"STRIPE_SECRET_KEY": SECRET_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
    return StripeGateway.from_settings(settings | changes, timeout_s=10)


def read(body, header, *, gateway=None, at=NOW):
    headers = {"Stripe-Signature": header} if header is not None else {}
    notification, acknowledgement = (gateway or adapter()).parse_notification(
        headers=headers, body=body, query={}, at=at
    )
    assert (acknowledgement.status, acknowledgement.content_type) == (200, "application/json")
    return notification


class TestAGenuineEvent:
    def test_of_a_payment_names_our_reference_the_amount_and_stripes_number(self):
        body = event_of()
        note = read(body, header_of(body))
        assert note.kind is NotificationKind.CHARGE
        assert (note.dedupe_id, note.our_ref, note.provider_ref) == ("evt_1", "R1", "pi_1")
        assert (note.amount_minor, note.currency) == (5000, "CNY")
        assert note.claims == "payment_intent.succeeded"

    def test_is_kept_without_what_would_let_somebody_pay_with_it(self):
        body = event_of()
        kept = read(body, header_of(body)).body_masked
        assert "pi_1" in kept
        assert "secret_abc" not in kept
        assert "cus_abcdefgh" not in kept

    def test_may_carry_its_header_in_any_case(self):
        body = event_of()
        headers = {"stripe-signature": header_of(body)}
        adapter().parse_notification(headers=headers, body=body, query={}, at=NOW)

    @pytest.mark.parametrize("seconds", [-299, 0, 299])
    def test_is_read_within_five_minutes(self, seconds):
        body = event_of()
        assert read(body, header_of(body), at=NOW + timedelta(seconds=seconds))

    def test_signed_while_the_secret_is_rolled_is_read_by_either(self):
        body = event_of()
        rolled = adapter(STRIPE_WEBHOOK_SECRET_PREVIOUS=PREVIOUS_SECRET)
        for secret in (WEBHOOK_SECRET, PREVIOUS_SECRET):
            assert read(body, header_of(body, secret=secret), gateway=rolled)
        both = f"{header_of(body, secret='whsec_next_0000000000')},v1={'0' * 64}"
        with pytest.raises(BadNotification):
            read(body, both, gateway=rolled)
        with pytest.raises(BadNotification):
            read(body, header_of(body, secret=PREVIOUS_SECRET))

    @pytest.mark.parametrize(
        ("kind", "subject", "expected"),
        [
            (
                "checkout.session.completed",
                {"id": "cs_1", "client_reference_id": "B1", "metadata": {}},
                (NotificationKind.BINDING, "B1", "cs_1", ""),
            ),
            (
                "setup_intent.setup_failed",
                {"id": "seti_1", "metadata": {"keepline_binding": "B1"}},
                (NotificationKind.BINDING, "B1", "seti_1", ""),
            ),
            (
                "payment_method.detached",
                {"id": "pm_1", "metadata": {"keepline_binding": "B1"}, "customer": None},
                (NotificationKind.BINDING, "B1", "pm_1", ""),
            ),
            (
                "payment_method.automatically_updated",
                {"id": "pm_1", "metadata": {"keepline_binding": "B1"}},
                (NotificationKind.BINDING, "B1", "pm_1", ""),
            ),
            (
                "payment_intent.payment_failed",
                {"id": "pi_1", "metadata": {"keepline_ref": "R1"}, "amount": 1, "currency": "hkd"},
                (NotificationKind.CHARGE, "R1", "pi_1", ""),
            ),
            (
                "charge.refunded",
                {"id": "ch_1", "metadata": {"keepline_ref": "R1"}, "payment_intent": "pi_1"},
                (NotificationKind.REFUND, "R1", "pi_1", ""),
            ),
            (
                "refund.failed",
                {
                    "id": "re_1",
                    "metadata": {"keepline_ref": "R1", "keepline_refund": "F1"},
                    "payment_intent": "pi_1",
                },
                (NotificationKind.REFUND, "R1", "pi_1", "F1"),
            ),
            (
                "charge.dispute.funds_withdrawn",
                {"id": "dp_1", "payment_intent": "pi_1", "metadata": {}, "status": "lost"},
                (NotificationKind.DISPUTE, "", "pi_1", ""),
            ),
            ("payout.paid", {"id": "po_1"}, (NotificationKind.OTHER, "", "", "")),
            ("charge.succeeded", {"id": "ch_1"}, (NotificationKind.OTHER, "", "", "")),
            (
                "payment_intent.succeeded",
                {"id": "pi_of_the_shop", "metadata": {}},
                (NotificationKind.OTHER, "", "", ""),
            ),
            (
                "payment_method.detached",
                {"id": "pm_of_the_shop", "metadata": None},
                (NotificationKind.OTHER, "", "", ""),
            ),
        ],
    )  # fmt: skip
    def test_is_of_the_kind_that_its_type_says(self, kind, subject, expected):
        body = event_of(kind, subject)
        note = read(body, header_of(body))
        assert (note.kind, note.our_ref, note.provider_ref, note.refund_ref) == expected

    def test_of_a_dispute_says_how_it_stands(self):
        subject = {"id": "dp_1", "payment_intent": "pi_1", "status": "won", "amount": 5000}
        body = event_of("charge.dispute.closed", subject)
        note = read(body, header_of(body))
        assert (note.claims, note.amount_minor) == ("charge.dispute.closed:won", 5000)

    def test_of_a_dispute_is_understood_by_the_word_that_it_says(self):
        stands = {}
        for status in DISPUTE_STATUSES:
            subject = {"id": "dp_1", "payment_intent": "pi_1", "status": status}
            body = event_of("charge.dispute.updated", subject)
            said = read(body, header_of(body)).claims
            stands[status] = gateways.dispute_standing("stripe", said)
        assert stands == DISPUTE_STATUSES

    def test_of_a_dispute_that_says_nothing_known_is_of_an_open_one(self):
        said = ("", "charge.dispute.created", "charge.dispute.closed:", "won:", "closed:WON")
        stands = {gateways.dispute_standing("stripe", claims) for claims in said}
        assert stands == {DisputeStanding.OPEN}

    def test_of_live_mode_is_nothing_to_a_test_key(self):
        body = event_of(livemode=True)
        assert read(body, header_of(body)).kind is NotificationKind.OTHER


class TestAForgery:
    def test_is_refused_a_thousand_times_in_every_shape(self):
        gateway, chance = adapter(STRIPE_WEBHOOK_SECRET_PREVIOUS=PREVIOUS_SECRET), random.Random(7)
        body = event_of()
        accepted, answers = 0, []
        for number in range(1000):
            try:
                read(*_forged(body, number, chance), gateway=gateway)
                accepted += 1
            except BadNotification as refusal:
                answers.append(refusal.acknowledgement.status)
        assert accepted == 0
        assert answers == [400] * 1000

    @pytest.mark.parametrize("seconds", [301, 3600, 86_400, -301, -86_400])
    def test_by_repeating_a_genuine_one_later_is_refused(self, seconds):
        body = event_of()
        with pytest.raises(BadNotification, match="too old"):
            read(body, header_of(body), at=NOW + timedelta(seconds=seconds))

    def test_by_a_second_time_beside_the_signed_one_is_refused(self):
        body = event_of()
        old = header_of(body, at=NOW - timedelta(hours=1))
        fresh = f"t={int(NOW.timestamp())}"
        for header in (f"{old},{fresh}", f"{fresh},{old}"):
            with pytest.raises(BadNotification):
                read(body, header)

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"null", b'"event"', b"{", b'{"object":"event"}', b"\xff\xfe", b"0" * 300_000,
         b'{"object":"event","id":"evt_1","data":[]}', b"[" * 60_000],
    )  # fmt: skip
    def test_well_signed_but_no_event_is_refused(self, body):
        with pytest.raises(BadNotification):
            read(body, header_of(body))

    @pytest.mark.parametrize(
        "header", [None, "", "t=", "v1=abc", "t=1,v1=", "t=x,v1=y", "," * 3000]
    )
    def test_without_a_readable_signature_is_refused(self, header):
        with pytest.raises(BadNotification):
            read(event_of(), header)


def _forged(body, number, chance):
    """The `number`th way to lie: other bytes, other secrets, other schemes, other times."""
    match number % 6:
        case 0:  # one bit of the body
            place = chance.randrange(len(body))
            spoilt = bytearray(body)
            spoilt[place] ^= 1 << chance.randrange(7)
            return bytes(spoilt), header_of(body)
        case 1:  # one letter of the signature
            header = header_of(body)
            place = chance.randrange(header.index("v1=") + 3, len(header))
            other = chance.choice([c for c in string.hexdigits.lower() if c != header[place]])
            return body, header[:place] + other + header[place + 1 :]
        case 2:  # somebody else's secret
            secret = "whsec_" + "".join(chance.choices(string.ascii_letters, k=32))
            return body, header_of(body, secret=secret)
        case 3:  # an older scheme
            return body, header_of(body, scheme="v0")
        case 4:  # the time moved, the signature kept
            header = header_of(body)
            moved = int(NOW.timestamp()) + chance.choice([-1, 1]) * chance.randrange(1, 300)
            return body, f"t={moved},{header.partition(',')[2]}"
        case _:  # the same event written otherwise
            indent = chance.randrange(1, 9)
            return json.dumps(json.loads(body), indent=indent).encode(), header_of(body)


@processes
class TestTheSimulatorsEvents:
    def test_are_accepted_by_the_sdk_and_refused_when_tampered(self, stripe_sim, events):
        stripe_sim.bind(new_ref("B"))
        headers, body = events.wait_for_type("checkout.session.completed")
        event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], WEBHOOK_SECRET,
                                               tolerance=10**9)  # fmt: skip
        assert event.type == "checkout.session.completed"
        assert event.data.object["mode"] == "setup"
        for spoilt in (body.replace(b"setup", b"Setup"), body + b" "):
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.Webhook.construct_event(
                    spoilt, headers["Stripe-Signature"], WEBHOOK_SECRET, tolerance=10**9
                )

    def test_signed_with_two_secrets_are_read_with_either(self, stripe_sim, events):
        stripe_sim.set(webhook_secrets=["whsec_next_000000000000", WEBHOOK_SECRET])
        stripe_sim.bind(new_ref("B"))
        headers, body = events.wait_for_type("setup_intent.succeeded")
        assert headers["Stripe-Signature"].count("v1=") == 2
        for secret in ("whsec_next_000000000000", WEBHOOK_SECRET):
            gateway = gateway_of(stripe_sim, STRIPE_WEBHOOK_SECRET=secret)
            gateway.parse_notification(headers=headers, body=body, query={}, at=stripe_sim.now())

    def test_of_a_bindings_life_name_it_to_its_end(self, stripe_sim, events):
        gateway, binding_ref = gateway_of(stripe_sim), new_ref("B")
        provider_ref = stripe_sim.bind(binding_ref)
        gateway.get_binding(binding_ref=binding_ref, provider_ref="")  # marks the card as ours
        stripe_sim.detach(provider_ref)
        for kind in ("checkout.session.completed", "setup_intent.succeeded",
                     "payment_method.detached"):  # fmt: skip
            headers, body = events.wait_for_type(kind)
            note, _ = gateway.parse_notification(
                headers=headers, body=body, query={}, at=stripe_sim.now()
            )
            assert (note.kind, note.our_ref) == (NotificationKind.BINDING, binding_ref)

    def test_of_a_payments_life_name_it_to_its_dispute(self, stripe_sim, events):
        gateway = gateway_of(stripe_sim)
        request = charge_of(stripe_sim.bind(new_ref("B")))
        paid = gateway.charge(request=request).outcome
        assert isinstance(paid, Succeeded)
        refund = refund_of(request, 2000)
        gateway.refund(request=refund)
        stripe_sim.control("POST", "disputes", {"reference": request.reference})
        read = {}
        for kind in ("payment_intent.succeeded", "refund.created", "charge.dispute.created"):
            headers, body = events.wait_for_type(kind)
            read[kind], _ = gateway.parse_notification(
                headers=headers, body=body, query={}, at=stripe_sim.now()
            )
        assert read["payment_intent.succeeded"].our_ref == request.reference
        given_back = read["refund.created"]
        assert (given_back.our_ref, given_back.refund_ref, given_back.amount_minor) == (
            request.reference,
            refund.refund_ref,
            2000,
        )
        dispute = read["charge.dispute.created"]
        assert dispute.kind is NotificationKind.DISPUTE
        assert dispute.provider_ref == paid.provider_ref

    def test_that_are_forged_on_order_are_refused_and_the_genuine_follow(self, stripe_sim, events):
        gateway = gateway_of(stripe_sim)
        request = charge_of(stripe_sim.bind(new_ref("B")))
        stripe_sim.fault(CREATE, "webhook_forged")
        gateway.charge(request=request)
        until(lambda: self.told(gateway, stripe_sim, events) == (["evt"] * 3, [5000, 5000, 5000]))

    @staticmethod
    def told(gateway, stripe_sim, events):
        """Of the events about money: the refused ones, and the amounts of those that are read."""
        refused, amounts = [], []
        for headers, body in events.received:
            if b'"amount":' not in body:
                continue
            try:
                gateway.parse_notification(
                    headers=headers, body=body, query={}, at=stripe_sim.now()
                )
            except BadNotification:
                refused.append("evt")
            else:
                amounts.append(json.loads(body)["data"]["object"]["amount"])
        return refused, amounts

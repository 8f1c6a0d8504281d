"""Answers that Stripe would never give, from a peer that is not Stripe: unknown, every one."""

import http.server
import json
import logging
import threading
import time
from datetime import timedelta

import pytest

from billing.gateways.base import Unknown
from billing.gateways.stripe.adapter import StripeGateway
from tests.rails.stripe_simulator import SECRET_KEY, WEBHOOK_SECRET
from tests.rails.stripe_world import charge_of

pytestmark = pytest.mark.processes
CARD = "cus_abcdefgh1234/pm_abcdefgh5678"
PAID = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 5000,
    "amount_received": 5000,
    "currency": "cny",
    "created": 1_795_000_000,
    "status": "succeeded",
}


class Peer:
    """Answers every request with `status`, `headers` and `body`, and keeps what was asked."""

    def __init__(self):
        peer = self
        self.status, self.body, self.pause_s = 200, b"{}", 0.0
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.is_whole = False

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                peer.asked.append((self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(peer.status)
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                peer.drip(self.wfile)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def drip(self, out):
        pieces = [self.body[i : i + 1] for i in range(len(self.body))]
        try:
            for piece in pieces if self.pause_s else [self.body]:
                out.write(piece)
                out.flush()
                time.sleep(self.pause_s)
            self.is_whole = True
        except OSError:
            """Whoever asked has gone."""


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.server.shutdown()
    peer.server.server_close()


def gateway_at(peer, *, timeout_s=10):
    settings = {
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_URL": peer.url,
    }
    return StripeGateway.from_settings(settings, timeout_s=timeout_s)


def charge(peer, *, timeout_s=10):
    request = charge_of(CARD, reference="R1")
    return gateway_at(peer, timeout_s=timeout_s).charge(request=request)


def paid(**changes):
    return json.dumps({**PAID, "metadata": {"keepline_ref": "R1"}} | changes).encode()


class TestAnAnswer:
    def test_that_is_good_is_believed(self, peer):
        """Else the refusals below would prove nothing."""
        peer.body = paid()
        answer = charge(peer)
        assert answer.outcome.amount_minor == 5000
        assert [one.is_verified for one in answer.exchanges] == [True]

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"null", b"[]", b'"paid"', b"5000", b"{}", b"{", b"\xff\xfe", b"<html></html>",
            b"[" * 50_000, b'{"object":5}', b'{"error":{"message":"x"}}', paid()[:-1],
            paid() + b"x",
        ],
    )  # fmt: skip
    def test_that_is_no_object_of_stripes_is_unknown(self, peer, body):
        peer.body = body
        answer = charge(peer)
        assert isinstance(answer.outcome, Unknown)
        assert [one.is_verified for one in answer.exchanges] == [False]

    @pytest.mark.parametrize(
        "changes",
        [
            {"metadata": {"keepline_ref": "R2"}},
            {"metadata": None},
            {"amount_received": "5000"},
            {"amount_received": 0},
            {"amount_received": True},
            {"amount_received": None},
            {"amount_received": 5000.5},
            {"currency": None},
            {"status": "paid"},
            {"status": None},
            {"object": "charge"},
            {"id": None},
            {"status": "requires_action", "next_action": {"redirect_to_url": None}, "id": "pi_1"},
        ],
    )
    def test_about_something_else_or_half_told_is_unknown(self, peer, changes):
        peer.body = paid(**changes)
        assert isinstance(charge(peer).outcome, Unknown)

    @pytest.mark.parametrize("status", [201, 204, 300, 302, 307, 404, 409, 418, 500, 502, 503])
    def test_with_another_status_takes_nothing_for_paid_but_2xx(self, peer, status):
        peer.status, peer.body = status, paid()
        peer.headers = {"Location": "http://127.0.0.1:9/elsewhere"}
        outcome = charge(peer).outcome
        assert isinstance(outcome, Unknown) == (status != 201)

    @pytest.mark.parametrize("error", ["text", 5, None, [], {}, {"type": []}, {"message": {}}])
    @pytest.mark.parametrize("status", [400, 402, 429, 500])
    def test_with_an_error_of_any_shape_never_raises(self, peer, status, error):
        peer.status, peer.body = status, json.dumps({"error": error}).encode()
        assert not hasattr(charge(peer).outcome, "amount_minor")

    def test_that_names_a_wait_is_unknown_for_so_long(self, peer):
        peer.status = 429
        peer.body = json.dumps({"error": {"type": "api_error", "code": "rate_limit"}}).encode()
        named = {
            "30": timedelta(seconds=30),
            "0": timedelta(0),
            "86400": timedelta(days=1),
            "99999": timedelta(days=1),
            "999999999": timedelta(0),
            "-5": timedelta(0),
            "1.5": timedelta(0),
            "Wed, 21 Oct 2026 07:28:00 GMT": timedelta(0),
            "": timedelta(0),
        }
        for said in named:
            peer.headers = {"Retry-After": said}
            outcome = charge(peer).outcome
            assert isinstance(outcome, Unknown)
            assert outcome.wait == named[said], said

    def test_that_breaks_off_or_is_endless_is_unknown(self, peer):
        peer.body, peer.headers = paid(), {"Content-Length": str(len(paid()) + 1)}
        assert isinstance(charge(peer).outcome, Unknown)
        peer.headers = {}
        peer.body = b'{"object":"' + b"x" * (9 * 1024 * 1024)
        assert isinstance(charge(peer).outcome, Unknown)

    def test_that_drips_does_not_outlast_the_deadline(self, peer):
        peer.body, peer.pause_s = paid(), 0.05
        assert isinstance(charge(peer, timeout_s=3).outcome, Unknown)
        assert not peer.is_whole  # it would have been, had anybody waited


class TestAList:
    def test_of_another_shape_is_unknown_and_never_nothing_found(self, peer):
        gateway, wrong = gateway_at(peer), []
        for data in (None, "x", 5, {}, [5], [None], ["pi_1"], [[]], [PAID, "x"]):
            peer.body = json.dumps({"object": "list", "data": data, "has_more": True}).encode()
            outcomes = (
                gateway.query(reference="R1", provider_binding_ref=CARD).outcome,
                gateway.query(reference="R1").outcome,
                gateway.query_refund(refund_ref="F1", charge_ref="R1").outcome,
                gateway.get_binding(binding_ref="B1", provider_ref="").outcome,
            )
            wrong += [(data, one) for one in outcomes if not isinstance(one, Unknown)]
        assert wrong == []

    def test_whose_last_names_no_number_is_read_no_further(self, peer):
        nameless = {"object": "list", "data": [{"object": "payment_intent"}], "has_more": True}
        peer.body = json.dumps(nameless).encode()
        gateway = gateway_at(peer)
        asked = gateway.query(reference="R1", provider_binding_ref=CARD)
        assert isinstance(asked.outcome, Unknown)
        assert len(asked.exchanges) == 1

    def test_with_a_signed_page_that_holds_no_card_is_unknown(self, peer):
        wrong = []
        for method in (None, "pm_1", 5, [], {}, {"id": 5}):
            setup = {"status": "succeeded", "payment_method": method}
            page = {"client_reference_id": "B1", "status": "complete", "customer": "cus_1"}
            body = {"object": "list", "data": [{**page, "setup_intent": setup}]}
            peer.body = json.dumps(body).encode()
            outcome = gateway_at(peer).get_binding(binding_ref="B1", provider_ref="").outcome
            if not isinstance(outcome, Unknown):
                wrong.append((method, outcome))
        assert wrong == []


class TestARequest:
    def test_carries_key_version_and_idempotency_and_goes_to_no_proxy(self, peer, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        peer.body = paid()
        charge(peer)
        [(path, headers, body)] = peer.asked
        assert path == "/v1/payment_intents"
        assert headers["Authorization"] == f"Bearer {SECRET_KEY}"
        assert headers["Idempotency-Key"] == "R1"
        assert headers["Stripe-Version"] == "2026-10-28.endive"
        assert "X-Stripe-Client-Telemetry" not in headers
        assert b"metadata[keepline_ref]=R1" in body
        assert b"description=" not in body

    def test_is_never_sent_twice_by_itself(self, peer):
        peer.status = 503
        peer.headers = {"Stripe-Should-Retry": "true"}
        peer.body = b'{"error":{"type":"api_error","message":"away"}}'
        assert isinstance(charge(peer).outcome, Unknown)
        assert len(peer.asked) == 1

    def test_leaves_no_token_in_logs_or_evidence(self, peer, caplog):
        caplog.set_level(logging.DEBUG)
        peer.body = paid(customer="cus_abcdefgh1234", client_secret="pi_1_secret_zzz")
        answer = charge(peer)
        kept = caplog.text + "".join(one.request + one.response for one in answer.exchanges)
        assert "pi_1" in kept
        for secret in (SECRET_KEY, "cus_abcdefgh", "pm_abcdefgh", "secret_zzz"):
            assert secret not in kept

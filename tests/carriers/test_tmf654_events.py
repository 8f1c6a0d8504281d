"""The operator's events: taken only when signed by a live secret over these very bytes, just now;
and then only a reason to ask.
"""

import hashlib
import hmac
import json
import queue
import random
from datetime import UTC, datetime, timedelta

import pytest

from lines.carriers.base import BadEvent, Credited, Reversed
from tests.carriers.adapters import adapter_for, credit_of
from tests.carriers.listener import Listener
from tests.carriers.simulators import HUB_SECRET, start_tmf654
from tests.carriers.tmf654_document import named, problems

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
NOW = int(AT.timestamp())
REFERENCE = "01JD7Q8Z6V0N4T5W9XKRPA2B3C"
BODY = json.dumps(
    {
        "eventId": "e-1",
        "eventType": "TopupBalanceCreateEvent",
        "eventTime": "2026-11-22T08:00:00Z",
        "event": {
            "topupBalance": {
                "id": "TOP-1",
                "status": "completed",
                "description": REFERENCE,
                "amount": {"amount": 50.00, "units": "CNY"},
                "logicalResource": [{"id": "+8613800000021"}],
            }
        },
    }
).encode()


def sign(body=BODY, secret=HUB_SECRET, at=NOW):
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Keepline-Signature": f"t={at},v1={digest}"}


@pytest.fixture
def listening(carrier):
    """The adapter with the secret that the operator signs with."""
    return adapter_for(carrier, hub_secrets=(HUB_SECRET,))


class TestAnEvent:
    def test_is_read_when_it_is_signed(self, listening):
        event = listening.parse_event(headers=sign(), body=BODY, at=AT)

        assert event.dedupe_id == "e-1"
        assert event.kind == "topup"
        assert event.reference == REFERENCE
        assert event.carrier_ref == "TOP-1"
        assert event.claims == "TopupBalanceCreateEvent completed"
        assert event.resource == "+8613800000021"
        assert "13800000021" not in event.body_masked
        assert "13800000021" not in repr(event)

    @pytest.mark.parametrize("age_s", [-300, 300])
    def test_is_read_up_to_five_minutes_off(self, listening, age_s):
        assert listening.parse_event(headers=sign(at=NOW - age_s), body=BODY, at=AT)

    @pytest.mark.parametrize("age_s", [-301, 301, 86_400])
    def test_is_refused_past_five_minutes(self, listening, age_s):
        with pytest.raises(BadEvent, match="too old or too new"):
            listening.parse_event(headers=sign(at=NOW - age_s), body=BODY, at=AT)

    def test_is_read_under_either_secret_while_one_is_changed(self, carrier):
        both = adapter_for(carrier, hub_secrets=("new", "old"))

        for secret in ("new", "old"):
            assert both.parse_event(headers=sign(secret=secret), body=BODY, at=AT)
        with pytest.raises(BadEvent, match="the signature is wrong"):
            both.parse_event(headers=sign(secret="older"), body=BODY, at=AT)

    def test_may_carry_a_signature_for_each_secret(self, listening):
        value = sign()["X-Keepline-Signature"] + ",v1=" + "0" * 64
        headers = {"x-keepline-signature": value}  # a header's case is the server's affair

        assert listening.parse_event(headers=headers, body=BODY, at=AT)

    @pytest.mark.parametrize("secrets", [(), ("",)])
    def test_is_never_read_without_a_secret(self, carrier, secrets):
        """Nobody's secret is not the empty one."""
        adapter = adapter_for(carrier, hub_secrets=secrets)

        with pytest.raises(BadEvent):
            adapter.parse_event(headers=sign(secret=""), body=BODY, at=AT)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "t=,v1=",
            "v1=" + "0" * 64,
            f"t={NOW}",
            f"t={NOW},v1=",
            f"t={NOW},v0=" + "0" * 64,
            f"t={NOW},v1=" + "Z" * 64,
            f"t=-{NOW},v1=" + "0" * 64,
            f"t={NOW}.5,v1=" + "0" * 64,
            "t=１７６３７９８４００,v1=" + "0" * 64,
            "t=" + "9" * 5000 + ",v1=" + "0" * 64,
            f"t={NOW},t={NOW},v1=" + "0" * 64,
            f"t={NOW}" + ",v1=" + ",v1=".join(["0" * 64] * 5),
        ],
    )
    def test_with_a_malformed_signature_is_refused(self, listening, header):
        with pytest.raises(BadEvent):
            listening.parse_event(headers={"X-Keepline-Signature": header}, body=BODY, at=AT)

    def test_without_a_signature_or_with_two_is_refused(self, listening):
        twice = sign() | {"x-keepline-signature": "t=1,v1=" + "0" * 64}
        for headers in ({}, {"Authorization": "Bearer x"}, twice):
            with pytest.raises(BadEvent, match="not signed"):
                listening.parse_event(headers=headers, body=BODY, at=AT)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"{",
            b"\xff\xfe",
            b"[" * 60_000,
            b'{"event": null}',
            b'{"event": {}}',
            b'{"event": {"topupBalance": []}}',
            b'{"event": {"topupBalance": {}}}',
            b'{"event": {"topupBalance": {"id": 5}}}',
            b'{"event": {"topupBalance": {"id": "a\\u0000b"}}}',
            b'{"event": {"somethingElse": {"id": "TOP-1"}}}',
            b" " * 70_000 + b"{}",
        ],
    )
    def test_that_is_no_event_is_refused_though_signed(self, listening, body):
        with pytest.raises(BadEvent):
            listening.parse_event(headers=sign(body), body=body, at=AT)

    def test_without_an_id_is_known_by_its_bytes(self, listening):
        body = b'{"event": {"bucket": {"id": "BKT-1"}}}'

        event = listening.parse_event(headers=sign(body), body=body, at=AT)

        assert event.kind == "balance"
        assert event.dedupe_id == hashlib.sha256(body).hexdigest()
        assert (event.reference, event.claims, event.resource) == ("", "", "")


class TestAThousandForgeries:
    def test_are_all_refused(self, listening):
        """Bit flips, guessed secrets, stolen signatures, moved times: each once per seed."""
        chance = random.Random(654)
        accepted = []
        for number in range(1000):
            headers, body = FORGERIES[number % len(FORGERIES)](chance)
            try:
                accepted.append(listening.parse_event(headers=headers, body=body, at=AT))
            except BadEvent:
                continue

        assert accepted == []
        assert listening.parse_event(headers=sign(), body=BODY, at=AT)  # the real one passes


def flipped_body(chance):
    place = chance.randrange(len(BODY) * 8)
    body = bytearray(BODY)
    body[place // 8] ^= 1 << place % 8
    return sign(), bytes(body)


def flipped_signature(chance):
    header = sign()["X-Keepline-Signature"]
    place = chance.randrange(header.index("v1=") + 3, len(header))
    digit = chance.choice(sorted(set("0123456789abcdef") - {header[place]}))
    return {"X-Keepline-Signature": header[:place] + digit + header[place + 1 :]}, BODY


def guessed_secret(chance):
    return sign(secret=f"{chance.getrandbits(64):x}"), BODY


def stolen_signature(chance):
    """From another event, put on this one."""
    other = json.dumps({"eventId": chance.getrandbits(32)}).encode()
    return sign(other), BODY


def moved_time(chance):
    """An old event made young: the time is signed too."""
    old = NOW - chance.randrange(301, 10**6)
    digest = sign(at=old)["X-Keepline-Signature"].split("v1=")[1]
    return {"X-Keepline-Signature": f"t={NOW},v1={digest}"}, BODY


def replayed_late(chance):
    return sign(at=NOW - chance.randrange(301, 10**7)), BODY


def from_the_future(chance):
    return sign(at=NOW + chance.randrange(301, 10**7)), BODY


def written_again(chance):
    """The same JSON, other bytes."""
    return sign(), json.dumps(json.loads(BODY), indent=chance.randrange(1, 9)).encode()


def cut_short(chance):
    return sign(), BODY[: chance.randrange(len(BODY))]


def signed_without_time(chance):
    digest = hmac.new(HUB_SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    at = NOW + chance.randrange(-300, 300)
    return {"X-Keepline-Signature": f"t={at},v1={digest}"}, BODY


FORGERIES = (
    flipped_body,
    flipped_signature,
    guessed_secret,
    stolen_signature,
    moved_time,
    replayed_late,
    from_the_future,
    written_again,
    cut_short,
    signed_without_time,
)


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def telling(tmp_path, listener):
    """A carrier of its own that tells `listener`, and the adapter for it."""
    with start_tmf654(tmp_path) as simulator:
        adapter = adapter_for(simulator, hub_secrets=(HUB_SECRET,))
        adapter.register_hub(callback_url=listener.url)
        yield simulator, adapter


def received(adapter, arrived):
    headers, body = arrived
    return adapter.parse_event(headers=headers, body=body, at=datetime.now(UTC))


class TestTheOperatorsEvents:
    def test_tell_of_a_credit_and_of_its_reversal(self, telling, listener):
        carrier, adapter = telling
        alice = carrier.add_line()
        request = credit_of(alice)
        credited = adapter.credit(request=request).outcome

        arrived = listener.next()

        event = received(adapter, arrived)
        assert (event.kind, event.reference) == ("topup", request.reference)
        assert event.carrier_ref == credited.carrier_ref
        assert event.claims == "TopupBalanceCreateEvent completed"
        assert problems(json.loads(arrived[1]), named("TopupBalanceCreateEvent")) == []

        carrier.reverse(credited.carrier_ref)
        arrived = listener.next()
        event = received(adapter, arrived)
        assert event.claims == "TopupBalanceCancelEvent cancelled"
        assert problems(json.loads(arrived[1]), named("TopupBalanceCancelEvent")) == []
        # The event is a reason to ask; what it means, the answer says.
        assert adapter.query(address=alice, reference=event.reference).outcome == Reversed(
            credited.carrier_ref
        )

    def test_tell_of_a_failure(self, telling, listener):
        carrier, adapter = telling
        carrier.end_topups("failed", after_s=0.05)
        adapter.credit(request=credit_of(carrier.add_line()))

        arrived = listener.next()

        assert received(adapter, arrived).claims == "TopupBalanceFailureEvent failed"
        assert problems(json.loads(arrived[1]), named("TopupBalanceFailureEvent")) == []

    def test_tell_of_an_adjustment(self, telling, listener):
        carrier, adapter = telling
        adapter.reverse(request=credit_of(carrier.add_line(), 100), carrier_ref="TOP-1")

        arrived = listener.next()

        assert received(adapter, arrived).kind == "balance"
        assert problems(json.loads(arrived[1]), named("AdjustBalanceCreateEvent")) == []

    def test_tell_of_a_balance_by_the_line_s_number(self, telling, listener):
        carrier, adapter = telling
        address = carrier.add_line(balance_minor=5000)
        carrier.change_line(address, balance_minor=4200)

        arrived = listener.next()

        event = received(adapter, arrived)
        assert (event.kind, event.resource) == ("balance", address.msisdn)
        assert problems(json.loads(arrived[1])["event"]["bucket"], named("Bucket")) == []

    def test_tell_of_a_balance_that_falls_below_the_mark_once(self, tmp_path, listener):
        # A day's usage in a second: 100.00 a day, and the mark a tenth of a second away.
        with start_tmf654(tmp_path, "--usage-speed", "86400") as carrier:
            adapter = adapter_for(carrier, hub_secrets=(HUB_SECRET,))
            adapter.register_hub(callback_url=listener.url)
            carrier.add_line(
                balance_minor=10_000, usage_minor_per_day=10_000, notify_below_minor=9000
            )

            document = json.loads(listener.next()[1])

            assert document["event"]["bucket"]["remainingValue"]["amount"] < 90
            with pytest.raises(queue.Empty):
                listener.arrived.get(timeout=0.3)

    def test_sent_twice_carry_one_id(self, telling, listener):
        carrier, adapter = telling
        carrier.fault("event_twice", "EVENT")
        adapter.credit(request=credit_of(carrier.add_line()))

        first, second = (received(adapter, listener.next()) for _ in range(2))

        assert first == second

    def test_are_sent_again_when_they_were_not_taken(self, telling, listener):
        carrier, adapter = telling
        listener.answers = [500, 503]
        adapter.credit(request=credit_of(carrier.add_line()))

        ids = {received(adapter, listener.next()).dedupe_id for _ in range(3)}

        assert len(ids) == 1

    @pytest.mark.parametrize("kind", ["event_forged", "event_tampered", "event_stale"])
    def test_gone_wrong_are_refused(self, telling, listener, kind):
        carrier, adapter = telling
        carrier.fault(kind, "EVENT")
        adapter.credit(request=credit_of(carrier.add_line()))

        with pytest.raises(BadEvent):
            received(adapter, listener.next())

    def test_that_never_come_leave_the_question(self, telling, listener):
        carrier, adapter = telling
        carrier.fault("event_never", "EVENT")
        request = credit_of(carrier.add_line())
        adapter.credit(request=request)

        assert isinstance(
            adapter.query(address=request.address, reference=request.reference).outcome, Credited
        )
        with pytest.raises(queue.Empty):
            listener.arrived.get(timeout=0.3)


class TestTheClock:
    def test_is_handed_in(self, listening):
        """The same bytes are good at their time and refused an hour later."""
        assert listening.parse_event(headers=sign(), body=BODY, at=AT)
        with pytest.raises(BadEvent):
            listening.parse_event(headers=sign(), body=BODY, at=AT + timedelta(hours=1))

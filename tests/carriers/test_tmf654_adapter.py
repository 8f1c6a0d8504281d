"""The adapter against the simulated operator: what it reads, sends and is refused.

On each refusal the operator's own journal says that nothing moved.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from lines.carriers.base import (
    Credited,
    NotAllowed,
    NotFound,
    Rejected,
    Unknown,
)
from lines.carriers.tmf654 import HubRefused
from tests.carriers.adapters import NOBODY, adapter_for, credit_of


class TestBalance:
    def test_is_read_exactly(self, carrier, adapter):
        ends_at = datetime(datetime.now(UTC).year + 1, 12, 31, 16, tzinfo=UTC)
        address = carrier.add_line(
            balance_minor=10_010_001, reserved_minor=99, valid_until=ends_at.isoformat()
        )
        before = datetime.now(UTC)

        balance = adapter.balance(address=address).outcome

        assert balance.balance_minor == 10_010_001
        assert balance.reserved_minor == 99
        assert balance.currency == "CNY"
        assert balance.status == "active"
        assert balance.valid_until == ends_at
        assert before <= balance.observed_at <= datetime.now(UTC)

    def test_may_be_below_zero(self, carrier, adapter):
        address = carrier.add_line(balance_minor=-250)

        assert adapter.balance(address=address).outcome.balance_minor == -250

    def test_of_a_data_only_esim_is_found_by_its_card(self, carrier, adapter):
        address = carrier.add_line(number="", balance_minor=777)

        assert address.msisdn == ""
        assert adapter.balance(address=address).outcome.balance_minor == 777

    def test_rounds_what_cannot_be_spent_away(self, carrier, adapter, alice):
        carrier.fault("fraction", "GET /bucket")  # 49.995

        assert adapter.balance(address=alice).outcome.balance_minor == 4999

    @pytest.mark.parametrize("currency", ["JPY", "KWD"])
    def test_knows_the_currency_s_minor_unit(self, carrier, currency):
        address = carrier.add_line(currency=currency, balance_minor=12345)
        adapter = adapter_for(carrier, currency=currency)

        assert adapter.balance(address=address).outcome.balance_minor == 12345

    @pytest.mark.parametrize(
        ("changes", "status"),
        [({"status": "suspended"}, "suspended"), ({"expire": True}, "expired")],
    )
    def test_tells_the_line_s_status(self, carrier, adapter, alice, changes, status):
        carrier.change_line(alice, **changes)

        assert adapter.balance(address=alice).outcome.status == status

    @pytest.mark.parametrize("status", ["ported_out", "terminated"])
    def test_of_a_line_that_left_is_not_found(self, carrier, adapter, alice, status):
        carrier.change_line(alice, status=status)

        assert adapter.balance(address=alice).outcome == NotFound()

    def test_of_a_stranger_s_number_is_not_found(self, adapter):
        assert adapter.balance(address=NOBODY).outcome == NotFound()

    def test_was_true_when_the_operator_s_clock_said(self, carrier, adapter, alice):
        carrier.fault("no_date", "GET /bucket")
        before = datetime.now(UTC).replace(microsecond=0)

        observed_at = adapter.balance(address=alice).outcome.observed_at

        assert before <= observed_at <= datetime.now(UTC)
        assert observed_at.microsecond == 0  # a Date header has whole seconds

    def test_without_any_time_takes_the_clock_it_was_given_or_is_unknown(self, carrier, alice):
        noon = datetime(2026, 11, 22, 4, tzinfo=UTC)
        carrier.fault("no_time", "GET /bucket", times=2)

        with_clock = adapter_for(carrier, clock=lambda: noon).balance(address=alice).outcome
        without = adapter_for(carrier).balance(address=alice).outcome

        assert with_clock.observed_at == noon
        assert without == Unknown("the answer does not say when it was true")

    def test_with_a_wrong_token_is_ours_to_mend(self, carrier, alice):
        outcome = adapter_for(carrier, token="guessed").balance(address=alice).outcome

        assert outcome == NotAllowed("unauthorised", "The bearer token is not valid.")

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ("wrong_currency", "remainingValue is not in CNY"),
            ("wrong_line", "the carrier answered for another line"),
            ("text_amount", "a bucket's value is not a number"),
            ("huge_amount", "a bucket's value is out of range"),
            ("no_id", "an id is missing or too long"),
            ("proxy_404", "status 404, the answer is not JSON"),
            ("gateway_404", "status 404, without the protocol's error"),
        ],
    )
    def test_that_cannot_be_believed_is_unknown(self, carrier, adapter, alice, fault, reason):
        carrier.fault(fault, "GET /bucket")

        assert adapter.balance(address=alice).outcome == Unknown(reason)

    @pytest.mark.parametrize(("fault", "status"), [("wrong_status", ""), ("wrong_date", "active")])
    def test_counts_whatever_is_odd_beside_it(self, carrier, adapter, alice, fault, status):
        carrier.fault(fault, "GET /bucket")

        outcome = adapter.balance(address=alice).outcome

        assert (outcome.balance_minor, outcome.status) == (1234, status)
        assert abs(datetime.now(UTC) - outcome.observed_at) < timedelta(minutes=1)

    def test_among_other_lines_is_still_this_line_s(self, carrier, adapter, alice):
        """An operator that ignores the filter sends the buckets of other people too."""
        carrier.add_line(balance_minor=999_999)
        carrier.fault("ignore_filter", "GET /bucket")

        assert adapter.balance(address=alice).outcome.balance_minor == 1234


class TestCredit:
    def test_reaches_the_line_once(self, carrier, adapter, alice):
        request = credit_of(alice)

        credited = adapter.credit(request=request).outcome

        [entry] = [each for each in carrier.journal() if each["reference"] == request.reference]
        assert entry["kind"] == "credit"
        assert entry["resource"] == alice.msisdn
        assert entry["amount_minor"] == 5000
        assert credited == Credited(entry["carrier_ref"], 5000, credited.at)
        assert credited.at <= datetime.now(UTC)
        assert carrier.line(alice)["balance_minor"] == 6234

    @pytest.mark.parametrize(
        ("currency", "amount_minor"), [("CNY", 1), ("CNY", 999_999_999), ("JPY", 5), ("KWD", 1001)]
    )
    def test_is_exact_in_every_currency(self, carrier, currency, amount_minor):
        address = carrier.add_line(currency=currency)
        request = credit_of(address, amount_minor, currency)

        credited = adapter_for(carrier, currency=currency).credit(request=request).outcome

        assert credited.credited_minor == amount_minor
        assert carrier.moved(request.reference) == [("credit", amount_minor)]

    def test_of_a_data_only_esim_names_its_card(self, carrier, adapter):
        address = carrier.add_line(number="")
        request = credit_of(address)

        assert isinstance(adapter.credit(request=request).outcome, Credited)
        assert carrier.journal()[-1]["resource"] == address.iccid

    def test_repeated_blindly_is_credited_twice_which_is_why_nobody_may(
        self, carrier, adapter, alice
    ):
        """The protocol has no idempotency key; the simulator does not pretend it had."""
        request = credit_of(alice)
        adapter.credit(request=request)
        adapter.credit(request=request)

        assert carrier.moved(request.reference) == [("credit", 5000)] * 2
        assert adapter.query(
            address=request.address, reference=request.reference
        ).outcome == Unknown("the carrier has several orders under our reference")

    @pytest.mark.parametrize(
        ("line", "rejected"),
        [
            ({"status": "suspended"}, ("lineSuspended", False)),
            ({"status": "ported_out"}, ("linePortedOut", True)),
            ({"status": "terminated"}, ("lineTerminated", True)),
            ({"denominations_minor": [3000, 10_000]}, ("amountNotSold", True)),
            ({"max_balance_minor": 5999}, ("maxBalance", False)),
        ],
    )
    def test_that_the_operator_refuses_is_rejected_with_its_code(
        self, carrier, adapter, line, rejected
    ):
        address = carrier.add_line(balance_minor=1000)
        carrier.change_line(address, **line)
        request = credit_of(address)

        outcome = adapter.credit(request=request).outcome

        assert (outcome.code, outcome.is_permanent) == rejected
        assert carrier.moved(request.reference) == []

    def test_of_a_number_nobody_has_is_rejected_for_good(self, carrier, adapter):
        request = credit_of(NOBODY)

        outcome = adapter.credit(request=request).outcome

        assert outcome == Rejected("unknownResource", "There is no such line.", True)
        assert carrier.moved(request.reference) == []

    def test_of_a_number_that_is_on_another_card_now_is_not_sent(self, carrier, adapter, alice):
        carrier.change_line(alice, iccid="8986000000000099999")
        request = credit_of(alice)

        outcome = adapter.credit(request=request).outcome

        assert (outcome.code, outcome.is_permanent) == ("simChanged", True)
        assert carrier.moved(request.reference) == []

    def test_of_a_number_on_another_card_is_no_balance_of_this_line(self, carrier, adapter, alice):
        carrier.change_line(alice, iccid="8986000000000099998")

        assert adapter.balance(address=alice).outcome == Unknown(
            "the number is on another SIM card"
        )

    def test_knows_a_card_printed_without_its_check_digit(self, adapter, alice):
        printed = replace(alice, iccid=alice.iccid[:-1])

        assert isinstance(adapter.credit(request=credit_of(printed)).outcome, Credited)

    def test_in_another_currency_never_leaves_the_house(self, carrier, adapter, alice):
        request = credit_of(alice, 5000, "USD")

        answer = adapter.credit(request=request)

        assert (answer.outcome.code, answer.exchanges) == ("currency", ())
        assert carrier.moved(request.reference) == []

    def test_of_nothing_is_a_programmer_s_mistake(self, adapter, alice):
        for amount_minor in (0, -5000):
            with pytest.raises(ValueError, match="positive"):
                adapter.credit(request=credit_of(alice, amount_minor))

    @pytest.mark.parametrize(
        ("code", "status", "outcome"),
        [
            ("notAllowed", 400, Rejected("notAllowed", "Rejected on command.")),
            ("unauthorised", 401, NotAllowed("unauthorised", "Rejected on command.")),
            ("forbidden", 403, NotAllowed("forbidden", "Rejected on command.")),
            ("linePortedOut", 404, Rejected("linePortedOut", "Rejected on command.", True)),
            ("duplicate", 409, Unknown("conflict: duplicate")),
            ("lineTerminated", 409, Rejected("lineTerminated", "Rejected on command.", True)),
            ("timeout", 408, Unknown("status 408")),
            ("slowDown", 429, Unknown("status 429", is_too_fast=True)),
        ],
    )
    def test_refused_by_status_is_rejected_only_when_that_is_definite(
        self, carrier, adapter, alice, code, status, outcome
    ):
        request = credit_of(alice)
        carrier.fault("reject", "POST /topupBalance", code=code, status=status)

        assert adapter.credit(request=request).outcome == outcome
        assert carrier.moved(request.reference) == []

    def test_takes_the_operator_s_own_list_of_permanent_codes(self, carrier, alice):
        carrier.fault("reject", "POST /topupBalance", code="E4711")
        adapter = adapter_for(carrier, permanent_codes=frozenset({"E4711"}))

        assert adapter.credit(request=credit_of(alice)).outcome.is_permanent

    def test_for_the_line_by_403_is_a_rejection_where_the_operator_lists_its_code(
        self, carrier, alice
    ):
        carrier.fault("reject", "POST /topupBalance", code="lineBarred", status=403)
        adapter = adapter_for(carrier, permanent_codes=frozenset({"lineBarred"}))

        outcome = adapter.credit(request=credit_of(alice)).outcome
        assert outcome == Rejected("lineBarred", "Rejected on command.", True)

    def test_of_our_token_is_told_before_anything_is_sent(self, carrier, alice):
        request = credit_of(alice)
        adapter = adapter_for(carrier, token="of-yesterday")

        answer = adapter.credit(request=request)
        assert (type(answer.outcome), answer.outcome.code) == (NotAllowed, "unauthorised")
        assert len(answer.exchanges) == 1
        assert carrier.moved(request.reference) == []


class TestSendCode:
    def test_reaches_the_number(self, carrier, adapter, alice):
        assert adapter.send_code(address=alice, text="续线验证码 482913") is True
        assert carrier.texts(alice.msisdn) == ["续线验证码 482913"]

    def test_shows_the_visitor_a_page_with_it(self, carrier, adapter, alice):
        adapter.send_code(address=alice, text="<b>code</b> 482913")

        page = requests.get(
            f"{carrier.url}/sms", params={"number": alice.msisdn, "lang": "en"}, timeout=5
        )

        assert page.status_code == 200
        assert "&lt;b&gt;code&lt;/b&gt; 482913" in page.text

    def test_of_a_data_only_esim_has_nowhere_to_go(self, carrier, adapter):
        assert adapter.send_code(address=carrier.add_line(number=""), text="1") is False

    def test_to_a_number_of_another_carrier_is_not_sent(self, carrier, adapter):
        assert adapter.send_code(address=NOBODY, text="482913") is False
        assert carrier.texts(NOBODY.msisdn) == []

    @pytest.mark.parametrize("fault", ["error_before", "lose_before", "proxy_404"])
    def test_that_fails_says_so(self, carrier, adapter, alice, fault):
        carrier.fault(fault, "POST /sms")

        assert adapter.send_code(address=alice, text="482913") is False
        assert carrier.texts(alice.msisdn) == []


class TestRegisterHub:
    def test_may_be_done_at_every_start(self, adapter):
        url = "http://127.0.0.1:9/hub-twice"

        assert adapter.register_hub(callback_url=url) != ""
        assert adapter.register_hub(callback_url=url) == ""

    def test_refused_says_why(self, carrier):
        with pytest.raises(HubRefused, match="unauthorised"):
            adapter_for(carrier, token="guessed").register_hub(callback_url="http://127.0.0.1:9/")


class TestThreads:
    def test_share_one_adapter(self, carrier, adapter):
        lines = [carrier.add_line() for _ in range(8)]
        requests_ = [credit_of(address) for address in lines for _ in range(5)]
        outcomes = {}

        def work(mine):
            for request in mine:
                outcomes[request.reference] = adapter.credit(request=request).outcome

        threads = [threading.Thread(target=work, args=(requests_[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert {type(outcome) for outcome in outcomes.values()} == {Credited}
        moved = [entry["reference"] for entry in carrier.journal()]
        assert all(moved.count(request.reference) == 1 for request in requests_)

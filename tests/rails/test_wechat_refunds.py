"""Giving money back under the client certificate, over HTTPS."""

from pathlib import Path
from typing import Any

import pytest

from billing.gateways.base import Closed, NotFound, Pending, Refused, Succeeded, Unknown
from billing.gateways.wechat.charges import ORDER_QUERY
from billing.gateways.wechat.codes import DECLINE_CODES, SAME_NUMBER
from billing.gateways.wechat.refunds import REFUND_QUERY as REFUND_QUERY_PATH
from billing.gateways.wechat.simulator.keys import open_keys
from tests.rails.contract import new_ref
from tests.rails.wechat_world import (
    REFUND,
    REFUND_QUERY,
    charge_of,
    gateway_of,
    refund_of,
    wechat_in,
)

pytestmark = pytest.mark.processes

REFUSALS = sorted(
    code for code, meaning in DECLINE_CODES.items() if meaning in ("soft", "hard", "config")
)
UNKNOWN = sorted(
    {code for code, meaning in DECLINE_CODES.items() if meaning == "unknown"} | SAME_NUMBER
)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with wechat_in(tmp_path_factory.mktemp("wechat"), "none") as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.calm_again()
    process.set(merchant_balance_minor=-1)
    return process


@pytest.fixture
def gateway(wechat):
    return gateway_of(wechat, WECHAT_NOTICE_MODE="none")


@pytest.fixture
def charge(wechat, gateway):
    request = charge_of(wechat.agree(new_ref("B")))
    gateway.charge(request=request)
    return request


def made(wechat, gateway, request):
    """A refund that was accepted and had its time."""
    assert isinstance(gateway.refund(request=request).outcome, Pending)
    wechat.advance(5)
    return gateway.query_refund(
        refund_ref=request.refund_ref, charge_ref=request.charge_ref
    ).outcome


class TestARefund:
    def test_is_accepted_first_and_made_a_while_later(self, wechat, gateway, charge):
        request = refund_of(charge, 2000)
        answer = gateway.refund(request=request)
        assert isinstance(answer.outcome, Pending)
        assert answer.exchanges[0].is_verified
        assert request.refund_ref not in wechat.refunds()
        before = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert isinstance(before.outcome, Pending)
        wechat.advance(5)
        after = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert isinstance(after.outcome, Succeeded)
        assert (after.outcome.amount_minor, after.outcome.currency) == (2000, "CNY")
        assert after.outcome.provider_ref == answer.outcome.provider_ref
        assert wechat.refunds()[request.refund_ref] == 2000

    def test_sent_again_under_its_own_number_gives_back_once(self, wechat, gateway, charge):
        request = refund_of(charge, 2000)
        for _ in range(3):
            assert made(wechat, gateway, request).amount_minor == 2000
        assert wechat.refunds()[request.refund_ref] == 2000  # fails by itself if paid twice

    def test_in_parts_tells_each_parts_own_amount_and_the_charge_stays_whole(
        self, wechat, gateway, charge
    ):
        amounts = [
            made(wechat, gateway, refund_of(charge, amount)).amount_minor for amount in (1000, 700)
        ]
        assert amounts == [1000, 700]
        answer = gateway.query(reference=charge.reference)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == 5000
        assert [one.kind for one in answer.exchanges] == [ORDER_QUERY, REFUND_QUERY_PATH]

    def test_of_all_of_it_leaves_a_charge_closed_but_not_never_made(self, wechat, gateway, charge):
        made(wechat, gateway, refund_of(charge, 5000))
        asked = gateway.query(reference=charge.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.is_given_back

    def test_of_all_of_it_that_is_still_on_its_way_leaves_the_charge_made(self, gateway, charge):
        gateway.refund(request=refund_of(charge, 5000))
        assert isinstance(gateway.query(reference=charge.reference).outcome, Succeeded)

    @pytest.mark.parametrize(("parts", "last"), [(10, 500), (12, 500), (12, 499)])
    def test_in_more_parts_than_a_page_holds_is_added_up_whole(
        self, wechat, gateway, charge, parts, last
    ):
        amounts = [(5000 - 500) // (parts - 1)] * (parts - 1)
        amounts[0] += 5000 - 500 - sum(amounts)
        for amount in [*amounts, last]:
            gateway.refund(request=refund_of(charge, amount))
        wechat.advance(5)
        asked = gateway.query(reference=charge.reference).outcome
        assert isinstance(asked, Closed if last == 500 else Succeeded)

    def test_above_the_charge_or_in_another_currency_is_refused_without_a_call(
        self, gateway, charge
    ):
        for amount_minor, changes, code in (
            (5001, {}, "REFUND_FEE_MISMATCH"),
            (0, {}, "REFUND_FEE_MISMATCH"),
            (100, {"currency": "USD"}, "CURRENCY_NOT_SUPPORT"),
            (100, {"refund_ref": "no dashes"}, "PARAM_ERROR"),
        ):
            answer = gateway.refund(request=refund_of(charge, amount_minor, **changes))
            assert isinstance(answer.outcome, Refused)
            assert (answer.outcome.code, answer.exchanges) == (code, ())

    def test_beyond_what_is_left_is_refused_by_wechat(self, wechat, gateway, charge):
        made(wechat, gateway, refund_of(charge, 4000))
        outcome = gateway.refund(request=refund_of(charge, 1001)).outcome
        assert isinstance(outcome, Refused)
        assert outcome.code == "INVALID_REQUEST"

    def test_a_merchant_without_money_is_told_and_the_number_stays_good(
        self, wechat, gateway, charge
    ):
        wechat.set(merchant_balance_minor=0)
        request = refund_of(charge, 2000)
        outcome = gateway.refund(request=request).outcome
        assert isinstance(outcome, Refused)
        assert outcome.code == "NOTENOUGH"
        wechat.set(merchant_balance_minor=-1)
        assert made(wechat, gateway, request).amount_minor == 2000

    @pytest.mark.parametrize("end", ["REFUNDCLOSE", "CHANGE"])
    def test_that_fails_at_the_bank_is_refused_in_wechats_word(self, wechat, gateway, charge, end):
        wechat.fault(REFUND, "decline", code=end)
        request = refund_of(charge, 2000)
        outcome = made(wechat, gateway, request)
        assert isinstance(outcome, Refused)
        assert outcome.code == end
        assert request.refund_ref not in wechat.refunds()

    def test_nobody_asked_for_is_not_found(self, gateway, charge):
        asked = gateway.query_refund(refund_ref=new_ref("F"), charge_ref=charge.reference)
        assert asked.outcome == NotFound()


class TestEveryCodeAndFault:
    @pytest.mark.parametrize(
        "code",
        [one for one in REFUSALS if one not in {"REFUNDCLOSE", "CHANGE", *SAME_NUMBER}],
    )
    def test_a_definite_refusal_names_its_code(self, wechat, gateway, charge, code):
        wechat.fault(REFUND, "decline", code=code)
        request = refund_of(charge, 100)
        outcome = gateway.refund(request=request).outcome
        assert isinstance(outcome, Refused)
        assert outcome.code == code
        assert request.refund_ref not in wechat.refunds()

    @pytest.mark.parametrize("code", UNKNOWN)
    def test_a_code_that_says_nothing_is_unknown(self, wechat, gateway, charge, code):
        wechat.fault(REFUND, "decline", code=code)
        assert isinstance(gateway.refund(request=refund_of(charge, 100)).outcome, Unknown)

    @pytest.mark.parametrize(
        "kind",
        [
            "lose_after",
            "lose_before",
            "system_error",
            "system_error_after",
            "return_fail",
            "bad_signature",
            "unsigned",
            "http_500",
            "garbage",
        ],
    )
    def test_an_unusable_answer_is_unknown_and_the_same_number_again_gives_back_once(
        self, wechat, gateway, charge, kind
    ):
        wechat.fault(REFUND, kind)
        request = refund_of(charge, 2000)
        assert isinstance(gateway.refund(request=request).outcome, Unknown)
        assert made(wechat, gateway, request).amount_minor == 2000
        assert wechat.refunds()[request.refund_ref] == 2000

    @pytest.mark.parametrize("kind", ["lose_after", "system_error", "unsigned", "bad_signature"])
    def test_an_unusable_answer_to_the_question_is_unknown(self, wechat, gateway, charge, kind):
        request = refund_of(charge, 2000)
        gateway.refund(request=request)
        wechat.fault(REFUND_QUERY, kind)
        asked = gateway.query_refund(refund_ref=request.refund_ref, charge_ref=charge.reference)
        assert isinstance(asked.outcome, Unknown)

    def test_a_refusal_while_asking_says_nothing_about_the_refund(self, wechat, gateway, charge):
        wechat.fault(REFUND_QUERY, "decline", code="NOAUTH")
        asked = gateway.query_refund(refund_ref=new_ref("F"), charge_ref=charge.reference)
        assert isinstance(asked.outcome, Unknown)

    def test_refunds_that_are_not_told_leave_a_touched_charge_unknown(
        self, wechat, gateway, charge
    ):
        made(wechat, gateway, refund_of(charge, 5000))
        wechat.fault(REFUND_QUERY, "system_error")
        assert isinstance(gateway.query(reference=charge.reference).outcome, Unknown)


class TestTheClientCertificate:
    @pytest.fixture
    def others(self, tmp_path):
        """The keys of somebody else's folder."""
        open_keys(tmp_path / "others", mch_id="1999999999")
        return tmp_path / "others"

    def test_of_a_stranger_reaches_nothing(self, wechat, charge, others):
        gateway = gateway_of(
            wechat,
            WECHAT_CLIENT_CERT_PATH=str(others / "apiclient_cert.pem"),
            WECHAT_CLIENT_KEY_PATH=str(others / "apiclient_key.pem"),
        )
        request = refund_of(charge, 2000)
        answer = gateway.refund(request=request)
        assert isinstance(answer.outcome, Unknown)
        assert not answer.exchanges[0].is_verified
        wechat.advance(5)
        assert request.refund_ref not in wechat.refunds()

    def test_is_shown_to_nobody_whose_own_certificate_we_do_not_trust(self, wechat, charge, others):
        for trusted in (str(others / "ca.pem"), ""):
            gateway = gateway_of(wechat, WECHAT_CA_PATH=trusted)
            request = refund_of(charge, 2000)
            answer = gateway.refund(request=request)
            assert answer.outcome == Unknown("no answer: SSLError")
            wechat.advance(5)
            assert request.refund_ref not in wechat.refunds()

    def test_is_not_shown_where_it_is_not_asked_for(self, wechat, charge):
        """Without it the address of refunds answers with a page, and that is unknown."""
        gateway = gateway_of(wechat, WECHAT_SECURE_API_URL=wechat.url)
        request = refund_of(charge, 2000)
        assert gateway.refund(request=request).outcome == Unknown("HTTP 400")
        assert request.refund_ref not in wechat.refunds()

    def test_that_is_gone_since_the_start_is_unknown_and_names_no_path(
        self, wechat, charge, others
    ):
        copies: dict[str, Any] = {}
        for name, source in (("CERT", "apiclient_cert.pem"), ("KEY", "apiclient_key.pem")):
            path = others / f"copy-{source}"
            path.write_text(wechat.key(source))
            copies[f"WECHAT_CLIENT_{name}_PATH"] = str(path)
        gateway = gateway_of(wechat, **copies)
        for path in copies.values():
            Path(path).unlink()
        outcome = gateway.refund(request=refund_of(charge, 2000)).outcome
        assert isinstance(outcome, Unknown)
        assert str(others) not in outcome.reason

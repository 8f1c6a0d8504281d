"""WeChat Pay's adapter against its simulator, over HTTP: every fault, every code, every state."""

import threading
from datetime import timedelta

import pytest

from billing.gateways.base import (
    BindingFacts,
    BindingStatus,
    Closed,
    NotFound,
    Pending,
    Refused,
    SigningNotStarted,
    Succeeded,
    Unknown,
)
from billing.gateways.wechat.charges import APPLY as APPLY_PATH
from billing.gateways.wechat.charges import ORDER_QUERY
from billing.gateways.wechat.codes import (
    ACCEPTED_BEFORE,
    ASK_THE_ORDER,
    DECLINE_CODES,
    SAME_NUMBER,
)
from tests.rails.contract import new_ref
from tests.rails.wechat_simulator import DAY_S, FROZEN, POOR
from tests.rails.wechat_world import (
    APPLY,
    CLOSE,
    CONTRACT,
    DELETE,
    QUERY,
    binding_of,
    charge_of,
    gateway_of,
    old_contract,
    wechat_in,
)

pytestmark = pytest.mark.processes

UNKNOWN = sorted(
    {code for code, meaning in DECLINE_CODES.items() if meaning == "unknown"} | SAME_NUMBER
)
OF_REFUNDS = {"CHANGE", "REFUNDCLOSE"}  # what becomes of a refund, never an answer to a charge
REFUSALS = sorted(set(DECLINE_CODES) - set(UNKNOWN) - ASK_THE_ORDER - ACCEPTED_BEFORE - OF_REFUNDS)
SOON = timedelta(minutes=1)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """One that charges at once."""
    with wechat_in(tmp_path_factory.mktemp("wechat"), "none") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def slow_process(tmp_path_factory):
    """One that charges a day after the payer was told."""
    with wechat_in(tmp_path_factory.mktemp("slow"), "24h") as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.calm_again()
    process.set(hides_waiting_orders=False, tells_why=True)
    return process


@pytest.fixture
def slow(slow_process):
    slow_process.calm_again()
    slow_process.set(hides_waiting_orders=False, one_in_flight=True)
    return slow_process


@pytest.fixture
def gateway(wechat):
    return gateway_of(wechat, WECHAT_NOTICE_MODE="none")


@pytest.fixture
def slow_gateway(slow):
    return gateway_of(slow)


@pytest.fixture
def contract(wechat):
    return wechat.agree(new_ref("B"))


class TestEveryCodeOfACharge:
    @pytest.mark.parametrize("code", REFUSALS)
    def test_a_listed_code_is_refused_by_its_name_and_takes_nothing(
        self, wechat, gateway, contract, code
    ):
        wechat.fault(APPLY, "decline", code=code)
        request = charge_of(contract)
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == code
        assert answer.exchanges[0].is_verified
        assert request.reference not in wechat.charges()

    @pytest.mark.parametrize("code", UNKNOWN)
    def test_a_code_that_says_nothing_is_unknown(self, wechat, gateway, contract, code):
        wechat.fault(APPLY, "decline", code=code)
        assert isinstance(gateway.charge(request=charge_of(contract)).outcome, Unknown)

    def test_too_many_calls_are_no_decline_and_the_same_number_goes_again(
        self, wechat, gateway, contract
    ):
        wechat.fault(APPLY, "decline", code="FREQUENCY_LIMITED")
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        assert gateway.query(reference=request.reference).outcome == NotFound()
        again = gateway.charge(request=request)
        assert isinstance(again.outcome, Pending)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        assert wechat.charges()[request.reference] == request.amount_minor

    def test_a_code_nobody_listed_is_handed_on_for_the_operators_table(
        self, wechat, gateway, contract
    ):
        wechat.fault(APPLY, "decline", code="BRAND_NEW_REASON")
        outcome = gateway.charge(request=charge_of(contract)).outcome
        assert isinstance(outcome, Refused)
        assert outcome.code == "BRAND_NEW_REASON"
        assert "BRAND_NEW_REASON" not in DECLINE_CODES

    @pytest.mark.parametrize("code", sorted(ASK_THE_ORDER | ACCEPTED_BEFORE))
    def test_a_code_about_an_existing_order_is_settled_by_asking_not_by_the_code(
        self, wechat, gateway, contract, code
    ):
        request = charge_of(contract)
        gateway.charge(request=request)
        wechat.fault(APPLY, "decline", code=code)
        answer = gateway.charge(request=request)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == 5000
        assert [exchange.kind for exchange in answer.exchanges] == [APPLY_PATH, ORDER_QUERY]

    @pytest.mark.parametrize("code", sorted(ASK_THE_ORDER))
    def test_such_a_code_without_an_order_to_be_found_is_unknown(
        self, wechat, gateway, contract, code
    ):
        wechat.fault(APPLY, "decline", code=code)
        assert isinstance(gateway.charge(request=charge_of(contract)).outcome, Unknown)

    @pytest.mark.parametrize(
        "code", ["NOTENOUGH", "BANKERROR", "ACCOUNTERROR", "USER_NOT_EXIST", "TRADE_ERROR"]
    )
    def test_a_failure_after_acceptance_closes_the_order_with_its_code_and_spends_the_number(
        self, wechat, gateway, contract, code
    ):
        wechat.fault(APPLY, "decline", code=code, final=True)
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.code == code
        again = gateway.charge(request=request).outcome
        assert isinstance(again, Closed)
        assert request.reference not in wechat.charges()

    def test_a_closed_order_whose_reason_is_not_told_says_just_that(
        self, wechat, gateway, contract
    ):
        wechat.set(tells_why=False)
        wechat.fault(APPLY, "decline", code="NOTENOUGH", final=True)
        request = charge_of(contract)
        gateway.charge(request=request)
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.code == "CLOSED"


class TestEveryFault:
    @pytest.mark.parametrize("is_committed", [True, False])
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
    def test_an_unusable_answer_is_unknown_and_asking_tells_the_truth(
        self, wechat, gateway, contract, kind, is_committed
    ):
        wechat.fault(APPLY, kind, committed=is_committed)
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Succeeded if is_committed else NotFound)
        gateway.charge(request=request)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        assert wechat.charges()[request.reference] == 5000

    @pytest.mark.parametrize(
        "kind",
        ["lose_after", "system_error", "return_fail", "bad_signature", "unsigned", "garbage"],
    )
    def test_an_unusable_answer_to_a_question_says_nothing_about_the_charge(
        self, wechat, gateway, contract, kind
    ):
        request = charge_of(contract)
        gateway.charge(request=request)
        wechat.fault(QUERY, kind)
        assert isinstance(gateway.query(reference=request.reference).outcome, Unknown)

    @pytest.mark.parametrize("code", ["NOAUTH", "SIGNERROR", "NOTENOUGH", "INVALID_REQUEST"])
    def test_a_refusal_while_asking_says_nothing_about_the_charge(
        self, wechat, gateway, contract, code
    ):
        request = charge_of(contract)
        gateway.charge(request=request)
        wechat.fault(QUERY, "decline", code=code)
        assert isinstance(gateway.query(reference=request.reference).outcome, Unknown)

    def test_an_answer_later_than_the_deadline_is_unknown(self, wechat, contract):
        gateway = gateway_of(wechat, timeout_s=3, WECHAT_NOTICE_MODE="none")
        wechat.fault(APPLY, "slow", seconds=3)
        request = charge_of(contract)
        assert gateway.charge(request=request).outcome == Unknown("no answer: ReadTimeout")
        assert wechat.charges()[request.reference] == 5000

    def test_an_effect_that_comes_late_happens_once_although_it_was_sent_again(
        self, wechat, gateway, contract
    ):
        wechat.fault(APPLY, "late", seconds=60)
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        assert gateway.query(reference=request.reference).outcome == NotFound()
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        wechat.advance(120)
        assert wechat.charges()[request.reference] == 5000  # fails by itself if charged twice

    def test_thirty_two_senders_of_one_reference_take_the_money_once(
        self, wechat, gateway, contract
    ):
        request, outcomes = charge_of(contract), []
        start = threading.Barrier(32)

        def send() -> None:
            start.wait()
            outcomes.append(gateway.charge(request=request).outcome)

        threads = [threading.Thread(target=send) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {type(outcome) for outcome in outcomes} <= {Pending, Succeeded}
        assert wechat.charges()[request.reference] == 5000

    def test_a_peer_that_is_not_there_is_unknown_and_nothing_of_the_request_is_in_the_reason(
        self, wechat, contract
    ):
        gateway = gateway_of(wechat, WECHAT_API_URL="http://127.0.0.1:9")
        answer = gateway.charge(request=charge_of(contract))
        assert answer.outcome == Unknown("no answer: ConnectionError")
        assert answer.exchanges[0].response == ""


class TestTheBackupAddress:
    def test_is_asked_where_the_first_cannot_be_reached(self, wechat, contract):
        gateway = gateway_of(
            wechat,
            WECHAT_API_URL="http://127.0.0.1:9",
            WECHAT_BACKUP_API_URL=wechat.url,
            WECHAT_NOTICE_MODE="none",
        )
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        assert wechat.charges()[request.reference] == 5000

    def test_is_not_asked_after_a_connection_that_broke(self, wechat, contract):
        gateway = gateway_of(wechat, WECHAT_BACKUP_API_URL=wechat.url, WECHAT_NOTICE_MODE="none")
        wechat.fault(APPLY, "lose_before")
        request = charge_of(contract)
        assert isinstance(gateway.charge(request=request).outcome, Unknown)
        assert request.reference not in wechat.charges()


class TestTheRailsOwnRules:
    @pytest.mark.parametrize(
        ("payer", "code"), [(POOR, "NOTENOUGH"), (FROZEN, "USER_ACCOUNT_ABNORMAL")]
    )
    def test_a_payer_who_cannot_pay_is_accepted_first_and_closed_then(
        self, wechat, gateway, payer, code
    ):
        request = charge_of(wechat.agree(new_ref("B"), payer=payer))
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        asked = gateway.query(reference=request.reference).outcome
        assert isinstance(asked, Closed)
        assert asked.code == code
        assert request.reference not in wechat.charges()

    def test_one_number_with_two_meanings_yields_the_truth_of_the_first(
        self, wechat, gateway, contract
    ):
        request = charge_of(contract)
        gateway.charge(request=request)
        other = charge_of(contract, reference=request.reference, amount_minor=9900)
        answer = gateway.charge(request=other)
        assert isinstance(answer.outcome, Succeeded)
        assert answer.outcome.amount_minor == 5000
        assert [exchange.kind for exchange in answer.exchanges] == [APPLY_PATH, ORDER_QUERY]
        assert wechat.charges()[request.reference] == 5000

    @pytest.mark.parametrize("kind", ["lose_before", "system_error", "bad_signature"])
    def test_an_invalid_request_whose_order_cannot_be_asked_for_is_unknown(
        self, wechat, gateway, contract, kind
    ):
        wechat.fault(APPLY, "decline", code="INVALID_REQUEST")
        wechat.fault(QUERY, kind)
        assert isinstance(gateway.charge(request=charge_of(contract)).outcome, Unknown)

    def test_a_description_that_v2_cannot_carry_is_sent_without_it(self, wechat, gateway, contract):
        request = charge_of(contract, description="话费\x00😀<&>充值" * 40)
        assert isinstance(gateway.charge(request=request).outcome, Pending)
        sent = [one for one in wechat.journal("order") if one["reference"] == request.reference]
        assert sent[0]["terms"]["body"].startswith("话费<&>充值话费")
        assert len(sent[0]["terms"]["body"].encode()) <= 128

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount_minor": 0},
            {"amount_minor": -1},
            {"reference": "no-dashes"},
            {"reference": "R" * 33},
            {"provider_binding_ref": ""},
        ],
    )
    def test_what_cannot_be_a_charge_is_refused_before_anything_is_sent(
        self, gateway, contract, changes
    ):
        answer = gateway.charge(request=charge_of(contract, **changes))
        assert isinstance(answer.outcome, Refused)
        assert answer.outcome.code == "PARAM_ERROR"
        assert answer.exchanges == ()


class TestWhenToAskAgain:
    def test_is_a_minute_where_charges_are_made_at_once(self, wechat, gateway, contract):
        before = wechat.now()
        outcome = gateway.charge(request=charge_of(contract)).outcome
        assert before + SOON <= outcome.ask_again_at <= wechat.now() + SOON

    def test_is_a_day_later_where_the_payer_is_told_first_and_then_once_is_enough(
        self, slow, slow_gateway
    ):
        request = charge_of(old_contract(slow))
        before = slow.now()
        outcome = slow_gateway.charge(request=request).outcome
        wait = outcome.ask_again_at - before
        assert timedelta(hours=24, minutes=10) <= wait < timedelta(hours=24, minutes=11)
        assert isinstance(slow_gateway.query(reference=request.reference).outcome, Pending)
        assert request.reference not in slow.charges()
        slow.advance(int(wait.total_seconds()))
        assert isinstance(slow_gateway.query(reference=request.reference).outcome, Succeeded)

    def test_is_a_minute_in_a_contracts_first_hours(self, slow, slow_gateway):
        request = charge_of(slow.agree(new_ref("B")))
        outcome = slow_gateway.charge(request=request).outcome
        assert outcome.ask_again_at <= slow.now() + SOON
        assert slow.charges()[request.reference] == 5000

    def test_is_a_minute_where_the_contract_would_not_tell_its_age(self, slow, slow_gateway):
        slow.fault(CONTRACT, "http_500")
        outcome = slow_gateway.charge(request=charge_of(old_contract(slow))).outcome
        assert outcome.ask_again_at <= slow.now() + SOON

    @pytest.mark.parametrize("is_hidden", [True, False])
    def test_a_repeat_waits_for_the_first_although_it_may_not_be_shown_yet(
        self, slow, slow_gateway, is_hidden
    ):
        slow.set(hides_waiting_orders=is_hidden)
        contract = old_contract(slow)
        sent_at = slow.now()
        request = charge_of(contract, first_sent_at=sent_at)
        slow_gateway.charge(request=request)
        slow.advance(3600)
        outcome = slow_gateway.charge(request=request).outcome
        assert isinstance(outcome, Pending)
        assert outcome.ask_again_at == sent_at + timedelta(hours=24, minutes=10)
        slow.advance(DAY_S)
        assert isinstance(slow_gateway.query(reference=request.reference).outcome, Succeeded)

    def test_a_second_charge_of_a_contract_waits_and_is_not_mistaken_for_the_first(
        self, slow, slow_gateway
    ):
        contract = old_contract(slow)
        first, second = charge_of(contract), charge_of(contract)
        slow_gateway.charge(request=first)
        assert isinstance(slow_gateway.charge(request=second).outcome, Pending)
        slow.advance(DAY_S + 60)
        assert slow_gateway.query(reference=second.reference).outcome == NotFound()
        assert first.reference in slow.charges()
        assert second.reference not in slow.charges()


class TestCancel:
    def test_closes_what_waits_and_nothing_is_taken(self, slow, slow_gateway):
        request = charge_of(old_contract(slow))
        slow_gateway.charge(request=request)
        canceled = slow_gateway.cancel(reference=request.reference).outcome
        assert isinstance(canceled, Closed)
        assert canceled.code == "CANCELED"
        slow.advance(2 * DAY_S)
        assert request.reference not in slow.charges()
        assert isinstance(slow_gateway.query(reference=request.reference).outcome, Closed)

    def test_of_a_paid_one_is_unknown_and_it_stays_paid(self, wechat, gateway, contract):
        request = charge_of(contract)
        gateway.charge(request=request)
        assert isinstance(gateway.cancel(reference=request.reference).outcome, Unknown)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)

    def test_of_what_nobody_heard_of_is_not_found(self, gateway):
        assert gateway.cancel(reference=new_ref()).outcome == NotFound()

    def test_of_a_closed_one_is_closed_without_another_call(self, wechat, gateway):
        request = charge_of(wechat.agree(new_ref("B"), payer=POOR))
        gateway.charge(request=request)
        answer = gateway.cancel(reference=request.reference)
        assert isinstance(answer.outcome, Closed)
        assert len(answer.exchanges) == 1

    @pytest.mark.parametrize("kind", ["lose_after", "system_error", "bad_signature"])
    def test_an_unusable_answer_is_unknown(self, slow, slow_gateway, kind):
        request = charge_of(old_contract(slow))
        slow_gateway.charge(request=request)
        slow.fault(CLOSE, kind)
        assert isinstance(slow_gateway.cancel(reference=request.reference).outcome, Unknown)

    @pytest.mark.parametrize(
        ("code", "kind"), [("ORDERPAID", Unknown), ("ORDERCLOSED", Closed), ("NOAUTH", Unknown)]
    )
    def test_a_race_lost_to_the_deduction_is_unknown_and_one_lost_to_another_closing_is_closed(
        self, slow, slow_gateway, code, kind
    ):
        request = charge_of(old_contract(slow))
        slow_gateway.charge(request=request)
        slow.fault(CLOSE, "decline", code=code)
        assert isinstance(slow_gateway.cancel(reference=request.reference).outcome, kind)


class TestBindings:
    def test_a_page_that_was_opened_and_not_decided_is_pending(self, wechat, gateway):
        binding_ref = new_ref("B")
        gateway.start_binding(request=binding_of(binding_ref))
        facts = gateway.get_binding(binding_ref=binding_ref, provider_ref="").outcome
        assert isinstance(facts, BindingFacts)
        assert facts.status is BindingStatus.PENDING

    def test_one_that_ran_out_is_expired_and_tells_when(self, wechat, gateway, contract):
        wechat.expire(contract, in_s=60)
        facts = gateway.get_binding(binding_ref="", provider_ref=contract).outcome
        assert facts.status is BindingStatus.ACTIVE
        assert timedelta(0) < facts.expires_at - wechat.now() <= timedelta(seconds=60)
        wechat.advance(61)
        facts = gateway.get_binding(binding_ref="", provider_ref=contract).outcome
        assert facts.status is BindingStatus.EXPIRED

    def test_one_that_ran_out_is_not_charged(self, wechat, gateway, contract):
        wechat.expire(contract)
        outcome = gateway.charge(request=charge_of(contract)).outcome
        assert isinstance(outcome, Refused)
        assert DECLINE_CODES[outcome.code] == "hard"

    def test_the_label_shows_no_more_than_the_beginning_of_who_it_is(self, gateway, contract):
        facts = gateway.get_binding(binding_ref="", provider_ref=contract).outcome
        assert facts.label == "oUpF8****"
        assert len(facts.fingerprint) == 64

    def test_different_payers_have_different_fingerprints(self, wechat, gateway, contract):
        other = wechat.agree(new_ref("B"), payer=POOR)
        prints = {
            gateway.get_binding(binding_ref="", provider_ref=one).outcome.fingerprint
            for one in (contract, other)
        }
        assert len(prints) == 2

    @pytest.mark.parametrize("kind", ["lose_before", "system_error", "bad_signature", "unsigned"])
    def test_an_unusable_answer_about_a_binding_is_unknown(self, wechat, gateway, contract, kind):
        wechat.fault(CONTRACT, kind)
        asked = gateway.get_binding(binding_ref="", provider_ref=contract)
        assert isinstance(asked.outcome, Unknown)
        wechat.fault(DELETE, kind)
        ended = gateway.revoke_binding(binding_ref="", provider_ref=contract)
        assert isinstance(ended.outcome, Unknown)

    def test_a_refusal_to_end_one_is_settled_by_asking_for_it(self, wechat, gateway, contract):
        wechat.fault(DELETE, "decline", code="NOAUTH", times=2)
        refused = gateway.revoke_binding(binding_ref="", provider_ref=contract).outcome
        assert isinstance(refused, Refused)
        wechat.revoke(contract)
        ended = gateway.revoke_binding(binding_ref="", provider_ref=contract).outcome
        assert isinstance(ended, BindingFacts)
        assert ended.status is BindingStatus.REVOKED

    def test_ending_one_by_our_own_reference_ends_it(self, wechat, gateway):
        binding_ref = new_ref("B")
        contract = wechat.agree(binding_ref)
        gateway.revoke_binding(binding_ref=binding_ref, provider_ref="")
        assert wechat.contract(contract)["contract_state"] == "1"


class TestSigningPages:
    def test_h5_leads_to_wechats_own_page_which_knows_the_way_back(self, wechat, gateway):
        page = gateway.start_binding(request=binding_of(new_ref("B")))
        assert page.url.startswith(f"{wechat.url}/papay/h5/")
        signing = wechat.journal("signing")[-1]["terms"]
        assert signing["return_to"] == "https://keepline.example/back"
        assert signing["display_account"] == "138****0000"

    def test_the_same_reference_asks_for_the_same_contract_each_time(self, wechat, gateway):
        binding_ref = new_ref("B")
        for _ in range(2):
            gateway.start_binding(request=binding_of(binding_ref))
        first, second = (entry["terms"] for entry in wechat.journal("signing")[-2:])
        assert first["contract_code"] == second["contract_code"] == binding_ref
        assert first["request_serial"] == second["request_serial"]
        assert len(first["request_serial"]) >= 9

    @pytest.mark.parametrize("kind", ["lose_before", "http_500", "return_fail", "bad_signature"])
    def test_h5_that_gives_no_page_says_that_signing_was_not_started(self, wechat, gateway, kind):
        wechat.fault("h5entrustweb", kind)
        with pytest.raises(SigningNotStarted):
            gateway.start_binding(request=binding_of(new_ref("B")))

    def test_h5_that_refuses_says_why(self, wechat):
        gateway = gateway_of(wechat, WECHAT_PLAN_ID="999")
        with pytest.raises(SigningNotStarted, match="PARAM_ERROR"):
            gateway.start_binding(request=binding_of(new_ref("B")))

    def test_an_official_accounts_page_is_made_without_asking_anybody(self, wechat):
        gateway = gateway_of(
            wechat, WECHAT_SIGN_PAGE="official_account", WECHAT_API_URL="http://127.0.0.1:9"
        )
        url = gateway.start_binding(request=binding_of(new_ref("B"))).url
        assert url.startswith("http://127.0.0.1:9/papay/entrustweb?appid=")
        assert "notify_url=http%3A%2F%2F127.0.0.1%3A9%2Fnobody" in url

    def test_an_app_is_led_to_wechats_mini_program(self, wechat):
        gateway = gateway_of(wechat, WECHAT_SIGN_PAGE="app")
        url = gateway.start_binding(request=binding_of(new_ref("B"))).url
        token = wechat.journal("signing")[-1]["token"]
        assert url.startswith("weixin://dl/business/?appid=wxbd687630cd02ce1d&path=pages")
        assert f"pre_entrustweb_id%3D{token}" in url

    def test_an_app_that_gets_no_number_says_that_signing_was_not_started(self, wechat):
        gateway = gateway_of(wechat, WECHAT_SIGN_PAGE="app")
        wechat.fault("preentrustweb", "system_error")
        with pytest.raises(SigningNotStarted, match="SYSTEMERROR"):
            gateway.start_binding(request=binding_of(new_ref("B")))

    @pytest.mark.parametrize("reference", ["", "a b", "B" * 33, "Ü1", "a/b"])
    def test_a_reference_that_cannot_be_one_is_refused(self, gateway, reference):
        with pytest.raises(ValueError, match="reference"):
            gateway.start_binding(request=binding_of(reference))


class TestInMd5:
    def test_everything_works_the_same(self, wechat, contract):
        gateway = gateway_of(wechat, WECHAT_SIGN_TYPE="MD5", WECHAT_NOTICE_MODE="none")
        gateway.start_binding(request=binding_of(new_ref("B")))
        request = charge_of(contract)
        gateway.charge(request=request)
        assert isinstance(gateway.query(reference=request.reference).outcome, Succeeded)
        facts = gateway.get_binding(binding_ref="", provider_ref=contract).outcome
        assert isinstance(facts, BindingFacts)
        assert facts.status is BindingStatus.ACTIVE

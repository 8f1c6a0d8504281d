"""The unmodified SDK against our Stripe: addresses, shapes, errors, keys, pages, webhooks."""

import threading
from typing import Any

import pytest
import requests
import stripe

from billing.gateways.stripe.wire import API_VERSION
from tests.rails.alipay_world import until
from tests.rails.contract import new_ref
from tests.rails.stripe_simulator import SECRET_KEY, WEBHOOK_SECRET, EventInbox
from tests.rails.stripe_world import CREATE

pytestmark = pytest.mark.processes
HOUR_S = 3600


def sdk_of(stripe_sim, key=SECRET_KEY):
    client = stripe.StripeClient(key, base_addresses={"api": stripe_sim.url}, max_network_retries=0)
    return client.v1


@pytest.fixture
def sdk(stripe_sim):
    return sdk_of(stripe_sim)


def params_of(provider_ref, **changes):
    customer, card = provider_ref.split("/")
    values = {
        "amount": 5000,
        "currency": "cny",
        "customer": customer,
        "payment_method": card,
        "off_session": True,
        "confirm": True,
        "metadata": {"keepline_ref": new_ref()},
    }
    return values | changes


def pay(sdk, provider_ref, *, key=None, **changes):
    return sdk.payment_intents.create(
        params_of(provider_ref, **changes), {"idempotency_key": key or new_ref("K")}
    )


class TestAPayment:
    def test_goes_its_whole_way_through_the_sdk(self, stripe_sim, sdk):
        intent = pay(sdk, stripe_sim.bind(new_ref("B")), expand=["latest_charge"])
        assert (intent.status, intent.amount_received) == ("succeeded", 5000)
        assert intent.latest_charge.paid is True
        refund = sdk.refunds.create({"payment_intent": intent.id, "amount": 2000})
        assert refund.status == "succeeded"
        rows = sdk.balance_transactions.list({"limit": 2, "expand": ["data.source"]}).data
        assert [(row.type, row.amount, row.source.object) for row in rows] == [
            ("refund", -2000, "refund"),
            ("charge", 5000, "charge"),
        ]
        charge = sdk.charges.retrieve(intent.latest_charge.id)
        assert (charge.amount_refunded, charge.refunded) == (2000, False)

    @pytest.mark.parametrize(
        ("card", "code", "decline_code", "advice_code"),
        [
            ("poor", "card_declined", "insufficient_funds", None),
            ("expired", "expired_card", "expired_card", None),
            ("stolen", "card_declined", "stolen_card", "do_not_try_again"),
            ("declined", "card_declined", "generic_decline", "try_again_later"),
            ("authenticate", "authentication_required", "authentication_required", None),
        ],
    )
    def test_with_a_bad_card_raises_the_sdks_card_error(
        self, stripe_sim, sdk, card, code, decline_code, advice_code
    ):
        provider_ref = stripe_sim.bind(new_ref("B"), card=card)
        with pytest.raises(stripe.CardError) as raised:
            pay(sdk, provider_ref)
        error: Any = raised.value.error
        assert (raised.value.http_status, error.code) == (402, code)
        assert (error.decline_code, error.advice_code) == (decline_code, advice_code)
        assert error.payment_intent.status == "requires_payment_method"
        assert error.payment_intent.last_payment_error.decline_code == decline_code

    def test_with_an_unknown_parameter_is_refused_as_stripe_refuses_it(self, stripe_sim, sdk):
        provider_ref = stripe_sim.bind(new_ref("B"))
        with pytest.raises(stripe.InvalidRequestError) as raised:
            pay(sdk, provider_ref, colour="red")
        assert (raised.value.code, raised.value.param) == ("parameter_unknown", "colour")

    def test_with_a_parameter_that_the_pinned_version_gave_up_is_refused(self, stripe_sim, sdk):
        provider_ref = stripe_sim.bind(new_ref("B"))
        for create in (
            lambda: pay(sdk, provider_ref, payment_method_types=["card"]),
            lambda: sdk.checkout.sessions.create(
                {"mode": "setup", "payment_method_types": ["card"]}
            ),
        ):
            with pytest.raises(stripe.InvalidRequestError) as raised:
                create()
            assert raised.value.code == "payment_method_types_no_longer_supported"
        customer = provider_ref.split("/")[0]
        assert sdk.payment_intents.list({"customer": customer}).data == []

    def test_of_another_customers_card_is_refused(self, stripe_sim, sdk):
        mine, theirs = (stripe_sim.bind(new_ref("B")).split("/") for _ in range(2))
        with pytest.raises(stripe.InvalidRequestError) as raised:
            pay(sdk, f"{mine[0]}/{theirs[1]}")
        assert raised.value.param == "payment_method"

    def test_is_found_by_search_and_by_list_with_filters(self, stripe_sim, sdk):
        provider_ref = stripe_sim.bind(new_ref("B"))
        intent = pay(sdk, provider_ref, metadata={"keepline_ref": "R7"})
        found = sdk.payment_intents.search({"query": "metadata['keepline_ref']:'R7'"})
        assert [one.id for one in found.data] == [intent.id]
        mine = sdk.payment_intents.list({"customer": provider_ref.split("/")[0]})
        assert [one.id for one in mine.auto_paging_iter()] == [intent.id]
        later = sdk.payment_intents.list({"created": {"gt": intent.created}})
        assert later.data == []
        with pytest.raises(stripe.InvalidRequestError):
            sdk.payment_intents.search({"query": "metadata[keepline_ref]=R7"})

    def test_of_a_wrong_key_is_not_let_in(self, stripe_sim):
        with pytest.raises(stripe.AuthenticationError):
            sdk_of(stripe_sim, "sk_test_of_somebody_else").customers.list()

    def test_by_a_cards_number_has_no_way_in(self, sdk):
        card = {"number": "4242424242424242", "exp_month": 1, "exp_year": 2034, "cvc": "123"}
        with pytest.raises(stripe.CardError):
            sdk.payment_methods.create({"type": "card", "card": card})


class TestAnIdempotencyKey:
    def test_answers_the_same_and_says_so(self, stripe_sim, sdk):
        provider_ref, key = stripe_sim.bind(new_ref("B")), new_ref("K")
        params = params_of(provider_ref)
        first, again = (
            sdk.payment_intents.create(params, {"idempotency_key": key}) for _ in range(2)
        )
        assert first.id == again.id
        assert "Idempotent-Replayed" not in first.last_response.headers
        assert again.last_response.headers["Idempotent-Replayed"] == "true"
        assert stripe_sim.charges()[params["metadata"]["keepline_ref"]] == 5000

    def test_with_other_parameters_is_an_error(self, stripe_sim, sdk):
        provider_ref, key = stripe_sim.bind(new_ref("B")), new_ref("K")
        pay(sdk, provider_ref, key=key)
        with pytest.raises(stripe.IdempotencyError):
            pay(sdk, provider_ref, key=key, amount=5001)
        with pytest.raises(stripe.IdempotencyError):
            sdk.customers.create({}, {"idempotency_key": key})

    def test_keeps_a_decline_and_a_500_and_forgets_what_was_only_malformed(self, stripe_sim, sdk):
        poor, good = (stripe_sim.bind(new_ref("B"), card=card) for card in ("poor", "good"))
        key, params = new_ref("K"), params_of(poor)
        numbers = set()
        for _ in range(2):
            with pytest.raises(stripe.CardError) as raised:
                sdk.payment_intents.create(params, {"idempotency_key": key})
            error: Any = raised.value.error
            numbers.add(error.payment_intent.id)
        assert len(numbers) == 1
        key, params = new_ref("K"), params_of(good)
        stripe_sim.fault(CREATE, "http_500_saved")
        for _ in range(2):
            with pytest.raises(stripe.APIError):
                sdk.payment_intents.create(params, {"idempotency_key": key})
        key = new_ref("K")
        with pytest.raises(stripe.InvalidRequestError):
            pay(sdk, good, key=key, amount=1)
        assert pay(sdk, good, key=key).status == "succeeded"

    def test_in_use_is_a_conflict_that_saves_nothing(self, stripe_sim, sdk):
        provider_ref, key = stripe_sim.bind(new_ref("B")), new_ref("K")
        params = params_of(provider_ref)
        stripe_sim.fault(CREATE, "slow", seconds=1)
        slow = threading.Thread(
            target=sdk.payment_intents.create, args=(params, {"idempotency_key": key})
        )
        slow.start()
        until(lambda: stripe_sim.control("GET", "faults")["faults"] == [])
        with pytest.raises(stripe.APIError) as raised:
            sdk_of(stripe_sim).payment_intents.create(params, {"idempotency_key": key})
        assert raised.value.http_status == 409
        slow.join()
        again = sdk.payment_intents.create(params, {"idempotency_key": key})
        assert again.last_response.headers["Idempotent-Replayed"] == "true"
        assert stripe_sim.charges()[params["metadata"]["keepline_ref"]] == 5000

    def test_is_forgotten_after_a_day_and_not_before(self, own_stripe):
        sdk, provider_ref = sdk_of(own_stripe), own_stripe.bind(new_ref("B"))
        params = params_of(provider_ref)
        first = sdk.payment_intents.create(params, {"idempotency_key": "K"})
        own_stripe.advance(23 * HOUR_S)
        assert sdk.payment_intents.create(params, {"idempotency_key": "K"}).id == first.id
        own_stripe.advance(HOUR_S + 60)
        assert sdk.payment_intents.create(params, {"idempotency_key": "K"}).id != first.id

    def test_and_all_else_outlives_a_killed_process(self, own_stripe):
        sdk, provider_ref = sdk_of(own_stripe), own_stripe.bind(new_ref("B"))
        params = params_of(provider_ref)
        own_stripe.advance(10 * HOUR_S)
        first = sdk.payment_intents.create(params, {"idempotency_key": "K"})
        now = own_stripe.now()
        own_stripe.stop()
        with own_stripe.journal_file.open("a") as journal:
            journal.write('{"seq": 99, "kind": "charge", "half')  # killed while it wrote
        own_stripe.start()
        assert own_stripe.now() >= now
        again = sdk.payment_intents.create(params, {"idempotency_key": "K"})
        assert (again.id, len(own_stripe.charges())) == (first.id, 1)
        refund = sdk.refunds.create({"payment_intent": first.id})
        assert refund.amount == 5000
        with pytest.raises(stripe.InvalidRequestError) as raised:
            sdk.refunds.create({"payment_intent": first.id, "amount": 1})
        assert raised.value.code == "charge_already_refunded"


class TestEvents:
    def test_are_tried_again_until_they_are_taken_and_signed_anew(self, own_stripe):
        inbox = EventInbox(status=500)
        own_stripe.set(webhook_url=inbox.url)
        try:
            sdk_of(own_stripe).customers.create({})
            (first, body), *_ = inbox.wait_for(1)
            inbox.status = 200
            until(lambda: own_stripe.notifications()[0]["waits"] == 1)
            own_stripe.advance(301)
            (_, _), (second, same) = inbox.wait_for(2)
            until(lambda: own_stripe.notifications()[0]["is_accepted"])
        finally:
            inbox.close()
        assert body == same
        assert first["Stripe-Signature"] != second["Stripe-Signature"]
        stripe.WebhookSignature.verify_header(body, second["Stripe-Signature"], WEBHOOK_SECRET)

    def test_come_twice_late_in_reverse_or_never_on_order(self, stripe_sim, sdk, events):
        provider_ref = stripe_sim.bind(new_ref("B"))
        stripe_sim.fault(CREATE, "webhook_never")
        pay(sdk, provider_ref)
        stripe_sim.fault(CREATE, "webhook_duplicate", copies=2)
        twice = pay(sdk, provider_ref).id.encode()

        def told_of(number):
            return [body for _, body in events.received if b"payment_intent.succeeded" in body
                    and number in body]  # fmt: skip

        until(lambda: len(told_of(twice)) == 3)
        stripe_sim.fault(CREATE, "webhook_before_answer")
        early = pay(sdk, provider_ref).id.encode()
        assert len(told_of(early)) == 1
        assert len(sdk.events.list({"type": "payment_intent.succeeded", "limit": 3}).data) == 3


class TestFaultsByChance:
    def test_are_the_same_for_the_same_seed_and_money_moves_at_most_once(self, stripe_sim, sdk):
        provider_ref = stripe_sim.bind(new_ref("B"))
        kinds = ["lose_after", "lose_before", "http_500", "garbage", "rate_limit"]
        outcomes = []
        for _ in range(2):
            stripe_sim.chance(rate=0.5, kinds=kinds, seed=3, methods=[CREATE])
            outcomes.append([self.outcome(sdk, provider_ref) for _ in range(20)])
            stripe_sim.calm()
        assert outcomes[0] == outcomes[1]
        assert len(set(outcomes[0])) > 2
        assert stripe_sim.charges()

    @staticmethod
    def outcome(sdk, provider_ref):
        try:
            return pay(sdk, provider_ref).status
        except stripe.StripeError as error:
            return type(error).__name__


class TestTheVersion:
    """Ours is pinned; another one's shapes are not spoken here, and none is nobody's choice."""

    def test_is_the_one_that_is_spoken_here_or_nothing_is_done(self, stripe_sim):
        def create(**headers):
            authorised = {"Authorization": f"Bearer {SECRET_KEY}"} | headers
            url = f"{stripe_sim.url}/v1/customers"
            answer = requests.post(url, headers=authorised, timeout=10)
            return answer.status_code, answer.json().get("error", {}).get("message", "")

        def known():
            return len(list(sdk_of(stripe_sim).customers.list().auto_paging_iter()))

        before = known()
        none = "No Stripe-Version was sent: the account's default is an older one."
        assert create() == (400, none)
        for other in ("2020-08-27", "2025-03-31.basil", "latest"):
            said = f"Invalid Stripe API version: {other}"
            assert create(**{"Stripe-Version": other}) == (400, said)
        assert known() == before
        assert create(**{"Stripe-Version": API_VERSION}) == (200, "")
        assert known() == before + 1


class TestThePages:
    def test_begin_with_the_wallet_where_every_saved_card_is(self, stripe_sim):
        stripe_sim.bind(new_ref("B"), card="slow")
        page = requests.get(stripe_sim.url, timeout=10)
        assert page.url == f"{stripe_sim.url}/wallet"
        assert "UnionPay ····0005" in page.text

    def test_lead_nowhere_once_they_are_over(self, stripe_sim):
        for address in ("/c/pay/cs_test_nothing", "/3ds/pi_nothing"):
            assert requests.get(stripe_sim.url + address, timeout=10).status_code == 400

    def test_control_is_refused_what_it_does_not_know(self, stripe_sim):
        answers = [
            requests.post(f"{stripe_sim.url}/_control/{path}", json=body, timeout=10).status_code
            for path, body in [
                ("faults", {"kind": "meteor"}),
                ("settings", {"colour": "red"}),
                ("clock", {"advance_s": -1}),
                ("cards/good", {"number": "4242"}),
                ("disputes", {"reference": "R-of-nobody"}),
                ("bindings", []),
                ("bindings", {"reference": 5}),
                ("disputes", {"charge": 5}),
            ]
        ]
        assert answers == [400] * 8

"""Every fault that matters, one at a time, over HTTP, with real kills: what happens, happens once.

The adapters, the simulators and the executor are the real ones. Three books are compared at the
end of each test.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import requests

from billing.engine import incoming
from billing.ledger import verification
from billing.models import InboundNotification, RechargeMove, Refund, Transfer
from billing.refunds import approvals
from lines.models import Carrier
from tests import world as w
from tests.chaos import points
from tests.chaos.people import FORM
from tests.rails.alipay_world import PAY, QUERY, REFUND

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

TOPUP, ADJUST = "POST /topupBalance", "POST /adjustBalance"


def wait_until(is_so):
    """For what another process is about to do; twenty seconds are for ever."""
    waiting = threading.Event()
    for _ in range(400):
        if is_so():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not happen within twenty seconds")


@pytest.fixture
def _silent_rail(scene):
    """No notification helps: what is not known must be asked for."""
    scene.alipay.set(is_silent=True)


# --- stories in which each point is passed ------------------------------------------------------


def good(life):
    """Nothing goes wrong but the worker."""


def lost_charge(life):
    life.scene.alipay.fault(PAY, "lose_after")


def lost_credit(life):
    life.scene.carrier.fault("lose_after", TOPUP)


def rejected(life):
    life.scene.carrier.fault("reject", TOPUP, code="amountNotSold")


def rejected_and_lost_refund(life):
    rejected(life)
    life.scene.alipay.fault(REFUND, "lose_after")


def refund_of_a_completed(life):
    life.work()
    assert life.recharge.state == "completed"
    refund = approvals.request(
        recharge=life.recharge,
        amount_minor=5000,
        reason="asked",
        requested_by=w.person("support"),
        at=life.at,
    )
    approvals.approve(refund=refund, approved_by=w.person("finance"), at=life.at)


STORIES = {
    "query": (lost_charge, "completed"),
    "setback": (lost_charge, "completed"),
    "delivery query": (lost_credit, "completed"),
    "delivery setback": (lost_credit, "completed"),
    "refund": (rejected, "refunded"),
    "refund query": (rejected_and_lost_refund, "refunded"),
    "reverse": (refund_of_a_completed, "refunded"),
}


class TestAWorkerIsKilled:
    @pytest.mark.parametrize("point", points.names())
    def test_and_what_was_under_way_happens_once(self, life, point):
        prepare, end = STORIES.get(point.split(" ", 1)[1], (good, "completed"))
        prepare(life)
        for _ in range(4):
            if life.work_and_die(point):
                break
            life.later(timedelta(minutes=1))
        else:
            raise AssertionError(f"no worker came to “{point}”")

        life.come_to_an_end()

        assert (life.recharge.state, life.recharge.attention) == (end, "")
        assert life.charged() == [5000]
        kept = sum(life.credited()) - sum(life.taken_back())
        assert kept == (5000 if end == "completed" else 0)
        assert life.refunded() == ([] if end == "completed" else [5000])
        assert len(life.credited()) <= 1
        life.assert_books_agree()

    def test_again_and_again_over_one_recharge_and_a_person_is_called(self, life):
        assert life.work_and_die("before charge")
        for _ in range(2):
            life.lapse_leases()
            assert life.work_and_die("before query")
        life.lapse_leases()
        life.work()
        assert (life.recharge.state, life.recharge.attention) == ("charging", "crashed")
        assert life.charged() == []
        life.assert_books_agree()


@pytest.mark.usefixtures("_silent_rail")
class TestAnAnswerOfTheRailIsLost:
    def test_after_the_money_was_taken_is_found_out_by_asking(self, life):
        life.scene.alipay.fault(PAY, "lose_after")
        life.work()
        assert (life.recharge.state, life.charged()) == ("payment_unknown", [5000])
        assert not Transfer.objects.exists()
        life.later(timedelta(seconds=10))
        life.work()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        life.assert_books_agree()

    def test_before_it_was_taken_the_same_reference_goes_again_after_a_grace(self, life):
        life.scene.alipay.fault(PAY, "lose_before")
        life.work()
        life.later(timedelta(seconds=10))
        life.work()
        assert (life.recharge.state, life.charged()) == ("payment_unknown", [])
        reference = life.attempt.reference
        life.come_to_an_end()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        assert life.attempt.reference == reference
        life.assert_books_agree()

    def test_and_its_effect_comes_late(self, life):
        life.scene.alipay.fault(PAY, "late", seconds=1)
        life.work()
        life.later(timedelta(seconds=10))
        life.work()
        assert life.recharge.state == "payment_unknown"
        wait_until(lambda: life.charged() == [5000])
        life.come_to_an_end()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        life.assert_books_agree()

    def test_and_its_effect_comes_after_it_was_sent_again(self, life):
        life.scene.alipay.fault(PAY, "late", seconds=60)
        life.come_to_an_end()
        life.scene.alipay.advance(60)  # what it does is looked for when all tests have ended
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        life.assert_books_agree()

    @pytest.mark.parametrize(
        "kind", ["system_error", "bad_signature", "unsigned_error", "http_500", "non_json"]
    )
    def test_or_cannot_be_used(self, life, kind):
        life.scene.alipay.fault(PAY, kind)
        life.scene.alipay.fault(QUERY, kind)
        life.work()
        assert life.recharge.state == "payment_unknown"
        life.come_to_an_end()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        life.assert_books_agree()

    @pytest.mark.parametrize("kind", ["lose_after", "lose_before", "late"])
    def test_about_a_refund(self, life, kind):
        rejected(life)
        life.scene.alipay.fault(REFUND, kind, seconds=1)
        life.come_to_an_end()
        assert (life.recharge.state, life.refunded()) == ("refunded", [5000])
        life.assert_books_agree()


@pytest.mark.usefixtures("_silent_rail")
class TestAnAnswerOfTheCarrierIsLost:
    def test_after_the_credit_is_found_out_by_asking(self, life):
        life.scene.carrier.fault("lose_after", TOPUP)
        life.work()
        assert (life.recharge.state, life.credited()) == ("delivery_unknown", [5000])
        life.later(timedelta(seconds=10))
        life.work()
        assert (life.recharge.state, life.credited()) == ("completed", [5000])
        life.assert_books_agree()

    def test_before_the_credit_the_same_order_goes_again_after_a_grace(self, life):
        life.scene.carrier.fault("lose_before", TOPUP)
        life.work()
        life.later(timedelta(seconds=10))
        life.work()
        assert (life.recharge.state, life.credited()) == ("delivery_unknown", [])
        life.come_to_an_end()
        assert (life.recharge.state, life.credited()) == ("completed", [5000])
        assert life.delivery.state == "credited"
        life.assert_books_agree()

    def test_and_its_effect_comes_late(self, life):
        life.scene.carrier.fault("late", TOPUP, delay_s=1)
        life.work()
        life.later(timedelta(seconds=10))
        life.work()
        assert life.recharge.state == "delivery_unknown"
        wait_until(lambda: life.credited() == [5000])
        life.come_to_an_end()
        assert (life.recharge.state, life.credited()) == ("completed", [5000])
        life.assert_books_agree()

    @pytest.mark.parametrize("kind", ["lose_after", "lose_before"])
    def test_about_a_credit_taken_back(self, life, kind):
        refund_of_a_completed(life)
        life.scene.carrier.fault(kind, ADJUST)
        life.come_to_an_end()
        assert life.recharge.state == "refunded"
        assert (life.taken_back(), life.refunded()) == ([5000], [5000])
        life.assert_books_agree()

    def test_and_it_cannot_be_asked_by_reference_so_a_person_is_called(self, life):
        Carrier.objects.update(can_query_by_reference=False)
        life.scene.carrier.fault("lose_after", TOPUP)
        life.come_to_an_end()
        for _ in range(8):
            life.later(w.DAY)
            life.work()
        assert life.recharge.state == "delivery_unknown"
        assert life.recharge.attention == "delivery_unknown"
        assert life.credited() == [5000]
        assert life.refunded() == []
        life.assert_books_agree()


class TestANotification:
    def notes(self, life):
        """What the rail has sent about this recharge's charge."""
        sent = [one["fields"] for one in life.scene.alipay.notifications()]
        return [one for one in sent if one.get("out_trade_no") == life.attempt.reference]

    def post(self, live_server, fields):
        url = f"{live_server.url}/hooks/alipay/notify"
        return requests.post(url, data=urlencode(fields), headers=FORM, timeout=60)

    def kept(self, life):
        return InboundNotification.objects.filter(our_ref=life.attempt.reference)

    def test_makes_the_rail_be_asked_at_once_where_the_answer_was_lost(self, life):
        life.scene.alipay.fault(PAY, "lose_after")
        outside_at = life.at
        life.work()
        wait_until(lambda: self.kept(life).exists())
        life.work()
        assert life.at == outside_at
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        life.assert_books_agree()

    def test_that_comes_before_the_answer_changes_nothing_twice(self, life):
        life.scene.alipay.fault(PAY, "notify_before_answer")
        life.work()
        wait_until(lambda: self.kept(life).exists())
        life.come_to_an_end()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        assert life.credited() == [5000]
        assert set(self.kept(life).values_list("outcome", flat=True)) == {"woken"}
        life.assert_books_agree()

    def test_of_long_ago_comes_again_and_nothing_moves(self, life, live_server):
        life.work()
        wait_until(lambda: self.kept(life).exists())
        life.come_to_an_end()
        moves = RechargeMove.objects.count()
        [fields] = self.notes(life)

        assert self.post(live_server, fields).text == "success"
        life.come_to_an_end()

        assert RechargeMove.objects.count() == moves
        assert self.kept(life).get().repeats >= 1
        assert (life.charged(), life.credited()) == ([5000], [5000])
        life.assert_books_agree()

    def test_twenty_times_at_once_is_one(self, life, live_server):
        life.scene.alipay.fault(PAY, "lose_after")
        life.work()
        wait_until(lambda: self.notes(life))
        [fields] = self.notes(life)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: self.post(live_server, fields), range(20)))
        assert {(one.status_code, one.text) for one in answers} == {(200, "success")}
        assert self.kept(life).get().repeats >= 19
        life.come_to_an_end()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])
        assert life.credited() == [5000]
        life.assert_books_agree()

    @pytest.mark.parametrize(
        "lie",
        [
            {"total_amount": "0.01"},
            {"out_trade_no": "01JD8M0000000000000000000A"},
            {"trade_status": "TRADE_CLOSED"},
            {"seller_id": "2088000000000009"},
            {"sign": "AAAA"},
        ],
    )
    def test_forged_is_refused_and_nothing_changes(self, life, live_server, lie):
        life.scene.alipay.fault(PAY, "lose_after")
        life.scene.alipay.fault(PAY, "notify_reordered", seconds=3600)  # the genuine one: not yet
        life.work()
        [genuine] = self.notes(life)
        before = (life.recharge.act_at, life.recharge.state, life.recharge.fence)

        answer = self.post(live_server, genuine | {"notify_id": "forged"} | lie)

        assert (answer.status_code, answer.text) == (400, "failure")
        assert not InboundNotification.objects.exists()
        life.work()
        assert (life.recharge.act_at, life.recharge.state, life.recharge.fence) == before
        assert not Transfer.objects.exists()

    def test_that_cannot_be_kept_comes_again(self, life, live_server, monkeypatch):
        """Acknowledged only once it is kept: the rail repeats what was not."""
        plain = incoming.accept
        failing = [True]

        def accept(**what):
            if failing:
                raise OSError("the database is away")
            return plain(**what)

        monkeypatch.setattr(incoming, "accept", accept)
        life.scene.alipay.fault(PAY, "lose_after")
        life.work()
        wait_until(lambda: [n for n in life.scene.alipay.notifications() if n["waits"]])
        assert not InboundNotification.objects.exists()
        failing.clear()
        life.scene.alipay.advance(300)
        wait_until(lambda: self.kept(life).exists())
        life.work()
        assert (life.recharge.state, life.charged()) == ("completed", [5000])


class TestTheCarrier:
    def test_rejects_and_the_money_goes_back_by_itself(self, life):
        rejected(life)
        life.come_to_an_end()
        assert (life.recharge.state, life.recharge.reason) == ("refunded", "refunded")
        assert (life.charged(), life.refunded()) == ([5000], [5000])
        assert life.credited() == []
        assert set(verification.accounts()["CNY"].values()) == {0}
        life.assert_books_agree()

    def test_rejects_for_now_and_a_later_try_is_credited(self, life):
        life.scene.carrier.fault("reject", TOPUP, code="lineBusy")
        life.work()
        assert (life.recharge.state, life.recharge.reason) == ("charged", "carrier_retry")
        life.come_to_an_end()
        assert (life.recharge.state, life.credited()) == ("completed", [5000])
        assert life.charged() == [5000]
        life.assert_books_agree()

    @pytest.fixture
    def hub(self, life, live_server):
        """The carrier's events come to us."""
        callback = f"{live_server.url}/hooks/carriers/cmcc/events"
        life.scene.outside().adapter_for(Carrier.objects.get()).register_hub(callback_url=callback)

    def test_reverses_after_completion_and_says_so(self, life, hub):
        life.work()
        assert life.recharge.state == "completed"
        told = InboundNotification.objects.filter(provider_ref=life.delivery.carrier_ref)
        wait_until(lambda: told.exists())  # of the credit
        life.scene.carrier.reverse(life.delivery.carrier_ref)
        wait_until(lambda: told.count() == 2)

        life.come_to_an_end()

        assert (life.recharge.state, life.delivery.state) == ("refunded", "reversed")
        assert (life.credited(), life.taken_back()) == ([5000], [5000])
        assert (life.charged(), life.refunded()) == ([5000], [5000])
        assert Refund.objects.get().reason == "reversed_by_carrier"
        assert set(verification.accounts()["CNY"].values()) == {0}
        life.assert_books_agree()

    @pytest.mark.parametrize("kind", ["event_forged", "event_stale"])
    def test_is_not_believed_where_another_speaks_in_its_name(self, life, hub, kind):
        life.work()
        told = InboundNotification.objects.filter(provider_ref=life.delivery.carrier_ref)
        wait_until(lambda: told.exists())
        life.work()
        life.scene.carrier.fault(kind, "EVENT")
        life.scene.carrier.reverse(life.delivery.carrier_ref)
        number = life.rule.line.msisdn  # what comes after it, so that one need not wait for nothing
        life.scene.carrier.control("PATCH", f"/lines/{number}", {"balance_minor": 100})
        wait_until(lambda: InboundNotification.objects.filter(kind="balance").exists())
        assert told.count() == 1
        life.work()
        assert life.recharge.state == "completed"
        assert not Refund.objects.exists()

"""Messages from rails and carriers: kept once, acted on once, believed never."""

from datetime import timedelta

import pytest
from django.db import connection
from django_q.models import OrmQ

from billing import gateways, rowsets
from billing.bindings import lifecycle
from billing.engine import incoming
from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingStatus,
    Notification,
    NotificationKind,
    Pending,
    Unknown,
)
from billing.models import Binding, InboundNotification, PaymentAttempt, Recharge, Rule
from billing.recharges import waking
from lines.carriers.base import Accepted, CarrierEvent
from lines.models import Delivery, Line
from tests import world as w
from tests.factories.billing import RefundFactory
from tests.race import race
from tests.world import DAY, MINUTE, NOON

SECOND = timedelta(seconds=1)
RAIL, CARRIER = "rail:alipay", "carrier:cmcc"


def note(kind=NotificationKind.CHARGE, *, our_ref="R1", dedupe_id="n1", **more):
    given = {"claims": "TRADE_SUCCESS", "body_masked": "{}"}
    return Notification(kind=kind, dedupe_id=dedupe_id, our_ref=our_ref, **given | more)


def event(kind="topup", *, reference="", carrier_ref="c1", dedupe_id="e1", **more):
    return CarrierEvent(
        dedupe_id=dedupe_id,
        kind=kind,
        reference=reference,
        carrier_ref=carrier_ref,
        claims="completed",
        **more,
    )


def accept(one, *, source=RAIL, at=NOON):
    return incoming.accept(source=source, note=one, at=at)


def process(*, at=NOON, limit=50):
    return incoming.process(at=at, limit=limit)


def only():
    return InboundNotification.objects.get()


@pytest.fixture
def low(world):
    w.carrier(), w.rail()
    return w.rule(w.line(balance_minor=980), wake_at=world.at)


@pytest.fixture
def pending(world, low):
    """Alice's recharge, its payment pending at the rail: nobody looks at it for a while."""
    world.gateway.script = [Pending()]
    world.run()
    recharge = Recharge.objects.get()
    assert recharge.state == "payment_pending"
    assert recharge.act_at > NOON
    OrmQ.objects.all().delete()
    return recharge


@pytest.mark.django_db
class TestAccepting:
    def test_keeps_what_it_says_and_nudges_once(self):
        one = note(provider_ref="2026T1", amount_minor=5000, currency="CNY")

        assert accept(one) is True

        row = only()
        assert (row.source, row.dedupe_id, row.kind) == (RAIL, "n1", "charge")
        assert (row.our_ref, row.provider_ref, row.refund_ref) == ("R1", "2026T1", "")
        assert (row.claims, row.amount_minor, row.body_masked) == ("TRADE_SUCCESS", 5000, "{}")
        assert (row.received_at, row.done_at, row.repeats) == (NOON, None, 0)
        assert OrmQ.objects.count() == 1

    def test_counts_a_repeat_and_changes_nothing_else(self):
        accept(note())
        assert accept(note(claims="TRADE_CLOSED"), at=NOON + MINUTE) is False
        row = only()
        assert (row.repeats, row.claims, row.received_at) == (1, "TRADE_SUCCESS", NOON)
        assert OrmQ.objects.count() == 1

    def test_takes_one_id_of_two_senders_for_two_messages(self):
        assert accept(note())
        assert accept(note(), source="rail:wechat")
        assert InboundNotification.objects.count() == 2

    def test_does_not_keep_the_number_by_which_an_agreement_is_charged(self):
        accept(note(NotificationKind.BINDING, provider_ref="20265500001"))
        assert only().provider_ref == ""

    def test_keeps_our_name_of_a_line_and_not_its_number(self):
        line = w.line()
        accept(event("balance", resource=line.msisdn), source=CARRIER)
        row = only()
        assert row.our_ref == line.public_id
        with connection.cursor() as cursor:
            cursor.execute("SELECT n::text FROM billing_inboundnotification n")
            assert line.msisdn[1:] not in cursor.fetchone()[0]

    @pytest.mark.parametrize("long", ["x" * 1000, "a\x00b" * 100])
    def test_survives_texts_that_no_column_holds(self, long):
        one = note(our_ref=long, provider_ref=long, refund_ref=long, claims=long, body_masked=long)
        assert accept(one)
        assert len(only().our_ref) == 40

    def test_keeps_long_ids_apart_that_begin_alike(self):
        assert accept(note(dedupe_id="x" * 128 + "a"))
        assert accept(note(dedupe_id="x" * 128 + "b"))
        assert not accept(note(dedupe_id="x" * 128 + "b"))


@pytest.mark.django_db(transaction=True)
class TestARace:
    def test_of_a_hundred_repeats_leaves_one_row_and_one_nudge(self):
        def twenty():
            return [accept(note()) for _ in range(20)]

        results = race(*[twenty] * 5)

        assert [new for result in results for new in result].count(True) == 1
        assert only().repeats == 99
        assert OrmQ.objects.count() == 1

    def test_of_workers_acts_on_each_message_once(self, monkeypatch):
        for n in range(20):
            accept(event(reference=f"R{n}", dedupe_id=f"e{n}"), source=CARRIER)
        woken = []
        monkeypatch.setattr(
            waking, "wake_delivery", lambda **which: woken.append(which["reference"]) or True
        )
        race(*[process] * 4)
        assert sorted(woken) == sorted(f"R{n}" for n in range(20))
        assert not InboundNotification.objects.filter(done_at=None).exists()


@pytest.mark.django_db
class TestAChargesMessage:
    def test_has_the_rail_asked_now_and_believes_nothing(self, world, pending):
        attempt = PaymentAttempt.objects.get()
        accept(note(our_ref=attempt.reference, claims="TRADE_CLOSED", amount_minor=1))

        assert process(at=NOON) == 1

        pending.refresh_from_db()
        assert (pending.act_at, pending.state) == (NOON, "payment_pending")
        assert (only().done_at, only().outcome) == (NOON, "woken")
        assert OrmQ.objects.exists()
        world.gateway.charged[attempt.reference] = 5000
        world.run()
        pending.refresh_from_db()
        assert pending.state == "completed"
        w.assert_balanced()

    def test_waits_while_a_worker_holds_the_recharge(self, pending):
        reference = PaymentAttempt.objects.get().reference
        act_at = pending.act_at
        rowsets.run(
            "UPDATE billing_recharge SET lease_until = clock_timestamp() + interval '1 min'", []
        )
        accept(note(our_ref=reference))

        process(at=NOON)

        pending.refresh_from_db()
        assert (only().done_at, pending.act_at) == (None, act_at)
        Recharge.objects.update(lease_until=None)
        process(at=NOON + SECOND)
        pending.refresh_from_db()
        assert (only().done_at, pending.act_at) == (NOON + SECOND, NOON + SECOND)

    def test_that_names_nothing_of_ours_is_closed_and_said(self, caplog):
        accept(note(our_ref="unheard-of"))
        process()
        assert (only().done_at, only().outcome) == (NOON, "not ours")
        assert "names nothing of ours" in caplog.text

    def test_is_acted_on_once(self, pending):
        accept(note(our_ref=PaymentAttempt.objects.get().reference))
        assert process() == 1
        Recharge.objects.update(act_at=NOON + DAY)
        assert process() == 0
        assert Recharge.objects.get().act_at == NOON + DAY

    def test_of_a_dispute_stops_what_charges_that_method(self, pending, low):
        accept(note(NotificationKind.DISPUTE, our_ref=PaymentAttempt.objects.get().reference))
        process()
        assert only().outcome == "paused"
        assert not Binding.objects.get().is_usable
        assert Rule.objects.get().paused_at == NOON

    def test_of_a_dispute_may_name_the_payment_by_the_rails_number_alone(self, pending, low):
        PaymentAttempt.objects.update(provider_ref="pi_1")
        accept(note(NotificationKind.DISPUTE, our_ref="", provider_ref="pi_2", dedupe_id="n2"))
        accept(note(NotificationKind.DISPUTE, our_ref="", dedupe_id="n3"))
        accept(
            note(NotificationKind.DISPUTE, our_ref="", provider_ref="pi_1"), source="rail:wechat"
        )
        process()
        assert Binding.objects.get().is_usable
        accept(note(NotificationKind.DISPUTE, our_ref="", provider_ref="pi_1"))
        process()
        assert not Binding.objects.get().is_usable
        outcomes = InboundNotification.objects.order_by("pk").values_list("outcome", flat=True)
        assert list(outcomes) == ["not ours", "not ours", "not ours", "paused"]

    def test_about_nothing_that_is_acted_on_is_done_at_once(self, pending, caplog):
        act_at = pending.act_at
        reference = PaymentAttempt.objects.get().reference
        accept(note(NotificationKind.OTHER, our_ref=reference))
        process()
        pending.refresh_from_db()
        assert (only().done_at, only().outcome) == (NOON, "nothing to do")
        assert pending.act_at == act_at
        assert caplog.text == ""


@pytest.mark.django_db
class TestARefundsMessage:
    def test_has_the_refund_asked_about(self, world, low):
        world.run()
        recharge = Recharge.objects.get()
        attempt = PaymentAttempt.objects.get()
        refund = RefundFactory.create(attempt=attempt, state="unknown", act_at=NOON + DAY)
        accept(
            note(NotificationKind.REFUND, our_ref=attempt.reference, refund_ref=refund.reference)
        )
        process()
        refund.refresh_from_db()
        assert (refund.act_at, only().outcome) == (NOON, "woken")
        recharge.refresh_from_db()
        assert recharge.state == "completed"

    def test_is_never_taken_for_a_payment(self, pending):
        act_at = pending.act_at
        reference = PaymentAttempt.objects.get().reference
        accept(note(NotificationKind.REFUND, our_ref=reference, amount_minor=5000))
        process()
        pending.refresh_from_db()
        assert (pending.act_at, pending.state) == (act_at, "payment_pending")
        assert only().outcome == "not ours"


@pytest.mark.django_db
class TestABindingsMessage:
    def test_has_the_rail_asked_and_the_rail_alone_is_believed(self):
        rule = w.rule(binding=w.binding(check_at=NOON + DAY))
        accept(note(NotificationKind.BINDING, our_ref=rule.binding.ref, claims="UNSIGN"))

        process()

        binding = Binding.objects.get()
        assert (binding.state, binding.check_at, only().outcome) == ("active", NOON, "woken")
        assert Rule.objects.get().paused_at is None

        class Rail:
            def get_binding(self, **_):
                return BindingAnswer(BindingFacts(BindingStatus.REVOKED))

        with gateways.override("alipay", Rail()):
            assert lifecycle.poll_due(at=NOON, limit=10) == 1
        assert Binding.objects.get().state == "revoked"
        assert Rule.objects.get().pause_reason == "binding_ended"

    def test_reaches_one_that_was_thought_abandoned(self):
        w.binding(state="abandoned", ref="B1")
        accept(note(NotificationKind.BINDING, our_ref="B1"))
        process()
        assert Binding.objects.get().check_at == NOON

    def test_leaves_one_that_has_ended_alone(self):
        w.binding(revoked=True, ref="B1")
        accept(note(NotificationKind.BINDING, our_ref="B1"))
        process()
        assert (Binding.objects.get().check_at, only().done_at) == (None, NOON)

    def test_of_another_rail_does_not_touch_ours(self):
        w.binding(ref="B1", check_at=NOON + DAY)
        accept(note(NotificationKind.BINDING, our_ref="B1"), source="rail:wechat")
        process()
        assert Binding.objects.get().check_at == NOON + DAY
        assert only().outcome == "not ours"


@pytest.mark.django_db
class TestACarriersMessage:
    @pytest.mark.parametrize("by", ["reference", "carrier_ref"])
    def test_of_a_top_up_has_the_carrier_asked(self, world, low, by):
        world.carrier.script = [Accepted("C77")]
        world.run()
        recharge, delivery = Recharge.objects.get(), Delivery.objects.get()
        assert (recharge.state, delivery.carrier_ref) == ("delivery_pending", "C77")
        assert recharge.act_at > NOON
        names = {"reference": delivery.reference, "carrier_ref": "C77"}
        given = {"reference": "", "carrier_ref": "other"} | {by: names[by]}
        accept(event(**given), source=CARRIER)
        process()
        recharge.refresh_from_db()
        assert (recharge.act_at, recharge.state) == (NOON, "delivery_pending")
        assert only().done_at == NOON

    def test_of_a_balance_has_it_asked_for(self):
        line, other = w.line(poll_at=NOON + DAY), w.line(poll_at=NOON + DAY)
        accept(event("balance", resource=line.msisdn), source=CARRIER)
        process()
        line.refresh_from_db()
        other.refresh_from_db()
        assert (line.poll_at, other.poll_at) == (NOON, NOON + DAY)
        assert line.balance_minor == 1860

    def test_of_a_data_only_esim_finds_it_by_its_card(self):
        line = w.line(msisdn="", iccid="8944538532008160222")
        accept(event("balance", resource=line.iccid), source=CARRIER)
        process()
        assert Line.objects.get().poll_at == NOON

    @pytest.mark.parametrize(
        ("more", "source"),
        [
            ({"status": "removed"}, CARRIER),
            ({"status": "unverified"}, CARRIER),
            ({}, "carrier:cucc"),
        ],
    )
    def test_of_a_line_that_is_not_live_there_is_closed(self, more, source):
        line = w.line(**more)
        accept(event("balance", resource=line.msisdn), source=source)
        process()
        assert (only().outcome, only().done_at) == ("not ours", NOON)
        assert Line.objects.get().poll_at is None


@pytest.mark.django_db
class TestProcessing:
    def test_is_bounded_and_takes_the_oldest_first(self):
        for n in range(3):
            accept(note(dedupe_id=f"n{n}"), at=NOON - timedelta(minutes=n))
        assert process(limit=2) == 2
        left = InboundNotification.objects.get(done_at=None)
        assert left.dedupe_id == "n0"

    def test_goes_on_after_a_poisoned_one_and_tries_it_last(self, pending, monkeypatch, caplog):
        reference = PaymentAttempt.objects.get().reference
        accept(event(dedupe_id="poison"), source=CARRIER, at=NOON - DAY)
        accept(note(our_ref=reference), at=NOON)

        def wake_delivery(**_):
            raise ValueError("broken")

        monkeypatch.setattr(waking, "wake_delivery", wake_delivery)
        assert process(limit=1) == 1
        assert process(limit=1) == 1
        done = InboundNotification.objects.get(done_at__isnull=False)
        assert done.our_ref == reference
        poisoned = InboundNotification.objects.get(done_at=None)
        assert (poisoned.dedupe_id, poisoned.outcome) == ("poison", "failed")
        assert "cannot be acted on" in caplog.text

    def test_closes_a_kind_nobody_acts_on_and_says_so(self, caplog):
        accept(event("weather"), source=CARRIER)
        process()
        assert (only().done_at, only().outcome) == (NOON, "no such kind")
        assert "nobody acts on" in caplog.text

    def test_nudges_once_for_a_storm(self):
        for n in range(10):
            accept(event("balance", dedupe_id=f"e{n}", resource=w.line().msisdn), source=CARRIER)
        OrmQ.objects.all().delete()
        process()
        assert OrmQ.objects.count() == 1


@pytest.mark.django_db
class TestOrder:
    """All orders of the same messages end alike, since each only says where to look."""

    @pytest.mark.parametrize(
        "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    )
    def test_does_not_matter(self, world, pending, order):
        reference = PaymentAttempt.objects.get().reference
        messages = [
            note(our_ref=reference, dedupe_id="paid", claims="TRADE_SUCCESS"),
            note(our_ref=reference, dedupe_id="closed", claims="TRADE_CLOSED"),
            note(
                NotificationKind.REFUND, our_ref=reference, dedupe_id="back", refund_ref="foreign"
            ),
        ]
        world.gateway.charged[reference] = 5000
        for index in order:
            accept(messages[index])
            process()
            world.run()
        assert Recharge.objects.get().state == "completed"
        assert len(world.gateway.charged) == 1
        w.assert_balanced()

    def test_an_answer_that_never_comes_leaves_it_open(self, world, pending):
        accept(note(our_ref=PaymentAttempt.objects.get().reference))
        process()
        world.gateway.script = [Unknown("down")]
        world.run(batches=1)
        assert Recharge.objects.get().state == "payment_unknown"

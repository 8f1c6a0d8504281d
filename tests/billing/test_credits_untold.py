"""Credits that their carrier will never tell of: two people find out, and it goes on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing import four_eyes, gateways
from billing.admin import settling
from billing.engine import executor, incoming
from billing.gateways.base import DisputeStanding, Notification, NotificationKind
from billing.models import Notice, PaymentAttempt, Recharge, Refund, Transfer
from billing.operators import attestations, found
from billing.operators.found import Found
from billing.states import Finding
from lines.carriers.base import Accepted, NotAllowed
from lines.models import Delivery
from tests import world as w

pytestmark = pytest.mark.django_db
CREDITED = Found(Finding.CREDITED, "ORDER-9")
UNCREDITED = Found(Finding.UNCREDITED)


def only() -> Recharge:
    return Recharge.objects.get()


def say(world, what: Found):
    return attestations.request(
        recharge=only(),
        found=what,
        reason="their letter",
        requested_by=w.person("oliver"),
        at=world.at,
    )


def confirm(world, said) -> None:
    cora = w.person("cora")
    attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)


def kinds() -> list[str]:
    return list(Transfer.objects.order_by("pk").values_list("kind", flat=True))


@pytest.fixture
def due(world):
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


@pytest.fixture
def unknown(due):
    """Sent once to a carrier that cannot be asked about it."""
    due.carrier.can_query_by_reference = False
    due.carrier.script = ["lost before commit"]
    for _ in range(14):
        due.run()
        due.later(w.DAY)
    assert (only().state, only().attention) == ("delivery_unknown", "delivery_unknown")
    return due


class TestACreditThatNobodyTellsOf:
    def test_is_said_by_one_and_moves_nothing(self, unknown):
        said = say(unknown, CREDITED)
        with pytest.raises(four_eyes.SamePerson):
            attestations.approve(
                settlement=said,
                seen=said.fingerprint,
                approved_by=said.requested_by,
                at=unknown.at,
            )
        assert (only().state, kinds()) == ("delivery_unknown", ["charge"])
        w.assert_balanced()

    def test_that_was_made_is_booked_and_told(self, unknown):
        confirm(unknown, say(unknown, CREDITED))
        assert (only().state, only().reason, only().attention) == (
            "completed",
            "settled_credited",
            "",
        )
        assert (only().credited_minor, kinds()) == (5000, ["charge", "deliver"])
        order = Delivery.objects.get()
        assert (order.state, order.carrier_ref) == ("credited", "ORDER-9")
        assert Notice.objects.get(kind="recharged").facts["code"] == "settled_credited"
        unknown.run()
        assert unknown.gateway.refunded == {}
        w.assert_balanced()

    def test_that_was_not_made_is_given_back(self, unknown):
        confirm(unknown, say(unknown, UNCREDITED))
        w.assert_balanced()
        unknown.run()
        assert (only().state, list(unknown.gateway.refunded.values())) == ("refunded", [5000])
        assert Delivery.objects.get().state == "rejected"
        assert len(unknown.carrier.calls["credit"]) == 1  # never sent again
        w.assert_balanced()

    def test_is_nothing_to_say_of_while_the_carrier_is_asked(self, due):
        due.carrier.script = ["lost before commit"]
        due.run()
        assert only().state == "delivery_unknown"
        assert not settling.may_say(only())
        with pytest.raises(found.NotSettleable):
            say(due, CREDITED)

    def test_that_is_told_of_before_the_second_person_comes_is_believed_instead(self, unknown):
        said = say(unknown, UNCREDITED)
        unknown.carrier.can_query_by_reference = True
        unknown.carrier.credits[Delivery.objects.get().reference] = [5000]
        Recharge.objects.update(act_at=unknown.at)
        unknown.run()
        assert only().state == "completed"
        with pytest.raises(found.NotSettleable):
            confirm(unknown, said)
        assert unknown.gateway.refunded == {}
        w.assert_balanced()

    def test_of_a_disputed_payment_is_not_given_back_as_well(self, unknown):
        with gateways.override("alipay", unknown.gateway):
            note = Notification(
                NotificationKind.DISPUTE,
                "evt_1",
                our_ref=PaymentAttempt.objects.get().reference,
                claims=DisputeStanding.LOST,
                dispute_ref="du_1",
            )
            incoming.accept(source="rail:alipay", note=note, at=unknown.at)
            incoming.process(at=unknown.at, limit=10)
            confirm(unknown, say(unknown, UNCREDITED))
            unknown.run()
            assert (Refund.objects.get().attention, unknown.gateway.refunded) == ("disputed", {})
            lost = Found(Finding.LOST, "du_1", 5000, "CNY")
            confirm(unknown, say(unknown, lost))
        assert (only().state, unknown.gateway.refunded) == ("refunded", {})
        w.assert_balanced()


class TestACarrierThatIsGone:
    def test_gives_the_money_back_of_what_it_never_let_in(self, due):
        due.carrier.script = [NotAllowed("unauthorized")]
        due.run()
        assert (only().state, only().attention) == ("charged", "config")
        confirm(due, say(due, UNCREDITED))
        due.run()
        assert (only().state, list(due.gateway.refunded.values())) == ("refunded", [5000])
        assert due.carrier.credits == {}
        w.assert_balanced()

    def test_cannot_have_credited_what_it_never_let_in(self, due):
        due.carrier.script = [NotAllowed("unauthorized")]
        due.run()
        with pytest.raises(found.NotSettleable):
            say(due, CREDITED)

    def test_that_is_not_set_up_any_more_can_be_settled_too(self, due):
        due.carrier.script = ["lost before commit"]
        due.run()
        due.later(w.MINUTE)
        gone = replace(due.outside, adapter_for=lambda _carrier: None)
        executor.run_batch(at=due.at, outside=gone)
        assert (only().state, only().attention) == ("delivery_unknown", "config")
        confirm(due, say(due, UNCREDITED))
        executor.run_batch(at=due.at, outside=gone)
        assert (only().state, list(due.gateway.refunded.values())) == ("refunded", [5000])
        w.assert_balanced()

    def test_that_takes_an_order_and_never_ends_it_is_a_persons_too_after_a_day(self, due):
        due.carrier.script = [Accepted("A-1")] * 40
        due.run()
        for attention in ("", "delivery_unknown"):
            due.later(w.DAY)
            executor.run_batch(at=due.at, outside=due.outside)
            assert (only().state, only().attention) == ("delivery_pending", attention)
        assert only().act_at == due.at + timedelta(seconds=15)  # it is asked on
        confirm(due, say(due, CREDITED))
        assert only().state == "completed"
        w.assert_balanced()

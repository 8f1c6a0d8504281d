"""Three books that agree, and then statements that lie: a real Alipay's and a real carrier's."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from billing.models import (
    Difference,
    PaymentAttempt,
    Rail,
    Recharge,
    Refund,
    SourceKind,
    Statement,
    Transfer,
)
from billing.reconciliation import days, statements
from billing.refunds import approvals
from billing.rules import by_hand
from lines.models import Delivery
from tests import world as w
from tests.billing.statement_day import found
from tests.carriers.adapters import adapter_for
from tests.carriers.simulators import start_tmf654
from tests.rails.alipay_world import PAY, gateway_of, today_of
from tests.rails.simulators import start_alipay
from tests.world import World

pytestmark = [pytest.mark.processes, pytest.mark.django_db]

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def simulators(tmp_path_factory):
    with (
        start_alipay(tmp_path_factory.mktemp("alipay")) as alipay,
        start_tmf654(tmp_path_factory.mktemp("tmf654")) as carrier,
    ):
        yield alipay, carrier


class Town:
    """Real books on three sides, and a day in them."""

    def __init__(self, alipay, carrier):
        self.alipay, self.operator = alipay, carrier
        world: Any = World(at=timezone.now())
        self.world = world
        self.world.gateway = gateway_of(alipay)
        self.world.carrier = adapter_for(carrier, time_zone=SHANGHAI)
        self.day = today_of(alipay)
        w.rail()
        w.carrier()

    def recharge(self):
        """One, as far as the executor brings it at once."""
        address = self.operator.add_line()
        line = w.line(msisdn=address.msisdn, iccid=address.iccid)
        tool = w.binding(line.owner)
        tool.provider_ref = self.alipay.agree(tool.ref)
        tool.save()
        made = by_hand.recharge(
            line=line, binding=tool, face_minor=5000, owner=line.owner,
            idempotency_key=address.msisdn, at=self.world.at,
        )  # fmt: skip
        self.world.run()
        return Recharge.objects.get(pk=made.pk)

    def give_back(self, recharge, amount_minor):
        asked = approvals.request(
            recharge=recharge, amount_minor=amount_minor, reason="test",
            requested_by=w.person("oliver"), at=self.world.at,
        )  # fmt: skip
        approvals.approve(refund=asked, approved_by=w.person("cora"), at=self.world.at)
        self.world.run()
        return Refund.objects.get(pk=asked.pk)

    def compare(self, kind=SourceKind.RAIL):
        """Fetch the day's statement anew and compare; the open differences of it."""
        code = "alipay" if kind == SourceKind.RAIL else "cmcc"
        source = days.source_named(kind=kind, code=code, outside=self.world.outside)
        for row in Statement.objects.filter(source_kind=kind):
            statements.ask_again(statement=row, at=self.world.at)
        # Far enough on that no neighbouring day is waited for.
        result = days.run_one(
            source=source, day=self.day, clock=lambda: self.world.at + timedelta(days=6)
        )
        assert result is not None
        assert result.state == "done", Statement.objects.get(source_kind=kind).last_error
        return sorted(found(statement=result.statement_id), key=str)

    def lie(self, kind, reference="", **more):
        self.alipay.control("POST", "bills", {"kind": kind, "reference": reference, **more})


@pytest.fixture
def town(simulators):
    """A day of five recharges, one of them refunded in part, at both simulators."""
    alipay, carrier = simulators
    alipay.calm()
    carrier.clear_faults()
    carrier.control("DELETE", "/statement")
    return Town(alipay, carrier)


def paid_by(recharge):
    return PaymentAttempt.objects.get(recharge=recharge, state="succeeded").reference


def line_of(differences):
    return [(kind, ref) for kind, ref, _line in differences]


@pytest.fixture
def busy(town):
    """Five recharges done; the last refunded in part. The bank is a day ahead of it all."""
    town.done = [town.recharge() for _ in range(5)]
    assert {one.state for one in town.done} == {"completed"}
    town.refund = town.give_back(town.done[-1], 2000)
    assert town.refund.state == "succeeded"
    return town


class TestThreeBooks:
    def test_agree_and_each_lie_is_found_and_nothing_else(self, busy):
        """One day, one bill, told in many ways: the sims are asked anew each time."""
        Rail.objects.filter(code="alipay").update(fee_rate_ppm=6000)
        first, second, third, fourth, _fifth = (paid_by(one) for one in busy.done)
        busy.alipay.advance(2 * 24 * 3600)

        assert busy.compare() == []
        assert Transfer.objects.filter(kind="fee").count() == 5
        assert Transfer.objects.filter(kind="fee_returned").count() == 1

        for kind, reference, more, expected in (
            ("missing", first, {}, [("missing_theirs", first)]),
            ("extra", second, {"amount_minor": 700, "extra_reference": "SHOP7"},
             [("missing_ours", "SHOP7")]),
            ("amount", third, {"amount_minor": 5001}, [("amount", third)]),
            ("duplicate", fourth, {}, [("duplicate", fourth)]),
            ("fee", first, {"amount_minor": 99}, [("fee", first)]),
            ("status", second, {}, [("unreadable", second)]),
        ):  # fmt: skip
            busy.lie(kind, reference, **more)
            assert line_of(busy.compare()) == expected, kind
            busy.alipay.calm()
            assert busy.compare() == [], kind
        unread = Difference.objects.get(kind="unreadable")
        assert unread.line_number is not None
        assert unread.problem == "its 业务类型 is '交易冻结'"

        self.carrier_side(busy)
        w.assert_balanced()

    def carrier_side(self, busy):
        orders = [Delivery.objects.get(order_ref=one.ref) for one in busy.done]
        assert busy.compare(SourceKind.CARRIER) == []

        busy.operator.falsify(hide=orders[0].reference)
        busy.operator.falsify(change=orders[1].reference, amount_minor=4000)
        busy.operator.falsify(add={"reference": "GIFT", "amount_minor": 1})
        busy.operator.falsify(add={"reference": orders[2].reference, "amount_minor": 5000})
        assert line_of(busy.compare(SourceKind.CARRIER)) == [
            ("amount", orders[1].reference),
            ("duplicate", orders[2].reference),
            ("missing_ours", "GIFT"),
            ("missing_theirs", orders[0].reference),
        ]
        busy.operator.control("DELETE", "/statement")
        assert busy.compare(SourceKind.CARRIER) == []


class TestMoneyTakenThatWeDoNotKnowOf:
    def test_is_proved_by_the_bill_asked_about_and_credited(self, town, tmp_path):
        with start_alipay(tmp_path) as alipay:  # a day with nothing else in it
            town.alipay, town.world.gateway = alipay, gateway_of(alipay)
            town.day = today_of(alipay)
            alipay.fault(PAY, "lose_after")
            recharge = town.recharge()
            assert recharge.state == "payment_unknown"
            reference = recharge.attempts.get().reference
            alipay.advance(2 * 24 * 3600)

            assert line_of(town.compare()) == [("status", reference)]
            assert Recharge.objects.get().state == "payment_unknown"  # not by a file's word

            town.world.at += timedelta(days=6, minutes=1)
            town.world.run()

            assert Recharge.objects.get().state == "completed"
            assert alipay.charges() == {reference: 5000}
            town.world.at -= timedelta(days=6)
            assert town.compare() == []
            assert Difference.objects.get().state == "resolved"
            w.assert_balanced()


class TestABillThatIsNotThere:
    def test_is_waited_for_with_alipays_own_word(self, town):
        source = days.source_named(kind=SourceKind.RAIL, code="alipay", outside=town.world.outside)
        tomorrow = today_of(town.alipay) + timedelta(days=1)
        result = days.run_one(source=source, day=tomorrow, clock=lambda: town.world.at)
        assert result is not None
        assert result.state == "waiting"
        assert "BILL_NOT_EXIST" in Statement.objects.get().last_error

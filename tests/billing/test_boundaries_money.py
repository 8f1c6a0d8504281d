"""Where a month begins, how long a reference lives, until when money is looked for."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.gateways.base import Capabilities, NotFound, Pending, Refused, Unknown
from billing.models import PaymentAttempt, Promotion, PromotionUse, Recharge, Transfer
from billing.operators import attestations
from billing.operators.attestations import Found
from billing.recharges import waking
from billing.rules import by_hand
from billing.states import Finding
from tests import world as w
from tests.factories.billing import CaseFactory, PromotionFactory

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
NOVEMBER = datetime(2026, 10, 31, 16, tzinfo=UTC)  # begins so in Shanghai


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


class TestTheMonthOfACap:
    @pytest.fixture
    def rule(self, world):
        return w.rule(
            w.line(balance_minor=1860),
            face_minor=3000,
            max_per_month_minor=5999,
            max_per_day_count=5,
        )

    def press(self, world, rule, at) -> None:
        world.at = at
        by_hand.recharge(
            line=rule.line,
            binding=rule.binding,
            face_minor=3000,
            owner=rule.line.owner,
            idempotency_key=str(at),
            at=at,
        )
        world.run()

    def test_by_hand_begins_where_the_line_lives(self, world, rule):
        self.press(world, rule, NOVEMBER - SECOND)
        self.press(world, rule, NOVEMBER)
        months = Recharge.objects.order_by("pk").values_list("cap_month", flat=True)
        assert [str(month) for month in months] == ["2026-10-01", "2026-11-01"]
        w.assert_balanced()

    def test_by_hand_has_one_bound_from_its_first_second_on(self, world, rule):
        self.press(world, rule, NOVEMBER)
        with pytest.raises(by_hand.CapReached) as refusal:
            self.press(world, rule, NOVEMBER + timedelta(hours=8))
        assert refusal.value.code == "cap_month"
        assert Recharge.objects.count() == 1
        w.assert_balanced()


class TestAPromotion:
    def test_is_consumed_when_two_people_say_that_it_was_paid(self, world):
        PromotionFactory.create(basis_points=1000, budget_minor=100_000)
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Unknown("timeout")]
        world.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=world.at)
        said = attestations.request(
            recharge=only(),
            found=Found(Finding.AS_AGREED, "RAIL-1"),
            reason="on its own pages",
            requested_by=w.person("oliver"),
            at=world.at,
        )
        cora = w.person("cora")
        attestations.approve(settlement=said, seen=said.fingerprint, approved_by=cora, at=world.at)

        assert PromotionUse.objects.get().state == "consumed"
        offer = Promotion.objects.get()
        assert (offer.reserved_minor, offer.consumed_minor) == (0, 500)
        world.run()
        assert only().state == "completed"
        w.assert_balanced()


class TestMoneyAfterItsEnd:
    @pytest.mark.parametrize("says", [Unknown("down"), Pending()])
    def test_is_looked_for_until_the_rail_has_said_what_became_of_it(self, low, says):
        low.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        low.run()
        reference = PaymentAttempt.objects.get().reference
        low.gateway.charged[reference] = 5000
        low.gateway.script = [says]
        waking.wake(reference=reference, at=low.at)
        low.run()
        assert (only().state, only().attention) == ("failed", "")
        assert only().act_at == low.at + timedelta(seconds=10)

        low.later(timedelta(seconds=10))
        low.run()
        assert (only().state, only().attention, only().act_at) == ("failed", "late_payment", None)
        assert not Transfer.objects.exists()
        w.assert_balanced()


class TestAReference:
    LIVES = timedelta(hours=24)

    @pytest.mark.parametrize(
        ("after", "state", "sent"),
        [(LIVES, "completed", 2), (LIVES + SECOND, "payment_unknown", 1)],
    )
    def test_lives_from_when_it_was_first_sent_not_from_the_last_doubt(
        self, low, after, state, sent
    ):
        low.gateway.capabilities = Capabilities(
            rail="alipay", currencies=frozenset({"CNY"}), reference_lifetime=self.LIVES
        )
        low.gateway.script = [Pending(), Unknown("down"), NotFound()]
        low.run()
        self.look_again(low, w.NOON + timedelta(hours=23), "payment_unknown")
        self.look_again(low, w.NOON + after, state)
        assert len(low.gateway.calls["charge"]) == sent
        assert len(set(low.gateway.calls["charge"])) == 1
        w.assert_balanced()

    def look_again(self, world, at, state) -> None:
        world.at = at
        Recharge.objects.update(act_at=at)
        world.run()
        assert only().state == state

"""Exactly here and no further: figures at their limits, and rows that are not meant."""

from datetime import timedelta

import pytest
from django.db import transaction
from django_q.models import Schedule

from billing import schedules
from billing.calendar import day_key
from billing.gateways.base import Pending, Refused, Unknown
from billing.models import Binding, PaymentAttempt, Recharge, Refund, Rule, Settlement
from billing.operators import attestations, operations
from billing.operators.attestations import Found
from billing.payments import charging, fallbacks
from billing.recharges import claims
from billing.refunds import approvals
from billing.refunds import claims as refund_claims
from billing.rules import agreed, by_hand, caps, openings
from billing.rules.caps import Counted, Tally
from billing.rules.forecast import Reading, forecast
from billing.rules.verdicts import Spent
from billing.states import Finding
from lines.carriers.base import Rejected, Reversed
from lines.models import Delivery, Line
from tests import world as w
from tests.factories.billing import CaseFactory, PromotionFactory, RechargeFactory
from tests.race import behind

SECOND = timedelta(seconds=1)


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600, 7200])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


def opened(world) -> claims.Work:
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)
    [row] = claims.claim(at=world.at, limit=10)
    return row


class TestATally:
    ONE = Counted.on(
        w.NOON, line_id=1, binding_id=2, owner_id=3, currency="CNY", timezone="Asia/Shanghai"
    )

    def test_counts_what_the_batch_itself_opens(self):
        tally = Tally()
        tally.add(self.ONE, minor=3000)
        tally.add(self.ONE, minor=2000)
        assert tally.spent(self.ONE) == Spent(
            day_count=2, line_month_minor=5000, binding_month_minor=5000, owner_month_minor=5000
        )

    def test_keeps_days_months_and_currencies_apart(self):
        tally = Tally()
        tally.add(self.ONE, minor=3000)
        tomorrow = self.ONE._replace(day=self.ONE.day + timedelta(days=1))
        assert tally.spent(tomorrow).day_count == 0
        assert tally.spent(tomorrow).line_month_minor == 3000
        last_month = self.ONE._replace(month=self.ONE.month - timedelta(days=30))
        assert tally.spent(last_month) == Spent(
            day_count=1, line_month_minor=0, binding_month_minor=0, owner_month_minor=0
        )
        euros = self.ONE._replace(currency="EUR")
        assert tally.spent(euros).binding_month_minor == 0
        assert tally.spent(euros).owner_month_minor == 0


@pytest.mark.django_db
class TestWhatCounts:
    def test_is_all_that_did_not_end_unpaid_but_for_what_is_left_out(self, world):
        rule = w.rule(w.line())
        counted = Counted.on(
            w.NOON,
            line_id=rule.line_id,
            binding_id=rule.binding_id,
            owner_id=rule.line.owner_id,
            currency="CNY",
            timezone=rule.line.timezone,
        )
        RechargeFactory.create(rule=rule, completed=True)
        left_out = RechargeFactory.create(rule=rule, completed=True)
        canceled = RechargeFactory.create(rule=rule)
        Recharge.objects.filter(pk=canceled.pk).update(state="canceled", act_at=None)
        day = day_key(w.NOON, rule.line.timezone)
        Recharge.objects.update(cap_day=day, cap_month=day.replace(day=1))

        sums = caps.tally(
            line_ids=[rule.line_id],
            capped_binding_ids=[rule.binding_id],
            capped_owner_ids=[rule.line.owner_id],
            months=[counted.month],
            but_ids=[left_out.pk],
        )

        assert sums.spent(counted) == Spent(
            day_count=1, line_month_minor=5000, binding_month_minor=5000, owner_month_minor=5000
        )


class TestAForecast:
    def test_of_one_unit_above_the_floor_is_not_yet_reached(self):
        day = timedelta(days=1)
        falling = [Reading(w.NOON - (4 - k) * day, 401 - 100 * k) for k in range(5)]
        answer = forecast(falling, at=w.NOON, floor_minor=0)
        assert answer.reaches_at is not None
        assert answer.reaches_at > w.NOON
        assert forecast(falling, at=w.NOON, floor_minor=1).reaches_at == w.NOON


@pytest.mark.django_db
class TestSchedules:
    def test_are_mended_where_they_are_wrong_and_counted(self):
        Schedule.objects.all().delete()
        assert schedules.ensure() == len(schedules.JOBS)
        assert schedules.ensure() == 0
        name = schedules.JOBS[0][0]
        Schedule.objects.filter(name=name).update(minutes=999)
        assert schedules.ensure() == 1
        assert not Schedule.objects.filter(minutes=999).exists()
        assert set(Schedule.objects.values_list("repeats", flat=True)) == {-1}  # for ever


@pytest.mark.django_db
class TestWhatIsAgreed:
    def test_asks_no_threshold_of_a_rule_that_has_none(self, low):
        row = opened(low)
        assert agreed.is_above(row._replace(balance_minor=1000)) is True
        assert agreed.is_above(row._replace(balance_minor=999)) is False
        assert agreed.is_above(row._replace(threshold_minor=None)) is False
        assert agreed.is_above(row._replace(balance_minor=None)) is False

    def test_has_an_early_one_charged_while_the_line_is_low_whatever_the_forecast(self, low):
        row = opened(low)._replace(is_early=True)
        assert charging.obstacle(row, gateway=low.gateway, at=low.at) is None

    def test_lets_the_second_method_be_that_of_this_rule_only(self, low):
        second = w.binding(Rule.objects.get().line.owner)
        other = w.rule(w.line(second.owner), fallback_binding=second)
        row = opened(low)._replace(fallback_binding_id=second.pk)
        assert Rule.objects.exclude(pk=other.pk).get().fallback_binding_id is None

        assert fallbacks.use(row, at=low.at, rails=low.outside.capabilities) is False
        assert only().binding_id == row.binding_id


@pytest.mark.django_db
class TestAWorkRow:
    def test_knows_only_methods_that_have_declined_it(self, low):
        low.gateway.script = [Pending()]
        low.run()
        assert [row.declined_by for row in claims.read(recharge_ids=[only().pk])] == [[]]

        Recharge.objects.update(act_at=low.at)
        low.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
        low.run()
        tool = only().binding_id
        assert [row.declined_by for row in claims.read(recharge_ids=[only().pk])] == [[tool]]

    def test_of_a_refund_is_one_however_often_its_credit_was_tried(self, low):
        low.carrier.script = [Rejected("BUSY")] * 3
        low.gateway.script = []
        for _ in range(2):
            low.run()
            low.later(timedelta(minutes=10))
        low.gateway.script = [Unknown("lost")]  # of the refund
        low.run()
        assert Delivery.objects.count() == 3
        assert Refund.objects.get().state == "unknown"
        Refund.objects.update(act_at=low.at, lease_until=None)
        assert len(refund_claims.claim(at=low.at, limit=10)) == 1

    def test_of_a_refund_is_about_its_own_credit(self, low):
        low.run()
        mine = only()
        w.rule(w.line(balance_minor=980), wake_at=low.at)
        low.carrier.script = [Rejected("BUSY")]
        low.run()
        low.later(w.MINUTE)
        low.run()
        asked = approvals.request(
            recharge=mine,
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=low.at,
        )
        approvals.approve(refund=asked, approved_by=w.person("finance"), at=low.at)
        [row] = refund_claims.claim(at=low.at, limit=10)
        assert row.delivery_ref == Delivery.objects.get(order_ref=mine.ref).reference
        assert [one.number for one in Delivery.objects.order_by("pk")] == [1, 1, 2]

    def test_numbers_the_tries_one_by_one(self, low):
        low.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")] * 2
        for wait in (0, 1, 2):
            low.later(wait * w.HOUR)
            low.run()
        numbers = PaymentAttempt.objects.order_by("pk").values_list("number", flat=True)
        assert list(numbers) == [1, 2, 3]
        assert (only().state, only().attempt_count) == ("completed", 3)
        w.assert_balanced()


@pytest.mark.django_db
class TestAttention:
    def test_that_nobody_is_asked_for_has_no_beginning(self, low):
        low.run()
        assert (only().state, only().attention) == ("completed", "")
        assert only().attention_since is None


@pytest.mark.django_db
class TestARefund:
    @pytest.fixture
    def approved(self, low):
        low.run()
        asked = approvals.request(
            recharge=only(),
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=low.at,
        )
        return approvals.approve(refund=asked, approved_by=w.person("finance"), at=low.at)

    def test_that_is_refused_keeps_the_rails_word(self, low, approved):
        low.gateway.script = [Refused("SELLER_BALANCE_NOT_ENOUGH")]
        low.run()
        approved.refresh_from_db()
        assert (approved.state, approved.code) == ("intended", "SELLER_BALANCE_NOT_ENOUGH")
        w.assert_balanced()

    def test_that_its_rail_has_never_heard_of_counts_its_rounds_one_by_one(self, low, approved):
        low.gateway.script = [Unknown("lost")]
        low.run()
        Refund.objects.update(act_at=low.at)
        low.run(batches=1)
        approved.refresh_from_db()
        assert (approved.state, approved.queries) == ("intended", 2)
        assert low.gateway.refunded == {}

    @pytest.mark.parametrize("state", ["reversing", "intended", "unknown"])
    def test_may_be_asked_about_while_it_is_open(self, low, approved, state):
        Refund.objects.update(state=state, act_at=None)
        approved.refresh_from_db()
        operations.query_refund(refund=approved, at=low.at)
        approved.refresh_from_db()
        assert (approved.state, approved.act_at) == (state, low.at)

    def test_that_succeeded_may_not(self, low, approved):
        low.run()
        approved.refresh_from_db()
        assert approved.state == "succeeded"
        with pytest.raises(operations.NothingToAsk):
            operations.query_refund(refund=approved, at=low.at)

    def test_is_given_back_to_the_queue_by_its_own_worker_only(self, low, approved):
        [row] = refund_claims.claim(at=low.at, limit=10)
        before = Refund.objects.values_list("lease_until", "fence").get()
        refund_claims.release(
            row._replace(fence=row.fence + 1), act_at=low.at + SECOND, attention="config", at=low.at
        )
        refund_claims.release(
            row._replace(id=row.id + 1), act_at=low.at, attention="config", at=low.at
        )
        assert Refund.objects.values_list("lease_until", "fence").get() == before
        refund_claims.release(row, act_at=low.at + SECOND, attention="config", at=low.at)
        now = Refund.objects.get()
        assert (now.lease_until, now.act_at, now.attention) == (None, low.at + SECOND, "config")

    @pytest.mark.parametrize(("crashes", "left"), [(3, 2), (1, 0), (0, 0)])
    def test_that_was_given_back_to_the_queue_had_no_crash(self, low, approved, crashes, left):
        [row] = refund_claims.claim(at=low.at, limit=10)
        Refund.objects.update(crash_count=crashes)
        refund_claims.release(row, act_at=low.at, at=low.at)
        assert Refund.objects.get().crash_count == left

    def test_takes_back_the_promotions_part_of_the_credit_too(self, low):
        PromotionFactory.create(basis_points=1000, budget_minor=100_000)
        low.run()
        assert (only().price_minor, only().discount_minor) == (4500, 500)
        refund = approvals.request(
            recharge=only(),
            amount_minor=4500,
            reason="asked",
            requested_by=w.person("support"),
            at=low.at,
        )
        assert (refund.amount_minor, refund.promotion_minor) == (4500, 500)
        assert refund.reversal_minor == 5000


@pytest.mark.django_db
class TestACreditTakenBack:
    def test_has_the_balance_asked_for(self, low):
        low.run()
        Line.objects.update(poll_at=low.at + w.DAY)
        low.carrier.script = [Reversed("C1")]
        Recharge.objects.update(act_at=low.at)
        low.run(batches=1)
        assert only().state == "refunded"  # and its money went back
        assert Line.objects.get().poll_at == low.at + timedelta(seconds=30)


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_by_hand_wait_for_each_other_on_a_line_without_a_rule(self, world):
        line = w.line()
        tool = w.binding(line.owner)
        with transaction.atomic():
            Line.objects.select_for_update(no_key=True).get()
            pressed = behind(lambda: self.press(line, tool, world.at))
            assert not pressed.done()
        assert pressed.result(timeout=30).state == "due"

    def press(self, line: Line, tool: Binding, at) -> Recharge:
        return by_hand.recharge(
            line=line, binding=tool, face_minor=3000, owner=line.owner, idempotency_key="1", at=at
        )

    def test_who_say_what_the_rail_did_wait_for_each_other(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Unknown("timeout")]
        world.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=world.at)
        oliver = w.person("oliver")
        with transaction.atomic():
            Recharge.objects.select_for_update(no_key=True).get()
            said = behind(lambda: self.say(oliver, world.at))
            assert not said.done()
        assert said.result(timeout=30).state == "requested"

    def test_of_whom_one_holds_a_settlement_leave_it_when_it_expires(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Unknown("timeout")]
        world.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=world.at)
        said = self.say(w.person("oliver"), world.at)
        late = world.at + timedelta(days=8)
        with transaction.atomic():
            Settlement.objects.select_for_update(no_key=True).get()
            ended = behind(lambda: attestations.expire(at=late, limit=10))
            assert ended.result(timeout=30) == 0
        assert attestations.expire(at=late, limit=10) == 1
        said.refresh_from_db()
        assert (said.state, only().state) == ("expired", "payment_unknown")

    def say(self, person, at):
        return attestations.request(
            recharge=only(),
            found=Found(Finding.NOTHING),
            reason="on its own pages",
            requested_by=person,
            at=at,
        )

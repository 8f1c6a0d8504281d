"""Recharges by hand beside a rule: what they hid from it, it sees when they end."""

from datetime import date

import pytest

from billing.models import Binding, Decision, Recharge, Rule
from billing.recharges import machine
from billing.refunds import approvals
from billing.rules import by_hand, openings, readings
from billing.rules.balances import Reading
from lines.models import Line
from tests import world as w
from tests.factories.billing import SpendingCapFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    return w.rule(w.line(balance_minor=1860), max_per_day_count=5)


def recharge_by_hand(rule, *, at, key="once") -> Recharge:
    return by_hand.recharge(
        line=rule.line,
        binding=rule.binding,
        face_minor=3000,
        owner=rule.line.owner,
        idempotency_key=key,
        at=at,
    )


def push(rule, balance_minor, *, at):
    readings.push(reading=Reading(rule.line_id, balance_minor, at), at=at)
    rule.refresh_from_db()


class TestALowBalanceMeanwhile:
    def test_is_left_to_the_recharge_on_its_way(self, world, rule):
        recharge_by_hand(rule, at=world.at)
        push(rule, 980, at=world.at)
        assert world.run() > 0
        assert list(Recharge.objects.values_list("trigger", flat=True)) == ["manual"]
        assert not Decision.objects.exists()
        w.assert_balanced()

    def test_recharges_by_itself_once_the_one_by_hand_is_canceled(self, world, rule):
        opened = recharge_by_hand(rule, at=world.at)
        push(rule, 980, at=world.at)
        assert rule.wake_at is None
        machine.cancel(
            recharge=opened, actor=rule.line.owner, because="canceled_by_owner", at=world.at
        )
        world.run()
        assert list(Recharge.objects.order_by("pk").values_list("trigger", "state")) == [
            ("manual", "canceled"),
            ("low_balance", "completed"),
        ]
        assert list(world.gateway.charged.values()) == [5000]
        w.assert_balanced()

    def test_does_not_wake_a_rule_that_is_off_or_has_fired_already(self, world, rule):
        opened = recharge_by_hand(rule, at=world.at)
        Rule.objects.update(is_on=False)
        machine.cancel(
            recharge=opened, actor=rule.line.owner, because="canceled_by_owner", at=world.at
        )
        rule.refresh_from_db()
        assert (rule.wake_at, rule.episode) == (None, 1)


class TestOneThatIsGivenBack:
    def test_has_the_balance_asked_for_and_the_rule_looks_again(self, world, rule):
        recharge_by_hand(rule, at=world.at)
        world.run()
        world.later(w.HOUR)
        push(rule, 1200, at=world.at)  # with the 30.00 in it, which its holder has used
        refund = approvals.request(
            recharge=Recharge.objects.get(),
            amount_minor=3000,
            reason="by mistake",
            requested_by=w.person("support"),
            at=world.at,
        )
        Line.objects.update(poll_at=None)
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)
        world.run()
        asked_at = world.at + w.MINUTE / 2
        assert Line.objects.get().poll_at == asked_at
        push(rule, -1800, at=asked_at)
        world.at = asked_at
        world.run()
        assert Recharge.objects.filter(trigger="low_balance", state="completed").count() == 1
        w.assert_balanced()


class TestPressing:
    @pytest.fixture
    def alone(self):
        """A line without a rule: no cap but the method's and the owner's."""
        line = w.line()
        return line, w.binding(line.owner)

    def press(self, line, tool, *, at, face_minor=5000, key="once", **more):
        return by_hand.recharge(
            line=line,
            binding=tool,
            face_minor=face_minor,
            owner=line.owner,
            idempotency_key=key,
            at=at,
            **more,
        )

    def test_twice_is_one_recharge(self, world, alone):
        first = self.press(*alone, at=world.at)
        world.run()
        assert self.press(*alone, at=world.at + w.HOUR) == first
        assert list(world.gateway.charged.values()) == [5000]

    def test_never_charges_somebody_elses_method(self, world, alone):
        line, _own = alone
        with pytest.raises(by_hand.BindingNotUsable):
            self.press(line, w.binding(w.person("bob")), at=world.at)
        assert not Recharge.objects.exists()

    @pytest.mark.parametrize(
        "change", [{"state": "suspended"}, {"paused_at": w.NOON, "pause_reason": "breaker"}]
    )
    def test_never_charges_a_method_that_rests(self, world, alone, change):
        line, _own = alone
        with pytest.raises(by_hand.BindingNotUsable):
            self.press(line, w.binding(line.owner, **change), at=world.at)
        assert not Recharge.objects.exists()

    @pytest.mark.parametrize("status", ["unverified", "ported_out", "removed"])
    def test_never_charges_for_a_line_that_is_not_live(self, world, alone, status):
        line, tool = alone
        line.status = status
        with pytest.raises(by_hand.LineNotLive):
            self.press(line, tool, at=world.at)
        assert not Recharge.objects.exists()

    def test_sells_only_what_the_carrier_sells(self, world, alone):
        with pytest.raises(by_hand.NotSold):
            self.press(*alone, face_minor=4999, at=world.at)
        assert not Recharge.objects.exists()


class TestACapByHand:
    def spend(self, world, rule, **more) -> Recharge:
        """One of 30.00 by hand, earlier on the same day."""
        earlier = recharge_by_hand(rule, at=world.at, key="earlier")
        world.run()
        if more:
            Recharge.objects.filter(pk=earlier.pk).update(**more)
        return earlier

    @pytest.mark.parametrize(("cap_minor", "code"), [(6000, None), (5999, "cap_month")])
    def test_of_the_month_may_be_reached_and_not_passed(self, world, rule, cap_minor, code):
        self.spend(world, rule)
        Rule.objects.update(face_minor=3000, max_per_month_minor=cap_minor)
        self.press_again(rule, world.at, code)

    @pytest.mark.parametrize(("cap_minor", "code"), [(6000, None), (5999, "cap_binding_month")])
    def test_of_the_method_is_shared_by_its_lines(self, world, rule, cap_minor, code):
        self.spend(world, rule, line=w.line(rule.line.owner))
        Binding.objects.update(max_per_month_minor=cap_minor)
        self.press_again(rule, world.at, code)

    @pytest.mark.parametrize(("cap_minor", "code"), [(6000, None), (5999, "cap_owner_month")])
    def test_of_the_owner_is_shared_by_their_methods(self, world, rule, cap_minor, code):
        owner = rule.line.owner
        other = w.line(owner)
        self.spend(world, rule, line=other, binding=w.binding(owner))
        SpendingCapFactory.create(owner=owner, max_per_month_minor=cap_minor)
        self.press_again(rule, world.at, code)

    @pytest.mark.parametrize(("count", "code"), [(2, None), (1, "cap_day")])
    def test_of_the_day_counts_what_was_charged(self, world, rule, count, code):
        self.spend(world, rule)
        Rule.objects.update(max_per_day_count=count)
        self.press_again(rule, world.at, code)

    def test_is_told_with_its_figures_and_the_days_before_the_months(self, world, rule):
        """As the robot tells it."""
        self.spend(world, rule)
        Rule.objects.update(max_per_month_minor=5999, max_per_day_count=1)
        with pytest.raises(by_hand.CapReached) as day:
            recharge_by_hand(rule, at=world.at, key="again")
        Rule.objects.update(max_per_day_count=2)
        with pytest.raises(by_hand.CapReached) as month:
            recharge_by_hand(rule, at=world.at, key="again")

        assert (day.value.code, day.value.facts) == (
            "cap_day",
            {"cap_count": 1, "spent_count": 1, "currency": "CNY"},
        )
        assert (month.value.code, month.value.facts) == (
            "cap_month",
            {"cap_minor": 5999, "spent_minor": 3000, "face_minor": 3000, "currency": "CNY"},
        )

    @pytest.mark.parametrize("opens", ["by hand", "by its rule"])
    def test_counts_no_other_currency(self, world, rule, opens):
        """A card of one owner that pays in Hong Kong too: 30.00 there is not 30.00 here."""
        owner = rule.line.owner
        SpendingCapFactory.create(owner=owner, max_per_month_minor=6000)
        Binding.objects.update(max_per_month_minor=6000)
        for _ in range(2):  # as much as both caps
            abroad = w.line(owner, carrier=w.carrier("csl", currency="HKD"), currency="HKD")
            by_hand.recharge(
                line=abroad,
                binding=rule.binding,
                face_minor=3000,
                owner=owner,
                idempotency_key="k",
                at=world.at,
            )
        if opens == "by hand":
            self.press_again(rule, world.at, None)
        else:
            Rule.objects.update(face_minor=5000)
            push(rule, 980, at=world.at)
            openings.open_due(at=world.at, limit=9, capabilities=world.outside.capabilities)
            assert Recharge.objects.get(rule=rule).price_minor == 5000

    def test_does_not_count_what_ended_unpaid(self, world, rule):
        machine.cancel(
            recharge=recharge_by_hand(rule, at=w.NOON, key="earlier"),
            actor=rule.line.owner,
            because="canceled_by_owner",
            at=w.NOON,
        )
        Rule.objects.update(face_minor=3000, max_per_month_minor=3000, max_per_day_count=1)
        self.press_again(rule, world.at, None)

    def test_counts_what_was_refunded(self, world, rule):
        refund = approvals.request(
            recharge=Recharge.objects.get(pk=self.spend(world, rule).pk),
            amount_minor=3000,
            reason="asked",
            requested_by=w.person("support"),
            at=world.at,
        )
        approvals.approve(refund=refund, approved_by=w.person("finance"), at=world.at)
        world.run()
        assert Recharge.objects.get().state == "refunded"
        Rule.objects.update(face_minor=3000, max_per_month_minor=5999)
        self.press_again(rule, world.at, "cap_month")

        Rule.objects.update(face_minor=5000, max_per_month_minor=7999)
        push(rule, 980, at=world.at)
        world.later(w.HOUR)  # it cools down first
        world.run()
        assert Decision.objects.filter(code="cap_month").count() == 1
        assert Recharge.objects.count() == 1

    def test_does_not_count_last_month_by_the_lines_own_calendar(self, world, rule):
        self.spend(world, rule, cap_month=date(2026, 10, 1), cap_day=date(2026, 10, 31))
        Rule.objects.update(face_minor=3000, max_per_month_minor=3000, max_per_day_count=1)
        self.press_again(rule, world.at, None)

    def press_again(self, rule, at, code):
        before = Recharge.objects.count()
        if code is None:
            recharge_by_hand(rule, at=at, key="again")
            assert Recharge.objects.count() == before + 1
            return
        with pytest.raises(by_hand.CapReached) as refusal:
            recharge_by_hand(rule, at=at, key="again")
        assert refusal.value.code == code
        assert Recharge.objects.count() == before

"""Rails that must announce a charge, or take it a day late: told, kept to, never surprised."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta

import pytest
from django.db import IntegrityError, transaction

from billing.calendar import Hours
from billing.gateways.base import (
    Capabilities,
    Noticed,
    NotNeeded,
    Pending,
    Refused,
    Succeeded,
    Unknown,
)
from billing.ledger import verification
from billing.models import (
    Binding,
    Decision,
    Notice,
    PaymentAttempt,
    RailCall,
    Recharge,
    RechargeMove,
    Rule,
    Transfer,
)
from billing.plans import contract
from billing.rules import by_hand, readings
from billing.rules.balances import Reading
from lines.models import BalanceReading, Line
from tests import world as w
from tests.factories.billing import DeclineCodeFactory

pytestmark = pytest.mark.django_db

NOTICE, WINDOW = timedelta(days=2), timedelta(days=7)
ANNOUNCING = Capabilities(
    rail="alipay",
    currencies=frozenset({"CNY"}),
    must_prepare=True,
    notice=NOTICE,
    window=WINDOW,
    min_interval=timedelta(days=1),
)
A_DAY_LATE = Capabilities(
    rail="alipay",
    currencies=frozenset({"CNY"}),
    delay=timedelta(days=1),
    settles_within=timedelta(days=2),
    min_interval=timedelta(days=1),
)


@pytest.fixture
def slow(world):
    """A world whose rail announces each charge two days ahead."""
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600, 86_400, 3 * 86_400])
    world.gateway.capabilities = ANNOUNCING
    return world


def low_line(at, **more):
    return w.rule(w.line(balance_minor=980), wake_at=at, **more)


def scheduled(due_at, **more):
    """A rule charged monthly from `due_at` (midday in Shanghai) on, and on nothing else."""
    return w.rule(
        threshold_minor=None,
        cycle="monthly",
        anchor_date=due_at.date(),
        next_run_at=due_at,
        wake_at=due_at - NOTICE,
        lead_s=int(NOTICE.total_seconds()),
        **more,
    )


def only() -> Recharge:
    return Recharge.objects.get()


def told(kind: str) -> list[str]:
    return [n.facts.get("at", "") for n in Notice.objects.filter(kind=kind).order_by("pk")]


def taken() -> int:
    return Transfer.objects.count()


class TestALowBalance:
    def test_is_announced_at_once_and_charged_when_the_rail_allows(self, slow):
        low_line(slow.at)
        slow.run()
        recharge = only()
        assert (recharge.state, recharge.reason) == ("waiting", "announced")
        assert recharge.act_at == slow.at + NOTICE
        assert (recharge.announced_minor, recharge.latest_charge_at) == (
            5000,
            slow.at + NOTICE + WINDOW,
        )
        assert (slow.gateway.charged, taken()) == ({}, 0)

        slow.later(NOTICE - timedelta(seconds=1))
        slow.run()
        assert (only().state, slow.gateway.charged) == ("waiting", {})

        slow.later(timedelta(seconds=1))
        slow.run()
        assert (only().state, list(slow.gateway.charged.values())) == ("completed", [5000])
        assert len(slow.gateway.calls["prepare"]) == 1
        w.assert_balanced()

    def test_is_told_with_the_day_it_is_charged_on(self, slow):
        low_line(slow.at)
        slow.run()
        assert told("upcoming_charge") == [(slow.at + NOTICE).isoformat()]
        slow.later(timedelta(hours=1))
        slow.run()
        assert len(told("upcoming_charge")) == 1

    def test_leaves_evidence_of_the_announcement(self, slow):
        low_line(slow.at)
        slow.run()
        assert list(RailCall.objects.values_list("kind", "reference")) == [("notice", only().ref)]

    def test_is_canceled_by_its_owner_while_it_waits(self, slow):
        rule = low_line(slow.at)
        slow.run()
        contract.stop(rule=rule, because="owner", at=slow.at)
        slow.later(NOTICE)
        slow.run()
        assert (only().state, only().reason) == ("canceled", "rule_stopped")
        assert (slow.gateway.charged, taken()) == ({}, 0)


def falling(line: Line, *, at: datetime, from_minor: int, per_day_minor: int, days: int) -> None:
    """A week of honest readings on the way down, the last of them now."""
    for day in range(days, -1, -1):
        minor = from_minor - per_day_minor * (days - day)
        readings.push(
            reading=Reading(line.pk, minor, at - timedelta(days=day)), at=at - timedelta(days=day)
        )


class TestALineThatWillRunOut:
    """¥10 threshold, ¥8 a day: two days of waiting and half a day of hours are ¥20."""

    def fallen_to(self, world, minor: int) -> Rule:
        line = w.line(balance_minor=None, balance_observed_at=None)
        rule = w.rule(line, lead_s=int(NOTICE.total_seconds()))
        falling(line, at=world.at, from_minor=minor + 5 * 800, per_day_minor=800, days=5)
        return rule

    def test_is_recharged_before_it_is_low(self, slow):
        self.fallen_to(slow, 1900)
        slow.run()
        assert (only().trigger, only().state) == ("low_balance", "waiting")
        because = Decision.objects.get(code="charge")
        assert because.facts["balance_minor"] == 1900
        assert because.facts["runs_out_at"] == (slow.at + timedelta(days=19 / 8)).isoformat()

    def test_is_left_alone_while_there_is_time(self, slow):
        rule = self.fallen_to(slow, 2400)
        slow.run()
        assert not Recharge.objects.exists()
        rule.refresh_from_db()
        runs_out_at = slow.at + timedelta(days=3)
        assert rule.wake_at == runs_out_at - NOTICE - timedelta(hours=12)
        slow.later(rule.wake_at - slow.at)
        Line.objects.update(balance_observed_at=slow.at)
        slow.run()
        assert only().trigger == "low_balance"

    def test_on_a_quick_rail_waits_for_its_threshold(self, slow):
        slow.gateway.capabilities = replace(ANNOUNCING, must_prepare=False, notice=timedelta(0))
        rule = self.fallen_to(slow, 1900)
        slow.run()
        assert not Recharge.objects.exists()
        rule.refresh_from_db()
        assert rule.lead_s == 0

    def test_is_not_charged_on_a_guess(self, slow):
        rule = self.fallen_to(slow, 1900)
        BalanceReading.objects.filter(observed_at__lt=slow.at - timedelta(days=1.5)).delete()
        Rule.objects.filter(pk=rule.pk).update(wake_at=slow.at)
        slow.run()
        assert not Recharge.objects.exists()

    def test_gets_enough_for_what_is_used_until_then(self, slow):
        rule = self.fallen_to(slow, 1900)
        Rule.objects.filter(pk=rule.pk).update(
            topup_mode="to", target_minor=5000, max_per_charge_minor=10_000
        )
        slow.run()
        # 1900 - 1600 used by then = 300 left; 4700 to the target; ¥50 is the next one sold.
        assert only().face_minor == 5000


class TestASchedule:
    DUE = datetime(2026, 12, 1, 4, 0, tzinfo=w.NOON.tzinfo)

    def test_is_charged_on_its_day_and_announced_before(self, slow):
        scheduled(self.DUE)
        slow.later(self.DUE - NOTICE - slow.at - timedelta(seconds=1))
        slow.run()
        assert not Recharge.objects.exists()
        slow.later(timedelta(seconds=1))
        slow.run()
        assert (only().state, only().due_at, only().act_at) == ("waiting", self.DUE, self.DUE)
        slow.later(NOTICE)
        slow.run()
        assert only().charged_at == self.DUE
        rule = Rule.objects.get()
        january = datetime(2027, 1, 1, 4, 0, tzinfo=w.NOON.tzinfo)
        assert (rule.next_run_at, rule.wake_at) == (january, january - NOTICE)
        w.assert_balanced()

    def test_that_was_announced_late_is_charged_late_inside_its_grace(self, slow):
        scheduled(self.DUE)
        slow.later(self.DUE - timedelta(days=1) - slow.at)
        slow.run()
        assert only().act_at == self.DUE + timedelta(days=1)

    def test_that_can_no_longer_be_announced_in_time_is_missed_and_told(self, slow):
        scheduled(self.DUE)
        slow.later(self.DUE - timedelta(hours=20) - slow.at)
        slow.run()
        assert not Recharge.objects.exists()
        assert list(Decision.objects.values_list("code", flat=True)) == ["missed"]
        assert Notice.objects.filter(kind="missed").count() == 1

    def test_a_pause_that_ends_before_its_day_leaves_it_alone(self, slow):
        rule = scheduled(self.DUE)
        contract.pause(rule=rule, until=self.DUE - timedelta(hours=3), at=slow.at)
        slow.later(self.DUE - NOTICE - slow.at)
        slow.run()
        assert only().state == "waiting"
        slow.later(NOTICE)
        slow.run()
        assert only().state == "completed"

    def test_a_pause_over_its_day_ends_it_even_when_it_is_announced(self, slow):
        rule = scheduled(self.DUE)
        slow.later(self.DUE - NOTICE - slow.at)
        slow.run()
        contract.pause(rule=rule, until=self.DUE + timedelta(days=1), at=slow.at)
        slow.later(NOTICE)
        slow.run()
        assert (only().state, slow.gateway.charged) == ("canceled", {})


class TestAnAnnouncement:
    def test_without_an_answer_is_repeated_and_is_the_same_one(self, slow):
        low_line(slow.at)
        slow.gateway.preparations = [Unknown("lost"), Unknown("lost")]
        slow.run()
        assert (only().state, only().reason) == ("waiting", "announcing")
        begun_at = slow.at
        for _ in range(2):
            slow.later(timedelta(minutes=1))
            slow.run()
        assert only().earliest_charge_at == begun_at + NOTICE
        assert len(slow.gateway.calls["prepare"]) == 3
        assert len(slow.gateway.announced) == 1
        assert taken() == 0

    def test_of_a_worker_that_died_is_repeated(self, slow):
        low_line(slow.at)

        def dies(*, request, due_at):
            raise SystemExit

        plain, slow.gateway.prepare_charge = slow.gateway.prepare_charge, dies
        with pytest.raises(SystemExit):
            slow.run(batches=1)
        slow.gateway.prepare_charge = plain
        slow.lapse_leases()
        slow.later(timedelta(minutes=2))
        slow.run()
        assert only().reason == "announced"
        assert only().earliest_charge_at == w.NOON + NOTICE

    def test_refused_by_our_own_fault_calls_an_operator_and_waits(self, slow):
        low_line(slow.at)
        slow.gateway.preparations = [Refused("INVALID_REQUEST")]
        slow.run()
        assert (only().state, only().attention) == ("waiting", "config")
        assert (slow.gateway.charged, Binding.objects.get().paused_at) == ({}, None)
        slow.later(timedelta(minutes=10))
        slow.run()
        assert (only().reason, only().attention) == ("announced", "")

    def test_refused_because_the_agreement_is_gone_ends_it_and_asks_the_payer(self, slow):
        DeclineCodeFactory.create(code="GONE", decline_class="hard")
        low_line(slow.at)
        slow.gateway.preparations = [Refused("GONE")]
        slow.run()
        assert (only().state, only().reason) == ("failed", "hard_decline")
        assert Binding.objects.get().paused_at == slow.at
        assert (slow.gateway.charged, taken()) == ({}, 0)
        assert Notice.objects.filter(kind="not_recharged").count() == 1

    def test_of_less_than_the_price_charges_nothing(self, slow):
        low_line(slow.at)
        slow.gateway.preparations = [Noticed(slow.at, slow.at + WINDOW, 4999)]
        slow.run()
        assert (only().state, only().attention) == ("waiting", "config")
        assert slow.gateway.charged == {}

    def test_of_a_charge_that_follows_at_once_is_not_told_beside_its_result(self, slow):
        low_line(slow.at)
        slow.gateway.preparations = [Noticed(slow.at, slow.at + WINDOW, 5000)]
        slow.run()
        assert only().state == "completed"
        assert told("upcoming_charge") == []
        assert Notice.objects.filter(kind="recharged").count() == 1

    def test_is_not_made_where_the_rail_says_it_needs_none(self, slow):
        low_line(slow.at)
        slow.gateway.preparations = [NotNeeded()]
        slow.run()
        assert only().state == "completed"
        assert told("upcoming_charge") == []

    def test_waits_for_the_hours_in_which_the_rail_listens(self, slow):
        slow.gateway.capabilities = replace(
            ANNOUNCING, hours=Hours(time(7), time(22), "Asia/Shanghai")
        )
        slow.later(timedelta(hours=11))  # 23:00 in Shanghai
        low_line(slow.at)
        Line.objects.update(balance_observed_at=slow.at)
        slow.run()
        assert (only().reason, slow.gateway.calls["prepare"]) == ("outside_hours", [])
        slow.later(timedelta(hours=8))
        slow.run()
        assert only().earliest_charge_at == slow.at + NOTICE

    def test_is_never_exceeded_says_the_database_itself(self, slow):
        low_line(slow.at)
        slow.run()
        with pytest.raises(IntegrityError), transaction.atomic():
            Recharge.objects.update(announced_minor=4999)


class TestTheWindow:
    def announced(self, world) -> None:
        low_line(world.at)
        world.run()

    def test_that_closed_while_nobody_worked_takes_nothing_and_is_told(self, slow):
        self.announced(slow)
        slow.later(NOTICE + WINDOW + timedelta(minutes=1))
        slow.run()
        assert (only().state, only().reason) == ("missed", "window_over")
        assert (slow.gateway.charged, taken()) == ({}, 0)
        assert Notice.objects.filter(kind="missed").count() == 1

    def test_has_room_for_retries_each_with_a_number_of_its_own(self, slow):
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        self.announced(slow)
        slow.gateway.script = [Refused("POOR"), Refused("POOR")]
        slow.later(NOTICE)
        slow.run()
        assert (only().state, only().declines) == ("declined", 1)
        slow.later(timedelta(hours=6))
        slow.run()
        slow.later(timedelta(days=1))
        slow.run()
        assert only().state == "completed"
        references = PaymentAttempt.objects.values_list("reference", flat=True)
        assert len(set(references)) == 3
        assert len(slow.gateway.calls["prepare"]) == 1
        w.assert_balanced()

    def test_ends_the_ladder_when_the_next_try_would_be_too_late(self, slow):
        slow.gateway.capabilities = replace(ANNOUNCING, window=timedelta(hours=5))
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        self.announced(slow)
        slow.gateway.script = [Refused("POOR")]
        slow.later(NOTICE)
        slow.run()
        assert (only().state, only().reason) == ("failed", "retries_exhausted")
        assert taken() == 0


class TestTheProof:
    @pytest.mark.parametrize(
        "changes",
        [
            {"earliest_charge_at": w.NOON + NOTICE + timedelta(seconds=1)},
            {"latest_charge_at": w.NOON + NOTICE - timedelta(seconds=1)},
        ],
    )
    def test_names_a_charge_outside_what_was_announced(self, slow, changes):
        low_line(slow.at)
        slow.run()
        slow.later(NOTICE)
        slow.run()
        w.assert_balanced()
        Recharge.objects.update(**changes)
        found = verification.verify().violations
        assert found["charges_keep_to_what_was_announced"] == [only().ref]


class TestOneAgreementForTwoLines:
    def two(self, world) -> tuple[Rule, Rule]:
        first = low_line(world.at)
        second = w.rule(w.line(balance_minor=980), wake_at=world.at, binding=first.binding)
        return first, second

    def states(self) -> list[str]:
        return list(Recharge.objects.order_by("pk").values_list("reason", flat=True))

    def test_announces_one_at_a_time(self, slow):
        self.two(slow)
        slow.run()
        assert sorted(self.states()) == ["announced", "binding_busy"]
        assert len(slow.gateway.announced) == 1

    def test_and_charges_the_second_once_a_day_has_passed(self, slow):
        self.two(slow)
        slow.run()
        for _ in range(11):  # half-days: a wait, a day's rest of the agreement, a wait
            slow.later(timedelta(hours=12))
            slow.run()
        assert sorted(self.states()) == ["credited", "credited"]
        charged = sorted(PaymentAttempt.objects.values_list("created_at", flat=True))
        assert charged[1] - charged[0] >= timedelta(days=1)
        assert len(slow.gateway.announced) == 2
        w.assert_balanced()

    def test_on_a_rail_without_such_a_rule_charges_both_at_once(self, slow):
        slow.gateway.capabilities = replace(ANNOUNCING, min_interval=timedelta(0))
        self.two(slow)
        slow.run()
        assert self.states() == ["announced", "announced"]


class TestARailThatTakesADay:
    @pytest.fixture
    def late(self, slow):
        slow.gateway.capabilities = A_DAY_LATE
        return slow

    def test_is_asked_a_day_early_so_that_the_money_moves_on_the_day(self, late):
        due_at = datetime(2026, 12, 1, 4, 0, tzinfo=w.NOON.tzinfo)
        rule = scheduled(due_at)
        Rule.objects.filter(pk=rule.pk).update(wake_at=due_at - timedelta(days=1))
        late.gateway.script = [Pending(ask_again_at=due_at)]
        late.later(due_at - timedelta(days=1) - late.at)
        late.run()
        assert (only().state, only().act_at) == ("payment_pending", due_at)
        assert only().earliest_charge_at == due_at
        reference = PaymentAttempt.objects.get().reference
        late.gateway.script = [Succeeded("T1", 5000, "CNY")]
        late.later(timedelta(days=1))
        late.run()
        assert only().state == "completed"
        assert late.gateway.calls["charge"] == [reference]
        w.assert_balanced()

    def test_in_an_agreements_first_hours_is_not_asked_before_its_day_can_be_kept(self, late):
        late.gateway.capabilities = replace(A_DAY_LATE, no_delay_for=timedelta(hours=12))
        due_at = late.at + timedelta(days=1)
        rule = scheduled(due_at)
        Rule.objects.filter(pk=rule.pk).update(wake_at=late.at)
        Binding.objects.update(signed_at=late.at - timedelta(hours=2))
        late.run()
        assert (only().reason, only().act_at) == ("fresh_agreement", late.at + timedelta(hours=10))
        assert late.gateway.calls["charge"] == []
        late.later(timedelta(hours=10))
        late.run()
        assert len(late.gateway.calls["charge"]) == 1

    def test_in_an_agreements_first_hours_waits_no_longer_than_for_its_day(self, late):
        late.gateway.capabilities = replace(A_DAY_LATE, no_delay_for=timedelta(hours=12))
        due_at = late.at + timedelta(hours=5)
        rule = scheduled(due_at, charge_time=time(17))
        Rule.objects.filter(pk=rule.pk).update(wake_at=late.at)
        Binding.objects.update(signed_at=late.at - timedelta(hours=2))
        late.run()
        assert (only().reason, only().act_at) == ("fresh_agreement", due_at)
        assert late.gateway.calls["charge"] == []

    def test_takes_no_second_one_on_the_agreement_meanwhile(self, late):
        first = low_line(late.at)
        w.rule(w.line(balance_minor=980), wake_at=late.at, binding=first.binding)
        late.gateway.script = [Pending(ask_again_at=late.at + timedelta(days=1))]
        late.run()
        states = sorted(Recharge.objects.values_list("reason", flat=True))
        assert states == ["binding_busy", "pending"]
        assert len(late.gateway.calls["charge"]) == 1


class TestTheSecondTool:
    def test_on_an_announcing_rail_is_announced_anew(self, slow):
        DeclineCodeFactory.create(code="GONE", decline_class="hard")
        alice = w.person()
        second = w.binding(alice)
        low_line(slow.at, fallback_binding=second)
        slow.run()
        slow.gateway.script = [Refused("GONE")]
        slow.later(NOTICE)
        slow.run()
        recharge = only()
        assert (recharge.binding_id, recharge.reason) == (second.pk, "announced")
        assert recharge.earliest_charge_at == slow.at + NOTICE
        assert taken() == 0

    def test_history_tells_each_step(self, slow):
        low_line(slow.at)
        slow.run()
        slow.later(NOTICE)
        slow.run()
        assert list(RechargeMove.objects.order_by("pk").values_list("because", flat=True)) == [
            "opened",
            "announced",
            "announced",
            "sent",
            "paid",
            "credited",
        ]


def test_an_early_occurrence_keeps_its_calendar(slow):
    """Opened in November for the 1st of December: the cap's month is the month money moves in."""
    due_at = datetime(2026, 12, 1, 4, 0, tzinfo=w.NOON.tzinfo)
    scheduled(due_at)
    slow.later(due_at - NOTICE - slow.at)
    slow.run()
    assert (only().period_key, only().cap_month) == ("0:2026-12-01", date(2026, 12, 1))


class TestByHand:
    def opened(self, world, **more):
        line = w.line()
        return by_hand.recharge(
            line=line,
            binding=w.binding(line.owner),
            face_minor=5000,
            owner=line.owner,
            idempotency_key="k",
            capabilities=world.gateway.capabilities,
            at=world.at,
            **more,
        )

    def test_waits_as_long_as_its_rail_must_be_told_ahead(self, slow):
        self.opened(slow)
        slow.run()
        assert (only().reason, only().act_at) == ("announced", slow.at + NOTICE)
        slow.later(NOTICE)
        slow.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_at_night_waits_for_the_morning_and_is_not_missed(self, slow):
        hours = Hours(time(7), time(22), "Asia/Shanghai")
        slow.gateway.capabilities = replace(
            ANNOUNCING, must_prepare=False, notice=timedelta(0), hours=hours
        )
        slow.later(timedelta(hours=11))  # 23:00 in Shanghai
        self.opened(slow)
        slow.run()
        assert (only().reason, only().expires_at) == ("outside_hours", slow.at + 9 * w.HOUR)
        slow.later(8 * w.HOUR)
        slow.run()
        assert only().state == "completed"

    def test_counts_for_the_month_in_which_the_money_moves(self, slow):
        slow.later(timedelta(days=7))  # 29 November, two days before December
        self.opened(slow)
        assert only().cap_month == date(2026, 12, 1)

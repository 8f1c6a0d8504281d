"""What a rule decides by, says of it, and is not concerned by."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from billing.calendar import Cycle, Schedule
from billing.gateways.base import Capabilities, Refused, Unknown
from billing.ledger import verification
from billing.ledger.verification import Effect
from billing.models import Decision, PaymentAttempt, Recharge, Refund, Rule
from billing.recharges import aftermath, claims
from billing.refunds import approvals
from billing.rules import by_hand, openings
from billing.rules.deciding import decide
from billing.rules.verdicts import Caps, Facts, Spent, Standing
from lines.models import Delivery, Line
from tests import world as w
from tests.factories.billing import DecisionFactory, SpendingCapFactory

NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)  # midday in Shanghai
READ_AT = NOON - timedelta(minutes=4)
LOW = Facts(
    at=NOON,
    timezone="Asia/Shanghai",
    standing=Standing(
        next_index=0,
        next_run_at=None,
        skip_index=None,
        is_armed=True,
        episode=3,
        expiry_fired_for=None,
        wake_at=None,
    ),
    schedule=None,
    grace=timedelta(days=1),
    face_minor=5000,
    caps=Caps(charge_minor=10_000, day_count=1, line_month_minor=15_000),
    spent=Spent(),
    sells=(5000,),
    min_amount_minor=1000,
    max_amount_minor=20_000,
    threshold_minor=1000,
    balance_minor=980,
    observed_at=READ_AT,
)
FIGURES = {
    "balance_minor": 980,
    "effective_minor": 980,
    "threshold_minor": 1000,
    "face_minor": 5000,
    "observed_at": READ_AT.isoformat(),
}


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


def open_due(world) -> None:
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)


class TestADecision:
    def test_tells_the_figures_it_was_made_by(self):
        [reason] = decide(LOW).reasons
        assert (reason.code, reason.facts) == ("charge", FIGURES)

    def test_of_a_balance_that_is_low_already_is_not_told_as_early(self):
        soon = NOON + timedelta(hours=1)
        [reason] = decide(replace(LOW, runs_out_at=soon, lead=timedelta(days=2))).reasons
        assert (reason.code, reason.facts) == ("charge", FIGURES)

    def test_of_a_balance_that_will_be_low_says_when(self):
        soon = NOON + timedelta(hours=1)
        early = replace(LOW, balance_minor=1200, runs_out_at=soon, lead=timedelta(days=2))
        [reason] = decide(early).reasons
        assert reason.code == "charge"
        assert reason.facts["runs_out_at"] == soon.isoformat()

    @pytest.mark.parametrize(("most_minor", "code"), [(5980, "charge"), (5979, "max_balance")])
    def test_fills_a_line_up_to_what_its_carrier_holds_and_no_further(self, most_minor, code):
        [reason] = decide(replace(LOW, max_balance_minor=most_minor)).reasons
        assert reason.code == code

    def test_by_schedule_never_falls_short(self):
        opening = decide(
            replace(
                LOW,
                threshold_minor=None,
                schedule=Schedule(date(2026, 11, 22), Cycle.MONTHLY, time(12, 0), "Asia/Shanghai"),
                standing=replace(LOW.standing, next_run_at=NOON),
            )
        ).opening
        assert opening is not None
        assert (opening.face_minor, opening.falls_short) == (5000, False)


@pytest.mark.django_db
class TestARule:
    def test_waits_while_its_rail_is_switched_off(self, low):
        w.rail(is_enabled=False)
        open_due(low)
        assert not Recharge.objects.exists()
        assert [one.code for one in Decision.objects.all()] == ["rail_disabled"]

    def test_that_cannot_be_decided_rests_a_minute_longer_each_time_then_for_a_person(self, low):
        rule = Rule.objects.get()
        for crashes, minutes in ((1, 1), (2, 2)):
            openings._count_crash(rule.pk, at=low.at)
            rule.refresh_from_db()
            assert (rule.crash_count, rule.pause_reason) == (crashes, "")
            assert rule.wake_at == low.at + timedelta(minutes=minutes)
        openings._count_crash(rule.pk, at=low.at)
        rule.refresh_from_db()
        assert (rule.crash_count, rule.wake_at) == (3, None)
        assert (rule.pause_reason, rule.paused_at) == ("crashed", low.at)

    @pytest.mark.parametrize(("sleeps", "wakes"), [(3600, 60), (3601, 3601)])
    def test_that_would_look_within_the_hour_looks_once_it_is_cool(self, low, sleeps, wakes):
        low.run()
        Rule.objects.update(cooldown_s=60, wake_at=low.at + timedelta(seconds=sleeps))
        aftermath.credited(recharge_ids=[only().pk], at=low.at)
        rule = Rule.objects.get()
        assert rule.wake_at == low.at + timedelta(seconds=wakes)
        assert rule.cooldown_until == low.at + timedelta(seconds=60)


@pytest.mark.django_db
class TestByHand:
    def press(self, line: Line, at, **more) -> Recharge:
        return by_hand.recharge(
            line=line,
            binding=w.binding(line.owner),
            face_minor=3000,
            owner=line.owner,
            idempotency_key="1",
            at=at,
            **more,
        )

    def test_is_bound_by_the_rule_of_its_own_line_only(self, world):
        w.rule(w.line(), face_minor=2000, max_per_month_minor=2999)
        recharge = self.press(w.line(), world.at)
        assert (recharge.state, recharge.price_minor) == ("due", 3000)

    def test_is_not_bound_by_a_rule_that_is_off(self, world):
        off = w.rule(w.line(), is_on=False, face_minor=2000, max_per_month_minor=2000)
        assert self.press(off.line, world.at).price_minor == 3000

    def test_is_bound_by_the_cap_of_its_own_owner_only(self, world):
        SpendingCapFactory.create(owner=w.person("bob"), max_per_month_minor=1)
        assert self.press(w.line(), world.at).price_minor == 3000

    def test_is_refused_where_the_method_cannot_pay_in_the_lines_currency(self, world):
        euros = Capabilities(rail="alipay", currencies=frozenset({"EUR"}))
        with pytest.raises(by_hand.NotPayable) as refusal:
            self.press(w.line(), world.at, capabilities=euros)
        assert refusal.value.field == "binding"
        assert not Recharge.objects.exists()


@pytest.mark.django_db
class TestAWorkRow:
    def test_is_early_by_its_own_decision_only(self, low):
        open_due(low)
        other = w.rule(w.line(balance_minor=980), wake_at=low.at)
        open_due(low)
        mine, theirs = Recharge.objects.order_by("pk")
        told = {"runs_out_at": NOON.isoformat()}
        DecisionFactory.create(
            rule=other, recharge=theirs, code="charge", period_key="before", facts=told
        )
        rows = {row.id: row.is_early for row in claims.read(recharge_ids=[mine.pk, theirs.pk])}
        assert rows == {mine.pk: False, theirs.pk: True}

    def test_finds_that_its_line_has_ended_since(self, low):
        open_due(low)
        rows = claims.claim(at=low.at, limit=10)
        assert claims.gone_lines(rows) == set()
        assert claims.gone_lines([]) == set()
        Line.objects.update(status="terminated")
        assert claims.gone_lines(rows) == {rows[0].line_id}


@pytest.mark.django_db
class TestOurBooks:
    def test_claim_what_was_charged_and_credited_and_doubt_nothing_else(self, low):
        low.run()
        charge, credit = PaymentAttempt.objects.get().reference, Delivery.objects.get().reference
        assert sorted(verification.ours()) == [
            ("charge", charge, 5000),
            ("credit", credit, 5000),
        ]
        asked = approvals.request(
            recharge=only(),
            amount_minor=5000,
            reason="asked",
            requested_by=w.person("support"),
            at=low.at,
        )
        taken = Effect("reversal", asked.reversal_ref, 5000)
        given = Effect("refund", asked.reference, 5000)
        assert self.differing(with_=[taken, given]) == {taken.reference, given.reference}

        approvals.approve(refund=asked, approved_by=w.person("finance"), at=low.at)
        assert self.differing(with_=[taken, given]) == set()
        Refund.objects.update(state="intended")  # the credit is back, the rail is next
        assert self.differing(with_=[given]) == set()
        assert self.differing(with_=[taken]) == {taken.reference}
        Refund.objects.update(state="reversing")

        low.gateway.script = [Unknown("lost")]
        low.run()
        assert Refund.objects.get().state == "unknown"
        assert self.differing(with_=[given]) == set()
        assert self.differing(without=taken) == {taken.reference}

        low.later(w.MINUTE)
        low.run()
        assert Refund.objects.get().state == "succeeded"
        assert self.differing(without=given) == {given.reference}

    @pytest.mark.parametrize("state", ["declined", "closed"])
    def test_do_not_doubt_what_has_ended_unpaid(self, low, state):
        low.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        low.run()
        PaymentAttempt.objects.update(state=state)
        theirs = Effect("charge", PaymentAttempt.objects.get().reference, 5000)
        assert self.differing(with_=[theirs]) == {theirs.reference}

    def differing(self, *, with_: Sequence[Effect] = (), without: Effect | None = None) -> set[str]:
        mine = verification.ours()
        theirs = [*(one for one in mine if one != without), *with_]
        found = verification.compare(mine=mine, theirs=theirs)
        return {reference for references in found.values() for reference in references}

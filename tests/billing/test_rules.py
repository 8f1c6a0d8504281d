"""When a rule charges and when it does not: pure, exact, one table row a case."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from billing.calendar import Cycle, Schedule
from billing.rules.deciding import decide
from billing.rules.verdicts import Caps, Facts, Spent, Standing

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # midday in Shanghai
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

STANDING = Standing(
    next_index=0,
    next_run_at=None,
    skip_index=None,
    is_armed=True,
    episode=3,
    expiry_fired_for=None,
    wake_at=None,
)
LOW = Facts(
    at=NOON,
    timezone="Asia/Shanghai",
    standing=STANDING,
    schedule=None,
    grace=DAY,
    face_minor=5000,
    caps=Caps(charge_minor=10_000, day_count=1, line_month_minor=15_000),
    spent=Spent(),
    sells=(1000, 2000, 3000, 5000, 10_000, 20_000),
    min_amount_minor=1000,
    max_amount_minor=20_000,
    threshold_minor=1000,
    balance_minor=980,
    observed_at=NOON - timedelta(minutes=4),
)
MONTHLY = Schedule(date(2026, 11, 22), Cycle.MONTHLY, time(12, 0), "Asia/Shanghai")
SCHEDULED = replace(
    LOW,
    threshold_minor=None,
    schedule=MONTHLY,
    standing=replace(STANDING, next_index=0, next_run_at=NOON),
)


def codes(facts: Facts) -> list[str]:
    return [reason.code for reason in decide(facts).reasons]


def amount(facts: Facts) -> int | None:
    opening = decide(facts).opening
    return opening.face_minor if opening else None


class TestLowBalance:
    def test_fires_below_the_threshold_and_disarms(self):
        verdict = decide(LOW)
        assert verdict.opening is not None
        assert (verdict.opening.trigger, verdict.opening.period_key) == ("low_balance", "e3")
        assert verdict.opening.face_minor == 5000
        assert verdict.standing.is_armed is False
        assert [reason.code for reason in verdict.reasons] == ["charge"]

    @pytest.mark.parametrize("balance_minor", [1000, 1001, 5000])
    def test_does_not_fire_at_or_above_the_threshold(self, balance_minor):
        verdict = decide(replace(LOW, balance_minor=balance_minor))
        assert (verdict.opening, verdict.reasons) == (None, ())

    def test_does_not_fire_again_until_it_is_armed(self):
        disarmed = replace(LOW, standing=replace(STANDING, is_armed=False), balance_minor=-500)
        assert amount(disarmed) is None

    def test_counts_credit_in_flight_and_money_reserved(self):
        assert amount(replace(LOW, in_flight_minor=20)) is None
        assert amount(replace(LOW, balance_minor=1500, reserved_minor=501)) == 5000

    def test_never_acts_on_a_reading_too_old_to_trust(self):
        verdict = decide(replace(LOW, observed_at=NOON - DAY - timedelta(seconds=1)))
        assert verdict.opening is None
        assert verdict.wants_reading is True
        assert [reason.code for reason in verdict.reasons] == ["reading_stale"]
        assert verdict.standing.is_armed is True

    def test_acts_on_one_that_is_just_young_enough(self):
        assert amount(replace(LOW, observed_at=NOON - DAY)) == 5000

    def test_asks_for_a_first_reading_where_there_is_none(self):
        verdict = decide(replace(LOW, balance_minor=None, observed_at=None))
        assert (verdict.opening, verdict.wants_reading) == (None, True)


class TestTheAmount:
    @pytest.mark.parametrize(
        ("balance_minor", "expected"),
        [
            (980, 5000),  # by the amount agreed
            (-3999, 5000),  # lands on 10.01: strictly above
            (-4000, 10_000),  # 50.00 would land on the threshold itself
            (-8999, 10_000),
        ],
    )
    def test_closes_the_gap_in_one(self, balance_minor, expected):
        assert amount(replace(LOW, balance_minor=balance_minor)) == expected

    def test_tops_up_to_the_target_rounded_up_to_what_is_sold(self):
        to_60 = replace(LOW, is_to_target=True, target_minor=6000, balance_minor=900)
        assert amount(to_60) == 10_000
        assert amount(replace(to_60, target_minor=2900)) == 2000

    def test_takes_the_largest_allowed_and_says_that_it_falls_short(self):
        verdict = decide(replace(LOW, balance_minor=-20_000))
        assert verdict.opening is not None
        assert (verdict.opening.face_minor, verdict.opening.falls_short) == (10_000, True)

    def test_stays_under_the_carriers_largest_balance(self):
        assert amount(replace(LOW, max_balance_minor=4000, balance_minor=900)) == 3000

    def test_counts_what_will_be_used_before_a_slow_rails_money_arrives(self):
        slow = replace(LOW, lead=DAY, runs_out_at=NOON + DAY)
        assert amount(replace(slow, used_in_lead_minor=4979)) == 5000  # lands on 10.01
        assert amount(replace(slow, used_in_lead_minor=4980)) == 10_000

    def test_a_schedule_ignores_the_gap(self):
        assert amount(replace(SCHEDULED, balance_minor=-9000)) == 5000


class TestTriggersTogether:
    def test_schedule_low_balance_and_expiry_make_one_recharge(self):
        both = replace(
            SCHEDULED,
            threshold_minor=1000,
            valid_until=NOON + DAY,
            expiry_days_before=3,
        )
        verdict = decide(both)
        assert verdict.opening is not None
        assert verdict.opening.trigger == "schedule"
        assert [(r.trigger, r.code) for r in verdict.reasons] == [
            ("schedule", "charge"),
            ("low_balance", "merged"),
            ("expiry", "merged"),
        ]
        assert verdict.standing.is_armed is False
        assert verdict.standing.expiry_fired_for == date(2026, 11, 23)
        assert verdict.standing.next_index == 1

    def test_expiry_fires_once_for_one_validity(self):
        expiring = replace(
            LOW, threshold_minor=None, valid_until=NOON + 3 * DAY, expiry_days_before=3
        )
        first = decide(expiring)
        assert first.opening is not None
        assert first.opening.period_key == "2026-11-25"
        assert decide(replace(expiring, standing=first.standing)).opening is None

    def test_expiry_wakes_the_rule_on_its_day(self):
        later = replace(
            LOW, threshold_minor=None, valid_until=NOON + 10 * DAY, expiry_days_before=3
        )
        assert decide(later).standing.wake_at == NOON + 7 * DAY

    def test_expiry_does_not_wake_the_rule_in_its_owners_pause(self):
        """It would be refused there, and spent."""
        paused = replace(
            SCHEDULED,
            paused_until=NOON + 9 * DAY,
            valid_until=NOON + 10 * DAY,
            expiry_days_before=3,
        )
        verdict = decide(paused)
        assert [reason.code for reason in verdict.reasons] == ["paused_by_owner"]
        assert verdict.standing.wake_at == NOON + 9 * DAY
        ended = replace(paused, at=NOON + 9 * DAY, standing=verdict.standing)
        assert [reason.trigger for reason in decide(ended).reasons] == ["expiry"]
        assert amount(ended) == 5000


class TestTheSchedule:
    def test_an_occurrence_is_spent_when_it_runs(self):
        verdict = decide(SCHEDULED)
        assert verdict.opening is not None
        assert verdict.opening.period_key == "0:2026-11-22"
        assert verdict.standing.next_run_at == datetime(2026, 12, 22, 4, 0, tzinfo=UTC)
        assert verdict.standing.wake_at == verdict.standing.next_run_at

    def test_is_caught_up_at_most_once_after_an_outage(self):
        late = replace(SCHEDULED, at=datetime(2027, 2, 22, 10, 0, tzinfo=UTC))
        verdict = decide(late)
        assert verdict.opening is not None
        assert verdict.opening.period_key == "3:2027-02-22"
        assert codes(late) == ["missed", "missed", "missed", "charge"]

    def test_is_missed_past_its_grace_and_told(self):
        late = replace(SCHEDULED, at=NOON + DAY + timedelta(seconds=1))
        assert (amount(late), codes(late)) == (None, ["missed"])
        assert decide(late).standing.next_index == 1

    def test_the_owner_skips_one_and_only_one(self):
        skipping = replace(SCHEDULED, standing=replace(SCHEDULED.standing, skip_index=0))
        verdict = decide(skipping)
        assert verdict.opening is None
        assert [reason.code for reason in verdict.reasons] == ["skipped_by_owner"]
        assert (verdict.standing.skip_index, verdict.standing.next_index) == (None, 1)


class TestWhatDefers:
    def test_a_cool_down_keeps_it_with_a_stored_wake(self):
        verdict = decide(replace(LOW, cooldown_until=NOON + HOUR))
        assert verdict.opening is None
        assert [reason.code for reason in verdict.reasons] == ["cooling_down"]
        assert verdict.reasons[0].facts["until"] == (NOON + HOUR).isoformat()
        assert (verdict.standing.wake_at, verdict.standing.is_armed) == (NOON + HOUR, True)

    def test_a_cool_down_is_over_at_its_last_instant(self):
        assert amount(replace(LOW, cooldown_until=NOON)) == 5000

    def test_an_open_recharge_keeps_the_schedule_due(self):
        verdict = decide(replace(SCHEDULED, has_open_recharge=True))
        assert verdict.opening is None
        assert (verdict.standing.next_index, verdict.standing.next_run_at) == (0, NOON)


class TestCaps:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"caps": Caps(4999, 1, 15_000)}, "cap_charge"),
            ({"spent": Spent(day_count=1)}, "cap_day"),
            ({"spent": Spent(line_month_minor=10_001)}, "cap_month"),
            (
                {
                    "caps": Caps(10_000, 1, 15_000, binding_month_minor=20_000),
                    "spent": Spent(binding_month_minor=15_001),
                },
                "cap_binding_month",
            ),
            (
                {
                    "caps": Caps(10_000, 1, 15_000, owner_month_minor=20_000),
                    "spent": Spent(owner_month_minor=15_001),
                },
                "cap_owner_month",
            ),
        ],
    )
    def test_a_scheduled_charge_over_a_cap_is_refused_and_spent(self, change, code):
        verdict = decide(replace(SCHEDULED, **change))
        assert verdict.opening is None
        assert [reason.code for reason in verdict.reasons] == [code]
        assert verdict.standing.next_index == 1

    def test_exactly_the_cap_is_allowed(self):
        assert amount(replace(SCHEDULED, spent=Spent(line_month_minor=10_000))) == 5000

    @pytest.mark.parametrize(
        ("balance_minor", "expected"), [(5000, (5000, "charge")), (5001, (None, "max_balance"))]
    )
    def test_the_carriers_largest_balance_may_be_reached_and_not_passed(
        self, balance_minor, expected
    ):
        full = replace(SCHEDULED, max_balance_minor=10_000, balance_minor=balance_minor)
        assert (amount(full), *codes(full)) == expected

    def test_exactly_one_charge_may_be_the_cap(self):
        assert amount(replace(SCHEDULED, caps=Caps(5000, 1, 5000))) == 5000

    def test_the_last_charge_of_a_day_is_allowed_and_no_further_one(self):
        two = replace(SCHEDULED, caps=Caps(10_000, 2, 15_000))
        assert amount(replace(two, spent=Spent(day_count=1))) == 5000
        assert codes(replace(two, spent=Spent(day_count=2))) == ["cap_day"]

    def test_a_low_balance_waits_for_the_next_local_day(self):
        verdict = decide(replace(LOW, spent=Spent(day_count=1)))
        assert verdict.opening is None
        assert verdict.standing.is_armed is True
        assert verdict.standing.wake_at == datetime(2026, 11, 22, 16, 0, tzinfo=UTC)

    def test_a_low_balance_waits_for_the_next_local_month(self):
        verdict = decide(replace(LOW, spent=Spent(line_month_minor=15_000)))
        assert [reason.code for reason in verdict.reasons] == ["cap_month"]
        assert verdict.standing.wake_at == datetime(2026, 11, 30, 16, 0, tzinfo=UTC)


class TestWhatStops:
    @pytest.mark.parametrize("problem", ["line_not_active", "sim_changed", "zone_unknown"])
    def test_a_line_that_is_not_what_was_agreed_on_stops_the_rule(self, problem):
        verdict = decide(replace(LOW, line_problem=problem))
        assert (verdict.opening, verdict.pause) == (None, problem)
        assert verdict.standing.wake_at is None

    @pytest.mark.parametrize("problem", ["binding_missing", "binding_paused", "binding_not_active"])
    def test_a_tool_that_cannot_charge_spends_the_schedule_and_keeps_the_latch(self, problem):
        both = replace(SCHEDULED, threshold_minor=1000, binding_problem=problem)
        verdict = decide(both)
        assert verdict.opening is None
        assert [reason.code for reason in verdict.reasons] == [problem, problem]
        assert (verdict.standing.next_index, verdict.standing.is_armed) == (1, True)

    def test_a_rail_switched_off_by_an_operator_keeps_the_schedule_due(self):
        verdict = decide(replace(SCHEDULED, binding_problem="rail_disabled"))
        assert verdict.opening is None
        assert (verdict.standing.next_index, verdict.standing.next_run_at) == (0, NOON)
        assert verdict.standing.wake_at == NOON + HOUR

    def test_a_pause_of_the_owner_lets_occurrences_pass(self):
        verdict = decide(replace(SCHEDULED, paused_until=NOON + DAY))
        assert [reason.code for reason in verdict.reasons] == ["paused_by_owner"]
        assert verdict.opening is None

    def test_a_mandatory_notice_that_is_missing_blocks_the_schedule_alone(self):
        both = replace(SCHEDULED, threshold_minor=1000, is_notice_missing=True)
        verdict = decide(both)
        assert verdict.opening is not None
        assert verdict.opening.trigger == "low_balance"
        assert [reason.code for reason in verdict.reasons] == ["notice_not_sent", "charge"]

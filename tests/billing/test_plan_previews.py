"""What is shown before an owner agrees is true."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.utils import translation

from billing.models import Consent, Notice, Recharge, Rule, SpendingCap
from billing.plans import contract
from lines.models import Line
from tests import world as w
from tests.billing.plans_world import ALIPAY, ANNOUNCING, DAYTIME, draft, low, offer, preview
from tests.billing.readers import teach_chinese
from tests.factories.billing import RechargeFactory, SpendingCapFactory
from tests.world import DAY, HOUR, MINUTE, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.mark.django_db
class TestThePreview:
    def test_shows_twelve_charges_clamped_to_each_months_end(self):
        shown = preview(draft())

        assert [one.local_date.isoformat() for one in shown.charges] == [
            "2026-12-31",
            "2027-01-31",
            "2027-02-28",
            "2027-03-31",
            "2027-04-30",
            "2027-05-31",
            "2027-06-30",
            "2027-07-31",
            "2027-08-31",
            "2027-09-30",
            "2027-10-31",
            "2027-11-30",
        ]
        adjusted = [one.local_date.month for one in shown.charges if one.adjusted == "month_end"]
        assert adjusted == [2, 4, 6, 9, 11]
        assert shown.charges[0].due_at == datetime(2026, 12, 31, 1, tzinfo=UTC)
        assert [one.index for one in shown.charges] == list(range(12))
        assert {one.price_minor for one in shown.charges} == {5000}

    @pytest.mark.parametrize(
        ("cycle", "dates"),
        [
            ("quarterly", ["2026-11-30", "2027-02-28", "2027-05-30"]),
            ("yearly", ["2026-11-30", "2027-11-30", "2028-11-30"]),
        ],
    )
    def test_counts_longer_cycles_from_their_anchor(self, cycle, dates):
        shown = preview(draft(cycle=cycle, anchor_date=date(2026, 11, 30)))

        assert [one.local_date.isoformat() for one in shown.charges[:3]] == dates
        assert len(shown.charges) == 12

    def test_moves_a_charge_into_the_rails_hours_and_says_so(self):
        night = draft(charge_time=time(3), anchor_date=date(2026, 12, 5))

        first = preview(night, replace(ALIPAY, hours=DAYTIME)).charges[0]

        assert (first.due_at, first.adjusted) == (datetime(2026, 12, 4, 23, tzinfo=UTC), "hours")
        assert first.local_date == date(2026, 12, 5)

    def test_keeps_its_day_on_a_rail_that_announces(self):
        evening = draft(charge_time=time(21), anchor_date=date(2026, 12, 5))

        shown = preview(evening, replace(ANNOUNCING, notice=timedelta(hours=30)))

        assert shown.charges[0].due_at == datetime(2026, 12, 5, 13, tzinfo=UTC)
        assert shown.charges[0].earliest_at == shown.charges[0].due_at
        assert shown.lead == timedelta(hours=30)

    def test_of_a_first_day_too_near_to_be_announced_is_refused_with_a_day_that_works(self):
        near = draft(anchor_date=date(2026, 11, 23), charge_time=time(9))

        with translation.override("zh-hans"), pytest.raises(contract.InvalidDraft) as refused:
            contract.check(draft=near, capabilities=ANNOUNCING, at=NOON)

        assert list(refused.value.errors) == ["anchor_date"]
        assert "11月24日" in str(refused.value.errors["anchor_date"])

    def test_has_no_dates_where_there_is_no_schedule(self):
        shown = preview(low())

        assert (shown.charges, shown.price_minor, shown.saves_minor) == ((), 5000, 0)

    def test_changes_nothing(self):
        of = draft()

        preview(of)

        assert Rule.objects.count() == Consent.objects.count() == Notice.objects.count() == 0
        assert Line.objects.get().poll_at is None


@pytest.mark.django_db
class TestThePriceShown:
    def test_is_after_the_promotion(self):
        offer()

        shown = preview(draft())

        assert (shown.price_minor, shown.saves_minor) == (4925, 75)
        assert {(one.price_minor, one.discount_minor) for one in shown.charges} == {(4925, 75)}

    def test_uses_a_promotion_up_as_the_charges_will(self):
        offer(max_uses_per_line=2)

        assert [one.price_minor for one in preview(draft()).charges[:4]] == [
            4925,
            4925,
            5000,
            5000,
        ]

    def test_knows_the_promotions_window_and_budget(self):
        offer(ends_at=datetime(2027, 2, 1, tzinfo=UTC))
        offer(code="bonus", kind="bonus", fixed_minor=100, stacking="additive", budget_minor=150)

        charges = preview(draft()).charges

        assert [one.discount_minor for one in charges[:3]] == [75, 75, 0]
        assert [one.bonus_minor for one in charges[:3]] == [100, 0, 0]

    def test_is_for_the_trigger_where_there_is_no_schedule(self):
        offer(triggers=["low_balance"])

        assert preview(low()).price_minor == 4925
        assert preview(draft()).price_minor == 5000

    def test_counts_a_charge_at_once_before_the_scheduled_ones(self):
        offer(max_uses_per_line=1)
        of = draft(threshold_minor=1000, line=w.line(balance_minor=900))

        shown = preview(of)

        assert shown.at_once == contract.AtOnce("low_balance", 5000, 4925, NOON)
        assert shown.charges[0].price_minor == 5000


@pytest.mark.django_db
class TestTheMostAMonthCanCost:
    def most(self, of, capabilities=ALIPAY) -> tuple[int, int]:
        """By the plan itself, and with what is charged by hand."""
        shown = preview(of, capabilities)
        return shown.plan_max_minor, shown.month_max_minor

    def test_is_two_charges_by_a_monthly_schedule_whose_last_day_may_slip(self):
        assert self.most(draft()) == (10_000, 15_000)
        assert self.most(draft(cycle="yearly")) == (5000, 15_000)

    def test_is_the_lines_cap_where_a_low_balance_may_recur(self):
        assert self.most(low()) == (15_000, 15_000)

    def test_is_what_the_days_allow_the_plan_where_the_cap_is_high(self):
        of = low(max_per_month_minor=10_000_000, max_per_charge_minor=10_000, max_per_day_count=2)

        expected = (31 * 2 * 10_000, 10_000_000)
        assert self.most(of) == expected
        # A second method, or a charge by hand, has another rail's limits.
        assert self.most(of, replace(ALIPAY, max_charges_per_day=1)) == expected
        assert self.most(of, replace(ALIPAY, max_amount_minor=6000)) == expected

    def test_is_the_cap_of_the_payment_method_where_the_plan_has_no_other(self):
        capped = w.binding(max_per_month_minor=9000)
        second = w.binding(capped.owner)
        assert self.most(low(binding=capped)) == (9000, 15_000)
        of = low(binding=capped, fallback_binding=second)
        shown = contract.preview(draft=of, capabilities=ALIPAY, at=NOON)
        assert (shown.plan_max_minor, shown.month_max_minor) == (15_000, 15_000)

    def test_is_the_cap_of_the_owner_where_that_is_lower(self):
        SpendingCapFactory.create(max_per_month_minor=8000)
        assert self.most(low()) == (8000, 8000)
        SpendingCap.objects.update(currency="HKD")
        assert self.most(low()) == (15_000, 15_000)


@pytest.mark.django_db
class TestWhatHappensAtOnce:
    def at_once(self, capabilities=ALIPAY, **more):
        line = {key: more.pop(key) for key in list(more) if key in LINE_FACTS}
        return preview(low(line=w.line(**line), **more), capabilities).at_once

    def test_is_a_charge_where_the_balance_is_below(self):
        assert self.at_once(balance_minor=999) == contract.AtOnce("low_balance", 5000, 5000, NOON)
        assert preview(low(line=w.line(balance_minor=999))).fires_at_once is True

    @pytest.mark.parametrize("balance_minor", [1000, 5000, None])
    def test_is_nothing_where_it_is_not_or_is_not_known(self, balance_minor):
        observed_at = NOON if balance_minor is not None else None

        assert self.at_once(balance_minor=balance_minor, balance_observed_at=observed_at) is None

    def test_is_a_day_to_come_on_a_rail_that_must_be_told_first(self):
        late = replace(ANNOUNCING, notice=timedelta(hours=30))

        found = self.at_once(late, balance_minor=999)

        # Midday and 30 hours are 18:00 the day after: inside the rail's hours.
        assert found == contract.AtOnce("low_balance", 5000, 5000, NOON + 30 * HOUR, True)
        night = replace(ANNOUNCING, notice=timedelta(hours=36))
        # Midday and 36 hours are midnight: it opens at 07:00.
        assert self.at_once(night, balance_minor=999).expected_at == NOON + 43 * HOUR

    def test_is_now_in_the_first_hours_of_an_agreement_that_is_charged_at_once_in_them(self):
        late = replace(ANNOUNCING, notice=timedelta(0), delay=DAY, no_delay_for=12 * HOUR)
        line = w.line(balance_minor=999)
        tool = w.binding(line.owner, signed_at=NOON - 11 * HOUR)

        assert preview(low(line=line, binding=tool), late).at_once.expected_at == NOON
        tool.signed_at = NOON - 12 * HOUR
        assert preview(low(line=line, binding=tool), late).at_once.expected_at == NOON + DAY

    def test_is_told_with_its_day_where_it_is_not_now(self):
        of = low(line=w.line(balance_minor=999))
        shown = preview(of, ANNOUNCING)

        said = contract.sentences(
            draft=of, preview=shown, capabilities=ANNOUNCING, language="en", at=NOON
        )

        assert said[0] == (
            "The balance of ¥9.99 will not last until the payment method can be charged, so ¥50"
            " is taken on Nov 23."
        )

    def test_takes_reserved_credit_off_the_balance(self):
        assert self.at_once(balance_minor=1500, balance_reserved_minor=501) is not None
        assert self.at_once(balance_minor=1500, balance_reserved_minor=500) is None

    def test_is_said_of_an_old_balance_too(self):
        assert self.at_once(balance_minor=1, balance_observed_at=NOON - 90 * DAY) is not None

    def test_closes_the_gap_in_one(self):
        found = self.at_once(
            balance_minor=500, topup_mode="to", target_minor=9000, max_per_charge_minor=10_000
        )

        assert found == contract.AtOnce("low_balance", 10_000, 10_000, NOON)

    def test_is_a_charge_where_the_validity_is_about_to_end(self):
        near = {"valid_until": NOON + 3 * DAY, "threshold_minor": None, "expiry_days_before": 3}

        assert self.at_once(**near) == contract.AtOnce("expiry", 5000, 5000, NOON)
        assert self.at_once(**(near | {"valid_until": NOON + 3 * DAY + MINUTE})) is None

    def test_is_nothing_while_a_recharge_is_under_way(self):
        line = w.line(balance_minor=1)
        assert preview(low(line=line)).fires_at_once is True
        RechargeFactory.create(line=line)

        assert preview(low(line=line)).fires_at_once is False

    def test_counts_what_has_landed_since_the_last_reading(self):
        line = w.line(balance_minor=1, balance_observed_at=NOON - HOUR)
        RechargeFactory.create(line=line, completed=True, at=NOON - 2 * HOUR)
        of = low(line=line, max_per_day_count=9)
        assert preview(of).fires_at_once is True

        Recharge.objects.update(completed_at=NOON - MINUTE)

        assert preview(of).fires_at_once is False

    def test_is_nothing_where_a_cap_is_used_up(self):
        line = w.line(balance_minor=1)
        RechargeFactory.create(line=line, completed=True, face_minor=20_000, at=NOON - 2 * HOUR)

        assert preview(low(line=line, max_per_day_count=9)).fires_at_once is False

    def test_counts_against_the_caps_of_the_month_in_which_the_money_moves(self):
        """On a rail that must be told nine days before it is 1 December."""
        line = w.line(balance_minor=1)
        slow = replace(ALIPAY, notice=9 * DAY)
        RechargeFactory.create(line=line, completed=True, face_minor=20_000, at=NOON - 2 * HOUR)
        of = low(line=line, max_per_day_count=9)
        assert preview(of).fires_at_once is False
        assert preview(of, slow).fires_at_once is True

        Recharge.objects.update(cap_month=date(2026, 12, 1), cap_day=date(2026, 12, 1))

        assert preview(of).fires_at_once is True
        assert preview(of, slow).fires_at_once is False

    def test_is_nothing_while_the_last_one_cools_down(self):
        line = w.line(balance_minor=1)
        w.rule(line, is_on=False, cooldown_until=NOON + MINUTE)

        assert preview(low(line=line)).fires_at_once is False


LINE_FACTS = ("balance_minor", "balance_observed_at", "balance_reserved_minor", "valid_until")

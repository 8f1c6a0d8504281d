"""The owner's contract: checked where it is typed, shown truthfully, turned on by one act."""

import json
import re
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import translation

from billing import consents, plans
from billing.gateways.base import Capabilities, ChargeHours
from billing.models import Binding, Consent, Notice, Promotion, Recharge, Rule, SpendingCap
from billing.plans import Draft, InvalidDraft, StalePlan
from lines.models import Line, LineStatus
from tests import world as w
from tests.billing.readers import LANGUAGES, pairs, teach_chinese
from tests.world import DAY, HOUR, MINUTE, NOON

ALIPAY = Capabilities(rail="alipay", currencies=frozenset({"CNY"}))
FUSSY = replace(ALIPAY, last_day_of_month=28)
DAYTIME = ChargeHours(time(7), time(22), "Asia/Shanghai")
ANNOUNCING = replace(ALIPAY, hours=DAYTIME, notice=timedelta(hours=24))
# 22 November 2026, a Sunday, midday in Shanghai.
TODAY = date(2026, 11, 22)


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """Nobody signs in here, and a strong hash for each person would be most of the time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def draft(**more) -> Draft:
    """50.00 on the last day of each month, on Alice's line."""
    line = more.pop("line", None) or w.line()
    given: dict[str, Any] = {
        "line": line,
        "binding": more.pop("binding", None) or w.binding(line.owner),
        "face_minor": 5000,
        "cycle": "monthly",
        "anchor_date": date(2026, 12, 31),
        "max_per_charge_minor": 5000,
        "max_per_month_minor": 15_000,
    }
    return Draft(**(given | more))


def low(**more) -> Draft:
    """50.00 whenever the balance is below 10.00, and nothing else."""
    given = {"cycle": "none", "anchor_date": None, "threshold_minor": 1000}
    return draft(**(given | more))


def errors(of: Draft, capabilities=ALIPAY, at=NOON) -> dict[str, str]:
    with translation.override("en"):
        try:
            plans.check(draft=of, capabilities=capabilities, at=at)
        except InvalidDraft as refusal:
            return refusal.errors
    return {}


def preview(of: Draft, capabilities=ALIPAY, at=NOON) -> plans.Preview:
    plans.check(draft=of, capabilities=capabilities, at=at)
    return plans.preview(draft=of, capabilities=capabilities, at=at)


def confirm(of: Draft | None = None, *, rule=None, at=NOON, capabilities=ALIPAY, **more) -> Rule:
    """Save where there is no rule yet, and confirm."""
    if rule is None:
        assert of is not None
        rule = plans.save_draft(draft=of, capabilities=capabilities, at=at)
        of = None
    given: dict[str, Any] = {
        "rule": rule,
        "owner": rule.line.owner,
        "seen_version": rule.version,
        "capabilities": capabilities,
        "language": "en",
        "ip": "192.0.2.7",
        "user_agent": "Firefox",
        "draft": of,
        "at": at,
    }
    return plans.confirm(**(given | more))


def saved(rule: Rule) -> Rule:
    return Rule.objects.select_related("line", "binding").get(pk=rule.pk)


def state(rule: Rule) -> dict[str, Any]:
    return dict(Rule.objects.values().get(pk=rule.pk))


def agreed(rule: Rule) -> Consent:
    assert rule.consent is not None
    return rule.consent


@pytest.mark.django_db
class TestCheck:
    def test_passes_what_can_run(self):
        assert errors(draft()) == {}
        assert errors(low()) == {}
        assert errors(low(threshold_minor=None, expiry_days_before=3)) == {}
        assert errors(low(topup_mode="to", target_minor=6000)) == {}

    @pytest.mark.parametrize(
        ("more", "field", "sentence"),
        [
            (
                {"face_minor": 4900},
                "face_minor",
                "China Mobile sells ¥10 / ¥20 / ¥30 / ¥50 / ¥100 / ¥200. Choose one of these.",
            ),
            (
                {"cycle": "none"},
                "cycle",
                "Choose a schedule, a low balance or the days before expiry.",
            ),
            ({"cycle": "weekly"}, "cycle", "Choose monthly, quarterly, yearly or no schedule."),
            ({"anchor_date": None}, "anchor_date", "Choose the day of the first charge."),
            ({"anchor_date": TODAY - DAY}, "anchor_date", "Choose today or a later day."),
            ({"anchor_date": date(1, 1, 1)}, "anchor_date", "Choose today or a later day."),
            (
                {"anchor_date": date(9999, 12, 31)},
                "anchor_date",
                "Choose a day within the next two years.",
            ),
            (
                {"anchor_date": TODAY, "charge_time": time(12)},
                "charge_time",
                "This time has passed today. Choose a later time or another day.",
            ),
            (
                {"threshold_minor": 1000, "topup_mode": "to", "target_minor": 1000},
                "target_minor",
                "Enter a balance above ¥10, below which the top-up starts.",
            ),
            (
                {"threshold_minor": 1000, "topup_mode": "to"},
                "target_minor",
                "Enter a balance above ¥10, below which the top-up starts.",
            ),
            (
                {"topup_mode": "to", "target_minor": 5000},
                "threshold_minor",
                "Enter the balance below which to top up.",
            ),
            ({"threshold_minor": -1}, "threshold_minor", "Enter a balance of zero or more."),
            ({"threshold_minor": 10**15}, "threshold_minor", "Enter a balance of zero or more."),
            (
                {"threshold_minor": 1000, "topup_mode": "up"},
                "topup_mode",
                "Choose to top up by an amount, or up to a balance.",
            ),
            (
                {"threshold_minor": 1000, "topup_mode": "to", "target_minor": 30_000},
                "target_minor",
                "No single amount reaches this balance. Enter a lower one.",
            ),
            (
                {"threshold_minor": 1000, "topup_mode": "to", "target_minor": 6001},
                "max_per_charge_minor",
                "Reaching ¥60.01 takes at least ¥100 at once. Allow at least that much.",
            ),
            ({"expiry_days_before": 0}, "expiry_days_before", "Choose between 1 and 90 days."),
            ({"expiry_days_before": 91}, "expiry_days_before", "Choose between 1 and 90 days."),
            (
                {"max_per_charge_minor": 4999},
                "max_per_charge_minor",
                "This is less than one recharge of ¥50. Allow at least that much.",
            ),
            (
                {"max_per_month_minor": 4999},
                "max_per_month_minor",
                "This is less than one recharge of ¥50. Allow at least that much.",
            ),
            (
                {"max_per_month_minor": 10**18},
                "max_per_month_minor",
                "This limit is too large to limit anything. Enter a smaller one.",
            ),
            (
                {"max_per_day_count": 0},
                "max_per_day_count",
                "Allow between 1 and 10 recharges a day.",
            ),
            (
                {"max_per_day_count": 11},
                "max_per_day_count",
                "Allow between 1 and 10 recharges a day.",
            ),
            (
                {"remind_days_before": (0,)},
                "remind_days_before",
                "Remind between 1 and 14 days before a charge.",
            ),
            (
                {"remind_days_before": (1, 2, 3, 4, 5, 6)},
                "remind_days_before",
                "Choose at most 5 reminders.",
            ),
            ({"channels": ()}, "channels", "Choose where notices go."),
            ({"channels": ("inbox", "pigeon")}, "channels", "Choose where notices go."),
        ],
    )
    def test_says_at_the_field_what_to_do(self, more, field, sentence):
        assert errors(draft(**more)) == {field: sentence}

    def test_says_every_problem_at_once_and_one_at_a_field(self):
        found = errors(draft(face_minor=1, max_per_month_minor=0, cycle="none", channels=()))

        assert sorted(found) == ["channels", "cycle", "face_minor", "max_per_month_minor"]

    def test_speaks_chinese(self):
        with translation.override("zh-hans"), pytest.raises(InvalidDraft) as refusal:
            plans.check(draft=draft(max_per_month_minor=1), capabilities=ALIPAY, at=NOON)

        assert refusal.value.errors == {
            "max_per_month_minor": "低于一次充值金额 ¥50，上限至少应为该金额。"
        }

    def test_takes_today_while_its_time_is_ahead(self):
        assert errors(draft(anchor_date=TODAY, charge_time=time(12, 1))) == {}

    def test_takes_any_amount_between_the_bounds_of_a_carrier_that_sells_any(self):
        carrier = w.carrier("free", denominations_minor=[], min_amount_minor=100)
        line = w.line(carrier=carrier)

        assert errors(draft(line=line, face_minor=4321)) == {}
        assert errors(draft(line=line, face_minor=99))["face_minor"] == (
            "China Mobile sells amounts from ¥1 to ¥1,000. Choose one of these."
        )

    def test_keeps_within_what_the_line_may_hold(self):
        line = w.line(carrier=w.carrier("small", max_balance_minor=5900))

        assert errors(low(line=line))["threshold_minor"] == (
            "The line may hold ¥59 at most. Lower this, or choose a smaller amount."
        )
        assert errors(low(line=line, threshold_minor=900)) == {}
        to = low(line=line, topup_mode="to", target_minor=5901)
        assert errors(to)["target_minor"] == (
            "The line may hold ¥59 at most. Enter a lower balance."
        )

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            ("unverified", "Prove first that this line is yours, with the code sent to it."),
            ("suspended", "The carrier has suspended this line. Try again when it is active."),
            ("terminated", "This line is gone. Choose another one."),
            ("ported_out", "This line is gone. Choose another one."),
            ("removed", "This line is gone. Choose another one."),
        ],
    )
    def test_refuses_a_line_that_cannot_be_charged_for(self, status, sentence):
        assert errors(draft(line=w.line(status=status))) == {"line": sentence}

    def test_takes_an_expired_line_since_a_recharge_revives_it(self):
        assert errors(draft(line=w.line(status=LineStatus.EXPIRED))) == {}


@pytest.mark.django_db
class TestThePaymentMethod:
    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            (
                {"state": "pending"},
                "This payment method is not agreed yet. Finish the agreement first.",
            ),
            (
                {"state": "suspended"},
                "This agreement is suspended at the moment. Choose another payment method.",
            ),
            (
                {"state": "revoked"},
                "This agreement has ended. Bind it again, or choose another payment method.",
            ),
            (
                {"expires_at": NOON},
                "This agreement has ended. Bind it again, or choose another payment method.",
            ),
            (
                {"paused_at": NOON},
                "This payment method rests after declined payments. Resume it or choose another.",
            ),
        ],
    )
    def test_must_be_able_to_pay(self, more, sentence):
        tool = w.binding(**more)

        assert errors(draft(binding=tool)) == {"binding": sentence}
        assert errors(draft(fallback_binding=tool)) == {"fallback_binding": sentence}

    def test_must_be_chosen_before_a_plan_is_confirmed_but_not_before_it_is_kept(self):
        without = replace(draft(), binding=None)

        assert errors(without, capabilities=None) == {"binding": "Choose a payment method."}
        kept = plans.save_draft(draft=without, capabilities=None, at=NOON)
        assert (kept.binding, kept.is_on) == (None, False)

    def test_must_be_ones_own(self):
        strangers = w.binding(w.person("bob"))

        assert errors(draft(binding=strangers)) == {
            "binding": "Choose one of your own payment methods."
        }
        assert errors(draft(fallback_binding=strangers)) == {
            "fallback_binding": "Choose one of your own payment methods."
        }

    def test_must_be_on_a_rail_that_runs(self):
        w.rail(is_enabled=False)

        assert errors(draft()) == {
            "binding": "This way of paying is switched off at the moment. Choose another."
        }

    def test_cannot_be_its_own_fallback(self):
        tool = w.binding()

        assert errors(draft(binding=tool, fallback_binding=tool)) == {
            "fallback_binding": "Choose another payment method than the first one."
        }

    def test_must_know_the_currency_and_the_amount(self):
        dollars = replace(ALIPAY, currencies=frozenset({"USD"}))

        assert errors(draft(), dollars) == {
            "binding": "This payment method cannot pay in CNY. Choose another."
        }
        assert errors(draft(), replace(ALIPAY, max_amount_minor=4999)) == {
            "face_minor": "This payment method pays at most ¥49.99 at once."
            " Choose a smaller amount."
        }
        assert errors(draft(), replace(ALIPAY, max_amount_minor=5000)) == {}
        assert errors(draft(), replace(ALIPAY, min_amount_minor=5001)) == {
            "face_minor": "This payment method pays at least ¥50.01 at once."
            " Choose a larger amount."
        }
        assert errors(draft(binding=w.binding(max_per_month_minor=4999))) == {
            "face_minor": "This payment method has a limit of ¥49.99 a month."
            " Choose a smaller amount."
        }

    def test_comes_with_the_capabilities_of_its_own_rail(self):
        with pytest.raises(ValueError, match="wechat"):
            errors(draft(), replace(ALIPAY, rail="wechat"))

    def test_needs_a_mailbox_only_for_e_mail(self):
        owner = w.person()
        owner.phone, owner.email = "+8613800000099", None
        owner.save()
        line = w.line(owner)

        assert errors(draft(line=line)) == {}
        assert errors(draft(line=line, channels=("inbox", "email"))) == {
            "channels": "Add an e-mail address to your account first, or use the inbox only."
        }


@pytest.mark.django_db
class TestADayTheRailCannotDo:
    def test_is_refused_with_the_28th_and_the_1st_on_offer(self):
        with translation.override("en"), pytest.raises(InvalidDraft) as refusal:
            plans.check(draft=draft(), capabilities=FUSSY, at=NOON)

        assert refusal.value.errors == {
            "anchor_date": "Days after the 28th are not possible with Alipay."
            " Choose Dec 28 or Jan 1, 2027."
        }
        assert refusal.value.alternatives == (date(2026, 12, 28), date(2027, 1, 1))

    def test_is_offered_no_day_that_has_passed(self):
        at = datetime(2026, 11, 29, 4, tzinfo=UTC)

        with pytest.raises(InvalidDraft) as refusal:
            plans.check(draft=draft(anchor_date=date(2026, 11, 30)), capabilities=FUSSY, at=at)

        assert refusal.value.alternatives == (date(2026, 12, 1),)

    @pytest.mark.parametrize("day", [date(2026, 11, 28), date(2026, 12, 1)])
    def test_is_not_one_of_those_offered(self, day):
        assert errors(draft(anchor_date=day), FUSSY) == {}


@pytest.mark.django_db
class TestARailThatDemandsANotice:
    @pytest.fixture(autouse=True)
    def _two_days(self):
        w.rail(mandatory_notice_days=2)

    def test_cannot_charge_before_it_can_be_given(self):
        assert errors(draft(anchor_date=date(2026, 11, 24))) == {
            "anchor_date": "Each charge must be announced 2 days ahead. Choose Nov 26 or later."
        }
        assert errors(draft(anchor_date=date(2026, 11, 26))) == {}

    def test_cannot_take_more_next_time_than_it_has_announced(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        late = datetime(2026, 11, 30, 4, tzinfo=UTC)
        more = replace(plans.draft_of(saved(rule)), face_minor=10_000, max_per_charge_minor=10_000)
        less = replace(more, face_minor=3000)

        assert errors(more, at=late) == {
            "face_minor": "A larger amount must be announced 2 days ahead, and the next charge is"
            " nearer. Skip that one, or change the amount after it."
        }
        assert errors(more, at=NOON) == {}
        assert errors(less, at=late) == {}


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

        with translation.override("zh-hans"), pytest.raises(plans.InvalidDraft) as refused:
            plans.check(draft=near, capabilities=ANNOUNCING, at=NOON)

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


def offer(**more) -> Promotion:
    given: dict[str, Any] = {
        "code": "seventy-five",
        "name": "优惠",
        "name_en": "Offer",
        "kind": "discount",
        "fixed_minor": 75,
        "starts_at": NOON - DAY,
        "ends_at": NOON + 400 * DAY,
    }
    return Promotion.objects.create(**(given | more))


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

        assert shown.at_once == plans.AtOnce("low_balance", 5000, 4925, NOON)
        assert shown.charges[0].price_minor == 5000


@pytest.mark.django_db
class TestTheMostAMonthCanCost:
    def test_is_one_charge_for_a_schedule_alone(self):
        assert preview(draft()).month_max_minor == 5000
        assert preview(draft(cycle="yearly")).month_max_minor == 5000

    def test_is_the_lines_cap_where_a_low_balance_may_recur(self):
        assert preview(low()).month_max_minor == 15_000

    def test_is_what_the_days_allow_where_the_cap_is_high(self):
        of = low(max_per_month_minor=10_000_000, max_per_charge_minor=10_000, max_per_day_count=2)

        assert preview(of).month_max_minor == 31 * 2 * 10_000
        assert preview(of, replace(ALIPAY, max_charges_per_day=1)).month_max_minor == 310_000
        assert preview(of, replace(ALIPAY, max_amount_minor=6000)).month_max_minor == 372_000

    def test_is_the_cap_of_the_payment_method_or_of_the_owner_where_that_is_lower(self):
        assert preview(low(binding=w.binding(max_per_month_minor=9000))).month_max_minor == 9000
        SpendingCap.objects.create(owner=w.person(), max_per_month_minor=8000)
        assert preview(low()).month_max_minor == 8000
        SpendingCap.objects.update(currency="HKD")
        assert preview(low()).month_max_minor == 15_000


@pytest.mark.django_db
class TestWhatHappensAtOnce:
    def at_once(self, capabilities=ALIPAY, **more):
        line = {key: more.pop(key) for key in list(more) if key in LINE_FACTS}
        return preview(low(line=w.line(**line), **more), capabilities).at_once

    def test_is_a_charge_where_the_balance_is_below(self):
        assert self.at_once(balance_minor=999) == plans.AtOnce("low_balance", 5000, 5000, NOON)
        assert preview(low(line=w.line(balance_minor=999))).fires_at_once is True

    @pytest.mark.parametrize("balance_minor", [1000, 5000, None])
    def test_is_nothing_where_it_is_not_or_is_not_known(self, balance_minor):
        observed_at = NOON if balance_minor is not None else None

        assert self.at_once(balance_minor=balance_minor, balance_observed_at=observed_at) is None

    def test_is_a_day_to_come_on_a_rail_that_must_be_told_first(self):
        late = replace(ANNOUNCING, notice=timedelta(hours=30))

        found = self.at_once(late, balance_minor=999)

        # Midday and 30 hours are 18:00 the day after: inside the rail's hours.
        assert found == plans.AtOnce("low_balance", 5000, 5000, NOON + 30 * HOUR, True)
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

        said = plans.sentences(
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

        assert found == plans.AtOnce("low_balance", 10_000, 10_000, NOON)

    def test_is_a_charge_where_the_validity_is_about_to_end(self):
        near = {"valid_until": NOON + 3 * DAY, "threshold_minor": None, "expiry_days_before": 3}

        assert self.at_once(**near) == plans.AtOnce("expiry", 5000, 5000, NOON)
        assert self.at_once(**(near | {"valid_until": NOON + 3 * DAY + MINUTE})) is None

    def test_is_nothing_while_a_recharge_is_under_way(self):
        line = w.line(balance_minor=1)
        assert preview(low(line=line)).fires_at_once is True
        _recharge(line, state="due")

        assert preview(low(line=line)).fires_at_once is False

    def test_counts_what_has_landed_since_the_last_reading(self):
        line = w.line(balance_minor=1, balance_observed_at=NOON - HOUR)
        done = _recharge(line, state="due")
        _move_to_completed(done, at=NOON - 2 * HOUR)
        of = low(line=line, max_per_day_count=9)
        assert preview(of).fires_at_once is True

        Recharge.objects.update(completed_at=NOON - MINUTE)

        assert preview(of).fires_at_once is False

    def test_is_nothing_where_a_cap_is_used_up(self):
        line = w.line(balance_minor=1)
        _move_to_completed(_recharge(line, state="due", face_minor=20_000), at=NOON - 2 * HOUR)

        assert preview(low(line=line, max_per_day_count=9)).fires_at_once is False

    def test_is_nothing_while_the_last_one_cools_down(self):
        line = w.line(balance_minor=1)
        w.rule(line, is_on=False, cooldown_until=NOON + MINUTE)

        assert preview(low(line=line)).fires_at_once is False


LINE_FACTS = ("balance_minor", "balance_observed_at", "balance_reserved_minor", "valid_until")


def _recharge(line: Line, *, face_minor: int = 5000, **more) -> Recharge:
    given: dict[str, Any] = {
        "line": line,
        "owner": line.owner,
        "binding": w.binding(line.owner),
        "rail": "alipay",
        "sim_generation": 1,
        "trigger": "manual",
        "period_key": "hand:1",
        "face_minor": face_minor,
        "price_minor": face_minor,
        "currency": "CNY",
        "ladder_s": [],
        "cap_day": TODAY,
        "cap_month": TODAY.replace(day=1),
        "created_at": NOON,
        "due_at": NOON,
        "expires_at": NOON + DAY,
    }
    return Recharge.objects.create(**(given | more))


def _move_to_completed(one: Recharge, *, at: datetime) -> None:
    for to in ("charging", "delivering", "completed"):
        given = {"charged_at": at} if to == "delivering" else {}
        given |= {"completed_at": at} if to == "completed" else {}
        Recharge.objects.filter(pk=one.pk).update(state=to, **given)


@pytest.mark.django_db
class TestTheConsent:
    def text(self, of: Draft, language: str = "en", capabilities=ALIPAY) -> str:
        shown = preview(of, capabilities)
        words = plans.consent_text(draft=of, preview=shown, language=language)
        assert words.version == consents.VERSION
        return words.text

    def test_says_what_how_much_at_most_through_whom_and_how_to_stop(self):
        of = draft(line=w.line(msisdn="+8613800000021"), threshold_minor=1000)

        assert self.text(of) == (
            "I agree that Keepline recharges 妈妈的手机 138 **** 0021 with ¥50 each month on day"
            " 31 (on the last day of a shorter month) and with ¥50 whenever its balance is below"
            " ¥10, taking the money from Alipay li***@163.com, at most ¥150 in a month, until"
            " I skip, pause or stop it in Keepline, which I may do at any time and which takes"
            " effect at once."
        )
        assert self.text(of, "zh-hans") == (
            "我同意续线为 妈妈的手机 138 **** 0021 按以下方式充值：每月 31 日充值 ¥50"
            "（当月没有该日时在最后一天），以及余额低于 ¥10 时充值 ¥50，"
            "从 支付宝 li***@163.com 扣款，每月最多 ¥150；"
            "我可随时在续线中跳过、暂停或关闭，立即生效。"
        )

    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("cycle", ["none", "monthly", "quarterly", "yearly"])
    @pytest.mark.parametrize("threshold_minor", [None, 1000])
    @pytest.mark.parametrize("expiry_days_before", [None, 3])
    def test_is_one_sentence_for_every_plan(
        self, cycle, threshold_minor, expiry_days_before, language
    ):
        if cycle == "none" and threshold_minor is expiry_days_before is None:
            return
        text = self.text(
            draft(
                cycle=cycle,
                threshold_minor=threshold_minor,
                expiry_days_before=expiry_days_before,
            ),
            language,
        )

        end = "." if language == "en" else "。"
        assert len(re.findall(r"[.!?](?=\s|$)|[。！？]", text)) == 1
        assert text.endswith(end)
        assert "{" not in text
        assert "¥50" in text

    def test_speaks_of_shorter_months_only_where_there_are_any(self):
        short = "on the last day of a shorter month"

        assert short not in self.text(draft(cycle="yearly"))
        assert short in self.text(draft(cycle="yearly", anchor_date=date(2028, 2, 29)))
        assert short not in self.text(draft(anchor_date=date(2026, 12, 28)))

    def test_names_the_second_payment_method(self):
        second = w.binding(label="尾号 6688")

        text = self.text(draft(fallback_binding=second))

        assert "(and, only where that one declines, from Alipay 尾号 6688)" in text

    def test_says_how_far_a_top_up_may_go(self):
        to = low(topup_mode="to", target_minor=6000, max_per_charge_minor=10_000)
        more = low(max_per_charge_minor=10_000)

        assert "up to ¥60 whenever its balance is below ¥10, ¥100 at once" in self.text(to)
        assert "and up to ¥100 at once where that is not enough" in self.text(more)

    def test_was_not_reworded_without_a_new_version(self):
        """A consent on record names the wording that was read: change VERSION with the words."""
        phrases = [text for text in pairs() if text.startswith(("I agree", "with {face}", "up to"))]

        assert consents.VERSION == "2026-11-28"
        assert len(phrases) == 8
        assert "taking the money from {tool}, at most {most} in a month" in phrases[-1] + phrases[0]


@pytest.mark.django_db
class TestTheSentencesBesideIt:
    def said(self, of: Draft, capabilities=ALIPAY, language: str = "en") -> list[str]:
        shown = preview(of, capabilities)
        return plans.sentences(
            draft=of, preview=shown, capabilities=capabilities, language=language, at=NOON
        )

    def test_say_first_that_a_charge_follows_at_once(self):
        of = low(line=w.line(balance_minor=840))

        assert self.said(of) == [
            "The balance of ¥8.40 is already below ¥10, so ¥50 is charged as soon as you confirm.",
            "A month costs ¥150 at most, never more.",
        ]
        assert self.said(of, language="zh-hans") == [
            "余额 ¥8.40 已低于 ¥10，你确认后将立即扣款 ¥50。",
            "一个月最多扣 ¥150，不会更多。",
        ]

    def test_say_that_the_validity_calls_for_one(self):
        line = w.line(valid_until=NOON + DAY)
        of = low(line=line, threshold_minor=None, expiry_days_before=3)

        assert self.said(of)[0] == (
            "The validity ends on Nov 23, so ¥50 is charged as soon as you confirm."
        )

    def test_say_that_the_balance_is_not_known(self):
        assert self.said(low(line=w.line(balance_minor=None, balance_observed_at=None)))[0] == (
            "The balance is not known yet. The carrier is asked as soon as you confirm, and if it"
            " is low, the first recharge follows at once."
        )

    def test_say_what_the_calendar_and_the_rail_do_to_the_dates(self):
        w.rail(name_en="Alipay")
        of = draft(charge_time=time(23), binding=w.binding(expires_at=NOON + 90 * DAY))

        said = self.said(of, ANNOUNCING)

        assert said == [
            "A month without a day 31 is charged on its last day.",
            "Alipay li***@163.com takes charges from 07:00 to 22:00 (Asia/Shanghai) only, so the"
            " time is moved within the day.",
            "This payment method is told 24 hours ahead, so that the money moves on the day shown.",
            "The payment agreement ends on Feb 20, 2027 at 12:00. Later charges need it to be"
            " renewed.",
            "A month costs ¥50 at most, never more.",
        ]

    def test_say_what_todays_offers_do(self):
        offer()

        assert "With today's offers the next recharge of ¥50 costs ¥49.25." in self.said(draft())


@pytest.mark.django_db
class TestSaveDraft:
    def test_keeps_what_was_entered_and_turns_nothing_on(self):
        of = draft(threshold_minor=1000, remind_days_before=(2, 5, 2))

        rule = plans.save_draft(draft=of, capabilities=ALIPAY, at=NOON)

        assert (rule.is_on, rule.consent, rule.wake_at, rule.notify_at) == (False, None, None, None)
        assert (rule.version, rule.created_at) == (1, NOON)
        assert plans.draft_of(saved(rule)) == replace(of, remind_days_before=(5, 2))
        assert Notice.objects.count() == Consent.objects.count() == 0

    def test_is_kept_over_the_last_one_and_counted(self):
        of = draft()
        plans.save_draft(draft=of, capabilities=ALIPAY, at=NOON)

        rule = plans.save_draft(
            draft=replace(of, face_minor=3000), capabilities=ALIPAY, at=NOON + DAY
        )

        assert (rule.face_minor, rule.version, rule.created_at) == (3000, 2, NOON)
        assert Rule.objects.count() == 1

    def test_writes_nothing_of_a_draft_that_cannot_run(self):
        with pytest.raises(InvalidDraft):
            plans.save_draft(draft=draft(face_minor=1), capabilities=ALIPAY, at=NOON)

        assert Rule.objects.count() == 0

    def test_never_touches_a_plan_that_runs(self):
        rule = confirm(draft())
        before = state(rule)

        with pytest.raises(plans.RuleIsOn):
            plans.save_draft(
                draft=replace(plans.draft_of(saved(rule)), face_minor=3000),
                capabilities=ALIPAY,
                at=NOON,
            )

        assert state(rule) == before


@pytest.mark.django_db
class TestConfirm:
    def test_turns_the_plan_on_and_keeps_what_was_agreed_to(self):
        of = draft(threshold_minor=1000, line=w.line(msisdn="+8613800000021"))

        rule = confirm(of)

        assert (rule.is_on, rule.is_armed, rule.version) == (True, True, 2)
        assert (rule.next_index, rule.next_run_at) == (0, datetime(2026, 12, 31, 1, tzinfo=UTC))
        assert rule.wake_at == NOON
        assert rule.notify_at == datetime(2026, 12, 26, 1, tzinfo=UTC)
        consent = Consent.objects.get()
        assert rule.consent == consent
        assert (consent.owner, consent.line, consent.binding) == (
            of.line.owner,
            of.line,
            of.binding,
        )
        assert (consent.language, consent.ip, consent.user_agent) == ("en", "192.0.2.7", "Firefox")
        assert (consent.at, consent.text_version) == (NOON, consents.VERSION)
        assert consent.text.startswith("I agree that Keepline recharges 妈妈的手机 138 **** 0021")

    def test_keeps_the_plan_as_it_was_shown(self):
        rule = confirm(draft())

        plan = agreed(rule).plan
        assert plan["charges"][2] == {
            "date": "2027-02-28",
            "due_at": "2027-02-28T01:00:00+00:00",
            "price_minor": 5000,
        }
        assert len(plan["charges"]) == 12
        assert (plan["face_minor"], plan["currency"], plan["month_max_minor"]) == (
            5000,
            "CNY",
            5000,
        )
        assert (plan["binding"], plan["rail"]) == (agreed(rule).binding.ref, "alipay")
        assert (plan["rule_version"], plan["fires_at_once"]) == (2, False)
        assert "138" not in json.dumps(plan)

    def test_tells_that_it_is_on(self):
        confirm(draft())

        notice = Notice.objects.get()
        assert (notice.kind, notice.facts["cap_minor"], notice.facts["rail"]) == (
            "rule_on",
            5000,
            "alipay",
        )

    def test_happens_once_however_often_it_is_pressed(self):
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        confirm(rule=rule)
        before = state(rule)

        with pytest.raises(StalePlan):
            confirm(rule=rule, at=NOON + MINUTE)

        assert state(rule) == before
        assert Consent.objects.count() == Notice.objects.count() == 1

    def test_refuses_a_page_that_showed_another_plan(self):
        of = draft()
        read = plans.save_draft(draft=of, capabilities=ALIPAY, at=NOON)
        plans.save_draft(draft=replace(of, face_minor=3000), capabilities=ALIPAY, at=NOON)

        with pytest.raises(StalePlan):
            confirm(rule=read)

        assert not saved(read).is_on
        assert Consent.objects.count() == 0

    def test_is_the_owners_alone(self):
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        with pytest.raises(Rule.DoesNotExist):
            confirm(rule=rule, owner=w.person("bob"))

        assert not saved(rule).is_on

    def test_looks_again_at_whether_it_can_run(self):
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        Binding.objects.update(state="revoked")

        with pytest.raises(InvalidDraft):
            confirm(rule=saved(rule))

        assert not saved(rule).is_on
        assert Consent.objects.count() == Notice.objects.count() == 0

    def test_refuses_a_first_day_that_has_passed_since_the_draft_was_kept(self):
        rule = plans.save_draft(
            draft=draft(anchor_date=date(2026, 11, 23)), capabilities=ALIPAY, at=NOON
        )

        with pytest.raises(InvalidDraft) as refusal:
            confirm(rule=rule, at=NOON + 2 * DAY)

        assert list(refusal.value.errors) == ["anchor_date"]

    def test_cannot_be_handed_the_draft_of_another_line(self):
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        with pytest.raises(ValueError, match="another line"):
            confirm(draft(), rule=rule)

        assert not saved(rule).is_on

    def test_is_agreed_to_for_the_sim_the_line_has_now(self):
        line = w.line()
        rule = w.rule(line, sim_generation=1, paused_at=NOON, pause_reason="sim_changed")
        Line.objects.update(sim_generation=2)

        again = confirm(rule=saved(rule))

        assert (again.sim_generation, again.paused_at, again.pause_reason) == (2, None, "")

    def test_does_not_lift_a_pause_that_waits_for_a_person(self):
        rule = w.rule(paused_at=NOON, pause_reason="crashed")

        with pytest.raises(InvalidDraft) as refusal:
            confirm(rule=saved(rule))

        assert list(refusal.value.errors) == ["line"]
        assert saved(rule).pause_reason == "crashed"

    def test_cuts_an_endless_user_agent(self):
        rule = confirm(draft(), user_agent="x" * 5000, ip=None)

        assert (len(agreed(rule).user_agent), agreed(rule).ip) == (200, None)

    def test_has_the_executor_look_at_once(self):
        rule = confirm(low(line=w.line(balance_minor=1)))

        assert rule.wake_at == NOON
        assert rule.next_run_at is None


@pytest.mark.django_db
class TestAnEdit:
    def edited(self, rule: Rule, *, at=NOON, **more) -> Rule:
        standing = saved(rule)
        return confirm(replace(plans.draft_of(standing), **more), rule=standing, at=at)

    def test_of_the_amount_never_moves_the_calendar(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=3, next_run_at=datetime(2027, 3, 31, 1, tzinfo=UTC))
        at = datetime(2027, 3, 10, tzinfo=UTC)

        again = self.edited(rule, at=at, face_minor=3000)

        assert (again.face_minor, again.anchor_date) == (3000, date(2026, 12, 31))
        assert (again.next_index, again.next_run_at) == (3, datetime(2027, 3, 31, 1, tzinfo=UTC))
        assert again.version == 3
        assert Consent.objects.count() == 2

    def test_of_the_amount_keeps_a_charge_that_is_due_this_minute(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        due_at = datetime(2026, 12, 1, 1, tzinfo=UTC)

        again = self.edited(rule, at=due_at + MINUTE, face_minor=3000)

        assert (again.next_index, again.next_run_at) == (0, due_at)

    def test_of_the_amount_keeps_the_skip_and_the_owners_pause(self):
        rule = confirm(draft())
        plans.skip_next(rule=rule, at=NOON)
        plans.pause(rule=rule, until=NOON + DAY, at=NOON)

        again = self.edited(rule, face_minor=3000)

        assert (again.skip_index, again.paused_until) == (0, NOON + DAY)

    def test_of_the_anchor_begins_the_calendar_anew(self):
        rule = confirm(draft())
        plans.skip_next(rule=rule, at=NOON)

        again = self.edited(rule, anchor_date=date(2026, 12, 5))

        assert (again.next_index, again.next_run_at) == (0, datetime(2026, 12, 5, 1, tzinfo=UTC))
        assert again.skip_index is None

    def test_of_the_anchor_shows_the_new_calendar_first(self):
        rule = confirm(draft())
        moved = replace(plans.draft_of(saved(rule)), anchor_date=date(2026, 12, 5))

        dates = [one.local_date.isoformat() for one in preview(moved).charges[:2]]

        assert dates == ["2026-12-05", "2027-01-05"]
        assert saved(rule).anchor_date == date(2026, 12, 31)

    def test_of_the_hour_cannot_charge_a_day_twice(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        ran = datetime(2026, 12, 1, 1, 5, tzinfo=UTC)
        Rule.objects.update(next_index=1, next_run_at=datetime(2027, 1, 1, 1, tzinfo=UTC))

        again = self.edited(rule, at=ran, charge_time=time(18))

        assert (again.next_index, again.next_run_at) == (1, datetime(2027, 1, 1, 10, tzinfo=UTC))

    def test_of_the_hour_cannot_put_the_next_charge_into_the_past(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1), charge_time=time(18)))

        with pytest.raises(InvalidDraft) as refusal:
            self.edited(rule, at=datetime(2026, 12, 1, 4, tzinfo=UTC), charge_time=time(9))

        assert list(refusal.value.errors) == ["charge_time"]
        assert saved(rule).charge_time == time(18)

    def test_arms_a_latch_that_had_fired_and_begins_a_new_episode(self):
        rule = confirm(low())
        Rule.objects.update(is_armed=False, episode=4)

        again = self.edited(rule, face_minor=3000)

        assert (again.is_armed, again.episode) == (True, 5)

    def test_leaves_the_episode_of_an_armed_latch(self):
        rule = confirm(low())

        assert self.edited(rule, face_minor=3000).episode == 1

    def test_that_is_refused_leaves_the_old_plan_running(self):
        rule = confirm(draft())
        before = state(rule)

        with pytest.raises(InvalidDraft):
            self.edited(rule, face_minor=1)

        assert state(rule) == before


@pytest.mark.django_db
class TestPausing:
    def test_keeps_the_plan_on_and_wakes_it_for_its_next_charge(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))

        paused = plans.pause(rule=rule, until=NOON + 60 * DAY, at=NOON)

        assert (paused.is_on, paused.paused_until) == (True, NOON + 60 * DAY)
        assert paused.wake_at == datetime(2026, 12, 1, 1, tzinfo=UTC)
        # The first charge after the pause is on 1 February.
        assert paused.notify_at == datetime(2027, 1, 27, 1, tzinfo=UTC)

    def test_wakes_a_plan_without_a_schedule_when_it_ends(self):
        paused = plans.pause(rule=confirm(low()), until=NOON + DAY, at=NOON)

        assert paused.wake_at == NOON + DAY

    @pytest.mark.parametrize("until", [NOON, NOON - DAY, NOON + timedelta(days=367)])
    def test_needs_a_day_ahead_and_within_a_year(self, until):
        rule = confirm(draft())

        with translation.override("en"), pytest.raises(plans.InvalidPause) as refusal:
            plans.pause(rule=rule, until=until, at=NOON)

        assert refusal.value.sentence == "Choose a day after today, and within a year."
        assert saved(rule).paused_until is None

    def test_ends_when_its_owner_resumes(self):
        rule = confirm(low(line=w.line(balance_minor=1)))
        plans.pause(rule=rule, until=NOON + 9 * DAY, at=NOON)
        Rule.objects.update(is_armed=False)

        resumed = plans.resume(rule=rule, at=NOON + DAY)

        assert (resumed.paused_until, resumed.wake_at) == (None, NOON + DAY)
        assert (resumed.is_armed, resumed.episode) == (True, 2)

    def test_makes_up_for_nothing_that_fell_into_it(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        plans.pause(rule=rule, until=NOON + 60 * DAY, at=NOON)

        resumed = plans.resume(rule=rule, at=datetime(2026, 12, 1, 2, tzinfo=UTC))

        assert (resumed.next_index, resumed.next_run_at) == (
            1,
            datetime(2027, 1, 1, 1, tzinfo=UTC),
        )

    def test_of_the_system_is_not_the_owners_to_end(self):
        rule = confirm(draft())
        plans.pause(rule=rule, until=NOON + DAY, at=NOON)
        Rule.objects.update(paused_at=NOON, pause_reason="breaker")

        resumed = plans.resume(rule=rule, at=NOON)

        assert (resumed.paused_at, resumed.pause_reason) == (NOON, "breaker")

    def test_that_never_was_is_resumed_without_effect(self):
        rule = confirm(draft())
        before = state(rule)

        plans.resume(rule=rule, at=NOON + DAY)

        assert state(rule) == before

    def test_needs_a_plan_that_is_on(self):
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        for act in (plans.resume, plans.skip_next, plans.unskip):
            with pytest.raises(plans.RuleIsOff):
                act(rule=rule, at=NOON)
        with pytest.raises(plans.RuleIsOff):
            plans.pause(rule=rule, until=NOON + DAY, at=NOON)
        assert not saved(rule).is_on


@pytest.mark.django_db
class TestSkipping:
    def test_leaves_out_the_next_charge_only(self):
        rule = confirm(draft())

        skipped = plans.skip_next(rule=rule, at=NOON, seen_index=0)

        found = plans.upcoming(rule=skipped, capabilities=ALIPAY, at=NOON, count=3)
        assert [one.withheld for one in found] == ["skipped", "", ""]
        assert skipped.notify_at == datetime(2027, 1, 26, 1, tzinfo=UTC)

    def test_never_hits_the_charge_after_the_one_that_was_seen(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=1)

        with pytest.raises(StalePlan):
            plans.skip_next(rule=rule, at=NOON, seen_index=0)

        assert saved(rule).skip_index is None

    def test_can_be_taken_back(self):
        rule = confirm(draft())
        notify_at = rule.notify_at
        plans.skip_next(rule=rule, at=NOON)

        back = plans.unskip(rule=rule, at=NOON)

        assert (back.skip_index, back.notify_at) == (None, notify_at)

    def test_needs_a_schedule(self):
        with pytest.raises(plans.NothingToSkip):
            plans.skip_next(rule=confirm(low()), at=NOON)


@pytest.mark.django_db
class TestStopping:
    def test_is_at_once_and_told(self):
        rule = confirm(draft())
        plans.pause(rule=rule, until=NOON + DAY, at=NOON)
        plans.skip_next(rule=rule, at=NOON)

        stopped = plans.stop(rule=rule, because="owner", at=NOON)

        assert (stopped.is_on, stopped.wake_at, stopped.notify_at) == (False, None, None)
        assert (stopped.paused_until, stopped.skip_index) == (None, None)
        assert list(Notice.objects.order_by("pk").values_list("kind", flat=True)) == [
            "rule_on",
            "rule_off",
        ]

    def test_twice_is_told_once(self):
        rule = confirm(draft())
        plans.stop(rule=rule, because="owner", at=NOON)

        plans.stop(rule=rule, because="owner", at=NOON + DAY)

        assert Notice.objects.filter(kind="rule_off").count() == 1

    def test_is_undone_by_nothing_but_a_new_consent(self):
        rule = confirm(draft())
        stopped = plans.stop(rule=rule, because="owner", at=NOON)

        for act in (plans.resume, plans.unskip):
            with pytest.raises(plans.RuleIsOff):
                act(rule=rule, at=NOON)
        plans.save_draft(draft=plans.draft_of(saved(rule)), capabilities=ALIPAY, at=NOON)
        assert not saved(rule).is_on

        again = confirm(rule=saved(stopped))
        assert again.is_on
        assert Consent.objects.count() == 2

    def test_gives_an_occurrence_that_had_its_turn_no_second_one(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        Rule.objects.update(next_index=1, next_run_at=datetime(2027, 1, 1, 1, tzinfo=UTC))
        at = datetime(2026, 12, 1, 2, tzinfo=UTC)
        plans.stop(rule=rule, because="owner", at=at)

        standing = saved(rule)
        later = replace(plans.draft_of(standing), charge_time=time(18))
        again = confirm(later, rule=standing, at=at)

        assert again.next_index == 1


@pytest.mark.django_db
class TestUpcoming:
    def test_goes_on_from_where_the_rule_stands(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=2)

        found = plans.upcoming(rule=saved(rule), capabilities=ALIPAY, at=NOON, count=2)

        assert [one.local_date.isoformat() for one in found] == ["2027-02-28", "2027-03-31"]

    def test_marks_what_a_pause_holds_back(self):
        rule = confirm(draft())
        paused = plans.pause(rule=rule, until=datetime(2027, 1, 5, tzinfo=UTC), at=NOON)

        found = plans.upcoming(rule=paused, capabilities=ALIPAY, at=NOON, count=3)

        assert [one.withheld for one in found] == ["paused", "", ""]

    def test_never_shows_a_charge_as_coming_while_the_system_pauses_the_rule(self):
        rule = confirm(draft())
        Rule.objects.update(paused_at=NOON, pause_reason="breaker")

        found = plans.upcoming(rule=saved(rule), capabilities=ALIPAY, at=NOON, count=2)

        assert [one.withheld for one in found] == ["paused", "paused"]

    def test_is_empty_for_a_rule_that_is_off_or_has_no_schedule(self):
        off = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        assert plans.upcoming(rule=off, capabilities=ALIPAY, at=NOON, count=9) == []
        assert plans.upcoming(rule=confirm(low()), capabilities=ALIPAY, at=NOON, count=9) == []


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_confirm_once(self):
        """Both have read the same page; the row decides, and the other is told it is stale."""
        rule = plans.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        outcomes: list[str] = []

        def press() -> None:
            try:
                confirm(rule=rule)
                outcomes.append("on")
            except StalePlan:
                outcomes.append("stale")
            finally:
                connection.close()

        threads = [threading.Thread(target=press) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)

        assert sorted(outcomes) == ["on"] + ["stale"] * 5
        assert Consent.objects.count() == Notice.objects.filter(kind="rule_on").count() == 1

    def test_stop_waits_for_whoever_holds_the_rule(self):
        rule = confirm(draft())
        order: list[str] = []

        def stop() -> None:
            plans.stop(rule=rule, because="owner", at=NOON)
            order.append("stopped")
            connection.close()

        with transaction.atomic():
            Rule.objects.select_for_update().get(pk=rule.pk)
            thread = threading.Thread(target=stop)
            thread.start()
            thread.join(timeout=0.3)
            order.append("released")
        thread.join(timeout=60)

        assert order == ["released", "stopped"]
        assert not saved(rule).is_on

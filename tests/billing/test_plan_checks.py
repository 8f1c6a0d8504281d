"""What an owner types is checked where it is typed."""

from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest
from django.utils import translation

from billing import gateways
from billing.gateways.base import Capabilities
from billing.models import Binding
from billing.plans import contract
from billing.plans.contract import InvalidDraft
from lines.models import LineStatus
from tests import world as w
from tests.billing.plans_world import ALIPAY, FUSSY, TODAY, confirm, draft, errors, low, saved
from tests.billing.readers import teach_chinese
from tests.fakes import FakeGateway
from tests.world import DAY, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


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
            contract.check(draft=draft(max_per_month_minor=1), capabilities=ALIPAY, at=NOON)

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
        kept = contract.save_draft(draft=without, capabilities=None, at=NOON)
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
            contract.check(draft=draft(), capabilities=FUSSY, at=NOON)

        assert refusal.value.errors == {
            "anchor_date": "Days after the 28th are not possible with Alipay."
            " Choose Dec 28 or Jan 1, 2027."
        }
        assert refusal.value.alternatives == (date(2026, 12, 28), date(2027, 1, 1))

    def test_is_offered_no_day_that_has_passed(self):
        at = datetime(2026, 11, 29, 4, tzinfo=UTC)

        with pytest.raises(InvalidDraft) as refusal:
            contract.check(draft=draft(anchor_date=date(2026, 11, 30)), capabilities=FUSSY, at=at)

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
        more = replace(
            contract.draft_of(saved(rule)), face_minor=10_000, max_per_charge_minor=10_000
        )
        less = replace(more, face_minor=3000)

        assert errors(more, at=late) == {
            "face_minor": "A larger amount must be announced 2 days ahead, and the next charge is"
            " nearer. Skip that one, or change the amount after it."
        }
        assert errors(more, at=NOON) == {}
        assert errors(less, at=late) == {}


@pytest.mark.django_db
class TestASecondMethod:
    """Checked for all that the first is: it may be charged any of the same amounts."""

    @pytest.fixture
    def second(self):
        """On another rail than the first, and of the same owner; what that rail allows is set."""
        owner = w.person()
        card = w.binding(owner, rail=w.rail("stripe", name="Card", name_en="Card"))

        def found(capabilities, *, binding=card, **more):
            gateway = FakeGateway(capabilities=replace(capabilities, rail="stripe"))
            of = draft(line=w.line(owner), fallback_binding=binding, **more)
            with gateways.override("stripe", gateway):
                return errors(of, at=NOON)

        found.card = card
        return found

    def test_that_can_pay_it_all_is_taken(self, second):
        assert second(ALIPAY) == {}

    def test_is_refused_what_its_rail_cannot_do(self, second):
        pays, smaller = "This payment method pays at", "Choose a smaller amount."
        line = w.line(second.card.owner)
        cases = [
            ({"currencies": frozenset({"HKD"})}, "This payment method cannot pay in CNY."
             " Choose another."),
            ({"max_amount_minor": 4999}, f"{pays} most ¥49.99 at once. {smaller}"),
            ({"min_amount_minor": 5001}, f"{pays} least ¥50.01 at once. Choose a larger amount."),
            ({"last_day_of_month": 28}, "Days after the 28th are not possible with your bank"
             " card. Choose Dec 28 or Jan 1, 2027."),
        ]  # fmt: skip
        found = []
        for limits, _ in cases:
            gateway = FakeGateway(capabilities=replace(ALIPAY, rail="stripe", **limits))
            with gateways.override("stripe", gateway):
                found.append(errors(draft(line=line, fallback_binding=second.card)))
        assert found == [{"fallback_binding": sentence} for _, sentence in cases]

    def test_has_its_own_cap_of_a_month(self, second):
        Binding.objects.filter(pk=second.card.pk).update(max_per_month_minor=4999)
        second.card.refresh_from_db()
        assert second(ALIPAY) == {
            "fallback_binding": "This payment method has a limit of ¥49.99 a month."
            " Choose a smaller amount."
        }

    def test_that_must_be_announced_has_its_days_too(self, second):
        w.rail("stripe", mandatory_notice_days=9)
        second.card.refresh_from_db()
        found = second(ALIPAY, anchor_date=date(2026, 11, 28))
        assert list(found) == ["anchor_date"]

    def test_that_cannot_pay_in_the_lines_currency(self):
        owner = w.person()
        card = w.binding(owner, rail=w.rail("stripe", name="Card", name_en="Card"))
        csl = w.carrier("csl", name="csl", name_en="csl", currency="HKD",
                        denominations_minor=[5000, 10_000])  # fmt: skip
        hong_kong = w.line(owner, carrier=csl, currency="HKD", msisdn="+85251234567",
                           balance_minor=9980)  # fmt: skip
        of = low(line=hong_kong, binding=card, fallback_binding=w.binding(owner))
        rail = Capabilities(rail="stripe", currencies=frozenset({"HKD"}))
        assert "fallback_binding" in errors(of, capabilities=rail)

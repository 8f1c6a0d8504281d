"""The words an owner agrees to say what will happen."""

import re
from datetime import date, time

import pytest

from billing import gateways
from billing.plans import consents, contract
from billing.plans.contract import Draft
from tests import world as w
from tests.billing.plans_world import ALIPAY, ANNOUNCING, draft, low, offer, preview
from tests.billing.readers import LANGUAGES, pairs, teach_chinese
from tests.fakes import FakeGateway
from tests.world import DAY, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.mark.django_db
class TestTheConsent:
    def text(self, of: Draft, language: str = "en", capabilities=ALIPAY) -> str:
        shown = preview(of, capabilities)
        words = contract.consent_text(draft=of, preview=shown, language=language)
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
            "我同意续线为妈妈的手机 138 **** 0021 按以下方式充值：每月 31 日充值 ¥50"
            "（当月没有该日时在最后一天），以及余额低于 ¥10 时充值 ¥50，"
            "从支付宝 li***@163.com 扣款，每月最多 ¥150；"
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

        with gateways.override("alipay", FakeGateway(capabilities=ALIPAY)):
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
        return contract.sentences(
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
            "This plan takes ¥100 in a month at most; with what you recharge by hand, a month costs"
            " ¥150 at most, never more.",
        ]

    def test_say_what_todays_offers_do(self):
        offer()

        assert "With today's offers the next recharge of ¥50 costs ¥49.25." in self.said(draft())

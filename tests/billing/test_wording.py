"""Reasons in plain words, in both languages: whole sentences, with the figures or without them."""

import ast
import re
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest
from django.utils import translation

import billing
from billing.words import figures, reasons
from billing.words.decisions import DECISIONS
from billing.words.notices import PHRASINGS
from billing.words.outcomes import OUTCOMES
from tests.billing.readers import LANGUAGES, pairs, teach_chinese
from tests.every import failing

DECISION_CODES = """
charge merged cooling_down open_recharge cap_charge cap_day cap_month cap_binding_month
cap_owner_month skipped_by_owner paused_by_owner paused_by_system missed notice_not_sent
reading_stale no_reading max_balance falls_short binding_missing binding_not_active binding_paused
rail_disabled line_not_active sim_changed zone_unknown above_threshold
"""
RECHARGE_REASONS = """
opened announced rail_deferred carrier_deferred outside_hours paid sent pending no_answer
confirmed_not_taken soft_decline hard_decline needs_confirmation not_confirmed config
retries_exhausted fallback
window_over amount_differs credited accepted carrier_no_answer carrier_rejected carrier_retry
reversed_by_carrier refund_requested refunded refund_refused canceled_by_owner canceled_by_operator
method_changed amount_changed trigger_gone no_longer_low validity_renewed
rule_stopped binding_ended line_gone line_lost line_suspended crashed confirmed_not_credited
request_expired rail_spoke settled_taken settled_not_taken settled_given_back
"""
ATTENTION_CODES = """
payment_unknown delivery_unknown crashed amount_differs config refund_unknown refund_refused
undeliverable late_payment credit_differs action_expired payment_overdue
merchant_limit
"""
LISTED = set(f"{DECISION_CODES} {RECHARGE_REASONS} {ATTENTION_CODES}".split())
NINE = {"rail": "bank9", "rail_name": "九行", "rail_name_en": "Bank Nine"}
CODES = sorted({*LISTED, *DECISIONS, *OUTCOMES})

AT = datetime(2026, 11, 22, 1, 12, tzinfo=UTC)
EVERYTHING = {
    "balance_minor": 980,
    "effective_minor": 980,
    "threshold_minor": 1000,
    "target_minor": 5000,
    "face_minor": 5000,
    "price_minor": 4925,
    "amount_minor": 4925,
    "credited_minor": 3000,
    "cap_minor": 15000,
    "spent_minor": 12000,
    "currency": "CNY",
    "until": "2026-11-22T02:12:00+00:00",
    "at": "2026-12-01T01:00:00+00:00",
    "observed_at": "2026-11-22T01:08:00+00:00",
    "cap_count": 1,
    "spent_count": 1,
    "days": 5,
    "rail": "alipay",
    "carrier_name": "中国移动",
    "carrier_name_en": "China Mobile",
    "other_trigger": "schedule",
    "period_key": "e1",
    "decline_code": "BUYER_BALANCE_NOT_ENOUGH",
}
NONSENSE = {
    "balance_minor": "a lot",
    "threshold_minor": None,
    "face_minor": True,
    "currency": "RMB",
    "until": "soon",
    "at": 17,
    "observed_at": "2026-11-22T01:08:00",
    "local_date": "30 February",
    "days": "many",
    "cap_count": None,
    "other_trigger": "moon",
}
FACTS = {"all": EVERYTHING, "none": {}, "nonsense": NONSENSE}
TABLES = {"decisions": DECISIONS, "outcomes": OUTCOMES, "notices": PHRASINGS}


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


def reason(code, facts, language="en", **more):
    return reasons.reason(code=code, facts=facts, language=language, **more)


def assert_is_whole(title: str, sentence: str, language: str) -> None:
    assert title
    assert not re.search(r"[{}%_!！]", title + sentence)
    assert "None" not in sentence
    assert sentence.endswith("." if language == "en" else "。")
    is_chinese = re.search(r"[\u4e00-\u9fff]", title) and re.search(r"[\u4e00-\u9fff]", sentence)
    assert bool(is_chinese) == (language == "zh-hans")


class TestEveryCode:
    def test_is_a_title_and_a_whole_sentence(self):
        def check(code, which, language):
            said = reason(code, FACTS[which], language, at=AT)

            assert_is_whole(said.title, said.sentence, language)
            assert said != reason("no such code", FACTS[which], language)

        assert failing(check, product(CODES, FACTS, LANGUAGES)) == {}

    def test_says_in_chinese_what_is_in_the_pairs_and_nothing_in_english(self):
        def check(code):
            said = reason(code, EVERYTHING, "zh-hans", at=AT)

            assert not re.search(r"[A-Za-z]{2,}", (said.title + said.sentence).replace("SIM", ""))

        assert failing(check, ((code,) for code in CODES)) == {}

    def test_that_is_stored_has_words_of_its_own(self):
        assert {code for code in LISTED if not reasons.knows(code)} == set()
        assert not reasons.knows("")


class TestAnUnknownCode:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("code", ["", "from_a_newer_release", "{face}", "charge "])
    def test_is_told_neutrally(self, code, language):
        said = reason(code, EVERYTHING, language)

        assert_is_whole(said.title, said.sentence, language)
        assert said == reason("another", {}, language)


class TestTheFigures:
    def test_stand_in_the_reason_as_the_reader_writes_them(self):
        facts = EVERYTHING | {"cap_minor": 15000}

        assert reason("cooling_down", facts, at=AT) == reasons.Reason(
            "No recharge: cooling down",
            "The balance of ¥9.80 is below ¥10, but the last recharge has just arrived;"
            " none again before Nov 22 at 10:12.",
        )
        assert reason("cooling_down", facts, "zh-hans", at=AT) == reasons.Reason(
            "没有充值：冷却中",
            "余额 ¥9.80 低于 ¥10，但上一笔刚到账，11月22日 10:12 之前不重复充值。",
        )

    def test_leave_the_balance_out_where_it_is_not_the_cause(self):
        facts = EVERYTHING | {"balance_minor": 1860, "effective_minor": 1860}

        assert reason("cooling_down", facts, at=AT).sentence == (
            "The last recharge has just arrived; none again before Nov 22 at 10:12."
        )
        assert reason("charge", facts).sentence == (
            "A recharge of ¥50 was due, and has been started."
        )

    def test_judge_low_by_the_balance_with_what_is_on_its_way(self):
        facts = {"balance_minor": 400, "effective_minor": 5400, "threshold_minor": 1000}

        said = reason("open_recharge", facts | {"currency": "CNY"})

        assert "¥4" not in said.sentence

    def test_are_on_the_lines_own_clock(self):
        facts = {"until": "2026-12-31T23:30:00+00:00"}

        new_york = reason("cooling_down", facts, timezone="America/New_York", at=AT).sentence
        shanghai = reason("cooling_down", facts, timezone="Asia/Shanghai", at=AT).sentence

        assert "before Dec 31 at 18:30." in new_york
        assert "before Jan 1, 2027 at 07:30." in shanghai

    def test_name_the_year_where_the_day_of_the_decision_is_not_given(self):
        assert "Nov 22, 2026 at 10:12" in reason("cooling_down", EVERYTHING).sentence
        assert "2026年11月22日 10:12" in reason("cooling_down", EVERYTHING, "zh-hans").sentence

    def test_count_one_and_several(self):
        assert "1 recharge a day" in reason("cap_day", {"cap_count": 1}).sentence
        assert "3 recharges a day" in reason("cap_day", {"cap_count": 3}).sentence
        assert "最多充值 3 次" in reason("cap_day", {"cap_count": 3}, "zh-hans").sentence

    @pytest.mark.parametrize(
        ("facts", "language", "name"),
        [
            ({"rail": "alipay", "rail_name": "Ali"}, "en", "Alipay"),
            ({"rail": "wechat"}, "zh-hans", "微信支付"),
            (
                {"rail": "bank9", "rail_name": "九行", "rail_name_en": "Bank Nine"},
                "en",
                "Bank Nine",
            ),
            (
                {"rail": "bank9", "rail_name": "九行", "rail_name_en": "Bank Nine"},
                "zh-hans",
                "九行",
            ),
            ({"rail_name": "九行"}, "en", "九行"),
        ],
    )
    def test_call_a_rail_by_the_readers_name_for_it(self, facts, language, name):
        with translation.override(language):
            assert figures.written(facts)["rail"] == name

    def test_never_expand_what_a_fact_itself_holds(self):
        facts = {"label": "{face} {0} %(x)s", "face_minor": 5000, "currency": "CNY"}

        with translation.override("en"):
            written = figures.first_written(["{label}: {face}"], figures.written(facts))

        assert written == "{face} {0} %(x)s: ¥50"

    @pytest.mark.parametrize(
        ("code", "language", "sentence"),
        [
            ("BUYER_BALANCE_NOT_ENOUGH", "zh-hans", "账户余额不足"),
            ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "zh-hans", "账户余额不足"),
            ("NOTENOUGH", "en", "there is not enough money in the account"),
            ("expired_card", "zh-hans", "银行卡已过期"),
        ],
    )
    def test_say_why_a_rail_declined_in_the_readers_language(self, code, language, sentence):
        facts = {"decline_code": code}

        with translation.override(language):
            assert figures.written(facts)["decline_message"] == sentence

    def test_of_a_code_without_words_are_left_out(self):
        with translation.override("en"):
            assert "decline_message" not in figures.written({"decline_code": "BUYER_SELLER_EQUAL"})

    def test_keep_other_currencies_apart(self):
        facts = {"face_minor": 5000, "currency": "JPY"}

        assert reason("opened", facts).sentence == "A recharge of JP¥5,000 has been started."


class TestTheTables:
    def test_end_in_words_that_need_no_figure(self):
        def check(table, code):
            phrasing = TABLES[table][code]
            assert figures.fields(str(phrasing.titles[-1])) == set()
            assert figures.fields(str(phrasing.parts[0][-1])) == set()

        with translation.override("en"):
            codes = ((table, code) for table, phrasings in TABLES.items() for code in phrasings)
            assert failing(check, codes) == {}

    def test_are_all_in_the_pairs_with_the_same_figures(self):
        known = pairs()

        assert {msgid: known.get(msgid) is not None for msgid in _msgids()} == dict.fromkeys(
            _msgids(), True
        )
        assert [
            msgid for msgid, text in known.items() if figures.fields(msgid) != figures.fields(text)
        ] == []

    def test_hold_no_pair_that_nothing_says(self):
        assert sorted(set(pairs()) - _msgids()) == []


def _msgids() -> set[str]:
    """Every text that this part's modules hand to gettext."""
    root = Path(billing.__file__).parent
    wings = [root / name for name in ("notices", "plans", "words")]
    files = [root / "promotions.py", *(file for wing in wings for file in wing.glob("*.py"))]
    return {
        node.args[0].value
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("_", "gettext", "gettext_lazy", "ngettext")
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }

"""Money as integers: written, read, shared and split, to the last unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from babel.numbers import is_currency
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from billing import money

pytestmark = pytest.mark.usefixtures("in_english")


AMOUNTS = st.integers(-(10**12), 10**12)
CURRENCIES = st.sampled_from(["CNY", "JPY", "KWD", "USD", "RSD"])


def sentence_for(text: str, currency: str = "CNY") -> str:
    with translation.override("en"), pytest.raises(money.InvalidAmount) as refusal:
        money.parse_amount(text, currency)
    return str(refusal.value)


class TestMinorDigits:
    @pytest.mark.parametrize(
        ("currency", "digits"),
        [("CNY", 2), ("JPY", 0), ("KWD", 3), ("IQD", 3), ("RSD", 2), ("ISK", 0), ("UGX", 0)],
    )
    def test_are_the_standards_not_those_of_cash(self, currency, digits):
        assert money.minor_digits(currency) == digits

    @pytest.mark.parametrize("currency", ["", "cny", "RMB", "XXX", "DEM", "BGN", "CNY "])
    def test_are_refused_for_what_is_no_currency(self, currency):
        with pytest.raises(money.UnknownCurrency):
            money.minor_digits(currency)

    def test_each_code_in_the_table_is_one_that_cldr_knows(self):
        codes = [code for codes in money._CODES_BY_DIGITS.values() for code in codes.split()]

        assert len(codes) == len(set(codes)) == 154
        assert [code for code in codes if not is_currency(code)] == []


class TestFormatMinor:
    @pytest.mark.parametrize(
        ("amount_minor", "currency", "locale", "written"),
        [
            (5000, "CNY", "zh-hans", "¥50.00"),
            (5000, "CNY", "zh_Hans_CN", "¥50.00"),
            (5000, "CNY", "en", "¥50.00"),
            (123456789, "CNY", "zh-hans", "¥1,234,567.89"),
            (-120, "CNY", "zh-hans", "-¥1.20"),
            (0, "CNY", "en", "¥0.00"),
            (7, "CNY", "en", "¥0.07"),
            (5000, "JPY", "zh-hans", "JP¥5,000"),
            (5000, "JPY", "en", "JP¥5,000"),
            (1234567, "KWD", "en", "KWD\u00a01,234.567"),
            (5050, "RSD", "en", "RSD\u00a050.50"),
            (5000, "USD", "en", "$50.00"),
            (5000, "USD", "zh-hans", "US$50.00"),
            (5000, "HKD", "zh-hans", "HK$50.00"),
        ],
    )
    def test_writes_what_people_read(self, amount_minor, currency, locale, written):
        assert money.format_minor(amount_minor, currency, locale) == written

    @given(AMOUNTS)
    def test_what_it_writes_is_read_back(self, amount_minor):
        written = money.format_minor(abs(amount_minor), "CNY", "zh-hans")

        assert money.parse_amount(written, "CNY") == abs(amount_minor)


class TestParseAmount:
    @pytest.mark.parametrize(
        ("text", "currency", "amount_minor"),
        [
            ("50", "CNY", 5000),
            ("50.00", "CNY", 5000),
            ("50.5", "CNY", 5050),
            ("0.01", "CNY", 1),
            ("0", "CNY", 0),
            ("007", "CNY", 700),
            ("1,000.50", "CNY", 100050),
            ("1,234,567", "CNY", 123456700),
            (" ¥50 ", "CNY", 5000),
            ("¥ 50.00", "CNY", 5000),
            ("CN¥50", "CNY", 5000),
            ("50元", "CNY", 5000),
            ("50 CN¥", "CNY", 5000),
            ("CNY 50", "CNY", 5000),
            ("50 cny", "CNY", 5000),
            ("rmb50", "CNY", 5000),
            ("５０．００", "CNY", 5000),
            ("￥１，０００", "CNY", 100000),
            ("\u202d50.00\u202c", "CNY", 5000),
            ("500", "JPY", 500),
            ("1.234", "KWD", 1234),
            ("$5", "USD", 500),
            ("HK$5", "HKD", 500),
            ("10000000000", "CNY", 10**12),
        ],
    )
    def test_reads_what_people_type(self, text, currency, amount_minor):
        assert money.parse_amount(text, currency) == amount_minor

    @pytest.mark.parametrize("text", ["", "  ", "¥", "元", "\u200b"])
    def test_asks_for_an_amount_where_there_is_none(self, text):
        assert sentence_for(text) == "Enter an amount."

    @pytest.mark.parametrize("text", ["-5", "−5", "－５", "¥-5", "-0"])
    def test_refuses_a_negative_one(self, text):
        assert sentence_for(text) == "The amount cannot be negative."

    @pytest.mark.parametrize(
        ("text", "currency", "sentence"),
        [
            ("50.001", "CNY", "Write at most 2 decimals."),
            ("50.000", "CNY", "Write at most 2 decimals."),
            ("1.2345", "KWD", "Write at most 3 decimals."),
            ("50.0", "JPY", "Amounts in this currency are whole numbers, without decimals."),
        ],
    )
    def test_refuses_more_decimals_than_the_currency_has(self, text, currency, sentence):
        assert sentence_for(text, currency) == sentence

    @pytest.mark.parametrize(
        "text",
        [
            *("1e3", "5E1", "NaN", "nan", "Infinity", "inf", "0x10", "五十", "fifty", "+5"),
            *("50.", ".5", ".", "1.000,50", "1,00", "1,0000", ",100", "1,,000", "10 00", "5 0"),
            *("5²", "٥٠", "५०", "5_0", "50;", "50\x00", "50%", "50-", "1/2", "¥¥50", "¥50元"),
            *("$50", "US$50", "50 USD", "JP¥50", "HK$50", "€50", "9" * 5000, "1" * 21),
        ],
    )
    def test_refuses_what_could_mean_two_things_or_nothing(self, text):
        assert sentence_for(text) == "Write the amount in figures, such as 50 or 1,000.50."

    @pytest.mark.parametrize("text", ["10000000000.01", "99999999999999999999"])
    def test_refuses_more_than_can_be_meant(self, text):
        assert sentence_for(text) == "The amount is too large."

    @given(st.text(max_size=12), CURRENCIES)
    def test_answers_any_text_with_an_amount_or_a_sentence(self, text, currency):
        try:
            amount_minor = money.parse_amount(text, currency)
        except money.InvalidAmount:
            return
        assert 0 <= amount_minor <= money.MAX_AMOUNT_MINOR


class TestWireText:
    @pytest.mark.parametrize(
        ("amount_minor", "currency", "text"),
        [
            (5000, "CNY", "50.00"),
            (5, "CNY", "0.05"),
            (0, "CNY", "0.00"),
            (-5, "CNY", "-0.05"),
            (-12345, "CNY", "-123.45"),
            (50, "JPY", "50"),
            (-50, "JPY", "-50"),
            (0, "JPY", "0"),
            (1, "KWD", "0.001"),
            (10**12, "CNY", "10000000000.00"),
        ],
    )
    def test_is_written_and_read(self, amount_minor, currency, text):
        assert money.to_decimal_text(amount_minor, currency) == text
        assert money.from_decimal_text(text, currency) == amount_minor

    @pytest.mark.parametrize(
        ("text", "amount_minor"), [("50", 5000), ("50.5", 5050), ("-0", 0), ("-0.00", 0)]
    )
    def test_may_leave_decimals_out(self, text, amount_minor):
        assert money.from_decimal_text(text, "CNY") == amount_minor

    @pytest.mark.parametrize(
        ("text", "currency"),
        [
            *(((text), "CNY") for text in ("", " 50.00", "50.00 ", "50.00\n", "+50.00", "050.00")),
            *(
                ((text), "CNY")
                for text in ("50.", ".50", "50.000", "1,000.00", "5e1", "NaN", "--5")
            ),
            *(
                ((text), "CNY")
                for text in ("¥50.00", "５０", "٥٠", "50.00.00", "9" * 16, "1" * 5000)
            ),
            ("50.0", "JPY"),
            ("1.2345", "KWD"),
        ],
    )
    def test_is_never_guessed_at(self, text, currency):
        with pytest.raises(money.InvalidAmount):
            money.from_decimal_text(text, currency)

    @given(AMOUNTS, CURRENCIES)
    def test_round_trips_and_agrees_with_decimal(self, amount_minor, currency):
        text = money.to_decimal_text(amount_minor, currency)

        assert money.from_decimal_text(text, currency) == amount_minor
        assert Decimal(text).scaleb(money.minor_digits(currency)) == amount_minor


class TestShare:
    @pytest.mark.parametrize(
        ("amount_minor", "numerator", "denominator", "shared"),
        [
            (5000, 10, 100, 500),
            (333, 1, 3, 111),
            (100, 1, 3, 33),
            (200, 1, 3, 67),
            (1, 1, 2, 0),  # halves go to the even side
            (3, 1, 2, 2),
            (5, 1, 2, 2),
            (-1, 1, 2, 0),
            (-3, 1, 2, -2),
            (-5, 1, 2, -2),
            (-200, 1, 3, -67),
            (5000, 0, 100, 0),
        ],
    )
    def test_rounds_half_to_even(self, amount_minor, numerator, denominator, shared):
        assert money.share(amount_minor, numerator, denominator) == shared

    @pytest.mark.parametrize("denominator", [0, -100])
    def test_refuses_to_divide_by_what_is_not_positive(self, denominator):
        with pytest.raises(ValueError, match="denominator"):
            money.share(5000, 1, denominator)

    @given(AMOUNTS, st.integers(-1000, 1000), st.integers(1, 1000))
    def test_is_exact_rounding_and_the_same_for_both_signs(self, amount, numerator, denominator):
        shared = money.share(amount, numerator, denominator)

        assert shared == round(Fraction(amount * numerator, denominator))
        assert money.share(-amount, numerator, denominator) == -shared


class TestSplit:
    @pytest.mark.parametrize(
        ("amount_minor", "weights", "parts"),
        [
            (100, [1, 1, 1], [34, 33, 33]),
            (101, [1, 1, 1], [34, 34, 33]),
            (100, [1, 2], [33, 67]),
            (-100, [1, 2], [-33, -67]),
            (1, [1, 1], [1, 0]),
            (1, [1, 9], [0, 1]),
            (10, [0, 3, 0], [0, 10, 0]),
            (0, [1, 1], [0, 0]),
            (7, [5], [7]),
        ],
    )
    def test_gives_what_is_left_over_to_the_largest_remainder(self, amount_minor, weights, parts):
        assert money.split(amount_minor, weights) == parts

    @pytest.mark.parametrize("weights", [[], [0], [0, 0], [2, -1], [-1]])
    def test_refuses_weights_that_say_nothing(self, weights):
        with pytest.raises(ValueError, match="Weights"):
            money.split(100, weights)

    @given(AMOUNTS, st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
    def test_loses_no_unit_and_is_never_a_whole_unit_off(self, amount_minor, weights):
        parts = money.split(amount_minor, weights)

        assert sum(parts) == amount_minor
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Fraction(amount_minor * weight, sum(weights))) < 1
            assert weight or part == 0

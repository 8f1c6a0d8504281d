"""Money is an integer of minor units and an ISO 4217 code. The only rounding, the only formatting.

There is no money class: amounts are stored, summed and compared as integers, and a line has one
currency. Text becomes an amount here and nowhere else: what people type by `parse_amount`, what
rails and carriers send by `from_decimal_text`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.numbers import NumberPattern, get_currency_symbol, parse_pattern
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from lines import typed

# ISO 4217's active currencies by their decimals. Not Babel's: CLDR gives those of everyday cash
# (RSD 0, IQD 0), while rails and ledgers count by the standard (RSD 2, IQD 3).
_CODES_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
    RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
    UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_DIGITS = {code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()}

# One sign, one meaning, in every language: a bare ¥ is the yuan here, so the yen never wears it.
_SIGNS = {"CNY": "¥", "JPY": "JP¥"}
_TYPED_SIGNS = {  # a sign that ends in another one comes before it
    "CNY": ("CN¥", "¥", "RMB", "元"),
    "JPY": ("JP¥", "円", "日元"),
}

# Far above any recharge, far below what a bigint column or a JSON number can hold.
MAX_AMOUNT_MINOR = 10**12

_FIGURES = re.compile(r"(?P<whole>[0-9]{1,20}|[0-9]{1,3}(,[0-9]{3})+)(\.(?P<part>[0-9]{1,20}))?")
_WIRE_FIGURES = re.compile(r"(?P<sign>-?)(?P<whole>0|[1-9][0-9]{0,14})(\.(?P<part>[0-9]{1,4}))?")


class UnknownCurrency(ValueError):
    """Not an active ISO 4217 code. A programming or configuration error, never a person's."""


class InvalidAmount(ValueError):
    """The text is no amount. Show `sentence` at the field; write nothing."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def minor_digits(currency: str) -> int:
    """How many decimals `currency` has by ISO 4217. Raises UnknownCurrency."""
    try:
        return _DIGITS[currency]
    except KeyError:
        raise UnknownCurrency(f"{currency!r} is not an active ISO 4217 currency.") from None


def format_minor(amount_minor: int, currency: str, locale: str) -> str:
    """What people read: (5000, "CNY", "zh-hans") -> "¥50.00". Raises UnknownCurrency.

    `locale` may be Django's ("zh-hans") or CLDR's ("zh_Hans_CN").
    """
    pattern, theirs, ours = _way_to_write(currency, locale.replace("-", "_"))
    amount = Decimal(amount_minor).scaleb(-minor_digits(currency))
    written: str = pattern.apply(amount, locale.replace("-", "_"), currency, currency_digits=False)
    return written.replace(theirs, ours, 1)


def format_short(amount_minor: int, currency: str, locale: str) -> str:
    """The same without a part of nothing, as sentences say it: "¥50", but "¥49.25"."""
    written = format_minor(amount_minor, currency, locale)
    digits = minor_digits(currency)
    if digits and amount_minor % 10**digits == 0:
        return written.removesuffix(written[-digits - 1 :])
    return written


def parse_amount(text: str, currency: str) -> int:
    """What a person typed, in minor units: ("¥1,000.50", "CNY") -> 100050.

    Takes full-width figures, this currency's own sign or code, and commas between thousands.
    Raises InvalidAmount for anything that could mean two things; UnknownCurrency.
    """
    digits = minor_digits(currency)
    figures = _without_sign_of(currency, typed.plain(text))
    if not figures:
        raise InvalidAmount(_("Enter an amount."))
    if figures.startswith("-"):
        raise InvalidAmount(_("The amount cannot be negative."))
    match = _FIGURES.fullmatch(figures)
    if match is None:
        raise InvalidAmount(_("Write the amount in figures, such as 50 or 1,000.50."))
    part = match["part"] or ""
    if len(part) > digits:
        raise InvalidAmount(_too_many_decimals(digits))
    amount_minor = int(match["whole"].replace(",", "") + part.ljust(digits, "0"))
    if amount_minor > MAX_AMOUNT_MINOR:
        raise InvalidAmount(_("The amount is too large."))
    return amount_minor


def to_decimal_text(amount_minor: int, currency: str) -> str:
    """What wires want: (5000, "CNY") -> "50.00", (-5, "CNY") -> "-0.05", (50, "JPY") -> "50"."""
    digits = minor_digits(currency)
    figures = str(abs(amount_minor)).rjust(digits + 1, "0")
    whole, part = figures[: len(figures) - digits], figures[len(figures) - digits :]
    return ("-" if amount_minor < 0 else "") + whole + ("." + part if digits else "")


def from_decimal_text(text: str, currency: str) -> int:
    """What a rail or a carrier sent, in minor units; may be negative. Raises InvalidAmount.

    Strict: ASCII figures, one point, no more decimals than the currency has, nothing around it.
    What does not fit is not guessed at, the caller's answer is then unknown.
    """
    digits = minor_digits(currency)
    match = _WIRE_FIGURES.fullmatch(text)
    if match is None or len(match["part"] or "") > digits:
        raise InvalidAmount(_("This is not an amount in the agreed form."))
    amount_minor = int(match["whole"] + (match["part"] or "").ljust(digits, "0"))
    return -amount_minor if match["sign"] else amount_minor


def share(amount_minor: int, numerator: int, denominator: int) -> int:
    """`amount_minor` · `numerator` / `denominator`, rounded: the only rounding there is.

    Half to even, so that over many amounts neither side gains. Raises ValueError for a
    denominator that is not positive. Parts that must add up come from `split`.
    """
    if denominator <= 0:
        raise ValueError("The denominator must be positive.")
    quotient, rest = divmod(amount_minor * numerator, denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1)
    return quotient + is_up


def split(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """`amount_minor` in parts as `weights` are, which add up to it exactly.

    The units that are left over go to the largest remainders, the earliest first. Raises
    ValueError unless weights are whole, none negative and one positive.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("Weights must not be negative, and one must be positive.")
    sign = -1 if amount_minor < 0 else 1
    exact = [divmod(abs(amount_minor) * weight, total) for weight in weights]
    parts = [whole for whole, _rest in exact]
    left_over = abs(amount_minor) - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda index: -exact[index][1])
    for index in by_remainder[:left_over]:
        parts[index] += 1
    return [sign * part for part in parts]


@lru_cache(maxsize=512)
def _way_to_write(currency: str, locale: str) -> tuple[NumberPattern, str, str]:
    """The locale's pattern, the sign CLDR puts into it for `currency`, and the sign we put."""
    parsed = Locale.parse(locale)
    pattern = parse_pattern(parsed.currency_formats["standard"].pattern)  # ours alone, so mutable
    pattern.frac_prec = (minor_digits(currency),) * 2
    theirs = get_currency_symbol(currency, locale=parsed)
    ours = _SIGNS.get(currency, theirs)
    # A code in letters needs air before the figures: "KWD 1.000".
    return pattern, theirs, f"{ours}\N{NO-BREAK SPACE}" if ours == currency else ours


def _without_sign_of(currency: str, text: str) -> str:
    """`text` without one sign of `currency` before or after it; another currency's stays."""
    signs = _TYPED_SIGNS.get(currency) or (get_currency_symbol(currency, locale="en"),)
    for sign in (currency, *signs):
        if text.upper().startswith(sign):
            return text[len(sign) :].lstrip()
        if text.upper().endswith(sign):
            return text[: -len(sign)].rstrip()
    return text


def _too_many_decimals(digits: int) -> str | Promise:
    if not digits:
        return _("Amounts in this currency are whole numbers, without decimals.")
    return format_lazy(_("Write at most {digits} decimals."), digits=digits)

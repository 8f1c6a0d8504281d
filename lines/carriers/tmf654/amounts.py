"""Money on this wire: a JSON number of major units, read and written exactly, never as a float."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

# ISO 4217: the active currencies whose minor unit is not a hundredth.
_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
# Past 10^15 minor units nothing is a prepaid balance, and "1e999999" would cost a gigabyte to read.
_MAX_MAGNITUDE: Final = 15


class NotAnAmount(ValueError):
    """The figure is no amount of money; the text never holds the figure."""


def major_text(amount_minor: int, currency: str) -> str:
    """`5000, "CNY"` → "50.00": what goes into the JSON, digit for digit."""
    return format(Decimal(amount_minor).scaleb(-_digits(currency)), "f")


def exact_minor(value: object, currency: str) -> int:
    """An amount that must be whole minor units: a credit, a debit. Raises NotAnAmount."""
    scaled = _scaled(value, currency)
    if scaled != scaled.to_integral_value():
        raise NotAnAmount("a fraction of the smallest unit")
    return int(scaled)


def floor_minor(value: object, currency: str) -> int:
    """A balance: carriers rate in fractions of a cent, and what is not whole cannot be spent.

    Rounded down, below zero too, so never more than there is. Raises NotAnAmount.
    """
    return int(_scaled(value, currency).to_integral_value(ROUND_FLOOR))


def ceiling_minor(value: object, currency: str) -> int:
    """A reserved amount, rounded up: it is taken off a balance. Raises NotAnAmount."""
    return int(_scaled(value, currency).to_integral_value(ROUND_CEILING))


def _digits(currency: str) -> int:
    if currency in _NONE:
        return 0
    return 3 if currency in _THREE else 2


def _scaled(value: object, currency: str) -> Decimal:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise NotAnAmount("not a number")
    if value.adjusted() > _MAX_MAGNITUDE or len(value.as_tuple().digits) > 2 * _MAX_MAGNITUDE:
        raise NotAnAmount("out of range")
    return value.scaleb(_digits(currency))

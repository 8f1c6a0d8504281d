"""What the law of a market asks of whoever charges there by himself. Pure."""

from collections.abc import Mapping

# By the currency that its carriers bill in. China: the rules on the pricing of platforms, from
# April 2026: before each automatic deduction time, amount and the way to cancel are told.
_NOTICE_H: Mapping[str, int] = {"CNY": 24}


def notice_h(*, currency: str) -> int:
    """How many hours before each automatic charge its payer is told; 0: nobody asks for it."""
    return _NOTICE_H.get(currency, 0)

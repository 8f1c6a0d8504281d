"""Whether a carrier means a line of ours: by its number or card, as carriers write them. Pure."""

from collections.abc import Sequence

from lines.carriers.base import LineAddress


def is_named(address: LineAddress, names: Sequence[str]) -> bool:
    """Whether one of `names` is the line's number or its card."""
    number, card = address.msisdn, address.iccid
    return any(
        (number and same_number(name, number)) or (card and same_card(name, card)) for name in names
    )


def same_number(one: str, other: str) -> bool:
    """Whether two texts name one number or card.

    A plus sign, spaces and the case may differ, and one may be in the national form: then it ends
    the other, which adds a country code of one to three figures.
    """
    one, other = sorted((bare(one), bare(other)), key=len)
    return one == other or (
        len(one) >= 8 and other.endswith(one) and 1 <= len(other) - len(one) <= 3
    )


def same_card(one: str, other: str) -> bool:
    """As `same_number`, and one of the two may lack the check digit, as printed cards do."""
    one, other = sorted((bare(one), bare(other)), key=len)
    return other.startswith(one) and len(other) - len(one) <= 1


def bare(text: str) -> str:
    """A number or card without what is only writing."""
    text = text.strip().removeprefix("tel:")
    return "".join(char for char in text if char.isalnum()).upper()

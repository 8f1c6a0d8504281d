"""Card numbers never touch us: a request that holds one is refused before anything keeps it."""

import re
from collections.abc import Iterator
from typing import Any

# Identifiers that are as long and pass the same check digit, and are checked by their own rules.
_KNOWN_FIELDS = frozenset({"iccid", "eid", "msisdn", "sequence", "activation_code", "matching_id"})
_CANDIDATE = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])", re.ASCII)
_SEPARATORS = str.maketrans("", "", " -")


def is_card_number(digits: str) -> bool:
    """Whether 13 to 19 ASCII digits pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    if not 13 <= len(digits) <= 19:
        return False
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def holds_one(data: Any) -> bool:
    """Whether parsed JSON holds a card number anywhere, as text, as a number or as a name."""
    return any(
        is_card_number(found.group().translate(_SEPARATORS))
        for text in _texts(data, field="")
        for found in _CANDIDATE.finditer(text)
    )


def _texts(data: Any, *, field: str) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield str(name)
            yield from _texts(value, field=str(name))
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, field=field)
    elif isinstance(data, str | int) and field not in _KNOWN_FIELDS:
        yield str(data)

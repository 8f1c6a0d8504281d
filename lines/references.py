"""References: one ULID names one attempt everywhere, ours and the rails', and is never reused."""

import re

from ulid import ULID

# Crockford's base 32; the first character holds 3 bits only: docs/rules.md, Identifiers.
_REFERENCE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_reference() -> str:
    """A fresh reference: 26 characters of [0-9A-Z], sortable by the millisecond it was made."""
    return str(ULID())


def is_reference(text: str) -> bool:
    """Whether `text` has the exact form `new_reference` gives."""
    return _REFERENCE.fullmatch(text) is not None

"""Hides numbers and cards in what is kept as evidence. A reference (ULID) or a date stays readable.

Two nets: the line the call was about, however the carrier writes it, and then anything that looks
like a number or a card, since an answer may name other lines too.
"""

import re
from typing import Final

from lines.carriers.base import LineAddress

_MAX_CHARS: Final = 4000
_SEPARATOR: Final = r"[\s().-]?"
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BOUNDED: Final = r"(?<![0-9A-Za-z])(?:{})(?![0-9A-Za-z])"
# In a text 7 digits may be a number; a bare JSON figure of 7 is an amount, of 10 hardly one.
_IN_TEXT: Final = re.compile(_BOUNDED.format(r"\+?[0-9]{7,20}|89[0-9A-Fa-f]{16,18}"))
_CODE: Final = re.compile(r'"[0-9]{1,9}"')
_BEFORE_A_CODE: Final = re.compile(r'"code"\s{0,4}:\s{0,4}$')
_BARE: Final = re.compile(_BOUNDED.format(r"\+?[0-9]{10,20}"))


def masked(text: str, address: LineAddress | None = None) -> str:
    """`text` with every number hidden but for its last four, fit to store (no NUL, bounded)."""
    # An answer is cut before the work, so that a huge one costs nothing, and again after it.
    text = text[: 4 * _MAX_CHARS].replace("\x00", "�")
    for number in (address.msisdn, address.iccid) if address else ():
        text = _hide_known(text, number)
    if text.lstrip()[:1] in ("{", "["):
        text = _QUOTED.sub(_quoted, text)
        return _BARE.sub(_hidden, text)[:_MAX_CHARS]
    return _IN_TEXT.sub(_hidden, text)[:_MAX_CHARS]


def _hide_known(text: str, number: str) -> str:
    """The last ten figures of `number`, spaced or not, and what stands right before them."""
    tail = number[-10:]
    if len(tail) < 6:
        return text
    written = r"\+?[0-9A-F]{0,12}" + _SEPARATOR.join(map(re.escape, tail))
    return re.sub(written, _hidden, text, flags=re.IGNORECASE)


def _quoted(found: re.Match[str]) -> str:
    """A code of some figures is nobody's number, and two of them must not read alike."""
    is_code = _CODE.fullmatch(found[0]) and _BEFORE_A_CODE.search(found.string, 0, found.start())
    return found[0] if is_code else _IN_TEXT.sub(_hidden, found[0])


def _hidden(found: re.Match[str]) -> str:
    return f"****{found[0][-4:]}"

"""Reading an answer's text without changing a byte: the signature covers the raw inner object.

Re-serialising what was parsed would verify something else than what was signed, and counting braces
goes wrong at the first brace inside a string. So the text is walked by the JSON decoder itself,
which tells where each top-level value begins and ends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

# A float must not even exist: amounts are strings, and a figure that is none stays exact.
_DECODER = json.JSONDecoder(parse_float=Decimal)
_BLANK = " \t\r\n"


class UnreadableAnswer(ValueError):
    """The text is not an object of Alipay's shape."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One answer: its inner object, the exact text of it, and the signature over that text."""

    fields: Mapping[str, object]
    signed_text: str
    signature: str  # empty: the answer came unsigned


def open_envelope(text: str, *, method: str) -> Envelope:
    """Find the answer to `method` (or the gateway's error) in `text`. Raises UnreadableAnswer."""
    members = _members(text)
    for name in (method.replace(".", "_") + "_response", "error_response"):
        if name in members:
            start, end, fields = members[name]
            if not isinstance(fields, dict):
                raise UnreadableAnswer(f"the answer's {name} is not an object")
            signature = members.get("sign", (0, 0, ""))[2]
            return Envelope(
                fields, text[start:end], signature if isinstance(signature, str) else ""
            )
    raise UnreadableAnswer("no answer to this call came back")


def _members(text: str) -> dict[str, tuple[int, int, object]]:
    """The top-level members: name → (start, end, value). A name that comes twice is refused."""
    members: dict[str, tuple[int, int, object]] = {}
    at = _expect(text, 0, "{")
    try:
        while True:
            name, at = _DECODER.raw_decode(text, _expect(text, at, '"') - 1)
            start = _skip(text, _expect(text, at, ":"))
            value, at = _DECODER.raw_decode(text, start)
            if name in members:
                raise UnreadableAnswer("a name comes twice in the answer")
            members[name] = (start, at, value)
            at = _skip(text, at)
            if text[at : at + 1] == "}":
                break
            at = _expect(text, at, ",")
    except (json.JSONDecodeError, RecursionError) as error:
        raise UnreadableAnswer("the answer is not JSON") from error
    if text[at + 1 :].strip(_BLANK):
        raise UnreadableAnswer("something follows the answer")
    return members


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _expect(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise UnreadableAnswer("the answer is not JSON")
    return at + 1

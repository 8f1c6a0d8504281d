"""What a person typed or pasted, folded to the plain characters a parser expects."""

import unicodedata

# U+FF01..U+FF5E are the full-width twins of ASCII: what a Chinese input method types.
_FOLDED = {0xFF01 + offset: 0x21 + offset for offset in range(94)} | {
    0xFFE5: "¥",
    **dict.fromkeys(map(ord, "‐‑‒–—−"), "-"),
}


def plain(text: str) -> str:
    """`text` with full-width forms, dashes and exotic spaces made ASCII, and its ends trimmed.

    Invisible characters go: address books and chat programs wrap what is copied in them. Digits
    of other scripts stay as they are, so that a parser refuses them instead of guessing.
    """
    seen = (" " if char.isspace() else char for char in text.translate(_FOLDED))
    return "".join(char for char in seen if unicodedata.category(char) != "Cf").strip()

"""References as files of the other side hold them: none, ours, or somebody's."""

import re
from typing import Final

# How files say that there is no number here: WeChat Pay's has 0 in every payment's refund cells.
_NONE: Final = re.compile(r"0+|[-/]+|null|none|nil|n/?a|无", re.IGNORECASE)
_OURS: Final = re.compile(r"(?<![0-9A-Za-z])[0-7][0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Za-z])")
_UNDECODABLE: Final = "\ufffd"


def told(text: str) -> str:
    """A cell's reference; "" for one that only says that there is none, or was spoilt."""
    bare = text.strip()
    return "" if _NONE.fullmatch(bare) or _UNDECODABLE in bare else bare


def ours_in(line: str, *, is_refund: bool) -> tuple[str, str]:
    """What looks like a reference of ours in a row that is damaged: the payment's, and a refund's,
    which stands behind it in every layout we know.
    """
    found = [*_OURS.findall(line), "", ""]
    return found[0], found[1] if is_refund else ""

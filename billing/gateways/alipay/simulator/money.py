"""Yuan as text, fen as an integer; nothing between them."""

import re

_YUAN = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,2}))?")


def fen(yuan: object) -> int | None:
    """ "50.00" or 50 → 5000; None for what is no amount of yuan."""
    match = _YUAN.fullmatch(str(yuan))
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else None


def yuan(fen_amount: int) -> str:
    """5000 → "50.00", -30 → "-0.30"."""
    sign = "-" if fen_amount < 0 else ""
    return f"{sign}{abs(fen_amount) // 100}.{abs(fen_amount) % 100:02d}"


def shown(fen_amount: int) -> str:
    """As people read it: 50000000 → "500,000.00"."""
    return f"{fen_amount // 100:,}.{fen_amount % 100:02d}"

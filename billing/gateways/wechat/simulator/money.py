"""Fen are integers; yuan are texts, on bills and pages only."""


def yuan(fen: int) -> str:
    """5000 → "50.00"."""
    return f"{fen // 100}.{fen % 100:02d}"


def fee_text(fen: int) -> str:
    """Fees have five decimals on bills: 30 → "0.30000", -30 → "-0.30000"."""
    return f"{'-' if fen < 0 else ''}{yuan(abs(fen))}000"


def shown(fen: int) -> str:
    """As people read it: 50000000 → "500,000.00"."""
    return f"{fen // 100:,}.{fen % 100:02d}"

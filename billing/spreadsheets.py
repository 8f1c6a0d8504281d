"""What is written for spreadsheets. They run a cell that begins like a formula (ASVS 1.2.10)."""

from typing import Final

# Without it a spreadsheet on a Chinese system reads names as nonsense.
BYTE_ORDER_MARK: Final = "\ufeff"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(cell: str) -> str:
    """`cell` as text that no spreadsheet takes for a formula: what others wrote must stay text."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell

"""How Stripe writes an instant."""

from datetime import datetime


def seconds(at: datetime) -> int:
    """As Stripe writes an instant: whole seconds of UTC."""
    return int(at.timestamp())

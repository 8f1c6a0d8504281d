"""Evidence of calls to carriers. Deliveries themselves are moved by billing's crediting leg.

Set-wise SQL lives here as plain statements: lines know nothing of billing's row sets.
"""

from collections.abc import Iterable
from datetime import datetime

from lines.carriers.base import Exchange
from lines.models import CarrierCall

_LONGEST = 20_000


def record_calls(exchanges: Iterable[Exchange], *, at: datetime) -> None:
    """Write exchanges with carriers, append only, in the caller's transaction."""
    CarrierCall.objects.bulk_create(
        [
            CarrierCall(
                kind=one.kind[:60],
                reference=one.reference[:40],
                request=_clean(one.request),
                response=_clean(one.response),
                error=_clean(one.error)[:200],
                at=at,
            )
            for one in exchanges
        ]
    )


def _clean(text: str) -> str:
    """PostgreSQL texts hold no NUL; a hostile answer may."""
    return text.replace("\x00", "\ufffd")[:_LONGEST]

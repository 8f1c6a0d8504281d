"""Evidence of calls to carriers. Deliveries themselves are moved by billing's crediting leg.

Set-wise SQL lives here as plain statements: lines know nothing of billing's row sets.
"""

from collections.abc import Iterable
from datetime import datetime

import psycopg
from django.db import connection

from lines.carriers.base import Exchange

_LONGEST = 20_000
_INSERT = """
INSERT INTO lines_carriercall (kind, reference, request, response, error, at)
SELECT v.*, %b::timestamptz
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[]) AS v
"""


def record_calls(exchanges: Iterable[Exchange], *, at: datetime) -> None:
    """Write exchanges with carriers, append only, in the caller's transaction."""
    rows = [
        (
            one.kind[:60],
            one.reference[:40],
            _clean(one.request),
            _clean(one.response),
            _clean(one.error)[:200],
        )
        for one in exchanges
    ]
    if not rows:
        return
    connection.ensure_connection()
    # Django's cursor would paste the arrays into the statement as literals.
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_INSERT, [at, *(list(column) for column in zip(*rows, strict=True))])


def _clean(text: str) -> str:
    """PostgreSQL texts hold no NUL; a hostile answer may."""
    return text.replace("\x00", "\ufffd")[:_LONGEST]

"""What rowsets executes is parsed and planned once a connection, and not once a call.

A test has a dozen rows, and a claim joins ten tables: to plan that takes PostgreSQL many times as
long as to do it. In production a batch has hundreds of rows, and a pooler may stand in between.
"""

import sys
from typing import Any

from psycopg._preparing import Key, Prepare, PrepareManager


class _Kept(PrepareManager):
    """Past a rollback too, which ends each test: what it takes back is rows and no tables."""

    prepare_threshold = 0
    prepared_max = sys.maxsize

    def maybe_add_to_cache(self, query: Any, prep: Prepare, name: bytes) -> Key | None:
        """Not what the ORM says, with its values in the text: it is never prepared."""
        if prep is Prepare.NO:
            return None
        return super().maybe_add_to_cache(query, prep, name)

    def clear(self) -> bool:
        """Asked for by each rollback, in case that it has taken back a table."""
        return False


def keep(*, connection: Any, **_signal: Any) -> None:
    """For `connection_created`."""
    connection.connection._prepared = _Kept()

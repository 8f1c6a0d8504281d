"""Each worker's test database: a copy of one that was migrated once.

The migrated one stays in the embedded server, for the next run too, until a migration or a pinned
package changes. What `migrate` does besides (permissions, content types) is done to each copy.
"""

import hashlib
from pathlib import Path
from typing import Any

from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
_PREFIX, _UNFINISHED = "migrated_", "unfinished_migrated"
_LOCK = 19_860_415  # any number that nothing else in this server takes


def template() -> str:
    """The name of a migrated database to copy; the worker that comes first makes it."""
    name = _PREFIX + _fingerprint()
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{_PREFIX}%"])
        found = {row[0] for row in cursor.fetchall()}
        if name not in found:
            _make(cursor, name)
            _drop(cursor, found)  # those of other migrations
    return name


def _fingerprint() -> str:
    """Of all that decides which tables there are: the packages, and our own migrations."""
    files = [ROOT / "requirements.lock", *ROOT.glob("[bpl]*/**/migrations/*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _make(cursor: Any, name: str) -> None:
    plain = connection.settings_dict["NAME"]
    test = connection.settings_dict["TEST"]
    asked = test["NAME"]
    test["NAME"] = _UNFINISHED
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        connection.close()
    finally:
        test["NAME"] = asked
        connection.settings_dict["NAME"] = plain
    cursor.execute(f"ALTER DATABASE {_UNFINISHED} RENAME TO {name}")


def _drop(cursor: Any, names: set[str]) -> None:
    for name in names:
        cursor.execute(f"DROP DATABASE {name}")


def filled(tables: list[str]) -> list[str]:
    """Those of `tables` that have rows, by one query."""
    if not tables:
        return []
    asked = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return [row[0] for row in cursor.fetchall()]

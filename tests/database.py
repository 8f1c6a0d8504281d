"""Each worker's test database: a copy of one that was migrated once.

The migrated one stays in the embedded server, for the next run too, until a migration or a pinned
package changes. What `migrate` does besides (permissions, content types, reference data) is done to
each copy, and kept beside its tables: after a test that has committed, they are what they were.
"""

import hashlib
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
_PREFIX, _UNFINISHED = "migrated_", "unfinished_migrated"
_KEPT = "kept_first_rows"
_LOCK = 19_860_415  # any number that nothing else in this server takes


def template() -> str:
    """The name of a migrated database to copy; the worker that comes first makes it."""
    name = _PREFIX + _fingerprint()
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        _fear_no_power_cut(cursor)
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{_PREFIX}%"])
        found = {row[0] for row in cursor.fetchall()}
        if name not in found:
            _make(cursor, name)
            _drop(cursor, found)  # those of other migrations
    return name


def _fear_no_power_cut(cursor: Any) -> None:
    """What is in our own server may be lost with the machine, as long as it is quick till then."""
    if settings.DATABASE_URL:  # somebody else's
        return
    for setting in ("fsync", "full_page_writes"):
        cursor.execute(f"ALTER SYSTEM SET {setting} = off")
    cursor.execute("SELECT pg_reload_conf()")


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


def keep_the_first_rows() -> None:
    """A copy of every row there is before the first test, in a schema that nobody looks into."""
    tables = connection.introspection.django_table_names(only_existing=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s)", [_KEPT])
        if cursor.fetchone() != (None,):  # a database that is used again has its first rows
            return
        cursor.execute(f"CREATE SCHEMA {_KEPT}")
        for table in _filled(tables):
            cursor.execute(f'CREATE TABLE {_KEPT}."{table}" AS TABLE "{table}"')


def as_at_first(tables: list[str]) -> list[str]:
    """The SQL that leaves in `tables` the first rows and no others.

    Emptied are only those that have rows, by DELETE: a TRUNCATE makes new files for each table and
    index. To load those rows as `migrate` does, through the ORM, would take ten times as long.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s)", [_KEPT]
        )
        kept = {name for (name,) in cursor.fetchall()}
    return [
        *(f'DELETE FROM "{table}"' for table in _filled(tables)),
        *(f'INSERT INTO "{name}" TABLE {_KEPT}."{name}"' for name in tables if name in kept),
    ]


def _filled(tables: list[str]) -> list[str]:
    """Those of `tables` that have rows, by one query."""
    if not tables:
        return []
    asked = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return [row[0] for row in cursor.fetchall()]

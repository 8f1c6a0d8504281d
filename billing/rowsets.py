"""Many rows in one statement: what the executor's set-wise writes are made of.

Columns travel as PostgreSQL arrays and are unnested by the server, so a batch of five hundred is
one round trip and one plan. Every caller is inside a transaction of its own making.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from django.db import DatabaseError, connection
from psycopg.rows import namedtuple_row

# What a poisoned row can raise while a batch is written: caught to go on one row at a time.
POISON = (psycopg.Error, DatabaseError, ArithmeticError, LookupError, TypeError, ValueError)


class Column(NamedTuple):
    """One column of a row set. `cast` is for what cannot be an array's element, e.g. an array."""

    name: str
    type: str
    cast: str = ""


def _arrays(columns: Sequence[Column]) -> str:
    # Binary: psycopg writes an array's text element by element, four times as slowly.
    return ", ".join(f"%b::{column.type}[]" for column in columns)


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _picked(columns: Sequence[Column]) -> str:
    return ", ".join(f"v.{c.name}::{c.cast}" if c.cast else f"v.{c.name}" for c in columns)


def _transposed(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(values) for values in zip(*rows, strict=True)]


def run(sql: str, params: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute with the server's own parameter binding: no text is built of the values.

    Django's cursor would paste a batch's arrays into the statement as literals.
    """
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def read(sql: str, params: Sequence[Any]) -> list[Any]:
    """As `run`, with the columns as attributes of each row."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection, row_factory=namedtuple_row) as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def insert(
    table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, suffix: str = ""
) -> list[tuple[Any, ...]]:
    """INSERT `rows` into `table`; `suffix` may hold ON CONFLICT and RETURNING."""
    if not rows:
        return []
    sql = (
        f"INSERT INTO {table} ({_names(columns)}) SELECT {_picked(columns)} "  # noqa: S608 # nosec B608
        f"FROM unnest({_arrays(columns)}) AS v({_names(columns)}) {suffix}"
    )
    return run(sql, _transposed(rows))


def update(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    assign: str,
    where: str,
    returning: str = "",
) -> list[tuple[Any, ...]]:
    """UPDATE `table` AS t by `rows` AS v. Only rows that still meet `where` change or return."""
    if not rows:
        return []
    sql = (
        f"UPDATE {table} AS t SET {assign} "  # noqa: S608 # nosec B608
        f"FROM unnest({_arrays(columns)}) AS v({_names(columns)}) WHERE {where}"
    )
    return run(sql + (f" RETURNING {returning}" if returning else ""), _transposed(rows))

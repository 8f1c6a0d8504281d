"""Many rows in one statement: what the executor's set-wise writes are made of.

Columns travel as PostgreSQL arrays and are unnested by the server, so a batch of five hundred is
one round trip and one plan. Every caller is inside a transaction of its own making.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from django.db import DatabaseError, connection
from psycopg.rows import namedtuple_row

_WORTH_A_LOOK = 8  # rows; below that nothing is saved by telling constants apart
# What a poisoned row can raise while a batch is written: caught to go on one row at a time.
POISON = (psycopg.Error, DatabaseError, ArithmeticError, LookupError, TypeError, ValueError)


class Column(NamedTuple):
    """One column of a row set. `cast` is for what cannot be an array's element, e.g. an array."""

    name: str
    type: str
    cast: str = ""


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _picked(columns: Sequence[Column]) -> str:
    return ", ".join(f"v.{c.name}::{c.cast}" if c.cast else f"v.{c.name}" for c in columns)


def _source(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """The rows as a derived table `v`, and its parameters, constants first.

    A value that all rows share travels once: half of a batch's columns are such, and writing an
    array element by element is most of what a batch costs in Python. Binary, since its text costs
    four times as much.
    """
    values = [list(column) for column in zip(*rows, strict=True)]
    is_shared = [
        len(rows) >= _WORTH_A_LOOK and column.count(column[0]) == len(rows) for column in values
    ]
    if all(is_shared):
        is_shared[0] = False
    own = [column for column, shared in zip(columns, is_shared, strict=True) if not shared]
    picked = ", ".join(
        f"%b::{column.type} AS {column.name}" if shared else f"u.{column.name}"
        for column, shared in zip(columns, is_shared, strict=True)
    )
    arrays = ", ".join(f"%b::{column.type}[]" for column in own)
    constants = [column[0] for column, shared in zip(values, is_shared, strict=True) if shared]
    lists = [column for column, shared in zip(values, is_shared, strict=True) if not shared]
    table = f"(SELECT {picked} FROM unnest({arrays}) AS u({_names(own)})) AS v"  # noqa: S608 # nosec B608
    return table, constants + lists


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
    source, params = _source(columns, rows)
    sql = (
        f"INSERT INTO {table} ({_names(columns)}) SELECT {_picked(columns)} "  # noqa: S608 # nosec B608
        f"FROM {source} {suffix}"
    )
    return run(sql, params)


def update(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    assign: str,
    where: str,
    returning: str = "",
    then: str = "",
) -> list[tuple[Any, ...]]:
    """UPDATE `table` AS t by `rows` AS v. Only rows that still meet `where` change or return.

    `then`: the rest of a statement that begins with what changed, as `changed`.
    """
    if not rows:
        return []
    source, params = _source(columns, rows)
    sql = f"UPDATE {table} AS t SET {assign} FROM {source} WHERE {where}"  # noqa: S608 # nosec B608
    sql += f" RETURNING {returning}" if returning else ""
    return run(f"WITH changed AS ({sql}){then}" if then else sql, params)

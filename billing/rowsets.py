"""Many rows in one statement: what the executor's set-wise writes are made of.

Columns travel as PostgreSQL arrays and are unnested by the server, so a batch of five hundred is
one round trip and one plan. Every caller is inside a transaction of its own making.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg
from django.db import DatabaseError, connection
from psycopg.rows import RowFactory, scalar_row, tuple_row

Row = TypeVar("Row", bound=NamedTuple)
Made = TypeVar("Made")
Value = TypeVar("Value")
Params = Sequence[object] | Mapping[str, object]

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


def _source(
    columns: Sequence[Column], rows: Sequence[Sequence[object]]
) -> tuple[str, list[object]]:
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


def _executed(sql: str, params: Params, *, made: RowFactory[Made]) -> psycopg.Cursor[Made]:
    """Execute with the server's own parameter binding: no text is built of the values.

    Django's cursor would paste a batch's arrays into the statement as literals.
    """
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection, row_factory=made).execute(sql, params)


def run(sql: str, params: Params) -> int:
    """Execute; how many rows it changed or found."""
    with _executed(sql, params, made=tuple_row) as cursor:
        return cursor.rowcount


def read(sql: str, params: Params, *, into: type[Row]) -> list[Row]:
    """The rows, each an `into`, whose fields are the columns in their order and by their names.

    That they are is proved for every call, not looked at in each: tests/billing/test_rowsets.py.
    """
    with _executed(sql, params, made=lambda _cursor: into._make) as cursor:
        return cursor.fetchall()


def read_by(
    sql: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    params: Sequence[object],
    into: type[Row],
) -> list[Row]:
    """As `read`, where `sql` reads from the given `rows` as `{v}`, before any of `params`."""
    if not rows:
        return []
    source, values = _source(columns, rows)
    return read(sql.replace("{v}", source), [*values, *params], into=into)


def run_by(
    sql: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    params: Sequence[object],
) -> int:
    """As `run`, where `sql` reads from the given `rows` as `{v}`, before any of `params`."""
    if not rows:
        return 0
    source, values = _source(columns, rows)
    return run(sql.replace("{v}", source), [*values, *params])


def column(sql: str, params: Params, *, of: Callable[[Any], Value]) -> list[Value]:
    """The only column of the rows, each value made by `of`."""
    with _executed(sql, params, made=scalar_row) as cursor:
        return [of(value) for value in cursor]


def insert(
    table: str, columns: Sequence[Column], rows: Sequence[Sequence[object]], *, suffix: str = ""
) -> None:
    """INSERT `rows` into `table`; `suffix` may hold ON CONFLICT."""
    if rows:
        run(*_insertion(table, columns, rows, suffix))


def insert_new(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    into: type[Row],
    key: str = "",
) -> list[Row]:
    """INSERT those of `rows` that are not in `table`, by `key` or any of its keys; what is new."""
    if not rows:
        return []
    suffix = f"ON CONFLICT {key} DO NOTHING RETURNING {', '.join(into._fields)}"
    sql, params = _insertion(table, columns, rows, suffix)
    return read(sql, params, into=into)


def _insertion(
    table: str, columns: Sequence[Column], rows: Sequence[Sequence[object]], suffix: str
) -> tuple[str, list[object]]:
    source, params = _source(columns, rows)
    sql = (
        f"INSERT INTO {table} ({_names(columns)}) SELECT {_picked(columns)} "  # noqa: S608 # nosec B608
        f"FROM {source} {suffix}"
    )
    return sql, params


def update(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    assign: str,
    where: str,
) -> None:
    """UPDATE `table` AS t by `rows` AS v. Only rows that still meet `where` change."""
    if rows:
        run(*_change(table, columns, rows, assign=assign, where=where))


def update_then(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    assign: str,
    where: str,
    returning: str,
    then: str,
    into: type[Row],
) -> list[Row]:
    """As `update`, and what the rest of its statement selects: `then`, which begins with what
    changed, `returning`, as `changed`."""
    if not rows:
        return []
    sql, params = _change(table, columns, rows, assign=assign, where=where)
    found = _executed(
        f"WITH changed AS ({sql} RETURNING {returning}){then}",
        params,
        made=lambda _cursor: into._make,
    )
    with found as cursor:
        return cursor.fetchall()


def _change(
    table: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    assign: str,
    where: str,
) -> tuple[str, list[object]]:
    source, params = _source(columns, rows)
    return f"UPDATE {table} AS t SET {assign} FROM {source} WHERE {where}", params  # noqa: S608 # nosec B608

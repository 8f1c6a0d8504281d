"""What a typed row says it holds is what its query selects: each `rowsets.read` of the product."""

import ast
import importlib
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import pytest
from django.db import connection
from psycopg.pq import ExecStatus

from billing.rowsets import Column

ROOT = Path(__file__).parents[2]
# What queries are completed with where they are read, to their shortest.
COMPLETED = {
    "only": "",
    "wanted": "true",
    "column": "binding_id",
    "order": "",
    "wait": "",
    "named": "msisdn",
}
READERS = ("rowsets.read", "rowsets.read_by")
TYPES = {
    "bool": bool,
    "int2": int,
    "int4": int,
    "int8": int,
    "numeric": Decimal,
    "float8": float,
    "text": str,
    "varchar": str,
    "date": date,
    "time": time,
    "timestamptz": datetime,
    "_int4": list[int],
    "_int8": list[int],
    "_varchar": list[str],
}


class Reading(NamedTuple):
    """One call of `rowsets.read`: where it stands, its query, and the row it is read into."""

    place: str
    sql: str
    into: Any


def readings() -> Iterator[Reading]:
    for path in sorted(
        one for app in ("portal", "billing", "lines") for one in ROOT.glob(f"{app}/**/*.py")
    ):
        names = path.relative_to(ROOT).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in READERS:
                known = vars(importlib.import_module(".".join(names)))
                [into] = [one.value for one in node.keywords if one.arg == "into"]
                sql = eval(ast.unparse(node.args[0]), known, COMPLETED)  # noqa: S307 - our own source
                if ast.unparse(node.func) == "rowsets.read_by":
                    sql = sql.replace("{v}", _nothing(known[ast.unparse(node.args[1])]))
                yield Reading(f"{path.name}:{node.lineno}", sql, known[ast.unparse(into)])


def _nothing(columns: Sequence[Column]) -> str:
    """No row of what such a query reads from."""
    nulls = ", ".join(f"NULL::{one.type} AS {one.name}" for one in columns)
    return f"(SELECT {nulls}) AS v"


def columns_of(sql: str) -> list[tuple[str, object]]:
    """Names and types of what `sql` selects, by the server's own word. It is not executed."""
    nothing = re.sub(r"%\(\w+\)[sb]|%[sb]", "NULL", sql).replace("%%", "%")
    connection.ensure_connection()
    server = connection.connection.pgconn
    prepared = server.prepare(b"", nothing.encode())
    assert prepared.status == ExecStatus.COMMAND_OK, prepared.error_message
    told = server.describe_prepared(b"")
    types = connection.connection.adapters.types
    found = []
    for number in range(told.nfields):
        oid, name = told.ftype(number), (told.fname(number) or b"").decode()
        kind = types.get(oid)
        assert kind is not None, (name, oid)
        found.append((name, TYPES[f"_{kind.name}" if oid == kind.array_oid else kind.name]))
    return found


def fields_of(into: Any) -> list[tuple[str, object]]:
    return [(name, _never_null(kind)) for name, kind in get_type_hints(into).items()]


def _never_null(kind: Any) -> object:
    if get_origin(kind) is not UnionType:
        return kind
    [other] = [one for one in get_args(kind) if one is not NoneType]
    return other


@pytest.mark.django_db
def test_a_typed_row_has_the_columns_of_its_query_in_their_order_and_of_their_types():
    found = list(readings())
    wrong = {
        one.place: (fields_of(one.into), columns)
        for one in found
        if (columns := columns_of(one.sql)) != fields_of(one.into)
    }
    assert wrong == {}
    assert {"Work", "RefundWork", "DueRule", "Noted", "Watched"} <= {
        one.into.__name__ for one in found
    }


def test_every_reading_is_found_above():
    """Under another name it would not be."""
    imported = [
        f"{path.name}: {line}"
        for app in ("portal", "billing", "lines")
        for path in ROOT.glob(f"{app}/**/*.py")
        for line in path.read_text().splitlines()
        if re.match(r"from billing.rowsets import .*\bread\b|import billing.rowsets", line)
    ]
    assert imported == []

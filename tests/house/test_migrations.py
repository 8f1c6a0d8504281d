"""What a migration installs is frozen in it, and all together install what the code says today."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from billing import guards
from billing.states import FIRST_STATES, MOVES
from tests.house import catalog

ROOT = Path(__file__).resolve().parents[2]
OURS = ("billing", "lines", "portal")
MIGRATIONS = sorted(
    path for folder in OURS for path in (ROOT / folder).rglob("migrations/[0-9]*.py")
)


def imported(path: Path) -> set[str]:
    """The modules that a file names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def frozen(name: str) -> list[str]:
    """The texts that migrations hold under `name`, oldest first."""
    modules = (
        import_module(f"billing.migrations.{path.stem}")
        for path in MIGRATIONS
        if path.parts[-3] == "billing"
    )
    return [getattr(module, name) for module in modules if hasattr(module, name)]


def test_none_imports_code_of_ours():
    assert len(MIGRATIONS) > 15
    living = {
        str(path.relative_to(ROOT)): wrong
        for path in MIGRATIONS
        if (wrong := {name for name in imported(path) if name.split(".")[0] in (*OURS, "")})
    }
    assert living == {}


class TestTheGuards:
    """A change of `states.MOVES` or `guards` ships as a new migration that holds the new text."""

    def test_of_the_newest_migration_are_those_of_the_code(self):
        said = guards.legal_moves_sql(moves=MOVES, first=FIRST_STATES)
        if frozen("LEGAL_MOVES")[-1] != said:
            pytest.fail(f"A new migration must run this, as LEGAL_MOVES:\n{said}")

    def test_of_cases_are_those_of_the_code(self):
        said = guards.cases_sql()
        if frozen("CASES")[-1] != said:
            pytest.fail(f"A new migration must run this, as CASES:\n{said}")

    def test_keep_every_record_that_the_code_names(self):
        texts = frozen("APPEND_ONLY")
        function, *_triggers = guards.append_only_sql([""]).split("\nDROP")
        for table in guards.APPEND_ONLY:
            said = guards.append_only_sql([table])
            newest = next((t for t in reversed(texts) if f" {table};" in t), "")
            if not newest.startswith(function) or said.removeprefix(function) not in newest:
                pytest.fail(f"A new migration must run this, as APPEND_ONLY:\n{said}")


def our_tables() -> list[str]:
    of_ours = [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model.__module__.split(".")[0] in OURS
    ]
    return sorted([*of_ours, "portal_cache"])


def make_what_the_code_says() -> None:
    """In the schema searched now: the models' own tables and the code's own guards."""
    with connection.schema_editor() as editor:
        for model in apps.get_models():
            if model._meta.can_migrate(connection):
                editor.create_model(model)
        editor.execute(guards.legal_moves_sql(moves=MOVES, first=FIRST_STATES), params=None)
        editor.execute(guards.append_only_sql(guards.APPEND_ONLY), params=None)
        editor.execute(guards.cases_sql(), params=None)
    call_command("createcachetable", verbosity=0)


@pytest.mark.django_db
def test_an_empty_database_becomes_what_models_and_guards_say():
    tables = our_tables()
    assert len(tables) > 30
    migrated = catalog.of(connection, tables)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA said")
        cursor.execute("SET LOCAL search_path = said")
    make_what_the_code_says()
    said = catalog.of(connection, tables)
    assert len(said) > 700
    assert (migrated - said, said - migrated) == (set(), set())

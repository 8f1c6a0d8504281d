"""Whether the database is the one this release was written for."""

from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def refuse_unmigrated() -> None:
    """Raises CommandError where migrations are missing: nothing may run on half a schema.

    OperationalError where the database cannot be reached.
    """
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is older than this release: run manage.py migrate.")

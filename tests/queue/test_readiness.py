"""A database older than the release: every command that works on it says what to do, and stops."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from portal.models import Heartbeat
from portal.supervision.supervisor import Supervisor


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["sweep", "verify", "reconcile", "run_workers"])
def test_a_database_that_is_not_migrated_is_said_and_nothing_is_done(command, monkeypatch):
    monkeypatch.setattr(Supervisor, "run", lambda _self: pytest.fail("workers were started"))
    [last] = MigrationExecutor(connection).loader.graph.leaf_nodes("billing")
    MigrationRecorder(connection).record_unapplied(*last)
    with pytest.raises(CommandError, match=r"older than this release: run manage\.py migrate\."):
        call_command(command)
    assert not Heartbeat.objects.exists()

"""The queue's workers: all clusters, watched over, until stopped. One per machine."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError

from portal import checks
from portal.supervision import readiness
from portal.supervision.queue_settings import MONEY, cluster_settings
from portal.supervision.supervisor import Cluster, Supervisor, Sweeper

STOP_MARGIN_S = 5


class Command(BaseCommand):
    help = "Runs and watches over the queue's clusters, and sweeps when the queue does not."
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", choices=settings.Q_CLUSTER_NAMES, help="just this cluster")

    def handle(self, *args: Any, only: str | None, **options: Any) -> None:
        self._refuse_unready_database()
        names = [only] if only else settings.Q_CLUSTER_NAMES
        Supervisor(
            clusters=[self._cluster(name) for name in names],
            sweeper=Sweeper(say=self._say) if MONEY in names else None,
            stop_grace_s=settings.Q_CLUSTER["timeout"] + STOP_MARGIN_S,
            say=self._say,
        ).run()

    def _refuse_unready_database(self) -> None:
        """A supervisor of processes (systemd, a container) starts us again until it is ready."""
        try:
            self.check(tags=[Tags.database], databases=[DEFAULT_DB_ALIAS])
            readiness.refuse_unmigrated()
        except OperationalError as error:
            raise CommandError(
                "The database cannot be reached: start PostgreSQL, or correct DATABASE_URL."
            ) from error

    def _cluster(self, name: str) -> Cluster:
        own = cluster_settings(settings.Q_CLUSTER, name)
        return Cluster(
            name=name, workers=own["workers"], task_timeout_s=own["timeout"], say=self._say
        )

    def _say(self, event: str, **facts: object) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        told = " ".join(f'{key}="{value}"' for key, value in facts.items())
        self.stdout.write(f"{at} run_workers {event} {told}".rstrip())
        self.stdout.flush()

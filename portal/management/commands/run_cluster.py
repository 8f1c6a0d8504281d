"""One cluster of the queue, as `run_workers` starts it. Alone, nothing would watch over it."""

import multiprocessing
import os
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django_q.cluster import Cluster

# Also connects what a worker must record about its sweeps.
from portal import heartbeats
from portal.supervision import tether


class Command(BaseCommand):
    help = "Runs one cluster, named by Q_CLUSTER_NAME. Use run_workers, which watches over it."
    requires_system_checks: list[str] = []  # run_workers has made them

    def handle(self, *args: Any, **options: Any) -> None:
        if not os.environ.get("Q_CLUSTER_NAME"):
            raise CommandError("Q_CLUSTER_NAME is not set: start the clusters by run_workers.")
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError("The database cannot be reached.") from error
        connection.close()  # a connection must not be shared with forks
        # django-q2 forks, but makes its events by the default method: they must be of one kind.
        multiprocessing.set_start_method("fork", force=True)
        # Its orphans would go on taking tasks. Killed, because what is left of it may hang.
        tether.tie_forks(signum=signal.SIGKILL)
        Cluster().start()


__all__ = ["Command", "heartbeats"]

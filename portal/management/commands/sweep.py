"""One money sweep: for the supervisor, cron or a systemd timer, independent of the queue."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from portal import heartbeats


class Command(BaseCommand):
    help = "Finds what is due or stuck and does it, once. Harmless at any time, also twice at once."

    def handle(self, *args: Any, **options: Any) -> None:
        import_string(settings.SWEEP_TASK)()
        heartbeats.mark(heartbeats.SWEEP)

"""`manage.py sweep`: do everything that is due, without the queue. For cron and the supervisor."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing import schedules, tasks
from billing.engine import sweeps
from portal import heartbeats
from portal.supervision import readiness


class Command(BaseCommand):
    help = "Run the sweeps once: money first, then balances, agreements and notices."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--money-only", action="store_true", help="leave the slow work out")

    def handle(self, *args: Any, **options: Any) -> None:
        readiness.refuse_unmigrated()
        outside = tasks.outside()
        mended = schedules.ensure()
        found = sweeps.money(clock=timezone.now, outside=outside, budget_s=tasks.MONEY_BUDGET_S)
        heartbeats.mark(heartbeats.SWEEP)
        self.stdout.write(
            f"money {found.money}, notifications {found.messages}, schedules mended {mended}"
        )
        if not options["money_only"]:
            budget_s = tasks.SLOW_BUDGET_S
            slow = sweeps.drain(clock=timezone.now, outside=outside, budget_s=budget_s)
            self.stdout.write(
                f"balances {slow.balances}, agreements {slow.bindings}, notices {slow.notices},"
                f" requests expired {slow.requests}"
            )

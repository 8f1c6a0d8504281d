"""`make demo`: everything on this machine, until Ctrl-C."""

import shutil
import subprocess
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from portal import embedded_postgres
from portal.demo.cast import SPARE
from portal.demo.stage import Stage
from portal.supervision.processes import Ended, NotReady, PortTaken, Processes

WELCOME = """
  Keepline (续线) runs. Ctrl-C ends all of it.

    portal      {web}/            sign in: alice@example.com   / {password}
    admin       {web}/admin/      sign in: ops@example.com     / {password}
                                  second person: finance@example.com / {password}
    API         {web}/api/v1/schema/   ·   {web}/api/v1/docs/
    Alipay      {alipay}/app      the payer's side: agreements, deductions, unsigning
    WeChat Pay  {wechat}/app      the same, in the wallet; it deducts 24 hours after it is asked
    cards       {stripe}/wallet   the bank's side: cards, payments, confirmations
    carriers    {carriers}
                lines and balances, and at …/sms the texts they sent (codes to sign in, to prove)
    to put in   China Unicom (Hong Kong), nobody's yet: 138 0000 0991, card {spare_iccid}
                eSIM 138 0000 0992, LPA:1$smdp.example.com$KEEPLINE-0992

  Balances are used up while you watch: a day's usage in two minutes. Logs: {logs}
  The books:    .venv/bin/python manage.py verify --against-simulators
"""


class Command(BaseCommand):
    help = "Run a whole installation with sample data and simulators on 127.0.0.1."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--fresh", action="store_true", help="forget the last demo's data")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.IS_LOCAL:
            raise CommandError("DATABASE_URL is set: the demo never touches a real database.")
        stage = Stage(var_dir=settings.VAR_DIR, port=settings.PORT)
        connections.close_all()
        try:
            stage.refuse_taken_ports()
            if stage.is_half_made:
                self.stdout.write("The last start was cut short: everything is made anew.")
            if options["fresh"] or stage.is_half_made:
                self._forget(stage)
            stage.prepare()
            self._run(stage)
        except (PortTaken, NotReady, Ended) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("")
        finally:
            embedded_postgres.stop(settings.VAR_DIR / "postgres")
            self.stdout.write("All ended.")

    def _run(self, stage: Stage) -> None:
        with Processes(log_dir=settings.VAR_DIR / "log") as run:
            self._step(stage, "Tables", "migrate", "--verbosity", "0")
            self._step(stage, "Static files", "collectstatic", "--noinput", "--verbosity", "0")
            self.stdout.write("Simulated Alipay, WeChat Pay, card network and carriers …")
            stage.start_simulators(run)
            stage.begin_sample_data()
            self._step(stage, "Sample data (six months, through the real executor)", "seed_demo")
            stage.end_sample_data()
            self.stdout.write("Web and workers …")
            stage.start_web(run)
            self._step(stage, "The present", "seed_demo", "--present")
            stage.start_workers(run)
            self._welcome(stage)
            try:
                run.wait()
            except KeyboardInterrupt:
                self.stdout.write("\nEnding …")
                self.stdout.flush()

    def _step(self, stage: Stage, title: str, *command: str) -> None:
        self.stdout.write(f"{title} …")
        self.stdout.flush()
        done = subprocess.run(stage.manage(*command), env=stage.child_environment(), check=False)  # noqa: S603 - our own command
        if done.returncode:
            raise CommandError(f"{title}: failed; the reason stands above.")

    def _forget(self, stage: Stage) -> None:
        embedded_postgres.stop(settings.VAR_DIR / "postgres")
        for folder in (settings.VAR_DIR / "postgres", stage.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _welcome(self, stage: Stage) -> None:
        self.stdout.write(
            WELCOME.format(
                web=stage.web_url,
                alipay=stage.alipay_url,
                wechat=stage.wechat_url,
                stripe=stage.stripe_url,
                carriers="  ".join(f"{url}/" for url in stage.carrier_urls.values()),
                spare_iccid=SPARE[0].iccid,
                password="keepline-demo",  # noqa: S106 - of the demo's people, on this machine
                logs=settings.VAR_DIR / "log",
            )
        )
        self.stdout.flush()

"""`manage.py seed_demo`: the demo's people and their months. Started by `manage.py demo`."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing import tasks
from lines import carriers
from lines.models import Carrier
from portal.demo.past import Past, Simulators
from portal.demo.stage import RAILS


class Command(BaseCommand):
    help = "Play the demo's past through the real executor, or set its present."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--bare", action="store_true", help="carriers and operators alone")
        parser.add_argument("--present", action="store_true", help="set the balances of now")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.IS_LOCAL or not settings.SIMULATORS:
            raise CommandError("Sample data go into a demo only: start one with `make demo`.")
        past = Past(
            simulators=Simulators(_rails(), _carriers()),
            outside=tasks.outside(),
            now=timezone.now(),
            say=self.stdout.write,
        )
        if options["bare"]:
            past.furnish()
            past.keep_the_law()
            self._subscribe()
        elif options["present"]:
            self._subscribe()
            past.present()
        else:
            past.seed()

    def _subscribe(self) -> None:
        """Ask each carrier to tell us of balances and top-ups; asking again changes nothing."""
        for carrier in Carrier.objects.filter(code__in=_carriers()):
            url = f"{settings.PUBLIC_URL}/hooks/carriers/{carrier.code}/events"
            adapter: Any = carriers.adapter_for(carrier)
            adapter.register_hub(callback_url=url)


def _carriers() -> dict[str, str]:
    return {code: url for code, url in settings.SIMULATORS.items() if code not in RAILS}


def _rails() -> dict[str, str]:
    return {code: url for code, url in settings.SIMULATORS.items() if code in RAILS}

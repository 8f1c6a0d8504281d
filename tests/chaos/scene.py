"""The stage: an Alipay and a carrier as real processes, and people with lines and rules on them.

    with open_scene(folder) as scene:
        rule = scene.rule(balance_minor=980)
        scene.outside()                    # the real adapters, over HTTP
        scene.report()                     # `verify --against-simulators`

The simulators keep the other two of the three books; settings point the adapters at them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from billing import tasks
from billing.models import Binding, Rule
from billing.outside import Outside
from billing.reference_data import load
from tests import world as w
from tests.carriers.simulators import HUB_SECRET, TOKEN, CarrierSimulator, start_tmf654
from tests.rails.simulators import RICH, AlipaySimulator, start_alipay

CARRIER = "cmcc"
PLENTY_MINOR = 10**12
# The shortest that the Alipay adapter takes.
CALL_TIMEOUT_S = 3


@dataclass
class Scene:
    """A running rail and a running carrier."""

    alipay: AlipaySimulator
    carrier: CarrierSimulator

    def settings(self, *, public_url: str = "") -> dict[str, Any]:
        """What settings must say for the adapters to find the simulators."""
        return {
            "RAILS": {"alipay": self.alipay.settings()},
            "RAILS_STOPPED": {},
            "CARRIER_TOKENS": {CARRIER: TOKEN},
            "CARRIER_HUB_SECRET": HUB_SECRET,
            "CALL_TIMEOUT_S": CALL_TIMEOUT_S,
            "PUBLIC_URL": public_url,
            "SIMULATORS": {"alipay": self.alipay.url, "carrier": self.carrier.url},
        }

    def apply(self, *, public_url: str = "") -> None:
        """Set them for this process and its forks."""
        for name, value in self.settings(public_url=public_url).items():
            setattr(settings, name, value)

    def calm(self) -> None:
        """No more faults; a payer with plenty of money."""
        self.alipay.calm()
        self.alipay.payer(RICH, balance_minor=PLENTY_MINOR, daily_limit_minor=PLENTY_MINOR)
        self.carrier.clear_faults()
        self.carrier.end_topups()

    def outside(self) -> Outside:
        return tasks.outside()

    # --- people -------------------------------------------------------------------------------

    def binding(self, owner: Any) -> Binding:
        """An agreement that is signed at the rail too."""
        made = w.binding(owner)
        made.provider_ref = self.alipay.agree(made.ref)
        made.save(update_fields=["provider_ref"])
        return made

    def rule(self, owner: Any = None, *, binding: Binding | None = None, **more: Any) -> Rule:
        """A line at the carrier, with a rule on it that is on."""
        owner = owner or w.person()
        w.carrier(base_url=self.carrier.url)
        balance_minor = more.pop("balance_minor", 5000)
        line = w.line(owner, balance_minor=balance_minor)
        self.carrier.control(
            "POST", "/lines", {"number": line.msisdn, "balance_minor": balance_minor}
        )
        return w.rule(line, binding=binding or self.binding(owner), **more)

    # --- the books ----------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """What `manage.py verify --json --against-simulators` says, clean or not."""
        output = StringIO()
        try:
            call_command("verify", "--json", "--against-simulators", stdout=output)
        except CommandError:
            if not output.getvalue():
                raise
        document: dict[str, Any] = json.loads(output.getvalue())
        return document

    def charges(self) -> list[tuple[str, int]]:
        """(reference, minor units) of every charge in the rail's own journal."""
        return [(one["reference"], one["amount_minor"]) for one in self.alipay.journal("charge")]

    def credits(self, kind: str = "credit") -> list[tuple[str, int]]:
        """(reference, minor units) of every credit, or reversal, in the carrier's own journal."""
        return [
            (one["reference"], one["amount_minor"])
            for one in self.carrier.journal()
            if one["kind"] == kind
        ]


@contextmanager
def open_scene(folder: Path) -> Iterator[Scene]:
    """Start both; they end with the block."""
    with start_alipay(folder) as alipay, start_tmf654(folder) as carrier:
        yield Scene(alipay, carrier)


def load_reference_data() -> None:
    """Rails and decline codes, and waits after a soft decline that fit a short run."""
    load()
    w.rail(retry_ladder_s=[60, 120, 300])

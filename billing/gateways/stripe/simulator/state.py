"""Everything one simulator is made of."""

from dataclasses import dataclass, field
from pathlib import Path

from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Faults
from billing.gateways.simulation.journal import Journal
from billing.gateways.stripe.simulator.books import Books
from billing.gateways.stripe.simulator.faults import TABLE
from billing.gateways.stripe.simulator.lies import Lies
from billing.gateways.stripe.simulator.webhooks import Notifier


@dataclass(slots=True)
class Simulator:
    """One Stripe account. The fields below the gap may be changed while it runs, by `/_control`."""

    secret_key: str
    merchant_name: str
    base_url: str
    reference_key: str  # the metadata by which the journal names a charge and a refund
    refund_key: str
    time: VirtualClock
    agenda: Agenda
    books: Books
    notifier: Notifier
    faults: Faults = field(default_factory=lambda: Faults(TABLE))
    lies: Lies = field(default_factory=Lies)
    keys_in_use: set[str] = field(default_factory=set)

    auto_agree: bool = False
    processing_s: int = 2
    search_lag_s: int = 0
    settlement_currency: str = ""  # "": each charge's own
    leaves_unattached: bool = False  # a signed card is not attached to its customer
    refund_status: str = "succeeded"  # of new refunds


def build(
    *,
    secret_key: str,
    webhook_url: str,
    webhook_secrets: list[str],
    merchant_name: str,
    base_url: str,
    reference_keys: tuple[str, str],
    journal: Path,
) -> Simulator:
    """A simulator whose books are what the journal says."""
    time = VirtualClock()
    agenda = Agenda(time)
    return Simulator(
        secret_key=secret_key,
        merchant_name=merchant_name,
        base_url=base_url,
        reference_key=reference_keys[0],
        refund_key=reference_keys[1],
        time=time,
        agenda=agenda,
        books=Books(Journal(journal), time),
        notifier=Notifier(url=webhook_url, secrets=webhook_secrets, agenda=agenda, time=time),
    )

"""Everything one simulator is made of."""

from dataclasses import dataclass, field
from pathlib import Path

from billing.gateways.alipay.simulator.bills import Bills
from billing.gateways.alipay.simulator.books import Books
from billing.gateways.alipay.simulator.faults import TABLE
from billing.gateways.alipay.simulator.notices import Notifier
from billing.gateways.alipay.simulator.signatures import Seal
from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Faults
from billing.gateways.simulation.journal import Journal


@dataclass(slots=True)
class Simulator:
    """One Alipay. The fields below the gap may be changed while it runs, by `/_control`."""

    app_id: str
    seller_id: str
    merchant_name: str
    base_url: str
    seal: Seal
    time: VirtualClock
    agenda: Agenda
    books: Books
    bills: Bills
    notifier: Notifier
    faults: Faults = field(default_factory=lambda: Faults(TABLE))

    app_gateway_url: str = ""
    auto_agree: bool = False
    async_delay_s: int = 2
    declines_leave_open: bool = False


def build(
    *, app_id: str, seller_id: str, merchant_name: str, base_url: str, journal: Path, seal: Seal
) -> Simulator:
    """A simulator whose books are what the journal says."""
    time = VirtualClock()
    agenda = Agenda(time)
    books = Books(Journal(journal), time)
    return Simulator(
        app_id=app_id,
        seller_id=seller_id,
        merchant_name=merchant_name,
        base_url=base_url,
        seal=seal,
        time=time,
        agenda=agenda,
        books=books,
        bills=Bills(books, time, seller_id),
        notifier=Notifier(seal=seal, app_id=app_id, agenda=agenda, time=time),
    )

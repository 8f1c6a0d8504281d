"""Everything one simulator is made of."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from billing.gateways.simulation.agenda import Agenda, VirtualClock
from billing.gateways.simulation.faults import Faults
from billing.gateways.simulation.journal import Journal
from billing.gateways.wechat.simulator.bills import Bills
from billing.gateways.wechat.simulator.books import Books
from billing.gateways.wechat.simulator.faults import TABLE
from billing.gateways.wechat.simulator.keys import Keys
from billing.gateways.wechat.simulator.notifier import Notifier
from billing.gateways.wechat.simulator.settings import Settings


@dataclass(slots=True)
class Simulator:
    """One WeChat Pay with one merchant and one template."""

    app_id: str
    mch_id: str
    plan_id: str
    merchant_name: str
    base_url: str
    keys: Keys
    settings: Settings
    time: VirtualClock
    agenda: Agenda
    books: Books
    bills: Bills
    faults: Faults
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.notifier = Notifier(
            keys=self.keys, books=self.books, agenda=self.agenda, time=self.time, faults=self.faults
        )

    def change(self, settings: dict[str, object]) -> None:
        """Change settings for good. Raises ValueError, and then nothing is changed."""
        replace(self.settings).change(settings)
        self.books.record("settings", changes=settings)

    def advance(self, seconds: int) -> None:
        """Move the clock; what comes due by that is done when this returns."""
        self.agenda.advance(lambda: self.books.record("clock", advance_s=seconds))


def build(
    *,
    app_id: str,
    mch_id: str,
    plan_id: str,
    merchant_name: str,
    base_url: str,
    journal: Path,
    keys: Keys,
    settings: Settings,
) -> Simulator:
    """A simulator whose books are what the journal says."""
    time = VirtualClock()
    books = Books(Journal(journal), time, settings)
    return Simulator(
        app_id=app_id,
        mch_id=mch_id,
        plan_id=plan_id,
        merchant_name=merchant_name,
        base_url=base_url,
        keys=keys,
        settings=settings,
        time=time,
        agenda=Agenda(time),
        books=books,
        bills=Bills(books, app_id=app_id, mch_id=mch_id),
        faults=Faults(TABLE),
    )

"""What happens without a call of the merchant's: by a payer on a page, a bank, `/_control`."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing.gateways.stripe.simulator.calls import Call, shown
from billing.gateways.stripe.simulator.state import Simulator


@contextmanager
def act(simulator: Simulator, method: str = "", reference: str = "") -> Iterator[Call]:
    """A call to change things with; written down and told at the end, unless it raised.

    `method` is what faults of its webhooks are ordered by.
    """
    plan = simulator.faults.plan(method, reference)
    with simulator.books.lock:
        call = Call(simulator, {}, simulator.time.now(), plan)
        yield call
        simulator.books.record(call.change)
    simulator.notifier.send([(kind, shown(one)) for kind, one in call.change.events], plan.notices)

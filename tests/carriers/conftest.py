"""One simulated carrier for a whole module of tests: each test has lines of its own on it."""

import pytest

from tests.carriers.adapters import adapter_for
from tests.carriers.simulators import CarrierSimulator, start_tmf654


@pytest.fixture(scope="module")
def running_carrier(tmp_path_factory):
    with start_tmf654(tmp_path_factory.mktemp("tmf654")) as simulator:
        yield simulator


@pytest.fixture
def carrier(running_carrier: CarrierSimulator):
    """As it was at the start, but for the books: no faults, top-ups complete at once."""
    yield running_carrier
    running_carrier.clear_faults()
    running_carrier.end_topups()
    running_carrier.control("DELETE", "/statement")


@pytest.fixture
def adapter(carrier):
    return adapter_for(carrier)


@pytest.fixture
def alice(carrier):
    """Her line: 12.34 CNY on it."""
    return carrier.add_line(balance_minor=1234)

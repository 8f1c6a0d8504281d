"""Running simulators, one process a module; each test finds it calm."""

from collections.abc import Iterator

import pytest

from tests.rails.simulators import RICH, AlipaySimulator, Inbox, start_alipay
from tests.rails.stripe_world import (  # noqa: F401
    events,
    own_stripe,
    stripe_process,
    stripe_sim,
)


@pytest.fixture(scope="module")
def alipay_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlipaySimulator]:
    with start_alipay(tmp_path_factory.mktemp("alipay")) as simulator:
        yield simulator


@pytest.fixture
def alipay(alipay_process: AlipaySimulator, inbox: Inbox) -> AlipaySimulator:
    """The module's Alipay without faults, its rich payer rich, its app gateway the inbox."""
    alipay_process.calm_again()
    alipay_process.payer(
        RICH, balance_minor=100_000_000, daily_limit_minor=100_000_000, is_frozen=False
    )
    alipay_process.set(
        app_gateway_url=inbox.url,
        async_delay_s=1,
        declines_leave_open=False,
        signs_with_type=False,
        is_silent=False,
        auto_agree=False,
    )
    return alipay_process


@pytest.fixture
def own_alipay(tmp_path) -> Iterator[AlipaySimulator]:
    """An Alipay of this test's own: to move its clock, kill it, or count everything in it."""
    with start_alipay(tmp_path) as simulator:
        yield simulator


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()
    yield box
    box.close()

"""WeChat Pay's adapter keeps the contract of all rails, in each of its three notice modes."""

from contextlib import ExitStack

import pytest

from tests.rails.contract import RailContract
from tests.rails.simulators import Inbox
from tests.rails.wechat_world import OK, rail_of, wechat_in

pytestmark = pytest.mark.processes


@pytest.fixture
def inbox():
    box = Inbox(answer=OK)
    yield box
    box.close()


@pytest.fixture(scope="module")
def wechats(tmp_path_factory):
    """One process a mode, started when first asked for."""
    started = {}
    with ExitStack() as stack:

        def of(mode):
            if mode not in started:
                directory = tmp_path_factory.mktemp("wechat")
                started[mode] = stack.enter_context(wechat_in(directory, mode))
            return started[mode]

        yield of


class InMode(RailContract):
    """The contract in the mode that the subclass names."""

    mode = ""

    @pytest.fixture
    def rail(self, wechats, inbox):
        wechat = wechats(self.mode)
        wechat.calm_again()
        return rail_of(wechat, inbox, self.mode)


class TestWechatKeepsTheContractADayAfterThePayerWasTold(InMode):
    mode = "24h"


class TestWechatKeepsTheContractAfterOurAnnouncement(InMode):
    mode = "notify"


class TestWechatKeepsTheContractWithoutAnyAnnouncement(InMode):
    mode = "none"

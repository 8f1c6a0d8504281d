"""Stripe held to the contract of every rail."""

import pytest

from tests.rails.contract import RailContract
from tests.rails.stripe_world import rail_of

pytestmark = pytest.mark.processes


class TestStripe(RailContract):
    @pytest.fixture
    def rail(self, stripe_sim, events):
        return rail_of(stripe_sim, events)

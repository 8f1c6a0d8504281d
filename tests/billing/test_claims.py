"""Which references may yet take effect: those are asked about, and never replaced by a new one."""

from types import SimpleNamespace

import pytest

from billing.recharges import claims


class TestAReference:
    @pytest.mark.parametrize(
        ("state", "is_live"),
        [
            ("intended", True),
            ("pending", True),
            ("unknown", True),
            ("succeeded", True),
            ("declined", False),
            ("closed", False),
        ],
    )
    def test_of_a_charge_is_over_once_it_was_declined_or_closed(self, state, is_live):
        row = SimpleNamespace(attempt_id=1, attempt_state=state)
        assert claims.is_live_attempt(row) is is_live

    @pytest.mark.parametrize(
        ("state", "is_live"),
        [
            ("intended", True),
            ("accepted", True),
            ("unknown", True),
            ("credited", True),
            ("rejected", False),
            ("reversed", False),
        ],
    )
    def test_of_a_credit_is_over_once_it_was_rejected_or_taken_back(self, state, is_live):
        row = SimpleNamespace(delivery_id=1, delivery_state=state)
        assert claims.is_live_delivery(row) is is_live

    def test_that_was_never_made_is_none(self):
        row = SimpleNamespace(
            attempt_id=None, attempt_state=None, delivery_id=None, delivery_state=None
        )
        assert not claims.is_live_attempt(row)
        assert not claims.is_live_delivery(row)

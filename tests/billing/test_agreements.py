"""What a rail's word makes of an agreement, and when it is asked again: pure, a row a case."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.bindings import agreements
from billing.gateways.base import BindingFacts, BindingStatus, NotFound, Unknown
from billing.models import Binding

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)

PENDING, ACTIVE, SUSPENDED, REVOKED, EXPIRED = (
    BindingFacts(BindingStatus(word))
    for word in ("pending", "active", "suspended", "revoked", "expired")
)


def binding(state: str, **more: object) -> Binding:
    return Binding(state=state, created_at=NOON - 30 * DAY, **more)


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("before", "said", "after"),
        [
            ("pending", ACTIVE, "active"),
            ("active", SUSPENDED, "suspended"),
            ("suspended", ACTIVE, "active"),
            ("active", REVOKED, "revoked"),
            ("active", EXPIRED, "expired"),
            ("active", NotFound(), "revoked"),  # there was one
            ("active", Unknown("down"), "active"),
            ("suspended", Unknown("down"), "suspended"),
            ("pending", SUSPENDED, "pending"),  # never agreed to, so nothing to suspend
            ("pending", Unknown("down"), "pending"),
            ("pending", PENDING, "abandoned"),  # for a month
            ("pending", NotFound(), "abandoned"),
        ],
    )
    def test_changes_no_more_than_it_says(self, before, said, after):
        assert agreements.state_after(binding(before), said, at=NOON) == after

    @pytest.mark.parametrize(
        ("before", "said", "after"),
        [
            ("active", ACTIVE, "active"),  # not yet; it is told again
            ("pending", ACTIVE, "pending"),  # signed after its owner had ended it: never used
            ("active", NotFound(), "revoked"),
            ("pending", NotFound(), "abandoned"),
            ("pending", REVOKED, "abandoned"),
            ("active", Unknown("down"), "active"),
        ],
    )
    def test_about_one_that_its_owner_has_ended_never_revives_it(self, before, said, after):
        ending = binding(before, pause_reason="ending")
        assert agreements.state_after(ending, said, at=NOON) == after

    @pytest.mark.parametrize(("age", "after"), [(DAY, "abandoned"), (DAY - SECOND, "pending")])
    def test_that_nobody_signed_gives_it_up_after_a_day(self, age, after):
        young = Binding(state="pending", created_at=NOON - age)
        assert agreements.state_after(young, PENDING, at=NOON) == after

    @pytest.mark.parametrize("said", [Unknown("down"), SUSPENDED])
    def test_that_does_not_come_lets_it_run_out_by_its_own_date(self, said):
        ending_now = binding("active", expires_at=NOON)
        assert agreements.state_after(ending_now, said, at=NOON) == "expired"
        assert agreements.state_after(ending_now, said, at=NOON - SECOND) != "expired"

    def test_that_it_stands_outweighs_the_date_it_had(self):
        renewed = binding("active", expires_at=NOON - DAY)
        assert agreements.state_after(renewed, ACTIVE, at=NOON) == "active"


class TestTheNextLook:
    @pytest.mark.parametrize(
        ("seen", "said", "wait"),
        [
            (binding("active"), ACTIVE, DAY),
            (binding("active"), Unknown("down"), HOUR),
            (binding("active", pause_reason="ending"), Unknown("down"), 5 * MINUTE),
            (Binding(state="pending", created_at=NOON - HOUR + SECOND), PENDING, 2 * MINUTE),
            (Binding(state="pending", created_at=NOON - HOUR), PENDING, HOUR),
            (binding("active", expires_at=NOON + 2 * DAY + HOUR), ACTIVE, HOUR),  # to warn of it
            (binding("active", expires_at=NOON + 2 * HOUR), ACTIVE, 2 * HOUR),  # to end it
            (binding("active", expires_at=NOON - HOUR), ACTIVE, DAY),
        ],
    )
    def test_is_when_something_may_have_changed(self, seen, said, wait):
        assert agreements.next_look(seen, said, at=NOON) == NOON + wait

    @pytest.mark.parametrize("state", ["revoked", "expired", "abandoned"])
    def test_is_never_when_it_is_over(self, state):
        assert agreements.next_look(binding(state), REVOKED, at=NOON) is None

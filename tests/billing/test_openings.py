"""Due rules become recharges: what is on its way is counted, and who was first keeps its place."""

import pytest

from billing.models import Recharge
from billing.rules import gathering
from tests import world as w
from tests.factories.billing import RechargeFactory

pytestmark = pytest.mark.django_db


def recharge(rule, **more) -> Recharge:
    """With a bonus of 3.00."""
    return RechargeFactory.create(rule=rule, bonus_minor=300, **more)


class TestCreditOnItsWay:
    """The reading in `w.line` was made four minutes before noon."""

    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            ({}, (True, 5300)),
            ({"payment_unknown": True}, (True, 5300)),
            ({"completed": True, "completed_at": w.NOON - 3 * w.MINUTE}, (False, 5300)),
            ({"completed": True, "completed_at": w.NOON - 4 * w.MINUTE}, None),
            ({"canceled": True}, None),
        ],
    )
    def test_is_what_was_agreed_and_given_and_not_yet_read(self, how, expected):
        rule = w.rule()
        recharge(rule, **how)

        assert gathering.in_flight([rule.line_id]).get(rule.line_id) == expected

    def test_is_not_bought_again_with_the_bonus_still_unread(self, world):
        rule = w.rule(w.line(balance_minor=980), threshold_minor=6200, wake_at=world.at)
        recharge(rule, completed=True, completed_at=world.at)

        world.run()

        assert Recharge.objects.count() == 1

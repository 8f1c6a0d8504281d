"""Due rules become recharges: what is on its way is counted, and who was first keeps its place."""

import pytest

from billing.models import Recharge
from billing.rules import gathering
from tests import world as w

pytestmark = pytest.mark.django_db


PAID_AND_CREDITED = ("charging", "delivering", "completed")


def recharge(rule, *path: str, completed_at=None) -> Recharge:
    """Opened as due, with a bonus of 3.00, and moved along `path`."""
    given = {
        "line": rule.line,
        "owner": rule.line.owner,
        "rule": rule,
        "binding": rule.binding,
        "rail": "alipay",
        "sim_generation": 1,
        "trigger": "low_balance",
        "period_key": "1",
        "state": "due",
        "face_minor": 5000,
        "bonus_minor": 300,
        "price_minor": 5000,
        "currency": "CNY",
        "ladder_s": [],
        "cap_day": w.NOON.date(),
        "cap_month": w.NOON.date().replace(day=1),
        "created_at": w.NOON,
        "due_at": w.NOON,
        "expires_at": w.NOON + w.DAY,
        "act_at": w.NOON,
        "charged_at": completed_at,
    }
    opened = Recharge.objects.create(**given)
    for state in path:
        Recharge.objects.filter(pk=opened.pk).update(state=state)
    if completed_at:
        Recharge.objects.filter(pk=opened.pk).update(completed_at=completed_at, act_at=None)
    return opened


class TestCreditOnItsWay:
    """The reading in `w.line` was made four minutes before noon."""

    @pytest.mark.parametrize(
        ("path", "completed_at", "expected"),
        [
            ((), None, (True, 5300)),
            (("charging", "payment_unknown"), None, (True, 5300)),
            (PAID_AND_CREDITED, w.NOON - 3 * w.MINUTE, (False, 5300)),
            (PAID_AND_CREDITED, w.NOON - 4 * w.MINUTE, None),
            (("canceled",), None, None),
        ],
    )
    def test_is_what_was_agreed_and_given_and_not_yet_read(self, path, completed_at, expected):
        rule = w.rule()
        recharge(rule, *path, completed_at=completed_at)

        assert gathering.in_flight([rule.line_id]).get(rule.line_id) == expected

    def test_is_not_bought_again_with_the_bonus_still_unread(self, world):
        rule = w.rule(w.line(balance_minor=980), threshold_minor=6200, wake_at=world.at)
        recharge(rule, *PAID_AND_CREDITED, completed_at=world.at)

        world.run()

        assert Recharge.objects.count() == 1

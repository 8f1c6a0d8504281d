"""A number that is somebody else's now: the old plan stops, its owner is told, money goes back."""

from datetime import timedelta

import pytest

from billing.models import Notice, NoticeDelivery, NoticeKind, Recharge, Rule
from billing.notices import telling
from billing.plans import handovers
from billing.rules import by_hand
from lines import lifecycle
from lines.carriers.base import NotAllowed, Rejected
from lines.models import Carrier, Delivery, Line, LineStatus
from tests import world as w
from tests.world import HOUR

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world):
    """Alice's plan, of a number she proved a month ago."""
    return w.rule(w.line(balance_minor=1860), wake_at=world.at)


def claim(rule, at):
    """Bob puts in Alice's number, and gets the code that is sent to it."""
    line = w.line(
        w.person("bob"), msisdn=rule.line.msisdn, status="unverified", verified_at=None,
        balance_minor=None, label="",
    )  # fmt: skip
    return line, lifecycle.request_proof(line=line, at=at).code


def hand_over(rule, at):
    line, code = claim(rule, at)
    return handovers.prove(line=line, code=code, at=at)


def recharge(rule, at, **more):
    return by_hand.recharge(
        line=rule.line, binding=rule.binding, face_minor=5000, owner=rule.line.owner,
        idempotency_key="once", at=at, **more,
    )  # fmt: skip


def now(recharge) -> tuple[str, str]:
    recharge.refresh_from_db()
    return recharge.state, recharge.reason


class TestTheOldPlan:
    def test_stops_and_its_owner_is_told_once_by_mail_too(self, world, rule):
        Rule.objects.update(channels=["inbox"])
        proven = hand_over(rule, world.at)
        assert proven.is_live
        rule.refresh_from_db()
        assert (rule.is_on, rule.wake_at, rule.line.owner.name) == (False, None, "alice")
        notice = Notice.objects.get()
        assert (notice.kind, notice.owner, notice.line) == (
            NoticeKind.NUMBER_MOVED, rule.line.owner, rule.line,
        )  # fmt: skip
        assert NoticeDelivery.objects.get().channel == "email"

    def test_charges_nothing_afterwards(self, world, rule):
        hand_over(rule, world.at)
        Line.objects.update(balance_minor=100)
        for _ in range(3):
            world.later(w.DAY)
            world.run()
        assert not Recharge.objects.exists()
        assert world.gateway.calls["charge"] == []

    def test_stops_even_where_nobody_told_the_plan(self, world, rule):
        """`lines` knows nothing of plans: the line's own status is enough."""
        line, code = claim(rule, world.at)
        lifecycle.prove(line=line, code=code, at=world.at)
        Line.objects.filter(pk=rule.line_id).update(balance_minor=100)
        world.run()
        rule.refresh_from_db()
        assert rule.pause_reason == "line_not_active"
        assert not Recharge.objects.exists()

    def test_goes_on_where_the_code_was_wrong(self, world, rule):
        line, code = claim(rule, world.at)
        with pytest.raises(lifecycle.WrongCode):
            handovers.prove(line=line, code=f"{(int(code) + 1) % 10**6:06d}", at=world.at)
        rule.refresh_from_db()
        assert rule.is_on
        assert not Notice.objects.exists()

    def test_of_a_line_without_one_is_only_told(self, world, rule):
        Rule.objects.update(is_on=False)
        hand_over(rule, world.at)
        assert Notice.objects.get().facts == {}
        rule.refresh_from_db()
        assert rule.version == 1

    @pytest.mark.parametrize(
        ("language", "title", "ways"),
        [
            ("en", "Number verified by someone else: 妈妈的手机", ("¥50 is off", "your carrier")),
            ("zh-hans", "号码已被他人验证：妈妈的手机", ("¥50", "运营商")),
        ],
    )
    def test_is_told_in_words_that_name_nobody(self, world, rule, language, title, ways):
        hand_over(rule, world.at)
        said = telling.words(notice=Notice.objects.get(), language=language)
        assert said.title == title
        assert all(way in said.body for way in ways)
        assert "bob" not in said.title + said.body


class TestWhatIsUnderWay:
    def test_unpaid_is_canceled_at_once(self, world, rule):
        Carrier.objects.update(deferred_since=world.at)
        opened = recharge(rule, world.at)
        world.run()
        assert now(opened) == ("waiting", "carrier_deferred")
        hand_over(rule, world.at)
        assert now(opened) == ("canceled", "number_moved")
        assert world.gateway.calls["charge"] == []
        w.assert_balanced()

    def test_at_the_rail_is_not_credited_to_the_stranger_and_goes_back(self, world, rule):
        """The charge is on its way when the number moves: what was called cannot be called back."""
        charge = world.gateway.charge

        def meanwhile(*, request):
            hand_over(rule, world.at)
            return charge(request=request)

        opened = recharge(rule, world.at)
        world.gateway.charge = meanwhile
        world.run()
        assert now(opened)[0] == "refunded"
        assert list(world.gateway.refunded.values()) == [5000]
        assert world.carrier.credits == {}
        assert not Delivery.objects.exists()
        kinds = set(Notice.objects.values_list("kind", flat=True))
        assert kinds == {NoticeKind.NUMBER_MOVED, NoticeKind.REFUNDED}
        w.assert_balanced()

    def test_paid_and_to_be_credited_once_more_goes_back(self, world, rule):
        opened = recharge(rule, world.at)
        world.carrier.script = [Rejected("busy", is_permanent=False)]
        world.run()
        assert now(opened) == ("charged", "carrier_retry")
        hand_over(rule, world.at)
        world.later(HOUR)
        world.run()
        assert now(opened)[0] == "refunded"
        assert opened.moves.filter(because="line_lost").exists()
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_refused_for_our_own_fault_closes_its_order_and_goes_back(self, world, rule):
        opened = recharge(rule, world.at)
        world.carrier.script = [NotAllowed("token_expired")]
        world.run()
        assert now(opened) == ("charged", "carrier_config")
        hand_over(rule, world.at)
        world.later(w.DAY)
        world.run()
        assert now(opened)[0] == "refunded"
        order = Delivery.objects.get()
        assert (order.state, order.code) == ("rejected", "line_lost")
        assert world.carrier.credits == {}
        w.assert_balanced()

    @pytest.mark.parametrize("status", [LineStatus.PORTED_OUT, LineStatus.REMOVED])
    def test_of_a_line_that_is_gone_otherwise_goes_back_as_well(self, world, rule, status):
        charge = world.gateway.charge

        def meanwhile(*, request):
            Line.objects.filter(pk=rule.line_id).update(status=status)
            return charge(request=request)

        opened = recharge(rule, world.at)
        world.gateway.charge = meanwhile
        world.run()
        assert now(opened)[0] == "refunded"
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_completed_before_stays_the_old_owners_history(self, world, rule):
        opened = recharge(rule, world.at)
        world.run()
        hand_over(rule, world.at + timedelta(hours=1))
        assert now(opened)[0] == "completed"
        assert opened.owner == rule.line.owner
        w.assert_balanced()


class TestTheNewOwner:
    def test_has_a_plan_of_their_own_and_nothing_of_the_old(self, world, rule):
        proven = hand_over(rule, world.at)
        mine = w.rule(proven, wake_at=world.at)
        Line.objects.filter(pk=proven.pk).update(balance_minor=500, balance_observed_at=world.at)
        world.run()
        paid = Recharge.objects.get()
        assert (paid.owner, paid.line, paid.rule) == (proven.owner, proven, mine)
        assert not Notice.objects.filter(owner=proven.owner, line=rule.line).exists()
        w.assert_balanced()

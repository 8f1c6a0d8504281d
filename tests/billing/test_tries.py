"""The card schemes' budget of tries: counted over all that one instrument pays for, kept before a
charge is begun, and told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.gateways.base import Refused, Unknown
from billing.gateways.limits import TryLimit
from billing.models import Binding, Notice, Recharge, Rule
from billing.payments import tries
from billing.rules import by_hand
from tests import world as w
from tests.factories.billing import DeclineCodeFactory, PaymentAttemptFactory, RechargeFactory

pytestmark = pytest.mark.django_db

A_DAY, A_MONTH = TryLimit(2, timedelta(days=1)), TryLimit(3, timedelta(days=30))
POOR = Refused("BUYER_BALANCE_NOT_ENOUGH")


@pytest.fixture
def cards(world: Any) -> Any:
    """A rail that takes two refusals of one card in a day, three in thirty."""
    w.carrier(), w.rail(retry_ladder_s=[3600] * 3)
    world.gateway.capabilities = replace(world.gateway.capabilities, tries=(A_DAY, A_MONTH))
    return world


def of(alice: Any, **more: Any) -> Binding:
    return w.binding(alice, fingerprint="card", **more)


def low(world: Any, binding: Binding, number: str, **more: Any) -> Rule:
    line = w.line(binding.owner, balance_minor=980, msisdn=number)
    return w.rule(line, binding=binding, wake_at=world.at, **more)


def states() -> list[tuple[str, str]]:
    return list(Recharge.objects.order_by("pk").values_list("state", "reason"))


class TestAnInstrument:
    def test_refused_twice_today_is_not_tried_a_third_time_for_another_line(self, cards):
        alice = w.person()
        card, again = of(alice), of(alice)  # the same card, bound twice
        low(cards, card, "+8613800138001"), low(cards, again, "+8613800138002")
        cards.gateway.script = [POOR, POOR]
        cards.run()
        assert states() == [("declined", "soft_decline")] * 2
        low(cards, card, "+8613800138003")
        cards.later(w.MINUTE)
        cards.run()
        assert len(cards.gateway.calls["charge"]) == 2
        assert states()[2] == ("waiting", "tries_spent")
        assert Recharge.objects.latest("pk").act_at == w.NOON + w.DAY
        assert cards.gateway.charged == {}
        w.assert_balanced()

    def test_is_tried_again_when_the_oldest_try_is_a_day_old(self, cards):
        card = of(w.person())
        low(cards, card, "+8613800138001")
        cards.gateway.script = [POOR, POOR]
        cards.run()
        cards.later(w.HOUR)
        Rule.objects.update(wake_at=None)
        cards.run()
        cards.later(w.HOUR)
        cards.run()
        assert states() == [("waiting", "tries_spent")]
        assert len(cards.gateway.calls["charge"]) == 2
        cards.at = w.NOON + w.DAY
        cards.run()
        assert [state for state, _ in states()] == ["completed"]
        assert len(set(cards.gateway.calls["charge"])) == 3
        w.assert_balanced()

    def test_that_has_nothing_left_this_month_ends_it_without_money_and_says_why(self, cards):
        card = of(w.person())
        spent = w.line(card.owner, balance_minor=9800, msisdn="+8613800138001")
        past(spent, card, at=w.NOON - 3 * w.DAY, count=3)
        rule = low(cards, card, "+8613800138002")
        cards.run()
        assert cards.gateway.calls["charge"] == []
        assert states()[-1] == ("canceled", "tries_spent")
        told = Notice.objects.get(kind="not_recharged")
        assert (told.facts["code"], told.facts["days"]) == ("tries_spent", 30)
        rule.refresh_from_db()
        assert rule.cooldown_until == w.NOON + 27 * w.DAY  # no round of openings until then
        cards.later(w.DAY)
        Rule.objects.update(wake_at=cards.at)
        cards.run()
        assert Notice.objects.filter(kind="not_recharged").count() == 1
        w.assert_balanced()

    def test_that_has_nothing_left_gives_way_to_the_second_method_of_the_plan(self, cards):
        card = of(w.person())
        second = w.binding(card.owner, fingerprint="second")
        past(w.line(card.owner, msisdn="+8613800138001"), card, at=w.NOON - 3 * w.DAY, count=3)
        rule = low(cards, card, "+8613800138002", fallback_binding=second)
        cards.run()
        assert states()[-1] == ("completed", "credited")
        mine = Recharge.objects.latest("pk")
        assert (mine.binding, mine.passed_over, mine.fallback_binding) == (second, card, None)
        assert list(mine.attempts.values_list("binding", flat=True)) == [second.pk]
        assert [move.because for move in mine.moves.order_by("pk")][1:3] == ["passed_over"] * 2
        assert not Notice.objects.filter(kind="not_recharged").exists()
        rule.refresh_from_db()
        assert (rule.cooldown_until, rule.paused_at) == (w.NOON + w.HOUR, None)  # as after any
        assert Binding.objects.get(pk=card.pk).failures_in_a_row == 0  # nobody asked it
        w.assert_balanced()

    def test_gives_way_to_a_second_method_within_that_ones_own_tries_only(self, cards):
        card = of(w.person())
        second = w.binding(card.owner, fingerprint="second")
        past(w.line(card.owner, msisdn="+8613800138001"), card, at=w.NOON - 3 * w.DAY, count=3)
        past(w.line(card.owner, msisdn="+8613800138003"), second, at=w.NOON - 2 * w.DAY, count=3)
        low(cards, card, "+8613800138002", fallback_binding=second)
        cards.run()
        assert states()[-1] == ("canceled", "tries_spent")
        assert cards.gateway.calls["charge"] == []
        assert Notice.objects.filter(kind="not_recharged").count() == 1
        w.assert_balanced()

    def test_gives_way_to_no_method_that_is_no_longer_agreed_to(self, cards):
        card = of(w.person())
        second = w.binding(card.owner, fingerprint="second")
        rule = low(cards, card, "+8613800138002", fallback_binding=second)
        cards.gateway.script = [POOR] * 2
        cards.run()
        cards.later(w.HOUR)
        cards.run()
        Rule.objects.filter(pk=rule.pk).update(fallback_binding=None)
        cards.later(w.HOUR)
        cards.run()
        assert states() == [("waiting", "tries_spent")]
        assert len(cards.gateway.calls["charge"]) == 2
        assert Recharge.objects.get().passed_over is None

    def test_of_somebody_else_has_its_own_tries(self, cards):
        alice, bob = w.person(), w.person("bob")
        card = of(alice)
        past(w.line(alice, msisdn="+8613800138001"), card, at=w.NOON - w.HOUR, count=2)
        other = w.binding(bob, fingerprint="another card")
        low(cards, other, "+8613800138002")
        cards.run()
        assert states()[-1][0] == "completed"

    def test_shows_its_owner_what_is_left(self, cards):
        card = of(w.person())
        past(w.line(card.owner), card, at=w.NOON - 2 * w.DAY, count=1)
        past(w.line(card.owner, msisdn="+8613800138009"), card, at=w.NOON - w.HOUR, count=1)
        rail = cards.gateway.capabilities
        assert tries.left(card, rail=rail, at=cards.at) == [
            tries.Left(2, 1, 1), tries.Left(3, 1, 30),
        ]  # fmt: skip
        assert tries.left(card, rail=replace(rail, tries=()), at=cards.at) == []

    def test_that_paid_has_lost_no_try(self, cards):
        card = of(w.person())
        low(cards, card, "+8613800138001")
        cards.run()
        assert states() == [("completed", "credited")]
        left = tries.left(card, rail=cards.gateway.capabilities, at=cards.at)
        assert [one.left_count for one in left] == [2, 3]


class TestAWaitThatItsIssuerNames:
    """Kept where it ends inside the charge's window; else the charge ends, and says why."""

    @pytest.fixture
    def asking(self, cards: Any) -> Any:
        w.rail(retry_ladder_s=[3600, 7200])
        many = (TryLimit(9, w.DAY), TryLimit(9, timedelta(days=30)))
        waits = {"SOON": 5 * w.HOUR, "LATE": 10 * w.DAY, "LAST": 27 * w.HOUR}
        cards.gateway.capabilities = replace(cards.gateway.capabilities, tries=many, waits=waits)
        for code in waits:
            DeclineCodeFactory.create(code=code, decline_class="soft")
        return cards

    def test_longer_than_the_ladder_is_kept_inside_the_window(self, asking):
        low(asking, of(w.person()), "+8613800138001")
        asking.gateway.script = [Refused("SOON")]
        asking.run()
        assert states() == [("declined", "soft_decline")]
        assert Recharge.objects.get().act_at == w.NOON + 5 * w.HOUR  # all the ladder: 3 h
        asking.at = w.NOON + 5 * w.HOUR - w.MINUTE
        asking.run()
        assert len(asking.gateway.calls["charge"]) == 1
        asking.later(w.MINUTE)
        asking.run()
        assert states() == [("completed", "credited")]
        w.assert_balanced()

    def test_to_the_windows_very_end_is_kept(self, asking):
        low(asking, of(w.person()), "+8613800138001")
        asking.gateway.script = [Refused("LAST")]  # a day's grace, and the whole ladder
        asking.run()
        assert Recharge.objects.get().act_at == w.NOON + 27 * w.HOUR
        asking.at = w.NOON + 27 * w.HOUR
        asking.run()
        assert states() == [("completed", "credited")]

    def test_beyond_the_window_ends_it_without_money_and_says_until_when(self, asking):
        card = of(w.person())
        rule = low(asking, card, "+8613800138001")
        asking.gateway.script = [Refused("LATE")]
        asking.run()
        assert states() == [("failed", "asked_to_wait")]
        told = Notice.objects.get(kind="not_recharged")
        until = w.NOON + 10 * w.DAY
        assert told.facts["code"] == "asked_to_wait"
        assert (told.facts["until"], told.facts["decline_code"]) == (until.isoformat(), "LATE")
        assert not Notice.objects.filter(kind="retrying").exists()
        rule.refresh_from_db()
        assert (rule.cooldown_until, rule.is_armed, rule.paused_at) == (until, True, None)
        asking.later(9 * w.DAY)
        Rule.objects.update(wake_at=asking.at)
        asking.run()
        assert len(asking.gateway.calls["charge"]) == 1
        assert asking.gateway.charged == {}
        w.assert_balanced()

    def test_beyond_the_window_gives_way_to_the_second_method(self, asking):
        card = of(w.person())
        second = w.binding(card.owner, fingerprint="second")
        rule = low(asking, card, "+8613800138001", fallback_binding=second)
        asking.gateway.script = [Refused("LATE")]
        asking.run()
        assert states() == [("completed", "credited")]
        assert Recharge.objects.get().binding == second
        assert not Notice.objects.filter(kind="not_recharged").exists()
        rule.refresh_from_db()
        assert rule.cooldown_until == w.NOON + w.HOUR

    def test_is_kept_for_whatever_else_the_card_pays_for(self, asking):
        card = of(w.person())
        low(asking, card, "+8613800138001")
        asking.gateway.script = [Refused("SOON")]
        asking.run()
        other = low(asking, of(card.owner), "+8613800138002")
        asking.run()
        assert states()[1] == ("waiting", "asked_to_wait")
        assert Recharge.objects.latest("pk").act_at == w.NOON + 5 * w.HOUR
        assert len(asking.gateway.calls["charge"]) == 1
        Recharge.objects.filter(rule=other).update(expires_at=w.NOON + w.HOUR, act_at=w.NOON)
        asking.run()
        assert states()[1] == ("canceled", "asked_to_wait")
        told = Notice.objects.get(kind="not_recharged")
        assert told.facts["until"] == (w.NOON + 5 * w.HOUR).isoformat()
        other.refresh_from_db()
        assert other.cooldown_until == w.NOON + 5 * w.HOUR
        w.assert_balanced()

    def test_does_not_bind_its_owners_own_hand(self, asking):
        card = of(w.person())
        low(asking, card, "+8613800138001")
        asking.gateway.script = [Refused("SOON")]
        asking.run()
        line = w.line(card.owner, balance_minor=5000, msisdn="+8613800138002")
        by_hand.recharge(line=line, binding=card, face_minor=5000, owner=card.owner,
                         idempotency_key="k", at=asking.at)  # fmt: skip
        asking.run()
        assert states()[1] == ("completed", "credited")
        w.assert_balanced()

    def test_that_came_with_an_answer_in_doubt_puts_off_the_question(self, asking):
        low(asking, of(w.person()), "+8613800138001")
        asking.gateway.script = [Unknown("HTTP 429", wait=40 * w.MINUTE)]
        asking.run()
        assert states() == [("payment_unknown", "no_answer")]
        assert Recharge.objects.get().act_at == w.NOON + 40 * w.MINUTE  # not after ten seconds
        asking.later(40 * w.MINUTE)
        asking.run()
        assert len(set(asking.gateway.calls["charge"])) == 1  # the same reference, once it is known
        assert states() == [("completed", "credited")]
        w.assert_balanced()

    def test_that_outlasts_the_window_of_what_is_in_doubt_has_it_missed(self, asking):
        low(asking, of(w.person()), "+8613800138001")
        asking.gateway.script = [Unknown("HTTP 429", wait=2 * w.DAY)]
        asking.run()
        assert Recharge.objects.get().act_at == w.NOON + 2 * w.DAY
        asking.later(2 * w.DAY)
        asking.run()
        assert states() == [("missed", "window_over")]
        assert Notice.objects.filter(kind="missed").count() == 1
        assert asking.gateway.charged == {}
        w.assert_balanced()


def past(line: Any, card: Binding, *, at: Any, count: int) -> None:
    """Refused tries of long ago, of a recharge that came to nothing."""
    recharge = RechargeFactory.create(line=line, binding=card, failed=True, created_at=at)
    for number in range(1, count + 1):
        PaymentAttemptFactory.create(recharge=recharge, number=number, declined=True)

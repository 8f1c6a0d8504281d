"""Notice before every deduction, where the carrier's market wants it: time, amount, way out."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from billing.models import Notice, NoticeDelivery, PaymentAttempt, Recharge, Rule
from billing.notices import sending, telling
from billing.plans import contract
from billing.recharges import machine
from billing.rules import by_hand
from lines.models import Line
from tests import world as w
from tests.billing.plans_world import ALIPAY, draft, errors, preview
from tests.billing.plans_world import low as low_draft
from tests.billing.test_announcements import A_DAY_LATE, ANNOUNCING
from tests.factories.lines import BalanceReadingFactory
from tests.world import DAY, HOUR, MINUTE, NOON

pytestmark = pytest.mark.django_db

A_DAY = timedelta(hours=24)


@pytest.fixture
def china(world):
    """A world in whose market each charge is told 24 hours ahead, by mail."""
    w.carrier(notice_before_deduction_h=24), w.rail()
    return world


def low(**more):
    return w.rule(w.line(balance_minor=980), wake_at=NOON, **more)


def only() -> Recharge:
    return Recharge.objects.get()


def stands() -> tuple[str, str]:
    recharge = only()
    return recharge.state, recharge.reason


def mails(at) -> int:
    return sending.send_due(at=at, limit=50)


def told() -> list[tuple[str, int]]:
    found = Notice.objects.filter(kind="upcoming_charge").order_by("pk")
    return [(one.facts["at"], one.facts["price_minor"]) for one in found]


def told_and_mailed(world) -> None:
    world.run()
    mails(world.at)


def nothing_was_taken(world) -> None:
    assert (world.gateway.charged, PaymentAttempt.objects.count()) == ({}, 0)
    w.assert_balanced()


class TestEachTrigger:
    def test_low_already_is_told_at_once_and_charged_when_the_notice_is_over(self, china):
        low()

        told_and_mailed(china)

        assert stands() == ("waiting", "announced")
        assert only().earliest_charge_at == NOON + A_DAY
        assert told() == [((NOON + A_DAY).isoformat(), 5000)]
        nothing_was_taken(china)

        china.later(A_DAY - timedelta(seconds=1))
        china.run()
        assert stands() == ("waiting", "announced")
        nothing_was_taken(china)

        china.later(timedelta(seconds=1))
        china.run()
        assert (only().state, list(china.gateway.charged.values())) == ("completed", [5000])
        assert len(told()) == 1
        w.assert_balanced()

    def test_a_date_is_told_a_day_ahead_and_kept(self, china):
        due_at = NOON + 3 * DAY
        rule = w.rule(
            threshold_minor=None,
            cycle="monthly",
            anchor_date=due_at.date(),
            next_run_at=due_at,
            charge_time=time(12, 0),
            wake_at=NOON,
        )
        china.run()
        assert Recharge.objects.count() == 0
        assert Rule.objects.get(pk=rule.pk).wake_at == due_at - A_DAY

        china.later(2 * DAY)
        told_and_mailed(china)
        assert stands() == ("waiting", "announced")
        assert told() == [(due_at.isoformat(), 5000)]
        nothing_was_taken(china)

        china.later(DAY)
        china.run()
        assert (only().state, only().charged_at) == ("completed", due_at)
        w.assert_balanced()

    def test_an_expiry_begins_as_much_sooner(self, china):
        ends_at = NOON + 6 * DAY
        line = w.line(balance_minor=9000, valid_until=ends_at)
        rule = w.rule(line, threshold_minor=None, expiry_days_before=3, wake_at=NOON)
        china.run()
        assert Rule.objects.get(pk=rule.pk).wake_at == ends_at - 3 * DAY - A_DAY

        china.later(2 * DAY)
        told_and_mailed(china)
        assert (only().trigger, *stands()) == ("expiry", "waiting", "announced")
        assert told() == [((ends_at - 3 * DAY).isoformat(), 5000)]
        nothing_was_taken(china)

        china.later(DAY)
        china.run()
        assert (only().state, only().charged_at) == ("completed", ends_at - 3 * DAY)
        w.assert_balanced()

    def test_a_balance_that_will_be_low_is_begun_by_the_forecast(self, china):
        line = w.line(balance_minor=2500, balance_observed_at=NOON)
        for number in range(12):
            at = NOON - (11 - number) * DAY
            minor = 2500 + (11 - number) * 2000
            BalanceReadingFactory.create(line=line, observed_at=at, balance_minor=minor)
        w.rule(line, wake_at=NOON)

        told_and_mailed(china)

        assert (only().trigger, *stands()) == ("low_balance", "waiting", "announced")
        nothing_was_taken(china)
        china.later(A_DAY)
        china.run()
        assert only().state == "completed"
        w.assert_balanced()


class TestWithoutNotice:
    def test_a_market_that_wants_none_charges_at_once(self, world):
        w.carrier(), w.rail()
        low()
        world.run()
        assert (only().state, told()) == ("completed", [])
        w.assert_balanced()

    def test_by_hand_is_no_automatic_deduction(self, china):
        line = w.line()
        by_hand.recharge(
            line=line,
            binding=w.binding(line.owner),
            face_minor=5000,
            owner=line.owner,
            idempotency_key="once",
            at=NOON,
        )
        china.run()
        assert (only().state, told()) == ("completed", [])
        w.assert_balanced()


class TestANoticeThatDidNotGetOut:
    def test_is_waited_for_and_the_charge_follows_it_by_as_much(self, china):
        low()
        china.run()
        china.later(A_DAY)
        china.run()
        assert stands() == ("waiting", "notice_not_out")
        nothing_was_taken(china)

        mails(china.at)
        china.later(15 * MINUTE)
        china.run()
        assert stands() == ("waiting", "announced")
        nothing_was_taken(china)

        china.later(A_DAY - 15 * MINUTE)
        china.run()
        assert stands()[0] == "completed"
        w.assert_balanced()

    def test_ends_the_charge_where_it_never_will(self, china):
        low()
        china.run()
        NoticeDelivery.objects.update(state="failed", act_at=None)
        china.later(A_DAY)
        china.run()
        assert stands() == ("missed", "notice_not_sent")
        nothing_was_taken(china)
        said = telling.words(notice=Notice.objects.get(kind="missed"), language="en")
        assert said.body.startswith("A charge of ¥50 must be announced to you first")

    def test_ends_the_charge_with_the_window(self, china):
        low()
        china.run()
        for _hour in range(3):
            china.later(A_DAY)
            china.run()
        assert stands() == ("missed", "notice_not_sent")
        nothing_was_taken(china)

    def test_is_no_matter_to_who_reads_the_inbox_alone(self, china):
        low(channels=["inbox"])
        china.run()
        china.later(A_DAY)
        china.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_is_told_anew_where_it_was_lost(self, china):
        low()
        china.run()
        NoticeDelivery.objects.all().delete()
        Notice.objects.filter(kind="upcoming_charge").delete()
        china.later(A_DAY)
        china.run()
        assert stands() == ("waiting", "announced")
        assert told() == [((NOON + 2 * A_DAY).isoformat(), 5000)]
        nothing_was_taken(china)


class TestAHigherAmount:
    def test_than_was_told_is_not_taken_before_it_is_told(self, china):
        low()
        told_and_mailed(china)
        notice = Notice.objects.get(kind="upcoming_charge")
        Notice.objects.filter(pk=notice.pk).update(facts=notice.facts | {"price_minor": 4999})
        china.later(A_DAY)
        china.run()
        assert stands() == ("waiting", "announced")
        assert told() == [
            ((NOON + A_DAY).isoformat(), 4999),
            ((NOON + 2 * A_DAY).isoformat(), 5000),
        ]
        nothing_was_taken(china)

    def test_agreed_to_meanwhile_is_another_recharge_with_its_own_notice(self, china):
        rule = low()
        told_and_mailed(china)
        china.later(HOUR)
        contract.confirm(
            rule=rule,
            owner=rule.line.owner,
            seen_version=Rule.objects.get(pk=rule.pk).version,
            capabilities=china.gateway.capabilities,
            language="en",
            ip=None,
            user_agent="",
            at=china.at,
            draft=replace(contract.draft_of(rule), face_minor=10_000),
        )
        china.later(A_DAY - HOUR)
        Line.objects.filter(pk=rule.line_id).update(balance_observed_at=china.at - MINUTE)
        china.run()
        first, second = Recharge.objects.order_by("pk")
        assert (first.state, first.reason) == ("canceled", "amount_changed")
        assert (second.state, second.reason, second.price_minor) == ("waiting", "announced", 10_000)
        assert told()[-1] == ((NOON + 2 * A_DAY).isoformat(), 10_000)
        nothing_was_taken(china)


class TestItsOwner:
    def test_cancels_within_the_notice_and_nothing_is_taken(self, china):
        rule = low()
        told_and_mailed(china)
        china.later(23 * HOUR)
        machine.cancel(
            recharge=only(), actor=rule.line.owner, because="canceled_by_owner", at=china.at
        )
        china.later(HOUR)
        china.run()
        assert Recharge.objects.filter(state="canceled").count() == 1
        nothing_was_taken(china)

    def test_stops_the_plan_within_the_notice_and_nothing_is_taken(self, china):
        rule = low()
        told_and_mailed(china)
        contract.stop(rule=rule, because="owner", at=china.at)
        china.later(A_DAY)
        china.run()
        assert only().state == "canceled"
        nothing_was_taken(china)

    def test_tops_up_elsewhere_within_the_notice_and_nothing_is_taken(self, china):
        rule = low()
        told_and_mailed(china)
        Line.objects.filter(pk=rule.line_id).update(balance_minor=9000)
        china.later(A_DAY)
        china.run()
        assert stands() == ("canceled", "no_longer_low")
        nothing_was_taken(china)

    def test_reads_time_amount_and_how_to_cancel(self, china):
        low()
        china.run()
        said = telling.words(notice=Notice.objects.get(kind="upcoming_charge"), language="en")
        assert said.title.startswith("¥50 will be charged on Nov 23: ")
        assert "¥50 will be taken through Alipay to recharge" in said.body
        assert "choose “Cancel this recharge”: nothing is taken then." in said.body


class TestOnARail:
    def test_that_must_be_told_itself_the_longer_of_the_two_counts(self, world):
        w.carrier(notice_before_deduction_h=72), w.rail()
        world.gateway.capabilities = ANNOUNCING
        low()
        told_and_mailed(world)
        assert only().earliest_charge_at == NOON + 3 * DAY
        world.later(3 * DAY)
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_that_takes_the_money_a_day_late_is_sent_to_after_the_notice(self, china):
        china.gateway.capabilities = A_DAY_LATE
        low()
        told_and_mailed(china)
        assert stands() == ("waiting", "announced")
        nothing_was_taken(china)
        china.later(A_DAY)
        china.run()
        assert len(china.gateway.charged) == 1
        w.assert_balanced()


class TestTheReviewPage:
    def shown(self, **more):
        line = w.line(carrier=w.carrier(notice_before_deduction_h=24), balance_minor=980)
        of = replace(low_draft(), line=line, **more)
        shown = preview(of)
        said = contract.sentences(
            draft=of, preview=shown, capabilities=ALIPAY, language="en", at=NOON
        )
        return of, shown, said

    def test_says_how_long_before_and_when_what_is_low_already_is_taken(self):
        _of, shown, said = self.shown()
        assert (shown.lead, shown.rail_lead, shown.notice) == (A_DAY, timedelta(0), A_DAY)
        assert (shown.at_once.expected_at, shown.at_once.is_later) == (NOON + A_DAY, True)
        assert said[0].startswith("The balance of ¥9.80 is already below ¥10. You are told first,")
        assert said[0].endswith("is taken on Nov 23; until then you can cancel it.")
        assert said[1].startswith("We tell you 24 hours before each automatic charge when and how")

    def test_refuses_a_first_day_too_near_to_be_told(self):
        line = w.line(carrier=w.carrier(notice_before_deduction_h=48))
        near = draft(line=line, anchor_date=(NOON + DAY).date())
        assert errors(near) == {
            "anchor_date": "Each charge must be announced 2 days ahead. Choose Nov 25 or later."
        }

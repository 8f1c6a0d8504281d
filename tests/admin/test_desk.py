"""The front page: what needs a person, oldest first, and only what the operator may see."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from billing.gateways.base import Unknown
from billing.models import Binding, Outage, Recharge, Rule
from billing.refunds import approvals
from lines.models import Carrier
from portal.desk import front_page
from tests import world as w
from tests.admin.conftest import give, hold, open_one, sign_in
from tests.factories.billing import (
    CaseFactory,
    InboundNotificationFactory,
    OutageFactory,
    RailCallFactory,
    RechargeFactory,
)
from tests.factories.portal import HeartbeatFactory
from tests.world import DAY, HOUR, MINUTE


@pytest.fixture
def world(world):
    """The page reads the real clock, so this world lives by it."""
    world.at = timezone.now()
    return world


@pytest.fixture
def rule(world):
    return w.rule(max_per_month_minor=100_000, max_per_day_count=9)


@pytest.fixture
def seen(operator, world):
    """The sections of an operator with these permissions, by name: (count, titles, details)."""

    def look(*permissions: str) -> dict[str, tuple[int, list[str], list[str]]]:
        with translation.override("en"):
            shown = front_page.shown(user=give(operator, *permissions), at=world.at)
            return {
                str(section.name): (
                    section.count,
                    [item.title for item in section.items],
                    [item.detail for item in section.items],
                )
                for section in shown.sections
            }

    return look


class TestWhatNeedsAPerson:
    def test_is_listed_oldest_first_with_its_reason(self, world, seen):
        for number, hours in ((1, 2), (2, 30)):
            rule = w.rule(w.line(label=f"line {number}"))
            since = world.at - hours * HOUR
            CaseFactory.create(recharge=open_one(world, rule, f"k{number}"), since=since)

        count, titles, details = seen("billing.view_recharge")["Recharges that need a person"]

        assert count == 2
        assert [title.split(" · ")[1].split(" 138")[0] for title in titles] == ["line 2", "line 1"]
        assert details == ["Stopped for a check", "Stopped for a check"]

    def test_says_how_old_it_is_on_the_page(self, root, world, rule):
        CaseFactory.create(recharge=open_one(world, rule, "held"), since=world.at - 3 * HOUR)

        page = root.get("/admin/").content.decode()

        assert "3 hours ago" in page

    def test_an_unknown_outcome_counts_after_an_hour(self, world, rule, seen):
        world.gateway.script = [Unknown("timeout")]
        open_one(world, rule, "unknown")
        world.run()
        Recharge.objects.update(unknown_since=world.at - 59 * MINUTE)
        assert seen("billing.view_recharge") == {}

        Recharge.objects.update(unknown_since=world.at - 61 * MINUTE)

        count, _titles, details = seen()["Outcome unknown for over an hour"]
        assert (count, details) == (1, ["confirming payment"])

    def test_refunds_wait_for_a_second_person_with_who_asked_and_why(
        self, world, rule, operator, seen
    ):
        recharge = open_one(world, rule, "done")
        world.run()
        approvals.request(
            recharge=Recharge.objects.get(pk=recharge.pk),
            amount_minor=1250,
            reason="charged twice by hand",
            requested_by=operator,
            at=world.at,
        )

        count, titles, details = seen("billing.view_refund")[
            "Refunds that wait for a second person"
        ]

        assert (count, details) == (1, ["oliver: charged twice by hand"])
        assert titles[0].startswith("¥12.50 · ")

    def test_payment_methods_that_lapse_within_thirty_days(self, world, seen):
        for number, days in ((1, 29), (2, 31), (3, -1)):
            w.binding(label=f"method {number}", expires_at=world.at + days * DAY)
        Binding.objects.filter(label="method 3").update(state="expired")

        count, titles, _details = seen("billing.view_binding")[
            "Payment methods that end within 30 days"
        ]

        assert count == 1
        assert titles[0].endswith("method 1")

    def test_rules_paused_by_the_system_but_not_those_that_are_off(self, world, seen):
        w.rule(w.line(label="paused"), paused=True)
        w.rule(w.line(label="off"), paused=True, is_on=False)

        count, titles, _details = seen("billing.view_rule")["Rules paused by the system"]

        assert count == 1
        assert titles[0].startswith("paused ")

    def test_notifications_that_nobody_acted_on_for_five_minutes(self, world, seen):
        for number, minutes in ((1, 4), (2, 6)):
            InboundNotificationFactory.create(
                our_ref=f"REF{number}", received_at=world.at - minutes * MINUTE
            )

        _count, _titles, details = seen("billing.view_inboundnotification")[
            "Notifications not acted on yet"
        ]

        assert details == ["REF2"]

    def test_counts_more_than_it_shows(self, world, seen):
        for number in range(9):
            hold(world, open_one(world, w.rule(w.line()), f"k{number}"))

        count, titles, _details = seen("billing.view_recharge")["Recharges that need a person"]

        assert (count, len(titles)) == (9, 6)

    def test_says_what_to_do_next(self, operator, world, rule):
        hold(world, open_one(world, rule, "held"))
        w.rule(w.line(label="paused"), paused=True)
        user = give(operator, "billing.view_recharge", "billing.view_rule")

        with translation.override("en"):
            sections = front_page.shown(user=user, at=world.at).sections

        assert [str(section.advice) for section in sections] == [
            "What happened, and what to do, is on the page of each.",
            "Their owners were told. Let one go on only when its cause is gone.",
        ]

    def test_is_searched_for_from_the_front_page_by_who_may_see_recharges(self, operator, rule):
        form = 'action="/admin/billing/recharge/"'
        assert form not in sign_in(operator).get("/admin/").content.decode()

        client = sign_in(give(operator, "billing.view_recharge"))

        assert form in client.get("/admin/").content.decode()


class TestTheMachinery:
    def test_names_the_setting_that_stops_a_rail(self, settings, seen, world):
        w.rail()
        settings.RAILS = {}
        settings.RAILS_STOPPED = {"alipay": "ALIPAY_PRIVATE_KEY is missing."}

        _count, titles, details = seen("billing.view_rail")["Rails and carriers that do not run"]

        assert titles == ["Alipay"]
        assert details == ["stopped by its settings: ALIPAY_PRIVATE_KEY is missing."]

    def test_names_a_rail_that_is_not_set_up_only_where_somebody_pays_by_it(
        self, settings, seen, world
    ):
        w.rail()
        settings.RAILS, settings.RAILS_STOPPED = {}, {}
        assert "Rails and carriers that do not run" not in seen("billing.view_rail")

        w.binding()
        _count, titles, details = seen("billing.view_rail")["Rails and carriers that do not run"]

        assert (titles, details) == (["Alipay"], ["not set up on this installation"])

    def test_shows_the_switches_that_are_thrown(self, settings, seen, world):
        w.rail(deferred_since=world.at - HOUR)
        w.carrier()
        Carrier.objects.update(deferred_since=world.at, is_enabled=False)
        settings.RAILS, settings.RAILS_STOPPED = {"alipay": object()}, {}

        _count, _titles, details = seen("billing.view_rail")["Rails and carriers that do not run"]

        assert details == ["charges are held back", "credits are held back", "switched off"]

    def test_shows_parts_without_a_sign_of_life(self, seen, world):
        HeartbeatFactory.create(name="sweep", answered_at=timezone.now())

        _count, titles, details = seen("portal.view_heartbeat")["The machinery"]

        assert "cluster:money" in titles
        assert "sweep" not in titles
        assert set(details) == {"no sign of life"}


class TestOnlyWhatOneMaySee:
    def test_without_permissions_nothing(self, world, rule, seen):
        hold(world, open_one(world, rule, "held"))
        Rule.objects.update(paused_at=world.at, pause_reason="crashed")

        assert seen() == {}

    def test_without_the_books_no_chart(self, operator, world, rule):
        open_one(world, rule, "done")
        world.run()

        assert front_page.shown(user=operator, at=world.at).charts == []
        client = sign_in(give(operator, "billing.view_transfer"))
        assert "<svg" in client.get("/admin/").content.decode()


class TestFiguresOfToday:
    def test_count_recharges_by_their_state(self, operator, world, rule):
        open_one(world, rule, "done")
        world.run()
        open_one(world, w.rule(w.line()), "due")
        yesterday = open_one(world, w.rule(w.line()), "yesterday")
        Recharge.objects.filter(pk=yesterday.pk).update(created_at=world.at - 2 * DAY)

        with translation.override("en"):
            shown = front_page.shown(user=give(operator, "billing.view_recharge"), at=world.at)

        told = [(tile.name, tile.tone, tile.count) for tile in shown.today]
        assert told == [("due", "", 1), ("completed", "good", 1)]

    def test_money_is_drawn_by_day_and_said_in_words(self, operator, world, rule):
        open_one(world, rule, "done")
        world.run()

        with translation.override("en"):
            [(currency, picture)] = front_page.shown(
                user=give(operator, "billing.view_transfer"), at=world.at
            ).charts

        today = timezone.localdate(world.at)
        before = today - timedelta(days=13)
        assert currency == "CNY"
        assert f"{today}: ¥50.00 charged, ¥0.00 given back" in picture
        assert f"{before}: ¥0.00 charged, ¥0.00 given back" in picture
        assert picture.count('class="charged"') == 14

    def test_cost_few_queries(self, house, root, django_assert_max_num_queries):
        w.rail()
        with django_assert_max_num_queries(34):
            root.get("/admin/")

    def test_an_empty_house_says_that_nothing_is_needed(self, operator):
        client = sign_in(operator)

        assert "Nothing needs you now" in client.get("/admin/").content.decode()


class TestAnAnswerThatIsNotGenuine:
    def call(self, world, **more):
        given = {"kind": "alipay.trade.pay", "reference": "R1", "at": world.at - HOUR}
        return RailCallFactory.create(**given | more)

    def test_is_on_the_front_page_for_three_days(self, world, seen):
        self.call(world)
        self.call(world, at=world.at - 4 * DAY)

        count, titles, details = seen("billing.view_railcall")["Answers that could not be verified"]

        assert (count, titles, details) == (1, ["Alipay · alipay.trade.pay"], ["R1"])

    def test_is_not_one_that_never_came_and_not_a_good_one(self, world, seen):
        self.call(world, response="")
        self.call(world, is_verified=True)

        assert "Answers that could not be verified" not in seen("billing.view_railcall")


class TestOutages:
    """Rails and carriers that give no answer now."""

    @pytest.fixture
    def silent(self, world):
        w.carrier(), w.rail()
        OutageFactory.create(
            at=world.at, since=world.at - 2 * HOUR, probe_at=world.at - MINUTE, reason="HTTP 503"
        )
        OutageFactory.create(
            at=world.at, side="carrier", code="cmcc", since=world.at - HOUR, probe_at=world.at
        )
        OutageFactory.create(at=world.at, code="wechat", is_failing=False, probe_at=None)
        later = world.at + DAY
        RechargeFactory.create(line=w.line(), state="payment_unknown", act_at=later)
        RechargeFactory.create(
            line=w.line(), state="delivery_unknown", act_at=later, charged_at=world.at
        )
        RechargeFactory.create(line=w.line(), state="payment_unknown")  # a person's now
        return world

    def test_are_listed_the_oldest_first_with_what_waits_and_why(self, silent, seen):
        count, titles, details = seen("billing.view_outage")["Give no answer"]
        assert (count, titles) == (2, ["Alipay", "China Mobile"])
        assert details == [
            "1 in doubt there · asked last 1 minute ago · HTTP 503",
            "1 in doubt there · asked last just now",
        ]

    def test_are_gone_once_they_answer(self, silent, seen):
        Outage.objects.update(is_failing=False, probe_at=None)
        assert "Give no answer" not in seen("billing.view_outage")

    def test_are_not_for_whoever_may_not_see_them(self, silent, seen):
        assert "Give no answer" not in seen("billing.view_rail")

    def test_have_a_page_that_is_only_read(self, silent, root):
        page = root.get("/admin/billing/outage/").content.decode()
        assert page.count("gives no answer") >= 2
        assert "HTTP 503" in page
        one = Outage.objects.get(code="alipay")
        address = f"/admin/billing/outage/{one.pk}/change/"
        assert "HTTP 503" in root.get(address).content.decode()
        assert root.post(address, {"is_failing": "", "reason": "mine"}).status_code == 403
        one.refresh_from_db()
        assert (one.is_failing, one.reason) == (True, "HTTP 503")

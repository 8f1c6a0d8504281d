"""The front page's figures: today's recharges, who answers, and why payments were not taken."""

import re
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from billing.gateways.base import Refused, Unknown
from billing.models import Recharge, Transfer
from portal.desk import figures as figures
from portal.desk import front_page
from tests import world as w
from tests.admin.conftest import give, open_one, sign_in
from tests.factories.billing import DeclineCodeFactory, TransferFactory
from tests.world import DAY, HOUR


@pytest.fixture
def world(world):
    """The page reads the real clock, so this world lives by it."""
    world.at = timezone.now()
    return world


def charge(world, key: str, *outcomes) -> Recharge:
    """A recharge by hand on a line of its own, after the rail answered with `outcomes`."""
    world.gateway.script = list(outcomes)
    recharge = open_one(world, w.rule(w.line(label=key)), key)
    world.run()
    recharge.refresh_from_db()
    return recharge


def told(flows) -> list[tuple[str, int, int, int, int | None]]:
    return [(one.name, one.good, one.bad, one.waiting, one.rate) for one in flows]


class TestATile:
    def test_leads_to_the_list_it_counts(self, operator, world):
        charge(world, "done")
        client = sign_in(give(operator, "billing.view_recharge"))

        [tile] = figures.today(world.at)

        assert (tile.count, tile.tone) == (1, "good")
        assert len(client.get(tile.url).context["cl"].result_list) == 1


class TestRailsAndCarriers:
    def test_are_told_apart_by_their_own_leg(self, world):
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        charge(world, "done")
        charge(world, "declined", Refused("POOR"))
        charge(world, "unknown", Unknown("timeout"))
        old = charge(world, "old")
        Recharge.objects.filter(pk=old.pk).update(created_at=world.at - DAY - HOUR)

        with translation.override("en"):
            flows = told(figures.flows(world.at))

        assert flows == [("Alipay", 1, 1, 1, 50), ("China Mobile", 1, 0, 0, 100)]

    def test_a_refund_that_was_asked_for_is_no_fault_of_the_carrier(self, world):
        recharge = charge(world, "done")
        Recharge.objects.filter(pk=recharge.pk).update(state="refunding")

        with translation.override("en"):
            assert told(figures.flows(world.at))[1] == ("China Mobile", 1, 0, 0, 100)

    def test_fail_now_when_most_of_an_hour_has_no_answer(self, operator, world):
        for number in range(4):
            charge(world, f"unknown {number}", Unknown("timeout"))
        user = give(operator, "billing.view_recharge")
        assert self.failing(user, world) == []

        charge(world, "done")

        assert self.failing(user, world) == [
            ("Alipay", "4 of 5 without a good answer in the last hour")
        ]

    def test_a_payer_without_money_is_no_fault_of_the_rail(self, operator, world):
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        for number in range(6):
            charge(world, f"poor {number}", Refused("POOR"))

        assert self.failing(give(operator, "billing.view_recharge"), world) == []

    def failing(self, user, world) -> list[tuple[str, str]]:
        with translation.override("en"):
            sections = front_page.shown(user=user, at=world.at).sections
            return [
                (item.title, item.detail)
                for section in sections
                if str(section.name) == "Failing now"
                for item in section.items
            ]


class TestDeclines:
    def test_put_first_what_nobody_has_listed_and_lead_to_listing_it(self, world):
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        for number in range(2):
            charge(world, f"poor {number}", Refused("POOR"))
        charge(world, "new", Refused("NEW.CODE"))

        with translation.override("en"):
            new, poor = figures.declines(world.at)

        assert (new.code, new.is_listed, new.count) == ("NEW.CODE", False, 1)
        assert new.meaning == "unknown: ask the rail"
        assert new.url == "/admin/billing/declinecode/add/?rail=alipay&code=NEW.CODE"
        assert (poor.code, poor.is_listed, poor.count) == ("POOR", True, 2)
        assert poor.meaning == "soft: retry later"

    def test_of_yesterday_are_left_out(self, world):
        recharge = charge(world, "new", Refused("NEW.CODE"))
        Recharge.objects.filter(pk=recharge.pk).update(created_at=world.at - DAY - HOUR)

        assert figures.declines(world.at) == []


class TestTheChart:
    """Whose midnight a transfer is counted by is Python's to say, in the reader's zone."""

    # PostgreSQL has rules of its own for the first four; in Chile a clock changes at midnight.
    ZONES = ("EET", "CET", "MET", "WET", "Asia/Shanghai", "America/Vancouver", "America/Santiago")
    AT = datetime(2027, 4, 6, 12, tzinfo=UTC)

    def test_has_each_transfer_on_the_reader_s_own_day(self, world, django_assert_num_queries):
        given = self.given_back_every_half_hour(charge(world, "done"))
        wrong = {}
        for zone in self.ZONES:
            days = Counter(one.astimezone(ZoneInfo(zone)).date().isoformat() for one in given)
            with timezone.override(zone), translation.override("en"), django_assert_num_queries(1):
                [(currency, picture)] = figures.charts(self.AT)
            told = re.findall(r"(2027-\d\d-\d\d): ¥0.00 charged, ¥([\d.]+) given back", picture)
            assert (currency, len(told)) == ("CNY", figures.CHART_DAYS)
            wrong |= {(zone, d): said for d, said in told if said != f"{days[d] / 100:.2f}"}
        assert wrong == {}

    def given_back_every_half_hour(self, recharge: Recharge) -> list[datetime]:
        """A fen each time, from before the chart's first day until after its last."""
        instants = [self.AT + HOUR / 2 * number for number in range(-16 * 48, 2 * 48)]
        Transfer.objects.bulk_create(
            TransferFactory.build(
                refund=True, recharge=recharge, reference=f"R{number}", amount_minor=1, at=at
            )
            for number, at in enumerate(instants)
        )
        return instants


class TestTheCost:
    def test_is_one_query_each_however_many_there_are(self, world, django_assert_max_num_queries):
        w.rail()
        for number in range(3):
            charge(world, f"done {number}")

        with django_assert_max_num_queries(3):  # recharges, and the names of both
            figures.flows(world.at)
        with django_assert_max_num_queries(1):
            figures.today(world.at)
        with django_assert_max_num_queries(2):  # and the meanings of what was found
            figures.declines(world.at)

"""The first page: what is connected, what comes next, and what needs its owner."""

import re
from datetime import UTC, date, datetime

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from billing.calendar import month_key
from billing.models import Recharge, Rule
from portal import cards, wording
from tests.factories.billing import RechargeFactory
from tests.portal import people

CHINESE = re.compile(r"[一-鿿]")


class TestHome:
    def test_shows_balance_age_state_and_what_is_coming(self, alice, as_user):
        text = as_user(alice).get("/").content.decode()
        assert "¥18.60" in text
        assert "4 minutes ago" in text
        assert "Auto-recharge on" in text
        assert "Not set up" in text
        assert "Alipay li***@163.com ends on" in text

    def test_names_the_charge_that_really_comes_next(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        with translation.override("en"):
            first, second = (
                f"Next auto-recharge: {wording.day(charge.local_date)}, ¥50, Alipay"
                for charge in cards.upcoming(rule, at=datetime.now(UTC), count=2)
            )
        assert first in as_user(alice).get("/").content.decode()
        Rule.objects.filter(pk=rule.pk).update(skip_index=rule.next_index)
        text = as_user(alice).get("/").content.decode()
        assert first not in text
        assert second in text

    def test_calls_no_line_connected_that_the_carrier_has_suspended(self, alice, as_user):
        alice.bindings.update(expires_at=None)
        assert "your lines are connected" in as_user(alice).get("/").content.decode()
        alice.lines.filter(kind="esim").update(status="suspended")
        assert "your lines are connected" not in as_user(alice).get("/").content.decode()

    def test_says_that_a_low_line_is_stopped_by_its_limit(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        latest = line.recharges.filter(state="completed").latest("pk")
        # She was charged three hours ago: on the first of a month, that may be in the last one.
        this_month = month_key(datetime.now(UTC), line.timezone)
        Recharge.objects.filter(pk=latest.pk).update(cap_month=this_month)
        Rule.objects.filter(line=line).update(max_per_month_minor=5000)
        assert "limit is used up" not in as_user(alice).get("/").content.decode()
        alice.lines.filter(pk=line.pk).update(balance_minor=900)
        text = as_user(alice).get("/").content.decode()
        assert "妈妈的手机 is low, and its limit is used up" in text
        assert "¥49.25 of this month&#x27;s ¥50 is used" in text
        assert f'href="/lines/{line.public_id}/auto/limits/"' in text

    def test_shows_what_is_only_reserved_as_reserved(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        line.recharges.exclude(charged_at=None).update(cap_month=date(2020, 1, 1))
        RechargeFactory.create(rule=line.rule, declined=True, at=datetime.now(UTC))
        text = as_user(alice).get("/").content.decode()
        assert "this month ¥0 of" in text
        assert "(¥50 reserved)" in text

    def test_never_calls_used_what_is_only_reserved(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        line.recharges.exclude(charged_at=None).update(cap_month=date(2020, 1, 1))
        RechargeFactory.create(rule=line.rule, declined=True, at=datetime.now(UTC))
        Rule.objects.filter(line=line).update(max_per_month_minor=5000)
        alice.lines.filter(pk=line.pk).update(balance_minor=900)
        text = as_user(alice).get("/").content.decode()
        assert "limit is used up" not in text
        assert "¥50 is used" not in text
        assert "this month ¥0 of ¥50 at most" in " ".join(text.split())

    def test_asks_no_more_of_the_database_for_more_lines(
        self, db, as_user, django_assert_max_num_queries
    ):
        at = datetime.now(UTC)
        bob = people.person("Bob")
        client = as_user(bob)
        pays = people.binding(bob, at=at)
        client.get("/")

        def add(number):
            trip = people.esim(bob, at=at, msisdn=f"+86138000001{number}", iccid="")
            people.recharge(trip, pays, at=at, declined=True)

        add(21)
        with CaptureQueriesContext(connection) as one:
            assert client.get("/").status_code == 200
        add(22)
        add(23)
        with django_assert_max_num_queries(len(one)):
            text = client.get("/").content.decode()
        assert text.count("declined, will be tried again") == 3

    def test_never_says_on_while_the_system_pauses(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        rule.paused_at, rule.pause_reason = rule.created_at, "binding_paused"
        rule.save()
        text = as_user(alice).get("/").content.decode()
        assert "Auto-recharge on" not in text
        assert "Paused: needs you" in text

    def test_marks_an_old_balance_as_old(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        line.balance_observed_at -= line.balance_observed_at - line.created_at
        line.save()
        assert "old figure" in as_user(alice).get("/").content.decode()

    def test_of_a_newcomer_says_the_next_step(self, db, as_user):
        text = as_user(people.person("Charlie")).get("/").content.decode()
        assert "Put in your first line" in text
        assert 'href="/lines/add/"' in text

    def test_of_a_visitor_offers_to_register(self, db):
        assert "/account/signup/" in Client().get("/").content.decode()

    def test_greets_in_chinese_where_no_language_is_asked_for(self, db):
        assert CHINESE.search(Client().get("/").content.decode())

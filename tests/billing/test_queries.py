"""What one person sees: all of their own, nothing of anybody else's, in few queries."""

from datetime import UTC, date, datetime

import pytest
from django.contrib.auth.models import AnonymousUser

from billing import queries
from billing.gateways.base import Pending
from billing.models import Recharge, Rule
from billing.queries import Standing
from lines.models import Line
from tests import world as w
from tests.factories.billing import DecisionFactory, NoticeFactory, RechargeFactory
from tests.world import DAY, HOUR, NOON

pytestmark = pytest.mark.django_db

EVERYTHING = [
    queries.lines,
    queries.rules,
    queries.bindings,
    queries.recharges,
    queries.notices,
    queries.decisions,
]


def recharge(line, *, price=5000, month=date(2026, 11, 1), **more):
    given = {"completed": True, "face_minor": price, "cap_day": month, "cap_month": month}
    return RechargeFactory.create(line=line, **given | more)


def belongings(name):
    """One of everything for `name`."""
    line = w.line(w.person(name))
    rule = w.rule(line, binding=w.binding(line.owner))
    made = recharge(line)
    NoticeFactory.create(owner=line.owner, line=line)
    DecisionFactory.create(rule=rule)
    return line.owner, made


class TestAPerson:
    @pytest.mark.parametrize("query", EVERYTHING)
    def test_sees_their_own_and_nobody_elses(self, query):
        alice, _ = belongings("alice")
        bob, _ = belongings("bob")
        of_alice, of_bob = set(query(alice)), set(query(bob))
        assert of_alice
        assert of_bob
        assert not of_alice & of_bob
        assert of_alice | of_bob == set(query(alice).model.objects.all())

    @pytest.mark.parametrize("query", EVERYTHING)
    def test_who_is_staff_sees_no_more_here(self, query):
        belongings("alice")
        staff = w.person("staff", is_staff=True, is_superuser=True)
        assert not query(staff).exists()

    @pytest.mark.parametrize("query", EVERYTHING)
    def test_who_has_not_signed_in_sees_nothing(self, query):
        belongings("alice")
        assert not query(AnonymousUser()).exists()

    @pytest.mark.parametrize(
        ("query", "look"),
        [
            (queries.lines, lambda one: one.carrier.name),
            (queries.rules, lambda one: (one.line.carrier.name, one.binding.rail.name)),
            (queries.bindings, lambda one: one.rail.name),
            (queries.recharges, lambda one: (str(one.line), one.binding.rail.name)),
            (queries.notices, lambda one: (str(one.line), one.recharge)),
            (queries.decisions, lambda one: (str(one.rule.line), one.recharge)),
        ],
    )
    def test_sees_each_row_with_what_it_belongs_to_in_one_query(
        self, query, look, django_assert_num_queries
    ):
        alice, _ = belongings("alice")
        with django_assert_num_queries(1):
            assert [look(one) for one in query(alice)]


class TestSpendingByMonth:
    def test_is_each_of_the_last_twelve_months_oldest_first(self, django_assert_num_queries):
        line = w.line()
        recharge(line, price=1000, month=date(2025, 11, 1))  # a month too old
        recharge(line, price=2000, month=date(2025, 12, 1))
        recharge(line, price=3000)
        recharge(line, price=5000)

        with django_assert_num_queries(1):
            months = queries.spending_by_month(line=line, at=NOON)

        assert [month for month, _ in months] == [date(2025, 12, 1)] + [
            date(2026, month, 1) for month in range(1, 12)
        ]
        assert [minor for _, minor in months] == [2000] + [0] * 10 + [8000]

    def test_counts_what_was_taken_less_what_went_back(self):
        line = w.line()
        recharge(line, price=5000, refund_committed_minor=2000)
        recharge(line, price=3000, completed=False, failed=True)
        recharge(line, price=1000, completed=False)
        assert queries.spending_by_month(line=line, at=NOON, months=1) == [
            (date(2026, 11, 1), 3000)
        ]

    def test_of_a_person_adds_up_their_lines_in_one_currency(self):
        alice = w.person()
        recharge(w.line(alice), price=1000)
        recharge(w.line(alice), price=2000)
        recharge(w.line(alice, currency="USD"), price=4000)
        recharge(w.line(w.person("bob")), price=8000)
        at = {"at": NOON, "months": 1}
        assert queries.spending_by_month(actor=alice, **at) == [(date(2026, 11, 1), 3000)]
        dollars = queries.spending_by_month(actor=alice, currency="USD", **at)
        assert dollars == [(date(2026, 11, 1), 4000)]

    def test_begins_the_month_where_the_line_is(self):
        at = datetime(2026, 11, 30, 16, 30, tzinfo=UTC)  # December in Shanghai already
        shanghai, london = w.line(), w.line(timezone="Europe/London")
        [(there, _)] = queries.spending_by_month(line=shanghai, at=at, months=1)
        [(here, _)] = queries.spending_by_month(line=london, at=at, months=1)
        assert (there, here) == (date(2026, 12, 1), date(2026, 11, 1))


class TestLineSummaries:
    def test_show_what_a_line_does_and_what_happened_last(self, world):
        rule = w.rule(w.line(balance_minor=980), wake_at=NOON)
        world.run()
        [summary] = queries.line_summaries(rule.line.owner, NOON)
        assert (summary.line, summary.rule) == (rule.line, rule)
        assert summary.standing is Standing.ON
        assert summary.open_recharge is None
        assert summary.last_recharge == Recharge.objects.get()
        assert summary.last_decision.code == "charge"

    def test_show_the_recharge_that_is_under_way(self, world):
        rule = w.rule(w.line(balance_minor=980), wake_at=NOON)
        world.gateway.script = [Pending()]
        world.run()
        [summary] = queries.line_summaries(rule.line.owner, NOON)
        assert summary.open_recharge.state == "payment_pending"
        assert summary.last_recharge is None

    def test_show_the_last_of_several(self):
        line = w.line()
        w.rule(line)
        first, last = recharge(line), recharge(line)
        Recharge.objects.filter(pk=first.pk).update(completed_at=NOON - DAY)
        for hour, code in enumerate(("cooling_down", "charge", "cap_day")):
            DecisionFactory.create(rule=line.rule, code=code, at=NOON + (hour % 2) * HOUR)
        [summary] = queries.line_summaries(line.owner, NOON)
        assert summary.last_recharge == last
        assert summary.last_decision.code == "charge"

    def test_leave_out_removed_lines_and_strangers(self):
        kept = w.line()
        w.line(status="removed")
        w.line(w.person("bob"))
        assert [one.line for one in queries.line_summaries(kept.owner, NOON)] == [kept]

    @pytest.mark.parametrize("count", [1, 7])
    def test_take_five_queries_however_many_lines(self, count, django_assert_num_queries):
        alice = w.person()
        for _ in range(count):
            line = w.line(alice)
            w.rule(line, binding=w.binding(alice))
            recharge(line)
            recharge(line, completed=False)
        with django_assert_num_queries(5):
            summaries = queries.line_summaries(alice, NOON)
            shown = {(one.line.carrier.name, one.rule.binding.rail.name) for one in summaries}
        assert len(summaries) == count
        assert shown == {("中国移动", "支付宝")}


class TestStanding:
    @pytest.mark.parametrize(
        ("line", "rule", "binding", "standing"),
        [
            ({}, {}, {}, Standing.ON),
            ({"status": "unverified"}, {}, {}, Standing.NOT_PROVEN),
            ({"status": "suspended"}, {}, {}, Standing.LINE_NOT_ACTIVE),
            ({}, {"is_on": False}, {}, Standing.OFF),
            ({}, {"paused_at": NOON}, {}, Standing.PAUSED_BY_SYSTEM),
            ({}, {"paused_until": NOON + DAY}, {}, Standing.PAUSED_BY_OWNER),
            ({}, {"paused_until": NOON}, {}, Standing.ON),
            ({}, {}, {"state": "revoked"}, Standing.NO_PAYMENT_METHOD),
            ({}, {}, {"paused_at": NOON}, Standing.NO_PAYMENT_METHOD),
            ({}, {"paused_at": NOON}, {"paused_at": NOON}, Standing.PAUSED_BY_SYSTEM),
        ],
    )
    def test_is_the_worst_that_holds(self, line, rule, binding, standing):
        of = w.line(**line)
        w.rule(of, binding=w.binding(of.owner, **binding), **rule)
        stored = Rule.objects.select_related("binding").get()
        assert queries.standing(Line.objects.get(), stored, at=NOON) is standing

    def test_of_a_draft_never_confirmed_is_not_set_up(self):
        rule = w.rule(is_on=False)
        rule.consent = None
        assert queries.standing(rule.line, rule, at=NOON) is Standing.NOT_SET_UP

    def test_of_a_line_without_a_rule_is_not_set_up(self):
        assert queries.standing(w.line(), None, at=NOON) is Standing.NOT_SET_UP

"""A recharge under way against what its owner agreed to last: who fits, who ends, what follows."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from billing.gateways.base import Capabilities, Refused, Unknown
from billing.models import Notice, PaymentAttempt, Recharge, Rule
from billing.payments import charging
from billing.plans import contract
from billing.recharges import claims
from billing.recharges.claims import Work
from billing.rules import agreed, openings
from lines.models import Line
from tests import world as w
from tests.billing import plans_world as p
from tests.fakes import LOST_BEFORE, FakeGateway

pytestmark = pytest.mark.django_db

SOFT = Refused("BUYER_BALANCE_NOT_ENOUGH")


def only() -> Recharge:
    return Recharge.objects.get()


def fresh(rule):
    return Rule.objects.select_related("line__carrier", "binding__rail").get(pk=rule.pk)


def declined(world, **more):
    """Alice's low line, refused once and waiting for the next step of its ladder."""
    rule = w.rule(w.line(balance_minor=980), wake_at=world.at, **more)
    world.gateway.script = [SOFT]
    world.run()
    assert only().state == "declined"
    world.later(w.HOUR)
    return fresh(rule)


def agree(world, rule, **terms):
    p.confirm(replace(contract.draft_of(rule), **terms), rule=rule, at=world.at)


def come_back(world):
    world.later(8 * w.HOUR)
    Line.objects.filter(balance_minor=980).update(balance_observed_at=world.at)
    world.run()


class TestWhatFits:
    @pytest.fixture
    def row(self, world) -> Work:
        declined(world)
        [row] = claims.read(recharge_ids=[only().pk])
        return row

    def test_and_what_does_not(self, row):
        """One that is as agreed, and a change of it: each with the code it ends with."""
        first, other = row.binding_id, row.binding_id + 1
        scheduled = row._replace(
            trigger="schedule", period_key="2:2026-12-31", cycle="monthly",
            anchor_date=date(2026, 10, 31),
        )  # fmt: skip
        expiring = row._replace(
            trigger="expiry", period_key="2026-12-01", expiry_days_before=5,
            valid_until=datetime(2026, 11, 30, 16, tzinfo=UTC), threshold_minor=None,
        )  # fmt: skip
        second = row._replace(
            binding_id=other, rule_fallback_id=other, rule_binding_id=first, declined_by=[first]
        )
        anew = row._replace(is_agreed_anew=True, agreed_face_minor=5000, agreed_topup_mode="by")
        to = anew._replace(
            topup_mode="to", target_minor=6000, agreed_topup_mode="to", agreed_target_minor=6000
        )
        cases = [
            (row, ""),
            (row._replace(rule_id=None, rule_binding_id=None, threshold_minor=None), ""),
            (row._replace(rule_binding_id=other), agreed.METHOD),
            (second, ""),
            (second._replace(declined_by=[]), agreed.METHOD),
            (second._replace(rule_fallback_id=None), agreed.METHOD),
            (second._replace(rule_binding_id=other), ""),
            (second._replace(rule_binding_id=other + 1), agreed.METHOD),
            (row._replace(threshold_minor=None), agreed.TRIGGER),
            (row._replace(balance_minor=999), ""),
            (row._replace(balance_minor=1000), agreed.NOT_LOW),
            (row._replace(balance_minor=1000, balance_reserved_minor=1), ""),
            (row._replace(balance_minor=None), ""),
            (row._replace(balance_minor=1000, is_early=True), ""),
            (row._replace(threshold_minor=980), agreed.NOT_LOW),
            (row._replace(max_per_charge_minor=5000), ""),
            (row._replace(max_per_charge_minor=4999), agreed.AMOUNT),
            (anew, ""),
            (anew._replace(rule_face_minor=3000), agreed.AMOUNT),
            (anew._replace(face_minor=7000), ""),  # what a gap made of the same terms
            (anew._replace(agreed_face_minor=None, agreed_topup_mode=""), ""),
            (anew._replace(agreed_face_minor=None, rule_face_minor=3000), agreed.AMOUNT),
            (anew._replace(topup_mode="to", target_minor=6000), agreed.AMOUNT),
            (to, ""),
            (to._replace(target_minor=7000), agreed.AMOUNT),
            (scheduled, ""),
            (scheduled._replace(balance_minor=9000, threshold_minor=None), ""),
            (scheduled._replace(cycle="none"), agreed.TRIGGER),
            (scheduled._replace(cycle="none", anchor_date=None), agreed.TRIGGER),
            (scheduled._replace(cycle="quarterly"), agreed.TRIGGER),
            (scheduled._replace(anchor_date=date(2026, 10, 30)), agreed.TRIGGER),
            (scheduled._replace(rule_binding_id=other), agreed.METHOD),
            (expiring, ""),
            (expiring._replace(expiry_days_before=None), agreed.TRIGGER),
            (expiring._replace(valid_until=None), agreed.RENEWED),
            (expiring._replace(valid_until=datetime(2027, 1, 1, tzinfo=UTC)), agreed.RENEWED),
            (expiring._replace(valid_until=datetime(2027, 1, 1, tzinfo=UTC), timezone="?"), ""),
        ]
        found = [(number, agreed.misfit(given)) for number, (given, _) in enumerate(cases)]
        assert found == [(number, code) for number, (_, code) in enumerate(cases)]


class TestAPlanThatChangedMeanwhile:
    def test_is_not_charged_to_the_old_method_but_to_the_new_one(self, world):
        rule = declined(world)
        old, new = rule.binding_id, w.binding(rule.line.owner)
        agree(world, rule, binding=new)
        come_back(world)
        ended, made = Recharge.objects.order_by("pk")
        assert (ended.state, ended.reason, ended.binding_id) == ("canceled", "method_changed", old)
        assert (made.state, made.binding_id) == ("completed", new.pk)
        assert len(world.gateway.charged) == 1
        assert Notice.objects.filter(kind="not_recharged", recharge=ended).exists()
        w.assert_balanced()

    def test_is_charged_the_new_amount_only(self, world):
        rule = declined(world)
        agree(world, rule, face_minor=10_000, max_per_month_minor=20_000)
        come_back(world)
        assert list(Recharge.objects.order_by("pk").values_list("state", "reason")) == [
            ("canceled", "amount_changed"), ("completed", "credited"),
        ]  # fmt: skip
        assert list(world.gateway.charged.values()) == [10_000]
        w.assert_balanced()

    def test_without_the_trigger_is_not_charged(self, world):
        rule = declined(world)
        day = date(2026, 12, 31)
        agree(world, rule, threshold_minor=None, cycle="monthly", anchor_date=day)
        come_back(world)
        assert (only().state, only().reason) == ("canceled", "trigger_gone")
        assert world.gateway.charged == {}
        w.assert_balanced()

    def test_in_nothing_that_matters_goes_on(self, world):
        rule = declined(world)
        agree(world, rule, remind_days_before=(3,))
        come_back(world)
        assert only().state == "completed"
        w.assert_balanced()

    def test_keeps_its_occurrence_due_on_the_new_terms(self, world):
        rule = w.rule(
            threshold_minor=None, cycle="monthly", anchor_date=date(2026, 11, 22),
            next_index=0, next_run_at=world.at, wake_at=world.at,
        )  # fmt: skip
        rule.consent.plan.update(anchor_date="2026-11-22", cycle="monthly")
        world.gateway.script = [SOFT]
        world.run()
        assert only().state == "declined"
        world.later(w.HOUR)
        new = w.binding(rule.line.owner)
        Rule.objects.update(binding=new)
        come_back(world)
        ended, made = Recharge.objects.order_by("pk")
        assert (ended.state, ended.reason) == ("canceled", "method_changed")
        assert (made.state, made.period_key, made.binding_id) == (
            "completed", ended.period_key, new.pk,
        )  # fmt: skip
        assert Rule.objects.get().next_index == 1
        assert len(world.gateway.charged) == 1
        w.assert_balanced()


class TestALineThatIsNotLowAnyMore:
    def test_is_not_charged_for(self, world):
        rule = declined(world)
        Line.objects.update(balance_minor=5980, balance_observed_at=world.at)
        come_back(world)
        assert (only().state, only().reason) == ("canceled", "no_longer_low")
        assert world.gateway.charged == {}
        rule.refresh_from_db()
        assert (rule.is_armed, rule.cooldown_until) == (True, None)
        w.assert_balanced()

    def test_nor_one_whose_validity_was_renewed(self, world):
        line = w.line(balance_minor=9000, valid_until=world.at + 4 * w.DAY)
        w.rule(line, threshold_minor=None, expiry_days_before=5, wake_at=world.at)
        world.gateway.script = [SOFT]
        world.run()
        Line.objects.update(valid_until=world.at + 90 * w.DAY)
        come_back(world)
        assert (only().state, only().reason) == ("canceled", "validity_renewed")
        assert world.gateway.charged == {}
        w.assert_balanced()


class TestAWindow:
    def away(self, world, by):
        """The rail hears nothing and answers nothing."""
        plain = world.gateway.query
        world.gateway.query = lambda **_: world.gateway._answer("query", "", Unknown("down"))
        for _ in range(20):
            world.later(by / 20)
            world.run()
        world.gateway.query = plain

    def test_that_is_over_when_the_rail_is_back_is_missed(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [LOST_BEFORE]
        world.run()
        self.away(world, 6 * w.DAY)
        world.later(w.DAY)
        world.run()
        first = Recharge.objects.order_by("pk").first()
        assert first is not None
        assert (first.state, first.reason) == ("missed", "window_over")
        assert world.gateway.charged == {}
        assert PaymentAttempt.objects.filter(recharge=first).get().state == "closed"
        assert Notice.objects.filter(kind="missed", recharge=first).exists()
        w.assert_balanced()

    def test_ends_for_a_code_that_nobody_has_listed(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.charge = lambda request: world.gateway._answer(
            "charge", request.reference, Refused("NEVER_HEARD_OF")
        )
        world.run()
        for _ in range(60):
            world.later(w.HOUR)
            world.run()
        first = Recharge.objects.order_by("pk").first()
        assert first is not None
        assert (first.state, first.reason) == ("missed", "window_over")
        assert world.gateway.charged == {}
        w.assert_balanced()

    def test_grows_by_the_ladder_that_was_climbed_and_by_no_more(self, world):
        w.rail(retry_ladder_s=[36 * 3600, 36 * 3600, 36 * 3600])
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [SOFT]
        world.run()
        [row] = claims.read(recharge_ids=[only().pk])
        assert row.charge_until == world.at + w.DAY + timedelta(hours=36)
        world.later(timedelta(hours=36))
        world.run()
        assert only().state == "completed"


class TestASecondMethod:
    @pytest.fixture
    def two(self, world):
        w.rail(retry_ladder_s=[3600, 3600, 3600])
        rule = w.rule(w.line(balance_minor=980), wake_at=world.at)
        second = w.binding(rule.line.owner)
        Rule.objects.update(fallback_binding=second)
        rule.refresh_from_db()
        return rule

    def test_whose_decline_is_soft_climbs_its_own_ladder(self, world, two):
        w.rail(retry_ladder_s=[3600, 7200, 7200])
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST"), SOFT]
        world.run()
        assert (only().binding_id, only().state) == (two.fallback_binding_id, "declined")
        assert (only().declines, only().act_at) == (1, world.at + w.HOUR)
        world.later(w.HOUR)
        world.run()
        assert only().state == "completed"
        w.assert_balanced()

    def test_that_is_no_longer_agreed_to_is_not_charged(self, world, two):
        Rule.objects.filter(pk=two.pk).update(fallback_binding=two.fallback_binding)
        world.gateway.script = [SOFT] * 4
        world.run()
        Rule.objects.update(fallback_binding=None)
        for _ in range(3):
            world.later(w.HOUR)
            world.run()
        first = Recharge.objects.order_by("pk").first()
        assert first is not None
        assert (first.state, first.reason) == ("failed", "retries_exhausted")
        assert first.binding_id == two.binding_id
        assert world.gateway.charged == {}

    def test_in_whose_rails_currencies_the_line_is_not_is_not_charged(self, world, two):
        rail = w.rail("stripe", name="Card", name_en="Card")
        card = w.binding(two.line.owner, rail=rail)
        Rule.objects.update(fallback_binding=card)
        other = FakeGateway(capabilities=Capabilities("stripe", currencies=frozenset({"HKD"})))
        outside = replace(world.outside, gateways={"alipay": world.gateway, "stripe": other})
        world.gateway.script = [Refused("AGREEMENT_NOT_EXIST")]
        from billing.engine import executor

        for _ in range(4):
            executor.run_batch(at=world.at, outside=outside)
        assert (only().state, only().reason) == ("failed", "hard_decline")
        assert other.calls == {}


class TestTermsChangedBetweenTheClaimAndTheCall:
    """A race of seconds: what was claimed is judged again under the rule's lock."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"face_minor": 3000},
            {"max_per_charge_minor": 6000},
            {"threshold_minor": 500},
            {"is_on": False},
            {"paused_at": w.NOON},
            {"paused_until": w.NOON + w.DAY},
        ],
    )
    def test_are_not_charged_on_the_old_ones(self, world, changes):
        rule = w.rule(w.line(balance_minor=980), wake_at=world.at)
        openings.open_due(at=world.at, limit=1, capabilities=world.outside.capabilities)
        [row] = claims.claim(at=world.at, limit=1)
        Rule.objects.filter(pk=rule.pk).update(**changes)
        begun = charging.begin([row], at=world.at, rails=world.outside.capabilities)
        assert begun == []
        recharge = Recharge.objects.get()
        assert (recharge.state, recharge.act_at, recharge.lease_until) == ("due", world.at, None)
        assert recharge.crash_count == 0
        assert not PaymentAttempt.objects.exists()
        assert world.gateway.charged == {}
        w.assert_balanced()

    def test_go_on_where_they_are_the_same(self, world):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        openings.open_due(at=world.at, limit=1, capabilities=world.outside.capabilities)
        [row] = claims.claim(at=world.at, limit=1)
        [begun] = charging.begin([row], at=world.at, rails=world.outside.capabilities)
        assert begun.state == "charging"

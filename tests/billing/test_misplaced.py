"""Rows whose time zone is none: nothing is charged by them, and a command names and mends them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing import gateways
from billing.models import Decision, Notice, Recharge, Rule
from billing.operators import misplaced, operations, replanning
from lines.models import Carrier, Line
from portal import checks
from portal.accounts.models import User
from tests import world as w
from tests.billing.plans_world import draft as drafted
from tests.billing.plans_world import errors
from tests.world import DAY, HOUR, NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(world) -> Rule:
    """Due this moment, by the schedule and for a low balance."""
    line = w.line(balance_minor=500, timezone="localtime")
    return w.rule(
        line,
        cycle="monthly",
        anchor_date=date(2026, 11, 22),
        charge_time=time(9),
        next_run_at=NOON,
        wake_at=NOON,
    )


def mended(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("mend_zones", *arguments, stdout=out)
    return out.getvalue().splitlines()


class TestARuleOnALineWhoseZoneIsNone:
    def test_charges_nothing_and_rests_with_a_reason(self, world, rule):
        world.run()

        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason) == (NOON, "zone_unknown")
        assert rule.wake_at is None
        assert not Recharge.objects.exists()
        assert (world.gateway.charged, dict(world.gateway.calls)) == ({}, {})
        assert Decision.objects.get().code == "zone_unknown"

    def test_says_so_to_its_owner_once(self, world, rule):
        world.run()
        Rule.objects.update(paused_at=None, pause_reason="", wake_at=NOON)
        world.run()

        assert [notice.facts for notice in Notice.objects.all()] == [{"code": "zone_unknown"}]

    def test_stops_no_other_in_its_batch(self, world, rule):
        other = w.rule(w.line(balance_minor=500), wake_at=NOON)

        world.run()

        assert Recharge.objects.get().rule == other
        assert Rule.objects.get(pk=other.pk).crash_count == 0

    def test_cannot_be_agreed_to(self, in_english):
        line = w.line(timezone="localtime")
        assert errors(drafted(line=line)) == {
            "line": "This line's time zone is not known. Our staff must put it right first."
        }

    def test_is_held_before_the_executor_comes_by(self, rule):
        assert (rule.is_held, rule.held_for) == (True, "zone_unknown")
        rule.line.timezone = "Asia/Shanghai"
        assert not rule.is_held


class TestTheCommand:
    @pytest.fixture
    def rows(self) -> dict[str, str]:
        """Wrong ones, by what they hold; one line is right."""
        alice = w.person(timezone="localtime")
        w.line(alice, label="right")
        home = w.line(alice, timezone="localtime")
        same = w.line(alice, timezone="posix/Europe/Berlin")
        away = w.carrier("far", timezone="America/Vancouver")
        far = w.line(alice, carrier=away, timezone="Factory")
        lost = w.carrier("lost", timezone="Mars/Olympus")
        return {
            "home": home.public_id,
            "same": same.public_id,
            "far": far.public_id,
            "alice": alice.public_id,
            "lost": lost.code,
        }

    def test_names_each_by_its_public_name_and_changes_nothing(self, rows):
        before = list(Line.objects.order_by("pk").values_list("timezone", flat=True))

        assert mended() == [
            f"line {rows['home']}: 'localtime', not yet Asia/Shanghai",
            f"line {rows['same']}: 'posix/Europe/Berlin', not yet Europe/Berlin",
            f"line {rows['far']}: 'Factory', not yet America/Vancouver",
            f"carrier {rows['lost']}: 'Mars/Olympus', not yet Asia/Shanghai",
            f"person {rows['alice']}: 'localtime', not yet Asia/Shanghai",
            "5 found, none changed: add --apply, and --zone NAME where it is another.",
        ]

        assert list(Line.objects.order_by("pk").values_list("timezone", flat=True)) == before

    def test_gives_each_what_it_said_and_finds_nothing_more(self, rows):
        assert mended("--apply")[0] == f"line {rows['home']}: 'localtime', now Asia/Shanghai"

        assert Line.objects.get(public_id=rows["far"]).timezone == "America/Vancouver"
        assert Carrier.objects.get(code="lost").timezone == "Asia/Shanghai"
        assert User.objects.get(public_id=rows["alice"]).timezone == "Asia/Shanghai"
        assert mended() == ["Every row and every plan goes by tzdata 2026.6 (2026f)."]

    def test_gives_all_the_zone_that_is_asked_for(self, rows):
        mended("--apply", "--zone", "Asia/Tokyo")
        assert set(Line.objects.exclude(label="right").values_list("timezone", flat=True)) == {
            "Asia/Tokyo"
        }

    def test_refuses_a_zone_that_is_none(self, rows):
        with pytest.raises(CommandError, match="has no zone 'localtime'"):
            mended("--apply", "--zone", "localtime")
        assert Line.objects.filter(timezone="localtime").exists()

    def test_prints_no_number(self, rows):
        numbers = Line.objects.values_list("msisdn", flat=True)
        assert [one for one in numbers if one in "\n".join(mended())] == []

    def test_leaves_what_was_changed_meanwhile(self, rows):
        [home, *_others] = misplaced.find()
        Line.objects.filter(public_id=home.reference).update(timezone="Asia/Tokyo")

        assert not misplaced.mend(home, at=NOON)
        assert Line.objects.get(public_id=home.reference).timezone == "Asia/Tokyo"


class TestAMendedLine:
    def test_has_its_rule_rest_at_the_new_zone_s_hours(self, world, rule):
        [found] = misplaced.find(zone="America/Vancouver")

        assert misplaced.mend(found, at=world.at)

        again = Rule.objects.get()
        assert (again.paused_at, again.pause_reason) == (NOON, "zone_unknown")
        assert again.next_run_at.isoformat() == "2026-11-22T16:00:00+00:00"  # 09:00 there
        assert (again.wake_at, again.version) == (None, rule.version + 1)
        assert [notice.facts for notice in Notice.objects.all()] == [{"code": "zone_unknown"}]
        world.later(3 * DAY)
        world.run()
        assert not Recharge.objects.exists()

    def test_charges_again_once_an_operator_has_looked(self, world, rule):
        [found] = misplaced.find()
        misplaced.mend(found, at=world.at)
        world.later(HOUR)

        operations.resume_rule(rule=Rule.objects.get(), at=world.at)
        world.run()

        assert Recharge.objects.get().state == "completed"
        w.assert_balanced()

    def test_keeps_another_pause_as_it_is(self, world, rule):
        Rule.objects.update(paused_at=NOON - DAY, pause_reason="crashed")
        [found] = misplaced.find()

        misplaced.mend(found, at=world.at)

        again = Rule.objects.get()
        assert (again.paused_at, again.pause_reason) == (NOON - DAY, "crashed")
        assert not Notice.objects.exists()


class TestAPlanMadeByOtherData:
    """09:00 on 15 January 2027 in Vancouver, as Debian 12's own files have it: an hour late."""

    ASTRAY, AGREED = datetime(2027, 1, 15, 17, tzinfo=UTC), datetime(2027, 1, 15, 16, tzinfo=UTC)

    @pytest.fixture(autouse=True)
    def planned(self, world) -> Iterator[Rule]:
        line = w.line(timezone="America/Vancouver")
        with gateways.override("alipay", world.gateway):
            yield w.rule(
                line,
                cycle="monthly",
                anchor_date=date(2027, 1, 15),
                charge_time=time(9),
                next_run_at=self.ASTRAY,
                wake_at=self.ASTRAY,
            )

    def test_is_found_and_moved_to_its_agreed_hour(self, world, planned):
        [found] = replanning.find(at=NOON)
        assert (found.planned_at, found.agreed_at) == (self.ASTRAY, self.AGREED)

        assert replanning.move(found, at=NOON)
        world.run()  # it is looked at once, and waits

        again = Rule.objects.get()
        assert (again.next_run_at, again.wake_at) == (self.AGREED, self.AGREED)
        assert not Recharge.objects.exists()
        assert list(replanning.find(at=NOON)) == []

    def test_is_named_by_the_command(self, planned):
        said = f"rule {planned.public_id}: 2027-01-15T17:00:00+00:00, not yet {self.AGREED:%F}"
        assert mended()[0].startswith(said)

    def test_is_left_where_the_rule_has_moved_on_or_its_time_has_come(self, world, planned):
        [found] = replanning.find(at=NOON)
        Rule.objects.update(next_run_at=self.ASTRAY + DAY)
        assert not replanning.move(found, at=NOON)
        assert Rule.objects.get().next_run_at == self.ASTRAY + DAY
        assert list(replanning.find(at=self.ASTRAY + 2 * DAY)) == []

    def test_of_a_rule_that_rests_is_moved_and_goes_on_resting(self, planned):
        Rule.objects.update(paused_at=NOON, pause_reason="crashed", wake_at=None)
        [found] = replanning.find(at=NOON)
        replanning.move(found, at=NOON)
        again = Rule.objects.get()
        assert (again.next_run_at, again.wake_at) == (self.AGREED, None)

    def test_on_a_rail_that_is_off_here_is_left_alone(self, planned):
        w.rail("wechat")
        other = w.binding(rail=w.rail("wechat"))
        Rule.objects.update(binding=other)
        assert list(replanning.find(at=NOON)) == []


class TestTheCheckOfRows:
    def test_names_a_wrong_one_and_the_command(self):
        line = w.line(timezone="localtime")

        [warning] = checks.zones_of_rows_are_known(databases=["default"])

        assert warning.id == "keepline.W002"
        assert warning.msg == f"line {line.public_id} holds 'localtime', which is no time zone."
        assert "mend_zones" in warning.hint

    def test_is_content_with_every_zone_of_the_package(self):
        w.line(timezone="Europe/Kyiv")
        assert checks.zones_of_rows_are_known(databases=["default"]) == []
        assert checks.zones_of_rows_are_known() == []

    def test_has_nothing_to_say_before_the_first_migration(self, monkeypatch):
        from django.db import connection

        monkeypatch.setattr(connection.introspection, "table_names", list)
        assert checks.zones_of_rows_are_known(databases=["default"]) == []

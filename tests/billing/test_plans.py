"""The owner's contract: drafted, turned on by one act, edited, paused, skipped, stopped."""

import json
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import connection, transaction
from django.utils import translation

from billing.models import Binding, Consent, Notice, Rule
from billing.plans import consents, contract
from billing.plans.contract import InvalidDraft, StalePlan
from lines.models import Line
from tests import world as w
from tests.billing.plans_world import (
    ALIPAY,
    agreed,
    confirm,
    draft,
    low,
    preview,
    saved,
    state,
)
from tests.billing.readers import teach_chinese
from tests.race import behind
from tests.world import DAY, MINUTE, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.mark.django_db
class TestSaveDraft:
    def test_keeps_what_was_entered_and_turns_nothing_on(self):
        of = draft(threshold_minor=1000, remind_days_before=(2, 5, 2))

        rule = contract.save_draft(draft=of, capabilities=ALIPAY, at=NOON)

        assert (rule.is_on, rule.consent, rule.wake_at, rule.notify_at) == (False, None, None, None)
        assert (rule.version, rule.created_at) == (1, NOON)
        assert contract.draft_of(saved(rule)) == replace(of, remind_days_before=(5, 2))
        assert Notice.objects.count() == Consent.objects.count() == 0

    def test_is_kept_over_the_last_one_and_counted(self):
        of = draft()
        contract.save_draft(draft=of, capabilities=ALIPAY, at=NOON)

        rule = contract.save_draft(
            draft=replace(of, face_minor=3000), capabilities=ALIPAY, at=NOON + DAY
        )

        assert (rule.face_minor, rule.version, rule.created_at) == (3000, 2, NOON)
        assert Rule.objects.count() == 1

    def test_writes_nothing_of_a_draft_that_cannot_run(self):
        with pytest.raises(InvalidDraft):
            contract.save_draft(draft=draft(face_minor=1), capabilities=ALIPAY, at=NOON)

        assert Rule.objects.count() == 0

    def test_never_touches_a_plan_that_runs(self):
        rule = confirm(draft())
        before = state(rule)

        with pytest.raises(contract.RuleIsOn):
            contract.save_draft(
                draft=replace(contract.draft_of(saved(rule)), face_minor=3000),
                capabilities=ALIPAY,
                at=NOON,
            )

        assert state(rule) == before


@pytest.mark.django_db
class TestConfirm:
    def test_turns_the_plan_on_and_keeps_what_was_agreed_to(self):
        of = draft(threshold_minor=1000, line=w.line(msisdn="+8613800000021"))

        rule = confirm(of)

        assert (rule.is_on, rule.is_armed, rule.version) == (True, True, 2)
        assert (rule.next_index, rule.next_run_at) == (0, datetime(2026, 12, 31, 1, tzinfo=UTC))
        assert rule.wake_at == NOON
        assert rule.notify_at == datetime(2026, 12, 26, 1, tzinfo=UTC)
        consent = Consent.objects.get()
        assert rule.consent == consent
        assert (consent.owner, consent.line, consent.binding) == (
            of.line.owner,
            of.line,
            of.binding,
        )
        assert (consent.language, consent.ip, consent.user_agent) == ("en", "192.0.2.7", "Firefox")
        assert (consent.at, consent.text_version) == (NOON, consents.VERSION)
        assert consent.text.startswith("I agree that Keepline recharges 妈妈的手机 138 **** 0021")

    def test_keeps_the_plan_as_it_was_shown(self):
        rule = confirm(draft())

        plan = agreed(rule).plan
        assert plan["charges"][2] == {
            "date": "2027-02-28",
            "due_at": "2027-02-28T01:00:00+00:00",
            "price_minor": 5000,
        }
        assert len(plan["charges"]) == 12
        assert (plan["face_minor"], plan["currency"], plan["month_max_minor"]) == (
            5000,
            "CNY",
            15_000,
        )
        assert plan["plan_max_minor"] == 10_000
        assert (plan["binding"], plan["rail"]) == (agreed(rule).binding.ref, "alipay")
        assert (plan["rule_version"], plan["fires_at_once"]) == (2, False)
        assert "138" not in json.dumps(plan)

    def test_tells_that_it_is_on(self):
        confirm(draft())

        notice = Notice.objects.get()
        assert (notice.kind, notice.facts["cap_minor"], notice.facts["rail"]) == (
            "rule_on",
            10_000,
            "alipay",
        )

    def test_happens_once_however_often_it_is_pressed(self):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        confirm(rule=rule)
        before = state(rule)

        with pytest.raises(StalePlan):
            confirm(rule=rule, at=NOON + MINUTE)

        assert state(rule) == before
        assert Consent.objects.count() == Notice.objects.count() == 1

    def test_refuses_a_page_that_showed_another_plan(self):
        of = draft()
        read = contract.save_draft(draft=of, capabilities=ALIPAY, at=NOON)
        contract.save_draft(draft=replace(of, face_minor=3000), capabilities=ALIPAY, at=NOON)

        with pytest.raises(StalePlan):
            confirm(rule=read)

        assert not saved(read).is_on
        assert Consent.objects.count() == 0

    @pytest.mark.parametrize("off_by", [-1, 1])
    def test_refuses_a_page_of_any_other_version_than_the_rows(self, off_by):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        rule.version += off_by

        with pytest.raises(StalePlan):
            confirm(rule=rule)

        assert not saved(rule).is_on
        assert Consent.objects.count() == 0

    def test_is_the_owners_alone(self):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        with pytest.raises(Rule.DoesNotExist):
            confirm(rule=rule, owner=w.person("bob"))

        assert not saved(rule).is_on

    def test_looks_again_at_whether_it_can_run(self):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        Binding.objects.update(state="revoked")

        with pytest.raises(InvalidDraft):
            confirm(rule=saved(rule))

        assert not saved(rule).is_on
        assert Consent.objects.count() == Notice.objects.count() == 0

    def test_refuses_a_first_day_that_has_passed_since_the_draft_was_kept(self):
        rule = contract.save_draft(
            draft=draft(anchor_date=date(2026, 11, 23)), capabilities=ALIPAY, at=NOON
        )

        with pytest.raises(InvalidDraft) as refusal:
            confirm(rule=rule, at=NOON + 2 * DAY)

        assert list(refusal.value.errors) == ["anchor_date"]

    def test_cannot_be_handed_the_draft_of_another_line(self):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        with pytest.raises(ValueError, match="another line"):
            confirm(draft(), rule=rule)

        assert not saved(rule).is_on

    def test_is_agreed_to_for_the_sim_the_line_has_now(self):
        line = w.line()
        rule = w.rule(line, sim_generation=1, paused=True, pause_reason="sim_changed")
        Line.objects.update(sim_generation=2)

        again = confirm(rule=saved(rule))

        assert (again.sim_generation, again.paused_at, again.pause_reason) == (2, None, "")

    @pytest.mark.parametrize("reason", ["crashed", "operator"])
    def test_does_not_lift_a_pause_that_waits_for_a_person(self, reason):
        rule = w.rule(paused=True, pause_reason=reason)

        with pytest.raises(InvalidDraft) as refusal:
            confirm(rule=saved(rule))

        assert list(refusal.value.errors) == ["line"]
        assert saved(rule).pause_reason == reason

    def test_cuts_an_endless_user_agent(self):
        rule = confirm(draft(), user_agent="x" * 5000, ip=None)

        assert (len(agreed(rule).user_agent), agreed(rule).ip) == (200, None)

    def test_has_the_executor_look_at_once(self):
        rule = confirm(low(line=w.line(balance_minor=1)))

        assert rule.wake_at == NOON
        assert rule.next_run_at is None


@pytest.mark.django_db
class TestAnEdit:
    def edited(self, rule: Rule, *, at=NOON, **more) -> Rule:
        standing = saved(rule)
        return confirm(replace(contract.draft_of(standing), **more), rule=standing, at=at)

    def test_of_the_amount_never_moves_the_calendar(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=3, next_run_at=datetime(2027, 3, 31, 1, tzinfo=UTC))
        at = datetime(2027, 3, 10, tzinfo=UTC)

        again = self.edited(rule, at=at, face_minor=3000)

        assert (again.face_minor, again.anchor_date) == (3000, date(2026, 12, 31))
        assert (again.next_index, again.next_run_at) == (3, datetime(2027, 3, 31, 1, tzinfo=UTC))
        assert again.version == 3
        assert Consent.objects.count() == 2

    def test_of_the_amount_keeps_a_charge_that_is_due_this_minute(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        due_at = datetime(2026, 12, 1, 1, tzinfo=UTC)

        again = self.edited(rule, at=due_at + MINUTE, face_minor=3000)

        assert (again.next_index, again.next_run_at) == (0, due_at)

    def test_of_the_amount_keeps_the_skip_and_the_owners_pause(self):
        rule = confirm(draft())
        contract.skip_next(rule=rule, at=NOON)
        contract.pause(rule=rule, until=NOON + DAY, at=NOON)

        again = self.edited(rule, face_minor=3000)

        assert (again.skip_index, again.paused_until) == (0, NOON + DAY)

    def test_of_the_anchor_begins_the_calendar_anew(self):
        rule = confirm(draft())
        contract.skip_next(rule=rule, at=NOON)

        again = self.edited(rule, anchor_date=date(2026, 12, 5))

        assert (again.next_index, again.next_run_at) == (0, datetime(2026, 12, 5, 1, tzinfo=UTC))
        assert again.skip_index is None

    def test_of_the_anchor_shows_the_new_calendar_first(self):
        rule = confirm(draft())
        moved = replace(contract.draft_of(saved(rule)), anchor_date=date(2026, 12, 5))

        dates = [one.local_date.isoformat() for one in preview(moved).charges[:2]]

        assert dates == ["2026-12-05", "2027-01-05"]
        assert saved(rule).anchor_date == date(2026, 12, 31)

    def test_of_the_hour_cannot_charge_a_day_twice(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        ran = datetime(2026, 12, 1, 1, 5, tzinfo=UTC)
        Rule.objects.update(next_index=1, next_run_at=datetime(2027, 1, 1, 1, tzinfo=UTC))

        again = self.edited(rule, at=ran, charge_time=time(18))

        assert (again.next_index, again.next_run_at) == (1, datetime(2027, 1, 1, 10, tzinfo=UTC))

    def test_of_the_hour_cannot_put_the_next_charge_into_the_past(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1), charge_time=time(18)))

        with pytest.raises(InvalidDraft) as refusal:
            self.edited(rule, at=datetime(2026, 12, 1, 4, tzinfo=UTC), charge_time=time(9))

        assert list(refusal.value.errors) == ["charge_time"]
        assert saved(rule).charge_time == time(18)

    def test_arms_a_latch_that_had_fired_and_begins_a_new_episode(self):
        rule = confirm(low())
        Rule.objects.update(is_armed=False, episode=4)

        again = self.edited(rule, face_minor=3000)

        assert (again.is_armed, again.episode) == (True, 5)

    def test_leaves_the_episode_of_an_armed_latch(self):
        rule = confirm(low())

        assert self.edited(rule, face_minor=3000).episode == 1

    def test_that_is_refused_leaves_the_old_plan_running(self):
        rule = confirm(draft())
        before = state(rule)

        with pytest.raises(InvalidDraft):
            self.edited(rule, face_minor=1)

        assert state(rule) == before


@pytest.mark.django_db
class TestPausing:
    def test_keeps_the_plan_on_and_wakes_it_for_its_next_charge(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))

        paused = contract.pause(rule=rule, until=NOON + 60 * DAY, at=NOON)

        assert (paused.is_on, paused.paused_until) == (True, NOON + 60 * DAY)
        assert paused.wake_at == datetime(2026, 12, 1, 1, tzinfo=UTC)
        # The first charge after the pause is on 1 February.
        assert paused.notify_at == datetime(2027, 1, 27, 1, tzinfo=UTC)

    def test_wakes_a_plan_without_a_schedule_when_it_ends(self):
        paused = contract.pause(rule=confirm(low()), until=NOON + DAY, at=NOON)

        assert paused.wake_at == NOON + DAY

    @pytest.mark.parametrize("until", [NOON, NOON - DAY, NOON + timedelta(days=367)])
    def test_needs_a_day_ahead_and_within_a_year(self, until):
        rule = confirm(draft())

        with translation.override("en"), pytest.raises(contract.InvalidPause) as refusal:
            contract.pause(rule=rule, until=until, at=NOON)

        assert refusal.value.sentence == "Choose a day after today, and within a year."
        assert saved(rule).paused_until is None

    def test_ends_when_its_owner_resumes(self):
        rule = confirm(low(line=w.line(balance_minor=1)))
        contract.pause(rule=rule, until=NOON + 9 * DAY, at=NOON)
        Rule.objects.update(is_armed=False)

        resumed = contract.resume(rule=rule, at=NOON + DAY)

        assert (resumed.paused_until, resumed.wake_at) == (None, NOON + DAY)
        assert (resumed.is_armed, resumed.episode) == (True, 2)

    def test_makes_up_for_nothing_that_fell_into_it(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        contract.pause(rule=rule, until=NOON + 60 * DAY, at=NOON)

        resumed = contract.resume(rule=rule, at=datetime(2026, 12, 1, 2, tzinfo=UTC))

        assert (resumed.next_index, resumed.next_run_at) == (
            1,
            datetime(2027, 1, 1, 1, tzinfo=UTC),
        )

    def test_of_the_system_is_not_the_owners_to_end(self):
        rule = confirm(draft())
        contract.pause(rule=rule, until=NOON + DAY, at=NOON)
        Rule.objects.update(paused_at=NOON, pause_reason="breaker")

        resumed = contract.resume(rule=rule, at=NOON)

        assert (resumed.paused_at, resumed.pause_reason) == (NOON, "breaker")

    def test_that_never_was_is_resumed_without_effect(self):
        rule = confirm(draft())
        before = state(rule)

        contract.resume(rule=rule, at=NOON + DAY)

        assert state(rule) == before

    def test_needs_a_plan_that_is_on(self):
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        for act in (contract.resume, contract.skip_next, contract.unskip):
            with pytest.raises(contract.RuleIsOff):
                act(rule=rule, at=NOON)
        with pytest.raises(contract.RuleIsOff):
            contract.pause(rule=rule, until=NOON + DAY, at=NOON)
        assert not saved(rule).is_on


@pytest.mark.django_db
class TestSkipping:
    def test_leaves_out_the_next_charge_only(self):
        rule = confirm(draft())

        skipped = contract.skip_next(rule=rule, at=NOON, seen_index=0)

        found = contract.upcoming(rule=skipped, capabilities=ALIPAY, at=NOON, count=3)
        assert [one.withheld for one in found] == ["skipped", "", ""]
        assert skipped.notify_at == datetime(2027, 1, 26, 1, tzinfo=UTC)

    def test_never_hits_the_charge_after_the_one_that_was_seen(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=1)

        with pytest.raises(StalePlan):
            contract.skip_next(rule=rule, at=NOON, seen_index=0)

        assert saved(rule).skip_index is None

    def test_can_be_taken_back(self):
        rule = confirm(draft())
        notify_at = rule.notify_at
        contract.skip_next(rule=rule, at=NOON)

        back = contract.unskip(rule=rule, at=NOON)

        assert (back.skip_index, back.notify_at) == (None, notify_at)

    def test_needs_a_schedule(self):
        with pytest.raises(contract.NothingToSkip):
            contract.skip_next(rule=confirm(low()), at=NOON)


@pytest.mark.django_db
class TestStopping:
    def test_is_at_once_and_told(self):
        rule = confirm(draft())
        contract.pause(rule=rule, until=NOON + DAY, at=NOON)
        contract.skip_next(rule=rule, at=NOON)

        stopped = contract.stop(rule=rule, because="owner", at=NOON)

        assert (stopped.is_on, stopped.wake_at, stopped.notify_at) == (False, None, None)
        assert (stopped.paused_until, stopped.skip_index) == (None, None)
        assert list(Notice.objects.order_by("pk").values_list("kind", flat=True)) == [
            "rule_on",
            "rule_off",
        ]

    def test_twice_is_told_once(self):
        rule = confirm(draft())
        contract.stop(rule=rule, because="owner", at=NOON)

        contract.stop(rule=rule, because="owner", at=NOON + DAY)

        assert Notice.objects.filter(kind="rule_off").count() == 1

    def test_is_not_undone_by_a_page_that_was_read_before(self):
        read = saved(confirm(draft()))
        contract.stop(rule=read, because="owner", at=NOON)

        with pytest.raises(StalePlan):
            confirm(rule=read)

        assert not saved(read).is_on

    def test_is_undone_by_nothing_but_a_new_consent(self):
        rule = confirm(draft())
        stopped = contract.stop(rule=rule, because="owner", at=NOON)

        for act in (contract.resume, contract.unskip):
            with pytest.raises(contract.RuleIsOff):
                act(rule=rule, at=NOON)
        contract.save_draft(draft=contract.draft_of(saved(rule)), capabilities=ALIPAY, at=NOON)
        assert not saved(rule).is_on

        again = confirm(rule=saved(stopped))
        assert again.is_on
        assert Consent.objects.count() == 2

    def test_gives_an_occurrence_that_had_its_turn_no_second_one(self):
        rule = confirm(draft(anchor_date=date(2026, 12, 1)))
        Rule.objects.update(next_index=1, next_run_at=datetime(2027, 1, 1, 1, tzinfo=UTC))
        at = datetime(2026, 12, 1, 2, tzinfo=UTC)
        contract.stop(rule=rule, because="owner", at=at)

        standing = saved(rule)
        later = replace(contract.draft_of(standing), charge_time=time(18))
        again = confirm(later, rule=standing, at=at)

        assert again.next_index == 1


@pytest.mark.django_db
class TestUpcoming:
    def test_goes_on_from_where_the_rule_stands(self):
        rule = confirm(draft())
        Rule.objects.update(next_index=2)

        found = contract.upcoming(rule=saved(rule), capabilities=ALIPAY, at=NOON, count=2)

        assert [one.local_date.isoformat() for one in found] == ["2027-02-28", "2027-03-31"]

    def test_marks_what_a_pause_holds_back(self):
        rule = confirm(draft())
        paused = contract.pause(rule=rule, until=datetime(2027, 1, 5, tzinfo=UTC), at=NOON)

        found = contract.upcoming(rule=paused, capabilities=ALIPAY, at=NOON, count=3)

        assert [one.withheld for one in found] == ["paused", "", ""]

    def test_never_shows_a_charge_as_coming_while_the_system_pauses_the_rule(self):
        rule = confirm(draft())
        Rule.objects.update(paused_at=NOON, pause_reason="breaker")

        found = contract.upcoming(rule=saved(rule), capabilities=ALIPAY, at=NOON, count=2)

        assert [one.withheld for one in found] == ["paused", "paused"]

    def test_is_empty_for_a_rule_that_is_off_or_has_no_schedule(self):
        off = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)

        assert contract.upcoming(rule=off, capabilities=ALIPAY, at=NOON, count=9) == []
        assert contract.upcoming(rule=confirm(low()), capabilities=ALIPAY, at=NOON, count=9) == []


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_confirm_once(self):
        """Both have read the same page; the row decides, and the other is told it is stale."""
        rule = contract.save_draft(draft=draft(), capabilities=ALIPAY, at=NOON)
        outcomes: list[str] = []

        def press() -> None:
            try:
                confirm(rule=rule)
                outcomes.append("on")
            except StalePlan:
                outcomes.append("stale")
            finally:
                connection.close()

        threads = [threading.Thread(target=press) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)

        assert sorted(outcomes) == ["on"] + ["stale"] * 5
        assert Consent.objects.count() == Notice.objects.filter(kind="rule_on").count() == 1

    def test_a_draft_does_not_overwrite_a_plan_that_is_just_being_turned_on(self):
        of = draft()
        rule = contract.save_draft(draft=of, capabilities=ALIPAY, at=NOON)
        changed = replace(of, face_minor=3000)
        with transaction.atomic():
            confirm(rule=rule)
            late = behind(lambda: contract.save_draft(draft=changed, capabilities=ALIPAY, at=NOON))

        with pytest.raises(contract.RuleIsOn):
            late.result(timeout=30)
        assert (saved(rule).is_on, saved(rule).face_minor) == (True, 5000)

    def test_stop_waits_for_whoever_holds_the_rule(self):
        rule = confirm(draft())
        order: list[str] = []

        def stop() -> None:
            contract.stop(rule=rule, because="owner", at=NOON)
            order.append("stopped")
            connection.close()

        with transaction.atomic():
            Rule.objects.select_for_update().get(pk=rule.pk)
            thread = threading.Thread(target=stop)
            thread.start()
            thread.join(timeout=0.3)
            order.append("released")
        thread.join(timeout=60)

        assert order == ["released", "stopped"]
        assert not saved(rule).is_on

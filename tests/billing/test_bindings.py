"""Agreements: begun, watched, ended. Alice owns; Bob is a stranger."""

from itertools import pairwise

import pytest
from django.db import connection, transaction

from billing import gateways
from billing.bindings import lifecycle
from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingStatus,
    NotFound,
    Refused,
    Unknown,
)
from billing.models import Binding, BindingState, Notice, NoticeKind, RailCall, Rule
from tests import world as w
from tests.billing.bindings_world import (
    ACTIVE,
    NOTIFY,
    REVOKED,
    FakeGateway,
    active,
    notices,
    pending,
    refresh,
    start,
)
from tests.race import race
from tests.world import DAY, HOUR, MINUTE, NOON


@pytest.mark.django_db
class TestStarting:
    def test_commits_the_row_before_the_rail_can_know_of_it(self):
        gateway, alice = FakeGateway(), w.person()

        started = start(gateway, owner=alice)

        binding = Binding.objects.get()
        assert started.binding == binding
        assert started.url == f"https://rail.test/sign?ref={binding.ref}"
        assert (binding.owner, binding.state, binding.rail_id) == (alice, "pending", "alipay")
        assert (binding.check_at, binding.is_default) == (NOON + 2 * MINUTE, False)
        [request] = gateway.started
        assert request.return_url == f"https://keepline.test/back/{binding.ref}"
        assert request.notify_url == NOTIFY

    def test_gives_the_waiting_one_when_pressed_twice(self):
        assert start().binding == start().binding
        assert Binding.objects.count() == 1

    def test_begins_anew_after_a_day_and_never_with_anothers(self):
        first = start().binding
        assert start(at=NOON + DAY).binding != first
        assert start(owner=w.person("bob")).binding != first

    def test_is_refused_on_a_rail_that_is_switched_off(self):
        gateway = FakeGateway()
        with pytest.raises(lifecycle.RailNotOffered):
            start(gateway, is_enabled=False)
        assert gateway.started == []
        assert not Binding.objects.exists()

    def test_says_so_when_a_setting_is_missing(self):
        gateway = FakeGateway()

        def start_binding(*, request):
            raise ValueError("ALIPAY_MAX_CHARGE_MINOR must be set.")

        gateway.start_binding = start_binding
        with pytest.raises(lifecycle.RailNotOffered):
            start(gateway)
        assert Binding.objects.get().state == "pending"

    @pytest.mark.django_db(transaction=True)
    def test_refuses_to_run_inside_a_transaction(self):
        rail, alice = w.rail(), w.person()
        with pytest.raises(RuntimeError), transaction.atomic():
            lifecycle.start(
                owner=alice, rail=rail, return_url="", notify_url="", gateway=None, at=NOON
            )
        assert not Binding.objects.exists()


@pytest.mark.django_db
class TestAnAgreementThatIsSigned:
    def test_becomes_active_and_the_default(self):
        binding = refresh(pending(), ACTIVE)

        stored = Binding.objects.get()
        assert (stored.state, stored.is_default, binding.is_default) == ("active", True, True)
        assert (stored.provider_ref, stored.label) == ("20260001", "li***@163.com")
        assert (stored.fingerprint, stored.signed_at) == ("f" * 64, NOON - MINUTE)
        assert (stored.checked_at, stored.check_at) == (NOON, NOON + DAY)
        assert stored.is_usable

    def test_is_not_the_default_where_there_is_one(self):
        first = w.binding(is_default=True)
        second = refresh(pending(), ACTIVE)
        assert not second.is_default
        assert Binding.objects.get(is_default=True) == first

    def test_leaves_its_evidence_first(self):
        binding = refresh(pending(), ACTIVE)
        call = RailCall.objects.get()
        assert (call.rail, call.kind, call.reference) == ("alipay", "agreement.query", binding.ref)
        assert call.is_verified

    def test_may_be_refreshed_any_number_of_times(self):
        binding = pending()
        for _ in range(3):
            refresh(binding, ACTIVE)
        assert Binding.objects.get().state == "active"
        assert not Notice.objects.exists()

    def test_hides_its_number_at_rest(self):
        refresh(pending(), ACTIVE)
        with connection.cursor() as cursor:
            cursor.execute("SELECT provider_ref FROM billing_binding")
            assert "20260001" not in cursor.fetchone()[0]

    def test_counts_even_when_it_was_thought_abandoned(self):
        binding = refresh(pending(), NotFound(), at=NOON + DAY)
        assert binding.state == BindingState.ABANDONED
        revived = refresh(binding, ACTIVE, at=NOON + 2 * DAY)
        assert (revived.state, revived.ended_at) == (BindingState.ACTIVE, None)


@pytest.mark.django_db
class TestAnAgreementThatIsNotSigned:
    def test_waits_for_a_day_and_is_asked_about_ever_less_often(self):
        binding = pending()
        soon = refresh(binding, NotFound(), at=NOON + 59 * MINUTE)
        assert (soon.state, soon.check_at) == ("pending", NOON + 61 * MINUTE)
        later = refresh(binding, BindingFacts(BindingStatus.PENDING), at=NOON + DAY - MINUTE)
        assert (later.state, later.check_at) == ("pending", NOON + DAY - MINUTE + HOUR)

    def test_is_abandoned_after_a_day_without_a_word(self):
        binding = refresh(pending(), NotFound(), at=NOON + DAY)
        assert (binding.state, binding.check_at) == (BindingState.ABANDONED, None)
        assert not Notice.objects.exists()

    @pytest.mark.parametrize("says", [Unknown("timeout"), Refused("ISV", "no")])
    def test_is_not_abandoned_while_the_rail_does_not_tell(self, says):
        binding = refresh(pending(), says, at=NOON + 2 * DAY)
        assert (binding.state, binding.check_at) == ("pending", NOON + 2 * DAY + HOUR)


@pytest.mark.django_db
class TestAnAgreementThatEnds:
    @pytest.mark.parametrize("said", [REVOKED, NotFound()])
    def test_stops_its_rules_at_once_and_tells_once(self, said):
        rule = w.rule(wake_at=NOON + DAY)
        Binding.objects.update(is_default=True)

        binding = refresh(rule.binding, said)

        assert (binding.state, binding.ended_at) == (BindingState.REVOKED, NOON)
        assert (binding.is_default, binding.check_at) == (False, None)
        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason) == (NOON, "binding_ended")
        assert (rule.wake_at, rule.is_on, rule.binding) == (None, True, binding)
        [notice] = notices(NoticeKind.BINDING_ENDED)
        assert (notice.owner, notice.line) == (rule.line.owner, rule.line)
        assert notice.facts == {"rail": "alipay", "label": "li***@163.com", "rules": 1}
        refresh(binding, said, at=NOON + HOUR)
        assert Notice.objects.count() == 1

    def test_by_running_out_is_expired(self):
        rule = w.rule()
        binding = refresh(rule.binding, BindingFacts(BindingStatus.EXPIRED))
        assert (binding.state, binding.ended_at) == (BindingState.EXPIRED, NOON)
        assert Rule.objects.get().pause_reason == "binding_ended"
        assert len(notices(NoticeKind.BINDING_ENDED)) == 1

    def test_ends_by_its_own_date_though_the_rail_does_not_answer(self):
        rule = w.rule(binding=w.binding(expires_at=NOON))
        assert refresh(rule.binding, Unknown("down")).state == BindingState.EXPIRED
        assert Rule.objects.get().paused_at == NOON

    def test_leaves_other_rules_and_off_rules_alone(self):
        tool = w.binding()
        others, off = w.rule(), w.rule(is_on=False, binding=tool)
        refresh(tool, REVOKED)
        others.refresh_from_db()
        off.refresh_from_db()
        assert (others.paused_at, off.paused_at) == (None, None)

    def test_says_why_even_of_a_rule_that_was_paused_for_less(self):
        rule = w.rule(paused_at=NOON - DAY, pause_reason="breaker")
        refresh(rule.binding, REVOKED)
        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason) == (NOON - DAY, "binding_ended")

    def test_tells_of_several_lines_in_one_notice(self):
        tool = w.binding()
        for _ in range(3):
            w.rule(w.line(), binding=tool)
        refresh(tool, REVOKED)
        [notice] = notices(NoticeKind.BINDING_ENDED)
        assert (notice.line, notice.facts["rules"]) == (None, 3)

    def test_hands_the_default_to_the_oldest_that_is_left(self):
        first = w.binding(is_default=True)
        w.binding(signed_at=NOON - DAY)
        oldest = w.binding(signed_at=NOON - 9 * DAY)
        w.binding(signed_at=NOON - 10 * DAY, state="suspended")
        refresh(first, REVOKED)
        assert Binding.objects.get(is_default=True) == oldest

    def test_stays_ended_whatever_is_said_later(self):
        binding = refresh(w.binding(), REVOKED)
        gateway = FakeGateway(ACTIVE)
        assert lifecycle.refresh(binding=binding, gateway=gateway, at=NOON).state == "revoked"
        assert gateway.asked == []

    @pytest.mark.parametrize(
        "says", [Unknown("timeout"), Refused("40006"), BindingFacts("pending")]
    )
    def test_does_not_end_for_want_of_an_answer(self, says):
        rule = w.rule()
        binding = refresh(rule.binding, says)
        assert binding.state == BindingState.ACTIVE
        assert Rule.objects.get().paused_at is None
        assert not Notice.objects.exists()

    def test_is_suspended_and_comes_back(self):
        rule = w.rule()
        away = refresh(rule.binding, BindingFacts(BindingStatus.SUSPENDED))
        assert (away.state, away.is_usable, away.check_at) == ("suspended", False, NOON + DAY)
        assert Rule.objects.get().paused_at is None
        assert refresh(away, ACTIVE).is_usable


@pytest.mark.django_db
class TestABindingsExpiry:
    @pytest.mark.parametrize(
        ("left", "days"),
        [
            (30 * DAY + MINUTE, None),
            (30 * DAY, 30),
            (7 * DAY + MINUTE, 30),
            (7 * DAY, 7),
            (2 * DAY, 2),
            (HOUR, 2),
        ],
    )
    def test_is_warned_of_at_30_7_and_2_days(self, left, days):
        binding = refresh(w.binding(), active(expires_at=NOON + left))
        told = [notice.occurrence_key for notice in notices(NoticeKind.BINDING_EXPIRING)]
        key = f"{binding.ref}:{NOON + left:%Y-%m-%d}:{days}"
        assert told == ([key] if days else [])

    def test_is_warned_of_once_a_step_however_often_it_is_asked(self):
        binding = w.binding()
        ends = active(expires_at=NOON + 40 * DAY)
        for hour in range(0, 40 * 24, 6):
            refresh(binding, ends, at=NOON + hour * HOUR)
        told = notices(NoticeKind.BINDING_EXPIRING)
        assert [notice.facts["days"] for notice in told] == [30, 7, 2]
        assert told[0].facts["until"] == (NOON + 40 * DAY).isoformat()

    def test_is_looked_at_exactly_when_a_warning_is_due_and_when_it_ends(self):
        looks, at, binding = [], NOON, w.binding()
        ends_at = NOON + 8 * DAY + HOUR
        while at < ends_at:
            at = refresh(binding, active(expires_at=ends_at), at=at).check_at
            looks.append(at)
        assert {ends_at - 7 * DAY, ends_at - 2 * DAY, ends_at} <= set(looks)
        assert max(later - one for one, later in pairwise(looks)) <= DAY

    def test_is_not_warned_of_where_it_does_not_end(self):
        refresh(w.binding(), active(expires_at=None))
        assert not Notice.objects.exists()


@pytest.mark.django_db
class TestEnding:
    def end(self, binding, gateway=None, what="pause", at=NOON):
        gateway = gateway or FakeGateway()
        return lifecycle.end(binding=binding, gateway=gateway, what_of_rules=what, at=at)

    def test_stops_the_rules_before_the_rail_is_told(self):
        rule = w.rule()
        gateway = FakeGateway()
        seen = []
        revoke = gateway.revoke_binding

        def revoke_binding(**what):
            seen.append(Rule.objects.get().pause_reason)
            return revoke(**what)

        gateway.revoke_binding = revoke_binding
        binding = self.end(rule.binding, gateway)

        assert seen == ["binding_ended"]
        assert gateway.ended == [(binding.ref, rule.binding.provider_ref)]
        assert (binding.state, binding.ended_at, binding.paused_at) == ("revoked", NOON, None)
        assert Rule.objects.get().is_on
        assert len(notices(NoticeKind.BINDING_ENDED)) == 1
        assert RailCall.objects.get().kind == "agreement.unsign"

    @pytest.mark.parametrize("silent", [Unknown("timeout"), Refused("SYSTEM_ERROR")])
    def test_is_told_again_to_a_rail_that_does_not_confirm(self, silent):
        rule = w.rule()
        gateway = FakeGateway(ACTIVE, says_to_end=silent)

        binding = self.end(rule.binding, gateway)

        assert (binding.state, binding.is_usable) == ("active", False)
        assert (binding.pause_reason, binding.check_at) == ("ending", NOON + 5 * MINUTE)
        with gateways.override("alipay", gateway):
            assert lifecycle.poll_due(at=NOON + 4 * MINUTE, limit=10) == 0
            assert lifecycle.poll_due(at=NOON + 5 * MINUTE, limit=10) == 1
            gateway.says_to_end = REVOKED
            assert lifecycle.poll_due(at=NOON + 10 * MINUTE, limit=10) == 1
        assert len(gateway.ended) == 3
        assert gateway.asked == []
        binding.refresh_from_db()
        assert (binding.state, binding.paused_at) == ("revoked", None)
        assert len(notices(NoticeKind.BINDING_ENDED)) == 1

    def test_cannot_be_undone_by_a_resume_meanwhile(self):
        binding = self.end(w.binding(), FakeGateway(says_to_end=Unknown("down")))
        with pytest.raises(lifecycle.BindingNotUsable):
            lifecycle.resume(binding=binding, actor=binding.owner, at=NOON)
        assert Binding.objects.get().pause_reason == "ending"

    def test_of_one_never_agreed_abandons_it(self):
        assert self.end(pending()).state == BindingState.ABANDONED
        assert not Notice.objects.exists()

    def test_twice_tells_the_rail_once(self):
        gateway = FakeGateway()
        binding = self.end(w.binding(), gateway)
        again = self.end(binding, gateway, at=NOON + HOUR)
        assert (again.ended_at, len(gateway.ended)) == (NOON, 1)

    def test_moves_the_rules_where_asked_and_they_go_on(self):
        rule, target = w.rule(wake_at=NOON + DAY), w.binding()
        Rule.objects.update(fallback_binding=target)

        self.end(rule.binding, what=f"move_to:{target.ref}")

        rule.refresh_from_db()
        assert (rule.binding, rule.fallback_binding) == (target, None)
        assert (rule.paused_at, rule.wake_at, rule.version) == (None, NOON + DAY, 2)
        assert not Notice.objects.exists()

    def test_asks_for_confirmation_of_rules_moved_to_another_rail(self):
        rule, target = w.rule(), w.binding(rail=w.rail("wechat"))
        self.end(rule.binding, what=f"move_to:{target.ref}")
        rule.refresh_from_db()
        assert (rule.binding, rule.pause_reason) == (target, "binding_ended")
        assert len(notices(NoticeKind.BINDING_ENDED)) == 1

    @pytest.mark.parametrize(
        "target",
        [
            lambda rule: rule.binding,
            lambda rule: w.binding(w.person("bob")),
            lambda rule: w.binding(revoked=True),
            lambda rule: w.binding(paused=True),
        ],
    )
    def test_moves_rules_to_no_binding_that_cannot_be_charged(self, target):
        rule, gateway = w.rule(), FakeGateway()
        with pytest.raises(lifecycle.BindingNotUsable):
            self.end(rule.binding, gateway, what=f"move_to:{target(rule).ref}")
        rule.refresh_from_db()
        assert (rule.paused_at, rule.binding.state, rule.binding.paused_at) == (
            None,
            "active",
            None,
        )
        assert gateway.ended == []

    def test_refuses_an_answer_it_does_not_know(self):
        binding = w.binding()
        with pytest.raises(ValueError, match="what_of_rules"):
            self.end(binding, what="delete")
        assert Binding.objects.get().paused_at is None


@pytest.mark.django_db
class TestTheDefault:
    def test_is_the_one_chosen(self):
        first, second = w.binding(is_default=True), w.binding()
        bobs = w.binding(w.person("bob"), is_default=True)
        lifecycle.make_default(binding=second, at=NOON)
        lifecycle.make_default(binding=second, at=NOON)
        assert set(Binding.objects.filter(is_default=True)) == {second, bobs}
        first.refresh_from_db()
        assert not first.is_default

    @pytest.mark.parametrize(
        "more", [{"state": "revoked"}, {"state": "pending"}, {"paused_at": NOON}]
    )
    def test_is_never_one_that_cannot_be_charged(self, more):
        first, second = w.binding(is_default=True), w.binding(**more)
        with pytest.raises(lifecycle.BindingNotUsable):
            lifecycle.make_default(binding=second, at=NOON)
        assert Binding.objects.get(is_default=True) == first


@pytest.mark.django_db
class TestPolling:
    def poll(self, gateway, *, at=NOON, limit=10):
        with gateways.override("alipay", gateway):
            return lifecycle.poll_due(at=at, limit=limit)

    def test_asks_what_is_due_and_nothing_else(self):
        due = w.binding(check_at=NOON)
        w.binding(check_at=NOON + MINUTE)
        w.binding(check_at=None)
        gateway = FakeGateway(ACTIVE)
        assert self.poll(gateway) == 1
        assert gateway.asked == [(due.ref, due.provider_ref)]
        assert Binding.objects.get(pk=due.pk).check_at == NOON + DAY
        assert self.poll(gateway) == 0

    def test_is_bounded_and_takes_the_longest_waiting_first(self):
        late = [w.binding(check_at=NOON - n * MINUTE) for n in range(4)]
        gateway = FakeGateway(ACTIVE)
        assert self.poll(gateway, limit=2) == 2
        assert {ref for ref, _ in gateway.asked} == {late[3].ref, late[2].ref}

    def test_leaves_a_rail_that_is_not_set_up_for_later(self, settings):
        settings.RAILS = {}
        binding = w.binding(check_at=NOON)
        assert lifecycle.poll_due(at=NOON, limit=10) == 1
        binding.refresh_from_db()
        assert (binding.state, binding.check_at) == ("active", NOON + 10 * MINUTE)

    def test_goes_on_after_a_row_that_cannot_be_recorded(self, caplog):
        poisoned, fine = w.binding(check_at=NOON - MINUTE), w.binding(check_at=NOON)
        gateway = FakeGateway()
        says = {poisoned.ref: active(label="\x00"), fine.ref: REVOKED}
        gateway.get_binding = lambda **asked: BindingAnswer(says[asked["binding_ref"]])
        assert self.poll(gateway) == 2
        assert Binding.objects.get(pk=fine.pk).state == "revoked"
        assert Binding.objects.get(pk=poisoned.pk).state == "active"
        assert poisoned.ref in caplog.text

    def test_survives_an_adapter_that_raises_and_logs_no_message(self, caplog):
        binding = w.binding(check_at=NOON)
        gateway = FakeGateway()

        def get_binding(**_):
            raise KeyError("+8613800138000")

        gateway.get_binding = get_binding
        assert self.poll(gateway) == 1
        assert "KeyError" in caplog.text
        assert "138" not in caplog.text
        assert Binding.objects.get(pk=binding.pk).state == "active"

    def test_keeps_a_wake_that_came_while_the_rail_was_asked(self):
        binding = w.binding(check_at=NOON)
        gateway = FakeGateway(ACTIVE)
        gateway.meanwhile = lambda: Binding.objects.update(check_at=NOON + MINUTE)
        self.poll(gateway)
        binding.refresh_from_db()
        assert (binding.check_at, binding.checked_at) == (NOON + MINUTE, NOON)


@pytest.mark.django_db(transaction=True)
class TestARace:
    def test_of_answers_believes_no_older_one_over_a_newer(self):
        """The rail said ACTIVE; before that was written, the payer ended the agreement."""
        rule = w.rule()
        gateway = FakeGateway(ACTIVE)
        gateway.meanwhile = lambda: refresh(rule.binding, REVOKED, at=NOON)
        binding = lifecycle.refresh(binding=rule.binding, gateway=gateway, at=NOON + MINUTE)
        assert binding.state == BindingState.REVOKED
        assert Rule.objects.get().pause_reason == "binding_ended"

    def test_of_two_first_agreements_has_one_default(self):
        waiting = [pending() for _ in range(6)]
        results = race(
            *(
                lambda b=b, n=n: refresh(b, active(fingerprint=f"{n}", provider_ref=f"{n}"))
                for n, b in enumerate(waiting)
            )
        )
        assert {type(result) for result in results} == {Binding}
        assert Binding.objects.filter(state="active").count() == 6
        assert Binding.objects.filter(is_default=True).count() == 1

    def test_of_declines_counts_each(self):
        mine, bobs = w.binding(fingerprint="x"), w.binding(w.person("bob"), fingerprint="x")
        rules = [w.rule(w.line(b.owner), binding=b) for b in (mine, bobs)]

        def decline(binding):
            with transaction.atomic():
                lifecycle.record_decline(binding_id=binding.pk, decline_class="soft", at=NOON)

        results = race(*(lambda b=b: decline(b) for b in [mine, bobs] * 4))

        assert results == [None] * 8
        assert set(Binding.objects.values_list("failures_in_a_row", "pause_reason")) == {
            (8, "breaker")
        }
        assert Notice.objects.filter(kind="rule_paused").count() == len(rules)

    def test_of_ends_tells_the_owner_once(self):
        rule = w.rule()
        gateway = FakeGateway()
        results = race(
            *[
                lambda: lifecycle.end(
                    binding=rule.binding, gateway=gateway, what_of_rules="pause", at=NOON
                )
            ]
            * 6
        )
        assert {result.state for result in results} == {"revoked"}
        assert Notice.objects.filter(kind="binding_ended").count() == 1

    def test_of_polls_asks_each_binding_once(self):
        for _ in range(20):
            w.binding(check_at=NOON)
        gateway = FakeGateway(ACTIVE)
        with gateways.override("alipay", gateway):
            results = race(*[lambda: lifecycle.poll_due(at=NOON, limit=10)] * 4)
        assert sum(results) == 20
        assert len(gateway.asked) == len(set(gateway.asked)) == 20
